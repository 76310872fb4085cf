//! The checkpoints of all tasks as their topic has them: the newest of each, and which of them nobody can know.
//!
//! Records that are damaged may have been the newest checkpoint of any task that has none behind them. An older one is
//! not taken in its place: since then the task may have got another producer or the query another statement, and rows
//! would be repeated or left out. What stands behind the damage is as good as ever.
//!
//! | what is there for a task | it goes on |
//! |---|---|
//! | a checkpoint, and no damage behind it | there |
//! | a checkpoint, and damage behind it | not at all |
//! | none, and damage anywhere | not at all |
//! | none for the first partition, which every query gets before it is written down | not at all |
//! | none for another partition | it was added to the source: from its first record on |

use std::collections::BTreeMap;

use protocol::id::Partition;
use protocol::record::Record;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::flow::checkpoint::Checkpoint;
use crate::flow::spec::{Services, TaskSpec};
use crate::journal::{Entry, own_topic, read_journal, tombstone};

/// The topic of the tasks' checkpoints.
pub const CHECKPOINTS_TOPIC: &str = "_thalweg_sql_checkpoints";

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Stored {
    /// By the key of its record; or why it cannot be known.
    newest: BTreeMap<String, Result<Checkpoint>>,
    /// The last damage: what stood there nobody knows.
    damage: Option<String>,
}

impl Stored {
    /// Where a task goes on. `None`: nothing was ever written down for it.
    ///
    /// # Errors
    /// [`Error::CheckpointLost`], and [`Error::Stored`] for a record that this program cannot read.
    pub fn find(&self, spec: &TaskSpec) -> Result<Option<&Checkpoint>> {
        let key = Checkpoint::key(&spec.query, spec.partition);
        match (self.newest.get(&key), &self.damage) {
            (Some(known), _) => known.as_ref().map(Some).map_err(Clone::clone),
            (None, Some(cause)) => Err(lost(&key, cause)),
            (None, None) if spec.partition == Partition::ZERO => {
                Err(lost(&key, "there is no checkpoint of it"))
            }
            (None, None) => Ok(None),
        }
    }

    /// What is wrong with the topic, if something is.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    fn add(&mut self, record: &Record) {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let Some(value) = &record.value else {
            self.newest.remove(&key);
            return;
        };
        let read = Checkpoint::decode(value).map_err(|error| Error::Stored {
            topic: CHECKPOINTS_TOPIC,
            key: key.clone(),
            cause: error.to_string(),
        });
        // A late one may stand behind its successor.
        let older = match (self.newest.get(&key), &read) {
            (Some(Ok(known)), Ok(read)) => read.serial < known.serial,
            _ => false,
        };
        if !older {
            self.newest.insert(key, read);
        }
    }

    fn damaged(&mut self, cause: &str) {
        for (key, known) in &mut self.newest {
            if known.is_ok() {
                *known = Err(lost(key, cause));
            }
        }
        self.damage = Some(cause.to_owned());
    }
}

/// Reads the newest checkpoint of every task. Those of queries that are no more are removed.
///
/// # Errors
/// [`Error::OwnRecords`], or what the broker says.
pub async fn read_checkpoints(services: &Services, catalog: &Catalog) -> Result<Stored> {
    let mut stored = Stored::default();
    let topic = own_topic(CHECKPOINTS_TOPIC);
    let read = read_journal(&services.transport, &topic, None, |entry| match entry {
        Entry::Record(record) => stored.add(record),
        Entry::Damaged(cause) => stored.damaged(cause.message()),
    });
    read.await.map_err(|error| Error::reading(CHECKPOINTS_TOPIC, error.into()))?;
    let is_orphan =
        |key: &&String| key.rsplit_once('/').is_none_or(|(query, _)| catalog.query(query).is_err());
    let orphans: Vec<_> =
        stored.newest.keys().filter(is_orphan).map(|key| tombstone(key)).collect();
    if !orphans.is_empty()
        && let Err(error) = services.checkpoints.append(orphans).await
    {
        tracing::warn!(%error, "checkpoints of queries that are no more stay until the next start");
    }
    Ok(stored)
}

fn lost(key: &str, cause: &str) -> Error {
    let query = key.rsplit_once('/').map_or(key, |(query, _)| query);
    Error::CheckpointLost { query: query.to_owned(), key: key.to_owned(), cause: cause.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, serial: u64) -> Record {
        let place = r#""producer_id":1,"producer_epoch":0,"source_next":0,"stream_time":null"#;
        let value = format!(r#"{{"version":1,"serial":{serial},{place},"lanes":[]}}"#);
        Record::new(key.to_owned(), value)
    }

    #[test]
    fn what_stands_behind_damage_counts_and_nothing_before_it() {
        let mut stored = Stored::default();
        let known = |stored: &Stored| -> Vec<_> {
            let serial = |known: &Result<Checkpoint>| known.as_ref().ok().map(|it| it.serial);
            stored.newest.iter().map(|(key, known)| (key.clone(), serial(known))).collect()
        };
        for key in ["A/0", "B/0", "C/0"] {
            stored.add(&record(key, 5));
        }
        stored.add(&record("A/0", 4));
        stored.damaged("a bit has flipped");
        stored.add(&record("B/0", 7));
        stored.add(&tombstone("C/0"));
        assert_eq!(known(&stored), [("A/0".to_owned(), None), ("B/0".to_owned(), Some(7))]);
        let told = stored.newest["A/0"].as_ref().unwrap_err().to_string();
        assert!(told.contains("TERMINATE A") && told.contains("a bit has flipped"), "{told}");
    }
}
