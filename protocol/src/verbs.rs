//! What can be asked of a broker, and what it answers, as plain types free of any wire.
//!
//! The broker's service takes these and the client's transport sends them: over gRPC each side translates at its
//! door, in one process they pass through unchanged. One set of types, so that the two halves cannot drift apart.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::batch::Batch;
use crate::id::{Offset, Partition, ProducerEpoch, ProducerId, Timestamp, TopicId, TopicName};
use crate::outcome::Refusal;

/// Appends batches, each to one partition. Each entry succeeds or fails by itself.
#[derive(Clone, Debug, Default)]
pub struct ProduceRequest {
    /// Applied in order where two name the same partition.
    pub entries: Vec<ProduceEntry>,
}

/// One batch for one partition.
#[derive(Clone, Debug)]
pub struct ProduceEntry {
    /// Where to.
    pub topic: TopicName,
    /// Where to.
    pub partition: Partition,
    /// One checked batch.
    pub batch: Batch,
}

/// The answers to the entries of a [`ProduceRequest`], in their order.
#[derive(Clone, Debug, Default)]
pub struct ProduceReply {
    /// What became of each entry.
    pub entries: Vec<Result<Appended, Refusal>>,
}

/// A batch that is in the log, as durable as its topic asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset that its first record got.
    pub base_offset: Offset,
    /// The time that all its records got, where the topic has append time.
    pub append_time: Option<Timestamp>,
    /// True when the broker had it already: an idempotent producer has sent it again.
    pub repeated: bool,
}

/// Reads batches from many partitions, waiting for new ones if need be.
#[derive(Clone, Debug, Default)]
pub struct FetchRequest {
    /// Where from.
    pub entries: Vec<FetchEntry>,
    /// Wait until this many bytes can be answered...
    pub bytes_min: u32,
    /// ...or this much time has passed, in milliseconds. 0 answers at once.
    pub wait_ms_max: u32,
    /// Answer with about this many bytes at most; always with one whole batch if there is one.
    pub bytes_max: u32,
}

/// A place to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchEntry {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: Partition,
    /// The first record wanted. The answer may begin earlier: batches stay whole.
    pub offset: Offset,
    /// At most about this many bytes from this partition.
    pub bytes_max: u32,
}

/// The answers to the entries of a [`FetchRequest`], in their order.
#[derive(Clone, Debug, Default)]
pub struct FetchReply {
    /// What each partition has.
    pub entries: Vec<Result<Fetched, Refusal>>,
}

/// What a partition has at the place asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Whole batches as stored, several in one piece where they lie together. Empty at the end.
    pub batches: Vec<Bytes>,
    /// The first offset that the partition still has.
    pub start: Offset,
    /// The end of what readers may see: `..end`.
    pub end: Offset,
}

impl Fetched {
    /// Bytes of all batches.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(Bytes::len).sum()
    }
}

/// A place in a partition, as people say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The first record that is still there.
    Earliest,
    /// Behind the last record.
    Latest,
    /// This record.
    Offset(Offset),
    /// The first record with this time or a later one; the end if there is none.
    Time(Timestamp),
}

/// Asks where a position lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionEntry {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: Partition,
    /// The place.
    pub at: Position,
}

/// Where a position lies now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositionFound {
    /// The offset to read from.
    pub offset: Offset,
    /// For a time: that of the record found. `None` at the end.
    pub timestamp: Option<Timestamp>,
}

/// The identity of an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// The id, never given twice.
    pub id: ProducerId,
    /// Its life.
    pub epoch: ProducerEpoch,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: TopicName,
    /// How many partitions; `None` for the broker's default.
    pub partitions: Option<u32>,
    /// Settings by Kafka's names, as text; what is not given has the broker's default.
    pub settings: BTreeMap<String, String>,
}

/// Changes to a topic. What is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicChange {
    /// A larger number of partitions.
    pub partitions: Option<u32>,
    /// Settings to set, or with `None` to put back to the broker's default.
    pub settings: BTreeMap<String, Option<String>>,
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: TopicName,
    /// This life of it.
    pub id: TopicId,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionDescription>,
    /// Every setting, in the order of their names.
    pub settings: Vec<SettingDescription>,
}

/// A partition as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: Partition,
    /// The first offset that is still there.
    pub start: Offset,
    /// The end of what readers may see: `..end`.
    pub end: Offset,
    /// Bytes of its segments on disk.
    pub bytes: u64,
    /// Why it takes no writes, if it does not.
    pub failure: Option<String>,
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingDescription {
    /// Kafka's name.
    pub name: String,
    /// The value in force, as text.
    pub value: String,
    /// True when the topic does not set it itself.
    pub is_default: bool,
}

/// The broker as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerDescription {
    /// The version of the program.
    pub version: String,
    /// The id of the data folder: the same through all restarts.
    pub cluster_id: String,
    /// How durable an acknowledged record is unless its topic says otherwise: `sync`, `interval(N ms)` or `os`.
    pub durability: String,
    /// Topics there are.
    pub topics: u64,
    /// Partitions there are.
    pub partitions: u64,
}
