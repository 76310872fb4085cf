//! Which topics exist now, and the partitions behind them.
//!
//! Readers take a snapshot that never changes under them. A change is first durable in the journal, then carried out,
//! then published; changes go one at a time.
//!
//! Where things lie: `topics/NAME/ID/PARTITION/`. The id keeps the lives of a topic apart, so that a deletion which a
//! crash interrupts can never meet the files of a namesake.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use parking_lot::Mutex;
use protocol::id::{Partition, ProducerEpoch, ProducerId, TopicId, TopicName};
use protocol::limits::PARTITIONS_PER_TOPIC_MAX;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{
    PartitionDescription, ProducerIdentity, TopicChange, TopicDescription, TopicSpec,
};
use storage::{Disk, Options};

use crate::config::Config;
use crate::error::{self, Place};
use crate::metrics::Metrics;
use crate::shard::command::{DurabilityRule, OpenPartition, Slot};
use crate::shard::handle::{PartitionHandle, ShardHandle};
use crate::topics::journal::{Contents, Journal, JournalError, TopicRecord};
use crate::topics::settings::{self, Cleanup, TimestampType, TopicSettings};
use crate::world::World;

/// Producer ids are reserved in the journal in blocks of this size; a restart skips what is left of a block.
const PRODUCER_ID_BLOCK: i64 = 1_000;

/// A topic as it is; replaced as a whole when it changes.
#[derive(Debug)]
pub(crate) struct Topic {
    record: TopicRecord,
    /// What is in force: the topic's own settings over the broker's defaults.
    pub(crate) settings: TopicSettings,
    /// By number. A partition whose log could not be opened answers with the reason.
    partitions: Vec<Result<PartitionHandle, Refusal>>,
}

impl Topic {
    /// The open partition of this number.
    pub(crate) fn partition(&self, number: Partition) -> Result<&PartitionHandle, Refusal> {
        match self.partitions.get(number.get() as usize) {
            Some(partition) => partition.as_ref().map_err(Clone::clone),
            None => {
                let place = Place { topic: self.record.name.clone(), partition: number };
                Err(error::unknown_partition(&place, self.partitions.len()))
            }
        }
    }

    /// How many partitions it has.
    pub(crate) fn partition_count(&self) -> u32 {
        self.record.partitions
    }

    fn describe(&self) -> TopicDescription {
        let partitions = Partition::all(self.record.partitions).zip(&self.partitions);
        TopicDescription {
            name: self.record.name.clone(),
            id: self.record.id,
            partitions: partitions
                .map(|(number, handle)| describe_partition(number, handle))
                .collect(),
            settings: self.settings.describe(&self.record.settings),
        }
    }
}

fn describe_partition(
    partition: Partition,
    handle: &Result<PartitionHandle, Refusal>,
) -> PartitionDescription {
    match handle {
        Ok(handle) => {
            let view = handle.view();
            PartitionDescription {
                partition,
                start: view.start(),
                end: view.end(),
                bytes: view.bytes(),
                failure: None,
            }
        }
        Err(refusal) => PartitionDescription {
            partition,
            start: protocol::id::Offset::ZERO,
            end: protocol::id::Offset::ZERO,
            bytes: 0,
            failure: Some(refusal.message.clone()),
        },
    }
}

type Topics = BTreeMap<TopicName, Arc<Topic>>;

/// All topics of a broker.
#[derive(Debug)]
pub(crate) struct Catalog {
    topics: ArcSwap<Topics>,
    /// Held through a whole change, across its awaits; readers never take it.
    change: tokio::sync::Mutex<ProducerIds>,
    /// Locked only on blocking threads, for one append and sync. `None` once the catalogue is closed.
    journal: Arc<Mutex<Option<Journal>>>,
    world: World,
    root: PathBuf,
    shards: Vec<ShardHandle>,
    slots: AtomicU64,
    config: Arc<Config>,
    metrics: Metrics,
}

/// Ids `next..end` are reserved in the journal and not given out yet.
#[derive(Debug)]
struct ProducerIds {
    next: i64,
    end: i64,
}

/// What the catalogue stands on.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) world: World,
    /// The data folder.
    pub(crate) root: PathBuf,
    /// At least one.
    pub(crate) shards: Vec<ShardHandle>,
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Metrics,
}

impl Catalog {
    /// Opens every partition that the journal knows, all shards at once.
    ///
    /// A partition that cannot be opened does not keep the others from serving: it answers with the reason.
    pub(crate) async fn open(ground: Ground, journal: Journal, contents: Contents) -> Self {
        let Ground { world, root, shards, config, metrics } = ground;
        let ids = ProducerIds { next: contents.producer_ids_end, end: contents.producer_ids_end };
        let catalog = Self {
            topics: ArcSwap::default(),
            change: tokio::sync::Mutex::new(ids),
            journal: Arc::new(Mutex::new(Some(journal))),
            world,
            root,
            shards,
            slots: AtomicU64::new(0),
            config,
            metrics,
        };
        catalog.remove_deleted(&contents);
        let opened = contents.topics.into_values().map(|record| async {
            let settings = catalog.effective_settings(&record);
            let numbers = Partition::all(record.partitions);
            let partitions = catalog.open_partitions(&record, &settings, numbers, false).await;
            for refusal in partitions.iter().filter_map(|partition| partition.as_ref().err()) {
                tracing::error!(topic = %record.name, "a partition is offline: {}", refusal.message);
            }
            (record.name.clone(), Arc::new(Topic { record, settings, partitions }))
        });
        let topics: Topics = join_all(opened).await.into_iter().collect();
        catalog.publish(topics);
        catalog
    }

    /// Settings stored by an older version may not be valid any more; they never keep a topic from opening.
    fn effective_settings(&self, record: &TopicRecord) -> TopicSettings {
        self.config.topic.with(&record.settings).unwrap_or_else(|error| {
            tracing::error!(topic = %record.name, "its settings are not valid, the defaults count: {error}");
            self.config.topic.clone()
        })
    }

    /// Removes what a deletion left behind when the process ended in the middle of it.
    fn remove_deleted(&self, contents: &Contents) {
        for (name, id) in &contents.deleted {
            remove_topic_folder(&*self.world.disk, &self.root, name, *id);
        }
    }

    fn publish(&self, topics: Topics) {
        let partitions: usize = topics.values().map(|topic| topic.partitions.len()).sum();
        self.metrics.topics.set(i64::try_from(topics.len()).unwrap_or(i64::MAX));
        self.metrics.partitions.set(i64::try_from(partitions).unwrap_or(i64::MAX));
        self.topics.store(Arc::new(topics));
    }

    /// The topic of this name, as it is now.
    pub(crate) fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, Refusal> {
        let topics = self.topics.load();
        topics.get(name).cloned().ok_or_else(|| {
            let same = |other: &&TopicName| other.as_str().eq_ignore_ascii_case(name.as_str());
            error::unknown_topic(name, topics.keys().find(same))
        })
    }

    /// The open partition of this topic.
    pub(crate) fn partition(
        &self,
        topic: &TopicName,
        partition: Partition,
    ) -> Result<PartitionHandle, Refusal> {
        self.topic(topic)?.partition(partition).cloned()
    }

    /// One topic in words.
    pub(crate) fn describe(&self, name: &TopicName) -> Result<TopicDescription, Refusal> {
        Ok(self.topic(name)?.describe())
    }

    /// All topics in words, in the order of their names.
    pub(crate) fn list(&self) -> Vec<TopicDescription> {
        self.topics.load().values().map(|topic| topic.describe()).collect()
    }

    /// Topics and partitions that there are.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let topics = self.topics.load();
        let partitions = topics.values().map(|topic| topic.partitions.len() as u64).sum();
        (topics.len() as u64, partitions)
    }

    /// Creates a topic. When this is done it takes records and survives a crash.
    ///
    /// # After an error
    /// There is no such topic; empty files of it may be left until the next start.
    pub(crate) async fn create(&self, spec: TopicSpec) -> Result<TopicDescription, Refusal> {
        let _change = self.change.lock().await;
        let topics = self.topics.load_full();
        if topics.contains_key(&spec.name) {
            return Err(Refusal::new(
                Outcome::TopicExists,
                format!("topic {} exists already", spec.name),
            ));
        }
        if topics.len() >= self.config.topics_max {
            return Err(limit("topics_max", self.config.topics_max));
        }
        let partitions = spec.partitions.unwrap_or(self.config.default_partitions);
        self.check_partitions(&topics, 0, partitions)?;
        let settings = self.checked_settings(&spec.settings)?;
        let record = TopicRecord {
            name: spec.name,
            id: TopicId(self.world.ids.fresh()),
            partitions,
            settings: spec.settings,
        };
        // Files first, journal second: a topic that the journal knows always has its files.
        let numbers = Partition::all(partitions);
        let opened = self.open_all(&record, &settings, numbers).await?;
        if let Err(refusal) = self.write_journal(record.clone(), Journal::put).await {
            give_up(&opened).await;
            remove_topic_folder(&*self.world.disk, &self.root, &record.name, record.id);
            return Err(refusal);
        }
        Ok(self.replace(Topic {
            record,
            settings,
            partitions: opened.into_iter().map(Ok).collect(),
        }))
    }

    /// Changes settings or adds partitions.
    ///
    /// # After an error
    /// The topic is as before.
    pub(crate) async fn alter(
        &self,
        name: &TopicName,
        change: TopicChange,
    ) -> Result<TopicDescription, Refusal> {
        let _change = self.change.lock().await;
        let topics = self.topics.load_full();
        let topic = self.topic(name)?;
        let mut record = topic.record.clone();
        for (setting, value) in change.settings {
            // Also a setting that is put back must be one that exists.
            crate::setting::find(&settings::ROWS, &setting)
                .map_err(|error| error::setting(&error))?;
            match value {
                Some(value) => record.settings.insert(setting, value),
                None => record.settings.remove(&setting),
            };
        }
        let settings = self.checked_settings(&record.settings)?;
        let wanted = change.partitions.unwrap_or(record.partitions);
        if wanted < record.partitions {
            return Err(Refusal::new(
                Outcome::InvalidPartitions,
                format!(
                    "topic {name} has {} partitions; their number can only grow, {wanted} is less",
                    record.partitions
                ),
            ));
        }
        self.check_partitions(&topics, record.partitions, wanted)?;
        let added = Partition::all(wanted).skip(record.partitions as usize);
        let opened = self.open_all(&record, &settings, added).await?;
        record.partitions = wanted;
        if let Err(refusal) = self.write_journal(record.clone(), Journal::put).await {
            give_up(&opened).await;
            return Err(refusal);
        }
        for partition in topic.partitions.iter().flatten() {
            partition
                .alter(self.storage_options(&settings), self.durability_rule(&settings))
                .await?;
        }
        let partitions =
            topic.partitions.iter().cloned().chain(opened.into_iter().map(Ok)).collect();
        Ok(self.replace(Topic { record, settings, partitions }))
    }

    /// Deletes a topic and its records.
    ///
    /// # After an error
    /// The topic is as before, or gone with files left that the next start removes.
    pub(crate) async fn delete(&self, name: &TopicName) -> Result<(), Refusal> {
        let _change = self.change.lock().await;
        let topic = self.topic(name)?;
        self.write_journal(name.clone(), |journal, name, now| journal.delete(name, now)).await?;
        let mut topics = Topics::clone(&self.topics.load());
        topics.remove(name);
        self.publish(topics);
        let deleted =
            join_all(topic.partitions.iter().flatten().map(PartitionHandle::delete)).await;
        for refusal in deleted.into_iter().filter_map(Result::err) {
            // The topic is gone all the same; the next start removes what is left.
            tracing::warn!(topic = %name, "deleting its files: {}", refusal.message);
        }
        remove_topic_folder(&*self.world.disk, &self.root, name, topic.record.id);
        Ok(())
    }

    /// A producer id that was never given out before, in its first life.
    pub(crate) async fn init_producer(&self) -> Result<ProducerIdentity, Refusal> {
        let mut ids = self.change.lock().await;
        if ids.next >= ids.end {
            let end = ProducerId(ids.end.saturating_add(PRODUCER_ID_BLOCK));
            self.write_journal(end, |journal, end, now| journal.reserve_producer_ids(*end, now))
                .await?;
            ids.end = end.0;
        }
        let id = ProducerId(ids.next);
        ids.next += 1;
        Ok(ProducerIdentity { id, epoch: ProducerEpoch(0) })
    }

    /// Closes the journal. Later changes are refused.
    pub(crate) async fn close(&self) {
        let _change = self.change.lock().await;
        let journal = Arc::clone(&self.journal);
        let closing = move || journal.lock().take().map(Journal::close);
        if let Ok(Some(Err(error))) = self.world.threads.blocking(closing).await {
            tracing::error!("closing: {error}");
        }
    }

    fn replace(&self, topic: Topic) -> TopicDescription {
        let description = topic.describe();
        let mut topics = Topics::clone(&self.topics.load());
        topics.insert(topic.record.name.clone(), Arc::new(topic));
        self.publish(topics);
        description
    }

    fn checked_settings(&self, own: &BTreeMap<String, String>) -> Result<TopicSettings, Refusal> {
        if !settings::are_bounded(own.values().map(String::as_str)) {
            return Err(Refusal::new(
                Outcome::InvalidSetting,
                "too many settings, or too long a value",
            ));
        }
        self.config.topic.with(own).map_err(|error| error::setting(&error))
    }

    fn check_partitions(&self, topics: &Topics, now: u32, wanted: u32) -> Result<(), Refusal> {
        if wanted == 0 || wanted > PARTITIONS_PER_TOPIC_MAX {
            return Err(Refusal::new(
                Outcome::InvalidPartitions,
                format!("{wanted} partitions: 1 to {PARTITIONS_PER_TOPIC_MAX} are allowed"),
            ));
        }
        let others: usize = topics.values().map(|topic| topic.partitions.len()).sum();
        if others + (wanted - now) as usize > self.config.partitions_max {
            return Err(limit("partitions_max", self.config.partitions_max));
        }
        Ok(())
    }

    /// Opens new partitions; if one cannot be opened, none is.
    async fn open_all(
        &self,
        record: &TopicRecord,
        settings: &TopicSettings,
        numbers: impl Iterator<Item = Partition>,
    ) -> Result<Vec<PartitionHandle>, Refusal> {
        let opened = self.open_partitions(record, settings, numbers, true).await;
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

    async fn open_partitions(
        &self,
        record: &TopicRecord,
        settings: &TopicSettings,
        numbers: impl Iterator<Item = Partition>,
        create: bool,
    ) -> Vec<Result<PartitionHandle, Refusal>> {
        let folder = topic_folder(&self.root, &record.name, record.id);
        let opened = numbers.map(|number| {
            let partition = OpenPartition {
                place: Place { topic: record.name.clone(), partition: number },
                folder: folder.join(number.to_string()),
                create,
                options: self.storage_options(settings),
                durability: self.durability_rule(settings),
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

    fn storage_options(&self, settings: &TopicSettings) -> Options {
        let by_age_and_size = settings.cleanup != Cleanup::Compact;
        Options {
            segment_bytes: settings.segment_bytes,
            segment_ms: settings.segment_ms,
            retention_ms: settings.retention_ms.filter(|_| by_age_and_size),
            retention_bytes: settings.retention_bytes.filter(|_| by_age_and_size),
            append_time: settings.timestamp_type == TimestampType::LogAppendTime,
            tail_bytes_max: self.config.tail_bytes_max,
            ..Options::default()
        }
    }

    fn durability_rule(&self, settings: &TopicSettings) -> DurabilityRule {
        DurabilityRule {
            durability: settings.durability(self.config.durability()),
            unsynced_records_max: settings.flush_records,
        }
    }

    /// Appends to the journal and syncs it, on a thread that may block.
    async fn write_journal<T: Send + 'static>(
        &self,
        change: T,
        write: impl FnOnce(&mut Journal, &T, protocol::id::Timestamp) -> Result<(), JournalError>
        + Send
        + 'static,
    ) -> Result<(), Refusal> {
        let journal = Arc::clone(&self.journal);
        let now = self.world.clock.wall();
        let writing = move || journal.lock().as_mut().map(|journal| write(journal, &change, now));
        match self.world.threads.blocking(writing).await {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(error))) => {
                let full = matches!(&error, JournalError::Storage(error) if error.is_full());
                let outcome = if full { Outcome::DiskFull } else { Outcome::StorageFailed };
                Err(Refusal::new(outcome, error.to_string()))
            }
            Ok(None) | Err(_) => Err(error::stopping()),
        }
    }
}

fn limit(setting: &str, count: usize) -> Refusal {
    Refusal::new(Outcome::LimitReached, format!("{setting} = {count} is reached"))
}

/// Deletes partitions that were opened for a change which then failed.
async fn give_up(opened: &[PartitionHandle]) {
    for refusal in join_all(opened.iter().map(PartitionHandle::delete))
        .await
        .into_iter()
        .filter_map(Result::err)
    {
        tracing::warn!("undoing a change: {}", refusal.message);
    }
}

fn topic_folder(root: &Path, name: &TopicName, id: TopicId) -> PathBuf {
    root.join("topics").join(name.as_str()).join(id.to_string())
}

/// Removes one life of a topic, and the folder of its name when no other life is in it.
fn remove_topic_folder(disk: &dyn Disk, root: &Path, name: &TopicName, id: TopicId) {
    let folder = topic_folder(root, name, id);
    if disk.list(&folder).is_ok()
        && let Err(error) = disk.remove_dir_all(&folder)
    {
        tracing::warn!(topic = %name, "removing the folder of a deleted topic: {error}");
    }
    let lives = root.join("topics").join(name.as_str());
    if disk.list(&lives).is_ok_and(|lives| lives.is_empty())
        && let Err(error) = disk.remove_dir_all(&lives)
    {
        tracing::warn!(topic = %name, "removing the empty folder of a deleted topic: {error}");
    }
}
