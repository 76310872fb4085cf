//! The one clock of the broker: the real one, or one that a test holds in its hands. Nothing else reads a clock.
//!
//! Waiting is not done here: the broker waits with tokio's timers, which tests pause.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::id::Timestamp;

/// A clock; cloning gives the same clock.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    /// Wall clock of the machine, and when it was first read, for what must not jump.
    Real { start: Instant },
    /// Milliseconds, moved by hand.
    Manual(Arc<AtomicI64>),
    /// What the time was at a moment of the runtime's timers, with which it goes.
    Runtime { start: Timestamp, since: tokio::time::Instant },
}

impl Clock {
    /// The machine's clock.
    pub fn real() -> Self {
        Self(Source::Real { start: Instant::now() })
    }

    /// A clock that stands at `start` until it is moved by [`Self::advance`].
    ///
    /// ```
    /// use protocol::id::Timestamp;
    /// use thalweg_broker::time::Clock;
    /// let clock = Clock::manual(Timestamp(1_000));
    /// clock.advance(5);
    /// assert_eq!(clock.wall(), Timestamp(1_005));
    /// ```
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.0))))
    }

    /// A clock that shows `start` now and goes with the timers of the runtime: a test that pauses those holds both.
    pub fn of_runtime(start: Timestamp) -> Self {
        Self(Source::Runtime { start, since: tokio::time::Instant::now() })
    }

    /// Moves a manual clock forward. The others move by themselves.
    pub fn advance(&self, milliseconds: i64) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(milliseconds, Ordering::SeqCst);
        }
    }

    /// What people call the time: it may jump when somebody sets the machine's clock.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Source::Real { .. } => Timestamp(unix_milliseconds()),
            Source::Manual(now) => Timestamp(now.load(Ordering::SeqCst)),
            Source::Runtime { start, since } => {
                let passed = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
                Timestamp(start.0.saturating_add(passed))
            }
        }
    }

    /// Milliseconds that never go back: for everything that measures how long something takes.
    pub fn monotonic_ms(&self) -> u64 {
        match &self.0 {
            Source::Real { start } => {
                u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
            }
            Source::Manual(now) => u64::try_from(now.load(Ordering::SeqCst)).unwrap_or(0),
            Source::Runtime { since, .. } => {
                u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one door to the wall clock")]
fn unix_milliseconds() -> i64 {
    // Before 1970 the clock is plainly wrong; 0 keeps every difference finite.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Source::Real { .. } => f.write_str("Clock::real"),
            Source::Manual(_) => write!(f, "Clock::manual({})", self.wall()),
            Source::Runtime { .. } => write!(f, "Clock::of_runtime({})", self.wall()),
        }
    }
}
