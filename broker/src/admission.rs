//! Bytes under way, bounded: a permit before the work, or a refusal.
//!
//! Two budgets, both from the settings. *Writes*: every batch between its arrival and its acknowledgement holds a
//! permit of its size; when the budget is used up, callers wait in line for a moment and are then refused as busy. Those
//! who wait hold their whole request in memory, so their bytes are bounded too: to [half](WAITING_PART) of the budget.
//! Beyond it nobody waits, they are refused at once. *Reads*: an answer larger than [`READ_BYTES_FLOOR`] holds a permit until it is on its way; when that budget is used
//! up nobody waits, but answers shrink to the floor, so a thousand greedy readers take turns in small bites. Answers to
//! producers cannot shrink: what the answers of one call take beyond the floor is in the same budget, and is waited for
//! before anything is appended.

use std::sync::Arc;
use std::time::Duration;

use protocol::outcome::{Outcome, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Permits are counted in pieces of this many bytes, so that any budget fits a semaphore's counter.
const PIECE_BYTES: usize = 1024;

/// An answer of this size is always allowed.
pub const READ_BYTES_FLOOR: usize = 64 * 1024;

/// How long the batches of a request wait for their permits, all together, before the rest is told that the broker is
/// busy.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// Requests that wait may have this part of the write budget: one in so many.
const WAITING_PART: usize = 2;

/// The budgets of one broker; cloning shares them.
#[derive(Clone, Debug)]
pub struct Admission {
    writes: Arc<Semaphore>,
    writes_pieces: u32,
    /// For the requests of those who wait for `writes`.
    waiting: Arc<Semaphore>,
    waiting_pieces: u32,
    reads: Arc<Semaphore>,
    reads_pieces: u32,
}

/// What the answers of one call to produce may take together, from its requests on until they have left, without a
/// share of the budget for reads: [`READ_BYTES_FLOOR`]. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<Semaphore>);

impl Default for Allowance {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(pieces(READ_BYTES_FLOOR) as usize)))
    }
}

/// The right to have some bytes under way; dropping it gives the bytes back.
#[derive(Debug)]
pub struct Permit {
    /// Dropping it is the whole point. `None` for what needs no permit.
    permit: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// Gives back what is beyond `bytes`: an answer may be smaller than it was allowed to be.
    pub fn shrink_to(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.permit {
            let surplus = permit.num_permits().saturating_sub(pieces(bytes) as usize);
            drop(permit.split(surplus));
        }
    }
}

impl Admission {
    /// Budgets in bytes.
    pub fn new(write_bytes_max: usize, read_bytes_max: usize) -> Self {
        let writes_pieces = pieces(write_bytes_max).max(1);
        let waiting_pieces = pieces(write_bytes_max / WAITING_PART).max(1);
        let reads_pieces = pieces(read_bytes_max).max(1);
        Self {
            writes: Arc::new(Semaphore::new(writes_pieces as usize)),
            writes_pieces,
            waiting: Arc::new(Semaphore::new(waiting_pieces as usize)),
            waiting_pieces,
            reads: Arc::new(Semaphore::new(reads_pieces as usize)),
            reads_pieces,
        }
    }

    /// A request of `bytes` to write, all its batches together; each of them asks for its own permit.
    pub fn request(&self, bytes: usize) -> WriteRequest<'_> {
        WriteRequest { admission: self, bytes_held: bytes, deadline: None }
    }

    /// How many of `bytes` an answer may hold now, and the permit for them.
    pub fn read(&self, bytes: usize) -> (usize, Permit) {
        if bytes <= READ_BYTES_FLOOR {
            return (bytes, Permit { permit: None });
        }
        match Arc::clone(&self.reads).try_acquire_many_owned(pieces(bytes)) {
            Ok(permit) => (bytes, Permit { permit: Some(permit) }),
            Err(_) => (READ_BYTES_FLOOR, Permit { permit: None }),
        }
    }

    /// A permit for an answer of `bytes` to a producer, waiting in line for a while if need be.
    ///
    /// An answer within the floor waits at most for earlier ones of its own call. One larger than the whole budget takes
    /// all of it.
    ///
    /// # Errors
    /// [`Outcome::Busy`] when the wait was in vain. May be cancelled: the place in line is given up.
    pub async fn answer(&self, own: &Allowance, bytes: usize) -> Result<Permit, Refusal> {
        let wanted = pieces(bytes);
        if bytes <= READ_BYTES_FLOOR
            && let Ok(permit) = Arc::clone(&own.0).try_acquire_many_owned(wanted)
        {
            return Ok(Permit { permit: Some(permit) });
        }
        let shared = wanted.min(self.reads_pieces);
        if let Ok(permit) = Arc::clone(&self.reads).try_acquire_many_owned(shared) {
            return Ok(Permit { permit: Some(permit) });
        }
        // Earlier answers of a call leave within their own time, or the connection ends.
        let acquired = if bytes <= READ_BYTES_FLOOR {
            Ok(Arc::clone(&own.0).acquire_many_owned(wanted).await)
        } else {
            tokio::time::timeout(WRITE_WAIT, Arc::clone(&self.reads).acquire_many_owned(shared))
                .await
        };
        match acquired {
            Ok(Ok(permit)) => Ok(Permit { permit: Some(permit) }),
            Ok(Err(_)) => Err(Refusal::new(Outcome::Unavailable, "the broker is stopping")),
            Err(_) => Err(Refusal::new(
                Outcome::Busy,
                format!(
                    "no room for an answer of {bytes} bytes: {} KiB of answers are on their way, all that \
                     read_bytes_in_flight_max allows, and the request has waited for 10 s",
                    self.reads_pieces
                ),
            )),
        }
    }

    /// Bytes that writers hold now, rounded up to whole KiB each.
    pub fn write_bytes(&self) -> usize {
        (self.writes_pieces as usize).saturating_sub(self.writes.available_permits()) * PIECE_BYTES
    }
}

/// A request whose batches are admitted one after the other.
#[derive(Debug)]
pub struct WriteRequest<'a> {
    admission: &'a Admission,
    /// Bytes of the batches that have no permit yet.
    bytes_held: usize,
    /// From the first wait on: until when this request may wait.
    deadline: Option<Instant>,
}

impl WriteRequest<'_> {
    /// A permit for the next batch, of `bytes`, waiting in line for a while if need be.
    ///
    /// A single batch larger than the whole budget takes all of it, so that it is admitted alone, not never.
    ///
    /// # Errors
    /// [`Outcome::Busy`] when the wait was in vain, or too many bytes wait already. May be cancelled: the place in line
    /// is given up.
    pub async fn write(&mut self, bytes: usize) -> Result<Permit, Refusal> {
        let held = self.bytes_held;
        self.bytes_held = held.saturating_sub(bytes);
        let Admission { writes, writes_pieces, waiting, waiting_pieces, .. } = self.admission;
        let wanted = pieces(bytes).min(*writes_pieces);
        if let Ok(permit) = Arc::clone(writes).try_acquire_many_owned(wanted) {
            return Ok(Permit { permit: Some(permit) });
        }
        // Also a request larger than all that may wait can wait, but alone.
        let share = pieces(held).min(*waiting_pieces);
        let Ok(_share) = Arc::clone(waiting).try_acquire_many_owned(share) else {
            return Err(self.busy(bytes, "as many bytes as may wait are waiting already"));
        };
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + WRITE_WAIT);
        let acquired =
            tokio::time::timeout_at(deadline, Arc::clone(writes).acquire_many_owned(wanted));
        match acquired.await {
            Ok(Ok(permit)) => Ok(Permit { permit: Some(permit) }),
            Ok(Err(_)) => Err(Refusal::new(Outcome::Unavailable, "the broker is stopping")),
            Err(_) => Err(self.busy(bytes, "its request has waited for 10 s")),
        }
    }

    fn busy(&self, bytes: usize, cause: &str) -> Refusal {
        let most = self.admission.writes_pieces;
        Refusal::new(
            Outcome::Busy,
            format!(
                "no room for a batch of {bytes} bytes: {most} KiB are under way, all that write_bytes_in_flight_max allows, and {cause}"
            ),
        )
    }
}

fn pieces(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn write(admission: &Admission, bytes: usize) -> Result<Permit, Refusal> {
        admission.request(bytes).write(bytes).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_makes_writers_wait_and_then_refuses() {
        let admission = Admission::new(10 * PIECE_BYTES, PIECE_BYTES);
        let first = write(&admission, 8 * PIECE_BYTES).await.unwrap();
        let refused = write(&admission, 3 * PIECE_BYTES).await.unwrap_err();
        assert_eq!(refused.outcome, Outcome::Busy);
        drop(first);
        let huge = write(&admission, 1000 * PIECE_BYTES).await.unwrap();
        assert_eq!(admission.write_bytes(), 10 * PIECE_BYTES);
        drop(huge);
        assert_eq!(admission.write_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_bounded_in_bytes() {
        let admission = Admission::new(10 * PIECE_BYTES, PIECE_BYTES);
        let first = write(&admission, 10 * PIECE_BYTES).await.unwrap();
        // What waits is the whole request, though only one of its batches is asked for.
        let mut request = admission.request(4 * PIECE_BYTES);
        let mut waiting = std::pin::pin!(request.write(PIECE_BYTES));
        let soon = Duration::from_secs(1);
        assert!(tokio::time::timeout(soon, waiting.as_mut()).await.is_err(), "it waits");
        let refused = tokio::time::timeout(soon, write(&admission, 2 * PIECE_BYTES)).await;
        assert_eq!(refused.expect("refused at once").unwrap_err().outcome, Outcome::Busy);
        let mut small = std::pin::pin!(write(&admission, PIECE_BYTES));
        assert!(tokio::time::timeout(soon, small.as_mut()).await.is_err(), "there is room to wait");
        drop(first);
        waiting.await.unwrap();
        small.await.unwrap();
        assert_eq!(admission.waiting.available_permits(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_once_not_once_for_each_batch() {
        let admission = Admission::new(10 * PIECE_BYTES, PIECE_BYTES);
        let _first = write(&admission, 10 * PIECE_BYTES).await.unwrap();
        let mut request = admission.request(100);
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(request.write(1).await.unwrap_err().outcome, Outcome::Busy);
        }
        assert!(start.elapsed() < 2 * WRITE_WAIT);
    }

    #[test]
    fn a_small_answer_gives_back_what_it_does_not_use() {
        let admission = Admission::new(PIECE_BYTES, 4 * READ_BYTES_FLOOR);
        let (_, mut held) = admission.read(4 * READ_BYTES_FLOOR);
        held.shrink_to(2 * READ_BYTES_FLOOR);
        assert_eq!(admission.read(2 * READ_BYTES_FLOOR).0, 2 * READ_BYTES_FLOOR);
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

    #[tokio::test(start_paused = true)]
    async fn small_answers_wait_for_their_own_call_and_large_ones_for_the_budget() {
        const MIB: usize = 1 << 20;
        let admission = Admission::new(MIB, MIB);
        let own = Allowance::default();
        let large = admission.answer(&own, 2 * MIB).await.unwrap();
        assert_eq!(admission.read(MIB).0, READ_BYTES_FLOOR, "the whole budget is taken");
        let refused = admission.answer(&own, READ_BYTES_FLOOR + 1).await.unwrap_err();
        assert_eq!(refused.outcome, Outcome::Busy);
        let first = admission.answer(&own, READ_BYTES_FLOOR).await.unwrap();
        // Another call has an allowance of its own; the same one waits.
        admission.answer(&Allowance::default(), READ_BYTES_FLOOR).await.unwrap();
        let second = admission.answer(&own, 1);
        let mut second = std::pin::pin!(second);
        assert!(tokio::time::timeout(10 * WRITE_WAIT, second.as_mut()).await.is_err());
        drop(first);
        second.await.unwrap();
        drop(large);
        assert_eq!(admission.read(MIB).0, MIB);
    }
}
