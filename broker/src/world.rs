//! What a broker stands on that is not its own: files, time, threads, chance. The machine's, or one that a test holds
//! in its hands so that the same seed gives the same life.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::id::Timestamp;
use storage::{Disk, RealDisk};
use tokio::task::JoinError;
use uuid::{Builder, Uuid};

use crate::time::Clock;

/// Everything outside that a broker uses; cloning gives the same world.
#[derive(Clone, Debug)]
pub struct World {
    /// Where the data folder is.
    pub disk: Arc<dyn Disk>,
    /// What time it is.
    pub clock: Clock,
    /// Who does the work.
    pub threads: Threads,
    /// Where names come from that must never come twice.
    pub ids: Ids,
}

impl World {
    /// The machine.
    pub fn real() -> Self {
        Self {
            disk: Arc::new(RealDisk::new()),
            clock: Clock::real(),
            threads: Threads::Own,
            ids: Ids::random(),
        }
    }

    /// A world in which everything that happens follows from `seed`, the disk and the calls: time is that of the
    /// caller's runtime, shards are tasks of it, and nothing runs beside them. The runtime must have one thread, and
    /// its time stand still but for timers (tokio's `start_paused`). Must be called within it.
    pub fn simulated(disk: Arc<dyn Disk>, start: Timestamp, seed: u64) -> Self {
        Self {
            disk,
            clock: Clock::of_runtime(start),
            threads: Threads::Callers,
            ids: Ids::seeded(seed),
        }
    }
}

/// Who does the work that blocks: writing, syncing, reading files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Each shard has a thread, and reading has the threads of the runtime that may block.
    Own,
    /// Everything is a task of the caller's runtime, and blocks it.
    Callers,
}

impl Threads {
    /// Runs `work` where it may block. May be cancelled: the work goes on.
    ///
    /// # Errors
    /// When it panics.
    pub(crate) async fn blocking<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self {
            Self::Own => tokio::task::spawn_blocking(work).await,
            Self::Callers => Ok(work()),
        }
    }
}

/// Gives out ids of 128 bits; cloning gives the same source.
#[derive(Clone, Debug)]
pub struct Ids(Source);

#[derive(Clone, Debug)]
enum Source {
    Random,
    Seeded(Arc<AtomicU64>),
}

impl Ids {
    /// From the system's randomness.
    pub fn random() -> Self {
        Self(Source::Random)
    }

    /// The same ids for the same seed.
    ///
    /// ```
    /// use thalweg_broker::world::Ids;
    /// let (ids, again) = (Ids::seeded(7), Ids::seeded(7));
    /// let first = ids.fresh();
    /// assert_eq!(first, again.fresh());
    /// assert_ne!(first, ids.fresh());
    /// ```
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(AtomicU64::new(seed))))
    }

    /// An id that was not given out before.
    pub fn fresh(&self) -> Uuid {
        match &self.0 {
            Source::Random => Uuid::new_v4(),
            Source::Seeded(state) => {
                let bytes = (u128::from(split_mix(state)) << 64) | u128::from(split_mix(state));
                Builder::from_u128(bytes).with_version(uuid::Version::Random).into_uuid()
            }
        }
    }
}

/// SplitMix64: small, and the same everywhere.
fn split_mix(state: &AtomicU64) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut mixed = state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
