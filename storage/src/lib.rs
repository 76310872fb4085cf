//! The storage engine of Thalweg. Its promise: **bytes appended and synced are there after a crash, in order, or we
//! say exactly where they are not.**
//!
//! Plain synchronous Rust: no async, no threads, no clock, no randomness. Time is an argument, files have one door
//! ([`Disk`]), and the same calls on the same disk give the same bytes. A [`Log`] is the one writer of one partition;
//! readers hold [`View`]s. `docs/format.md` shows every byte on disk and what recovery decides.
//!
//! What holds, whatever the disk does:
//! - nothing is called synced that a sync has not covered, and no failed sync is ever repeated;
//! - what was called synced is never cut off; where its bytes have changed, readers are told the place and where
//!   they can go on;
//! - an offset is never given to two records;
//! - damaged bytes are not served, and the sound ones around them are;
//! - a full disk refuses appends and nothing else, and appends go on when there is room.
//!
//! ```
//! use std::sync::Arc;
//! use protocol::{batch::Builder, compression::Compression, id::{LeaderEpoch, Timestamp}, record::Record};
//! use thalweg_storage::{Log, Opening, Options, RealDisk};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path();
//! let now = Timestamp(1_700_000_000_000);
//! let opening = Opening { leader_epoch: LeaderEpoch(1), now, ..Opening::default() };
//! let (mut log, _) = Log::open(Arc::new(RealDisk::new()), folder, Options::default(), opening)?;
//! let mut builder = Builder::new(Compression::None);
//! builder.push(&Record::new("key", "value"), now);
//! let staged = log.stage(builder.finish(None), now).unwrap();
//! log.write(now)?;
//! log.sync()?;
//! assert!(log.synced_end() >= staged.end, "now it may be acknowledged");
//! let view = log.expose(log.synced_end());
//! assert_eq!(view.read(staged.base_offset, 1024).unwrap().batches.len(), 1);
//! log.close()?;
//! # Ok::<(), thalweg_storage::StorageError>(())
//! ```

mod checkpoint;
mod chore;
mod decisions;
mod disk;
mod epochs;
mod error;
mod folder;
mod format;
mod handles;
mod index;
mod log;
mod mark;
mod options;
mod producers;
mod recover;
mod report;
mod retention;
mod scan;
mod segment;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod state;
mod tail;
mod view;
mod walk;

pub use chore::Chore;
pub use decisions::render_decisions;
pub use disk::{Access, Disk, DiskFile, Entry, Lock, RealDisk};
pub use error::{Action, Cause, Damage, FileDamage, ReadError, StageError, StorageError};
pub use folder::{ClusterId, DataFolder};
pub use format::render_tables;
pub use handles::ReadFiles;
pub use log::{Log, Staged, Trimmed};
pub use options::{Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use recover::Opening;
pub use report::{Note, Recovered};
pub use scan::{DamagedBytes, Found, SegmentScan};
pub use view::{Read, TimeFound, View};
