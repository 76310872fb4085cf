//! Opening a log: what is trusted, what is scanned, what is cut, and a report of it.
//!
//! The checkpoint says up to where the log was known to be synced. What lies in front of that point is trusted
//! without a look, what lies behind it is scanned batch by batch. What becomes of damage that the scan meets is
//! decided by the table in `decisions.rs`.

mod listing;
mod plan;
mod scan;

use std::path::Path;
use std::sync::Arc;

use protocol::id::{LeaderEpoch, Offset, Timestamp};

use self::listing::Listing;
use self::plan::Plan;
use self::scan::Scanned;
use crate::checkpoint::{self, Loaded};
use crate::disk::{Access, Disk};
use crate::epochs::{EpochStart, Epochs};
use crate::error::{FileDamage, StorageError};
use crate::format::{Kind, STATE_FILE, index_name, log_name};
use crate::handles::ReadFiles;
use crate::mark::Mark;
use crate::options::Options;
use crate::producers::Producers;
use crate::report::{Note, Recovered};
use crate::segment::{Active, Closed, Segment, Summary};
use crate::state::State;
use crate::walk::Bound;

/// What a log needs to know when it is opened.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// The epoch that new batches carry: [`crate::DataFolder::leader_epoch`]. Never lowered below that of the last
    /// batch.
    pub leader_epoch: LeaderEpoch,
    /// The broker's time.
    pub now: Timestamp,
    /// Bounds the files that are kept open for readers, together with all logs that are opened with it.
    pub read_files: ReadFiles,
}

/// A log as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) start: Offset,
    pub(crate) closed: Vec<Closed>,
    pub(crate) active: Active,
    pub(crate) last_append: Timestamp,
    pub(crate) epochs: Epochs,
    pub(crate) producers: Producers,
    /// True when the checkpoint on disk says all of this already.
    pub(crate) is_clean: bool,
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    folder: &'a Arc<Path>,
    options: &'a Options,
    opening: Opening,
    report: Recovered,
    producers: Producers,
    /// Batches in front of it are in `producers` and `epochs` already.
    replay_from: Offset,
    epochs: Epochs,
    /// What was last written down as synced.
    mark: Option<Mark>,
    /// An epoch that rose with the last batch: taken when the next one does not fall back.
    rising: Option<EpochStart>,
}

/// Opens the log in a folder; makes an empty one where there is none.
///
/// # After an error
/// Whole batches stand as they stood. Leftovers may be removed and an unfinished write cut off; to open the log again
/// goes on from there.
pub(crate) fn open(
    disk: &dyn Disk,
    folder: &Arc<Path>,
    options: &Options,
    opening: Opening,
) -> Result<(Found, Recovered), StorageError> {
    let mut recovery = Recovery {
        disk,
        folder,
        options,
        opening,
        report: Recovered::default(),
        producers: Producers::default(),
        replay_from: Offset::ZERO,
        epochs: Epochs::default(),
        mark: None,
        rising: None,
    };
    let listing = recovery.list()?;
    let state = recovery.load_state(&listing)?;
    // Only now is it certain that no newer release wrote here: from here on files may change.
    recovery.remove_leftovers(&listing);
    let mut found = match state {
        Some(state) => recovery.open_from(state, listing)?,
        None => recovery.open_without_state(listing)?,
    };
    recovery.report.start = found.start;
    recovery.report.end = found.active.end;
    found.producers.bound();
    Ok((found, recovery.report))
}

impl Recovery<'_> {
    fn note(&mut self, note: Note) {
        self.report.notes.push(note);
    }

    fn load_state(&mut self, listing: &Listing) -> Result<Option<State>, StorageError> {
        let file = self.folder.join(STATE_FILE);
        let damage = match checkpoint::load(self.disk, &file, Kind::State)? {
            Loaded::Whole(body) => match State::decode(&body) {
                Ok(state) => return Ok(Some(state)),
                Err(field) => Some(FileDamage::Field { field }),
            },
            Loaded::Damaged(damage) => Some(damage),
            Loaded::Missing => None,
        };
        // A log that was never closed and never rolled has none yet.
        let is_young = listing.logs.len() <= 1;
        if damage.is_some() || !is_young {
            self.note(Note::CheckpointRebuilt { file, damage });
        }
        Ok(None)
    }

    /// Removes what is of no use. Where the disk refuses, it stays for the next time.
    fn remove(&mut self, name: &str) {
        let file = self.folder.join(name);
        if self.disk.remove(&file).is_ok() {
            self.note(Note::Leftover { file });
        }
    }

    fn segment(&self, base: Offset) -> Arc<Segment> {
        Arc::new(Segment::new(Arc::clone(self.folder), base))
    }

    fn open_without_state(&mut self, listing: Listing) -> Result<Found, StorageError> {
        let bases: Vec<Offset> = listing.logs.keys().copied().collect();
        let Some(start) = bases.first().copied() else { return self.create(Offset::ZERO) };
        let plans = self.plans(&bases)?;
        self.finish(start, Vec::new(), plans, self.opening.now, self.opening.now)
    }

    /// An empty segment behind everything.
    fn create(&self, base: Offset) -> Result<Found, StorageError> {
        let now = self.opening.now;
        let folder = Arc::clone(self.folder);
        let active = Active::create(self.disk, folder, base, self.options, now)?;
        self.disk.sync_dir(self.folder)?;
        Ok(Found {
            start: base,
            closed: Vec::new(),
            active,
            last_append: now,
            epochs: self.epochs.clone(),
            producers: self.producers.clone(),
            is_clean: false,
        })
    }

    fn open_from(&mut self, state: State, listing: Listing) -> Result<Found, StorageError> {
        let State { start, active, first_append, epochs, closed: known, producers } = state;
        self.epochs = epochs;
        self.producers = producers;
        self.replay_from = active.end;
        let oldest = known.first().map_or(active.base, |oldest| oldest.base);
        let mut later = Vec::new();
        for base in listing.logs.keys().copied() {
            let is_known = base == active.base || known.iter().any(|known| known.base == base);
            if base < oldest {
                // Removed by retention; the removal of the file itself did not last.
                self.remove(&log_name(base));
                self.remove_if_there(&index_name(base));
            } else if base > active.base && base >= active.end {
                later.push(base);
            } else if !is_known {
                self.note(Note::Stranger { file: self.folder.join(log_name(base)) });
            }
        }
        let closed = self.check_closed(&known, &active, &listing);
        let start = start.max(closed.first().map_or(active.base, |closed| closed.summary.base));

        let Some(bytes) = listing.logs.get(&active.base).copied() else {
            // When there was no room for a new checkpoint, it may have been removed, and all in front of it.
            let oldest = later.first().copied().filter(|_| closed.is_empty());
            if oldest.is_none() {
                self.note(Note::SegmentMissing { file: self.folder.join(log_name(active.base)) });
            }
            if later.is_empty() {
                let created = self.create(active.end)?;
                return Ok(Found { start, closed, ..created });
            }
            let start = start.max(oldest.unwrap_or(start));
            let plans = self.plans(&later)?;
            return self.finish(start, closed, plans, first_append, active.last_append);
        };
        let has_index = listing.indexes.contains(&active.base) || bytes == 0;
        if bytes == active.bytes && later.is_empty() && has_index {
            return Ok(Found {
                start,
                closed,
                active: Active::parked(self.segment(active.base), active, first_append),
                last_append: active.last_append,
                epochs: self.epochs.clone(),
                producers: std::mem::take(&mut self.producers),
                is_clean: self.report.notes.is_empty(),
            });
        }
        let later = self.plans(&later)?;
        let mut plans = vec![self.plan_active(&active, bytes, later.first())?];
        plans.extend(later);
        self.finish(start, closed, plans, first_append, active.last_append)
    }

    fn remove_if_there(&mut self, name: &str) {
        // Where it was not there or the disk refuses, nothing needs it.
        let _gone = self.disk.remove(&self.folder.join(name));
    }

    /// The closed segments that the checkpoint knows, compared with the folder.
    fn check_closed(
        &mut self,
        known: &[Summary],
        active: &Summary,
        listing: &Listing,
    ) -> Vec<Closed> {
        let mut closed: Vec<Closed> = Vec::new();
        for (number, summary) in known.iter().enumerate() {
            let segment = self.segment(summary.base);
            let Some(bytes) = listing.logs.get(&summary.base).copied() else {
                // The oldest ones may have been removed when there was no room for a new checkpoint.
                if !closed.is_empty() {
                    self.note(Note::SegmentMissing { file: segment.log_path() });
                }
                continue;
            };
            if bytes < summary.bytes {
                let (expected, found) = (summary.bytes, bytes);
                self.note(Note::Shortened { file: segment.log_path(), expected, found });
            }
            let summary = Summary { bytes: bytes.min(summary.bytes), ..*summary };
            if !listing.indexes.contains(&summary.base) {
                let next = known.get(number + 1).map_or(active.base, |next| next.base);
                self.rebuild_index(&segment, &summary, next);
            }
            closed.push(Closed { segment, summary });
        }
        closed
    }

    fn rebuild_index(&mut self, segment: &Segment, summary: &Summary, next: Offset) {
        let rebuilt = self.disk.open(&segment.log_path(), Access::Read).and_then(|file| {
            let bound = Bound { bytes: summary.bytes, end: Some(next) };
            let interval = self.options.index_interval_bytes;
            self.report.scanned_bytes += summary.bytes;
            let index = segment.rebuild_index(&*file, &self.epochs, bound, interval)?;
            segment.save_index(self.disk, &index)
        });
        let file = segment.index_path();
        match rebuilt {
            Ok(()) => self.note(Note::IndexRebuilt { file }),
            Err(cause) => {
                segment.set_index_damaged(true);
                self.note(Note::IndexMissing { file, cause });
            }
        }
    }

    /// Scans, makes what was found durable, and puts it together.
    fn finish(
        &mut self,
        start: Offset,
        mut closed: Vec<Closed>,
        plans: Vec<Plan>,
        first_append: Timestamp,
        last_append: Timestamp,
    ) -> Result<Found, StorageError> {
        self.mark = Mark::load(self.disk, self.folder);
        let mut active = None;
        let mut end = start;
        let mut plans = plans.into_iter();
        while let Some(plan) = plans.next() {
            let segment = Arc::clone(&plan.segment);
            let file = self.disk.open(&segment.log_path(), Access::Write)?;
            let was_empty = file.is_empty()?;
            let Scanned { summary, index, is_end_damaged, is_cut } = self.scan(&*file, plan)?;
            // What is found here may be answered for: as the repeat of a batch, or to a reader. Thousands of logs may
            // have nothing, and a sync of nothing still waits for the disk.
            if !was_empty {
                file.sync_data()?;
            }
            end = summary.end;
            if is_cut {
                self.drop_segments(plans.by_ref())?;
            }
            if plans.len() == 0 && !is_end_damaged {
                active = Some(Active::awake(segment, file, index, summary, first_append));
                continue;
            }
            if let Err(cause) = segment.save_index(self.disk, &index) {
                segment.set_index_damaged(true);
                self.note(Note::IndexMissing { file: segment.index_path(), cause });
            }
            closed.push(Closed { segment, summary });
        }
        if let Some(EpochStart { epoch, start }) = self.rising.take() {
            self.epochs.note(epoch, start);
        }
        self.disk.sync_dir(self.folder)?;
        let active = match active {
            Some(active) => active,
            None => self.create(end)?.active,
        };
        Ok(Found {
            start: start.min(active.end),
            closed,
            active,
            last_append,
            epochs: self.epochs.clone(),
            producers: std::mem::take(&mut self.producers),
            is_clean: false,
        })
    }

    /// Removes the segments behind a cut: they were begun before what lay in front of them was synced, so nothing in
    /// them was claimed to be. The last one goes first, so that what a crash leaves has no hole.
    fn drop_segments(
        &mut self,
        plans: impl DoubleEndedIterator<Item = Plan>,
    ) -> Result<(), StorageError> {
        for Plan { segment, .. } in plans.rev() {
            let file = segment.log_path();
            let bytes = self.disk.open(&file, Access::Read)?.len()?;
            self.remove_if_there(&index_name(segment.base));
            // Were it left, it would be taken for what follows the batches that are written next.
            self.disk.remove(&file)?;
            self.disk.sync_dir(self.folder)?;
            self.note(Note::Dropped { file, bytes });
        }
        Ok(())
    }
}
