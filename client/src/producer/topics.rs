//! Pure: the topics that a producer writes to: how many partitions each has, which lane stands for which of them, and
//! which of them records without a key go to. Asking the broker is the business of others; they are told here when a
//! count has become old.

use std::collections::HashMap;
use std::time::Duration;

use protocol::id::{Partition, TopicName};
use tokio::time::Instant;

use super::partitioner::partition_for_key;
use crate::retry::Rng;

/// The number of a lane, from 0 in the order in which partitions were first written to.
pub(super) type LaneId = usize;

/// The number of a topic, from 0 in the order in which topics were first written to.
pub(super) type TopicIndex = usize;

/// A count older than this is asked for again: topics may have been given more partitions.
pub(super) const AGE_MAX: Duration = Duration::from_secs(60);

/// How many partitions a topic has, and since when that is known.
#[derive(Clone, Copy, Debug)]
struct Count {
    /// At least 1.
    partitions: u32,
    learned: Instant,
}

#[derive(Debug)]
struct Topic {
    name: TopicName,
    /// `None` until it is learned, and again when it turned out wrong.
    count: Option<Count>,
    /// By the number of the partition; as long as the greatest that was written to.
    lanes: Vec<Option<LaneId>>,
    /// The partition that records without a key go to until its batch is closed.
    sticky: Option<Partition>,
    rotation: u32,
}

/// The topics of a producer. See the head of the file.
#[derive(Debug)]
pub(super) struct Topics {
    topics: Vec<Topic>,
    by_name: HashMap<TopicName, TopicIndex>,
    /// The topic of the last record: most often also that of the next.
    last: TopicIndex,
    rng: Rng,
}

impl Topics {
    pub(super) fn new(rng: Rng) -> Self {
        Self { topics: Vec::new(), by_name: HashMap::new(), last: 0, rng }
    }

    /// The number of a topic, which it gets now if it is new.
    pub(super) fn index(&mut self, name: &TopicName) -> TopicIndex {
        if self.topics.get(self.last).is_some_and(|topic| topic.name == *name) {
            return self.last;
        }
        self.last = match self.by_name.get(name) {
            Some(index) => *index,
            None => self.add(name),
        };
        self.last
    }

    /// The name of a topic.
    pub(super) fn name(&self, index: TopicIndex) -> &TopicName {
        &self.topics[index].name
    }

    /// The topic has this many partitions.
    pub(super) fn learn(&mut self, name: &TopicName, partitions: u32, now: Instant) {
        let index = self.index(name);
        self.topics[index].count = Some(Count { partitions: partitions.max(1), learned: now });
    }

    /// True when the number of partitions is known.
    pub(super) fn is_known(&self, name: &TopicName) -> bool {
        self.by_name.get(name).is_some_and(|index| self.topics[*index].count.is_some())
    }

    /// What was known of the topic turned out wrong.
    pub(super) fn forget(&mut self, index: TopicIndex) {
        self.topics[index].count = None;
    }

    /// The topic's name when its count has become old; not again before it has become old once more.
    pub(super) fn aged(&mut self, index: TopicIndex, now: Instant) -> Option<TopicName> {
        let topic = &mut self.topics[index];
        let count = topic.count.as_mut()?;
        if now.saturating_duration_since(count.learned) < AGE_MAX {
            return None;
        }
        count.learned = now;
        Some(topic.name.clone())
    }

    /// The partition of a record with this key, or without one. `None` as long as the number of partitions is unknown.
    pub(super) fn choose(&mut self, index: TopicIndex, key: Option<&[u8]>) -> Option<Partition> {
        let topic = &mut self.topics[index];
        let partitions = topic.count?.partitions;
        if let Some(key) = key {
            return Some(partition_for_key(key, partitions));
        }
        if let Some(sticky) = topic.sticky
            && sticky.get() < partitions
        {
            return Some(sticky);
        }
        topic.rotation = topic.rotation.wrapping_add(1);
        let next = topic.rotation.checked_rem(partitions).unwrap_or(0);
        topic.sticky = Some(Partition::new(next.into()).unwrap_or(Partition::ZERO));
        topic.sticky
    }

    /// The batch of this partition is closed: records without a key go to the next one.
    pub(super) fn unstick(&mut self, index: TopicIndex, partition: Partition) {
        self.topics[index].sticky.take_if(|sticky| *sticky == partition);
    }

    /// The lane of a partition, if it has one.
    pub(super) fn lane(&self, index: TopicIndex, partition: Partition) -> Option<LaneId> {
        self.topics[index].lanes.get(slot(partition)).copied().flatten()
    }

    /// From now on this lane stands for the partition.
    pub(super) fn set_lane(&mut self, index: TopicIndex, partition: Partition, lane: LaneId) {
        let lanes = &mut self.topics[index].lanes;
        if lanes.len() <= slot(partition) {
            lanes.resize(slot(partition) + 1, None);
        }
        lanes[slot(partition)] = Some(lane);
    }

    fn add(&mut self, name: &TopicName) -> TopicIndex {
        let index = self.topics.len();
        // The upper half is as random as the lower one.
        let rotation = u32::try_from(self.rng.next() >> 32).unwrap_or(0);
        self.topics.push(Topic {
            name: name.clone(),
            count: None,
            lanes: Vec::new(),
            sticky: None,
            rotation,
        });
        self.by_name.insert(name.clone(), index);
        index
    }
}

/// Partitions are few thousands at most, by their type.
fn slot(partition: Partition) -> usize {
    usize::try_from(partition.get()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        text.parse().unwrap()
    }

    #[test]
    fn topics_keep_their_numbers_and_partitions_their_lanes() {
        let mut topics = Topics::new(Rng::new(Some(1)));
        let (a, b) = (topics.index(&name("a")), topics.index(&name("b")));
        assert_ne!(a, b);
        let seven = Partition::new(7).unwrap();
        assert_eq!(topics.lane(a, seven), None);
        topics.set_lane(a, seven, 3);
        assert_eq!((topics.index(&name("a")), topics.index(&name("b"))), (a, b));
        assert_eq!((topics.lane(a, seven), topics.lane(a, Partition::ZERO)), (Some(3), None));
        assert_eq!(topics.lane(b, seven), None);
    }

    #[test]
    fn without_a_count_no_partition_is_chosen() {
        let mut topics = Topics::new(Rng::new(Some(1)));
        let now = Instant::now();
        let topic = topics.index(&name("t"));
        assert!(!topics.is_known(&name("t")) && topics.choose(topic, Some(b"key")).is_none());
        topics.learn(&name("t"), 5, now);
        assert!(topics.is_known(&name("t")));
        assert_eq!(topics.choose(topic, Some(b"foobar")), Some(partition_for_key(b"foobar", 5)));
        topics.forget(topic);
        assert!(topics.choose(topic, None).is_none());
    }

    #[test]
    fn a_count_is_called_old_once_and_goes_on_to_serve() {
        let mut topics = Topics::new(Rng::new(Some(1)));
        let now = Instant::now();
        let topic = topics.index(&name("t"));
        topics.learn(&name("t"), 5, now);
        assert_eq!(topics.aged(topic, now + AGE_MAX / 2), None);
        assert_eq!(topics.aged(topic, now + AGE_MAX), Some(name("t")));
        assert_eq!(topics.aged(topic, now + AGE_MAX), None);
        assert!(topics.choose(topic, None).is_some());
    }

    #[test]
    fn a_sticky_partition_that_is_no_more_is_left() {
        let mut topics = Topics::new(Rng::new(Some(1)));
        let now = Instant::now();
        let topic = topics.index(&name("t"));
        topics.learn(&name("t"), 9, now);
        while topics.choose(topic, None).unwrap() == Partition::ZERO {
            topics.unstick(topic, Partition::ZERO);
        }
        topics.learn(&name("t"), 1, now);
        assert_eq!(topics.choose(topic, None), Some(Partition::ZERO));
    }
}
