//! Opening a log: what is trusted, what is scanned, what is cut, and a report of it.
//!
//! The checkpoint says up to where the log was known to be synced. What lies in front of that point is trusted
//! without a look, what lies behind it is scanned batch by batch. Where the scan meets damage, [`DECISIONS`] says
//! what becomes of it. The rule behind the table: an append-only file that loses its unsynced writes shows zeros or
//! ends early; it never shows wrong bytes. So zeros and an early end are cut off, and wrong bytes are kept and named,
//! because a batch that was acknowledged may be among them or behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::batch::Header;
use protocol::id::{LeaderEpoch, Offset, Timestamp};

use crate::checkpoint::{self, Loaded};
use crate::disk::{Access, Disk, DiskFile};
use crate::epochs::{EpochStart, Epochs};
use crate::error::{Damage, FileDamage, StorageError};
use crate::format::{Kind, Name, STATE_FILE, index_name, log_name};
use crate::index::{Index, NO_TIME, Place};
use crate::options::Options;
use crate::producers::{Producers, Sent};
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

/// What speaks for and against a damaged stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// It was known to be synced: it lies in front of the recovery point, or another segment was begun behind it.
    pub(crate) sealed: bool,
    /// A sector of it was never written: it is all zeros.
    pub(crate) unwritten: bool,
    /// A sound batch lies behind it in its segment.
    pub(crate) followed: bool,
    /// A header with the right offset stands at its beginning, and all bytes that it announces are there.
    pub(crate) whole: bool,
}

/// What becomes of a damaged stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The file ends in front of it from now on.
    Cut,
    /// It stays where it is, with all behind it. Readers are told.
    Keep,
}

/// A row of the table: `None` fits both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    sealed: Option<bool>,
    unwritten: Option<bool>,
    followed: Option<bool>,
    whole: Option<bool>,
    decision: Decision,
    why: &'static str,
}

/// What is done about damage that is found on opening. The first row that fits decides.
pub(crate) const DECISIONS: [Row; 5] = [
    Row {
        sealed: Some(true),
        unwritten: None,
        followed: None,
        whole: None,
        decision: Decision::Keep,
        why: "it was synced, so it was acknowledged: its offsets are never given to other records",
    },
    Row {
        sealed: Some(false),
        unwritten: Some(true),
        followed: None,
        whole: None,
        decision: Decision::Cut,
        why: "the write never reached the disk, so no sync covered it or anything behind it",
    },
    Row {
        sealed: Some(false),
        unwritten: Some(false),
        followed: Some(true),
        whole: None,
        decision: Decision::Keep,
        why: "bytes that were written have changed: what lies behind may be acknowledged, and so may this",
    },
    Row {
        sealed: Some(false),
        unwritten: Some(false),
        followed: Some(false),
        whole: Some(true),
        decision: Decision::Keep,
        why: "a whole last batch with changed bytes: it may have been acknowledged",
    },
    Row {
        sealed: Some(false),
        unwritten: Some(false),
        followed: Some(false),
        whole: Some(false),
        decision: Decision::Cut,
        why: "a torn end: the write was under way when the power went",
    },
];

/// Looks a stretch up in the table.
pub(crate) fn decide(evidence: Evidence) -> Decision {
    let fits = |wanted: Option<bool>, found: bool| wanted.is_none_or(|wanted| wanted == found);
    let row = DECISIONS.iter().find(|row| {
        fits(row.sealed, evidence.sealed)
            && fits(row.unwritten, evidence.unwritten)
            && fits(row.followed, evidence.followed)
            && fits(row.whole, evidence.whole)
    });
    // The rows cover everything (asserted in the tests); to keep is what loses nothing.
    row.map_or(Decision::Keep, |row| row.decision)
}

/// The decision table as `docs/format.md` shows it.
pub fn render_decisions() -> String {
    let mut text = String::from(
        "| known synced | a sector unwritten | sound batch behind | whole | decision | because |\n|---|---|---|---|---|---|\n",
    );
    let cell = |wanted: Option<bool>| wanted.map_or("any", |yes| if yes { "yes" } else { "no" });
    for row in DECISIONS {
        let cells = [row.sealed, row.unwritten, row.followed, row.whole].map(cell).join(" | ");
        let decision = match row.decision {
            Decision::Cut => "cut",
            Decision::Keep => "keep and name",
        };
        text.push_str(&format!("| {cells} | {decision} | {} |\n", row.why));
    }
    text
}

/// One thing that opening a log came upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// An unfinished write was cut off. Nothing acknowledged as synced was in it.
    Cut {
        /// The segment.
        file: PathBuf,
        /// Where it ends now, in bytes.
        position: u64,
        /// Bytes that were cut off.
        bytes: u64,
        /// What was wrong with them.
        cause: Damage,
    },
    /// Stored bytes are damaged. They stay, and readers are told.
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the damage begins, in bytes.
        position: u64,
        /// The offset that should lie there.
        offset: Offset,
        /// What is wrong.
        cause: Damage,
        /// The offset of the next sound batch in the segment.
        resume_at: Option<Offset>,
    },
    /// A closed segment, or the synced part of the active one, is shorter than it was.
    Shortened {
        /// The segment.
        file: PathBuf,
        /// Bytes that it had.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A segment between others is gone.
    SegmentMissing {
        /// Its file.
        file: PathBuf,
    },
    /// The checkpoint was missing or damaged: all segments were scanned, and a start inside a segment is forgotten.
    CheckpointRebuilt {
        /// The checkpoint.
        file: PathBuf,
        /// What was wrong; `None` when it was missing.
        damage: Option<FileDamage>,
    },
    /// An index was missing or of no use and was made anew.
    IndexRebuilt {
        /// The index.
        file: PathBuf,
    },
    /// An index could not be made anew now; readers of its segment are slower until [`crate::Log::repair`].
    IndexMissing {
        /// The index.
        file: PathBuf,
        /// Why not.
        cause: StorageError,
    },
    /// A file that a crash or a removal had left over was removed.
    Leftover {
        /// The file.
        file: PathBuf,
    },
    /// A file that is none of ours was left alone.
    Stranger {
        /// The file.
        file: PathBuf,
    },
}

impl Note {
    /// True when records that may have been acknowledged cannot be read.
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::Shortened { .. } | Self::SegmentMissing { .. }
        )
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { file, position, bytes, cause } => write!(
                f,
                "{}: cut {bytes} bytes of an unfinished write at byte {position}: {cause}",
                file.display()
            ),
            Self::Damaged { file, position, offset, cause, resume_at } => {
                write!(f, "{}: damaged at byte {position}, offset {offset}: {cause}", file.display())?;
                match resume_at {
                    Some(resume_at) => write!(f, "; records from offset {resume_at} on are kept"),
                    None => f.write_str("; nothing follows in this file"),
                }
            }
            Self::Shortened { file, expected, found } => {
                write!(f, "{}: has {found} bytes where {expected} were synced", file.display())
            }
            Self::SegmentMissing { file } => {
                write!(f, "{}: the segment is gone; restore it from a backup", file.display())
            }
            Self::CheckpointRebuilt { file, damage: None } => {
                write!(f, "{}: missing; made anew from the segments", file.display())
            }
            Self::CheckpointRebuilt { file, damage: Some(damage) } => {
                write!(f, "{}: {damage}; made anew from the segments", file.display())
            }
            Self::IndexRebuilt { file } => write!(f, "{}: made anew", file.display()),
            Self::IndexMissing { file, cause } => {
                write!(f, "{}: not made anew yet: {cause}", file.display())
            }
            Self::Leftover { file } => write!(f, "{}: left over; removed", file.display()),
            Self::Stranger { file } => write!(f, "{}: not a file of ours; left alone", file.display()),
        }
    }
}

/// What opening a log came upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The first offset.
    pub start: Offset,
    /// Where the next batch goes.
    pub end: Offset,
    /// Bytes that were scanned; 0 after a clean close.
    pub scanned_bytes: u64,
    /// In the order in which they were come upon. Empty after a clean close.
    pub notes: Vec<Note>,
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
    /// Bytes that were synced.
    sealed_bytes: u64,
    /// Where the next segment begins; `None` for the last one.
    next_base: Option<Offset>,
}

struct Scanned {
    summary: Summary,
    index: Index,
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
                Name::State => {}
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
        let plans = self.plans(&bases);
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

    /// Plans to scan whole segments.
    fn plans(&self, bases: &[Offset]) -> Vec<Plan> {
        let plan = |(number, base): (usize, &Offset)| Plan {
            segment: self.segment(*base),
            from: Place { offset: *base, position: 0 },
            time_max: NO_TIME,
            index: Index::new(*base, self.options.index_interval_bytes),
            sealed_bytes: 0,
            next_base: bases.get(number + 1).copied(),
        };
        bases.iter().enumerate().map(plan).collect()
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
            self.note(Note::SegmentMissing { file: self.folder.join(log_name(active.base)) });
            if later.is_empty() {
                let created = self.create(active.end)?;
                return Ok(Found { start, closed, ..created });
            }
            let plans = self.plans(&later);
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
        if bytes < active.bytes {
            let file = self.folder.join(log_name(active.base));
            self.note(Note::Shortened { file, expected: active.bytes, found: bytes });
        }
        let mut plans = vec![self.plan_active(&active, bytes, later.first().copied())?];
        plans.extend(self.plans(&later));
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
        next_base: Option<Offset>,
    ) -> Result<Plan, StorageError> {
        let segment = self.segment(active.base);
        let mut plan = Plan {
            from: Place { offset: active.base, position: 0 },
            time_max: NO_TIME,
            index: Index::new(active.base, self.options.index_interval_bytes),
            sealed_bytes: active.bytes,
            next_base,
            segment,
        };
        if active.bytes == 0 || bytes < active.bytes {
            return Ok(plan);
        }
        match plan.segment.load_index(self.disk)?.filter(|index| index.covered() >= active.bytes) {
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
        let mut active = None;
        for plan in plans {
            let segment = Arc::clone(&plan.segment);
            let is_last = plan.next_base.is_none();
            let access = if is_last { Access::Write } else { Access::Read };
            let file = self.disk.open(&segment.log_path(), access)?;
            let Scanned { summary, index } = self.scan(&*file, plan)?;
            if is_last {
                // What is found here may be answered for: as the repeat of a batch, or to a reader.
                file.sync_data()?;
                active = Some(Active::awake(segment, file, index, summary, first_append));
            } else {
                if let Err(cause) = segment.save_index(self.disk, &index) {
                    segment.set_index_damaged(true);
                    self.note(Note::IndexMissing { file: segment.index_path(), cause });
                }
                closed.push(Closed { segment, summary });
            }
        }
        if let Some(EpochStart { epoch, start }) = self.rising.take() {
            self.epochs.note(epoch, start);
        }
        self.disk.sync_dir(self.folder)?;
        let active = match active {
            Some(active) => active,
            None => return self.create(start),
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

    fn scan(&mut self, file: &dyn DiskFile, plan: Plan) -> Result<Scanned, StorageError> {
        let Plan { segment, from, mut time_max, mut index, sealed_bytes, next_base } = plan;
        // A sync that failed in an earlier life may have left pages in memory that the disk does not have.
        file.forget_cached();
        let found_bytes = file.len()?;
        self.report.scanned_bytes += found_bytes.saturating_sub(from.position);
        let bound = Bound { bytes: found_bytes, end: next_base };
        // The offsets that were synced are never given away again, whatever is left of their records.
        let sealed_end = if sealed_bytes > 0 { self.replay_from } else { segment.base };
        let (mut end, mut bytes) = (from.offset, found_bytes);
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
                        sealed: next_base.is_some() || at < sealed_bytes,
                        unwritten: walker.has_unwritten_sector(at, until)?,
                        followed: stretch.resume.is_some(),
                        whole: stretch.whole_until.is_some(),
                    };
                    if decide(evidence) == Decision::Cut {
                        self.cut(file, &segment, &stretch, found_bytes)?;
                        bytes = at;
                        break;
                    }
                    end = end.max(stretch.whole_until.map_or(end, |place| place.offset));
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
            end: next_base.unwrap_or(end.max(sealed_end)),
            bytes,
            time_max,
            last_append: self.opening.now,
        };
        index.cover(bytes);
        Ok(Scanned { summary, index })
    }

    fn cut(
        &mut self,
        file: &dyn DiskFile,
        segment: &Segment,
        stretch: &Stretch,
        found_bytes: u64,
    ) -> Result<(), StorageError> {
        let position = stretch.at.position;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_decides_every_case_and_never_cuts_what_was_synced() {
        for bits in 0..16 {
            let [sealed, unwritten, followed, whole] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let evidence = Evidence { sealed, unwritten, followed, whole };
            let fits = |wanted: Option<bool>, found: bool| wanted.is_none_or(|w| w == found);
            let rows = DECISIONS.iter().filter(|row| {
                fits(row.sealed, sealed)
                    && fits(row.unwritten, unwritten)
                    && fits(row.followed, followed)
                    && fits(row.whole, whole)
            });
            assert_eq!(rows.count(), 1, "{evidence:?}");
            assert!(!sealed || decide(evidence) == Decision::Keep);
        }
    }

    #[test]
    fn the_document_shows_the_table_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format.md");
        let document = std::fs::read_to_string(path).unwrap();
        let table = render_decisions();
        assert!(document.contains(&table), "docs/format.md must contain:\n\n{table}");
    }
}
