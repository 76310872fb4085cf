//! How a log becomes durable: sync, roll, checkpoint, close; and the chores that others do for it meanwhile.
//!
//! `synced_end` is what the log claims. It passes the end of a closed segment only when the chore of that segment has
//! synced it and the name of the next one: so what is claimed has no hole, whatever was synced behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::id::{Offset, Timestamp};

use super::Log;
use crate::chore::{Chore, Closing, Plan};
use crate::error::StorageError;
use crate::format::log_name;
use crate::mark::Mark;
use crate::producers::Producers;
use crate::segment::{Active, Closed, Summary};
use crate::state::State;

/// Most chores of one log that wait or are under way: past that, the log does the oldest itself. Bounds the closed
/// segments that are not synced, and the memory of their indexes.
const CHORES_MAX: usize = 4;

/// The chores of one log, oldest first.
#[derive(Debug, Default)]
pub(super) struct Chores(VecDeque<Due>);

#[derive(Debug)]
struct Due {
    chore: Chore,
    /// What is synced when its first half is done.
    synced_end: Offset,
    /// What the checkpoint covers when its second half is done: all offsets, and bytes of the active segment.
    saved: (Offset, u64),
    is_handed_out: bool,
}

impl Drop for Chores {
    fn drop(&mut self) {
        // The folder may be deleted or opened anew: nobody else may be at work in it then.
        self.0.iter().for_each(|due| due.chore.call_off());
    }
}

impl Log {
    /// Makes everything written durable, what chores have begun included.
    ///
    /// # Errors
    /// Whatever the disk refuses; the first failure again when the log has failed.
    ///
    /// # After an error
    /// The log has failed. [`Self::synced_end`] covers no more than what was synced before; what lies behind it may
    /// or may not be there when the log is opened anew.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.check_failure()?;
        // The closed segments last: somebody may be syncing them at the same time.
        if self.active_synced_end < self.active.end {
            let file = self.active.wake(&*self.disk, &self.shape.epochs, &self.options)?;
            self.syncs.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = file.sync_data() {
                return Err(self.fail(error));
            }
            self.active_synced_end = self.active.end;
        }
        // Another thread may finish any of them meanwhile, and to settle takes what is finished out of the line.
        let chores: Vec<Chore> = self.chores.0.iter().map(|due| due.chore.clone()).collect();
        for chore in chores {
            chore.sync();
            self.settle_chores()?;
        }
        self.settle_chores()?;
        self.mark();
        let unsaved = self.active.bytes.saturating_sub(self.saved_bytes);
        if self.line.is_empty()
            && self.chores.0.is_empty()
            && (self.saved_end.is_none() || unsaved >= self.options.checkpoint_bytes)
        {
            let plan = self.plan(None, &self.producers);
            self.push_chore(plan);
        }
        Ok(())
    }

    /// Writes down how far the log is synced, where that is far enough from what stands there.
    fn mark(&mut self) {
        let (base, bytes) = (self.active.segment.base, self.active.bytes);
        let (marked_base, marked_bytes) = self.marked;
        if base > marked_base || bytes > marked_bytes.saturating_add(self.options.mark_bytes) {
            let mark = Mark { base, bytes, end: self.synced_end };
            self.marker.write(&*self.disk, &self.folder, mark);
            self.marked = (base, bytes);
        }
    }

    /// The oldest chore, unless it is handed out already. To be asked for after each write and sync: it may be run on
    /// any thread, and when that is done the log is to be told by [`Self::settle_chores`].
    pub fn take_chore(&mut self) -> Option<Chore> {
        let due = self.chores.0.front_mut().filter(|due| !due.is_handed_out)?;
        due.is_handed_out = true;
        Some(due.chore.clone())
    }

    /// Takes note of chores that are done. Waits for nothing.
    ///
    /// # Errors
    /// Why a chore failed; the first failure again when the log has failed.
    ///
    /// # After an error
    /// As after [`Self::sync`].
    pub fn settle_chores(&mut self) -> Result<(), StorageError> {
        self.check_failure()?;
        let mut all_synced = true;
        for due in &self.chores.0 {
            match due.chore.synced() {
                Some(Ok(())) => self.synced_end = self.synced_end.max(due.synced_end),
                Some(Err(error)) => return Err(self.fail(error)),
                None => {
                    all_synced = false;
                    break;
                }
            }
        }
        if all_synced {
            self.synced_end = self.synced_end.max(self.active_synced_end);
        }
        while let Some(saved) = self.chores.0.front().and_then(|due| due.chore.saved()) {
            let Some(due) = self.chores.0.pop_front() else { break };
            match saved {
                Ok(()) if self.chores.0.is_empty() => {
                    (self.saved_end, self.saved_bytes) = (Some(due.saved.0), due.saved.1);
                }
                Ok(()) => {}
                // The old checkpoint is as right as before, only older.
                Err(error) if error.is_harmless() => self.saved_end = None,
                Err(error) => return Err(self.fail(error)),
            }
        }
        Ok(())
    }

    /// Does every chore that is left, or waits until it is done: for owners without a second thread, after each sync.
    ///
    /// # Errors
    /// As [`Self::settle_chores`].
    ///
    /// # After an error
    /// As after [`Self::sync`].
    pub fn finish_chores(&mut self) -> Result<(), StorageError> {
        while let Some(due) = self.chores.0.front() {
            due.chore.run();
            self.settle_chores()?;
        }
        self.settle_chores()
    }

    /// Closes the active segment and begins the next. Nothing is synced here: that is the chore that follows.
    ///
    /// # After an error
    /// If the log has not failed, the active segment is as it was.
    pub(super) fn roll(&mut self, now: Timestamp) -> Result<(), StorageError> {
        if self.chores.0.len() >= CHORES_MAX
            && let Some(due) = self.chores.0.front()
        {
            due.chore.run();
            self.settle_chores()?;
        }
        let file = self.active.wake(&*self.disk, &self.shape.epochs, &self.options)?;
        let folder = Arc::clone(&self.folder);
        let next = match Active::create(&*self.disk, folder, self.active.end, &self.options, now) {
            Ok(next) => next,
            Err(error) => return Err(self.uncreate(error)),
        };
        let last = std::mem::replace(&mut self.active, next);
        let summary = last.summary(self.last_append);
        self.closed_bytes += summary.bytes;
        let mut closed = self.shape.closed.clone();
        closed.push(Closed { segment: Arc::clone(&last.segment), summary });
        self.reshape(closed, self.shape.epochs.clone());
        (self.saved_end, self.saved_bytes) = (None, 0);

        let unsynced = (self.active_synced_end < last.end).then_some(file);
        self.active_synced_end = last.end;
        let producers = self.producers_written();
        let plan = self.plan(Some(Closing { segment: last.segment, unsynced }), &producers);
        self.push_chore(plan);
        Ok(())
    }

    /// A new segment could not be made. If a file of that name were left, and batches written to the old segment
    /// after all, the next opening would take the file for the segment behind them.
    fn uncreate(&mut self, error: StorageError) -> StorageError {
        let path = self.folder.join(log_name(self.active.end));
        match self.disk.remove(&path) {
            Ok(()) => error,
            Err(removal) if removal.is_missing() => error,
            Err(removal) => self.fail(removal),
        }
    }

    /// The producers as the written batches have them, without those in line.
    fn producers_written(&self) -> Producers {
        let mut producers = self.producers.clone();
        for undo in self.line.iter().rev().filter_map(|in_line| in_line.undo.as_ref()) {
            producers.undo(undo);
        }
        producers
    }

    /// The plan to write down what is synced: all that is written, once `closed` is synced. Where nothing is closed it
    /// must be synced now.
    fn plan(&self, closed: Option<Closing>, producers: &Producers) -> Plan {
        let indexed = closed.as_ref().map_or(&self.active.segment, |closed| &closed.segment);
        let index = indexed.live_index().filter(|index| index.covered() > 0);
        let state = State {
            start: self.shared.start(),
            active: self.active.summary(self.last_append),
            first_append: self.active.first_append,
            epochs: self.shape.epochs.clone(),
            closed: self.summaries(),
            producers: producers.clone(),
        };
        Plan {
            disk: Arc::clone(&self.disk),
            folder: Arc::clone(&self.folder),
            index: index.map(|index| (Arc::clone(indexed), index)),
            closed,
            state: state.encode(),
            syncs: Arc::clone(&self.syncs),
        }
    }

    fn push_chore(&mut self, plan: Plan) {
        self.chores.0.push_back(Due {
            chore: Chore::new(plan),
            synced_end: self.active.end,
            saved: (self.active.end, self.active.bytes),
            is_handed_out: false,
        });
    }

    /// Writes the checkpoint, and the index of the active segment first. Everything is synced, no chore is left and
    /// nothing in line.
    pub(super) fn save_state(&mut self) -> Result<(), StorageError> {
        self.plan(None, &self.producers).save()?;
        (self.saved_end, self.saved_bytes) = (Some(self.active.end), self.active.bytes);
        Ok(())
    }

    /// The same, but without room, or without a handle to be had, the old checkpoint stands: it is as right as before,
    /// only older.
    pub(super) fn save_state_if_room(&mut self) -> Result<(), StorageError> {
        match self.save_state() {
            Err(error) if error.is_harmless() => {
                self.saved_end = None;
                Ok(())
            }
            saved => saved,
        }
    }

    pub(super) fn summaries(&self) -> Vec<Summary> {
        self.shape.closed.iter().map(|closed| closed.summary).collect()
    }

    /// Syncs what is written and writes the checkpoint, so that the next opening scans nothing. Batches in line that
    /// were not written are dropped.
    ///
    /// # Errors
    /// As [`Self::sync`].
    ///
    /// # After an error
    /// What was synced before is there when the log is opened anew.
    pub fn close(mut self) -> Result<(), StorageError> {
        self.drop_line();
        self.sync()?;
        self.finish_chores()?;
        if self.saved_end == Some(self.active.end) {
            return Ok(());
        }
        self.save_state_if_room()
    }

    /// Removes the folder with all that is in it. Views that are held cannot be read any more.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    ///
    /// # After an error
    /// Some of the files may be gone. The caller's own records must say that the log is to be deleted, and delete
    /// the folder again when they are read.
    pub fn delete(mut self) -> Result<(), StorageError> {
        self.chores = Chores::default();
        self.shared.handles.clear();
        self.disk.remove_dir_all(&self.folder)?;
        self.folder.parent().map_or(Ok(()), |parent| self.disk.sync_dir(parent))
    }

    /// Syncs of its segments so far, those of chores included.
    pub fn sync_count(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}
