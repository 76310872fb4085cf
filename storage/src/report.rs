//! What opening a log came upon: for the broker's own log, for tests, and for people.

use std::fmt;
use std::path::PathBuf;

use protocol::id::Offset;

use crate::error::{Damage, FileDamage, StorageError};

/// One thing that opening a log came upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// An unfinished write was cut off. Nothing acknowledged as synced was in it.
    Cut {
        /// The segment.
        file: PathBuf,
        /// Where it ends now, in bytes.
        position: u64,
        /// Bytes that were cut off.
        bytes: u64,
        /// What was wrong with them.
        cause: Damage,
    },
    /// A segment was removed: the one in front of it had lost writes that were never synced, so nothing acknowledged
    /// as synced was in it.
    Dropped {
        /// The segment.
        file: PathBuf,
        /// Bytes that it had.
        bytes: u64,
    },
    /// Stored bytes are damaged. They stay, and readers are told.
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the damage begins, in bytes.
        position: u64,
        /// The offset that should lie there.
        offset: Offset,
        /// What is wrong.
        cause: Damage,
        /// The offset of the next sound batch in the segment.
        resume_at: Option<Offset>,
    },
    /// A closed segment, or the synced part of the active one, is shorter than it was.
    Shortened {
        /// The segment.
        file: PathBuf,
        /// Bytes that it had.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A segment between others is gone.
    SegmentMissing {
        /// Its file.
        file: PathBuf,
    },
    /// The checkpoint was missing or damaged: all segments were scanned, and a start inside a segment is forgotten.
    CheckpointRebuilt {
        /// The checkpoint.
        file: PathBuf,
        /// What was wrong; `None` when it was missing.
        damage: Option<FileDamage>,
    },
    /// An index was missing or of no use and was made anew.
    IndexRebuilt {
        /// The index.
        file: PathBuf,
    },
    /// An index could not be made anew now; readers of its segment are slower until [`crate::Log::repair`].
    IndexMissing {
        /// The index.
        file: PathBuf,
        /// Why not.
        cause: StorageError,
    },
    /// A file that a crash or a removal had left over was removed.
    Leftover {
        /// The file.
        file: PathBuf,
    },
    /// A file that is none of ours was left alone.
    Stranger {
        /// The file.
        file: PathBuf,
    },
}

impl Note {
    /// True when records that may have been acknowledged cannot be read.
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Shortened { .. } | Self::SegmentMissing { .. })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { file, position, bytes, cause } => write!(
                f,
                "{}: cut {bytes} bytes of an unfinished write at byte {position}: {cause}",
                file.display()
            ),
            Self::Dropped { file, bytes } => write!(
                f,
                "{}: removed with {bytes} bytes that were never synced: writes in front of it are lost",
                file.display()
            ),
            Self::Damaged { file, position, offset, cause, resume_at } => {
                write!(
                    f,
                    "{}: damaged at byte {position}, offset {offset}: {cause}",
                    file.display()
                )?;
                match resume_at {
                    Some(resume_at) => write!(f, "; records from offset {resume_at} on are kept"),
                    None => f.write_str("; nothing follows in this file"),
                }
            }
            Self::Shortened { file, expected, found } => {
                write!(f, "{}: has {found} bytes where {expected} were synced", file.display())
            }
            Self::SegmentMissing { file } => {
                write!(f, "{}: the segment is gone; restore it from a backup", file.display())
            }
            Self::CheckpointRebuilt { file, damage: None } => {
                write!(f, "{}: missing; made anew from the segments", file.display())
            }
            Self::CheckpointRebuilt { file, damage: Some(damage) } => {
                write!(f, "{}: {damage}; made anew from the segments", file.display())
            }
            Self::IndexRebuilt { file } => write!(f, "{}: made anew", file.display()),
            Self::IndexMissing { file, cause } => {
                write!(f, "{}: not made anew yet: {cause}", file.display())
            }
            Self::Leftover { file } => write!(f, "{}: left over; removed", file.display()),
            Self::Stranger { file } => {
                write!(f, "{}: not a file of ours; left alone", file.display())
            }
        }
    }
}

/// What opening a log came upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The first offset.
    pub start: Offset,
    /// Where the next batch goes.
    pub end: Offset,
    /// Bytes that were scanned; 0 after a clean close.
    pub scanned_bytes: u64,
    /// In the order in which they were come upon. Empty after a clean close.
    pub notes: Vec<Note>,
}
