//! What a query tells of itself while it runs: counters and why it is stuck, if it is.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use protocol::id::Timestamp;

/// The state of a query, as SHOW QUERIES tells it.
///
/// ```text
///   RUNNING <---PAUSE, RESUME---> PAUSED
///      |  ^
///   trouble  the trouble is over
///      v  |
///    ERROR   tries again by itself
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, or waits for rows.
    Running,
    /// It was paused.
    Paused,
    /// It cannot go on now and tries again; this is why.
    Error(String),
}

impl State {
    /// The word for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Error(_) => "ERROR",
        }
    }
}

/// One task's part of a query's status. The task writes, everybody reads.
#[derive(Debug, Default)]
pub struct Status {
    read: AtomicU64,
    written: AtomicU64,
    errors: AtomicU64,
    /// Milliseconds since 1970 of the newest row; 0 before the first.
    last_row_time: AtomicI64,
    /// Guards the cause alone; held for a copy only.
    trouble: Mutex<Option<String>>,
    /// Guards the text alone; held for a copy only.
    note: Mutex<Option<String>>,
}

/// The counters of one or more tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read since the start.
    pub read: u64,
    /// Records written since the start.
    pub written: u64,
    /// Records and expressions that were at fault.
    pub errors: u64,
    /// The time of the newest row.
    pub last_row_time: Option<Timestamp>,
}

impl Status {
    /// Records were read.
    pub fn add_read(&self, records: u64) {
        self.read.fetch_add(records, Ordering::Relaxed);
    }

    /// Records were written.
    pub fn add_written(&self, records: u64) {
        self.written.fetch_add(records, Ordering::Relaxed);
    }

    /// Something was at fault.
    pub fn add_errors(&self, errors: u64) {
        self.errors.fetch_add(errors, Ordering::Relaxed);
    }

    /// A row of this time was seen.
    pub fn saw(&self, time: Timestamp) {
        self.last_row_time.fetch_max(time.0, Ordering::Relaxed);
    }

    /// The task cannot go on now.
    pub fn set_trouble(&self, cause: String) {
        *self.trouble.lock() = Some(cause);
    }

    /// The task goes on.
    pub fn clear_trouble(&self) {
        *self.trouble.lock() = None;
    }

    /// Why the task cannot go on.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Something that people should know of, though the task went on: the newest such thing is kept.
    pub fn set_note(&self, note: String) {
        *self.note.lock() = Some(note);
    }

    /// The newest note.
    pub fn note(&self) -> Option<String> {
        self.note.lock().clone()
    }

    /// The counters now.
    pub fn counts(&self) -> Counts {
        let time = self.last_row_time.load(Ordering::Relaxed);
        Counts {
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            last_row_time: (time > 0).then_some(Timestamp(time)),
        }
    }
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            written: self.written + other.written,
            errors: self.errors + other.errors,
            last_row_time: self.last_row_time.max(other.last_row_time),
        }
    }
}
