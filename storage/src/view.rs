//! What a reader holds: a frozen list of segments, the shared tail, and the end of what it may see.
//!
//! A view is cheap to clone and never blocks the writer. It shows whole batches as they were stored, each verified
//! against its checksum and its place when it comes from a file; damaged bytes are named, never served and never
//! passed over in silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use protocol::batch::Batch;
use protocol::id::{LeaderEpoch, Offset, Timestamp};

use crate::epochs::Epochs;
use crate::error::ReadError;
use crate::handles::Handles;
use crate::index::{Index, Place};
use crate::segment::{Closed, Segment};
use crate::tail::Tail;
use crate::walk::{Bound, Step, Stretch, Walker};

/// Bytes that a reader asks the disk for at a time, at least and at most.
const READ_CHUNK_BYTES: std::ops::RangeInclusive<usize> = 8 * 1024..=1 << 20;

/// What the writer and all views of one log share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The first offset that readers may see. Only rises.
    start: AtomicI64,
    pub(crate) tail: Tail,
    pub(crate) handles: Handles,
}

impl Shared {
    pub(crate) fn new(start: Offset, handles: Handles) -> Self {
        Self { start: AtomicI64::new(start.get()), tail: Tail::default(), handles }
    }

    pub(crate) fn start(&self) -> Offset {
        // Only ever set from an offset.
        Offset::new(self.start.load(Ordering::Acquire)).unwrap_or_default()
    }

    pub(crate) fn set_start(&self, start: Offset) {
        self.start.store(start.get(), Ordering::Release);
    }
}

/// The segments of a log; replaced whole when one is added or removed.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) closed: Vec<Closed>,
    pub(crate) active: Arc<Segment>,
    pub(crate) epochs: Epochs,
}

/// The batches of one log as they stood at one moment. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct View {
    shared: Arc<Shared>,
    shape: Arc<Shape>,
    end: Offset,
    bytes: u64,
}

/// What was found at an offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Whole batches as stored, several in one piece where they were read together. Empty only at the end.
    pub batches: Vec<Bytes>,
    /// Where reading goes on.
    pub next: Offset,
}

/// The first record at or after a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeFound {
    /// Its offset.
    pub offset: Offset,
    /// Its time.
    pub timestamp: Timestamp,
}

/// A segment as one view sees it.
struct Part<'a> {
    segment: &'a Segment,
    bound: Bound,
    /// Where the segment behind it begins, or the end of the view.
    next: Offset,
}

impl View {
    pub(crate) fn new(shared: Arc<Shared>, shape: Arc<Shape>, end: Offset, bytes: u64) -> Self {
        Self { shared, shape, end, bytes }
    }

    /// The first offset that is there now: it moves up as old records go, in views that are held too.
    pub fn start(&self) -> Offset {
        self.shared.start().min(self.end)
    }

    /// The end of what this view shows: `..end`. It stays where it is; the log makes a new view when it moves.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Bytes of all segments when the view was made.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The largest leader epoch not above `epoch` that this log has batches of, and the offset where it ended.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.shape.epochs.end_of(epoch, self.end)
    }

    /// Batches from memory, as [`Self::read`] gives them; never waits for the disk. Empty at the end of the view;
    /// `None` when the answer is not in memory: then `read` has it.
    pub fn read_tail(&self, offset: Offset, bytes_max: usize) -> Option<Vec<Bytes>> {
        if offset == self.end {
            return Some(Vec::new());
        }
        if offset < self.start() || offset > self.end {
            return None;
        }
        self.shared.tail.read(offset, self.end, bytes_max)
    }

    /// Whole batches from the one that holds `offset` on, about `bytes_max` bytes at most but at least one batch. The
    /// first may begin before `offset`. Empty at the end of the view. May wait for the disk.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`]; [`ReadError::Damaged`] when the batch that holds `offset` is damaged (batches in
    /// front of damage are given first); [`ReadError::Disk`].
    pub fn read(&self, offset: Offset, bytes_max: usize) -> Result<Read, ReadError> {
        self.check_range(offset)?;
        if let Some(batches) = self.read_tail(offset, bytes_max) {
            let last = batches.last().and_then(last_header_end);
            return Ok(Read { next: last.unwrap_or(offset), batches });
        }
        let part = self.part_of(offset);
        let found = self.with_index(
            &part,
            |index| index.before_offset(offset),
            |from| self.read_part(&part, from, offset, bytes_max),
        );
        // Retention may have removed the segment since the first look.
        self.check_range(offset)?;
        found
    }

    fn check_range(&self, offset: Offset) -> Result<(), ReadError> {
        let (start, end) = (self.start(), self.end);
        if offset < start || offset > end {
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        Ok(())
    }

    /// The segment in which an offset lies.
    fn part_of(&self, offset: Offset) -> Part<'_> {
        self.part(self.number_of(offset))
    }

    /// The number of that segment: the active one comes behind the closed ones.
    fn number_of(&self, offset: Offset) -> usize {
        if offset >= self.shape.active.base {
            return self.shape.closed.len();
        }
        let closed = &self.shape.closed;
        closed.partition_point(|closed| closed.summary.base <= offset).saturating_sub(1)
    }

    /// The segment of a number, the active one behind the closed ones.
    fn part(&self, number: usize) -> Part<'_> {
        let base_of = |number: usize| {
            let closed = self.shape.closed.get(number);
            closed.map_or(self.shape.active.base, |closed| closed.summary.base)
        };
        match self.shape.closed.get(number) {
            Some(closed) => {
                let next = base_of(number + 1).min(self.end);
                let bound = Bound { bytes: closed.summary.bytes, end: Some(next) };
                Part { segment: &closed.segment, bound, next }
            }
            None => {
                let bound = Bound { bytes: u64::MAX, end: Some(self.end) };
                Part { segment: &self.shape.active, bound, next: self.end }
            }
        }
    }

    /// Runs a walk from the place that the index gives. If damage lies at that very place, the index may be what is
    /// wrong: the walk is run again from the beginning of the segment.
    fn with_index<T>(
        &self,
        part: &Part<'_>,
        search: impl Fn(&Index) -> Place,
        walk: impl Fn(Place) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let opened = self.shared.handles.get(part.segment)?;
        let from = opened.search(self.shared.handles.disk(), part.segment, search);
        match walk(from) {
            Err(ReadError::Damaged { position, .. })
                if position == from.position && position > 0 =>
            {
                let again = walk(Place { offset: part.segment.base, position: 0 });
                if again.is_ok() {
                    part.segment.set_index_damaged(true);
                }
                again
            }
            found => found,
        }
    }

    fn walker<'a>(
        &'a self,
        part: &Part<'_>,
        file: &'a dyn crate::disk::DiskFile,
        from: Place,
        chunk_bytes: usize,
    ) -> Result<Walker<'a>, ReadError> {
        Ok(Walker::new(file, Some(&self.shape.epochs), from, part.bound, chunk_bytes)?)
    }

    fn damaged(part: &Part<'_>, stretch: Stretch) -> ReadError {
        ReadError::Damaged {
            file: part.segment.log_path(),
            position: stretch.at.position,
            offset: stretch.at.offset,
            cause: stretch.cause,
            resume_at: stretch.resume.map_or(part.next, |place| place.offset),
        }
    }

    fn read_part(
        &self,
        part: &Part<'_>,
        from: Place,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Read, ReadError> {
        let opened = self.shared.handles.get(part.segment)?;
        let chunk = bytes_max.clamp(*READ_CHUNK_BYTES.start(), *READ_CHUNK_BYTES.end());
        let mut walker = self.walker(part, &*opened.file, from, chunk)?;
        let mut runs = Runs::default();
        let mut next = offset;
        while runs.is_empty() || walker.next_fits(bytes_max.saturating_sub(runs.bytes))? {
            match walker.step()? {
                Step::Batch { position, batch } => {
                    let header = batch.header();
                    if header.end_offset() <= offset {
                        continue;
                    }
                    next = header.end_offset();
                    runs.push(&batch, position, walker.window());
                }
                // Batches that are whole are given first; the next read comes upon the damage.
                Step::Damage(_) if !runs.is_empty() => break,
                Step::Damage(stretch) => match stretch.resume {
                    Some(place) if place.offset <= offset => {}
                    Some(_) | None => return Err(Self::damaged(part, stretch)),
                },
                Step::End => break,
            }
        }
        Ok(Read { batches: runs.finish(), next })
    }

    /// The first record whose time is `time` or later, in the order of offsets. May wait for the disk.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when damage lies where the answer may be; [`ReadError::Disk`].
    pub fn find_time(&self, time: Timestamp) -> Result<Option<TimeFound>, ReadError> {
        let first = self.number_of(self.start());
        for number in first..=self.shape.closed.len() {
            let too_old =
                self.shape.closed.get(number).is_some_and(|closed| closed.summary.time_max < time);
            let part = self.part(number);
            if too_old || part.segment.base >= self.end {
                continue;
            }
            let found = self.with_index(
                &part,
                |index| index.before_time(time),
                |from| self.find_time_in(&part, from, time),
            )?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn find_time_in(
        &self,
        part: &Part<'_>,
        from: Place,
        time: Timestamp,
    ) -> Result<Option<TimeFound>, ReadError> {
        let opened = self.shared.handles.get(part.segment)?;
        let mut walker = self.walker(part, &*opened.file, from, *READ_CHUNK_BYTES.start() * 8)?;
        let start = self.start();
        let mut scratch = Vec::new();
        loop {
            match walker.step()? {
                Step::Batch { batch, .. } => {
                    let header = batch.header();
                    if header.max_timestamp < time || header.end_offset() <= start {
                        continue;
                    }
                    if let Some(found) = first_at(&batch, time, start, &mut scratch) {
                        return Ok(Some(found));
                    }
                }
                Step::Damage(stretch) => {
                    let behind = stretch.resume.map_or(part.next, |place| place.offset);
                    if behind > start {
                        return Err(Self::damaged(part, stretch));
                    }
                }
                Step::End => return Ok(None),
            }
        }
    }
}

/// The first record of a batch at or after a time, at or behind the start.
fn first_at(
    batch: &Batch,
    time: Timestamp,
    start: Offset,
    scratch: &mut Vec<u8>,
) -> Option<TimeFound> {
    let header = batch.header();
    let Ok(mut records) = batch.records(scratch) else {
        // The checksum matches, so these are the bytes that the producer sent; the batch is the best answer.
        let offset = header.base_offset.max(start);
        return Some(TimeFound { offset, timestamp: header.max_timestamp });
    };
    records
        .find_map(|record| record.ok().filter(|r| r.timestamp >= time && r.offset >= start))
        .map(|record| TimeFound { offset: record.offset, timestamp: record.timestamp })
}

/// The end offset of the last batch in bytes that hold exactly one.
fn last_header_end(batch: &Bytes) -> Option<Offset> {
    protocol::batch::Header::read(batch).ok().map(|header| header.end_offset())
}

/// Joins batches that lie side by side in one window into one piece.
#[derive(Default)]
struct Runs {
    done: Vec<Bytes>,
    bytes: usize,
    /// The window, and the range of it that is gathered.
    open: Option<(Bytes, u64, std::ops::Range<usize>)>,
}

impl Runs {
    fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn push(&mut self, batch: &Batch, position: u64, (window, window_at): (&Bytes, u64)) {
        let length = batch.bytes().len();
        self.bytes += length;
        if let Some((_, open_at, range)) = &mut self.open
            && *open_at == window_at
            && window_at + range.end as u64 == position
        {
            range.end += length;
            return;
        }
        self.close();
        let start = usize::try_from(position.saturating_sub(window_at)).unwrap_or(usize::MAX);
        if start.checked_add(length).is_some_and(|end| end <= window.len()) {
            self.open = Some((window.clone(), window_at, start..start + length));
        } else {
            self.done.push(batch.bytes().clone());
        }
    }

    fn close(&mut self) {
        if let Some((window, _, range)) = self.open.take() {
            self.done.push(window.slice(range));
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.done
    }
}
