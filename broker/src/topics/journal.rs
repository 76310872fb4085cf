//! What is known about topics, durably: records in a log of its own, in the folder `catalog`.
//!
//! A change is appended and synced before anybody acts on it; reading all records in order gives the present. The
//! journal is the only witness of which topics exist, so it is never guessed at: damage in it refuses the start, with
//! the file and place, and no folder is ever deleted because the journal does not mention it.
//!
//! | key | value |
//! |---|---|
//! | `topic/NAME` | JSON `{"version":1,"id":UUID,"partitions":N,"settings":{NAME:VALUE}}`; null: deleted |
//! | `producer-ids` | JSON `{"version":1,"end":N}`: ids below N may have been given out |

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use protocol::batch::{self, Builder};
use protocol::compression::Compression;
use protocol::id::{ProducerId, Timestamp, TopicId, TopicName};
use protocol::record::Record;
use serde::{Deserialize, Serialize};
use storage::{Disk, Log, Opening, Options, ReadError, StageError, StorageError};

/// Layout of the values above.
const VERSION: u32 = 1;

const TOPIC_PREFIX: &str = "topic/";
const PRODUCER_IDS: &str = "producer-ids";

/// Read at once while opening.
const READ_BYTES: usize = 1024 * 1024;

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed.
    #[error("the catalogue of topics: {0}")]
    Storage(#[from] StorageError),
    /// A part of it is damaged.
    #[error(
        "the catalogue of topics is damaged: {0}. Nothing was changed. Restore the folder `catalog` from a backup, or look at it with `thalweg inspect`"
    )]
    Damaged(#[from] ReadError),
    /// A record is whole, but not one that this program writes.
    #[error(
        "the catalogue of topics holds a record with key {key:?} that cannot be understood: {cause}. It may have been written by a newer version: use that one"
    )]
    Record {
        /// The record's key.
        key: String,
        /// Why not.
        cause: String,
    },
    /// A change was not taken into the log.
    #[error("the catalogue of topics takes no changes: {0}")]
    Refused(#[from] StageError),
    /// Writing or syncing this change failed, such that it may be found at the next start or not.
    #[error(
        "the catalogue of topics: {cause}. Whether this change is in it shows at the next start; until then it takes no further change"
    )]
    Unknown {
        /// What went wrong.
        cause: String,
    },
    /// An earlier change ended so. This one was not begun.
    #[error(
        "the catalogue of topics takes no changes until the broker is started anew, since an earlier one failed: {cause}"
    )]
    Failed {
        /// What went wrong then.
        cause: String,
    },
}

impl JournalError {
    /// True when the change may be found at the next start.
    pub(crate) fn may_have_happened(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

/// A topic as the journal knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicRecord {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    pub(crate) partitions: u32,
    /// What was set on it; all else follows the broker's defaults.
    pub(crate) settings: BTreeMap<String, String>,
}

/// What the journal said when it was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) topics: BTreeMap<TopicName, TopicRecord>,
    /// Lives of topics that were deleted: their folders may be removed.
    pub(crate) deleted: Vec<(TopicName, TopicId)>,
    /// Ids below may have been given out.
    pub(crate) producer_ids_end: i64,
}

#[derive(Serialize, Deserialize)]
struct TopicValue {
    version: u32,
    id: String,
    partitions: u32,
    settings: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct ProducerIdsValue {
    version: u32,
    end: i64,
}

/// The journal, open for changes.
#[derive(Debug)]
pub(crate) struct Journal {
    log: Log,
    /// Why no change is taken any more: the first change whose outcome is unknown. Never taken back.
    failure: Option<String>,
}

impl Journal {
    /// Opens the journal and reads all of it.
    ///
    /// # Errors
    /// When it cannot be read whole, or holds what this version does not understand.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        opening: Opening,
    ) -> Result<(Self, Contents), JournalError> {
        let options = Options {
            retention_ms: None,
            retention_bytes: None,
            tail_bytes_max: 0,
            ..Options::default()
        };
        let (log, recovered) = Log::open(disk, folder, options, opening)?;
        for note in &recovered.notes {
            tracing::info!("catalogue of topics: {note}");
        }
        let contents = read_all(&log)?;
        Ok((Self { log, failure: None }, contents))
    }

    /// Makes the creation or change of a topic durable.
    ///
    /// # After an error
    /// As [`JournalError::may_have_happened`] says: the change may be found at the next start, or it never will be.
    pub(crate) fn put(&mut self, topic: &TopicRecord, now: Timestamp) -> Result<(), JournalError> {
        let value = TopicValue {
            version: VERSION,
            id: topic.id.to_string(),
            partitions: topic.partitions,
            settings: topic.settings.clone(),
        };
        self.append(&format!("{TOPIC_PREFIX}{}", topic.name), Some(to_json(&value)), now)
    }

    /// Makes the deletion of a topic durable.
    ///
    /// # After an error
    /// As with [`Self::put`].
    pub(crate) fn delete(&mut self, name: &TopicName, now: Timestamp) -> Result<(), JournalError> {
        self.append(&format!("{TOPIC_PREFIX}{name}"), None, now)
    }

    /// Makes it durable that ids below `end` may have been given out.
    ///
    /// # After an error
    /// No id at or above the former end may be given out.
    pub(crate) fn reserve_producer_ids(
        &mut self,
        end: ProducerId,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        let value = ProducerIdsValue { version: VERSION, end: end.0 };
        self.append(PRODUCER_IDS, Some(to_json(&value)), now)
    }

    /// Refuses when the journal takes no changes. Asked before anything is made for a change.
    pub(crate) fn check(&self) -> Result<(), JournalError> {
        let failure = self.log.failure().map(ToString::to_string);
        match self.failure.clone().or(failure) {
            Some(cause) => Err(JournalError::Failed { cause }),
            None => Ok(()),
        }
    }

    /// Notes that the outcome of a change is unknown.
    pub(crate) fn fail(&mut self, cause: &dyn std::fmt::Display) -> JournalError {
        let cause = cause.to_string();
        self.failure.get_or_insert_with(|| cause.clone());
        JournalError::Unknown { cause }
    }

    /// | what failed | the change |
    /// |---|---|
    /// | the write, and it was undone (no room, no handle) | did not happen; the next one may do |
    /// | the write in any other way | unknown: some of its bytes may be there |
    /// | the sync, or getting a handle for it | unknown: its bytes are there and may last |
    fn append(
        &mut self,
        key: &str,
        value: Option<Bytes>,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        self.check()?;
        let key = Some(Bytes::copy_from_slice(key.as_bytes()));
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record { key, value, ..Record::default() }, now);
        let before = self.log.written_end();
        self.log.stage(builder.finish(None), now)?;
        if let Err(error) = self.log.write(now) {
            let is_undone = !self.log.is_failed() && self.log.written_end() == before;
            return Err(if is_undone { error.into() } else { self.fail(&error) });
        }
        if let Err(error) = self.log.sync() {
            return Err(self.fail(&error));
        }
        let end = self.log.synced_end();
        self.log.expose(end);
        // The record is safe. Should a checkpoint fail, the log has failed, and the next call says so.
        let _told_later = self.log.finish_chores();
        Ok(())
    }

    /// Syncs and closes.
    ///
    /// # Errors
    /// When the last sync fails.
    pub(crate) fn close(self) -> Result<(), JournalError> {
        Ok(self.log.close()?)
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    // Maps with text keys always serialise.
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn read_all(log: &Log) -> Result<Contents, JournalError> {
    let view = log.view();
    let mut contents = Contents::default();
    let mut offset = view.start();
    let mut scratch = Vec::new();
    while offset < view.end() {
        let read = view.read(offset, READ_BYTES)?;
        for bytes in read.batches {
            for batch in batch::split(bytes) {
                let unreadable = |error: batch::BatchError| JournalError::Record {
                    key: format!("at offset {offset}"),
                    cause: error.to_string(),
                };
                let batch = batch.map_err(unreadable)?;
                for record in batch.records(&mut scratch).map_err(unreadable)? {
                    let record = record.map_err(unreadable)?;
                    contents.apply(record.key.unwrap_or_default(), record.value)?;
                }
            }
        }
        if read.next <= offset {
            break;
        }
        offset = read.next;
    }
    Ok(contents)
}

impl Contents {
    fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), JournalError> {
        let key = String::from_utf8_lossy(key).into_owned();
        let unknown = |cause: String| JournalError::Record { key: key.clone(), cause };
        if key == PRODUCER_IDS {
            let value: ProducerIdsValue = from_json(value).map_err(unknown)?;
            check_version(value.version).map_err(unknown)?;
            self.producer_ids_end = self.producer_ids_end.max(value.end);
            return Ok(());
        }
        let name = key.strip_prefix(TOPIC_PREFIX).ok_or_else(|| unknown("unknown kind".into()))?;
        let name = TopicName::new(name).map_err(|error| unknown(error.to_string()))?;
        if value.is_none() {
            if let Some(topic) = self.topics.remove(&name) {
                self.deleted.push((name, topic.id));
            }
            return Ok(());
        }
        let value: TopicValue = from_json(value).map_err(unknown)?;
        check_version(value.version).map_err(unknown)?;
        let id =
            value.id.parse().map_err(|error: protocol::id::IdError| unknown(error.to_string()))?;
        let TopicValue { partitions, settings, .. } = value;
        self.topics.insert(name.clone(), TopicRecord { name, id, partitions, settings });
        Ok(())
    }
}

fn from_json<'a, T: Deserialize<'a>>(value: Option<&'a [u8]>) -> Result<T, String> {
    serde_json::from_slice(value.unwrap_or_default()).map_err(|error| error.to_string())
}

fn check_version(version: u32) -> Result<(), String> {
    if version == VERSION {
        Ok(())
    } else {
        Err(format!("its version is {version}; this program knows {VERSION}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, settings: &[(&str, &str)]) -> TopicRecord {
        TopicRecord {
            name: name.parse().unwrap(),
            id: TopicId(uuid::Uuid::new_v4()),
            partitions: 3,
            settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    fn open(folder: &Path) -> Result<(Journal, Contents), JournalError> {
        let opening = Opening::default();
        Journal::open(Arc::new(storage::RealDisk::new()), folder, opening)
    }

    #[test]
    fn what_was_put_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog");
        let (mut journal, contents) = open(&path).unwrap();
        assert_eq!(contents, Contents::default());
        let (a, b) = (topic("a", &[("retention.ms", "5")]), topic("b", &[]));
        journal.put(&a, Timestamp(1)).unwrap();
        journal.put(&b, Timestamp(2)).unwrap();
        journal.delete(&b.name, Timestamp(3)).unwrap();
        journal.reserve_producer_ids(ProducerId(1000), Timestamp(4)).unwrap();
        // As after kill -9: not closed.
        drop(journal);
        let (_, contents) = open(&path).unwrap();
        assert_eq!(contents.topics.into_values().collect::<Vec<_>>(), [a]);
        assert_eq!(contents.deleted, [(b.name, b.id)]);
        assert_eq!(contents.producer_ids_end, 1000);
    }

    #[test]
    fn a_damaged_byte_refuses_the_start_or_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog");
        let (mut journal, _) = open(&path).unwrap();
        for name in ["first", "second", "third"] {
            journal.put(&topic(name, &[]), Timestamp(1)).unwrap();
        }
        journal.close().unwrap();
        let log_file = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|extension| extension == "log"))
            .unwrap();
        let whole = std::fs::read(&log_file).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x20;
            std::fs::write(&log_file, &damaged).unwrap();
            // Offset and leader epoch are outside the checksum; a damaged epoch changes nothing here.
            if let Ok((_, contents)) = open(&path) {
                assert_eq!(contents.topics.len(), 3, "byte {place} lost a topic in silence");
            }
            assert!(log_file.exists());
            std::fs::write(&log_file, &whole).unwrap();
        }
    }
}
