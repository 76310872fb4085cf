//! A source that is not what a checkpoint says: another topic of its name, or one that ends before the position. Pure.
//!
//! | the source | where the task goes on | what is told |
//! |---|---|---|
//! | is the same and reaches the position, or the checkpoint is of a version that kept no id | there | nothing |
//! | is the same and ends before the position: its last records were lost, as by a loss of power | at its end | yes |
//! | is another topic: deleted and made again | at its first record | yes |
//!
//! Rows that were derived stay in each case, and none of them is awaited any more: what is made from here on is new.

use client::error::{Error, Result};
use protocol::id::{Offset, Partition, TopicId, TopicName};
use protocol::outcome::Outcome;
use protocol::verbs::TopicDescription;

use super::checkpoint::Checkpoint;
use super::passed_over::PassedOver;
use crate::frontier::Frontier;

/// One partition of a source as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name of its topic.
    pub topic: TopicName,
    /// This life of the topic.
    pub id: TopicId,
    /// Which partition.
    pub partition: Partition,
    /// The first offset that is still there.
    pub start: Offset,
    /// The end of what readers may see: `..end`.
    pub end: Offset,
}

impl Found {
    /// A partition of a topic.
    ///
    /// # Errors
    /// When the topic does not have it, or it cannot be read now: then nobody knows where it ends.
    pub fn of(topic: &TopicDescription, partition: Partition) -> Result<Self> {
        let name = &topic.name;
        let found = topic.partitions.iter().find(|found| found.partition == partition);
        let found = found.ok_or_else(|| {
            let count = topic.partitions.len();
            let message = format!(
                "topic {name} has {count} partitions; partition {partition} was read: add partitions, or start the broker again to read those that are there"
            );
            Error::new(Outcome::UnknownPartition, message)
        })?;
        if let Some(failure) = &found.failure {
            let message = format!("reading: {failure}");
            return Err(Error::new(Outcome::StorageFailed, message));
        }
        let (start, end) = (found.start, found.end);
        Ok(Self { topic: name.clone(), id: topic.id, partition, start, end })
    }

    /// Moves a checkpoint, which has been through the scan of the sink, to where the task goes on. Gives what to tell,
    /// if it was moved. Its producer must be another one then: the same sequences stand for other rows.
    pub fn shift(&self, checkpoint: &mut Checkpoint) -> Option<String> {
        let Self { topic, partition, .. } = self;
        let position = checkpoint.mark.source_next;
        let is_other = checkpoint.source.is_some_and(|known| known != self.id);
        checkpoint.source = Some(self.id);
        let place = format!("topic {topic}, partition {partition}");
        let (next, told) = if is_other {
            checkpoint.mark.frontier = Frontier::START;
            let told = format!(
                "{place}: the topic was deleted and made again; read from its first record on, offset {}, instead of {position}; rows derived from the old one stay",
                self.start
            );
            (self.start, told)
        } else if position > self.end {
            let told = format!(
                "{place}: it ends at offset {} and was read up to {position}: {} records were lost there, as by a loss of power; went on at its end; rows derived from them stay",
                self.end,
                position.since(self.end)
            );
            (self.end, told)
        } else {
            return None;
        };
        checkpoint.mark.source_next = next;
        checkpoint.mark.already.fill(0);
        checkpoint.passed_over = PassedOver::default();
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use protocol::id::{ProducerEpoch, ProducerId, Timestamp};
    use protocol::verbs::{PartitionDescription, ProducerIdentity};

    use super::*;

    fn at(offset: i64) -> Offset {
        Offset::new(offset).unwrap()
    }

    fn id(digit: char) -> TopicId {
        digit.to_string().repeat(32).parse().unwrap()
    }

    /// Read up to offset 10; seven rows behind that are in the sink.
    fn checkpoint(source: Option<TopicId>) -> Checkpoint {
        let identity = ProducerIdentity { id: ProducerId(1), epoch: ProducerEpoch(0) };
        let mut checkpoint = Checkpoint::first(identity, id('1'), at(10), &[at(0)]);
        checkpoint.mark.already = vec![7];
        checkpoint.mark.frontier = Frontier::at(Some(Timestamp(5)));
        checkpoint.source = source;
        checkpoint
    }

    #[test]
    fn a_partition_that_is_offline_or_missing_has_no_end() {
        let described = |failure: Option<&str>| TopicDescription {
            name: "t".parse().unwrap(),
            id: id('1'),
            partitions: vec![PartitionDescription {
                partition: Partition::ZERO,
                start: at(0),
                end: at(if failure.is_some() { 0 } else { 9 }),
                bytes: 0,
                failure: failure.map(str::to_owned),
            }],
            settings: Vec::new(),
        };
        assert_eq!(Found::of(&described(None), Partition::ZERO).unwrap().end, at(9));
        let offline = Found::of(&described(Some("no folder")), Partition::ZERO).unwrap_err();
        assert_eq!(offline.outcome(), Outcome::StorageFailed);
        assert!(offline.message().contains("no folder"), "{offline:?}");
        let missing = Found::of(&described(None), Partition::new(1).unwrap()).unwrap_err();
        assert_eq!(missing.outcome(), Outcome::UnknownPartition);
    }

    #[test]
    fn each_row_of_the_table() {
        for (known, now, start, end, expected) in [
            (Some(id('1')), id('1'), 0, 10, None),
            (Some(id('1')), id('1'), 12, 20, None),
            (None, id('2'), 0, 10, None),
            (None, id('2'), 0, 9, Some((9, "1 records were lost"))),
            (Some(id('1')), id('1'), 0, 8, Some((8, "2 records were lost"))),
            (Some(id('1')), id('2'), 0, 8, Some((0, "deleted and made again"))),
            (Some(id('1')), id('2'), 3, 30, Some((3, "deleted and made again"))),
        ] {
            let found = Found {
                topic: "t".parse().unwrap(),
                id: now,
                partition: Partition::ZERO,
                start: at(start),
                end: at(end),
            };
            let before = checkpoint(known);
            let mut after = before.clone();
            let told = found.shift(&mut after);
            assert_eq!(after.source, Some(now));
            match expected {
                None => {
                    assert_eq!(told, None);
                    assert_eq!(after, Checkpoint { source: Some(now), ..before });
                }
                Some((next, text)) => {
                    let told = told.unwrap();
                    assert!(told.contains(text), "{told}");
                    assert_eq!(after.mark.source_next, at(next));
                    assert_eq!(after.mark.already, [0]);
                    let is_other = known.is_some_and(|known| known != now);
                    assert_eq!(after.mark.frontier.time().is_none(), is_other);
                    assert_eq!(found.shift(&mut after), None, "moved once");
                }
            }
        }
    }
}
