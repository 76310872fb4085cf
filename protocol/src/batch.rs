//! The record batch: one byte layout for wire, gRPC and disk (Kafka's record batch, magic 2).
//!
//! A batch is checked once, where it enters, and from then on it is passed on as it lies there. Only base offset and
//! leader epoch are written into it, once, before it is stored: the checksum leaves both out on purpose. Where a
//! topic asks for append time, that is written too, and only then is the checksum computed anew.
//!
//! Integers are big-endian. [`LAYOUT`] is the table that `docs/format.md` shows.

#![warn(clippy::indexing_slicing)]

mod error;
mod header;
mod layout;
mod records;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

pub use self::error::BatchError;
pub use self::header::{Header, ProducerStamp};
pub use self::layout::{Field, HEADER_BYTES, LAYOUT};
pub use self::records::Records;

use self::layout::{
    ATTRIBUTES, BASE_OFFSET, CHECKSUM, LEADER_EPOCH, MAX_TIMESTAMP, checksum_of, put,
};
use crate::compression::{self, Compression};
use crate::id::{LeaderEpoch, Offset, Timestamp};
use crate::limits::{
    BATCH_BYTES_MAX, DECOMPRESSED_BYTES_FLOOR, DECOMPRESSED_BYTES_MAX, DECOMPRESSED_RATIO_MAX,
    RECORDS_PER_BATCH_MAX,
};
use crate::record::{self, Deltas, Record, RecordError};

/// A batch shorter than this is copied when it is stamped: that costs less than the memory that it might hold on to.
pub const STAMPED_IN_PLACE_BYTES_MIN: usize = 64 * 1024;

/// A whole batch whose header is sound and whose checksum matches: it may be passed on as it is.
///
/// Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    header: Header,
    bytes: Bytes,
}

impl Batch {
    /// Checks that `bytes` are exactly one batch: length, header, checksum. Records are not opened.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(bytes: Bytes) -> Result<Self, BatchError> {
        let header = Header::read(&bytes)?;
        match bytes.len().checked_sub(header.total_bytes) {
            None => Err(BatchError::CutShort { needed: header.total_bytes, found: bytes.len() }),
            Some(0) => {
                let expected = checksum_of(&bytes);
                if expected != header.checksum {
                    return Err(BatchError::Checksum { expected, found: header.checksum });
                }
                Ok(Self { header, bytes })
            }
            Some(left) => Err(BatchError::LeftOver { bytes: left }),
        }
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The whole batch as it lies on wire and disk.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Gives the bytes away.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Checks what a broker must know of a batch from a producer, beyond its checksum: it has records, one for each
    /// offset, each whole, and it unfolds to no more than `max(4 MiB, 4 * batch_bytes_max)`.
    ///
    /// `scratch` is cleared and used to unfold compressed records, so that callers can re-use its memory.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check_records(
        &self,
        batch_bytes_max: usize,
        scratch: &mut Vec<u8>,
    ) -> Result<(), BatchError> {
        let Header { record_count: count, last_offset_delta, .. } = self.header;
        if count == 0 || last_offset_delta != count - 1 {
            return Err(BatchError::Counts { count, last_offset_delta });
        }
        let cap = (batch_bytes_max.saturating_mul(DECOMPRESSED_RATIO_MAX))
            .clamp(DECOMPRESSED_BYTES_FLOOR, DECOMPRESSED_BYTES_MAX);
        let mut rest = self.unfold(cap, scratch)?;
        for index in 0..count {
            let invalid = |cause| BatchError::Record { index, cause };
            let parts = record::read(&mut rest).map_err(invalid)?;
            if parts.deltas.offset != index {
                let found = parts.deltas.offset;
                return Err(invalid(RecordError::OffsetDelta { expected: index, found }));
            }
        }
        if !rest.is_empty() {
            return Err(BatchError::LeftOver { bytes: rest.len() });
        }
        Ok(())
    }

    /// Opens the records for reading, those of a batch that compaction has thinned out too.
    ///
    /// `scratch` holds the unfolded records of a compressed batch while the iterator lives.
    ///
    /// # Errors
    /// When a compressed batch does not unfold. The records themselves are checked one by one.
    pub fn records<'a>(&'a self, scratch: &'a mut Vec<u8>) -> Result<Records<'a>, BatchError> {
        let rest = self.unfold(DECOMPRESSED_BYTES_MAX, scratch)?;
        Ok(Records::new(self.header, rest))
    }

    fn unfold<'a>(
        &'a self,
        bytes_max: usize,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], BatchError> {
        let folded = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        if self.header.compression == Compression::None {
            return Ok(folded);
        }
        compression::decompress(self.header.compression, folded, bytes_max, scratch)?;
        Ok(scratch)
    }

    /// Writes the place in the log, and the time where the topic asks for append time.
    ///
    /// In place when nobody else shares the bytes and they are most of the memory that they hold on to, as far as
    /// that can be told; else the batch is copied once. A batch that is kept does not keep the request it came in: one
    /// of less than [`STAMPED_IN_PLACE_BYTES_MIN`] always gets memory of its own. The checksum covers neither offset nor
    /// epoch; with an append time it is computed anew.
    #[must_use]
    pub fn stamp(self, stamp: Stamp) -> Self {
        let mut bytes = own(self.bytes);
        put(&mut bytes, BASE_OFFSET, &stamp.base_offset.get().to_be_bytes());
        put(&mut bytes, LEADER_EPOCH, &stamp.leader_epoch.0.to_be_bytes());
        let mut header = Header {
            base_offset: stamp.base_offset,
            leader_epoch: stamp.leader_epoch,
            ..self.header
        };
        if let Some(time) = stamp.append_time {
            header.append_time = true;
            header.max_timestamp = time;
            put(&mut bytes, ATTRIBUTES, &header.attributes().to_be_bytes());
            put(&mut bytes, MAX_TIMESTAMP, &time.0.to_be_bytes());
            header.checksum = checksum_of(&bytes);
            put(&mut bytes, CHECKSUM, &header.checksum.to_be_bytes());
        }
        Self { header, bytes: bytes.freeze() }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.header, f)
    }
}
/// What the broker writes into a batch before it stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The epoch of the partition's leader.
    pub leader_epoch: LeaderEpoch,
    /// The broker's time, where the topic has `message.timestamp.type=LogAppendTime`.
    pub append_time: Option<Timestamp>,
}
/// The bytes to be written to: the same memory if it is worth keeping, else a copy of just their length.
fn own(bytes: Bytes) -> BytesMut {
    if bytes.len() < STAMPED_IN_PLACE_BYTES_MIN {
        return BytesMut::from(&*bytes);
    }
    match bytes.try_into_mut() {
        Ok(alone) if alone.capacity() <= 2 * alone.len() => alone,
        Ok(roomy) => BytesMut::from(&*roomy),
        Err(shared) => BytesMut::from(&*shared),
    }
}
/// Splits bytes that hold whole batches, one behind the other, as a fetch answers them.
///
/// Each batch is checked as by [`Batch::check`]. A last batch that is cut short ends the iteration: brokers may cut
/// an answer at a byte limit.
pub fn split(mut bytes: Bytes) -> impl Iterator<Item = Result<Batch, BatchError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        match Header::read(&bytes) {
            Ok(header) if header.total_bytes <= bytes.len() => {
                Some(Batch::check(bytes.split_to(header.total_bytes)))
            }
            Ok(_) | Err(BatchError::CutShort { .. }) => {
                bytes.clear();
                None
            }
            Err(error) => {
                bytes.clear();
                Some(Err(error))
            }
        }
    })
}
/// Builds a batch record by record. Uncompressed records are written where they will stay.
///
/// ```
/// use thalweg_protocol::batch::Builder;
/// use thalweg_protocol::compression::Compression;
/// use thalweg_protocol::id::Timestamp;
/// use thalweg_protocol::record::Record;
///
/// let mut builder = Builder::new(Compression::None);
/// builder.push(&Record::new("k", "v"), Timestamp(1_700_000_000_000));
/// let batch = builder.finish(None);
/// assert_eq!(batch.header().record_count, 1);
/// ```
#[derive(Debug)]
pub struct Builder {
    compression: Compression,
    transactional: bool,
    buffer: BytesMut,
    count: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

impl Builder {
    /// An empty batch whose records will be compressed so.
    pub fn new(compression: Compression) -> Self {
        Self::with_capacity(compression, 0)
    }

    /// The same with room for `bytes` of records.
    pub fn with_capacity(compression: Compression, bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(HEADER_BYTES + bytes);
        buffer.put_bytes(0, HEADER_BYTES);
        Self {
            compression,
            transactional: false,
            buffer,
            count: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
        }
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.transactional = true;
        self
    }

    /// Adds a record. Its own timestamp counts; `now` stands in where it has none.
    ///
    /// # Panics
    /// Past [`RECORDS_PER_BATCH_MAX`] records: ask [`Self::is_full`] first.
    pub fn push(&mut self, record: &Record, now: Timestamp) {
        assert!(!self.is_full(), "a batch holds at most {RECORDS_PER_BATCH_MAX} records");
        let timestamp = record.timestamp.unwrap_or(now);
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let deltas = Deltas {
            timestamp: timestamp.0.wrapping_sub(self.base_timestamp.0),
            offset: self.count,
        };
        record::write(&mut self.buffer, deltas, record);
        self.count += 1;
    }

    /// Records so far.
    pub fn record_count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// True while nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// True when no further record may be added, whatever its size.
    pub fn is_full(&self) -> bool {
        self.record_count() >= RECORDS_PER_BATCH_MAX
    }

    /// Bytes of the batch as it stands, before compression.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Compresses, writes the header and the checksum.
    ///
    /// # Panics
    /// Without a record, or past [`BATCH_BYTES_MAX`]: whoever fills a builder minds [`Self::bytes`].
    pub fn finish(self, producer: Option<ProducerStamp>) -> Batch {
        assert!(self.count > 0, "a batch holds at least one record");
        let mut bytes = match self.compression {
            Compression::None => self.buffer,
            codec => {
                let records = self.buffer.get(HEADER_BYTES..).unwrap_or_default();
                let mut folded = vec![0; HEADER_BYTES];
                compression::compress(codec, records, &mut folded);
                BytesMut::from(Bytes::from(folded))
            }
        };
        assert!(bytes.len() <= BATCH_BYTES_MAX, "a batch holds at most {BATCH_BYTES_MAX} bytes");
        let mut header = Header {
            base_offset: Offset::ZERO,
            total_bytes: bytes.len(),
            leader_epoch: LeaderEpoch(0),
            checksum: 0,
            compression: self.compression,
            append_time: false,
            transactional: self.transactional,
            control: false,
            delete_horizon: false,
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer,
            record_count: self.count,
        };
        header.write(&mut bytes);
        header.checksum = checksum_of(&bytes);
        put(&mut bytes, CHECKSUM, &header.checksum.to_be_bytes());
        Batch { header, bytes: bytes.freeze() }
    }
}
