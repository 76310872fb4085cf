//! Bytes under way, bounded: a permit before the work, or a refusal.
//!
//! Two budgets, both from the settings. *Writes*: every batch between its arrival and its acknowledgement holds a
//! permit of its size; when the budget is used up, callers wait in line for a moment and are then refused as busy.
//! *Reads*: an answer larger than [`READ_BYTES_FLOOR`] holds a permit until it is on its way; when that budget is used
//! up nobody waits, but answers shrink to the floor, so a thousand greedy readers take turns in small bites.

use std::sync::Arc;
use std::time::Duration;

use protocol::outcome::{Outcome, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in pieces of this many bytes, so that any budget fits a semaphore's counter.
const PIECE_BYTES: usize = 1024;

/// An answer of this size is always allowed.
pub const READ_BYTES_FLOOR: usize = 64 * 1024;

/// How long a writer waits for its permit before it is told that the broker is busy.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// The budgets of one broker; cloning shares them.
#[derive(Clone, Debug)]
pub struct Admission {
    writes: Arc<Semaphore>,
    writes_pieces: u32,
    reads: Arc<Semaphore>,
}

/// The right to have some bytes under way; dropping it gives the bytes back.
#[derive(Debug)]
pub struct Permit {
    /// Dropping it is the whole point. `None` for what needs no permit.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// Budgets in bytes.
    pub fn new(write_bytes_max: usize, read_bytes_max: usize) -> Self {
        let writes_pieces = pieces(write_bytes_max).max(1);
        let reads_pieces = pieces(read_bytes_max).max(1);
        Self {
            writes: Arc::new(Semaphore::new(writes_pieces as usize)),
            writes_pieces,
            reads: Arc::new(Semaphore::new(reads_pieces as usize)),
        }
    }

    /// A permit to write `bytes`, waiting in line for up to ten seconds.
    ///
    /// A single batch larger than the whole budget takes all of it, so that it is admitted alone, not never.
    ///
    /// # Errors
    /// [`Outcome::Busy`] when the wait was in vain. May be cancelled: the place in line is given up.
    pub async fn write(&self, bytes: usize) -> Result<Permit, Refusal> {
        let wanted = pieces(bytes).min(self.writes_pieces);
        if let Ok(permit) = Arc::clone(&self.writes).try_acquire_many_owned(wanted) {
            return Ok(Permit { _permit: Some(permit) });
        }
        let acquired =
            tokio::time::timeout(WRITE_WAIT, Arc::clone(&self.writes).acquire_many_owned(wanted));
        match acquired.await {
            Ok(Ok(permit)) => Ok(Permit { _permit: Some(permit) }),
            Ok(Err(_)) => Err(Refusal::new(Outcome::Unavailable, "the broker is stopping")),
            Err(_) => Err(Refusal::new(
                Outcome::Busy,
                format!(
                    "no room for {bytes} bytes within {} s: {} KiB are under way, all that write_bytes_in_flight_max allows",
                    WRITE_WAIT.as_secs(),
                    self.writes_pieces,
                ),
            )),
        }
    }

    /// How many of `bytes` an answer may hold now, and the permit for them.
    pub fn read(&self, bytes: usize) -> (usize, Permit) {
        if bytes <= READ_BYTES_FLOOR {
            return (bytes, Permit { _permit: None });
        }
        match Arc::clone(&self.reads).try_acquire_many_owned(pieces(bytes)) {
            Ok(permit) => (bytes, Permit { _permit: Some(permit) }),
            Err(_) => (READ_BYTES_FLOOR, Permit { _permit: None }),
        }
    }

    /// Bytes that writers hold now, rounded up to whole KiB each.
    pub fn write_bytes(&self) -> usize {
        (self.writes_pieces as usize).saturating_sub(self.writes.available_permits()) * PIECE_BYTES
    }
}

fn pieces(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_makes_writers_wait_and_then_refuses() {
        let admission = Admission::new(10 * PIECE_BYTES, PIECE_BYTES);
        let first = admission.write(8 * PIECE_BYTES).await.unwrap();
        let refused = admission.write(3 * PIECE_BYTES).await.unwrap_err();
        assert_eq!(refused.outcome, Outcome::Busy);
        drop(first);
        let huge = admission.write(1000 * PIECE_BYTES).await.unwrap();
        assert_eq!(admission.write_bytes(), 10 * PIECE_BYTES);
        drop(huge);
        assert_eq!(admission.write_bytes(), 0);
    }

    #[test]
    fn readers_get_small_answers_when_the_budget_is_used_up() {
        let admission = Admission::new(PIECE_BYTES, 4 * READ_BYTES_FLOOR);
        let (bytes, held) = admission.read(4 * READ_BYTES_FLOOR);
        assert_eq!(bytes, 4 * READ_BYTES_FLOOR);
        assert_eq!(admission.read(2 * READ_BYTES_FLOOR).0, READ_BYTES_FLOOR);
        assert_eq!(admission.read(100).0, 100);
        drop(held);
        assert_eq!(admission.read(2 * READ_BYTES_FLOOR).0, 2 * READ_BYTES_FLOOR);
    }
}
