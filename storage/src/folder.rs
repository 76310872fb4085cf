//! The data folder itself: locked against a second process, marked with its format, its id and its starts.
//!
//! The order on opening: lock, read the mark, refuse what a newer release wrote, and only then write anything. What
//! the folders inside mean is for the broker.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BufMut;
use protocol::id::LeaderEpoch;

use crate::checkpoint::{self, Loaded};
use crate::disk::{Access, Disk, Lock};
use crate::error::{FileDamage, StorageError};
use crate::format::{FOLDER, FOLDER_FILE, Fields, Kind, LOCK_FILE};

/// The id of a data folder, given when it is made: the same through all starts.
///
/// ```
/// use thalweg_storage::ClusterId;
/// assert_eq!(ClusterId([0; 16]).to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    /// Base64 as in URLs, without padding: 22 characters, as Kafka shows its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for three in self.0.chunks(3) {
            let mut bits = 0_u32;
            for index in 0..3 {
                bits = bits << 8 | u32::from(three.get(index).copied().unwrap_or(0));
            }
            for digit in 0..=three.len() {
                let index = (bits >> (18 - 6 * digit)) & 63;
                let digit = DIGITS.get(index as usize).copied().unwrap_or(b'A');
                write!(f, "{}", char::from(digit))?;
            }
        }
        Ok(())
    }
}

/// A data folder that this process holds. The lock ends with the value.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    cluster_id: ClusterId,
    leader_epoch: LeaderEpoch,
    _lock: Lock,
    /// Kept so that a simulated disk lives as long as the lock on it.
    _disk: Arc<dyn Disk>,
}

impl DataFolder {
    /// Opens the folder and counts the start, or makes the folder with the id `fresh` where there is none.
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another process holds it, [`StorageError::Newer`] when a newer release wrote it,
    /// [`StorageError::Damaged`] when its mark is not what was written or is gone although other things are there:
    /// then nothing but the empty lock file was written. Whatever the disk refuses.
    ///
    /// # After an error
    /// The folder may be opened again.
    pub fn open(disk: Arc<dyn Disk>, root: &Path, fresh: ClusterId) -> Result<Self, StorageError> {
        disk.create_dir_all(root)?;
        let lock = disk.lock(&root.join(LOCK_FILE))?;
        let mark = root.join(FOLDER_FILE);
        let (cluster_id, starts) = load_mark(&*disk, root)?.unwrap_or((fresh, 0));
        let starts = starts + 1;
        let mut body = Vec::with_capacity(FOLDER.bytes());
        body.put_slice(&cluster_id.0);
        body.put_i32(starts);
        match checkpoint::save(&*disk, &mark, Kind::Folder, &body) {
            // No room beside it: a folder on a full disk must still be readable. Its length stays, and it lies within one
            // sector, which a power cut leaves as it was or as it is to be, never torn.
            Err(error) if error.is_full() && starts > 1 => {
                let file = disk.open(&mark, Access::Write)?;
                checkpoint::overwrite(&*file, Kind::Folder, &body)?;
                file.sync_data()?;
            }
            saved => saved?,
        }
        disk.sync_dir(root)?;
        let leader_epoch = LeaderEpoch(starts);
        Ok(Self { root: root.to_path_buf(), cluster_id, leader_epoch, _lock: lock, _disk: disk })
    }

    /// Looks at the mark of a folder as [`Self::open`] does, and changes and locks nothing. `None`: a new folder.
    ///
    /// # Errors
    /// As those of [`Self::open`], but for the lock.
    pub fn look(disk: &dyn Disk, root: &Path) -> Result<Option<ClusterId>, StorageError> {
        Ok(load_mark(disk, root)?.map(|(cluster_id, _)| cluster_id))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its id.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// Counts the starts of the folder; durable before anything is written in it.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }
}

/// What the mark of a folder says; `None` where there is neither a mark nor anything that should have one.
fn load_mark(disk: &dyn Disk, root: &Path) -> Result<Option<(ClusterId, i32)>, StorageError> {
    let mark = root.join(FOLDER_FILE);
    let damaged = |damage| StorageError::Damaged { file: mark.clone(), damage };
    match checkpoint::load(disk, &mark, Kind::Folder)? {
        Loaded::Whole(body) => {
            read_mark(&body).map(Some).map_err(|field| damaged(FileDamage::Field { field }))
        }
        Loaded::Damaged(damage) => Err(damaged(damage)),
        // A folder with data and without its mark is not a new folder: nothing is made anew over it.
        Loaded::Missing if disk.list(root)?.iter().any(|entry| entry.is_folder) => {
            Err(damaged(FileDamage::Length { expected: FOLDER.bytes() as u64, found: 0 }))
        }
        Loaded::Missing => Ok(None),
    }
}

fn read_mark(body: &[u8]) -> Result<(ClusterId, i32), &'static str> {
    let mut fields = Fields(body);
    let id = fields.take().map(ClusterId).ok_or("clusterId")?;
    let starts = fields.i32().filter(|starts| (0..i32::MAX).contains(starts)).ok_or("starts")?;
    if fields.0.is_empty() { Ok((id, starts)) } else { Err("starts") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::sim::SimDisk;
    use std::io::IoSlice;

    const ID: ClusterId = ClusterId([7; 16]);
    const OTHER: ClusterId = ClusterId([9; 16]);

    #[test]
    fn an_id_stays_and_starts_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let root = folder.path().join("data");
        let first = DataFolder::open(Arc::clone(&disk), &root, ID).unwrap();
        assert_eq!((first.cluster_id(), first.leader_epoch()), (ID, LeaderEpoch(1)));
        let second = DataFolder::open(Arc::clone(&disk), &root, OTHER).unwrap_err();
        assert!(matches!(second, StorageError::Locked { .. }), "{second}");
        assert_eq!(DataFolder::look(&*disk, &root).unwrap(), Some(ID), "also while it is held");
        drop(first);
        let third = DataFolder::open(Arc::clone(&disk), &root, OTHER).unwrap();
        assert_eq!((third.cluster_id(), third.leader_epoch()), (ID, LeaderEpoch(2)));
    }

    #[test]
    fn a_folder_on_a_full_disk_is_opened_and_its_start_counted() {
        let sim = SimDisk::new(1);
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let root = Path::new("/data");
        sim.set_room(Some(0));
        let error = DataFolder::open(Arc::clone(&disk), root, ID).unwrap_err();
        assert!(error.is_full(), "there is no folder yet: {error}");
        sim.set_room(None);
        drop(DataFolder::open(Arc::clone(&disk), root, ID).unwrap());
        sim.set_room(Some(0));
        for start in [2, 3] {
            let folder = DataFolder::open(Arc::clone(&disk), root, OTHER).unwrap();
            assert_eq!((folder.cluster_id(), folder.leader_epoch()), (ID, LeaderEpoch(start)));
        }
        sim.set_room(None);
        let folder = DataFolder::open(Arc::clone(&disk), root, OTHER).unwrap();
        assert_eq!((folder.cluster_id(), folder.leader_epoch()), (ID, LeaderEpoch(4)));
    }

    #[test]
    fn a_newer_or_damaged_mark_is_refused_and_nothing_is_changed() {
        let sim = SimDisk::new(1);
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let root = Path::new("/data");
        let mark = root.join(FOLDER_FILE);
        drop(DataFolder::open(Arc::clone(&disk), root, ID).unwrap());
        let length = disk.open(&mark, Access::Read).unwrap().len().unwrap();
        for byte in 0..length {
            sim.flip(&mark, byte, 3);
            let before = sim.contents(&mark);
            let error = DataFolder::open(Arc::clone(&disk), root, OTHER).unwrap_err();
            assert!(matches!(error, StorageError::Damaged { .. }), "byte {byte}: {error}");
            let looked = DataFolder::look(&*disk, root).unwrap_err();
            assert_eq!(looked.to_string(), error.to_string(), "byte {byte}");
            assert_eq!(sim.contents(&mark), before);
            sim.flip(&mark, byte, 3);
        }

        // The envelope of a release to come: version 2, and a checksum that fits.
        let mut bytes = sim.contents(&mark).unwrap();
        bytes[8..12].copy_from_slice(&2_u32.to_be_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..16]);
        hasher.update(&bytes[20..]);
        bytes[16..20].copy_from_slice(&hasher.finalize().to_be_bytes());
        let file = disk.open(&mark, Access::Write).unwrap();
        file.write_at(&mut [IoSlice::new(&bytes)], 0).unwrap();
        let error = DataFolder::open(Arc::clone(&disk), root, OTHER).unwrap_err();
        assert!(matches!(error, StorageError::Newer { found: 2, known: 1, .. }), "{error}");
        assert_eq!(sim.contents(&mark), Some(bytes));
    }

    #[test]
    fn data_without_a_mark_is_not_taken_for_a_new_folder() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let root = Path::new("/data");
        disk.create_dir_all(&root.join("topics")).unwrap();
        let error = DataFolder::open(Arc::clone(&disk), root, ID).unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    }
}
