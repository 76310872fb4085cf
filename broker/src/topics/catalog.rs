//! Which topics exist now, and the partitions behind them.
//!
//! Readers take a snapshot that never changes under them. A change is first durable in the journal, then carried out,
//! then published; changes go one at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use protocol::id::{Partition, ProducerEpoch, ProducerId, TopicId, TopicName};
use protocol::limits::PARTITIONS_PER_TOPIC_MAX;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{ProducerIdentity, TopicChange, TopicDescription, TopicSpec};

use crate::config::Config;
use crate::error;
use crate::metrics::Metrics;
use crate::shard::handle::{PartitionHandle, ShardHandle};
use crate::topics::journal::{Contents, Journal, TopicRecord};
use crate::topics::ledger::Ledger;
use crate::topics::opening::{Opener, give_up};
use crate::topics::settings::{self, TopicSettings};
use crate::topics::topic::Topic;
use crate::world::{Ids, World};

/// Producer ids are reserved in the journal in blocks of this size; a restart skips what is left of a block.
const PRODUCER_ID_BLOCK: i64 = 1_000;

type Topics = BTreeMap<TopicName, Arc<Topic>>;

/// All topics of a broker.
#[derive(Debug)]
pub(crate) struct Catalog {
    topics: ArcSwap<Topics>,
    /// Held through a whole change, across its awaits; readers never take it.
    change: tokio::sync::Mutex<ProducerIds>,
    /// Used only by whoever holds `change`.
    ledger: Ledger,
    opener: Opener,
    ids: Ids,
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
            ledger: Ledger::new(journal, world.clock, world.threads),
            opener: Opener::new(world.disk, root, shards, Arc::clone(&config)),
            ids: world.ids,
            config,
            metrics,
        };
        // What a deletion left behind when the process ended in the middle of it.
        for (name, id) in &contents.deleted {
            catalog.opener.remove_folder(name, *id);
        }
        let opened = contents.topics.into_values().map(|record| async {
            let settings = catalog.effective_settings(&record);
            let numbers = Partition::all(record.partitions);
            let partitions = catalog.opener.open(&record, &settings, numbers, false).await;
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
    /// There is no such topic; empty files of it may be left. Where the outcome says that it may have happened, the next
    /// start shows whether the topic is there.
    pub(crate) async fn create(&self, spec: TopicSpec) -> Result<TopicDescription, Refusal> {
        let _change = self.change.lock().await;
        self.ledger.check()?;
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
            id: TopicId(self.ids.fresh()),
            partitions,
            settings: spec.settings,
        };
        // Files first, journal second: a topic that the journal knows always has its files.
        let numbers = Partition::all(partitions);
        let opened = self.opener.create(&record, &settings, numbers).await?;
        if let Err(error) = self.ledger.write(record.clone(), Journal::put).await {
            // Where the next start may find the topic, it must find its files.
            if !error.may_have_happened() {
                give_up(&opened).await;
                self.opener.remove_folder(&record.name, record.id);
            }
            return Err(error.refusal());
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
    /// The topic is as before. Where the outcome says that it may have happened, the next start may find it changed.
    pub(crate) async fn alter(
        &self,
        name: &TopicName,
        change: TopicChange,
    ) -> Result<TopicDescription, Refusal> {
        let _change = self.change.lock().await;
        self.ledger.check()?;
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
        let opened = self.opener.create(&record, &settings, added).await?;
        record.partitions = wanted;
        if let Err(error) = self.ledger.write(record.clone(), Journal::put).await {
            if !error.may_have_happened() {
                give_up(&opened).await;
            }
            return Err(error.refusal());
        }
        for partition in topic.partitions.iter().flatten() {
            let (options, rule) = self.opener.rules(&settings);
            // The change is durable, so it is a success whatever comes now. Only a shard that has ended does not hear of
            // it: it takes no records either, and the next start reads the change.
            if let Err(refusal) = partition.alter(options, rule).await {
                tracing::warn!(partition = %partition.place(), "changed from the next start on: {}", refusal.message);
            }
        }
        let partitions =
            topic.partitions.iter().cloned().chain(opened.into_iter().map(Ok)).collect();
        Ok(self.replace(Topic { record, settings, partitions }))
    }

    /// Deletes a topic and its records.
    ///
    /// # After an error
    /// The topic is as before. Where the outcome says that it may have happened, the topic takes no records and gives
    /// none until the next start, which finds it whole or not at all: nothing is acknowledged into a topic that may be
    /// gone.
    pub(crate) async fn delete(&self, name: &TopicName) -> Result<(), Refusal> {
        let _change = self.change.lock().await;
        self.ledger.check()?;
        let topic = self.topic(name)?;
        let written =
            self.ledger.write(name.clone(), |journal, name, now| journal.delete(name, now)).await;
        if let Err(error) = written {
            let refusal = error.refusal();
            if error.may_have_happened() {
                self.withdraw(&topic, &refusal).await;
            }
            return Err(refusal);
        }
        let mut topics = Topics::clone(&self.topics.load());
        topics.remove(name);
        self.publish(topics);
        let deleted =
            join_all(topic.partitions.iter().flatten().map(PartitionHandle::delete)).await;
        for refusal in deleted.into_iter().filter_map(Result::err) {
            // The topic is gone all the same; the next start removes what is left.
            tracing::warn!(topic = %name, "deleting its files: {}", refusal.message);
        }
        self.opener.remove_folder(name, topic.record.id);
        Ok(())
    }

    /// A producer id that was never given out before, in its first life.
    pub(crate) async fn init_producer(&self) -> Result<ProducerIdentity, Refusal> {
        let mut ids = self.change.lock().await;
        if ids.next >= ids.end {
            let end = ProducerId(ids.end.saturating_add(PRODUCER_ID_BLOCK));
            self.ledger
                .write(end, |journal, end, now| journal.reserve_producer_ids(*end, now))
                .await
                .map_err(|error| error.refusal())?;
            ids.end = end.0;
        }
        let id = ProducerId(ids.next);
        ids.next += 1;
        Ok(ProducerIdentity { id, epoch: ProducerEpoch(0) })
    }

    /// Closes the journal. Later changes are refused.
    pub(crate) async fn close(&self) {
        let _change = self.change.lock().await;
        self.ledger.close().await;
    }

    fn replace(&self, topic: Topic) -> TopicDescription {
        let description = topic.describe();
        let mut topics = Topics::clone(&self.topics.load());
        topics.insert(topic.record.name.clone(), Arc::new(topic));
        self.publish(topics);
        description
    }

    /// Lets every partition of a topic answer with a reason instead of records, and closes their logs.
    async fn withdraw(&self, topic: &Topic, reason: &Refusal) {
        let handles: Vec<_> = topic.partitions.iter().flatten().cloned().collect();
        let Topic { record, settings, partitions } = topic;
        self.replace(Topic {
            record: record.clone(),
            settings: settings.clone(),
            partitions: partitions.iter().map(|_| Err(reason.clone())).collect(),
        });
        for refusal in join_all(handles.iter().map(PartitionHandle::close))
            .await
            .into_iter()
            .filter_map(Result::err)
        {
            tracing::warn!(topic = %record.name, "closing a withdrawn partition: {}", refusal.message);
        }
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
}

fn limit(setting: &str, count: usize) -> Refusal {
    Refusal::new(Outcome::LimitReached, format!("{setting} = {count} is reached"))
}
