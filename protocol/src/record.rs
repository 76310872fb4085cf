//! One record: key, value, headers, time. As it lies in a batch (borrowed), and as programs hold it (shared bytes).
//!
//! The layout is Kafka's v2 record (see `docs/format.md`): every length is a zigzag varint, -1 stands for null. What
//! a key or value means is nobody's business here.

use std::borrow::Cow;

use bytes::{BufMut, Bytes};

use crate::id::{Offset, Timestamp};
use crate::limits::HEADERS_PER_RECORD_MAX;
use crate::varint;

/// A record as programs hold it; its bytes are shared, so cloning copies none.
///
/// ```
/// use thalweg_protocol::record::Record;
/// let record = Record::new("4711", r#"{"stars":1}"#).header("source", "web");
/// assert_eq!(record.key.as_deref(), Some(&b"4711"[..]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What the record is about; decides its partition. `None` is Kafka's null key.
    pub key: Option<Bytes>,
    /// What happened. `None` is Kafka's null value: in a compacted topic it deletes the key.
    pub value: Option<Bytes>,
    /// Named extras, in order; a name may occur more than once.
    pub headers: Vec<Header>,
    /// When it happened. `None` on the way in: the client's clock at the time of sending.
    pub timestamp: Option<Timestamp>,
}

/// A named extra of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The name: UTF-8 by custom, any bytes in fact.
    pub name: Bytes,
    /// Any bytes, or null.
    pub value: Option<Bytes>,
}

impl Header {
    /// The name as text; bytes that are not UTF-8 become U+FFFD.
    pub fn name_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

impl Record {
    /// A record with key and value, no headers, timed when it is sent.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }

    /// A record without a key.
    pub fn of_value(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// Adds a header behind those that are there.
    #[must_use]
    pub fn header(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Sets the time.
    #[must_use]
    pub fn at(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Bytes of key, value and headers: what buffers are charged for it.
    pub fn payload_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|header| header.name.len() + length(&header.value));
        length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }
}

/// A record inside a batch, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time: the producer's or, where the topic says so, the broker's.
    pub timestamp: Timestamp,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// The headers, checked, decoded as one walks over them.
    pub headers: HeadersView<'a>,
}

impl RecordView<'_> {
    /// The record with bytes of its own: shared with `source` where `source` holds them, else copied.
    ///
    /// `source` is the batch that the record was read from: of an uncompressed batch nothing is copied.
    pub fn to_record(&self, source: &Bytes) -> Record {
        let share = |bytes: &[u8]| share_or_copy(source, bytes);
        Record {
            key: self.key.map(share),
            value: self.value.map(share),
            headers: self
                .headers
                .map(|(name, value)| Header { name: share(name), value: value.map(share) })
                .collect(),
            timestamp: Some(self.timestamp),
        }
    }
}

/// `Bytes::slice_ref` would panic for bytes that lie elsewhere, as those of a compressed batch do.
fn share_or_copy(source: &Bytes, bytes: &[u8]) -> Bytes {
    let range = source.as_ptr_range();
    let part = bytes.as_ptr_range();
    if !bytes.is_empty() && range.start <= part.start && part.end <= range.end {
        source.slice_ref(bytes)
    } else {
        Bytes::copy_from_slice(bytes)
    }
}

/// The headers of a record inside a batch: an iterator over (name, value).
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadersView<'a> {
    count: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for HeadersView<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let name = read_bytes(&mut self.rest).ok().flatten()?;
        let value = read_bytes(&mut self.rest).ok()?;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for HeadersView<'_> {}

/// Which rule a record inside a batch breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A number or length is cut short, or points past the end of the record.
    #[error("a field is cut short or longer than its record")]
    CutShort,
    /// The fields of the record end before the record does.
    #[error("{bytes} bytes are left over behind the last field")]
    LeftOver {
        /// How many.
        bytes: usize,
    },
    /// A header has no name.
    #[error("a header has a null name")]
    NullHeaderName,
    /// More headers than are allowed, or than the bytes could hold.
    #[error("it announces {count} headers; at most {HEADERS_PER_RECORD_MAX} are allowed")]
    HeaderCount {
        /// What it announces.
        count: i32,
    },
    /// The offset delta does not count up by one.
    #[error("its offset delta is {found} where {expected} was expected")]
    OffsetDelta {
        /// The number of the record in the batch.
        expected: i32,
        /// What it says.
        found: i32,
    },
}

/// What a record says of its place relative to its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deltas {
    pub(crate) timestamp: i64,
    pub(crate) offset: i32,
}

/// One record's parts, as they lie in the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) deltas: Deltas,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: HeadersView<'a>,
}

/// Reads and checks one record from the front of `input`, and moves `input` behind it.
#[inline]
pub(crate) fn read<'a>(input: &mut &'a [u8]) -> Result<Parts<'a>, RecordError> {
    let length = varint::read_i32(input).ok_or(RecordError::CutShort)?;
    let length = usize::try_from(length).map_err(|_| RecordError::CutShort)?;
    let (mut body, rest) = input.split_at_checked(length).ok_or(RecordError::CutShort)?;
    *input = rest;

    // The record's own attributes: one byte, no bit of which has a meaning yet.
    body = body.get(1..).ok_or(RecordError::CutShort)?;
    let timestamp = varint::read(&mut body).ok_or(RecordError::CutShort)?;
    let offset = varint::read_i32(&mut body).ok_or(RecordError::CutShort)?;
    let key = read_bytes(&mut body)?;
    let value = read_bytes(&mut body)?;
    let headers = read_headers(&mut body)?;
    if !body.is_empty() {
        return Err(RecordError::LeftOver { bytes: body.len() });
    }
    Ok(Parts { deltas: Deltas { timestamp, offset }, key, value, headers })
}

fn read_headers<'a>(body: &mut &'a [u8]) -> Result<HeadersView<'a>, RecordError> {
    let announced = varint::read_i32(body).ok_or(RecordError::CutShort)?;
    let count = usize::try_from(announced)
        .ok()
        // A header takes two bytes at least, so the bytes that are there bound the count.
        .filter(|count| *count <= HEADERS_PER_RECORD_MAX && *count <= body.len() / 2)
        .ok_or(RecordError::HeaderCount { count: announced })?;
    let headers = HeadersView { count, rest: body };
    for _ in 0..count {
        read_bytes(body)?.ok_or(RecordError::NullHeaderName)?;
        read_bytes(body)?;
    }
    Ok(headers)
}

#[inline]
fn read_bytes<'a>(input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    match varint::read_i32(input).ok_or(RecordError::CutShort)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| RecordError::CutShort)?;
            let (bytes, rest) = input.split_at_checked(length).ok_or(RecordError::CutShort)?;
            *input = rest;
            Ok(Some(bytes))
        }
    }
}

/// Bytes that [`write`] takes for this record at most, whatever its deltas turn out to be.
pub fn encoded_bytes_max(record: &Record) -> usize {
    let varints = 5 + 2 * record.headers.len();
    1 + varint::VARINT_BYTES_MAX * varints + record.payload_bytes()
}

/// Appends a record.
#[inline]
pub(crate) fn write(output: &mut impl BufMut, deltas: Deltas, record: &Record) {
    let headers_bytes: usize = record
        .headers
        .iter()
        .map(|header| bytes_size(Some(&header.name)) + bytes_size(header.value.as_deref()))
        .sum();
    let body_bytes = 1
        + varint::size(deltas.timestamp)
        + varint::size(i64::from(deltas.offset))
        + bytes_size(record.key.as_deref())
        + bytes_size(record.value.as_deref())
        + varint::size(length_number(record.headers.len()))
        + headers_bytes;

    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    put_numbers(output, |numbers| {
        varint::write(numbers, length_number(body_bytes));
        numbers.put_u8(0);
        varint::write(numbers, deltas.timestamp);
        varint::write(numbers, i64::from(deltas.offset));
        varint::write(numbers, length_or_null(key));
        if key.is_none() {
            varint::write(numbers, length_or_null(value));
        }
    });
    if let Some(key) = key {
        output.put_slice(key);
        varint::write(output, length_or_null(value));
    }
    output.put_slice(value.unwrap_or_default());
    varint::write(output, length_number(record.headers.len()));
    for header in &record.headers {
        write_bytes(output, Some(&header.name));
        write_bytes(output, header.value.as_deref());
    }
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::size(length_number(bytes.len())) + bytes.len())
}

#[inline]
fn write_bytes(output: &mut impl BufMut, bytes: Option<&[u8]>) {
    varint::write(output, length_or_null(bytes));
    output.put_slice(bytes.unwrap_or_default());
}

/// Writes the numbers at the front of a record, of which there are six at most: together, for asking the output for
/// room byte by byte costs more than all the rest of a small record.
#[inline]
fn put_numbers(output: &mut impl BufMut, write: impl FnOnce(&mut &mut [u8])) {
    let mut front = [0; 6 * varint::VARINT_BYTES_MAX];
    let mut numbers = &mut front[..];
    write(&mut numbers);
    let unused = numbers.len();
    let (used, _) = front.split_at(front.len() - unused);
    output.put_slice(used);
}

#[inline]
fn length_or_null(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| length_number(bytes.len()))
}

/// Lengths in memory never reach 2^63.
fn length_number(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
