//! The few open files through which readers see the segments of a log, and the bound on those of all logs together.
//!
//! A handle is an aid: without room to keep one a reader opens the file for itself, which takes longer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use protocol::id::Offset;

use crate::disk::{Access, Disk, DiskFile};
use crate::error::StorageError;
use crate::index::{Index, Place};
use crate::segment::Segment;

/// Most files that all logs together keep open for readers. Cloning gives another handle to the same count; the default
/// has no bound.
#[derive(Clone, Debug)]
pub struct ReadFiles(Arc<Count>);

#[derive(Debug)]
struct Count {
    files_max: usize,
    open: AtomicUsize,
}

impl ReadFiles {
    /// At most so many; 0 keeps none, and each reader opens what it needs.
    pub fn new(files_max: usize) -> Self {
        Self(Arc::new(Count { files_max, open: AtomicUsize::new(0) }))
    }

    /// Files that are kept open now.
    pub fn open_count(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Room for one more.
    fn room(&self) -> Option<Room> {
        let Count { files_max, open } = &*self.0;
        let one_more = |count| (count < *files_max).then_some(count + 1);
        open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Room(self.clone()))
    }
}

impl Default for ReadFiles {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

/// Room for one open file, given back when dropped.
#[derive(Debug)]
struct Room(ReadFiles);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Most segments of one log that are open for readers at a time.
const HANDLES_MAX: usize = 4;

/// A segment that is open for readers.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: Arc<dyn DiskFile>,
    /// Loaded at the first search; `None` inside when its file is of no use.
    index: OnceLock<Option<Index>>,
    /// For as long as the file is open; `None` when it is open for one reader only.
    _room: Option<Room>,
}

impl Opened {
    /// Asks the index of the segment for a place to walk from: the live one, the one in the file, or else the
    /// beginning.
    pub(crate) fn search(
        &self,
        disk: &dyn Disk,
        segment: &Segment,
        search: impl Fn(&Index) -> Place,
    ) -> Place {
        if let Some(place) = segment.search_live(&search) {
            return place;
        }
        // An index is an aid: if it cannot be read, for whatever reason, the walk is longer.
        let index = self.index.get_or_init(|| segment.load_index(disk).ok().flatten());
        match index {
            Some(index) => search(index),
            None => {
                segment.set_index_damaged(true);
                Place { offset: segment.base, position: 0 }
            }
        }
    }
}

/// The segments of one log that are open for readers, the latest used last.
#[derive(Debug)]
pub(crate) struct Handles {
    disk: Arc<dyn Disk>,
    files: ReadFiles,
    /// Guards the list; held for a look or a push, never while a file is opened or read.
    open: Mutex<VecDeque<(Offset, Arc<Opened>)>>,
}

impl Handles {
    pub(crate) fn new(disk: Arc<dyn Disk>, files: ReadFiles) -> Self {
        Self { disk, files, open: Mutex::new(VecDeque::new()) }
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// A handle for a segment, kept for the next reader where there is room to keep one.
    pub(crate) fn get(&self, segment: &Segment) -> Result<Arc<Opened>, StorageError> {
        {
            let mut open = self.open.lock();
            if let Some(found) = open.iter().position(|(base, _)| *base == segment.base)
                && let Some(entry) = open.remove(found)
            {
                let opened = Arc::clone(&entry.1);
                open.push_back(entry);
                return Ok(opened);
            }
        }
        let file = self.disk.open(&segment.log_path(), Access::Read)?;
        let room = self.files.room();
        let is_kept = room.is_some();
        let opened = Arc::new(Opened { file, index: OnceLock::new(), _room: room });
        if !is_kept {
            return Ok(opened);
        }
        let mut open = self.open.lock();
        open.push_back((segment.base, Arc::clone(&opened)));
        if open.len() > HANDLES_MAX {
            open.pop_front();
        }
        Ok(opened)
    }

    /// Closes the handle of a segment once its readers are done.
    pub(crate) fn forget(&self, base: Offset) {
        self.open.lock().retain(|(open, _)| *open != base);
    }

    /// Closes all handles once their readers are done.
    pub(crate) fn clear(&self) {
        *self.open.lock() = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sim::SimDisk;

    /// A log's handles, and some segments that they can open.
    fn handles(disk: &SimDisk, files: &ReadFiles) -> (Handles, Vec<Segment>) {
        let segments: Vec<_> = (0..6)
            .map(|base| Segment::new(Path::new("/").into(), Offset::ZERO.plus(base)))
            .collect();
        for segment in &segments {
            disk.open(&segment.log_path(), Access::Create).unwrap();
        }
        (Handles::new(Arc::new(disk.clone()), files.clone()), segments)
    }

    #[test]
    fn what_is_kept_open_is_bounded_over_all_logs() {
        let (disk, files) = (SimDisk::new(1), ReadFiles::new(5));
        let (one, segments) = handles(&disk, &files);
        let (other, _) = handles(&disk, &files);
        for segment in &segments {
            one.get(segment).unwrap();
        }
        assert_eq!(files.open_count(), HANDLES_MAX);
        for segment in &segments {
            other.get(segment).unwrap();
        }
        assert_eq!(files.open_count(), 5, "the other log finds room for one");
        let held = one.get(&segments[5]).unwrap();
        one.clear();
        assert_eq!(files.open_count(), 2, "what a reader still uses is still open");
        drop(held);
        assert_eq!(files.open_count(), 1);
        drop((one, other));
        assert_eq!(files.open_count(), 0);
    }

    #[test]
    fn the_same_segment_is_opened_once_while_there_is_room() {
        let (disk, files) = (SimDisk::new(1), ReadFiles::default());
        let (handles, segments) = handles(&disk, &files);
        let first = handles.get(&segments[0]).unwrap();
        assert!(Arc::ptr_eq(&first, &handles.get(&segments[0]).unwrap()));
        handles.forget(Offset::ZERO);
        assert!(!Arc::ptr_eq(&first, &handles.get(&segments[0]).unwrap()));
    }
}
