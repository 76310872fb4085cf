//! The one writer of one partition: stage, write, sync, roll, trim, close.
//!
//! A log is owned by one thread and guarded by nothing. Readers hold [`View`]s. The way of a batch:
//!
//! ```text
//!  stage            write              sync              expose
//!  in line  ----->  in the file ---->  durable  ------>  readers see it
//!     |                |                  |
//!     | no room:       | no room:         | error: the log has failed; nothing unsynced is ever
//!     |                v                  v        called synced, and no sync is repeated
//!     |          cut back, dropped,   failed for good, until the log is opened anew
//!     |          the log stays usable
//! ```
//!
//! When to do which, and what is answered to whom, is for the owner.

mod durable;
#[cfg(test)]
mod tests;
mod upkeep;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use protocol::batch::{Batch, Stamp};
use protocol::id::{LeaderEpoch, Offset, Timestamp};

use self::durable::Chores;
use crate::disk::{Disk, DiskFile};
use crate::epochs::Epochs;
use crate::error::{StageError, StorageError};
use crate::handles::Handles;
use crate::mark::Marker;
use crate::options::Options;
use crate::producers::{Producers, Sent, Undo, Verdict};
use crate::recover::{self, Found, Opening};
use crate::report::Recovered;
use crate::retention::age_ms;
use crate::segment::{Active, Closed};
use crate::view::{Shape, Shared, View};

/// A batch that has its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The end that must be reached before it may be acknowledged: `..end` synced, or written, as its topic asks.
    pub end: Offset,
    /// The time that its records got, where the topic has append time.
    pub append_time: Option<Timestamp>,
    /// True when the log had it already, or has it in line: its producer has sent it again.
    pub repeated: bool,
}

/// What was removed from the front of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// The first offset that is there now.
    pub start: Offset,
    /// Segments that were removed.
    pub segments: usize,
    /// Bytes that they had.
    pub bytes: u64,
}

#[derive(Debug)]
struct InLine {
    batch: Batch,
    undo: Option<Undo>,
}

/// The one writer of one partition. See the head of `log.rs` for the way of a batch.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    folder: Arc<Path>,
    options: Options,
    leader_epoch: LeaderEpoch,
    shared: Arc<Shared>,
    /// What views see of the segments; replaced when one is added or removed.
    shape: Arc<Shape>,
    closed_bytes: u64,
    active: Active,
    producers: Producers,
    /// Batches that wait for the next write, in order.
    line: Vec<InLine>,
    line_bytes: usize,
    /// Where the next batch in line goes.
    next: Offset,
    /// What is claimed to be durable: `..synced_end`.
    synced_end: Offset,
    /// What of the active segment is synced; at least its base. Not claimed while a segment in front of it is not synced.
    active_synced_end: Offset,
    /// Syncs of segments so far.
    syncs: Arc<AtomicU64>,
    chores: Chores,
    marker: Marker,
    /// The active segment and its bytes, as the marker has written them down last or as they were found.
    marked: (Offset, u64),
    exposed_end: Offset,
    last_append: Timestamp,
    /// The end that the checkpoint on disk covers; `None` when it must be written whatever it covers.
    saved_end: Option<Offset>,
    /// Bytes of the active segment that it covers.
    saved_bytes: u64,
    failure: Option<StorageError>,
}

impl Log {
    /// Opens the log in a folder, and makes an empty one where there is none. What was recovered is synced and
    /// exposed. After a clean close this reads one small file.
    ///
    /// # Errors
    /// [`StorageError::Newer`] before anything is changed; whatever the disk refuses.
    ///
    /// # After an error
    /// Whole batches stand as they stood; the log may be opened again.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: Options,
        opening: Opening,
    ) -> Result<(Self, Recovered), StorageError> {
        let options = options.bounded();
        let folder: Arc<Path> = folder.into();
        let leader_epoch = opening.leader_epoch;
        let handles = Handles::new(Arc::clone(&disk), opening.read_files.clone());
        let (found, report) = recover::open(&*disk, &folder, &options, opening)?;
        let Found { start, closed, active, last_append, epochs, producers, is_clean } = found;
        let end = active.end;
        let leader_epoch = epochs.last().unwrap_or_default().max(leader_epoch);
        let mut log = Self {
            shared: Arc::new(Shared::new(start, handles)),
            closed_bytes: closed.iter().map(|closed| closed.summary.bytes).sum(),
            shape: Arc::new(Shape { closed, active: Arc::clone(&active.segment), epochs }),
            disk,
            folder,
            options,
            leader_epoch,
            next: end,
            synced_end: end,
            active_synced_end: end,
            syncs: Arc::default(),
            chores: Chores::default(),
            marker: Marker::default(),
            marked: (active.segment.base, active.bytes),
            exposed_end: end,
            last_append,
            // A new log needs no checkpoint: there is nothing that a scan would not find.
            saved_end: (is_clean || end == Offset::ZERO).then_some(end),
            saved_bytes: active.bytes,
            active,
            producers,
            line: Vec::new(),
            line_bytes: 0,
            failure: None,
        };
        if log.saved_end.is_none() {
            log.save_state_if_room()?;
        }
        if log.active.is_empty() {
            // There may be thousands of them, and only those that are written to need a handle.
            log.active.park();
        }
        Ok((log, report))
    }

    /// Gives a batch its place and puts it in line for the next write. Touches no file.
    ///
    /// The batch is whole and checked: that is for whoever let it in.
    ///
    /// # Errors
    /// [`StageError`] says why the batch is not taken.
    ///
    /// # After an error
    /// Nothing has changed.
    pub fn stage(&mut self, batch: Batch, now: Timestamp) -> Result<Staged, StageError> {
        if let Some(failure) = &self.failure {
            return Err(StageError::Failed(failure.clone()));
        }
        let header = *batch.header();
        let records = header.offset_count();
        if let Some(stamp) = &header.producer
            && let Verdict::Repeat(sent) = self.producers.judge(stamp, records)?
        {
            return Ok(Staged {
                base_offset: sent.base_offset,
                end: sent.end(),
                append_time: sent.append_time,
                repeated: true,
            });
        }
        let base_offset = self.next;
        if base_offset.get().checked_add(i64::from(records)).is_none() {
            return Err(StageError::OffsetsExhausted { end: base_offset });
        }
        let append_time = self.options.append_time.then_some(now);
        let undo = header.producer.map(|stamp| {
            let base_sequence = stamp.base_sequence;
            let sent = Sent { base_sequence, records, base_offset, append_time };
            self.producers.note(&stamp, sent, now)
        });
        let leader_epoch = self.leader_epoch;
        let batch = batch.stamp(Stamp { base_offset, leader_epoch, append_time });
        self.line_bytes += batch.bytes().len();
        self.next = batch.header().end_offset();
        self.line.push(InLine { batch, undo });
        Ok(Staged { base_offset, end: self.next, append_time, repeated: false })
    }

    /// Writes all batches in line: one gathered write for each segment that is touched. Rolls where the segment is
    /// full or old.
    ///
    /// # Errors
    /// Whatever the disk refuses; the first failure again when the log has failed.
    ///
    /// # After an error
    /// Batches up to [`Self::written_end`] are written. Those behind it are dropped, and their producers' sequences
    /// taken back. If the log [has not failed](Self::is_failed), no trace of the dropped ones is in it, and it may be
    /// used again: there was no room, or no handle to be had. Else they, and all that was not synced, may or may not
    /// be there when the log is opened anew.
    pub fn write(&mut self, now: Timestamp) -> Result<(), StorageError> {
        let written = self.write_line(now);
        if written.is_err() {
            self.drop_line();
        }
        written
    }

    fn write_line(&mut self, now: Timestamp) -> Result<(), StorageError> {
        self.settle_chores()?;
        while !self.line.is_empty() {
            if self.must_roll(now) {
                self.roll(now)?;
            }
            self.write_part(now)?;
        }
        Ok(())
    }

    fn must_roll(&self, now: Timestamp) -> bool {
        let Some(first) = self.line.first().filter(|_| !self.active.is_empty()) else {
            return false;
        };
        self.fitting(first, self.active.bytes).is_none()
            || age_ms(self.active.first_append, now) >= self.options.segment_ms
    }

    /// The bytes of the active segment with a batch behind `bytes` of it; `None` when it does not fit.
    fn fitting(&self, in_line: &InLine, bytes: u64) -> Option<u64> {
        let header = in_line.batch.header();
        let after = bytes + header.total_bytes as u64;
        let delta = header.base_offset.since(self.active.segment.base);
        (after <= self.options.segment_bytes && u32::try_from(delta).is_ok()).then_some(after)
    }

    /// Writes what fits into the active segment, at least one batch.
    fn write_part(&mut self, now: Timestamp) -> Result<(), StorageError> {
        let mut bytes = self.active.bytes;
        let fits = |in_line: &&InLine| {
            let after = self.fitting(in_line, bytes);
            bytes = after.unwrap_or(bytes);
            after.is_some()
        };
        // A batch larger than a segment has one to itself.
        let count = self.line.iter().take_while(fits).count().max(1);
        let file = self.active.wake(&*self.disk, &self.shape.epochs, &self.options)?;
        let is_first = self.active.is_empty();
        let part = self.line.iter().take(count).map(|in_line| &in_line.batch);
        if let Err(error) = self.active.append(&*file, part) {
            return Err(self.cut_back(&*file, error));
        }
        if is_first {
            self.active.first_append = now;
        }
        self.last_append = now;
        let written: Vec<_> = self.line.drain(..count).map(|in_line| in_line.batch).collect();
        self.line_bytes -= written.iter().map(|batch| batch.bytes().len()).sum::<usize>();
        self.note_epoch(written.first());
        self.shared.tail.push(written.into_iter(), self.options.tail_bytes_max);
        self.producers.bound();
        Ok(())
    }

    fn note_epoch(&mut self, first: Option<&Batch>) {
        let Some(header) = first.map(Batch::header) else { return };
        if self.shape.epochs.last().is_none_or(|last| last < header.leader_epoch) {
            let mut epochs = self.shape.epochs.clone();
            epochs.note(header.leader_epoch, header.base_offset);
            self.reshape(self.shape.closed.clone(), epochs);
        }
    }

    /// A write failed. For want of room the file is cut back to where it was, durably, so that what was refused can
    /// not come back after a crash; anything else ends the log.
    fn cut_back(&mut self, file: &dyn DiskFile, error: StorageError) -> StorageError {
        if !error.is_full() {
            return self.fail(error);
        }
        match file.set_len(self.active.bytes).and_then(|()| file.sync_data()) {
            Ok(()) => {
                self.active_synced_end = self.active.end;
                self.settle_chores().err().unwrap_or(error)
            }
            Err(error) => self.fail(error),
        }
    }

    fn drop_line(&mut self) {
        for in_line in self.line.drain(..).rev() {
            if let Some(undo) = in_line.undo {
                self.producers.undo(&undo);
            }
        }
        self.line_bytes = 0;
        self.next = self.active.end;
    }

    fn fail(&mut self, error: StorageError) -> StorageError {
        self.failure.get_or_insert(error).clone()
    }

    fn check_failure(&self) -> Result<(), StorageError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn reshape(&mut self, closed: Vec<Closed>, epochs: Epochs) {
        let active = Arc::clone(&self.active.segment);
        self.shape = Arc::new(Shape { closed, active, epochs });
    }

    /// Lets readers see `..end`, which is moved into what is exposed already and what is written.
    pub fn expose(&mut self, end: Offset) -> View {
        self.exposed_end = end.min(self.active.end).max(self.exposed_end);
        self.view()
    }

    /// What readers see now.
    pub fn view(&self) -> View {
        let (shared, shape) = (Arc::clone(&self.shared), Arc::clone(&self.shape));
        View::new(shared, shape, self.exposed_end, self.bytes())
    }

    /// Puts other options in force, from the next call on.
    pub fn set_options(&mut self, options: Options) {
        self.options = options.bounded();
    }

    /// The options in force.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The first offset that readers may see.
    pub fn start(&self) -> Offset {
        self.shared.start()
    }

    /// Where the next batch goes that is staged.
    pub fn staged_end(&self) -> Offset {
        self.next
    }

    /// Bytes of the batches in line.
    pub fn staged_bytes(&self) -> usize {
        self.line_bytes
    }

    /// `..written_end` is in the files.
    pub fn written_end(&self) -> Offset {
        self.active.end
    }

    /// `..synced_end` is durable.
    pub fn synced_end(&self) -> Offset {
        self.synced_end
    }

    /// The epoch that new batches carry.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// True when the log takes no more writes until it is opened anew.
    pub fn is_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Why it takes no more writes: the first failure.
    pub fn failure(&self) -> Option<&StorageError> {
        self.failure.as_ref()
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.closed_bytes + self.active.bytes
    }

    /// Segments, the active one included.
    pub fn segment_count(&self) -> usize {
        self.shape.closed.len() + 1
    }

    /// True while it holds files open to be written to.
    pub fn is_awake(&self) -> bool {
        !self.active.is_parked()
    }

    /// Idempotent producers that are remembered.
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }
}
