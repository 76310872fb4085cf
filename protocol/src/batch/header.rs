//! The header of a batch as values: read from bytes that anybody may have written, and written.

#![warn(clippy::indexing_slicing)]

use bytes::BytesMut;

use super::error::BatchError;
use super::layout::{
    ATTRIBUTE_APPEND_TIME, ATTRIBUTE_COMPRESSION, ATTRIBUTE_CONTROL, ATTRIBUTE_DELETE_HORIZON,
    ATTRIBUTE_TRANSACTIONAL, ATTRIBUTES, ATTRIBUTES_KNOWN, BASE_OFFSET, BASE_SEQUENCE,
    BASE_TIMESTAMP, HEADER_BYTES, LAST_OFFSET_DELTA, LEADER_EPOCH, LENGTH, LENGTH_END, MAGIC,
    MAGIC_V2, MAX_TIMESTAMP, PRODUCER_EPOCH, PRODUCER_ID, RECORD_COUNT, put,
};
use crate::compression::Compression;
use crate::id::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::limits::{BATCH_BYTES_MAX, RECORDS_PER_BATCH_MAX};

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

    /// Writes every field but the checksum into a whole batch.
    pub(super) fn write(&self, bytes: &mut BytesMut) {
        let length = i32::try_from(self.total_bytes - LENGTH_END).unwrap_or(i32::MAX);
        let (id, epoch, sequence) = self.producer.map_or((-1, -1, -1), |producer| {
            (producer.id.0, producer.epoch.0, producer.base_sequence.get())
        });
        put(bytes, BASE_OFFSET, &self.base_offset.get().to_be_bytes());
        put(bytes, LENGTH, &length.to_be_bytes());
        put(bytes, LEADER_EPOCH, &self.leader_epoch.0.to_be_bytes());
        put(bytes, MAGIC, &MAGIC_V2.to_be_bytes());
        put(bytes, ATTRIBUTES, &self.attributes().to_be_bytes());
        put(bytes, LAST_OFFSET_DELTA, &self.last_offset_delta.to_be_bytes());
        put(bytes, BASE_TIMESTAMP, &self.base_timestamp.0.to_be_bytes());
        put(bytes, MAX_TIMESTAMP, &self.max_timestamp.0.to_be_bytes());
        put(bytes, PRODUCER_ID, &id.to_be_bytes());
        put(bytes, PRODUCER_EPOCH, &epoch.to_be_bytes());
        put(bytes, BASE_SEQUENCE, &sequence.to_be_bytes());
        put(bytes, RECORD_COUNT, &self.record_count.to_be_bytes());
    }

    /// The attribute bits, as they lie in the batch.
    pub(super) fn attributes(&self) -> i16 {
        let bit = |set: bool, bit: i16| if set { bit } else { 0 };
        i16::from(self.compression as u8)
            | bit(self.append_time, ATTRIBUTE_APPEND_TIME)
            | bit(self.transactional, ATTRIBUTE_TRANSACTIONAL)
            | bit(self.control, ATTRIBUTE_CONTROL)
            | bit(self.delete_horizon, ATTRIBUTE_DELETE_HORIZON)
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
