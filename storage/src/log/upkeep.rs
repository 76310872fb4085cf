//! What keeps a log small and quick between its writes: retention, trimming, parking, the repair of indexes.
//!
//! How batches get in is in `log.rs`; which segments may go is decided in `retention.rs`.

use std::sync::Arc;

use protocol::id::{Offset, Timestamp};

use super::{Log, Trimmed};
use crate::disk::Access;
use crate::error::StorageError;
use crate::retention::{self, age_ms};
use crate::segment::Closed;
use crate::walk::Bound;

impl Log {
    /// Removes what retention lets go, forgets producers that have expired, and gives back memory and handles of an
    /// idle log. To be called now and then, between the writes. Readers inside a segment that goes finish.
    ///
    /// # Errors
    /// As [`Self::write`] and [`Self::sync`] where batches are in line or unsynced; whatever the disk refuses to
    /// remove.
    ///
    /// # After an error
    /// As after [`Self::write`]. Segments that could not be removed are out of the log all the same, and their files
    /// go when it is opened anew.
    pub fn retain(&mut self, now: Timestamp) -> Result<Trimmed, StorageError> {
        self.write(now)?;
        let expiry = i64::try_from(self.options.producer_expiry_ms).unwrap_or(i64::MAX);
        self.producers.expire(Timestamp(now.0.saturating_sub(expiry)));
        let active = self.active.summary(self.last_append);
        if !self.active.is_empty() && retention::is_expired(&active, &self.options, now) {
            self.roll(now)?;
        }
        let bytes = self.active.bytes;
        let gone = retention::removable(&self.summaries(), bytes, &self.options, now);
        let next = self
            .shape
            .closed
            .get(gone)
            .map_or(self.active.segment.base, |closed| closed.summary.base);
        let trimmed = if gone > 0 { self.remove_before(next)? } else { self.nothing_trimmed() };
        if age_ms(self.last_append, now) >= self.options.idle_ms {
            if self.active.is_parked() {
                // Readers have opened what they needed since.
                self.shared.handles.clear();
            } else {
                self.park()?;
            }
        }
        Ok(trimmed)
    }

    fn nothing_trimmed(&self) -> Trimmed {
        Trimmed { start: self.start(), segments: 0, bytes: 0 }
    }

    /// Gives back what a log does not need that is not written to: the tail, the index in memory, all handles. What is
    /// written is synced first. The next write takes them again. Without room to write down what they hold nothing is
    /// given back: [`Self::is_awake`] tells.
    ///
    /// # Errors
    /// As [`Self::sync`]. Nothing may be in line.
    pub fn park(&mut self) -> Result<(), StorageError> {
        self.sync()?;
        self.finish_chores()?;
        if self.saved_end != Some(self.active.end) {
            self.save_state_if_room()?;
        }
        if self.saved_end == Some(self.active.end) {
            self.shared.tail.clear();
            self.shared.handles.clear();
            self.active.park();
            self.marker.park();
        }
        Ok(())
    }

    /// Moves the start up to `start`, or to what is exposed if that is less, and removes the segments in front of it.
    /// The new start is durable after `Ok`.
    ///
    /// # Errors
    /// As [`Self::retain`]; [`StorageError::Full`] when there was no room to write the new start down.
    ///
    /// # After an error
    /// The start is where [`Self::start`] says. Otherwise as after [`Self::retain`].
    pub fn trim(&mut self, start: Offset) -> Result<Trimmed, StorageError> {
        self.check_failure()?;
        let start = start.min(self.exposed_end);
        if start <= self.start() {
            return Ok(self.nothing_trimmed());
        }
        self.write(self.last_append)?;
        self.remove_before(start)
    }

    /// Moves the start up and removes the closed segments in front of it, the oldest first.
    ///
    /// With room, the checkpoint says so before the first file goes. Without, the removals are made durable one by
    /// one, so that after a crash what is left has no hole, and the checkpoint follows with the room they gave.
    fn remove_before(&mut self, start: Offset) -> Result<Trimmed, StorageError> {
        self.sync()?;
        self.finish_chores()?;
        let before = self.start();
        let (old_shape, old_bytes) = (Arc::clone(&self.shape), self.closed_bytes);
        let count = old_shape.closed.partition_point(|closed| closed.summary.end <= start);
        let (gone, kept) = old_shape.closed.split_at(count);
        let bytes = gone.iter().map(|closed| closed.summary.bytes).sum::<u64>();
        let mut epochs = old_shape.epochs.clone();
        epochs.trim(start);
        self.shared.set_start(start);
        self.closed_bytes -= bytes;
        self.reshape(kept.to_vec(), epochs);

        let saved = self.save_state();
        if let Err(error) = saved {
            if !error.is_harmless() || gone.is_empty() {
                self.shared.set_start(before);
                self.shape = old_shape;
                self.closed_bytes = old_bytes;
                return Err(if error.is_harmless() { error } else { self.fail(error) });
            }
            self.saved_end = None;
        }
        for closed in gone {
            self.remove_segment(closed)?;
        }
        if gone.is_empty() {
            return Ok(Trimmed { start, segments: 0, bytes: 0 });
        }
        self.disk.sync_dir(&self.folder)?;
        if self.saved_end.is_none() {
            self.save_state()?;
        }
        Ok(Trimmed { start, segments: gone.len(), bytes })
    }

    fn remove_segment(&mut self, closed: &Closed) -> Result<(), StorageError> {
        self.shared.handles.forget(closed.summary.base);
        let removed = [closed.segment.log_path(), closed.segment.index_path()]
            .map(|path| self.disk.remove(&path))
            .into_iter()
            .find(|removed| removed.as_ref().is_err_and(|error| !error.is_missing()));
        if self.saved_end.is_none() {
            self.disk.sync_dir(&self.folder)?;
        }
        removed.unwrap_or(Ok(()))
    }

    /// Makes one index file anew that readers could not use, and says how many are left. Scans that segment.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    ///
    /// # After an error
    /// Nothing is lost: reads of that segment stay slower.
    pub fn repair(&mut self) -> Result<usize, StorageError> {
        let closed = &self.shape.closed;
        let damaged = |closed: &Closed| closed.segment.is_index_damaged();
        let Some(number) = closed.iter().position(damaged) else { return Ok(0) };
        let left = closed.iter().filter(|closed| damaged(closed)).count() - 1;
        if let Some(Closed { segment, summary }) = closed.get(number) {
            let next = closed.get(number + 1).map_or(self.active.segment.base, |c| c.summary.base);
            let bound = Bound { bytes: summary.bytes, end: Some(next) };
            let file = self.disk.open(&segment.log_path(), Access::Read)?;
            let interval = self.options.index_interval_bytes;
            let index = segment.rebuild_index(&*file, &self.shape.epochs, bound, interval)?;
            segment.save_index(&*self.disk, &index)?;
            self.shared.handles.forget(summary.base);
        }
        Ok(left)
    }
}
