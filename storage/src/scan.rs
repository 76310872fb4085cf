//! The batches of one segment file, looked at from outside: nothing is repaired, nothing is believed but checksums.
//!
//! Unlike an opened log, this knows neither index nor checkpoint, so it works on a folder that is refused. What is a
//! batch and what is damage is decided by the walk that readers and recovery go too (`walk.rs`).

use protocol::batch::{BatchError, Header};
use protocol::id::Offset;

use crate::disk::DiskFile;
use crate::error::{Damage, StorageError};
use crate::index::Place;
use crate::segment::SCAN_CHUNK_BYTES;
use crate::walk::{Bound, Step, Stretch, Walker};

/// What lies in a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
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
pub struct DamagedBytes {
    /// Where it begins, in bytes from the start of the file.
    pub position: u64,
    /// How long it is.
    pub bytes: u64,
    /// The offset that should lie there.
    pub offset: Offset,
    /// What is wrong at its beginning.
    pub cause: Damage,
    /// The offset of the next sound batch; `None` when none follows in this file.
    pub resume_at: Option<Offset>,
    /// True when nothing of it was ever written whole: the file ends inside a batch, or holds zeros to its end.
    pub is_unfinished: bool,
}

/// A walk through a segment file, from its start to the end that it had when the walk began.
#[derive(Debug)]
pub struct SegmentScan<'a> {
    walker: Walker<'a>,
    bytes: u64,
    end: Offset,
}

impl<'a> SegmentScan<'a> {
    /// A walk through a file whose first batch has the offset `base`.
    ///
    /// # Errors
    /// When the disk does not tell the length of the file.
    pub fn new(file: &'a dyn DiskFile, base: Offset) -> Result<Self, StorageError> {
        let bytes = file.len()?;
        let from = Place { offset: base, position: 0 };
        let bound = Bound { bytes, end: None };
        Ok(Self {
            walker: Walker::new(file, None, from, bound, SCAN_CHUNK_BYTES)?,
            bytes,
            end: base,
        })
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The offset behind the last sound batch so far.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// What comes next; `None` at the end of the file.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn step(&mut self) -> Result<Option<Found>, StorageError> {
        Ok(match self.walker.step()? {
            Step::Batch { position, batch } => {
                let header = *batch.header();
                self.end = header.end_offset();
                Some(Found::Batch { position, header })
            }
            Step::Damage(stretch) => Some(Found::Damaged(self.damaged(stretch)?)),
            Step::End => None,
        })
    }

    fn damaged(&mut self, stretch: Stretch) -> Result<DamagedBytes, StorageError> {
        let Stretch { at: Place { offset, position }, cause, resume, whole_until: _ } = stretch;
        let is_unfinished = resume.is_none()
            && (matches!(cause, Damage::Batch(BatchError::CutShort { .. }))
                || self.walker.is_zero_from(position)?);
        let resume_at = resume.map(|place| place.offset);
        let bytes = resume.map_or(self.bytes, |place| place.position) - position;
        self.end = resume_at.unwrap_or(offset);
        Ok(DamagedBytes { position, bytes, offset, cause, resume_at, is_unfinished })
    }
}

#[cfg(test)]
mod tests {
    use protocol::batch::{Builder, Stamp};
    use protocol::compression::Compression;
    use protocol::id::{LeaderEpoch, Timestamp};
    use protocol::record::Record;

    use super::*;
    use crate::disk::{Access, Disk, RealDisk};

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
        let mut scan = SegmentScan::new(&*file, Offset::new(10).unwrap()).unwrap();
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
    fn a_missing_batch_is_a_gap_where_what_follows_bears_it_out() {
        let (mut bytes, [_, second, third]) = segment();
        bytes.drain(..second);
        let found = scan(&bytes);
        assert_eq!(offsets(&found), [12, 14]);
        let damaged = damage(&found);
        assert_eq!((damaged.bytes, damaged.resume_at.map(Offset::get)), (0, Some(12)));
        assert!(matches!(damaged.cause, Damage::Place { .. }));
        // Its offset may be what is wrong: the checksum leaves it out.
        bytes.drain(..third - second);
        let found = scan(&bytes);
        let damaged = damage(&found);
        assert_eq!(
            (offsets(&found).len(), damaged.resume_at, damaged.is_unfinished),
            (0, None, false)
        );
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
