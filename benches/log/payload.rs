//! Bytes that do not compress, cheaply: records are slices of one random block.

use bytes::Bytes;
use protocol::record::Record;

/// Large enough that no two records of a batch are alike.
const BLOCK_BYTES: usize = 4 * 1024 * 1024;

/// So far apart lie the beginnings of two records; odd, so that all alignments occur.
const STEP_BYTES: usize = 1021;

/// Random bytes: the same for the same seed.
pub(crate) fn random(bytes: usize, seed: u64) -> Vec<u8> {
    // xorshift64*: no seed but 0 leads to 0.
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes()
    });
    words.flatten().take(bytes).collect()
}

/// An endless row of values for one producer.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    block: Bytes,
    record_bytes: usize,
    at: usize,
}

impl Payload {
    /// Values of `record_bytes` bytes each, at most a MiB.
    pub(crate) fn new(record_bytes: usize, seed: u64) -> Self {
        Self { block: random(BLOCK_BYTES, seed).into(), record_bytes, at: 0 }
    }

    /// The next record: no key, no headers.
    pub(crate) fn record(&mut self) -> Record {
        let start = self.at;
        self.at = (start + STEP_BYTES) % (BLOCK_BYTES - self.record_bytes);
        Record::of_value(self.block.slice(start..start + self.record_bytes))
    }
}
