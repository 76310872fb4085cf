//! Partitions of a topic opened on their shards, and the folders they lie in.
//!
//! Where things lie: `topics/NAME/ID/PARTITION/`. The id keeps the lives of a topic apart, so that a deletion which a
//! crash interrupts can never meet the files of a namesake.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use protocol::id::{Partition, TopicId, TopicName};
use protocol::outcome::Refusal;
use storage::{Disk, Options};

use crate::config::Config;
use crate::error::{self, Place};
use crate::shard::command::{DurabilityRule, OpenPartition, Slot};
use crate::shard::handle::{PartitionHandle, ShardHandle};
use crate::topics::journal::TopicRecord;
use crate::topics::settings::{Cleanup, TimestampType, TopicSettings};

/// What partitions are opened with.
#[derive(Debug)]
pub(crate) struct Opener {
    disk: Arc<dyn Disk>,
    /// The data folder.
    root: PathBuf,
    /// At least one.
    shards: Vec<ShardHandle>,
    slots: AtomicU64,
    config: Arc<Config>,
}

impl Opener {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        root: PathBuf,
        shards: Vec<ShardHandle>,
        config: Arc<Config>,
    ) -> Self {
        Self { disk, root, shards, slots: AtomicU64::new(0), config }
    }

    /// Opens new partitions; if one cannot be opened, none is.
    pub(crate) async fn create(
        &self,
        record: &TopicRecord,
        settings: &TopicSettings,
        numbers: impl Iterator<Item = Partition>,
    ) -> Result<Vec<PartitionHandle>, Refusal> {
        let opened = self.open(record, settings, numbers, true).await;
        let failed = opened.iter().find_map(|partition| partition.as_ref().err().cloned());
        let opened: Vec<_> = opened.into_iter().flatten().collect();
        match failed {
            None => Ok(opened),
            Some(refusal) => {
                give_up(&opened).await;
                Err(refusal)
            }
        }
    }

    /// Opens partitions, all shards at once, each with its own success or failure.
    pub(crate) async fn open(
        &self,
        record: &TopicRecord,
        settings: &TopicSettings,
        numbers: impl Iterator<Item = Partition>,
        create: bool,
    ) -> Vec<Result<PartitionHandle, Refusal>> {
        let folder = self.folder(&record.name, record.id);
        let (options, durability) = self.rules(settings);
        let opened = numbers.map(|number| {
            let partition = OpenPartition {
                place: Place { topic: record.name.clone(), partition: number },
                folder: folder.join(number.to_string()),
                create,
                options: options.clone(),
                durability,
            };
            self.open_partition(partition)
        });
        join_all(opened).await
    }

    async fn open_partition(&self, partition: OpenPartition) -> Result<PartitionHandle, Refusal> {
        let slot = Slot(self.slots.fetch_add(1, Ordering::Relaxed));
        let count = self.shards.len().max(1) as u64;
        let index = usize::try_from(slot.0 % count).unwrap_or(0);
        let shard = self.shards.get(index).ok_or_else(error::stopping)?;
        shard.open(slot, partition).await
    }

    /// What settings mean for a log, and for when it is synced.
    pub(crate) fn rules(&self, settings: &TopicSettings) -> (Options, DurabilityRule) {
        let by_age_and_size = settings.cleanup != Cleanup::Compact;
        let options = Options {
            segment_bytes: settings.segment_bytes,
            segment_ms: settings.segment_ms,
            retention_ms: settings.retention_ms.filter(|_| by_age_and_size),
            retention_bytes: settings.retention_bytes.filter(|_| by_age_and_size),
            append_time: settings.timestamp_type == TimestampType::LogAppendTime,
            tail_bytes_max: self.config.tail_bytes_max,
            ..Options::default()
        };
        let rule = DurabilityRule {
            durability: settings.durability(self.config.durability()),
            unsynced_records_max: settings.flush_records,
        };
        (options, rule)
    }

    fn folder(&self, name: &TopicName, id: TopicId) -> PathBuf {
        self.root.join("topics").join(name.as_str()).join(id.to_string())
    }

    /// Removes one life of a topic, and the folder of its name when no other life is in it.
    pub(crate) fn remove_folder(&self, name: &TopicName, id: TopicId) {
        let folder = self.folder(name, id);
        if self.disk.list(&folder).is_ok()
            && let Err(error) = self.disk.remove_dir_all(&folder)
        {
            tracing::warn!(topic = %name, "removing the folder of a deleted topic: {error}");
        }
        let lives = self.root.join("topics").join(name.as_str());
        if self.disk.list(&lives).is_ok_and(|lives| lives.is_empty())
            && let Err(error) = self.disk.remove_dir_all(&lives)
        {
            tracing::warn!(topic = %name, "removing the empty folder of a deleted topic: {error}");
        }
    }
}

/// Deletes partitions that were opened for a change which then failed.
pub(crate) async fn give_up(opened: &[PartitionHandle]) {
    for refusal in join_all(opened.iter().map(PartitionHandle::delete))
        .await
        .into_iter()
        .filter_map(Result::err)
    {
        tracing::warn!("undoing a change: {}", refusal.message);
    }
}
