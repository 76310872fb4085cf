//! Work on a log's files that its owner need not wait for: a closed segment is synced, and what is synced is written
//! down.
//!
//! A log makes a chore when it rolls, and when the recovery point is to move up. Any thread may run it while the log
//! takes writes; the log claims nothing of what a chore is to do before it has seen that it is done. Chores of one log
//! are done in the order in which they were made, one at a time:
//!
//! ```text
//!  sync                                       save
//!  the closed segment, then the names    -->  its index, then the checkpoint, each aside and renamed
//!     |                                          |
//!     | error: the log has failed                | no room: the old checkpoint stands; else the log has failed
//! ```
//!
//! Both are done once, by whoever comes first; who comes later waits and gets the same result. So a log that must have
//! something synced now runs its chores itself, whether or not it has handed them out.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::checkpoint;
use crate::disk::{Disk, DiskFile};
use crate::error::StorageError;
use crate::format::{Kind, STATE_FILE};
use crate::index::Index;
use crate::segment::Segment;

/// Work that a log has handed out, to be run on any thread. Cloning gives another handle to the same work.
#[derive(Clone, Debug)]
pub struct Chore(Arc<Work>);

#[derive(Debug)]
struct Work {
    plan: Plan,
    /// Set when the log is gone, or about to be: what has not begun is not begun any more.
    called_off: AtomicBool,
    synced: OnceLock<Result<(), StorageError>>,
    saved: OnceLock<Result<(), StorageError>>,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: Arc<Path>,
    /// The closed segment; `None` where nothing was closed.
    pub(crate) closed: Option<Closing>,
    /// The segment that the index is of, and the index, as far as it is synced when the sync is done.
    pub(crate) index: Option<(Arc<Segment>, Index)>,
    /// The body of the checkpoint, which says no more than is synced then.
    pub(crate) state: Vec<u8>,
    /// Counts syncs of segments.
    pub(crate) syncs: Arc<AtomicU64>,
}

/// A segment behind which another was begun.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) segment: Arc<Segment>,
    /// Its file; `None` when all of it is synced already.
    pub(crate) unsynced: Option<Arc<dyn DiskFile>>,
}

impl Chore {
    pub(crate) fn new(plan: Plan) -> Self {
        Self(Arc::new(Work {
            plan,
            called_off: AtomicBool::new(false),
            synced: OnceLock::new(),
            saved: OnceLock::new(),
        }))
    }

    /// Does all of it, or waits until it is done. How it ended is for the log to see: [`crate::Log::settle_chores`].
    pub fn run(&self) {
        let work = &self.0;
        self.sync();
        work.saved.get_or_init(|| match self.synced() {
            Some(Err(error)) => Err(error),
            Some(Ok(())) | None => work.unless_called_off(Plan::save),
        });
    }

    /// The first half: makes the closed segment and the name of the next one durable. True when a file was synced by
    /// this very call.
    pub fn sync(&self) -> bool {
        let work = &self.0;
        let mut is_done_here = false;
        work.synced.get_or_init(|| {
            is_done_here = work.plan.closed.as_ref().is_some_and(|c| c.unsynced.is_some());
            work.unless_called_off(Plan::sync)
        });
        is_done_here
    }

    /// How the first half ended; `None` while it is not done.
    pub(crate) fn synced(&self) -> Option<Result<(), StorageError>> {
        self.0.synced.get().cloned()
    }

    /// How the second half ended; `None` while it is not done.
    pub(crate) fn saved(&self) -> Option<Result<(), StorageError>> {
        self.0.saved.get().cloned()
    }

    /// Lets it not begin any more, and waits for what is under way: after this it touches no file.
    pub(crate) fn call_off(&self) {
        self.0.called_off.store(true, Ordering::Release);
        self.0.synced.get_or_init(|| Ok(()));
        self.0.saved.get_or_init(|| Ok(()));
    }
}

impl Work {
    fn unless_called_off(
        &self,
        act: impl Fn(&Plan) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        if self.called_off.load(Ordering::Acquire) { Ok(()) } else { act(&self.plan) }
    }
}

impl Plan {
    fn sync(&self) -> Result<(), StorageError> {
        let Some(closed) = &self.closed else { return Ok(()) };
        if let Some(file) = &closed.unsynced {
            self.syncs.fetch_add(1, Ordering::Relaxed);
            file.sync_data()?;
        }
        self.disk.sync_dir(&self.folder)
    }

    pub(crate) fn save(&self) -> Result<(), StorageError> {
        if let Some((segment, index)) = &self.index {
            match segment.save_index(&*self.disk, index) {
                // Without its index a closed segment is read more slowly, until the log repairs it.
                Err(error) if error.is_harmless() && self.closed.is_some() => {
                    segment.set_index_damaged(true);
                }
                saved => saved?,
            }
        }
        if let Some(closed) = &self.closed {
            // Readers that come now find the file.
            closed.segment.drop_live_index();
        }
        let path = self.folder.join(STATE_FILE);
        checkpoint::save(&*self.disk, &path, Kind::State, &self.state)?;
        self.disk.sync_dir(&self.folder)
    }
}
