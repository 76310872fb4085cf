//! What a producer and a consumer may be told: plain values with unit, default and bounds.
//!
//! A value outside its bounds is moved to the nearest one, so that a configuration is always sound.

use std::time::Duration;

use protocol::compression::Compression;
use protocol::limits::{
    BATCH_BYTES_MAX, FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX, MIB, PRODUCER_BATCHES_REMEMBERED,
};

/// Smallest batch limit, in bytes: below it, headers would outweigh records.
const BATCH_BYTES_MIN: usize = 1024;
/// Smallest buffer of a producer or consumer, in bytes.
pub(crate) const BUFFER_BYTES_MIN: usize = 64 * 1024;
/// Largest buffer of a producer or consumer, in bytes.
const BUFFER_BYTES_MAX: usize = 2048 * MIB;
/// Longest linger.
const LINGER_MAX: Duration = Duration::from_secs(60);
/// Shortest pause between two attempts.
const BACKOFF_MIN: Duration = Duration::from_millis(1);

/// How a producer gathers, sends and gives up.
///
/// ```
/// use std::time::Duration;
/// use protocol::compression::Compression;
/// use thalweg_client::producer::ProducerConfig;
/// let config = ProducerConfig::default()
///     .linger(Duration::from_millis(5))
///     .compression(Compression::Lz4);
/// ```
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    pub(crate) batch_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) compression: Compression,
    pub(crate) buffer_bytes: usize,
    pub(crate) idempotent: bool,
    pub(crate) delivery_timeout: Duration,
    pub(crate) in_flight_max: usize,
    pub(crate) backoff: BackoffConfig,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            batch_bytes: 128 * 1024,
            linger: Duration::ZERO,
            compression: Compression::None,
            buffer_bytes: 32 * MIB,
            idempotent: true,
            delivery_timeout: Duration::from_secs(120),
            in_flight_max: PRODUCER_BATCHES_REMEMBERED,
            backoff: BackoffConfig::default(),
        }
    }
}

impl ProducerConfig {
    /// A batch is sent when it has this many bytes before compression; default 128 KiB, 1 KiB to 32 MiB. A record that
    /// is larger goes in a batch of its own.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes.clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX / 2);
        self
    }

    /// A batch that is not full is sent after this time; default 0, at most a minute. With 0 a batch is sent as soon as
    /// there is room under way, and what comes meanwhile is gathered.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger.min(LINGER_MAX);
        self
    }

    /// How records are compressed; default not at all.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Records that are not acknowledged yet take about this many bytes at most; default 32 MiB, 64 KiB to 2 GiB.
    /// Sending waits for room.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
        self
    }

    /// Store each record once and in order, however often it has to be sent; default true. Without it, one batch a
    /// partition is under way at a time, and what may have been written is not sent again but reported.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// A record that is not acknowledged this long after it was handed over is given up and reported; default two
    /// minutes, at least a millisecond.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout.max(BACKOFF_MIN);
        self
    }

    /// Batches under way for each partition; default and most 5, at least 1.
    #[must_use]
    pub fn in_flight_max(mut self, batches: usize) -> Self {
        self.in_flight_max = batches.clamp(1, PRODUCER_BATCHES_REMEMBERED);
        self
    }

    /// Pauses between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: BackoffConfig) -> Self {
        self.backoff = backoff;
        self
    }
}

/// How a consumer reads ahead, waits and gives up.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub(crate) fetch_bytes: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) wait: Duration,
    pub(crate) give_up: Option<Duration>,
    pub(crate) backoff: BackoffConfig,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            fetch_bytes: 4 * MIB,
            buffer_bytes: 32 * MIB,
            wait: Duration::from_secs(5),
            give_up: None,
            backoff: BackoffConfig::default(),
        }
    }
}

impl ConsumerConfig {
    /// One fetch asks for about this many bytes at most; default 4 MiB, 1 byte to 50 MiB. One batch is always answered.
    #[must_use]
    pub fn fetch_bytes(mut self, bytes: usize) -> Self {
        self.fetch_bytes = bytes.clamp(1, FETCH_BYTES_MAX);
        self
    }

    /// Batches read ahead take this many bytes at most, as stored, but for the last one; default 32 MiB, 64 KiB to
    /// 2 GiB. A compressed batch is unfolded only when its turn comes.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
        self
    }

    /// One fetch waits this long at the broker when there is nothing to read; default 5 seconds, at most a minute.
    /// New records end the wait at once, so a long one costs nothing.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait.min(Duration::from_millis(FETCH_WAIT_MS_MAX.into()));
        self
    }

    /// Return the error when the broker has not been reached for this long; default never: go on trying.
    #[must_use]
    pub fn give_up(mut self, after: Duration) -> Self {
        self.give_up = Some(after);
        self
    }

    /// Pauses between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: BackoffConfig) -> Self {
        self.backoff = backoff;
        self
    }
}

/// Pauses between attempts: they double from the first to the longest, each shortened by up to a half by chance.
#[derive(Clone, Copy, Debug)]
pub struct BackoffConfig {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
    pub(crate) seed: Option<u64>,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self { first: Duration::from_millis(20), longest: Duration::from_secs(1), seed: None }
    }
}

impl BackoffConfig {
    /// The first pause; default 20 ms, at least 1 ms.
    #[must_use]
    pub fn first(mut self, pause: Duration) -> Self {
        self.first = pause.max(BACKOFF_MIN);
        self.longest = self.longest.max(self.first);
        self
    }

    /// The longest pause; default one second, never shorter than the first.
    #[must_use]
    pub fn longest(mut self, pause: Duration) -> Self {
        self.longest = pause.max(self.first);
        self
    }

    /// Chance from this seed, so that a test runs in the same way twice; default another one each time.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_their_bounds_are_moved_to_the_nearest() {
        let config = ProducerConfig::default()
            .batch_bytes(0)
            .buffer_bytes(usize::MAX)
            .in_flight_max(9)
            .linger(Duration::MAX);
        assert_eq!(config.batch_bytes, BATCH_BYTES_MIN);
        assert_eq!(config.buffer_bytes, BUFFER_BYTES_MAX);
        assert_eq!(config.in_flight_max, 5);
        assert_eq!(config.linger, LINGER_MAX);
        let config = ConsumerConfig::default().fetch_bytes(usize::MAX).wait(Duration::MAX);
        assert_eq!(config.fetch_bytes, FETCH_BYTES_MAX);
        assert_eq!(config.wait, Duration::from_secs(60));
        let backoff = BackoffConfig::default().first(Duration::from_secs(9));
        assert_eq!(backoff.longest, Duration::from_secs(9));
    }
}
