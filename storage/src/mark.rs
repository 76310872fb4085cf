//! How far a log was last synced, written down after syncs and not synced itself.
//!
//! The checkpoint moves up now and then; this follows closely, so that after the death of a process recovery knows what
//! was claimed to be synced and never takes damage in it for an unfinished write. After a loss of power it is as old as
//! what the system had written back, or gone, or torn: it never says more than is true, for it is written after the
//! sync. An aid: whatever goes wrong with it, nothing else does.

use std::path::Path;
use std::sync::Arc;

use bytes::BufMut;
use protocol::id::Offset;

use crate::checkpoint::{self, Loaded};
use crate::disk::{Access, Disk, DiskFile};
use crate::format::{Fields, Kind, SYNCED, SYNCED_FILE};

/// What is synced: all segments in front of one, and of that one some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) base: Offset,
    pub(crate) bytes: u64,
    /// The offset that follows them.
    pub(crate) end: Offset,
}

impl Mark {
    /// The last one that is whole, if there is one.
    pub(crate) fn load(disk: &dyn Disk, folder: &Path) -> Option<Self> {
        match checkpoint::load(disk, &folder.join(SYNCED_FILE), Kind::Synced) {
            Ok(Loaded::Whole(body)) => Self::decode(&body),
            // That of a newer release is no more use than a damaged one.
            Ok(Loaded::Missing | Loaded::Damaged(_)) | Err(_) => None,
        }
    }

    fn encode(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(SYNCED.bytes());
        body.put_i64(self.base.get());
        body.put_u64(self.bytes);
        body.put_i64(self.end.get());
        body
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let (base, bytes, end) = (fields.offset()?, fields.u64()?, fields.offset()?);
        (fields.0.is_empty() && end >= base).then_some(Self { base, bytes, end })
    }
}

/// Writes marks of one log.
#[derive(Debug, Default)]
pub(crate) struct Marker {
    file: Option<Arc<dyn DiskFile>>,
}

impl Marker {
    /// Writes down what was synced just now.
    pub(crate) fn write(&mut self, disk: &dyn Disk, folder: &Path, mark: Mark) {
        if self.file.is_none() {
            let path = folder.join(SYNCED_FILE);
            // What an earlier life has written stays until it is written over.
            self.file = match disk.open(&path, Access::Write) {
                Err(error) if error.is_missing() => disk.open(&path, Access::Create).ok(),
                opened => opened.ok(),
            };
        }
        if let Some(file) = &self.file {
            let _an_aid = checkpoint::overwrite(&**file, Kind::Synced, &mark.encode());
        }
    }

    /// Gives back the handle.
    pub(crate) fn park(&mut self) {
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn the_last_mark_is_found_and_damage_is_none() {
        let (disk, folder) = (SimDisk::new(1), Path::new("/"));
        let mark = |end| Mark { base: Offset::ZERO, bytes: 7, end: Offset::ZERO.plus(end) };
        assert_eq!(Mark::load(&disk, folder), None);
        let mut marker = Marker::default();
        marker.write(&disk, folder, mark(1));
        marker.park();
        marker.write(&disk, folder, mark(2));
        assert_eq!(Mark::load(&disk, folder), Some(mark(2)));
        for bit in 0..44 * 8 {
            disk.flip(Path::new("/synced"), bit / 8, (bit % 8) as u8);
            assert_eq!(Mark::load(&disk, folder), None, "bit {bit}");
            disk.flip(Path::new("/synced"), bit / 8, (bit % 8) as u8);
        }
    }
}
