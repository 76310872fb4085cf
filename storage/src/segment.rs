//! One append-only file of batches with its index: the facts of a closed one, and the writing of the active one. How
//! readers come to it is in `handles.rs`.
//!
//! The file holds batches one behind the other and nothing else, so Kafka's own tools read it. When to roll and what
//! a failure means for the log is decided in `log.rs`.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use protocol::batch::Batch;
use protocol::id::{Offset, Timestamp};

use crate::checkpoint::{self, Loaded};
use crate::disk::{Access, Disk, DiskFile};
use crate::epochs::Epochs;
use crate::error::StorageError;
use crate::format::{Kind, index_name, log_name};
use crate::index::{Index, NO_TIME, Place};
use crate::options::Options;
use crate::walk::{Bound, Step, Walker};

/// Bytes that are read at a time where a whole segment is walked.
pub(crate) const SCAN_CHUNK_BYTES: usize = 1 << 20;

/// What is known of a closed segment without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    pub(crate) bytes: u64,
    /// Largest timestamp of its records.
    pub(crate) time_max: Timestamp,
    /// The broker's time of the last append to it.
    pub(crate) last_append: Timestamp,
}

/// A segment as writer and readers share it.
#[derive(Debug)]
pub(crate) struct Segment {
    folder: Arc<Path>,
    pub(crate) base: Offset,
    /// The index while the segment is written to, and until it is saved. Guards nothing else; held for one search,
    /// for the notes of one write, or for a copy.
    live: RwLock<Option<Index>>,
    /// Set by readers that could not use the index file.
    index_damaged: AtomicBool,
}

impl Segment {
    pub(crate) fn new(folder: Arc<Path>, base: Offset) -> Self {
        Self { folder, base, live: RwLock::new(None), index_damaged: AtomicBool::new(false) }
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.join(log_name(self.base))
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.folder.join(index_name(self.base))
    }

    pub(crate) fn is_index_damaged(&self) -> bool {
        self.index_damaged.load(Ordering::Relaxed)
    }

    pub(crate) fn set_index_damaged(&self, damaged: bool) {
        self.index_damaged.store(damaged, Ordering::Relaxed);
    }

    /// Asks the index in memory, while there is one.
    pub(crate) fn search_live(&self, search: impl Fn(&Index) -> Place) -> Option<Place> {
        self.live.read().as_ref().map(search)
    }

    /// The index in memory, while there is one.
    pub(crate) fn live_index(&self) -> Option<Index> {
        self.live.read().clone()
    }

    /// Gives the index in memory back; from here on readers use the file.
    pub(crate) fn drop_live_index(&self) {
        *self.live.write() = None;
    }

    /// The index as its file has it, if that is whole.
    pub(crate) fn load_index(&self, disk: &dyn Disk) -> Result<Option<Index>, StorageError> {
        match checkpoint::load(disk, &self.index_path(), Kind::Index)? {
            Loaded::Whole(body) => Ok(Index::decode(self.base, &body).ok()),
            Loaded::Missing | Loaded::Damaged(_) => Ok(None),
        }
    }

    /// Replaces the index file.
    pub(crate) fn save_index(&self, disk: &dyn Disk, index: &Index) -> Result<(), StorageError> {
        checkpoint::save(disk, &self.index_path(), Kind::Index, &index.encode())?;
        self.set_index_damaged(false);
        Ok(())
    }

    /// Makes the index anew from the batches. Damaged stretches have no entries.
    pub(crate) fn rebuild_index(
        &self,
        file: &dyn DiskFile,
        epochs: &Epochs,
        bound: Bound,
        interval: u32,
    ) -> Result<Index, StorageError> {
        let mut index = Index::new(self.base, interval);
        let mut time_max = NO_TIME;
        let from = Place { offset: self.base, position: 0 };
        let mut walker = Walker::new(file, Some(epochs), from, bound, SCAN_CHUNK_BYTES)?;
        loop {
            match walker.step()? {
                Step::Batch { position, batch } => {
                    let header = batch.header();
                    let place = Place { offset: header.base_offset, position };
                    index.note(place, header.total_bytes as u64, time_max);
                    time_max = time_max.max(header.max_timestamp);
                }
                Step::Damage(_) => {}
                Step::End => return Ok(index),
            }
        }
    }
}

/// A closed segment.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) segment: Arc<Segment>,
    pub(crate) summary: Summary,
}

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    /// `None` while the log is parked.
    file: Option<Arc<dyn DiskFile>>,
    pub(crate) bytes: u64,
    pub(crate) end: Offset,
    pub(crate) time_max: Timestamp,
    /// The broker's time of the first append to it.
    pub(crate) first_append: Timestamp,
}

impl Active {
    /// The active segment as it was found; its index is in its file.
    pub(crate) fn parked(segment: Arc<Segment>, summary: Summary, first_append: Timestamp) -> Self {
        let Summary { base: _, end, bytes, time_max, last_append: _ } = summary;
        Self { segment, file: None, bytes, end, time_max, first_append }
    }

    /// The active segment with its index in memory.
    pub(crate) fn awake(
        segment: Arc<Segment>,
        file: Arc<dyn DiskFile>,
        index: Index,
        summary: Summary,
        first_append: Timestamp,
    ) -> Self {
        *segment.live.write() = Some(index);
        Self { file: Some(file), ..Self::parked(segment, summary, first_append) }
    }

    /// Makes a new, empty segment file. Its name is durable with [`Disk::sync_dir`].
    ///
    /// # After an error
    /// An empty file may be left; the next call empties it again.
    pub(crate) fn create(
        disk: &dyn Disk,
        folder: Arc<Path>,
        base: Offset,
        options: &Options,
        now: Timestamp,
    ) -> Result<Self, StorageError> {
        let segment = Arc::new(Segment::new(folder, base));
        let file = disk.open(&segment.log_path(), Access::Create)?;
        let index = Index::new(base, options.index_interval_bytes);
        let summary = Summary { base, end: base, bytes: 0, time_max: NO_TIME, last_append: now };
        Ok(Self::awake(segment, file, index, summary, now))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.file.is_none()
    }

    pub(crate) fn summary(&self, last_append: Timestamp) -> Summary {
        Summary {
            base: self.segment.base,
            end: self.end,
            bytes: self.bytes,
            time_max: self.time_max,
            last_append,
        }
    }

    /// Opens the file and takes the index into memory, rebuilding it where its file is of no use.
    ///
    /// # After an error
    /// Nothing has changed.
    pub(crate) fn wake(
        &mut self,
        disk: &dyn Disk,
        epochs: &Epochs,
        options: &Options,
    ) -> Result<Arc<dyn DiskFile>, StorageError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = disk.open(&self.segment.log_path(), Access::Write)?;
        let loaded = if self.is_empty() {
            Some(Index::new(self.segment.base, options.index_interval_bytes))
        } else {
            self.segment.load_index(disk)?.filter(|index| index.covered() == self.bytes)
        };
        let index = match loaded {
            Some(index) => index,
            None => {
                let bound = Bound { bytes: self.bytes, end: Some(self.end) };
                let interval = options.index_interval_bytes;
                self.segment.rebuild_index(&*file, epochs, bound, interval)?
            }
        };
        *self.segment.live.write() = Some(index);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Gives back the handle and the index, which must have been saved.
    pub(crate) fn park(&mut self) {
        self.segment.drop_live_index();
        self.file = None;
    }

    /// Writes batches at the end, in one gathered write.
    ///
    /// # After an error
    /// Nothing is known about the bytes of the file from [`Self::bytes`] on; everything else stands.
    pub(crate) fn append<'a>(
        &mut self,
        file: &dyn DiskFile,
        batches: impl Iterator<Item = &'a Batch> + Clone,
    ) -> Result<(), StorageError> {
        let mut slices: Vec<_> = batches.clone().map(|batch| IoSlice::new(batch.bytes())).collect();
        file.write_at(&mut slices, self.bytes)?;
        let mut live = self.segment.live.write();
        for batch in batches {
            let header = batch.header();
            let place = Place { offset: header.base_offset, position: self.bytes };
            if let Some(index) = live.as_mut() {
                index.note(place, header.total_bytes as u64, self.time_max);
            }
            self.bytes += header.total_bytes as u64;
            self.end = header.end_offset();
            self.time_max = self.time_max.max(header.max_timestamp);
        }
        Ok(())
    }
}
