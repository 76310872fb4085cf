//! What time it is. The only file of the crate that reads a clock; everything else takes the time from here.
//!
//! Tokio's timers, which measure spans and not times, are used directly.

use std::fmt;
use std::sync::Arc;

use protocol::id::Timestamp;

/// A clock: the system's, or one that a test drives.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The clock of the system.
    pub fn system() -> Self {
        Self::of(|| Timestamp(jiff::Timestamp::now().as_millisecond()))
    }

    /// A clock that says what `now` says.
    pub fn of(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}
