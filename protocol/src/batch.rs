//! The record batch: one byte layout for wire, gRPC and disk (Kafka's record batch, magic 2).
//!
//! A batch is checked once, where it enters, and from then on it is passed on as it lies there. Only base offset and
//! leader epoch are written into it, once, before it is stored: the checksum leaves both out on purpose. Where a
//! topic asks for append time, that is written too, and only then is the checksum computed anew.
//!
//! Integers are big-endian. [`LAYOUT`] is the table that `docs/format.md` shows.

#![warn(clippy::indexing_slicing)]

use std::fmt;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use crate::compression::{self, Compression, CompressionError};
use crate::id::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::limits::{
    BATCH_BYTES_MAX, DECOMPRESSED_BYTES_FLOOR, DECOMPRESSED_BYTES_MAX, DECOMPRESSED_RATIO_MAX,
    RECORDS_PER_BATCH_MAX,
};
use crate::outcome::Outcome;
use crate::record::{self, Deltas, Record, RecordError, RecordView};

/// A field of the batch header: name, place, meaning.
#[derive(Clone, Debug)]
pub struct Field {
    /// Kafka's name of the field.
    pub name: &'static str,
    /// The bytes it takes, from the start of the batch.
    pub bytes: Range<usize>,
    /// What it holds.
    pub meaning: &'static str,
}

const BASE_OFFSET: usize = 0;
const LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const MAGIC: usize = 16;
const CHECKSUM: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
const RECORD_COUNT: usize = 57;

/// Bytes of the header: every batch is at least this long.
pub const HEADER_BYTES: usize = 61;

/// A batch shorter than this is copied when it is stamped: that costs less than the memory that it might hold on to.
pub const STAMPED_IN_PLACE_BYTES_MIN: usize = 64 * 1024;

/// Bytes in front of the length field's reach: base offset and the length itself.
const LENGTH_END: usize = 12;

/// The only layout that is read and written.
const MAGIC_V2: i8 = 2;

/// The header, field by field.
pub const LAYOUT: [Field; 13] = [
    Field {
        name: "baseOffset",
        bytes: BASE_OFFSET..LENGTH,
        meaning: "offset of the first record; stamped by the broker",
    },
    Field {
        name: "batchLength",
        bytes: LENGTH..LEADER_EPOCH,
        meaning: "bytes behind this field, to the end of the batch",
    },
    Field {
        name: "partitionLeaderEpoch",
        bytes: LEADER_EPOCH..MAGIC,
        meaning: "stamped by the broker",
    },
    Field { name: "magic", bytes: MAGIC..CHECKSUM, meaning: "2" },
    Field {
        name: "crc",
        bytes: CHECKSUM..ATTRIBUTES,
        meaning: "CRC-32C of everything behind this field",
    },
    Field {
        name: "attributes",
        bytes: ATTRIBUTES..LAST_OFFSET_DELTA,
        meaning: "bits 0-2 compression, 3 append time, 4 transactional, 5 control, 6 delete horizon",
    },
    Field {
        name: "lastOffsetDelta",
        bytes: LAST_OFFSET_DELTA..BASE_TIMESTAMP,
        meaning: "offset of the last record minus baseOffset",
    },
    Field {
        name: "baseTimestamp",
        bytes: BASE_TIMESTAMP..MAX_TIMESTAMP,
        meaning: "milliseconds since 1970; records hold the difference to it",
    },
    Field {
        name: "maxTimestamp",
        bytes: MAX_TIMESTAMP..PRODUCER_ID,
        meaning: "largest timestamp in the batch; with append time, that of every record",
    },
    Field {
        name: "producerId",
        bytes: PRODUCER_ID..PRODUCER_EPOCH,
        meaning: "-1 without an idempotent producer",
    },
    Field {
        name: "producerEpoch",
        bytes: PRODUCER_EPOCH..BASE_SEQUENCE,
        meaning: "-1 without an idempotent producer",
    },
    Field {
        name: "baseSequence",
        bytes: BASE_SEQUENCE..RECORD_COUNT,
        meaning: "sequence of the first record; -1 without an idempotent producer",
    },
    Field {
        name: "recordsCount",
        bytes: RECORD_COUNT..HEADER_BYTES,
        meaning: "records in the batch",
    },
];

const ATTRIBUTE_COMPRESSION: i16 = 0b111;
const ATTRIBUTE_APPEND_TIME: i16 = 1 << 3;
const ATTRIBUTE_TRANSACTIONAL: i16 = 1 << 4;
const ATTRIBUTE_CONTROL: i16 = 1 << 5;
const ATTRIBUTE_DELETE_HORIZON: i16 = 1 << 6;
const ATTRIBUTES_KNOWN: i16 = 0b111_1111;

/// Why bytes are not a batch, or not one that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the batch is cut short: {needed} bytes needed, {found} there")]
    CutShort {
        /// Bytes that the header announces, or those of a header.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The length field is smaller than a header or larger than anything that is allowed.
    #[error(
        "the batch announces a length of {announced} bytes; {HEADER_BYTES} to {bytes_max} are allowed"
    )]
    Length {
        /// Whole length, from its base offset to its end.
        announced: i64,
        /// The limit in force.
        bytes_max: usize,
    },
    /// Another layout: magic 0 and 1 are the message sets of old clients.
    #[error("the batch has magic {found}; only 2 is known")]
    Magic {
        /// The magic byte.
        found: i8,
    },
    /// The checksum does not match.
    #[error("the checksum of the batch is {found:#010x} where its bytes give {expected:#010x}")]
    Checksum {
        /// What the bytes give.
        expected: u32,
        /// What the batch says.
        found: u32,
    },
    /// Bits that have no meaning are set.
    #[error("the attributes {found:#06x} have bits that have no meaning")]
    Attributes {
        /// All attribute bits.
        found: i16,
    },
    /// The number of the codec is not taken.
    #[error("compression number {found} is unknown")]
    Codec {
        /// The number, 5 to 7.
        found: u8,
    },
    /// Record count and last offset delta contradict each other or a limit.
    #[error(
        "the batch announces {count} records and a last offset delta of {last_offset_delta}; 1 to {RECORDS_PER_BATCH_MAX} records are allowed, and the delta is one less"
    )]
    Counts {
        /// Records announced.
        count: i32,
        /// Last offset delta announced.
        last_offset_delta: i32,
    },
    /// Offsets are negative or would pass 2^63 - 1.
    #[error("the base offset {found} is not valid")]
    BaseOffset {
        /// The field.
        found: i64,
    },
    /// Producer id, epoch and sequence do not go together.
    #[error("producer id {id}, epoch {epoch} and sequence {sequence} do not go together")]
    Producer {
        /// The id field.
        id: i64,
        /// The epoch field.
        epoch: i16,
        /// The base sequence field.
        sequence: i32,
    },
    /// A record breaks a rule.
    #[error("record {index} of the batch is not valid: {cause}")]
    Record {
        /// Which record, from 0.
        index: i32,
        /// The rule.
        cause: RecordError,
    },
    /// Bytes are left behind the last record.
    #[error("{bytes} bytes are left over behind the last record of the batch")]
    LeftOver {
        /// How many.
        bytes: usize,
    },
    /// The records cannot be unfolded.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl BatchError {
    /// What a producer is told that sent such bytes.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Codec { .. } => Outcome::UnsupportedCompression,
            Self::Record { .. } | Self::Counts { .. } | Self::Producer { .. } => {
                Outcome::InvalidRecord
            }
            Self::Compression(CompressionError::TooLarge { .. }) => Outcome::BatchTooLarge,
            Self::CutShort { .. }
            | Self::Length { .. }
            | Self::Magic { .. }
            | Self::Checksum { .. }
            | Self::Attributes { .. }
            | Self::BaseOffset { .. }
            | Self::LeftOver { .. }
            | Self::Compression(CompressionError::Damaged { .. }) => Outcome::CorruptBatch,
        }
    }
}

/// The producer's part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer.
    pub id: ProducerId,
    /// Its life.
    pub epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub base_sequence: Sequence,
}

/// The header of a batch whose length, magic, attributes and counts are sound. The checksum is another matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes of the whole batch, header included.
    pub total_bytes: usize,
    /// The leader epoch stamped on it.
    pub leader_epoch: LeaderEpoch,
    /// The checksum it carries.
    pub checksum: u32,
    /// How its records are compressed.
    pub compression: Compression,
    /// True when `max_timestamp` is the time of every record: the broker's clock at the append.
    pub append_time: bool,
    /// True for a batch of a transaction.
    pub transactional: bool,
    /// True for the markers of transactions, which are not for readers.
    pub control: bool,
    /// True when compaction has set a delete horizon in the base timestamp.
    pub delete_horizon: bool,
    /// Offset of the last record minus the base offset. After compaction it may be larger than the count says.
    pub last_offset_delta: i32,
    /// Records hold the difference to it.
    pub base_timestamp: Timestamp,
    /// Largest timestamp in the batch.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, if there is one.
    pub producer: Option<ProducerStamp>,
    /// Records in the batch.
    pub record_count: i32,
}

impl Header {
    /// Reads the header at the front of `bytes`, which need not hold the whole batch.
    ///
    /// # Errors
    /// When there are fewer than [`HEADER_BYTES`], or a field contradicts the layout. Nothing is allocated.
    pub fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::CutShort { needed: HEADER_BYTES, found: bytes.len() });
        };
        let mut fields = Fields(head);
        let base_offset = i64::from_be_bytes(fields.take());
        let length = i32::from_be_bytes(fields.take());
        let leader_epoch = i32::from_be_bytes(fields.take());
        let magic = i8::from_be_bytes(fields.take());
        let checksum = u32::from_be_bytes(fields.take());
        let attributes = i16::from_be_bytes(fields.take());
        let last_offset_delta = i32::from_be_bytes(fields.take());
        let base_timestamp = i64::from_be_bytes(fields.take());
        let max_timestamp = i64::from_be_bytes(fields.take());
        let producer_id = i64::from_be_bytes(fields.take());
        let producer_epoch = i16::from_be_bytes(fields.take());
        let base_sequence = i32::from_be_bytes(fields.take());
        let record_count = i32::from_be_bytes(fields.take());

        if magic != MAGIC_V2 {
            return Err(BatchError::Magic { found: magic });
        }
        let announced = i64::from(length) + LENGTH_END as i64;
        let total_bytes = usize::try_from(announced)
            .ok()
            .filter(|total| (HEADER_BYTES..=BATCH_BYTES_MAX).contains(total))
            .ok_or(BatchError::Length { announced, bytes_max: BATCH_BYTES_MAX })?;
        if attributes & !ATTRIBUTES_KNOWN != 0 {
            return Err(BatchError::Attributes { found: attributes });
        }
        let codec = u8::try_from(attributes & ATTRIBUTE_COMPRESSION).unwrap_or(u8::MAX);
        let compression =
            Compression::from_number(codec).ok_or(BatchError::Codec { found: codec })?;
        let counts = BatchError::Counts { count: record_count, last_offset_delta };
        // After compaction fewer records than offsets are left, even none.
        if record_count < 0
            || last_offset_delta < 0
            || i64::from(record_count) > i64::from(last_offset_delta) + 1
            || usize::try_from(record_count).unwrap_or(usize::MAX) > RECORDS_PER_BATCH_MAX
            || usize::try_from(last_offset_delta).unwrap_or(usize::MAX) >= RECORDS_PER_BATCH_MAX
        {
            return Err(counts);
        }
        let base_offset = Offset::new(base_offset)
            .ok()
            .filter(|base| base.get().checked_add(i64::from(last_offset_delta) + 1).is_some())
            .ok_or(BatchError::BaseOffset { found: base_offset })?;
        let producer = match (producer_id, producer_epoch, Sequence::new(base_sequence)) {
            (-1, _, _) => None,
            (0.., 0.., Some(base_sequence)) => Some(ProducerStamp {
                id: ProducerId(producer_id),
                epoch: ProducerEpoch(producer_epoch),
                base_sequence,
            }),
            _ => {
                return Err(BatchError::Producer {
                    id: producer_id,
                    epoch: producer_epoch,
                    sequence: base_sequence,
                });
            }
        };
        Ok(Self {
            base_offset,
            total_bytes,
            leader_epoch: LeaderEpoch(leader_epoch),
            checksum,
            compression,
            append_time: attributes & ATTRIBUTE_APPEND_TIME != 0,
            transactional: attributes & ATTRIBUTE_TRANSACTIONAL != 0,
            control: attributes & ATTRIBUTE_CONTROL != 0,
            delete_horizon: attributes & ATTRIBUTE_DELETE_HORIZON != 0,
            last_offset_delta,
            base_timestamp: Timestamp(base_timestamp),
            max_timestamp: Timestamp(max_timestamp),
            producer,
            record_count,
        })
    }

    /// Offset behind the last record: where the next batch begins.
    pub fn end_offset(&self) -> Offset {
        self.base_offset.plus(u64::from(self.last_offset_delta.unsigned_abs()) + 1)
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(u64::from(self.last_offset_delta.unsigned_abs()))
    }

    /// Offsets that the batch spans.
    pub fn offset_count(&self) -> u32 {
        self.last_offset_delta.unsigned_abs() + 1
    }
}

/// Takes fixed-size fields from the front of a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        // The fields add up to HEADER_BYTES (asserted in the tests), so the bytes are always there.
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}

/// The checksum that the bytes of a whole batch should carry.
fn checksum_of(batch: &[u8]) -> u32 {
    let covered = batch.get(ATTRIBUTES..).unwrap_or_default();
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, covered);
    u32::try_from(sum & u64::from(u32::MAX)).unwrap_or_default()
}

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
        Ok(Records { header: self.header, index: 0, rest })
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
            put(&mut bytes, ATTRIBUTES, &attributes_of(&header).to_be_bytes());
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

fn attributes_of(header: &Header) -> i16 {
    let bit = |set: bool, bit: i16| if set { bit } else { 0 };
    i16::from(header.compression as u8)
        | bit(header.append_time, ATTRIBUTE_APPEND_TIME)
        | bit(header.transactional, ATTRIBUTE_TRANSACTIONAL)
        | bit(header.control, ATTRIBUTE_CONTROL)
        | bit(header.delete_horizon, ATTRIBUTE_DELETE_HORIZON)
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

fn put(bytes: &mut BytesMut, place: usize, field: &[u8]) {
    // Only called on whole batches, whose header is there.
    if let Some(target) = bytes.get_mut(place..place + field.len()) {
        target.copy_from_slice(field);
    }
}

/// The records of a batch, in order. Ends after the first record that breaks a rule.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: Header,
    index: i32,
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.header.record_count {
            return None;
        }
        let index = self.index;
        self.index += 1;
        let parts = match record::read(&mut self.rest) {
            Ok(parts) => parts,
            Err(cause) => {
                self.index = self.header.record_count;
                return Some(Err(BatchError::Record { index, cause }));
            }
        };
        let timestamp = if self.header.append_time {
            self.header.max_timestamp
        } else {
            Timestamp(self.header.base_timestamp.0.saturating_add(parts.deltas.timestamp))
        };
        Some(Ok(RecordView {
            offset: self.header.base_offset.plus(u64::from(parts.deltas.offset.unsigned_abs())),
            timestamp,
            key: parts.key,
            value: parts.value,
            headers: parts.headers,
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.header.record_count - self.index).unwrap_or(0);
        (0, Some(left))
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
        write_header(&mut bytes, &header);
        header.checksum = checksum_of(&bytes);
        put(&mut bytes, CHECKSUM, &header.checksum.to_be_bytes());
        Batch { header, bytes: bytes.freeze() }
    }
}

fn write_header(bytes: &mut BytesMut, header: &Header) {
    let length = i32::try_from(header.total_bytes - LENGTH_END).unwrap_or(i32::MAX);
    let (id, epoch, sequence) = header.producer.map_or((-1, -1, -1), |producer| {
        (producer.id.0, producer.epoch.0, producer.base_sequence.get())
    });
    put(bytes, BASE_OFFSET, &header.base_offset.get().to_be_bytes());
    put(bytes, LENGTH, &length.to_be_bytes());
    put(bytes, LEADER_EPOCH, &header.leader_epoch.0.to_be_bytes());
    put(bytes, MAGIC, &MAGIC_V2.to_be_bytes());
    put(bytes, ATTRIBUTES, &attributes_of(header).to_be_bytes());
    put(bytes, LAST_OFFSET_DELTA, &header.last_offset_delta.to_be_bytes());
    put(bytes, BASE_TIMESTAMP, &header.base_timestamp.0.to_be_bytes());
    put(bytes, MAX_TIMESTAMP, &header.max_timestamp.0.to_be_bytes());
    put(bytes, PRODUCER_ID, &id.to_be_bytes());
    put(bytes, PRODUCER_EPOCH, &epoch.to_be_bytes());
    put(bytes, BASE_SEQUENCE, &sequence.to_be_bytes());
    put(bytes, RECORD_COUNT, &header.record_count.to_be_bytes());
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may fail")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Header as RecordHeader;

    /// Where a stamped batch lies, if it was handed in as these bytes of a buffer.
    fn stamped_place(buffer: Vec<u8>, range: Range<usize>) -> (*const u8, *const u8) {
        let buffer = Bytes::from(buffer);
        let bytes = buffer.slice(range);
        drop(buffer);
        let before = bytes.as_ptr();
        let stamp =
            Stamp { base_offset: Offset::ZERO, leader_epoch: LeaderEpoch(1), append_time: None };
        (before, Batch::check(bytes).unwrap().stamp(stamp).bytes().as_ptr())
    }

    #[test]
    fn a_stamped_batch_holds_on_to_little_more_than_itself() {
        let batch = |bytes| {
            let mut builder = Builder::new(Compression::None);
            builder.push(&Record::of_value(vec![7; bytes]), Timestamp(1));
            builder.finish(None).into_bytes().to_vec()
        };
        let large = batch(STAMPED_IN_PLACE_BYTES_MIN);
        let (before, after) = stamped_place(large.clone(), 0..large.len());
        assert_eq!(before, after, "a large batch that lies alone is stamped in place");
        let roomy = [&large[..], &vec![0; 2 * large.len()]].concat();
        let (before, after) = stamped_place(roomy, 0..large.len());
        assert_ne!(before, after, "a request three times as large is let go");
        let small = batch(100);
        let request = [&vec![0; 1 << 20], &small[..]].concat();
        let (before, after) = stamped_place(request, (1 << 20)..(1 << 20) + small.len());
        assert_ne!(before, after, "a small batch gets memory of its own");
    }

    fn any_bytes() -> impl Strategy<Value = Option<Bytes>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from))
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let header = (prop::collection::vec(any::<u8>(), 0..8), any_bytes())
            .prop_map(|(name, value)| RecordHeader { name: name.into(), value });
        (any_bytes(), any_bytes(), prop::collection::vec(header, 0..4), any::<i64>()).prop_map(
            |(key, value, headers, time)| Record {
                key,
                value,
                headers,
                timestamp: Some(Timestamp(time / 4)),
            },
        )
    }

    fn any_batch() -> impl Strategy<Value = (Vec<Record>, Batch)> {
        let records = prop::collection::vec(any_record(), 1..20);
        (records, prop::sample::select(&Compression::ALL[..])).prop_map(|(records, codec)| {
            let mut builder = Builder::new(codec);
            for record in &records {
                builder.push(record, Timestamp(0));
            }
            let batch = builder.finish(None);
            (records, batch)
        })
    }

    proptest! {
        #[test]
        fn what_is_built_is_read((records, batch) in any_batch(), base in 0_i64..1 << 60) {
            let base_offset = Offset::new(base).unwrap();
            let stamp = Stamp { base_offset, leader_epoch: LeaderEpoch(7), append_time: None };
            let stamped = Batch::check(batch.stamp(stamp).into_bytes()).unwrap();
            let mut scratch = Vec::new();
            stamped.check_records(1024, &mut scratch).unwrap();
            let read: Vec<_> = stamped.records(&mut scratch).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), records.len());
            for (index, (view, record)) in read.iter().zip(&records).enumerate() {
                prop_assert_eq!(view.offset, base_offset.plus(index as u64));
                prop_assert_eq!(&view.to_record(stamped.bytes()), record);
            }
        }

        #[test]
        fn one_flipped_bit_is_noticed((_, batch) in any_batch(), place in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = batch.bytes().to_vec();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let stamped_later = (BASE_OFFSET..LENGTH).contains(&place) || (LEADER_EPOCH..MAGIC).contains(&place);
            prop_assert_eq!(Batch::check(bytes.into()).is_ok() , stamped_later && bytes_are_sound(place, bit));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Batch::check(bytes.clone().into()).is_err());
            prop_assert!(split(bytes.into()).count() <= 1);
        }

        #[test]
        fn damaged_records_behind_a_right_checksum_are_refused_or_read(
            (_, batch) in any_batch(),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = BytesMut::from(&batch.bytes()[..]);
            let place = ATTRIBUTES + place.index(bytes.len() - ATTRIBUTES);
            bytes[place] = byte;
            let checksum = checksum_of(&bytes);
            put(&mut bytes, CHECKSUM, &checksum.to_be_bytes());
            if let Ok(batch) = Batch::check(bytes.freeze()) {
                let mut scratch = Vec::new();
                let _ = batch.check_records(1024, &mut scratch);
                if let Ok(records) = batch.records(&mut scratch) {
                    prop_assert!(records.count() <= RECORDS_PER_BATCH_MAX);
                }
            }
        }
    }

    /// The sign bit of the base offset makes it negative; a top bit may push its end past 2^63.
    fn bytes_are_sound(place: usize, bit: u8) -> bool {
        !(place == BASE_OFFSET && bit == 7)
    }

    #[test]
    fn the_layout_has_no_gap() {
        let mut end = 0;
        for field in LAYOUT {
            assert_eq!(field.bytes.start, end, "{}", field.name);
            end = field.bytes.end;
        }
        assert_eq!(end, HEADER_BYTES);
    }

    #[test]
    fn append_time_is_the_time_of_every_record() {
        let mut builder = Builder::new(Compression::Lz4);
        builder.push(&Record::new("a", "1"), Timestamp(5));
        builder.push(&Record::new("b", "2"), Timestamp(9));
        let stamped = builder.finish(None).stamp(Stamp {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch(0),
            append_time: Some(Timestamp(1234)),
        });
        let stamped = Batch::check(stamped.into_bytes()).unwrap();
        let mut scratch = Vec::new();
        let times: Vec<_> = stamped
            .records(&mut scratch)
            .unwrap()
            .map(|record| record.unwrap().timestamp.0)
            .collect();
        assert_eq!(times, [1234, 1234]);
    }

    #[test]
    fn stamping_bytes_of_ones_own_copies_nothing() {
        let bytes = STAMPED_IN_PLACE_BYTES_MIN;
        let mut builder = Builder::with_capacity(Compression::None, bytes + 1024);
        builder.push(&Record::of_value(vec![1; bytes]), Timestamp(5));
        let batch = builder.finish(None);
        let before = batch.bytes().as_ptr();
        let stamp =
            Stamp { base_offset: Offset::ZERO, leader_epoch: LeaderEpoch(0), append_time: None };
        assert_eq!(batch.stamp(stamp).bytes().as_ptr(), before);
    }

    #[test]
    fn the_checksum_is_kafkas() {
        // CRC-32C of "123456789" is the check value of the algorithm's catalogue entry.
        let mut bytes = vec![0; ATTRIBUTES];
        bytes.extend(b"123456789");
        assert_eq!(checksum_of(&bytes), 0xe306_9283);
    }

    #[test]
    fn counts_of_a_hostile_header_are_refused_before_anything_is_allocated() {
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record::new("a", "1"), Timestamp(5));
        let mut bytes = BytesMut::from(&builder.finish(None).bytes()[..]);
        for (count, delta) in [(i32::MAX, i32::MAX - 1), (-1, 0), (2, 0), (1, i32::MAX)] {
            put(&mut bytes, RECORD_COUNT, &count.to_be_bytes());
            put(&mut bytes, LAST_OFFSET_DELTA, &delta.to_be_bytes());
            assert!(matches!(Header::read(&bytes), Err(BatchError::Counts { .. })));
        }
    }
}
