//! Format strings as kcat has them: `%k: %s\n`. Parsed once, applied to each record; nothing is added by itself, not
//! even a line end.
//!
//! Null keys and values are written as nothing; their lengths (`%K`, `%S`) are -1, so that the two can be told from
//! empty ones.

use std::io::Write;
use std::str::FromStr;

use super::seen::Seen;

/// A format string, ready to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormatString(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Topic,
    Partition,
    Offset,
    Key,
    KeyBytes,
    Value,
    ValueBytes,
    Timestamp,
    Headers,
}

/// Every field: its letter behind the percent sign, and what it stands for.
const FIELDS: [(char, Field); 9] = [
    ('t', Field::Topic),
    ('p', Field::Partition),
    ('o', Field::Offset),
    ('k', Field::Key),
    ('K', Field::KeyBytes),
    ('s', Field::Value),
    ('S', Field::ValueBytes),
    ('T', Field::Timestamp),
    ('h', Field::Headers),
];

/// Why a text is not a format string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    /// A letter behind `%` without a meaning.
    #[error(
        "%{found} at character {place} has no meaning: use %t %p %o %k %K %s %S %T %h, or %% for a percent sign"
    )]
    Field {
        /// The character behind the percent sign; nothing at the end of the text.
        found: String,
        /// Of the percent sign, from 1.
        place: usize,
    },
    /// A character behind `\` without a meaning.
    #[error(
        "\\{found} at character {place} has no meaning: use \\n \\t \\r \\0 \\xHH (two hexadecimal digits), or \\\\ for a backslash"
    )]
    Escape {
        /// The character behind the backslash; nothing at the end of the text.
        found: String,
        /// Of the backslash, from 1.
        place: usize,
    },
}

impl FromStr for FormatString {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut characters = text.chars().zip(1_usize..);
        while let Some((character, place)) = characters.next() {
            match character {
                '\\' => literal.push(escape(&mut characters, place)?),
                '%' => match characters.next() {
                    Some(('%', _)) => literal.push(b'%'),
                    found => {
                        let letter = found.map(|(letter, _)| letter);
                        let field = FIELDS.iter().find(|(known, _)| Some(*known) == letter);
                        let (_, field) = field.ok_or_else(|| FormatError::Field {
                            found: letter.into_iter().collect(),
                            place,
                        })?;
                        if !literal.is_empty() {
                            parts.push(Part::Literal(std::mem::take(&mut literal)));
                        }
                        parts.push(Part::Field(*field));
                    }
                },
                other => literal.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self(parts))
    }
}

/// The byte that stands behind a backslash at `place`.
fn escape(
    characters: &mut impl Iterator<Item = (char, usize)>,
    place: usize,
) -> Result<u8, FormatError> {
    let mut read = String::new();
    let mut next = || {
        let character = characters.next().map(|(character, _)| character);
        read.extend(character);
        character
    };
    let byte = match next() {
        Some('n') => Some(b'\n'),
        Some('t') => Some(b'\t'),
        Some('r') => Some(b'\r'),
        Some('0') => Some(0),
        Some('\\') => Some(b'\\'),
        Some('x') => {
            let mut digit = || next()?.to_digit(16);
            digit().zip(digit()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok())
        }
        _ => None,
    };
    byte.ok_or(FormatError::Escape { found: read, place })
}

/// Bytes given on a command line, with the escapes of format strings: `\t` is a tab.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut characters = text.chars().zip(1_usize..);
    while let Some((character, place)) = characters.next() {
        match character {
            '\\' => bytes.push(escape(&mut characters, place)?),
            other => bytes.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(bytes)
}

impl FormatString {
    /// Appends a record in this form.
    pub(crate) fn write(&self, output: &mut Vec<u8>, record: &Seen<'_>) {
        for part in &self.0 {
            match part {
                Part::Literal(bytes) => output.extend_from_slice(bytes),
                Part::Field(field) => field.write(output, record),
            }
        }
    }
}

impl Field {
    fn write(self, output: &mut Vec<u8>, record: &Seen<'_>) {
        match self {
            Self::Topic => output.extend_from_slice(record.topic.as_bytes()),
            Self::Partition => write_number(output, i64::from(record.partition.get())),
            Self::Offset => write_number(output, record.offset.get()),
            Self::Key => output.extend_from_slice(record.key.unwrap_or_default()),
            Self::KeyBytes => write_number(output, length(record.key)),
            Self::Value => output.extend_from_slice(record.value.unwrap_or_default()),
            Self::ValueBytes => write_number(output, length(record.value)),
            Self::Timestamp => write_number(output, record.timestamp.0),
            Self::Headers => {
                for (index, header) in record.headers.iter().enumerate() {
                    if index > 0 {
                        output.push(b',');
                    }
                    output.extend_from_slice(&header.name);
                    output.push(b'=');
                    output.extend_from_slice(header.value.as_deref().unwrap_or(b"NULL"));
                }
            }
        }
    }
}

/// -1 for null.
fn length(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

fn write_number(output: &mut Vec<u8>, number: i64) {
    // Writing into a Vec cannot fail.
    let _ = write!(output, "{number}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::id::{Offset, Partition, Timestamp};
    use protocol::record::Header;

    use super::*;

    fn shown(format: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
        let headers = [
            Header { name: "source".into(), value: Some("web".into()) },
            Header { name: "trace".into(), value: None },
        ];
        let record = Seen {
            topic: "ratings",
            partition: Partition::new(3).unwrap(),
            offset: Offset::new(42).unwrap(),
            timestamp: Timestamp(1_700_000_000_000),
            key,
            value,
            headers: &headers,
        };
        let mut output = Vec::new();
        format.parse::<FormatString>().unwrap().write(&mut output, &record);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn every_field_is_written() {
        let all = shown("%t %p %o %T\\t%k(%K)=%s(%S) [%h] 100%%\\n", Some(b"k1"), Some(b"v"));
        assert_eq!(all, "ratings 3 42 1700000000000\tk1(2)=v(1) [source=web,trace=NULL] 100%\n");
    }

    #[test]
    fn null_and_empty_are_told_apart_by_their_lengths() {
        assert_eq!(shown("%k|%K|%s|%S", None, Some(b"")), "|-1||0");
    }

    #[test]
    fn escapes_give_bytes() {
        assert_eq!(unescape(r"a\t\n\r\0\\\x1b\xFF").unwrap(), b"a\t\n\r\0\\\x1b\xff");
        assert_eq!(unescape("ü→").unwrap(), "ü→".as_bytes());
    }

    #[test]
    fn what_has_no_meaning_is_named_with_its_place() {
        let refused = |text: &str| text.parse::<FormatString>().unwrap_err();
        let field = |found: &str, place| FormatError::Field { found: found.into(), place };
        let escape = |found: &str, place| FormatError::Escape { found: found.into(), place };
        assert_eq!(refused("%s%q"), field("q", 3));
        assert_eq!(refused("ü%"), field("", 2));
        assert_eq!(refused("\\y"), escape("y", 1));
        assert_eq!(refused("ab\\x1"), escape("x1", 3));
        assert_eq!(refused("\\xg0"), escape("xg0", 1));
        assert_eq!(refused("\\"), escape("", 1));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,40}") {
            let _ = text.parse::<FormatString>();
        }

        #[test]
        fn text_without_signs_stands_for_itself(text in "[^%\\\\]{0,40}") {
            prop_assert_eq!(shown(&text, None, None), text);
        }
    }
}
