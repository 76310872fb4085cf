//! Writers that number their records, and the check that every broker must pass whatever was done to it meanwhile: each
//! writer's numbers are there in order, each once, without a gap, and where they were acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::admin::Admin;
use client::consumer::{Consumer, ConsumerConfig};
use client::grpc::GrpcTransport;
use client::producer::{Producer, ProducerConfig};
use protocol::id::TopicName;
use protocol::record::Record;
use protocol::verbs::{Position, TopicSpec};
use tokio::task::JoinHandle;

use crate::support::DEADLINE;

/// (producer, number) -> (partition, offset), as acknowledged.
pub(crate) type Acknowledged = BTreeMap<(u64, u64), (u32, i64)>;

/// For each producer its numbers in the order of the log, with their places.
type Found = BTreeMap<u64, Vec<(u64, (u32, i64))>>;

/// Idempotent producers that write until they are told to stop, each to one partition that its key chooses.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    producers: Vec<JoinHandle<Acknowledged>>,
}

impl Load {
    /// Lets `producers` of them write to a new topic of four partitions.
    pub(crate) async fn start(grpc: &str, topic: &TopicName, producers: u64) -> Self {
        let spec =
            TopicSpec { name: topic.clone(), partitions: Some(4), settings: BTreeMap::new() };
        Admin::new(GrpcTransport::connect(grpc).unwrap()).create_topic(spec).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let producers = (0..producers)
            .map(|number| {
                let config = ProducerConfig::default().delivery_timeout(DEADLINE);
                let producer = Producer::new(GrpcTransport::connect(grpc).unwrap(), config);
                let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
                tokio::spawn(produce(number, producer, topic.clone(), stop, count))
            })
            .collect();
        Self { stop, count, producers }
    }

    /// Waits until so many more records are acknowledged.
    pub(crate) async fn acknowledges(&self, more: u64) {
        let wanted = self.count.load(Ordering::Relaxed) + more;
        let started = Instant::now();
        while self.count.load(Ordering::Relaxed) < wanted {
            assert!(started.elapsed() < DEADLINE, "the producers do not go on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the producers and gives all that was acknowledged to them.
    pub(crate) async fn stop(self) -> Acknowledged {
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Acknowledged::new();
        for producer in self.producers {
            acknowledged.extend(producer.await.unwrap());
        }
        acknowledged
    }
}

async fn produce(
    producer_number: u64,
    producer: Producer,
    topic: TopicName,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut tickets = Vec::new();
        for _ in 0..50 {
            let key = format!("producer-{producer_number}");
            let value = format!("{producer_number} {number} {}", "x".repeat(100));
            let ticket = producer.send(&topic, None, Record::new(key, value)).await.unwrap();
            tickets.push((number, ticket));
            number += 1;
        }
        for (number, ticket) in tickets {
            let placed = ticket.await.expect("an idempotent producer outlives a restart");
            acknowledged
                .insert((producer_number, number), (placed.partition.get(), placed.offset.get()));
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    producer.close().await.unwrap();
    acknowledged
}

/// The first `total` records of a topic, or all that are there now.
async fn read(transport: Arc<GrpcTransport>, topic: &TopicName, total: Option<usize>) -> Found {
    let mut consumer = Consumer::new(transport, ConsumerConfig::default());
    consumer.assign(topic, None, Position::Earliest).await.unwrap();
    let ends = consumer.ends().await.unwrap();
    let there = ends.iter().map(|(_, _, end)| usize::try_from(end.get()).unwrap()).sum();
    let mut found = Found::new();
    for _ in 0..total.unwrap_or(there) {
        let record = tokio::time::timeout(DEADLINE, consumer.next()).await.unwrap().unwrap();
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let mut words = value.split(' ').map(|word| word.parse::<u64>());
        let (producer, number) = (words.next().unwrap().unwrap(), words.next().unwrap().unwrap());
        let place = (record.partition.get(), record.offset.get());
        found.entry(producer).or_default().push((number, place));
    }
    found
}

fn assert_in_order(found: &Found) {
    for (producer, numbers) in found {
        let order: Vec<u64> = numbers.iter().map(|(number, _)| *number).collect();
        let wanted: Vec<u64> = (0..numbers.len() as u64).collect();
        assert_eq!(order, wanted, "producer {producer}: lost, repeated or reordered");
    }
}

/// Reads the whole topic: nothing lost, repeated or reordered, and everything at the place that was acknowledged. Gives
/// the number of its records.
pub(crate) async fn assert_all_there(
    transport: Arc<GrpcTransport>,
    topic: &TopicName,
    acknowledged: &Acknowledged,
) -> usize {
    let found = read(transport, topic, None).await;
    assert_in_order(&found);
    let places: Acknowledged = found
        .iter()
        .flat_map(|(producer, numbers)| {
            numbers.iter().map(|(number, place)| ((*producer, *number), *place))
        })
        .collect();
    for (record, place) in acknowledged {
        assert_eq!(places.get(record), Some(place), "{record:?} was acknowledged at {place:?}");
    }
    places.len()
}

/// Waits until a copy of the topic has so many records: each producer's numbers in order, each once, and no more than
/// these.
pub(crate) async fn assert_copied(transport: Arc<GrpcTransport>, copy: &TopicName, total: usize) {
    let found = read(Arc::clone(&transport), copy, Some(total)).await;
    assert_in_order(&found);
    let there: usize = read(transport, copy, None).await.values().map(Vec::len).sum();
    assert_eq!(there, total, "the copy repeats records");
}
