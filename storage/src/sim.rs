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

mod access;
mod change;
mod fault;
#[cfg(test)]
mod tests;
mod world;

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

pub use self::fault::{Crash, Fault, Lie, Traced};

use self::world::World;

/// The simulated disk. Cloning gives another handle to the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<World>>);

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World::new(seed))))
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
        self.0.lock().last_write_bytes()
    }

    /// The power goes and comes back.
    pub fn crash(&self, crash: Crash) {
        self.0.lock().crash(crash);
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
