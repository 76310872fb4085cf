//! The state of the disk and of the process that uses it: what programs see, what the device has, what is to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::change::{Change, Contents, NameChange, Names, Random};
use super::fault::{Crash, Fault, Lie, Traced};
use crate::error::{Action, StorageError};

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) files: Vec<Contents>,
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) names: Names,
    pub(super) durable_names: Names,
    /// Changes of names since the last sync of their folder, in order.
    pub(super) pending_names: Vec<NameChange>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Counts crashes and kills: handles of an earlier life are of no use.
    pub(super) life: u64,
    pub(super) operations: u64,
    pub(super) faults: BTreeMap<u64, Fault>,
    pub(super) reads: u64,
    pub(super) read_faults: BTreeSet<u64>,
    pub(super) room: Option<u64>,
    pub(super) is_dead: bool,
    pub(super) last_write: Option<(usize, usize)>,
    pub(super) lies: Option<Lie>,
    pub(super) trace: Vec<Traced>,
}

impl World {
    /// An empty disk.
    pub(super) fn new(seed: u64) -> Self {
        Self {
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
        }
    }

    /// What is left after a loss of power becomes what is there.
    pub(super) fn crash(&mut self, crash: Crash) {
        self.crash_contents(crash);
        self.crash_names(crash);
        self.end_life();
    }

    fn crash_contents(&mut self, crash: Crash) {
        let World { random, files, last_write, .. } = self;
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
    }

    fn crash_names(&mut self, crash: Crash) {
        let changes = std::mem::take(&mut self.pending_names);
        let mut names = self.durable_names.clone();
        for change in changes {
            let keeps = match crash {
                Crash::LoseAll => false,
                Crash::KeepAll { .. } | Crash::KeepLast { .. } => true,
                Crash::Random => self.random.coin(),
            };
            if keeps {
                change.apply(&mut names);
            }
        }
        self.durable_names.clone_from(&names);
        self.names = names;
    }

    pub(super) fn end_life(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.is_dead = false;
        self.last_write = None;
        self.faults.clear();
    }

    /// Counts an operation and says what goes wrong with it.
    pub(super) fn begin(
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
    pub(super) fn change_name(
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

    /// Bytes of the last write, were it torn: 0 without one under way.
    pub(super) fn last_write_bytes(&self) -> u64 {
        let last = self.last_write.and_then(|(file, change)| self.files[file].pending.get(change));
        match last {
            Some(Change::Write { bytes, .. }) => bytes.len() as u64,
            Some(Change::Resize(_) | Change::Grow(_)) | None => 0,
        }
    }
}

pub(super) fn refused(action: Action, path: &Path, fault: Fault) -> StorageError {
    let errno = if fault == Fault::Full { 28 } else { 5 };
    StorageError::new(action, path, None, &io::Error::from_raw_os_error(errno))
}

pub(super) fn missing(action: Action, path: &Path) -> StorageError {
    StorageError::new(action, path, None, &io::ErrorKind::NotFound.into())
}
