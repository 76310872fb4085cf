//! What an owner of a log may choose: plain values, in force from the next call on.
//!
//! What must never change for a data folder is not here but in `format.rs`.

/// Smallest segment that is worth its files, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 1024;

/// Largest segment, in bytes: Kafka's own limit. Positions in an index are 32 bits wide, and the last batch of a
/// segment may pass the limit by less than [`protocol::limits::BATCH_BYTES_MAX`].
pub const SEGMENT_BYTES_MAX: u64 = 0x7fff_ffff;

const _: () = assert!(
    SEGMENT_BYTES_MAX + protocol::limits::BATCH_BYTES_MAX as u64 <= u32::MAX as u64,
    "every position in a segment fits into 32 bits"
);

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The choices for one log. [`Options::default`] are Kafka's defaults where Kafka has the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment is rolled before it grows past this many bytes (`segment.bytes`), unless a single batch does.
    /// Bounds: [`SEGMENT_BYTES_MIN`]..=[`SEGMENT_BYTES_MAX`]; what lies outside is moved to the bound.
    pub segment_bytes: u64,
    /// A segment is rolled at the first append this many milliseconds after its first (`segment.ms`).
    pub segment_ms: u64,
    /// Records older than this many milliseconds may go (`retention.ms`); `None` keeps them for ever.
    pub retention_ms: Option<u64>,
    /// The oldest segments go while the others hold at least this many bytes (`retention.bytes`); `None` for no
    /// bound.
    pub retention_bytes: Option<u64>,
    /// Records get the time of the append (`message.timestamp.type=LogAppendTime`).
    pub append_time: bool,
    /// About this many bytes lie between two index entries (`index.interval.bytes`); more in segments so large that
    /// the index would pass its own bound.
    pub index_interval_bytes: u32,
    /// After this many synced bytes the recovery point moves up: about the most that is scanned after a crash.
    pub checkpoint_bytes: u64,
    /// After this many synced bytes it is written down, without a sync, how far the log is synced: about the most in
    /// which damage can be taken for an unfinished write after the death of a process. 0 for after every sync.
    pub mark_bytes: u64,
    /// Bytes of the newest batches that stay in memory for readers.
    pub tail_bytes_max: usize,
    /// A log without an append for this many milliseconds gives back its memory and its file handle.
    pub idle_ms: u64,
    /// A producer without an append for this many milliseconds is forgotten (`producer.id.expiration.ms`).
    pub producer_expiry_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            append_time: false,
            index_interval_bytes: 4096,
            checkpoint_bytes: 64 << 20,
            mark_bytes: 256 << 10,
            tail_bytes_max: 1 << 20,
            idle_ms: 60_000,
            producer_expiry_ms: DAY_MS,
        }
    }
}

impl Options {
    /// The same with every value inside its bounds.
    #[must_use]
    pub(crate) fn bounded(mut self) -> Self {
        self.segment_bytes = self.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        self.index_interval_bytes = self.index_interval_bytes.max(1);
        self
    }
}
