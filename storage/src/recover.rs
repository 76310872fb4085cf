//! Opening a log: what is trusted, what is scanned, what is cut, and a report of it.
//!
//! The checkpoint says up to where the log was known to be synced. What lies in front of that point is trusted
//! without a look, what lies behind it is scanned batch by batch. What becomes of damage that the scan meets is
//! decided by the table in `decisions.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use protocol::batch::Header;
use protocol::id::{LeaderEpoch, Offset, Timestamp};

use crate::checkpoint::{self, Loaded};
use crate::decisions::{Decision, Evidence, decide};
use crate::disk::{Access, Disk, DiskFile};
use crate::epochs::{EpochStart, Epochs};
use crate::error::{FileDamage, StorageError};
use crate::format::{Kind, Name, STATE_FILE, index_name, log_name};
use crate::index::{Index, NO_TIME, Place};
use crate::mark::Mark;
use crate::options::Options;
use crate::producers::{Producers, Sent};
use crate::report::{Note, Recovered};
use crate::segment::{Active, Closed, SCAN_CHUNK_BYTES, Segment, Summary};
use crate::state::State;
use crate::walk::{Bound, Step, Stretch, Walker};

/// What a log needs to know when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The epoch that new batches carry: [`crate::DataFolder::leader_epoch`]. Never lowered below that of the last
    /// batch.
    pub leader_epoch: LeaderEpoch,
    /// The broker's time.
    pub now: Timestamp,
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

/// What is in the folder, by name.
#[derive(Default)]
struct Listing {
    /// Base offset and bytes.
    logs: BTreeMap<Offset, u64>,
    indexes: BTreeSet<Offset>,
    asides: Vec<String>,
}

/// A segment that is to be scanned.
struct Plan {
    segment: Arc<Segment>,
    /// Known to be sound up to here.
    from: Place,
    time_max: Timestamp,
    /// The index up to `from`.
    index: Index,
    /// Bytes that are known to have been synced.
    sealed_bytes: u64,
    /// The offset that follows those that are known to have been given away.
    sealed_end: Offset,
    /// Where the next segment begins; `None` for the last one.
    next_base: Option<Offset>,
}

struct Scanned {
    summary: Summary,
    index: Index,
    /// Damaged bytes stay at its end, or bytes are missing there: whatever were written behind them could be taken
    /// for the rest of a torn batch.
    is_end_damaged: bool,
    /// Its end was cut off, so what was written behind it was never claimed to be synced.
    is_cut: bool,
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
    fn list(&mut self) -> Result<Listing, StorageError> {
        let entries = match self.disk.list(self.folder) {
            Ok(entries) => entries,
            Err(error) if error.is_missing() => {
                self.disk.create_dir_all(self.folder)?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let mut listing = Listing::default();
        for entry in entries {
            match Name::read(&entry.name) {
                Name::Log(base) if !entry.is_folder => {
                    listing.logs.insert(base, entry.bytes);
                }
                Name::Index(base) if !entry.is_folder => {
                    listing.indexes.insert(base);
                }
                Name::Aside if !entry.is_folder => listing.asides.push(entry.name),
                Name::State | Name::Synced => {}
                Name::Log(_) | Name::Index(_) | Name::Aside | Name::Stranger => {
                    self.note(Note::Stranger { file: self.folder.join(&entry.name) });
                }
            }
        }
        Ok(listing)
    }

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

    fn remove_leftovers(&mut self, listing: &Listing) {
        let stale = listing.indexes.iter().filter(|base| !listing.logs.contains_key(base));
        let names = listing.asides.iter().cloned().chain(stale.map(|base| index_name(*base)));
        for name in names {
            self.remove(&name);
        }
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
        let Opening { now, .. } = self.opening;
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

    /// Plans to scan whole segments. An index is only ever written of what is synced, and in the order of the
    /// segments: so it tells what of its segment was synced, and that those in front of it were, to their ends.
    fn plans(&self, bases: &[Offset]) -> Result<Vec<Plan>, StorageError> {
        let mut plans = Vec::with_capacity(bases.len());
        let mut next_base = None;
        let mut is_sealed = false;
        for base in bases.iter().rev().copied() {
            let segment = self.segment(base);
            let indexed = segment.load_index(self.disk)?.map_or(0, |index| index.covered());
            let sealed_end = next_base.filter(|_| is_sealed).unwrap_or(base);
            plans.push(Plan {
                from: Place { offset: base, position: 0 },
                time_max: NO_TIME,
                index: Index::new(base, self.options.index_interval_bytes),
                sealed_bytes: if is_sealed { u64::MAX } else { indexed },
                sealed_end,
                next_base,
                segment,
            });
            is_sealed |= indexed > 0;
            next_base = Some(base);
        }
        plans.reverse();
        Ok(plans)
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

    /// Plans to scan what lies behind the recovery point, or all of the segment where its index or its bytes up to
    /// there are not what they were.
    fn plan_active(
        &mut self,
        active: &Summary,
        bytes: u64,
        next: Option<&Plan>,
    ) -> Result<Plan, StorageError> {
        let segment = self.segment(active.base);
        let index = segment.load_index(self.disk)?;
        let indexed = index.as_ref().map_or(0, Index::covered);
        let is_sealed = next.is_some_and(|next| next.sealed_bytes > 0);
        let mut plan = Plan {
            from: Place { offset: active.base, position: 0 },
            time_max: NO_TIME,
            index: Index::new(active.base, self.options.index_interval_bytes),
            sealed_bytes: if is_sealed { u64::MAX } else { active.bytes.max(indexed) },
            sealed_end: active.end,
            next_base: next.map(|next| next.segment.base),
            segment,
        };
        if active.bytes == 0 || bytes < active.bytes {
            return Ok(plan);
        }
        match index.filter(|index| index.covered() >= active.bytes) {
            Some(mut index) => {
                index.cut(active.bytes);
                plan.index = index;
                plan.from = Place { offset: active.end, position: active.bytes };
                plan.time_max = active.time_max;
            }
            None => self.note(Note::IndexRebuilt { file: plan.segment.index_path() }),
        }
        Ok(plan)
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

    /// The plan with what the mark says of its segment.
    fn marked(&self, plan: Plan) -> Plan {
        let base = plan.segment.base;
        match self.mark {
            Some(mark) if mark.base == base => Plan {
                sealed_bytes: plan.sealed_bytes.max(mark.bytes),
                sealed_end: plan.sealed_end.max(mark.end),
                ..plan
            },
            Some(mark) if mark.base > base => Plan {
                sealed_bytes: u64::MAX,
                // The segment of the mark may be gone, and what was in it.
                sealed_end: if plan.next_base.is_none() { mark.end } else { plan.sealed_end },
                ..plan
            },
            Some(_) | None => plan,
        }
    }

    fn scan(&mut self, file: &dyn DiskFile, plan: Plan) -> Result<Scanned, StorageError> {
        let Plan { segment, from, mut time_max, mut index, sealed_bytes, sealed_end, next_base } =
            self.marked(plan);
        // A sync that failed in an earlier life may have left pages in memory that the disk does not have.
        file.forget_cached();
        let found_bytes = file.len()?;
        self.report.scanned_bytes += found_bytes.saturating_sub(from.position);
        let bound = Bound { bytes: found_bytes, end: next_base };
        let (mut end, mut bytes) = (from.offset, found_bytes);
        let is_shortened = sealed_bytes != u64::MAX && found_bytes < sealed_bytes;
        if is_shortened {
            let file = segment.log_path();
            self.note(Note::Shortened { file, expected: sealed_bytes, found: found_bytes });
        }
        let mut is_end_damaged = is_shortened || sealed_bytes == u64::MAX && next_base.is_none();
        let mut is_cut = false;
        let mut walker = Walker::new(file, None, from, bound, SCAN_CHUNK_BYTES)?;
        loop {
            match walker.step()? {
                Step::Batch { position, batch } => {
                    let header = batch.header();
                    let place = Place { offset: header.base_offset, position };
                    index.note(place, header.total_bytes as u64, time_max);
                    time_max = time_max.max(header.max_timestamp);
                    end = header.end_offset();
                    self.replay(header);
                }
                Step::Damage(stretch) => {
                    let until = stretch.resume.map_or(bound.bytes, |place| place.position);
                    let at = stretch.at.position;
                    let evidence = Evidence {
                        sealed: at < sealed_bytes,
                        unwritten: walker.has_unwritten_sector(stretch.at, until)?,
                        followed: stretch.resume.is_some()
                            || next_base.is_some() && !walker.is_cut_short(at)?,
                        whole: stretch.whole_until.is_some(),
                    };
                    if decide(evidence) == Decision::Cut {
                        self.cut(file, &segment, &stretch, found_bytes)?;
                        bytes = at;
                        is_cut = true;
                        break;
                    }
                    // What is known to be synced has its end from there: this header may be what is damaged.
                    let claimed = stretch.whole_until.filter(|place| place.position > sealed_bytes);
                    end = end.max(claimed.map_or(end, |place| place.offset));
                    is_end_damaged |= stretch.resume.is_none();
                    self.note(Note::Damaged {
                        file: segment.log_path(),
                        position: at,
                        offset: stretch.at.offset,
                        cause: stretch.cause,
                        resume_at: stretch.resume.map(|place| place.offset),
                    });
                }
                Step::End => break,
            }
        }
        let summary = Summary {
            base: segment.base,
            // Offsets that were synced are never given away again, whatever is left of their records.
            end: next_base.filter(|_| !is_cut).unwrap_or(end.max(sealed_end)),
            bytes,
            time_max,
            last_append: self.opening.now,
        };
        index.cover(bytes);
        Ok(Scanned { summary, index, is_end_damaged, is_cut })
    }

    fn cut(
        &mut self,
        file: &dyn DiskFile,
        segment: &Segment,
        stretch: &Stretch,
        found_bytes: u64,
    ) -> Result<(), StorageError> {
        let position = stretch.at.position;
        if position == found_bytes {
            // It ends here already: what is missing is the rest of it.
            return Ok(());
        }
        file.set_len(position)?;
        self.note(Note::Cut {
            file: segment.log_path(),
            position,
            bytes: found_bytes - position,
            cause: stretch.cause.clone(),
        });
        Ok(())
    }

    /// Takes note of a batch that the checkpoint does not know yet.
    fn replay(&mut self, header: &Header) {
        if header.base_offset < self.replay_from {
            return;
        }
        self.replay_epoch(header);
        if let Some(stamp) = &header.producer {
            let sent = Sent {
                base_sequence: stamp.base_sequence,
                records: header.offset_count(),
                base_offset: header.base_offset,
                append_time: header.append_time.then_some(header.max_timestamp),
            };
            self.producers.note(stamp, sent, self.opening.now);
        }
    }

    /// The epoch is outside the checksum: a single batch that stands out does not make an epoch, or the sound
    /// batches behind it would all look wrong.
    fn replay_epoch(&mut self, header: &Header) {
        let (epoch, start) = (header.leader_epoch, header.base_offset);
        if let Some(rising) = self.rising.take()
            && rising.epoch <= epoch
        {
            self.epochs.note(rising.epoch, rising.start);
        }
        if self.epochs.last().is_none_or(|last| last < epoch) {
            self.rising = Some(EpochStart { epoch, start });
        }
    }
}
