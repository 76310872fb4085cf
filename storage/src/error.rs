//! What the disk did to us, and what a log refuses: causes with fields, never sentences.
//!
//! Each error names the file, the place, what was expected and what was found, and answers two questions: may the
//! same call be made again, and may it have taken effect. It does not decide what becomes of a log: that is
//! `log.rs`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use protocol::batch::BatchError;
use protocol::id::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

/// What was being done to a file when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Opening a file that should be there.
    Open,
    /// Making a file or folder.
    Create,
    /// Listing a folder.
    List,
    /// Reading bytes.
    Read,
    /// Writing bytes.
    Write,
    /// Making what was written durable.
    Sync,
    /// Setting the length of a file.
    Resize,
    /// Asking for the length of a file.
    Measure,
    /// Giving a file another name.
    Rename,
    /// Removing a file or folder.
    Remove,
    /// Locking a folder against other processes.
    Lock,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "opening",
            Self::Create => "creating",
            Self::List => "listing",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Sync => "syncing",
            Self::Resize => "resizing",
            Self::Measure => "measuring",
            Self::Rename => "renaming",
            Self::Remove => "removing",
            Self::Lock => "locking",
        })
    }
}

/// What the operating system said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Its kind: everything that a program decides, it decides by this.
    pub kind: io::ErrorKind,
    /// Its number, where there is one.
    pub errno: Option<i32>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            Some(errno) => fmt::Display::fmt(&io::Error::from_raw_os_error(errno), f),
            None => fmt::Display::fmt(&self.kind, f),
        }
    }
}

/// Why one of our own small files (checkpoint, index, folder mark) is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileDamage {
    /// Its length is not the one that it announces, or beyond anything that is ever written.
    #[error("{expected} bytes were expected and {found} found")]
    Length {
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// It begins with other bytes than files of its kind do.
    #[error("it does not begin as a file of its kind")]
    Magic,
    /// Its checksum does not match.
    #[error("its checksum is {found:#010x} where its bytes give {expected:#010x}")]
    Checksum {
        /// What the bytes give.
        expected: u32,
        /// What the file says.
        found: u32,
    },
    /// A field contradicts the layout or the file's name, though the checksum matches.
    #[error("its field {field} is not valid")]
    Field {
        /// The name of the field, as in `docs/format.md`.
        field: &'static str,
    },
}

/// What went wrong between a log and its disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// There is no room: on the file system, in the quota, or under the limit for one file. Nothing is lost; the
    /// same call may succeed when there is room again.
    #[error("{action} {} failed for want of room: {cause}", place(file, *position))]
    Full {
        /// What was being done.
        action: Action,
        /// To which file.
        file: PathBuf,
        /// Where in the file, in bytes from its start.
        position: Option<u64>,
        /// What the system said.
        cause: Cause,
    },
    /// Anything else that the operating system refused.
    #[error("{action} {} failed: {cause}", place(file, *position))]
    Disk {
        /// What was being done.
        action: Action,
        /// To which file.
        file: PathBuf,
        /// Where in the file, in bytes from its start.
        position: Option<u64>,
        /// What the system said.
        cause: Cause,
    },
    /// A file that cannot be rebuilt from others is damaged.
    #[error("{} is damaged: {damage}; restore it from a backup: the files beside it were not touched", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        damage: FileDamage,
    },
    /// A newer release wrote this. Nothing was changed.
    #[error("{} has format version {found}; this release knows versions up to {known}: use the newer release", file.display())]
    Newer {
        /// The file that says so.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that is known here.
        known: u32,
    },
    /// Another process uses the folder. Nothing was changed.
    #[error("{} is locked: another process uses this data folder; stop it or use another folder", file.display())]
    Locked {
        /// The lock file.
        file: PathBuf,
    },
}

fn place(file: &Path, position: Option<u64>) -> String {
    match position {
        Some(position) => format!("{} at byte {position}", file.display()),
        None => file.display().to_string(),
    }
}

impl StorageError {
    /// What the operating system refused, with its place.
    pub fn new(action: Action, file: &Path, position: Option<u64>, error: &io::Error) -> Self {
        let file = file.to_path_buf();
        let cause = Cause { kind: error.kind(), errno: error.raw_os_error() };
        match cause.kind {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full { action, file, position, cause },
            _ => Self::Disk { action, file, position, cause },
        }
    }

    /// True when there was no room: the one failure that passes by itself.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// True when the file or folder does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Disk { cause: Cause { kind: io::ErrorKind::NotFound, .. }, .. })
    }

    /// True when what was on disk stands as it stood: there was no room, or the file could not even be opened.
    pub(crate) fn is_harmless(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Disk { action, .. } => matches!(action, Action::Open | Action::Create),
            Self::Damaged { .. } | Self::Newer { .. } | Self::Locked { .. } => false,
        }
    }

    /// May the same call be made again with hope?
    pub fn may_retry(&self) -> bool {
        self.is_full()
    }

    /// May what was asked for have reached the disk all the same?
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Disk { .. })
    }
}

/// Why a batch was not taken into the line for the next write. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// The batch does not follow the last one of its producer: one in between is missing, or this one is too old to
    /// be known as a repeat.
    #[error("producer {producer} sent sequence {found} where {expected} follows")]
    OutOfOrderSequence {
        /// The producer.
        producer: ProducerId,
        /// The sequence that follows its last batch.
        expected: Sequence,
        /// The sequence of this batch.
        found: Sequence,
    },
    /// A later life of the producer has written to this log.
    #[error("producer {producer} has epoch {} where {} is in force", found.0, current.0)]
    Fenced {
        /// The producer.
        producer: ProducerId,
        /// The epoch in force.
        current: ProducerEpoch,
        /// The epoch of this batch.
        found: ProducerEpoch,
    },
    /// The log has no offsets left.
    #[error("the log ends at offset {end}, and the batch would pass 2^63 - 1: create a new topic")]
    OffsetsExhausted {
        /// The end of the log.
        end: Offset,
    },
    /// The log has failed and takes no more writes until it is opened anew.
    #[error("the log takes no more writes until it is opened anew: {0}")]
    Failed(StorageError),
}

/// Why stored bytes are not the batch that should be there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// They are no batch, or its checksum does not match.
    #[error(transparent)]
    Batch(BatchError),
    /// A batch with another offset lies there.
    #[error("a batch of offset {found} lies where {expected} should be")]
    Place {
        /// The offset that follows the batch before.
        expected: Offset,
        /// The offset that the batch says.
        found: Offset,
    },
    /// The batch carries another leader epoch than the log has had at that offset.
    #[error("the batch carries leader epoch {} where {} was in force", found.0, expected.0)]
    Epoch {
        /// The epoch at that offset.
        expected: LeaderEpoch,
        /// The epoch that the batch says.
        found: LeaderEpoch,
    },
    /// The file ends although the log goes on.
    #[error("the file ends before offset {end}")]
    Missing {
        /// The offset up to which the file should hold batches.
        end: Offset,
    },
}

/// Why a read has no batches to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The offset lies before the start or behind the end.
    #[error("offset {offset} is outside {start}..{end}")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The first offset that is there.
        start: Offset,
        /// The end of what readers may see.
        end: Offset,
    },
    /// Stored bytes are damaged. They are not served, and not skipped unless the reader says so.
    #[error("{} is damaged at byte {position}, offset {offset}: {cause}; reading goes on at offset {resume_at}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in the file, in bytes from its start.
        position: u64,
        /// The offset that should lie there.
        offset: Offset,
        /// What is wrong.
        cause: Damage,
        /// The first offset behind the damage that can be read; the end of the view when there is none.
        resume_at: Offset,
    },
    /// The disk refused to read.
    #[error(transparent)]
    Disk(#[from] StorageError),
}
