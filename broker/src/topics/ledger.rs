//! The journal as the catalogue uses it: asked before a change, written on a thread that may block, closed at the end; and
//! what is answered when a change is not in it, or not for certain.

use std::sync::Arc;

use parking_lot::Mutex;
use protocol::id::Timestamp;
use protocol::outcome::{Outcome, Refusal};

use crate::error;
use crate::time::Clock;
use crate::topics::journal::{Journal, JournalError};
use crate::world::Threads;

/// The way to the journal. Changes go one at a time: whoever calls is alone.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Locked for a look, or on a blocking thread for one append and sync. `None` once it is closed.
    journal: Arc<Mutex<Option<Journal>>>,
    clock: Clock,
    threads: Threads,
}

impl Ledger {
    pub(crate) fn new(journal: Journal, clock: Clock, threads: Threads) -> Self {
        Self { journal: Arc::new(Mutex::new(Some(journal))), clock, threads }
    }

    /// Refuses a change before anything is made for it when the journal would not take it.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        // Whoever changes something is alone with the journal: nobody holds the lock.
        match self.journal.lock().as_ref() {
            Some(journal) => journal.check().map_err(|error| Unwritten::Journal(error).refusal()),
            None => Err(error::stopping()),
        }
    }

    /// Appends to the journal and syncs it, on a thread that may block.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        change: T,
        write: impl FnOnce(&mut Journal, &T, Timestamp) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), Unwritten> {
        let journal = Arc::clone(&self.journal);
        let now = self.clock.wall();
        let writing = move || journal.lock().as_mut().map(|journal| write(journal, &change, now));
        match self.threads.blocking(writing).await {
            Ok(Some(written)) => written.map_err(Unwritten::Journal),
            Ok(None) => Err(Unwritten::Closed),
            Err(panic) => Err(match self.journal.lock().as_mut() {
                Some(journal) => Unwritten::Journal(journal.fail(&panic)),
                None => Unwritten::Closed,
            }),
        }
    }

    /// Closes the journal. Later changes are refused.
    pub(crate) async fn close(&self) {
        let journal = Arc::clone(&self.journal);
        let closing = move || journal.lock().take().map(Journal::close);
        if let Ok(Some(Err(error))) = self.threads.blocking(closing).await {
            tracing::error!("closing: {error}");
        }
    }
}

/// Why a change is not in the journal, or not for certain.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// The broker is stopping: nothing happened.
    Closed,
    Journal(JournalError),
}

impl Unwritten {
    /// True when the next start may find the change.
    pub(crate) fn may_have_happened(&self) -> bool {
        matches!(self, Self::Journal(error) if error.may_have_happened())
    }

    /// What is answered.
    pub(crate) fn refusal(&self) -> Refusal {
        let error = match self {
            Self::Closed => return error::stopping(),
            Self::Journal(error) => error,
        };
        let outcome = match error {
            JournalError::Storage(cause) if cause.is_full() => Outcome::DiskFull,
            // Undone: the same change may be asked for again.
            JournalError::Storage(_) => Outcome::Unavailable,
            _ => Outcome::StorageFailed,
        };
        Refusal::new(outcome, error.to_string())
    }
}
