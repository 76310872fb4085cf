//! The only door to files: what a log asks of a disk, what holds after `Ok` and after `Err`, and the real disk.
//!
//! Short writes and interrupted calls are dealt with here, so that above this file a write is whole or an error.
//! Nothing here retries what the system refused, and nothing decides what a failure means.

use std::any::Any;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Action, StorageError};

/// For what a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read. It must exist.
    Read,
    /// To be read and written. It must exist.
    Write,
    /// To be read and written. It is made, or emptied where it exists.
    Create,
}

/// One thing in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; bytes that are not UTF-8 become U+FFFD (no file of ours has such a name).
    pub name: String,
    /// True for a folder.
    pub is_folder: bool,
    /// Bytes of a file; 0 for a folder.
    pub bytes: u64,
}

/// Holds a lock until it is dropped.
pub struct Lock(#[expect(dead_code, reason = "only its drop counts")] Box<dyn Any + Send + Sync>);

impl Lock {
    /// A lock that `guard` holds until it is dropped.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// A file system, as far as a log needs one.
///
/// Names and contents are two things: what [`DiskFile::sync_data`] makes durable is reachable after a loss of power
/// only when [`Disk::sync_dir`] has made the name durable too.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// [`StorageError::is_missing`] when it is not there; whatever the system refuses. After an error with
    /// [`Access::Create`] the file may exist, empty.
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn DiskFile>, StorageError>;

    /// What is in a folder, in no order.
    ///
    /// # Errors
    /// [`StorageError::is_missing`] when it is not there; whatever the system refuses.
    fn list(&self, folder: &Path) -> Result<Vec<Entry>, StorageError>;

    /// Makes a folder and those above it where they are missing. After `Ok` their names are durable.
    ///
    /// # Errors
    /// Whatever the system refuses; some of the folders may exist then.
    fn create_dir_all(&self, folder: &Path) -> Result<(), StorageError>;

    /// Gives a file or folder another name in one step, replacing what has that name. Durable with [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Whatever the system refuses; the old name stays.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError>;

    /// Removes a file. Open handles stay readable. Durable with [`Disk::sync_dir`].
    ///
    /// # Errors
    /// [`StorageError::is_missing`] when it is not there; whatever the system refuses.
    fn remove(&self, path: &Path) -> Result<(), StorageError>;

    /// Removes a folder and all in it.
    ///
    /// # Errors
    /// [`StorageError::is_missing`] when it is not there; whatever the system refuses: some of it may be gone then.
    fn remove_dir_all(&self, folder: &Path) -> Result<(), StorageError>;

    /// After `Ok` every name made, changed or removed in the folder before is durable.
    ///
    /// # Errors
    /// Whatever the system refuses. Nothing is known about any unsynced name then, and asking again would not tell.
    fn sync_dir(&self, folder: &Path) -> Result<(), StorageError>;

    /// Locks a file against other processes, making it where it is missing. Held until the [`Lock`] is dropped or
    /// the process ends, in whatever way.
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another process holds it.
    fn lock(&self, path: &Path) -> Result<Lock, StorageError>;
}

/// An open file. Positions are in bytes from its start.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Writes all slices, one behind the other, from `position` on. After `Ok` readers see them; they are durable
    /// with [`Self::sync_data`]. Uses the slices up.
    ///
    /// # Errors
    /// Whatever the system refuses. Any part of the bytes may have been written then, and the file may be longer.
    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> Result<(), StorageError>;

    /// Fills `buffer` from `position` on and says how many bytes were there: fewer than the buffer holds only at the
    /// end of the file.
    ///
    /// # Errors
    /// Whatever the system refuses. The buffer may hold anything then.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, StorageError>;

    /// The `bytes` from `position` on, in memory of their own; fewer only at the end of the file.
    ///
    /// # Errors
    /// Whatever the system refuses.
    fn read(&self, bytes: usize, position: u64) -> Result<Vec<u8>, StorageError> {
        let mut found = vec![0; bytes];
        let read = self.read_at(&mut found, position)?;
        found.truncate(read);
        Ok(found)
    }

    /// After `Ok` everything written to the file before, and its length, is durable.
    ///
    /// # Errors
    /// Whatever the system refuses. Then nothing is known about anything unsynced, for good: the system may have
    /// marked the lost pages as clean, so that a second call would succeed without having written them. Never call
    /// it again.
    fn sync_data(&self) -> Result<(), StorageError>;

    /// Sets the length. Durable with [`Self::sync_data`].
    ///
    /// # Errors
    /// Whatever the system refuses; the length is unchanged.
    fn set_len(&self, bytes: u64) -> Result<(), StorageError>;

    /// The length in bytes.
    ///
    /// # Errors
    /// Whatever the system refuses.
    fn len(&self) -> Result<u64, StorageError>;

    /// True for a file without bytes.
    ///
    /// # Errors
    /// As [`Self::len`].
    fn is_empty(&self) -> Result<bool, StorageError> {
        Ok(self.len()? == 0)
    }

    /// Asks the system to forget what it holds of the file in memory and has written already (or believes so), such
    /// that the next reads tell what is on the device. Advice: it cannot fail in a way that matters.
    fn forget_cached(&self);
}

/// The file system of the machine. Files get mode 0600, folders 0700.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl RealDisk {
    /// The one there is.
    pub fn new() -> Self {
        Self
    }

    /// Files that this process may hold open at once: its soft limit. `None`: there is no limit.
    pub fn open_files_limit() -> Option<u64> {
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    }

    /// Lets this process hold as many files open at once as it may without being given more rights: shells start
    /// programs with far less. For a program of its own; a library leaves the limits of its host alone. Best effort:
    /// where it is refused, all goes on with what there is.
    pub fn raise_open_files_limit() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current != maximum {
            let _best_effort = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        }
    }
}

fn open_options(access: Access) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600);
    match access {
        Access::Read => &mut options,
        Access::Write => options.write(true),
        Access::Create => options.write(true).create(true).truncate(true),
    };
    options
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn DiskFile>, StorageError> {
        let action = if access == Access::Create { Action::Create } else { Action::Open };
        match open_options(access).open(path) {
            Ok(file) => Ok(Arc::new(RealFile { file, path: path.to_path_buf() })),
            Err(error) => Err(StorageError::new(action, path, None, &error)),
        }
    }

    fn list(&self, folder: &Path) -> Result<Vec<Entry>, StorageError> {
        let failed = |error: io::Error| StorageError::new(Action::List, folder, None, &error);
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed between the two calls.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            let is_folder = metadata.is_dir();
            entries.push(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_folder,
                bytes: if is_folder { 0 } else { metadata.len() },
            });
        }
        Ok(entries)
    }

    fn create_dir_all(&self, folder: &Path) -> Result<(), StorageError> {
        if folder.as_os_str().is_empty() || folder.is_dir() {
            return Ok(());
        }
        let parent = folder.parent().unwrap_or(Path::new(""));
        self.create_dir_all(parent)?;
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) => return Err(StorageError::new(Action::Create, folder, None, &error)),
        }
        self.sync_dir(parent)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        std::fs::rename(from, to)
            .map_err(|error| StorageError::new(Action::Rename, from, None, &error))
    }

    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        std::fs::remove_file(path)
            .map_err(|error| StorageError::new(Action::Remove, path, None, &error))
    }

    fn remove_dir_all(&self, folder: &Path) -> Result<(), StorageError> {
        std::fs::remove_dir_all(folder)
            .map_err(|error| StorageError::new(Action::Remove, folder, None, &error))
    }

    fn sync_dir(&self, folder: &Path) -> Result<(), StorageError> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)
            .and_then(|file| file.sync_all())
            .map_err(|error| StorageError::new(Action::Sync, folder, None, &error))
    }

    fn lock(&self, path: &Path) -> Result<Lock, StorageError> {
        let failed = |error: io::Error| StorageError::new(Action::Lock, path, None, &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock::new(file)),
            Err(TryLockError::WouldBlock) => Err(StorageError::Locked { file: path.to_path_buf() }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl RealFile {
    fn failed(&self, action: Action, position: Option<u64>, error: &io::Error) -> StorageError {
        StorageError::new(action, &self.path, position, error)
    }
}

/// Slices that one system call takes on every Linux (`IOV_MAX`).
const SLICES_PER_CALL_MAX: usize = 1024;

impl DiskFile for RealFile {
    fn write_at(
        &self,
        mut slices: &mut [IoSlice<'_>],
        mut position: u64,
    ) -> Result<(), StorageError> {
        // Empty slices would make a call that writes nothing look like a full disk.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let call = &slices[..slices.len().min(SLICES_PER_CALL_MAX)];
            match rustix::io::pwritev(&self.file, call, position) {
                Ok(0) => {
                    let error = io::ErrorKind::WriteZero.into();
                    return Err(self.failed(Action::Write, Some(position), &error));
                }
                Ok(written) => {
                    IoSlice::advance_slices(&mut slices, written);
                    position += written as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    return Err(self.failed(Action::Write, Some(position), &errno.into()));
                }
            }
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, StorageError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(Action::Read, Some(position), &error)),
            }
        }
        Ok(filled)
    }

    /// Without writing zeros first over memory that is filled anyway: an eighth of what a reader cost the broker.
    fn read(&self, bytes: usize, position: u64) -> Result<Vec<u8>, StorageError> {
        let mut found = Vec::with_capacity(bytes);
        while found.len() < bytes {
            let at = position + found.len() as u64;
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut found), at) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(self.failed(Action::Read, Some(position), &errno.into())),
            }
        }
        // The allocator may have given more room than was asked for.
        found.truncate(bytes);
        Ok(found)
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        // fdatasync: the length is made durable with the data, times are not. An interrupted call is not repeated:
        // it has not said that everything is written, and asking again might not tell.
        rustix::fs::fdatasync(&self.file)
            .map_err(|errno| self.failed(Action::Sync, None, &errno.into()))
    }

    fn set_len(&self, bytes: u64) -> Result<(), StorageError> {
        self.file.set_len(bytes).map_err(|error| self.failed(Action::Resize, Some(bytes), &error))
    }

    fn len(&self) -> Result<u64, StorageError> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|error| self.failed(Action::Measure, None, &error))
    }

    fn forget_cached(&self) {
        // A file system that takes no advice reads from memory, as it would without this call.
        let _advice = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gathered_write_of_many_slices_lands_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let file = RealDisk.open(&path, Access::Create).unwrap();
        let parts: Vec<Vec<u8>> = (0..3000u32).map(|n| vec![n as u8; (n % 3) as usize]).collect();
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        file.write_at(&mut slices, 7).unwrap();
        let expected = parts.concat();
        let mut found = vec![0; expected.len() + 5];
        assert_eq!(file.read_at(&mut found, 7).unwrap(), expected.len());
        assert_eq!(found[..expected.len()], expected);
        assert_eq!(file.read(expected.len() + 5, 7).unwrap(), expected);
        assert_eq!(file.read(10, 17).unwrap(), expected[10..20]);
        file.sync_data().unwrap();
        file.forget_cached();
        file.set_len(3).unwrap();
        assert_eq!(RealDisk.list(folder.path()).unwrap()[0].bytes, 3);
        assert!(!file.is_empty().unwrap());
    }

    #[test]
    fn what_is_missing_says_so_and_what_is_locked_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        assert!(RealDisk.open(&path, Access::Read).unwrap_err().is_missing());
        assert!(RealDisk.list(&path).unwrap_err().is_missing());
        RealDisk.create_dir_all(&path).unwrap();
        assert_eq!(RealDisk.list(&path).unwrap(), []);
        let lock = RealDisk.lock(&path.join("lock")).unwrap();
        let second = RealDisk.lock(&path.join("lock")).unwrap_err();
        assert!(matches!(second, StorageError::Locked { .. }), "{second}");
        drop(lock);
        RealDisk.lock(&path.join("lock")).unwrap();
    }

    #[test]
    fn want_of_room_is_told_apart_by_the_kind_of_the_error() {
        for (errno, full) in [(28, true), (122, true), (27, true), (5, false), (2, false)] {
            let error = io::Error::from_raw_os_error(errno);
            let error = StorageError::new(Action::Write, Path::new("x"), Some(9), &error);
            assert_eq!(error.is_full(), full, "{error}");
            assert_eq!(error.may_retry(), full);
            assert_eq!(error.may_have_happened(), !full);
        }
    }
}
