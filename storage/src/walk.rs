//! From batch to batch through the file of a segment, telling sound from damaged.
//!
//! Every reader of a segment's file goes this way: fetches, searches by time, recovery, the rebuilding of an index.
//! A batch is sound when its header is, its checksum matches, its offset follows the batch before, and its leader
//! epoch is the one in force there; the last two because the checksum leaves offset and epoch out. What to do about
//! damage is for the caller.
//!
//! Behind damage the walk goes on at the next sound batch:
//! 1. where the damaged header says that its batch ends, if a sound batch lies there that follows it;
//! 2. else at the first place from where a batch reads sound, is of a later offset, and is followed by its successor
//!    or by the end: so a batch that happens to lie inside another one's record is passed over;
//! 3. else at the first such place that nothing contradicts.

use bytes::Bytes;
use protocol::batch::{Batch, HEADER_BYTES, Header};
use protocol::id::{LeaderEpoch, Offset};

use crate::disk::DiskFile;
use crate::epochs::Epochs;
use crate::error::{Damage, StorageError};
use crate::index::Place;

/// The unit in which disks write: a write that was under way at a loss of power is there or not by sectors of it.
pub(crate) const SECTOR_BYTES: u64 = 512;

/// One step of a walk.
#[derive(Debug)]
pub(crate) enum Step {
    /// A sound batch.
    Batch {
        /// Where it begins.
        position: u64,
        /// All of it.
        batch: Batch,
    },
    /// Bytes that are not what should be there.
    Damage(Stretch),
    /// Everything was seen.
    End,
}

/// A damaged stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Where it begins, and which offset should lie there.
    pub(crate) at: Place,
    /// What is wrong at its beginning.
    pub(crate) cause: Damage,
    /// The next sound batch; `None` when none follows in this file.
    pub(crate) resume: Option<Place>,
    /// The end of the batch as its header has it, if a whole batch with the right offset seems to lie there.
    pub(crate) whole_until: Option<Place>,
}

/// Where a walk ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Bytes of the file that may be looked at.
    pub(crate) bytes: u64,
    /// The offset where the file's batches end, where it is known.
    pub(crate) end: Option<Offset>,
}

/// A walk under way.
#[derive(Debug)]
pub(crate) struct Walker<'a> {
    file: &'a dyn DiskFile,
    /// `None`: take epochs as they come.
    epochs: Option<&'a Epochs>,
    bound: Bound,
    next: Place,
    window: Bytes,
    window_at: u64,
    chunk_bytes: usize,
    /// Nothing follows in this file.
    ended: bool,
}

impl<'a> Walker<'a> {
    /// A walk from a place where a batch begins. Reads `chunk_bytes` at a time, or one batch where it is larger.
    pub(crate) fn new(
        file: &'a dyn DiskFile,
        epochs: Option<&'a Epochs>,
        from: Place,
        bound: Bound,
        chunk_bytes: usize,
    ) -> Result<Self, StorageError> {
        let bytes = bound.bytes.min(file.len()?);
        Ok(Self {
            file,
            epochs,
            bound: Bound { bytes, ..bound },
            next: from,
            window: Bytes::new(),
            window_at: 0,
            chunk_bytes: chunk_bytes.max(HEADER_BYTES),
            ended: false,
        })
    }

    /// The bytes in memory, and where in the file they begin: batches that were just yielded lie in them.
    pub(crate) fn window(&self) -> (&Bytes, u64) {
        (&self.window, self.window_at)
    }

    /// False when the next batch has more than `bytes_left`. From now on no more than that is read ahead, so that a
    /// reader that stops here has not read what it does not take.
    pub(crate) fn next_fits(&mut self, bytes_left: usize) -> Result<bool, StorageError> {
        if bytes_left < HEADER_BYTES {
            return Ok(false);
        }
        self.chunk_bytes = self.chunk_bytes.min(bytes_left);
        let header = self.header_at(self.next.position)?;
        Ok(header.is_none_or(|header| header.total_bytes <= bytes_left))
    }

    /// The next step.
    pub(crate) fn step(&mut self) -> Result<Step, StorageError> {
        let at = self.next;
        if self.ended || self.bound.end.is_some_and(|end| at.offset >= end) {
            return Ok(Step::End);
        }
        if at.position >= self.bound.bytes {
            self.ended = true;
            return Ok(match self.bound.end {
                None => Step::End,
                Some(end) => Step::Damage(Stretch {
                    at,
                    cause: Damage::Missing { end },
                    resume: None,
                    whole_until: None,
                }),
            });
        }
        match self.batch_at(at.position)?.and_then(|batch| self.in_place(&batch).map(|()| batch)) {
            Ok(batch) => {
                self.next = behind(at.position, batch.header());
                Ok(Step::Batch { position: at.position, batch })
            }
            Err(cause) => {
                let resume = self.resync(at)?;
                let whole_until = self.whole_until(at)?;
                match resume {
                    Some(place) => self.next = place,
                    None => self.ended = true,
                }
                Ok(Step::Damage(Stretch { at, cause, resume, whole_until }))
            }
        }
    }

    /// The batch that follows the last one must have its offset and the epoch in force.
    fn in_place(&self, batch: &Batch) -> Result<(), Damage> {
        let header = batch.header();
        let (expected, found) = (self.next.offset, header.base_offset);
        if found != expected {
            return Err(Damage::Place { expected, found });
        }
        match self.epochs.and_then(|epochs| epochs.at(found)) {
            Some(expected) if expected != header.leader_epoch => {
                Err(Damage::Epoch { expected, found: header.leader_epoch })
            }
            Some(LeaderEpoch(_)) | None => Ok(()),
        }
    }

    /// The bytes of a file from `position` on, `length` of them, or fewer at the bound.
    fn bytes_at(&mut self, position: u64, length: usize) -> Result<Bytes, StorageError> {
        let left = usize::try_from(self.bound.bytes.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let inside = |window: &Bytes, window_at: u64| {
            let start = usize::try_from(position.checked_sub(window_at)?).ok()?;
            let end = start.checked_add(length)?;
            (end <= window.len()).then(|| window.slice(start..end))
        };
        if let Some(bytes) = inside(&self.window, self.window_at) {
            return Ok(bytes);
        }
        self.window = self.file.read(length.max(self.chunk_bytes).min(left), position)?.into();
        self.window_at = position;
        // A file that was cut meanwhile reads short.
        Ok(self.window.slice(..length.min(self.window.len())))
    }

    /// The header at a place, if one seems to lie there.
    fn header_at(&mut self, position: u64) -> Result<Option<Header>, StorageError> {
        Ok(Header::read(&self.bytes_at(position, HEADER_BYTES)?).ok())
    }

    /// The batch at a place, with its checksum verified.
    fn batch_at(&mut self, position: u64) -> Result<Result<Batch, Damage>, StorageError> {
        let header = match Header::read(&self.bytes_at(position, HEADER_BYTES)?) {
            Ok(header) => header,
            Err(error) => return Ok(Err(Damage::Batch(error))),
        };
        // A length beyond the end of the file allocates nothing: the bytes are cut to what is there.
        let bytes = self.bytes_at(position, header.total_bytes)?;
        Ok(Batch::check(bytes).map_err(Damage::Batch))
    }

    fn whole_until(&mut self, at: Place) -> Result<Option<Place>, StorageError> {
        let Some(header) = self.header_at(at.position)? else { return Ok(None) };
        let until = behind(at.position, &header);
        Ok((header.base_offset == at.offset && until.position <= self.bound.bytes).then_some(until))
    }

    /// The next sound batch behind a damaged place; see the head of this file.
    fn resync(&mut self, at: Place) -> Result<Option<Place>, StorageError> {
        if let Some(hop) = self.whole_until(at)?
            && hop.position < self.bound.bytes
            && let Ok(batch) = self.batch_at(hop.position)?
            && batch.header().base_offset == hop.offset
        {
            return Ok(Some(hop));
        }
        let mut fallback = None;
        let mut position = at.position;
        while position + (HEADER_BYTES as u64) <= self.bound.bytes {
            let Some((place, follows)) = self.candidate(position, at)? else {
                position = self.next_magic(position + 1)?;
                continue;
            };
            match follows {
                Follows::Yes => return Ok(Some(place)),
                // At the damaged place itself something must speak for a batch of another offset.
                Follows::Unknown if position > at.position => fallback = fallback.or(Some(place)),
                Follows::Unknown | Follows::No => {}
            }
            position = self.next_magic(position + 1)?;
        }
        Ok(fallback)
    }

    /// The first place from `position` on where the magic byte of a header could be the right one.
    fn next_magic(&mut self, position: u64) -> Result<u64, StorageError> {
        const MAGIC_AT: u64 = 16;
        let mut at = position + MAGIC_AT;
        while at < self.bound.bytes {
            let bytes = self.bytes_at(at, self.chunk_bytes)?;
            if bytes.is_empty() {
                break;
            }
            if let Some(found) = bytes.iter().position(|byte| *byte == 2) {
                return Ok(at + found as u64 - MAGIC_AT);
            }
            at += bytes.len() as u64;
        }
        Ok(self.bound.bytes)
    }

    fn candidate(
        &mut self,
        position: u64,
        damaged: Place,
    ) -> Result<Option<(Place, Follows)>, StorageError> {
        let Some(header) = self.header_at(position)? else { return Ok(None) };
        let offset = header.base_offset;
        let behind = behind(position, &header);
        if offset <= damaged.offset
            || self.bound.end.is_some_and(|end| behind.offset > end)
            || behind.position > self.bound.bytes
            || self.batch_at(position)?.is_err()
        {
            return Ok(None);
        }
        let follows = if behind.position == self.bound.bytes {
            // Where the end of the offsets is not known, nothing speaks for the batch or against it.
            match self.bound.end {
                Some(end) if end == behind.offset => Follows::Yes,
                Some(_) | None => Follows::Unknown,
            }
        } else {
            match self.header_at(behind.position)? {
                Some(next) if next.base_offset == behind.offset => Follows::Yes,
                Some(_) => Follows::No,
                None => Follows::Unknown,
            }
        };
        Ok(Some((Place { offset, position }, follows)))
    }

    /// True when the file ends inside the batch that begins at `position`, or where it should begin.
    pub(crate) fn is_cut_short(&mut self, position: u64) -> Result<bool, StorageError> {
        let left = self.bound.bytes.saturating_sub(position);
        let header = self.header_at(position)?;
        Ok(left < header.map_or(HEADER_BYTES, |header| header.total_bytes) as u64)
    }

    /// True when nothing but zeros lies from `position` to the bound.
    pub(crate) fn is_zero_from(&mut self, position: u64) -> Result<bool, StorageError> {
        let mut at = position;
        while at < self.bound.bytes {
            let bytes = self.bytes_at(at, self.chunk_bytes)?;
            if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
                return Ok(bytes.is_empty());
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }

    /// True when some part of the stretch from `from` up to `to` was never written: a sector of nothing but zeros, of
    /// which enough lies in the stretch that a written batch would have shown something else there.
    pub(crate) fn has_unwritten_sector(
        &mut self,
        from: Place,
        to: u64,
    ) -> Result<bool, StorageError> {
        // A batch begins with its offset; the lowest byte of its length is the 12th.
        let offset = from.offset.get().to_be_bytes();
        let begins_with = offset.iter().position(|byte| *byte != 0).unwrap_or(11);
        let telling_bytes = begins_with as u64 + 1;
        let mut at = from.position;
        while at < to {
            let sector_end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
            // Behind the first sector anything may lie that is long enough to hold a magic byte.
            let enough = if at == from.position { telling_bytes } else { 17 };
            if sector_end.min(to) - at >= enough {
                // Of the batch that follows, too: all that it has in this sector may be zeros of its offset.
                let length = sector_end.min(self.bound.bytes) - at;
                let bytes = self.bytes_at(at, usize::try_from(length).unwrap_or(usize::MAX))?;
                if bytes.iter().all(|byte| *byte == 0) {
                    return Ok(true);
                }
            }
            at = sector_end;
        }
        Ok(false)
    }
}

/// Does a batch's successor lie behind it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    Yes,
    No,
    /// Something unreadable lies there, or nothing.
    Unknown,
}

fn behind(position: u64, header: &Header) -> Place {
    Place { offset: header.end_offset(), position: position + header.total_bytes as u64 }
}
