//! Why bytes are not a batch, and what their sender is told.

use crate::compression::CompressionError;
use crate::limits::RECORDS_PER_BATCH_MAX;
use crate::outcome::Outcome;
use crate::record::RecordError;

use super::layout::HEADER_BYTES;

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
