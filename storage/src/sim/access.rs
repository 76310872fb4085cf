//! The simulated disk as storage sees it: every operation is counted, and fails where it was told to.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SimDisk;
use super::change::{Change, Contents, NameChange};
use super::fault::{Fault, Lie};
use super::world::{World, missing, refused};
use crate::disk::{Access, Disk, DiskFile, Entry, Lock};
use crate::error::{Action, StorageError};

impl Disk for SimDisk {
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn DiskFile>, StorageError> {
        let mut world = self.0.lock();
        if world.is_dead {
            return Err(refused(Action::Open, path, Fault::PowerLoss));
        }
        let number = match (world.names.get(path).copied(), access) {
            (Some(number), Access::Read | Access::Write) => number,
            (None, Access::Read | Access::Write) => return Err(missing(Action::Open, path)),
            (Some(number), Access::Create) => {
                let fault = world.begin(Action::Create, path, (0, 0))?;
                if let Some(fault) = fault {
                    return Err(refused(Action::Create, path, fault));
                }
                world.files[number].seen.clear();
                world.files[number].pending.push(Change::Resize(0));
                number
            }
            (None, Access::Create) => {
                let folder_exists =
                    path.parent().is_some_and(|folder| world.folders.contains(folder));
                if !folder_exists {
                    return Err(missing(Action::Create, path));
                }
                let file = world.files.len();
                world.files.push(Contents::default());
                let change = NameChange::Set { path: path.to_path_buf(), file };
                world.change_name(Action::Create, path, change)?;
                file
            }
        };
        let life = world.life;
        Ok(Arc::new(SimFile { disk: self.clone(), path: path.to_path_buf(), number, life }))
    }

    fn list(&self, folder: &Path) -> Result<Vec<Entry>, StorageError> {
        let world = self.0.lock();
        if world.is_dead {
            return Err(refused(Action::List, folder, Fault::PowerLoss));
        }
        if !world.folders.contains(folder) {
            return Err(missing(Action::List, folder));
        }
        let name = |path: &Path| {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let is_inside = |path: &&PathBuf| path.parent() == Some(folder);
        let folders = world.folders.iter().filter(is_inside);
        let folders = folders.map(|path| Entry { name: name(path), is_folder: true, bytes: 0 });
        let files = world.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let files = files.map(|(path, number)| Entry {
            name: name(path),
            is_folder: false,
            bytes: world.files[*number].seen.len() as u64,
        });
        Ok(folders.chain(files).collect())
    }

    fn create_dir_all(&self, folder: &Path) -> Result<(), StorageError> {
        let mut world = self.0.lock();
        if world.folders.contains(folder) {
            return Ok(());
        }
        if let Some(fault) = world.begin(Action::Create, folder, (0, 0))? {
            return Err(refused(Action::Create, folder, fault));
        }
        world.folders.extend(folder.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        let mut world = self.0.lock();
        let Some(file) = world.names.get(from).copied() else {
            return Err(missing(Action::Rename, from));
        };
        let (from_path, to) = (from.to_path_buf(), to.to_path_buf());
        world.change_name(Action::Rename, from, NameChange::Rename { from: from_path, to, file })
    }

    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        let mut world = self.0.lock();
        if !world.names.contains_key(path) {
            return Err(missing(Action::Remove, path));
        }
        let change = NameChange::Remove { path: path.to_path_buf() };
        world.change_name(Action::Remove, path, change)
    }

    fn remove_dir_all(&self, folder: &Path) -> Result<(), StorageError> {
        let mut world = self.0.lock();
        if !world.folders.contains(folder) {
            return Err(missing(Action::Remove, folder));
        }
        if let Some(fault) = world.begin(Action::Remove, folder, (0, 0))? {
            return Err(refused(Action::Remove, folder, fault));
        }
        world.folders.retain(|path| !path.starts_with(folder));
        world.names.retain(|path, _| !path.starts_with(folder));
        world.durable_names.retain(|path, _| !path.starts_with(folder));
        world
            .pending_names
            .retain(|change| change.folder().is_none_or(|changed| !changed.starts_with(folder)));
        Ok(())
    }

    fn sync_dir(&self, folder: &Path) -> Result<(), StorageError> {
        let mut world = self.0.lock();
        if let Some(fault) = world.begin(Action::Sync, folder, (0, 0))? {
            return Err(refused(Action::Sync, folder, fault));
        }
        if world.lies == Some(Lie::Folders) {
            return Ok(());
        }
        let changes = std::mem::take(&mut world.pending_names);
        for change in changes {
            if change.folder() == Some(folder) {
                change.apply(&mut world.durable_names);
            } else {
                world.pending_names.push(change);
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Lock, StorageError> {
        let mut world = self.0.lock();
        if !world.locks.insert(path.to_path_buf()) {
            return Err(StorageError::Locked { file: path.to_path_buf() });
        }
        Ok(Lock::new(SimLock { disk: self.clone(), path: path.to_path_buf(), life: world.life }))
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.disk.0.lock();
        if world.life == self.life {
            world.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    number: usize,
    life: u64,
}

impl SimFile {
    fn world(&self, action: Action) -> Result<parking_lot::MutexGuard<'_, World>, StorageError> {
        let world = self.disk.0.lock();
        if world.life == self.life && !world.is_dead {
            return Ok(world);
        }
        Err(refused(action, &self.path, Fault::PowerLoss))
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> Result<(), StorageError> {
        let mut world = self.world(Action::Write)?;
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut fault = world.begin(Action::Write, &self.path, (position, bytes.len() as u64))?;
        let end = position + bytes.len() as u64;
        let growth = end.saturating_sub(world.files[self.number].seen.len() as u64);
        if let Some(room) = &mut world.room {
            if growth > *room {
                fault = fault.or(Some(Fault::Full));
            } else {
                *room -= growth;
            }
        }
        if matches!(fault, Some(Fault::Broken | Fault::Full)) {
            let kept = world.random.next() % (bytes.len() as u64 + 1);
            bytes.truncate(usize::try_from(kept).unwrap_or(0));
        }
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        let change = Change::Write { position, bytes };
        let file = &mut world.files[self.number];
        change.apply(&mut file.seen);
        file.pending.push(change);
        let index = file.pending.len() - 1;
        world.last_write = Some((self.number, index));
        fault.map_or(Ok(()), |fault| Err(refused(Action::Write, &self.path, fault)))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, StorageError> {
        let mut world = self.world(Action::Read)?;
        let number = world.reads;
        world.reads += 1;
        if world.read_faults.remove(&number) {
            return Err(refused(Action::Read, &self.path, Fault::Broken));
        }
        let seen = &world.files[self.number].seen;
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(seen.len());
        let length = buffer.len().min(seen.len() - start);
        buffer[..length].copy_from_slice(&seen[start..start + length]);
        Ok(length)
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        let mut world = self.world(Action::Sync)?;
        let fault = world.begin(Action::Sync, &self.path, (0, 0))?;
        let lies = world.lies == Some(Lie::Files);
        let file = &mut world.files[self.number];
        match fault {
            None if lies => {}
            None => {
                for change in file.pending.drain(..) {
                    change.apply(&mut file.durable);
                }
            }
            Some(Fault::Broken | Fault::Full) => {
                for change in &mut file.pending {
                    if let Change::Write { position, bytes } = change {
                        *change = Change::Grow(*position + bytes.len());
                    }
                }
            }
            Some(Fault::PowerLoss) => {}
        }
        fault.map_or(Ok(()), |fault| Err(refused(Action::Sync, &self.path, fault)))
    }

    fn set_len(&self, bytes: u64) -> Result<(), StorageError> {
        let mut world = self.world(Action::Resize)?;
        let fault = world.begin(Action::Resize, &self.path, (bytes, 0))?;
        if matches!(fault, None | Some(Fault::PowerLoss)) {
            let change = Change::Resize(usize::try_from(bytes).unwrap_or(usize::MAX));
            let file = &mut world.files[self.number];
            change.apply(&mut file.seen);
            file.pending.push(change);
        }
        fault.map_or(Ok(()), |fault| Err(refused(Action::Resize, &self.path, fault)))
    }

    fn len(&self) -> Result<u64, StorageError> {
        let world = self.world(Action::Measure)?;
        Ok(world.files[self.number].seen.len() as u64)
    }

    fn forget_cached(&self) {
        let Ok(mut world) = self.world(Action::Read) else { return };
        let file = &mut world.files[self.number];
        let mut seen = file.durable.clone();
        for change in &file.pending {
            change.apply(&mut seen);
        }
        file.seen = seen;
    }
}
