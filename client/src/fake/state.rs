//! What the broker in memory keeps: topics with their logs, the faults that are planned, the calls that were counted.

use std::collections::{BTreeMap, HashMap, VecDeque};

use protocol::id::{Partition, TopicId, TopicName};
use protocol::limits::PARTITIONS_PER_TOPIC_MAX;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{
    Appended, FetchEntry, FetchReply, FetchRequest, PartitionDescription, ProduceEntry,
    SettingDescription, TopicChange, TopicDescription, TopicSpec,
};

use super::log::Log;
use super::plan::{Call, Fault};
use crate::error::{Error, Result};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<TopicName, Topic>,
    pub(super) faults: HashMap<Call, VecDeque<Fault>>,
    pub(super) calls: HashMap<Call, usize>,
    /// Counts broken connections: answers of an older one are lost.
    pub(super) connection: u64,
    pub(super) holds_answers: bool,
    pub(super) next_producer: i64,
    next_topic: u128,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) partitions: Vec<Log>,
    settings: BTreeMap<String, String>,
}

impl State {
    pub(super) fn begin(&mut self, call: Call) -> Option<Fault> {
        *self.calls.entry(call).or_default() += 1;
        self.faults.get_mut(&call)?.pop_front()
    }

    pub(super) fn topic(&mut self, name: &TopicName) -> std::result::Result<&mut Topic, Refusal> {
        self.topics.get_mut(name).ok_or_else(|| {
            Refusal::new(Outcome::UnknownTopic, format!("fake broker: there is no topic {name}"))
        })
    }

    pub(super) fn log(
        &mut self,
        topic: &TopicName,
        partition: Partition,
    ) -> std::result::Result<&mut Log, Refusal> {
        self.topic(topic)?.log_mut(partition).ok_or_else(|| {
            let message = format!("fake broker: topic {topic} has no partition {partition}");
            Refusal::new(Outcome::UnknownPartition, message)
        })
    }

    pub(super) fn create(&mut self, spec: TopicSpec) -> Result<TopicDescription> {
        let partitions = spec.partitions.unwrap_or(1);
        if partitions == 0 || partitions > PARTITIONS_PER_TOPIC_MAX {
            return Err(Error::new(
                Outcome::InvalidPartitions,
                format!(
                    "fake broker: {partitions} partitions; 1 to {PARTITIONS_PER_TOPIC_MAX} are allowed"
                ),
            ));
        }
        if self.topics.contains_key(&spec.name) {
            let message = format!("fake broker: there is a topic {} already", spec.name);
            return Err(Error::new(Outcome::TopicExists, message));
        }
        self.next_topic += 1;
        let hex = format!("{:032x}", self.next_topic);
        let topic = Topic {
            id: hex.parse().map_err(|_| refused(Outcome::Internal))?,
            partitions: (0..partitions).map(|_| Log::default()).collect(),
            settings: spec.settings,
        };
        let description = topic.describe(&spec.name);
        self.topics.insert(spec.name, topic);
        Ok(description)
    }

    pub(super) fn append(&mut self, entry: ProduceEntry) -> std::result::Result<Appended, Refusal> {
        self.log(&entry.topic, entry.partition)?.append(entry.batch)
    }

    pub(super) fn read(&mut self, request: &FetchRequest) -> FetchReply {
        let mut left = usize::try_from(request.bytes_max).unwrap_or(usize::MAX);
        let mut is_first = true;
        let mut read = |entry: &FetchEntry| {
            let most = left.min(usize::try_from(entry.bytes_max).unwrap_or(usize::MAX));
            let fetched = self.log(&entry.topic, entry.partition)?.read(entry, most, is_first)?;
            left = left.saturating_sub(fetched.bytes());
            is_first &= fetched.batches.is_empty();
            Ok(fetched)
        };
        FetchReply { entries: request.entries.iter().map(&mut read).collect() }
    }

    pub(super) fn alter(
        &mut self,
        name: &TopicName,
        change: TopicChange,
    ) -> Result<TopicDescription> {
        let topic = self.topic(name)?;
        if let Some(partitions) = change.partitions {
            let wanted = usize::try_from(partitions).unwrap_or(usize::MAX);
            if wanted < topic.partitions.len() || partitions > PARTITIONS_PER_TOPIC_MAX {
                let message =
                    format!("fake broker: topic {name} cannot have {partitions} partitions");
                return Err(Error::new(Outcome::InvalidPartitions, message));
            }
            topic.partitions.resize_with(wanted, Log::default);
        }
        for (setting, value) in change.settings {
            match value {
                Some(value) => drop(topic.settings.insert(setting, value)),
                None => drop(topic.settings.remove(&setting)),
            }
        }
        Ok(topic.describe(name))
    }
}

impl Topic {
    pub(super) fn log(&self, partition: Partition) -> Option<&Log> {
        self.partitions.get(usize::try_from(partition.get()).ok()?)
    }

    pub(super) fn log_mut(&mut self, partition: Partition) -> Option<&mut Log> {
        self.partitions.get_mut(usize::try_from(partition.get()).ok()?)
    }

    pub(super) fn describe(&self, name: &TopicName) -> TopicDescription {
        let partition = |(partition, log): (Partition, &Log)| PartitionDescription {
            partition,
            start: log.start,
            end: log.end,
            bytes: log.batches.iter().map(|batch| batch.bytes().len() as u64).sum(),
            failure: None,
        };
        let setting = |(name, value): (&String, &String)| SettingDescription {
            name: name.clone(),
            value: value.clone(),
            is_default: false,
        };
        TopicDescription {
            name: name.clone(),
            id: self.id,
            partitions: numbered(&self.partitions).map(partition).collect(),
            settings: self.settings.iter().map(setting).collect(),
        }
    }
}

pub(super) fn refused(outcome: Outcome) -> Error {
    Error::new(outcome, "fake broker: refused on purpose")
}

pub(super) fn numbered(logs: &[Log]) -> impl Iterator<Item = (Partition, &Log)> {
    Partition::all(PARTITIONS_PER_TOPIC_MAX).zip(logs)
}
