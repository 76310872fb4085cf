//! A disk in memory that fails as disks fail, from a seed. The same calls with the same seed give the same trace.
//!
//! Faults that are fair, because real disks and file systems do them:
//! - **Loss of power** ([`SimDisk::crash`]): of what was written since the last sync of a file, any 512-byte sectors
//!   are there and others are not, in any order; sectors that are missing read as zeros, or the file ends before
//!   them. Each sector is as it was at some moment since the sync: what was written to it later is never there without
//!   what was written to it before, as both lie in the same page of memory. A file grows and shrinks in any of the steps it was told. Names that were made, changed or removed since
//!   the last sync of their folder are so or not, each by itself; a rename is never half done.
//! - **Death of the process** ([`SimDisk::kill`]): nothing is lost but the handles and locks.
//! - **A failing operation** ([`SimDisk::fail_at`]): a write leaves any part of its bytes. A failed sync loses what it
//!   should have made durable: readers still see it from memory, a later sync succeeds and does not bring it back,
//!   and after a crash or [`DiskFile::forget_cached`] it reads as zeros.
//! - **No room** ([`SimDisk::set_room`], [`Fault::Full`]): a write stops in the middle.
//! - **Changed bits** ([`SimDisk::flip`]): in what was synced too.
//!
//! Unfair: a sync that says yes and lies (only [`SimDisk::lie_about_syncs`] does it, to test the tests). Not done:
//! sectors that hold another file's bytes; bytes that change in the moment between a check and a use.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Access, Disk, DiskFile, Entry, Lock};
use crate::error::{Action, StorageError};
use crate::walk::SECTOR_BYTES;

/// What goes wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The system refuses with an input/output error.
    Broken,
    /// The system refuses for want of room.
    Full,
    /// The power goes during the operation. Everything is refused until [`SimDisk::crash`].
    PowerLoss,
}

/// What is left of unsynced operations after a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// None of them.
    LoseAll,
    /// All of them, of the last write only this many bytes.
    KeepAll {
        /// Bytes of the last write that are there.
        torn_bytes: u64,
    },
    /// Of writes only the last one, this many bytes of it, and what the others had put into the sector in which it
    /// begins; all names.
    KeepLast {
        /// Bytes of the last write that are there.
        torn_bytes: u64,
    },
    /// Any of them, sector by sector and name by name, by the seed of the disk.
    Random,
}

/// Which syncs say yes and do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Those of files.
    Files,
    /// Those of folders.
    Folders,
}

/// One operation that changed something, or tried to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// What was done.
    pub action: Action,
    /// To what.
    pub path: PathBuf,
    /// Where.
    pub position: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// The simulated disk. Cloning gives another handle to the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<World>>);

#[derive(Clone, Debug)]
struct World {
    random: Random,
    files: Vec<Contents>,
    folders: BTreeSet<PathBuf>,
    names: Names,
    durable_names: Names,
    /// Changes of names since the last sync of their folder, in order.
    pending_names: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    /// Counts crashes and kills: handles of an earlier life are of no use.
    life: u64,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    reads: u64,
    read_faults: BTreeSet<u64>,
    room: Option<u64>,
    is_dead: bool,
    last_write: Option<(usize, usize)>,
    lies: Option<Lie>,
    trace: Vec<Traced>,
}

type Names = BTreeMap<PathBuf, usize>;

#[derive(Clone, Debug)]
enum NameChange {
    Set { path: PathBuf, file: usize },
    Rename { from: PathBuf, to: PathBuf, file: usize },
    Remove { path: PathBuf },
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Set { path, .. } | Self::Remove { path } | Self::Rename { to: path, .. } => {
                path.parent()
            }
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Set { path, file } => {
                names.insert(path.clone(), *file);
            }
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove { path } => {
                names.remove(path);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Contents {
    /// What programs see.
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync, in order.
    pending: Vec<Change>,
}

/// [`SECTOR_BYTES`] as an index.
const SECTOR: usize = SECTOR_BYTES as usize;

#[derive(Clone, Debug)]
enum Change {
    Write {
        position: usize,
        bytes: Vec<u8>,
    },
    Resize(usize),
    /// A write that a failed sync has lost: the file grew, the bytes are not there.
    Grow(usize),
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Write { position, bytes } => {
                let end = position + bytes.len();
                if contents.len() < end {
                    contents.resize(end, 0);
                }
                contents[*position..end].copy_from_slice(bytes);
            }
            Self::Resize(length) => contents.resize(*length, 0),
            Self::Grow(length) => contents.resize(contents.len().max(*length), 0),
        }
    }

    /// The first bytes of a write.
    fn torn(&self, torn_bytes: u64) -> Self {
        match self {
            Self::Write { position, bytes } => {
                let kept = usize::try_from(torn_bytes).unwrap_or(usize::MAX).min(bytes.len());
                Self::Write { position: *position, bytes: bytes[..kept].to_vec() }
            }
            other => other.clone(),
        }
    }

    /// The sector in which a write begins.
    fn first_sector(&self) -> Option<Range<usize>> {
        let Self::Write { position, .. } = self else { return None };
        let start = position / SECTOR * SECTOR;
        Some(start..start + SECTOR)
    }

    /// What a write puts into a sector.
    fn within(&self, sector: &Range<usize>) -> Option<Self> {
        let Self::Write { position, bytes } = self else { return None };
        let start = sector.start.clamp(*position, position + bytes.len());
        let end = sector.end.clamp(start, position + bytes.len());
        let bytes = bytes[start - position..end - position].to_vec();
        (start < end).then_some(Self::Write { position: start, bytes })
    }

    /// Any of the sectors of a write, but none of those in `stale`, which did not reach the disk any more; joined by
    /// those that do not from here on.
    fn scattered(&self, random: &mut Random, stale: &mut BTreeSet<usize>) -> Vec<Self> {
        let Self::Write { position, bytes } = self else {
            return if random.coin() { vec![self.clone()] } else { Vec::new() };
        };
        let mut kept = Vec::new();
        let mut at = *position;
        let end = position + bytes.len();
        while at < end {
            let next = ((at / SECTOR + 1) * SECTOR).min(end);
            if stale.contains(&(at / SECTOR)) || !random.coin() {
                stale.insert(at / SECTOR);
            } else {
                let bytes = bytes[at - position..next - position].to_vec();
                kept.push(Self::Write { position: at, bytes });
            }
            at = next;
        }
        kept
    }
}

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            random: Random(seed),
            files: Vec::new(),
            folders: BTreeSet::from([PathBuf::from("/")]),
            names: Names::new(),
            durable_names: Names::new(),
            pending_names: Vec::new(),
            locks: BTreeSet::new(),
            life: 0,
            operations: 0,
            faults: BTreeMap::new(),
            reads: 0,
            read_faults: BTreeSet::new(),
            room: None,
            is_dead: false,
            last_write: None,
            lies: None,
            trace: Vec::new(),
        })))
    }

    /// Operations so far that changed something, or tried to.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.0.lock().reads
    }

    /// All operations so far.
    pub fn trace(&self) -> Vec<Traced> {
        self.0.lock().trace.clone()
    }

    /// Lets the operation of this number fail, counted from 0.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.0.lock().faults.insert(operation, fault);
    }

    /// Lets the read of this number fail, counted from 0.
    pub fn fail_read_at(&self, read: u64) {
        self.0.lock().read_faults.insert(read);
    }

    /// Takes back all faults that are still to come.
    pub fn clear_faults(&self) {
        let mut world = self.0.lock();
        world.faults.clear();
        world.read_faults.clear();
        world.room = None;
    }

    /// Bytes by which files may still grow; `None` for no bound.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.0.lock().room = bytes;
    }

    /// Lets syncs say yes and do nothing, from here on. No log can keep its promise on such a disk: a test that does
    /// not notice does not test.
    pub fn lie_about_syncs(&self, lie: Lie) {
        self.0.lock().lies = Some(lie);
    }

    /// True from a [`Fault::PowerLoss`] to the next [`Self::crash`].
    pub fn is_dead(&self) -> bool {
        self.0.lock().is_dead
    }

    /// Bytes of the last write, were it torn: 0 without one under way.
    pub fn last_write_bytes(&self) -> u64 {
        let world = self.0.lock();
        let last =
            world.last_write.and_then(|(file, change)| world.files[file].pending.get(change));
        match last {
            Some(Change::Write { bytes, .. }) => bytes.len() as u64,
            Some(Change::Resize(_) | Change::Grow(_)) | None => 0,
        }
    }

    /// The power goes and comes back.
    pub fn crash(&self, crash: Crash) {
        let mut world = self.0.lock();
        let World { random, files, last_write, .. } = &mut *world;
        for (number, file) in files.iter_mut().enumerate() {
            let mut durable = std::mem::take(&mut file.durable);
            let mut stale = BTreeSet::new();
            let last = last_write.filter(|(last, _)| *last == number);
            let shared = last.and_then(|(_, change)| file.pending[change].first_sector());
            for (index, change) in file.pending.drain(..).enumerate() {
                let is_last = *last_write == Some((number, index));
                match crash {
                    Crash::LoseAll => {}
                    Crash::KeepAll { torn_bytes } | Crash::KeepLast { torn_bytes } if is_last => {
                        change.torn(torn_bytes).apply(&mut durable);
                    }
                    Crash::KeepAll { .. } => change.apply(&mut durable),
                    Crash::KeepLast { torn_bytes } => {
                        let kept = shared.as_ref().filter(|_| torn_bytes > 0);
                        kept.and_then(|sector| change.within(sector))
                            .iter()
                            .for_each(|c| c.apply(&mut durable));
                    }
                    Crash::Random => {
                        change
                            .scattered(random, &mut stale)
                            .iter()
                            .for_each(|c| c.apply(&mut durable));
                    }
                }
            }
            file.seen.clone_from(&durable);
            file.durable = durable;
        }
        let changes = std::mem::take(&mut world.pending_names);
        let mut names = world.durable_names.clone();
        for change in changes {
            let keeps = match crash {
                Crash::LoseAll => false,
                Crash::KeepAll { .. } | Crash::KeepLast { .. } => true,
                Crash::Random => world.random.coin(),
            };
            if keeps {
                change.apply(&mut names);
            }
        }
        world.durable_names.clone_from(&names);
        world.names = names;
        world.end_life();
    }

    /// The process ends, the machine goes on.
    pub fn kill(&self) {
        self.0.lock().end_life();
    }

    /// Changes a bit of a file, in memory and on the device.
    pub fn flip(&self, path: &Path, byte: u64, bit: u8) {
        let mut world = self.0.lock();
        let Some(number) = world.names.get(path).copied() else { return };
        let file = &mut world.files[number];
        let byte = usize::try_from(byte).unwrap_or(usize::MAX);
        for contents in [&mut file.seen, &mut file.durable] {
            if let Some(byte) = contents.get_mut(byte) {
                *byte ^= 1 << bit;
            }
        }
    }

    /// The bytes of a file as programs see them.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.0.lock();
        world.names.get(path).map(|number| world.files[*number].seen.clone())
    }

    /// Another disk in the same state, unsynced changes and all, which goes its own way from here.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().clone())))
    }
}

impl World {
    fn end_life(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.is_dead = false;
        self.last_write = None;
        self.faults.clear();
    }

    /// Counts an operation and says what goes wrong with it.
    fn begin(
        &mut self,
        action: Action,
        path: &Path,
        place: (u64, u64),
    ) -> Result<Option<Fault>, StorageError> {
        if self.is_dead {
            return Err(refused(action, path, Fault::PowerLoss));
        }
        let (position, bytes) = place;
        self.trace.push(Traced { action, path: path.to_path_buf(), position, bytes });
        let fault = self.faults.remove(&self.operations);
        self.operations += 1;
        self.is_dead = fault == Some(Fault::PowerLoss);
        self.last_write = None;
        Ok(fault)
    }

    /// Changes a name. When the power goes meanwhile, the change is one of those that may last.
    fn change_name(
        &mut self,
        action: Action,
        path: &Path,
        change: NameChange,
    ) -> Result<(), StorageError> {
        let fault = self.begin(action, path, (0, 0))?;
        if matches!(fault, None | Some(Fault::PowerLoss)) {
            change.apply(&mut self.names);
            self.pending_names.push(change);
        }
        fault.map_or(Ok(()), |fault| Err(refused(action, path, fault)))
    }
}

fn refused(action: Action, path: &Path, fault: Fault) -> StorageError {
    let errno = if fault == Fault::Full { 28 } else { 5 };
    StorageError::new(action, path, None, &io::Error::from_raw_os_error(errno))
}

fn missing(action: Action, path: &Path) -> StorageError {
    StorageError::new(action, path, None, &io::ErrorKind::NotFound.into())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &Arc<dyn DiskFile>, bytes: &[u8], position: u64) -> Result<(), StorageError> {
        file.write_at(&mut [IoSlice::new(bytes)], position)
    }

    #[test]
    fn only_what_is_synced_by_content_and_by_name_survives() {
        let disk = SimDisk::new(1);
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        let file = disk.open(a, Access::Create).unwrap();
        write(&file, b"synced", 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        write(&file, b"lost", 6).unwrap();
        let other = disk.open(b, Access::Create).unwrap();
        write(&other, b"nameless", 0).unwrap();
        other.sync_data().unwrap();
        disk.crash(Crash::LoseAll);
        assert_eq!(disk.contents(a).unwrap(), b"synced");
        assert_eq!(disk.contents(b), None);
        assert!(file.len().is_err(), "a handle of an earlier life");
    }

    #[test]
    fn a_failed_sync_lies_afterwards() {
        let disk = SimDisk::new(1);
        let file = disk.open(Path::new("/a"), Access::Create).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        write(&file, b"data", 0).unwrap();
        disk.fail_at(disk.operations(), Fault::Broken);
        assert!(file.sync_data().is_err());
        assert_eq!(disk.contents(Path::new("/a")).unwrap(), b"data");
        file.sync_data().unwrap();
        file.forget_cached();
        assert_eq!(disk.contents(Path::new("/a")).unwrap(), [0; 4]);
    }

    #[test]
    fn a_torn_write_keeps_its_first_bytes() {
        let disk = SimDisk::new(1);
        let file = disk.open(Path::new("/a"), Access::Create).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.fail_at(disk.operations(), Fault::PowerLoss);
        assert!(write(&file, &[7; 1000], 0).is_err());
        assert!(disk.is_dead() && disk.last_write_bytes() == 1000);
        disk.crash(Crash::KeepAll { torn_bytes: 512 });
        assert_eq!(disk.contents(Path::new("/a")).unwrap(), [7; 512]);
    }

    #[test]
    fn a_sector_is_as_it_was_at_one_moment() {
        for seed in 0..100 {
            let disk = SimDisk::new(seed);
            let file = disk.open(Path::new("/a"), Access::Create).unwrap();
            file.sync_data().unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            for part in 0..4 {
                write(&file, &[7; 100], part * 100).unwrap();
            }
            disk.crash(Crash::Random);
            let found = disk.contents(Path::new("/a")).unwrap();
            assert_eq!(found.len() % 100, 0);
            assert!(found.iter().all(|byte| *byte == 7), "seed {seed}: a hole inside a sector");
        }
    }

    #[test]
    fn a_full_disk_has_room_again_when_told() {
        let disk = SimDisk::new(1);
        let file = disk.open(Path::new("/a"), Access::Create).unwrap();
        disk.set_room(Some(10));
        assert!(write(&file, &[1; 11], 0).unwrap_err().is_full());
        disk.set_room(None);
        write(&file, &[1; 11], 0).unwrap();
    }
}
