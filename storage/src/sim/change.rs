//! What was done to names and to the contents of files since their last sync, and what of it reaches the device.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::walk::SECTOR_BYTES;

pub(super) type Names = BTreeMap<PathBuf, usize>;

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Set { path: PathBuf, file: usize },
    Rename { from: PathBuf, to: PathBuf, file: usize },
    Remove { path: PathBuf },
}

impl NameChange {
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Set { path, .. } | Self::Remove { path } | Self::Rename { to: path, .. } => {
                path.parent()
            }
        }
    }

    pub(super) fn apply(&self, names: &mut Names) {
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
pub(super) struct Contents {
    /// What programs see.
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Changes since the last sync, in order.
    pub(super) pending: Vec<Change>,
}

/// [`SECTOR_BYTES`] as an index.
pub(super) const SECTOR: usize = SECTOR_BYTES as usize;

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        position: usize,
        bytes: Vec<u8>,
    },
    Resize(usize),
    /// A write that a failed sync has lost: the file grew, the bytes are not there.
    Grow(usize),
}

impl Change {
    pub(super) fn apply(&self, contents: &mut Vec<u8>) {
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
    pub(super) fn torn(&self, torn_bytes: u64) -> Self {
        match self {
            Self::Write { position, bytes } => {
                let kept = usize::try_from(torn_bytes).unwrap_or(usize::MAX).min(bytes.len());
                Self::Write { position: *position, bytes: bytes[..kept].to_vec() }
            }
            other => other.clone(),
        }
    }

    /// The sector in which a write begins.
    pub(super) fn first_sector(&self) -> Option<Range<usize>> {
        let Self::Write { position, .. } = self else { return None };
        let start = position / SECTOR * SECTOR;
        Some(start..start + SECTOR)
    }

    /// What a write puts into a sector.
    pub(super) fn within(&self, sector: &Range<usize>) -> Option<Self> {
        let Self::Write { position, bytes } = self else { return None };
        let start = sector.start.clamp(*position, position + bytes.len());
        let end = sector.end.clamp(start, position + bytes.len());
        let bytes = bytes[start - position..end - position].to_vec();
        (start < end).then_some(Self::Write { position: start, bytes })
    }

    /// Any of the sectors of a write, but none of those in `stale`, which did not reach the disk any more; joined by
    /// those that do not from here on.
    pub(super) fn scattered(&self, random: &mut Random, stale: &mut BTreeSet<usize>) -> Vec<Self> {
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
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
