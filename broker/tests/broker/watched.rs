//! The real disk with somebody who watches what is written and synced, and may hold it up or let it fail. Also for
//! `tests/budget.rs`, which includes this file.

use std::fmt::Debug;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::{Access, Disk, DiskFile, Entry, Lock, RealDisk, StorageError};

/// Who watches. What it refuses is not done.
pub(crate) trait Watcher: Debug + Send + Sync + 'static {
    /// Bytes are about to be written to a file.
    fn writes(&self, _file: &Path) {}

    /// A file is about to be synced.
    ///
    /// # Errors
    /// Where the watcher lets it fail.
    fn syncs(&self, _file: &Path) -> Result<(), StorageError> {
        Ok(())
    }

    /// A folder is about to be synced.
    fn syncs_folder(&self) {}
}

/// The real disk under watch.
#[derive(Debug)]
pub(crate) struct WatchedDisk<W>(pub(crate) Arc<W>);

#[derive(Debug)]
struct WatchedFile<W> {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    watcher: Arc<W>,
}

impl<W: Watcher> Disk for WatchedDisk<W> {
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn DiskFile>, StorageError> {
        let file = RealDisk.open(path, access)?;
        let (path, watcher) = (path.to_owned(), Arc::clone(&self.0));
        Ok(Arc::new(WatchedFile { file, path, watcher }))
    }

    fn list(&self, folder: &Path) -> Result<Vec<Entry>, StorageError> {
        RealDisk.list(folder)
    }

    fn create_dir_all(&self, folder: &Path) -> Result<(), StorageError> {
        RealDisk.create_dir_all(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        RealDisk.remove(path)
    }

    fn remove_dir_all(&self, folder: &Path) -> Result<(), StorageError> {
        RealDisk.remove_dir_all(folder)
    }

    fn sync_dir(&self, folder: &Path) -> Result<(), StorageError> {
        self.0.syncs_folder();
        RealDisk.sync_dir(folder)
    }

    fn lock(&self, path: &Path) -> Result<Lock, StorageError> {
        RealDisk.lock(path)
    }
}

impl<W: Watcher> DiskFile for WatchedFile<W> {
    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> Result<(), StorageError> {
        self.watcher.writes(&self.path);
        self.file.write_at(slices, position)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, StorageError> {
        self.file.read_at(buffer, position)
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        self.watcher.syncs(&self.path)?;
        self.file.sync_data()
    }

    fn set_len(&self, bytes: u64) -> Result<(), StorageError> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> Result<u64, StorageError> {
        self.file.len()
    }

    fn forget_cached(&self) {
        self.file.forget_cached();
    }
}
