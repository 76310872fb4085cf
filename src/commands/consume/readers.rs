//! The consumers of one command read as one: how far they are, where they end, how they step over damage.

use std::sync::Arc;
use std::time::Duration;

use client::admin::Admin;
use client::consumer::{ConsumedRecord, Consumer, ConsumerConfig};
use client::error::Error;
use client::transport::Transport;
use futures_util::future::select_all;
use protocol::id::{Offset, Partition, TopicName};
use protocol::limits::MIB;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::Position;

use crate::args::ConsumeArgs;
use crate::exit::Failure;

/// A broker that cannot be reached for so long ends the command.
const GIVE_UP: Duration = Duration::from_secs(15);
/// Bytes that all readers together read ahead.
const READ_AHEAD_BYTES: usize = 32 * MIB;

/// The consumers of the command: one for all partitions; or one for each, so that it is known where damage was met
/// and only that partition steps over it.
#[derive(Debug)]
pub(super) struct Readers(Vec<Reader>);

#[derive(Debug)]
struct Reader {
    consumer: Consumer,
    /// The only partition that it reads, where it is one.
    partition: Option<Partition>,
}

impl Readers {
    /// Consumers of what was asked for, from a position on.
    pub(super) async fn open(
        transport: Arc<dyn Transport>,
        args: &ConsumeArgs,
        at: Position,
    ) -> Result<Self, Failure> {
        let partitions = match args.partition {
            None if args.skip_damaged => {
                let topic = Admin::new(transport.clone()).describe_topic(&args.topic).await?;
                topic.partitions.iter().map(|found| Some(found.partition)).collect()
            }
            given => vec![given],
        };
        let config = ConsumerConfig::default()
            .give_up(GIVE_UP)
            .buffer_bytes(READ_AHEAD_BYTES / partitions.len().max(1));
        let mut readers = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let mut consumer = Consumer::new(transport.clone(), config.clone());
            consumer.assign(&args.topic, partition, at).await?;
            readers.push(Reader { consumer, partition });
        }
        Ok(Self(readers))
    }

    /// The ends of all partitions now. A place behind an end is refused: nothing would ever be read there.
    pub(super) async fn ends(&self) -> Result<Ends, Failure> {
        let mut ends = Vec::new();
        for reader in &self.0 {
            ends.extend(reader.consumer.ends().await?);
        }
        for (topic, partition, end) in &ends {
            if let Some(position) = self.position(topic, *partition).filter(|at| at > end) {
                let message = format!(
                    "topic {topic}, partition {partition}: offset {position} lies behind the end, {end}"
                );
                return Err(Refusal::new(Outcome::OffsetOutOfRange, message)
                    .resume_at(*end)
                    .into());
            }
        }
        Ok(Ends(ends))
    }

    /// The next records of any reader, or its error with its number. May be cancelled: nothing is lost.
    pub(super) async fn next_batch(&mut self) -> (usize, Result<Vec<ConsumedRecord>, Error>) {
        let readers = self.0.iter_mut();
        let batches = readers.map(|reader| Box::pin(reader.consumer.next_batch()));
        let (batch, index, _) = select_all(batches).await;
        (index, batch)
    }

    /// Where reading of a partition stands.
    pub(super) fn position(&self, topic: &TopicName, partition: Partition) -> Option<Offset> {
        self.0.iter().find_map(|reader| reader.consumer.position(topic, partition))
    }

    /// Goes on behind damage that a reader met.
    pub(super) async fn step_over(
        &mut self,
        index: usize,
        topic: &TopicName,
        error: Error,
    ) -> Result<(), Failure> {
        let place = self.0.get_mut(index).and_then(|reader| {
            let partition = reader.partition?;
            let position = reader.consumer.position(topic, partition)?;
            let resume_at = error.resume_at().filter(|resume_at| *resume_at > position)?;
            Some((&mut reader.consumer, partition, resume_at))
        });
        match place {
            Some((consumer, partition, resume_at)) => {
                Ok(consumer.seek(topic, partition, Position::Offset(resume_at)).await?)
            }
            // Nothing says where to go on, or it would be where we stand.
            None => Err(error.into()),
        }
    }
}

/// The ends of the partitions when reading began.
#[derive(Debug)]
pub(super) struct Ends(Vec<(TopicName, Partition, Offset)>);

impl Ends {
    /// True for what was there when reading began.
    pub(super) fn cover(&self, record: &ConsumedRecord) -> bool {
        self.0.iter().any(|(topic, partition, end)| {
            *topic == record.topic && *partition == record.partition && record.offset < *end
        })
    }

    /// True when reading stands at or behind all of them.
    pub(super) fn are_reached(
        &self,
        position: impl Fn(&TopicName, Partition) -> Option<Offset>,
    ) -> bool {
        self.0.iter().all(|(topic, partition, end)| {
            position(topic, *partition).is_some_and(|position| position >= *end)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use client::fake::FakeBroker;
    use client::producer::{Producer, ProducerConfig};
    use protocol::record::Record;

    use super::*;
    use crate::args::{Args, Command};

    fn args(flags: &str) -> ConsumeArgs {
        let line = format!("thalweg consume t {flags}");
        match Args::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Consume(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn offset(offset: i64) -> Offset {
        Offset::new(offset).unwrap()
    }

    /// Two partitions with ten records each, every record in a batch of its own.
    async fn broker() -> Arc<FakeBroker> {
        let broker = FakeBroker::with_topic("t", 2);
        let producer = Producer::new(broker.clone(), ProducerConfig::default());
        for number in 0..10 {
            for partition in Partition::all(2) {
                let record = Record::of_value(number.to_string());
                let topic = "t".parse().unwrap();
                producer.send(&topic, Some(partition), record).await.unwrap().await.unwrap();
            }
        }
        broker
    }

    /// Reads to the end, stepping over damage; gives the offsets of each partition and the number of steps.
    async fn read(mut readers: Readers) -> Result<([Vec<i64>; 2], usize), Failure> {
        let topic: TopicName = "t".parse().unwrap();
        let ends = readers.ends().await?;
        let mut found = [Vec::new(), Vec::new()];
        let mut steps = 0;
        while !ends.are_reached(|topic, partition| readers.position(topic, partition)) {
            match readers.next_batch().await {
                (_, Ok(records)) => {
                    for record in records {
                        found[record.partition.get() as usize].push(record.offset.get());
                    }
                }
                (index, Err(error)) => {
                    assert_eq!(error.outcome(), Outcome::DamagedData);
                    readers.step_over(index, &topic, error).await?;
                    steps += 1;
                }
            }
        }
        Ok((found, steps))
    }

    #[tokio::test]
    async fn only_the_damaged_records_are_left_out() {
        let broker = broker().await;
        broker.damage(&"t".parse().unwrap(), Partition::new(1).unwrap(), offset(4));
        let args = args("--skip-damaged");
        let readers = Readers::open(broker, &args, Position::Earliest).await.unwrap();
        assert_eq!(readers.0.len(), 2);
        let (found, steps) = read(readers).await.unwrap();
        assert_eq!(found[0], (0..10).collect::<Vec<_>>());
        assert_eq!(found[1], [0, 1, 2, 3, 5, 6, 7, 8, 9]);
        assert_eq!(steps, 1);
    }

    #[tokio::test]
    async fn one_consumer_reads_all_partitions_and_stops_at_damage() {
        let broker = broker().await;
        let readers = Readers::open(broker.clone(), &args(""), Position::Earliest).await.unwrap();
        assert_eq!(readers.0.len(), 1);
        let (found, _) = read(readers).await.unwrap();
        assert_eq!(found.map(|offsets| offsets.len()), [10, 10]);
        broker.damage(&"t".parse().unwrap(), Partition::ZERO, offset(4));
        let readers = Readers::open(broker, &args(""), Position::Earliest).await.unwrap();
        let refused = read(readers).await.unwrap_err();
        assert_eq!(refused.refusal().unwrap().outcome, Outcome::DamagedData);
    }

    #[tokio::test]
    async fn a_place_behind_the_end_is_refused() {
        let at = Position::Offset(offset(11));
        let readers = Readers::open(broker().await, &args("-e"), at).await.unwrap();
        let refused = readers.ends().await.unwrap_err();
        assert_eq!(refused.refusal().unwrap().outcome, Outcome::OffsetOutOfRange);
    }

    #[test]
    fn the_end_is_where_it_was_when_reading_began() {
        let topic: TopicName = "t".parse().unwrap();
        let ends = Ends(vec![(topic.clone(), Partition::ZERO, offset(2))]);
        let record = |at| ConsumedRecord {
            topic: topic.clone(),
            partition: Partition::ZERO,
            offset: offset(at),
            timestamp: protocol::id::Timestamp(0),
            key: None,
            value: None,
            headers: Vec::new(),
        };
        assert!(ends.cover(&record(1)));
        assert!(!ends.cover(&record(2)));
        assert!(!ends.are_reached(|_, _| None));
        assert!(!ends.are_reached(|_, _| Some(offset(1))));
        assert!(ends.are_reached(|_, _| Some(offset(2))));
        assert!(Ends(Vec::new()).are_reached(|_, _| None));
    }
}
