//! One record, one line of JSON: as `consume --format json` writes it and `produce --format jsonl` reads it. What is
//! written is read back as the same record, whatever bytes it holds.
//!
//! Text that is UTF-8 is a string; other bytes are `{"base64": "…"}`; null is null. Headers are pairs in an array,
//! because order and repetition count. People who write lines by hand may also give a value as any JSON (its text is
//! the value), headers as an object, and bytes in `key_base64` and `value_base64`.

use bytes::Bytes;
use protocol::id::{IdError, Partition, Timestamp};
use protocol::record::{Header, Record};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::base64;
use super::json_scan::{Scalar, elements, members, scalar};
use super::seen::Seen;

/// Bytes that go into JSON as `{"base64": "…"}`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binary<'a>(pub(crate) &'a [u8]);

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &base64::encode(self.0))?;
        map.end()
    }
}

/// Bytes or null, as a string where they are UTF-8, else as [`Binary`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextOrBinary<'a>(pub(crate) Option<&'a [u8]>);

impl Serialize for TextOrBinary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
            None => serializer.serialize_none(),
            Some((Ok(text), _)) => serializer.serialize_str(text),
            Some((Err(_), bytes)) => Binary(bytes).serialize(serializer),
        }
    }
}

#[derive(serde::Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: u32,
    offset: i64,
    timestamp: i64,
    key: TextOrBinary<'a>,
    value: TextOrBinary<'a>,
    headers: Vec<(TextOrBinary<'a>, TextOrBinary<'a>)>,
}

/// Appends a record as one line of JSON, line end included.
pub(crate) fn write_line(output: &mut Vec<u8>, record: &Seen<'_>) {
    let line = Line {
        topic: record.topic,
        partition: record.partition.get(),
        offset: record.offset.get(),
        timestamp: record.timestamp.0,
        key: TextOrBinary(record.key),
        value: TextOrBinary(record.value),
        headers: record
            .headers
            .iter()
            .map(|header| (TextOrBinary(Some(&header.name)), TextOrBinary(header.value.as_deref())))
            .collect(),
    };
    // Writing into a Vec cannot fail, and every field above has a JSON form.
    let _ = serde_json::to_writer(&mut *output, &line);
    output.push(b'\n');
}

/// A record read from a line, and the partition it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The record.
    pub(crate) record: Record,
    /// The partition, where the line names one.
    pub(crate) partition: Option<Partition>,
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// The line is not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// The line is not JSON.
    #[error("the line is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// The line is JSON, but not an object.
    #[error("the line is not a JSON object with a \"value\"")]
    NotAnObject,
    /// A field that nobody knows.
    #[error(
        "the field {name:?} is unknown: key, value, headers, timestamp, partition, key_base64 and value_base64 are known"
    )]
    UnknownField {
        /// Its name.
        name: String,
    },
    /// A field is given twice, or as text and in base64.
    #[error("the {name} is given twice")]
    Twice {
        /// Which.
        name: &'static str,
    },
    /// There is no value.
    #[error("the value is missing: give \"value\": null for a record without one")]
    NoValue,
    /// A string does not hold base64.
    #[error("the field {name:?} is not a string of base64")]
    Base64 {
        /// Which.
        name: &'static str,
    },
    /// A string with half of a surrogate pair.
    #[error("the field {name:?} is a string that stands for no text")]
    NotText {
        /// Which.
        name: &'static str,
    },
    /// A field that must be a whole number is none.
    #[error("the field {name:?} is {found}; a whole number is expected")]
    NotANumber {
        /// Which.
        name: &'static str,
        /// Its text, cut to 40 characters.
        found: String,
    },
    /// The partition is out of range.
    #[error(transparent)]
    Partition(#[from] IdError),
    /// Headers in another form.
    #[error("the headers are neither an object nor an array of [name, value] pairs")]
    Headers,
}

/// Reads one line. Values that are not strings are shared with the line, not copied.
pub(crate) fn parse_line(line: &Bytes) -> Result<Parsed, LineError> {
    let text = std::str::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(LineError::NotJson)?;
    let mut parsed = Parsed::default();
    let (mut key_given, mut value_given) = (false, false);
    for (name, json) in members(text).ok_or(LineError::NotAnObject)? {
        match name.as_str() {
            "key" => {
                once(&mut key_given, "key")?;
                parsed.record.key = content(line, json, "key")?;
            }
            "key_base64" => {
                once(&mut key_given, "key")?;
                parsed.record.key = binary_content(json, "key_base64")?;
            }
            "value" => {
                once(&mut value_given, "value")?;
                parsed.record.value = content(line, json, "value")?;
            }
            "value_base64" => {
                once(&mut value_given, "value")?;
                parsed.record.value = binary_content(json, "value_base64")?;
            }
            "headers" => parsed.record.headers = headers(line, json)?,
            "timestamp" => {
                parsed.record.timestamp = whole_number(json, "timestamp")?.map(Timestamp);
            }
            "partition" => {
                let number = whole_number(json, "partition")?;
                parsed.partition = number.map(Partition::new).transpose()?;
            }
            // Where a record was read from does not matter for where it goes.
            "topic" | "offset" => {}
            _ => return Err(LineError::UnknownField { name }),
        }
    }
    if value_given { Ok(parsed) } else { Err(LineError::NoValue) }
}

fn once(given: &mut bool, name: &'static str) -> Result<(), LineError> {
    if std::mem::replace(given, true) { Err(LineError::Twice { name }) } else { Ok(()) }
}

/// The bytes that a JSON value stands for: null, a string's content, `{"base64": "…"}`, or the value's own text.
fn content(line: &Bytes, json: &str, name: &'static str) -> Result<Option<Bytes>, LineError> {
    match scalar(json).ok_or(LineError::NotText { name })? {
        Scalar::Null => Ok(None),
        Scalar::Text(text) => Ok(Some(text.into())),
        Scalar::Other(text) => match members(text).as_deref() {
            Some([(only, encoded)]) if only == "base64" => binary_content(encoded, name),
            // The text was cut out of the line.
            _ => Ok(Some(line.slice_ref(text.as_bytes()))),
        },
    }
}

fn binary_content(json: &str, name: &'static str) -> Result<Option<Bytes>, LineError> {
    match scalar(json) {
        Some(Scalar::Null) => Ok(None),
        Some(Scalar::Text(text)) => {
            let bytes = base64::decode(&text).ok_or(LineError::Base64 { name })?;
            Ok(Some(bytes.into()))
        }
        Some(Scalar::Other(_)) | None => Err(LineError::Base64 { name }),
    }
}

fn headers(line: &Bytes, json: &str) -> Result<Vec<Header>, LineError> {
    const NAME: &str = "headers";
    if json == "null" {
        return Ok(Vec::new());
    }
    if let Some(members) = members(json) {
        return members
            .into_iter()
            .map(|(name, value)| {
                Ok(Header { name: name.into(), value: content(line, value, NAME)? })
            })
            .collect();
    }
    let pairs = elements(json).ok_or(LineError::Headers)?;
    pairs
        .into_iter()
        .map(|pair| match elements(pair).as_deref() {
            Some([name, value]) => Ok(Header {
                name: content(line, name, NAME)?.ok_or(LineError::Headers)?,
                value: content(line, value, NAME)?,
            }),
            _ => Err(LineError::Headers),
        })
        .collect()
}

/// A whole number, or nothing for null.
fn whole_number(json: &str, name: &'static str) -> Result<Option<i64>, LineError> {
    if json == "null" {
        return Ok(None);
    }
    json.parse()
        .map(Some)
        .map_err(|_| LineError::NotANumber { name, found: json.chars().take(40).collect() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::id::Offset;

    use super::*;

    fn parse(line: &str) -> Result<Parsed, LineError> {
        parse_line(&Bytes::copy_from_slice(line.as_bytes()))
    }

    fn value_of(line: &str) -> Option<Bytes> {
        parse(line).unwrap().record.value
    }

    fn any_bytes() -> impl Strategy<Value = Bytes> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
            ".{0,20}".prop_map(Bytes::from),
            Just(Bytes::from_static(br#"{"base64":"AAEC"}"#)),
        ]
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let header = (any_bytes(), prop::option::of(any_bytes()))
            .prop_map(|(name, value)| Header { name, value });
        (
            prop::option::of(any_bytes()),
            prop::option::of(any_bytes()),
            prop::collection::vec(header, 0..4),
            any::<i64>(),
        )
            .prop_map(|(key, value, headers, time)| Record {
                key,
                value,
                headers,
                timestamp: Some(Timestamp(time)),
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(record in any_record(), partition in 0_i64..100) {
            let partition = Partition::new(partition).unwrap();
            let mut line = Vec::new();
            write_line(&mut line, &Seen {
                topic: "ratings",
                partition,
                offset: Offset::new(7).unwrap(),
                timestamp: record.timestamp.unwrap(),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &record.headers,
            });
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let parsed = parse_line(&line.into()).unwrap();
            prop_assert_eq!(parsed, Parsed { record, partition: Some(partition) });
        }

        #[test]
        fn any_line_is_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(parse_line(&line.into()).is_err());
        }
    }

    #[test]
    fn a_value_may_be_any_json_and_keeps_its_text() {
        assert_eq!(value_of(r#"{"value":"a\nb"}"#).unwrap(), "a\nb");
        assert_eq!(value_of(r#"{"value": {"b" :1.0,"a":2} }"#).unwrap(), r#"{"b" :1.0,"a":2}"#);
        assert_eq!(value_of(r#"{"value":[1]}"#).unwrap(), "[1]");
        assert_eq!(value_of(r#"{"value":true}"#).unwrap(), "true");
        assert_eq!(value_of(r#"{"value":null}"#), None);
        assert_eq!(value_of(r#"{"value_base64":"AP8="}"#).unwrap(), &[0, 255][..]);
        assert_eq!(value_of(r#"{"value":{"base64":"AP8="}}"#).unwrap(), &[0, 255][..]);
    }

    #[test]
    fn every_other_field() {
        let parsed = parse(
            r#"{"key":17,"value":"v","headers":{"a":"1","b":null},"timestamp":5,"partition":2,"topic":"x","offset":9}"#,
        )
        .unwrap();
        assert_eq!(parsed.partition, Some(Partition::new(2).unwrap()));
        assert_eq!(parsed.record.key.unwrap(), "17");
        assert_eq!(parsed.record.timestamp, Some(Timestamp(5)));
        assert_eq!(parsed.record.headers.len(), 2);
        assert_eq!(parsed.record.headers[0].value.as_deref(), Some(&b"1"[..]));
        assert_eq!(parsed.record.headers[1].value, None);
        let pairs =
            parse(r#"{"value":"v","headers":[["a","1"],["a",{"base64":"/w=="}]]}"#).unwrap();
        assert_eq!(pairs.record.headers[1].value.as_deref(), Some(&[255][..]));
        assert_eq!(pairs.record.timestamp, None);
    }

    #[test]
    fn each_mistake_is_told_from_the_others() {
        use LineError as E;
        assert!(matches!(parse_line(&Bytes::from_static(b"\xff")), Err(E::NotUtf8)));
        assert!(matches!(parse("{"), Err(E::NotJson(_))));
        assert!(matches!(parse("[]"), Err(E::NotAnObject)));
        assert!(matches!(parse(r#"{"key":"a"}"#), Err(E::NoValue)));
        assert!(matches!(parse(r#"{"valeu":1}"#), Err(E::UnknownField { .. })));
        assert!(matches!(parse(r#"{"value":1,"value":2}"#), Err(E::Twice { name: "value" })));
        assert!(matches!(
            parse(r#"{"value":1,"key":1,"key_base64":""}"#),
            Err(E::Twice { name: "key" })
        ));
        assert!(matches!(
            parse(r#"{"value_base64":"?"}"#),
            Err(E::Base64 { name: "value_base64" })
        ));
        assert!(matches!(parse(r#"{"value":1,"timestamp":"x"}"#), Err(E::NotANumber { .. })));
        assert!(matches!(parse(r#"{"value":1,"partition":-1}"#), Err(E::Partition(_))));
        assert!(matches!(parse(r#"{"value":1,"headers":[["a"]]}"#), Err(E::Headers)));
        assert!(matches!(parse(r#"{"value":"\ud800"}"#), Err(E::NotJson(_) | E::NotText { .. })));
    }
}
