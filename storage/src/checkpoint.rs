//! Small files that are replaced whole: written aside, synced, renamed.
//!
//! A reader finds the old contents or the new, never a mixture, whenever the process ends. What is inside is the
//! business of those who call.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use bytes::BufMut;

use crate::disk::{Access, Disk, DiskFile};
use crate::error::{FileDamage, StorageError};
use crate::format::{ASIDE_ENDING, ENVELOPE, Fields, Kind};

/// Longest body, in bytes: above what any small file of ours can need, below what would hurt to read.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

/// What was found where a small file should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// The body, as it was written.
    Whole(Vec<u8>),
    /// No such file.
    Missing,
    /// A file with other contents than were written.
    Damaged(FileDamage),
}

/// Replaces the file at `path`. Its contents are durable after `Ok`; its name is so with [`Disk::sync_dir`].
///
/// # After an error
/// The old file stands. A new file beside it may be left over when the disk refuses even to remove it; the next
/// call or the next opening of the log removes it.
pub(crate) fn save(
    disk: &dyn Disk,
    path: &Path,
    kind: Kind,
    body: &[u8],
) -> Result<(), StorageError> {
    let aside = aside(path);
    let written = write(disk, &aside, kind, body).and_then(|()| disk.rename(&aside, path));
    if written.is_err() {
        // The first error is the one that counts.
        let _leftover = disk.remove(&aside);
    }
    written
}

fn write(disk: &dyn Disk, aside: &Path, kind: Kind, body: &[u8]) -> Result<(), StorageError> {
    let file = disk.open(aside, Access::Create)?;
    file.write_at(&mut [IoSlice::new(&head(kind, body)), IoSlice::new(body)], 0)?;
    file.sync_data()
}

/// Writes over a file in place and syncs nothing: for what is an aid only. A reader may find the old contents, the
/// new, or damage.
pub(crate) fn overwrite(file: &dyn DiskFile, kind: Kind, body: &[u8]) -> Result<(), StorageError> {
    file.write_at(&mut [IoSlice::new(&head(kind, body)), IoSlice::new(body)], 0)
}

fn head(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(ENVELOPE.bytes());
    head.put_slice(&kind.magic());
    head.put_u32(kind.version());
    head.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    let checksum = checksum(&head, body);
    head.put_u32(checksum);
    head
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ASIDE_ENDING);
    name.into()
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

/// Reads the file at `path`.
///
/// # Errors
/// [`StorageError::Newer`] when a newer release wrote it; whatever the disk refuses. Damage is not an error here:
/// callers differ in what it means.
pub(crate) fn load(disk: &dyn Disk, path: &Path, kind: Kind) -> Result<Loaded, StorageError> {
    let file = match disk.open(path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Ok(Loaded::Missing),
        Err(error) => return Err(error),
    };
    let found = file.len()?;
    let bytes_max = BODY_BYTES_MAX + ENVELOPE.bytes();
    let Some(length) = usize::try_from(found).ok().filter(|found| *found <= bytes_max) else {
        return Ok(Loaded::Damaged(FileDamage::Length { expected: bytes_max as u64, found }));
    };
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    match open(&bytes, kind) {
        // The checksum has vouched for the version: it is not damage that looks like a future.
        Ok((version, _)) if version > kind.version() => {
            Err(StorageError::Newer { file: path.into(), found: version, known: kind.version() })
        }
        Ok((_, body)) => Ok(Loaded::Whole(body.to_vec())),
        Err(damage) => Ok(Loaded::Damaged(damage)),
    }
}

/// Opens the envelope: version and body.
fn open(bytes: &[u8], kind: Kind) -> Result<(u32, &[u8]), FileDamage> {
    let short = FileDamage::Length { expected: ENVELOPE.bytes() as u64, found: bytes.len() as u64 };
    let mut fields = Fields(bytes);
    let magic: [u8; 8] = fields.take().ok_or(short)?;
    if magic != kind.magic() {
        return Err(FileDamage::Magic);
    }
    let version = fields.u32().ok_or(short)?;
    let announced = fields.u32().ok_or(short)?;
    let head = bytes.get(..bytes.len() - fields.0.len()).unwrap_or_default();
    let found = fields.u32().ok_or(short)?;
    let body = fields.0;
    let expected = checksum(head, body);
    if u64::from(announced) != body.len() as u64 {
        let expected = u64::from(announced) + ENVELOPE.bytes() as u64;
        return Err(FileDamage::Length { expected, found: bytes.len() as u64 });
    }
    if found != expected {
        return Err(FileDamage::Checksum { expected, found });
    }
    Ok((version, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_saved_is_loaded(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let disk = SimDisk::new(1);
            let path = Path::new("/x");
            prop_assert_eq!(load(&disk, path, Kind::State).unwrap(), Loaded::Missing);
            save(&disk, path, Kind::State, b"old").unwrap();
            save(&disk, path, Kind::State, &body).unwrap();
            prop_assert_eq!(load(&disk, path, Kind::State).unwrap(), Loaded::Whole(body));
            prop_assert_eq!(
                load(&disk, path, Kind::Index).unwrap(),
                Loaded::Damaged(FileDamage::Magic)
            );
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let disk = SimDisk::new(1);
        let path = Path::new("/x");
        save(&disk, path, Kind::Folder, b"precious").unwrap();
        let length = ENVELOPE.bytes() + 8;
        for bit in 0..length * 8 {
            disk.flip(path, (bit / 8) as u64, (bit % 8) as u8);
            let found = load(&disk, path, Kind::Folder).unwrap();
            assert!(matches!(found, Loaded::Damaged(_)), "bit {bit}: {found:?}");
            disk.flip(path, (bit / 8) as u64, (bit % 8) as u8);
        }
        for cut in (0..length).rev() {
            disk.open(path, Access::Write).unwrap().set_len(cut as u64).unwrap();
            let found = load(&disk, path, Kind::Folder).unwrap();
            assert!(matches!(found, Loaded::Damaged(_)), "cut at {cut}: {found:?}");
        }
    }
}
