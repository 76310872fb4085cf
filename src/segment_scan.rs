//! The batches of one segment file, looked at from outside: nothing is repaired, nothing is believed but checksums.
//!
//! Unlike the engine, this reader knows neither index nor checkpoint, so it works on a folder that the engine refuses.
//! Memory: one window of the file, at most as large as one batch.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use protocol::batch::{Batch, BatchError, HEADER_BYTES, Header};
use protocol::id::Offset;
use storage::{Damage, DiskFile, StorageError};

/// Read at once.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Where the magic byte lies in a batch, and what it is.
const MAGIC_AT: u64 = 16;
const MAGIC: u8 = 2;

/// What lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A sound batch.
    Batch {
        /// Where it begins, in bytes from the start of the file.
        position: u64,
        /// Its header.
        header: Header,
    },
    /// Bytes that are not what should be there.
    Damaged(DamagedBytes),
}

/// A stretch of a file that holds no sound batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DamagedBytes {
    /// Where it begins, in bytes from the start of the file.
    pub(crate) position: u64,
    /// How long it is.
    pub(crate) bytes: u64,
    /// The offset that should lie there.
    pub(crate) offset: Offset,
    /// What is wrong at its beginning.
    pub(crate) cause: Damage,
    /// The offset of the next sound batch; `None` when none follows in this file.
    pub(crate) resume_at: Option<Offset>,
    /// True when nothing of it was ever written whole: the file ends inside a batch, or holds zeros to its end.
    pub(crate) is_unfinished: bool,
}

/// A walk through a segment file.
#[derive(Debug)]
pub(crate) struct SegmentScan {
    file: Arc<dyn DiskFile>,
    /// The length of the file when the walk began: what is written meanwhile is not looked at.
    bytes: u64,
    position: u64,
    offset: Offset,
    window: Bytes,
    window_at: u64,
}

impl SegmentScan {
    /// A walk from the start of a file whose first batch has the offset `base`.
    pub(crate) fn new(file: Arc<dyn DiskFile>, base: Offset) -> Result<Self, StorageError> {
        let bytes = file.len()?;
        Ok(Self { file, bytes, position: 0, offset: base, window: Bytes::new(), window_at: 0 })
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The offset behind the last sound batch so far.
    pub(crate) fn end(&self) -> Offset {
        self.offset
    }

    /// What comes next; `None` at the end of the file.
    pub(crate) fn step(&mut self) -> Result<Option<Found>, StorageError> {
        let position = self.position;
        if position >= self.bytes {
            return Ok(None);
        }
        let cause = match self.batch_at(position)? {
            Ok(header) if header.base_offset == self.offset => {
                self.position = behind(position, &header);
                self.offset = header.end_offset();
                return Ok(Some(Found::Batch { position, header }));
            }
            Ok(header) => Damage::Place { expected: self.offset, found: header.base_offset },
            Err(error) => Damage::Batch(error),
        };
        Ok(Some(Found::Damaged(self.step_over(cause)?)))
    }

    /// Moves to the next sound batch behind the damage, or to the end of the file.
    fn step_over(&mut self, cause: Damage) -> Result<DamagedBytes, StorageError> {
        let (position, offset) = (self.position, self.offset);
        let resume = self.next_sound(position, &cause)?;
        let end = resume.map_or(self.bytes, |(position, _)| position);
        let is_unfinished = resume.is_none()
            && (matches!(cause, Damage::Batch(BatchError::CutShort { .. }))
                || self.is_zero(position)?);
        self.position = end;
        let resume_at = resume.map(|(_, offset)| offset);
        self.offset = resume_at.unwrap_or(offset);
        let bytes = end - position;
        Ok(DamagedBytes { position, bytes, offset, cause, resume_at, is_unfinished })
    }

    /// The first sound batch that can follow `self.offset`, from `position` on.
    fn next_sound(
        &mut self,
        position: u64,
        cause: &Damage,
    ) -> Result<Option<(u64, Offset)>, StorageError> {
        // A sound batch of a later offset at the damaged place itself: the gap is the damage, not the batch.
        let mut at = match cause {
            Damage::Place { .. } => Some(position),
            _ => self.next_magic(position + 1)?,
        };
        while let Some(candidate) = at {
            if let Ok(header) = self.batch_at(candidate)?
                && header.base_offset > self.offset
            {
                return Ok(Some((candidate, header.base_offset)));
            }
            at = self.next_magic(candidate + 1)?;
        }
        Ok(None)
    }

    /// The first place from `position` on where a batch could begin.
    fn next_magic(&mut self, position: u64) -> Result<Option<u64>, StorageError> {
        let mut at = position + MAGIC_AT;
        while at < self.bytes {
            let bytes = self.bytes_at(at, WINDOW_BYTES)?;
            if bytes.is_empty() {
                break;
            }
            match (at..).zip(bytes.iter()).find(|(_, byte)| **byte == MAGIC) {
                Some((found, _)) => return Ok(Some(found - MAGIC_AT)),
                None => at += bytes.len() as u64,
            }
        }
        Ok(None)
    }

    /// The header of the batch at a place, if the batch is sound.
    fn batch_at(&mut self, position: u64) -> Result<Result<Header, BatchError>, StorageError> {
        let header = match Header::read(&self.bytes_at(position, HEADER_BYTES)?) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        // A length beyond the end of the file allocates nothing: the bytes are cut to what is there.
        let bytes = self.bytes_at(position, header.total_bytes)?;
        Ok(Batch::check(bytes).map(|batch| *batch.header()))
    }

    fn is_zero(&mut self, from: u64) -> Result<bool, StorageError> {
        let mut at = from;
        while at < self.bytes {
            let bytes = self.bytes_at(at, WINDOW_BYTES)?;
            if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
                return Ok(bytes.is_empty());
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }

    /// `length` bytes from `position` on, or fewer at the end of the file.
    fn bytes_at(&mut self, position: u64, length: usize) -> Result<Bytes, StorageError> {
        let left = usize::try_from(self.bytes.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let start =
            position.checked_sub(self.window_at).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = start
            && start.checked_add(length).is_some_and(|end| end <= self.window.len())
        {
            return Ok(self.window.slice(start..start + length));
        }
        let mut buffer = BytesMut::zeroed(length.max(WINDOW_BYTES).min(left));
        let read = self.file.read_at(&mut buffer, position)?;
        buffer.truncate(read);
        self.window = buffer.freeze();
        self.window_at = position;
        // A file that was cut meanwhile reads short.
        Ok(self.window.slice(..length.min(self.window.len())))
    }
}

fn behind(position: u64, header: &Header) -> u64 {
    position.saturating_add(u64::try_from(header.total_bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use protocol::batch::{Builder, Stamp};
    use protocol::compression::Compression;
    use protocol::id::{LeaderEpoch, Timestamp};
    use protocol::record::Record;
    use storage::{Access, Disk, RealDisk};

    use super::*;

    /// Three batches of two records each, from offset 10 on, and where each begins.
    fn segment() -> (Vec<u8>, [usize; 3]) {
        let mut bytes = Vec::new();
        let starts = [10, 12, 14].map(|base| {
            let mut builder = Builder::new(Compression::None);
            builder.push(&Record::new("key", "first value"), Timestamp(base));
            builder.push(&Record::new("key", "second value"), Timestamp(base));
            let base_offset = Offset::new(base).unwrap();
            let stamp = Stamp { base_offset, leader_epoch: LeaderEpoch(1), append_time: None };
            let start = bytes.len();
            bytes.extend_from_slice(builder.finish(None).stamp(stamp).bytes());
            start
        });
        (bytes, starts)
    }

    fn scan(bytes: &[u8]) -> Vec<Found> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        std::fs::write(&path, bytes).unwrap();
        let file = RealDisk::new().open(&path, Access::Read).unwrap();
        let mut scan = SegmentScan::new(file, Offset::new(10).unwrap()).unwrap();
        std::iter::from_fn(|| scan.step().unwrap()).collect()
    }

    fn offsets(found: &[Found]) -> Vec<i64> {
        let offset = |found: &Found| match found {
            Found::Batch { header, .. } => Some(header.base_offset.get()),
            Found::Damaged(_) => None,
        };
        found.iter().filter_map(offset).collect()
    }

    fn damage(found: &[Found]) -> &DamagedBytes {
        let mut damaged = found.iter().filter_map(|found| match found {
            Found::Damaged(damaged) => Some(damaged),
            Found::Batch { .. } => None,
        });
        let first = damaged.next().unwrap();
        assert_eq!(damaged.next(), None);
        first
    }

    #[test]
    fn sound_batches_are_found_in_order() {
        let (bytes, starts) = segment();
        let found = scan(&bytes);
        assert_eq!(offsets(&found), [10, 12, 14]);
        for (found, start) in found.iter().zip(starts) {
            assert!(matches!(found, Found::Batch { position, .. } if *position == start as u64));
        }
        assert_eq!(scan(b""), []);
    }

    #[test]
    fn a_flipped_bit_is_named_with_its_place_and_the_walk_goes_on_behind_it() {
        let (mut bytes, [_, second, third]) = segment();
        bytes[third - 1] ^= 1;
        let found = scan(&bytes);
        assert_eq!(offsets(&found), [10, 14]);
        let damaged = damage(&found);
        assert_eq!((damaged.position, damaged.bytes), (second as u64, (third - second) as u64));
        assert_eq!((damaged.offset.get(), damaged.resume_at.map(Offset::get)), (12, Some(14)));
        assert!(matches!(damaged.cause, Damage::Batch(BatchError::Checksum { .. })));
        assert!(!damaged.is_unfinished);
    }

    #[test]
    fn a_missing_batch_is_a_gap() {
        let (mut bytes, [_, second, third]) = segment();
        bytes.drain(second..third);
        let found = scan(&bytes);
        assert_eq!(offsets(&found), [10, 14]);
        let damaged = damage(&found);
        assert_eq!((damaged.bytes, damaged.resume_at.map(Offset::get)), (0, Some(14)));
        assert!(matches!(damaged.cause, Damage::Place { .. }));
    }

    #[test]
    fn every_cut_of_the_last_batch_is_an_unfinished_end() {
        let (bytes, [_, _, third]) = segment();
        for end in third + 1..bytes.len() {
            let found = scan(&bytes[..end]);
            assert_eq!(offsets(&found), [10, 12]);
            assert!(damage(&found).is_unfinished, "{end}");
            assert_eq!(damage(&found).resume_at, None);
        }
    }

    #[test]
    fn zeros_at_the_end_are_unfinished_and_other_bytes_are_damage() {
        let (bytes, _) = segment();
        let zeros = scan(&[&bytes[..], &[0; 100]].concat());
        assert!(damage(&zeros).is_unfinished);
        let noise = scan(&[&bytes[..], &[7; 100]].concat());
        assert!(!damage(&noise).is_unfinished);
        assert_eq!(damage(&noise).bytes, 100);
    }
}
