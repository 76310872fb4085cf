//! What can go wrong, and what of it is left, in words that tests use.

use std::path::PathBuf;

use crate::error::Action;

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
