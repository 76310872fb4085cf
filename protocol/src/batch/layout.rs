//! Where the fields of a batch header lie, and what its checksum covers.
//!
//! Numbers here are a promise to every file and every client there is.

#![warn(clippy::indexing_slicing)]

use std::ops::Range;

use bytes::BytesMut;

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

pub(super) const BASE_OFFSET: usize = 0;
pub(super) const LENGTH: usize = 8;
pub(super) const LEADER_EPOCH: usize = 12;
pub(super) const MAGIC: usize = 16;
pub(super) const CHECKSUM: usize = 17;
pub(super) const ATTRIBUTES: usize = 21;
pub(super) const LAST_OFFSET_DELTA: usize = 23;
pub(super) const BASE_TIMESTAMP: usize = 27;
pub(super) const MAX_TIMESTAMP: usize = 35;
pub(super) const PRODUCER_ID: usize = 43;
pub(super) const PRODUCER_EPOCH: usize = 51;
pub(super) const BASE_SEQUENCE: usize = 53;
pub(super) const RECORD_COUNT: usize = 57;

/// Bytes of the header: every batch is at least this long.
pub const HEADER_BYTES: usize = 61;

/// Bytes in front of the length field's reach: base offset and the length itself.
pub(super) const LENGTH_END: usize = 12;

/// The only layout that is read and written.
pub(super) const MAGIC_V2: i8 = 2;

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

pub(super) const ATTRIBUTE_COMPRESSION: i16 = 0b111;
pub(super) const ATTRIBUTE_APPEND_TIME: i16 = 1 << 3;
pub(super) const ATTRIBUTE_TRANSACTIONAL: i16 = 1 << 4;
pub(super) const ATTRIBUTE_CONTROL: i16 = 1 << 5;
pub(super) const ATTRIBUTE_DELETE_HORIZON: i16 = 1 << 6;
pub(super) const ATTRIBUTES_KNOWN: i16 = 0b111_1111;

/// The checksum that the bytes of a whole batch should carry.
pub(super) fn checksum_of(batch: &[u8]) -> u32 {
    let covered = batch.get(ATTRIBUTES..).unwrap_or_default();
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, covered);
    u32::try_from(sum & u64::from(u32::MAX)).unwrap_or_default()
}

/// Writes a field into a whole batch, whose header is there.
pub(super) fn put(bytes: &mut BytesMut, place: usize, field: &[u8]) {
    if let Some(target) = bytes.get_mut(place..place + field.len()) {
        target.copy_from_slice(field);
    }
}
