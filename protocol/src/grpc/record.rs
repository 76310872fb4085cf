//! The friendly form of a record, and the names of the codecs.
//!
//! Keys and values are shared with the message they came in, never copied. Names of headers are text over gRPC; bytes
//! that are not UTF-8 cross as U+FFFD.

use bytes::Bytes;

use super::refusal::refuse_request;
use super::v1;
use crate::batch::{Batch, BatchError};
use crate::compression::Compression;
use crate::id::{Offset, Timestamp};
use crate::limits::HEADERS_PER_RECORD_MAX;
use crate::outcome::{Outcome, Refusal};
use crate::record::{Header, Record};

impl TryFrom<v1::Record> for Record {
    type Error = Refusal;

    /// The offset is left out: on the way in it means nothing.
    fn try_from(record: v1::Record) -> Result<Self, Refusal> {
        check_header_count(record.headers.len())?;
        let header =
            |header: v1::Header| Header { name: Bytes::from(header.name), value: header.value };
        Ok(Self {
            key: record.key,
            value: record.value,
            headers: record.headers.into_iter().map(header).collect(),
            timestamp: record.timestamp_ms.map(Timestamp),
        })
    }
}

/// Refuses a record with more headers than are allowed.
pub(super) fn check_header_count(count: usize) -> Result<(), Refusal> {
    if count <= HEADERS_PER_RECORD_MAX {
        return Ok(());
    }
    Err(Refusal::new(
        Outcome::InvalidRecord,
        format!("a record has more than {HEADERS_PER_RECORD_MAX} headers"),
    ))
}

/// The friendly form of a record that lies at `offset`.
pub fn record_at(offset: Offset, record: Record) -> v1::Record {
    let header =
        |header: Header| v1::Header { name: header.name_text().into_owned(), value: header.value };
    v1::Record {
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(header).collect(),
        timestamp_ms: record.timestamp.map(|time| time.0),
        offset: offset.get(),
    }
}

/// Appends the records of a batch in their friendly form, without those before `from`.
///
/// `scratch` is used to unfold a compressed batch, so that callers can re-use its memory.
///
/// # Errors
/// When the batch does not unfold or a record breaks a rule. What was appended before is sound.
pub fn append_records(
    batch: &Batch,
    from: Offset,
    scratch: &mut Vec<u8>,
    output: &mut Vec<v1::Record>,
) -> Result<(), BatchError> {
    for view in batch.records(scratch)? {
        let view = view?;
        if view.offset >= from {
            output.push(record_at(view.offset, view.to_record(batch.bytes())));
        }
    }
    Ok(())
}

impl From<Compression> for v1::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Snappy => Self::Snappy,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}

impl From<v1::Compression> for Compression {
    fn from(compression: v1::Compression) -> Self {
        match compression {
            v1::Compression::None => Self::None,
            v1::Compression::Gzip => Self::Gzip,
            v1::Compression::Snappy => Self::Snappy,
            v1::Compression::Lz4 => Self::Lz4,
            v1::Compression::Zstd => Self::Zstd,
        }
    }
}

/// Reads a codec from the wire.
///
/// # Errors
/// [`Outcome::UnsupportedCompression`] for a number that is none.
pub fn compression(number: i32) -> Result<Compression, Refusal> {
    v1::Compression::try_from(number).map(Compression::from).map_err(|_| {
        Refusal::new(
            Outcome::UnsupportedCompression,
            format!("compression number {number} is unknown"),
        )
    })
}

/// Reads the form in which records are wanted.
///
/// # Errors
/// [`Outcome::InvalidRequest`] for a number that is none.
pub fn form(number: i32) -> Result<v1::Form, Refusal> {
    v1::Form::try_from(number)
        .map_err(|_| refuse_request(format!("form number {number} is unknown")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_cross_and_keep_null_apart_from_empty() {
        let record = Record {
            key: None,
            value: Some(Bytes::new()),
            headers: vec![
                Header { name: "a".into(), value: None },
                Header { name: "a".into(), value: Some(Bytes::from_static(b"1")) },
            ],
            timestamp: Some(Timestamp(5)),
        };
        let there = record_at(Offset::new(8).unwrap(), record.clone());
        assert_eq!(there.offset, 8);
        assert_eq!(Record::try_from(there).unwrap(), record);
    }

    #[test]
    fn payloads_are_shared_not_copied() {
        let value = Bytes::from(vec![7; 100]);
        let there = record_at(Offset::ZERO, Record::of_value(value.clone()));
        let back = Record::try_from(there).unwrap();
        assert_eq!(back.value.unwrap().as_ptr(), value.as_ptr());
    }

    #[test]
    fn codecs_cross_by_their_numbers() {
        for codec in Compression::ALL {
            let there = v1::Compression::from(codec);
            assert_eq!(there as i32, i32::from(codec as u8));
            assert_eq!(compression(there.into()).unwrap(), codec);
        }
        assert_eq!(compression(5).unwrap_err().outcome, Outcome::UnsupportedCompression);
        assert_eq!(form(2).unwrap_err().outcome, Outcome::InvalidRequest);
    }

    #[test]
    fn more_headers_than_allowed_are_refused() {
        let headers = vec![v1::Header::default(); HEADERS_PER_RECORD_MAX + 1];
        let refused = Record::try_from(v1::Record { headers, ..v1::Record::default() });
        assert_eq!(refused.unwrap_err().outcome, Outcome::InvalidRecord);
    }
}
