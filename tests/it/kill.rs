//! kill -9 under load, again and again: the story that every event log must survive.
//!
//! Eight idempotent producers write numbered records to four partitions through the real client. The real broker is
//! killed in the middle of it, restarted, killed again. At the end the whole topic is read. For every producer its
//! numbers must be there in order, each once, without a gap up to the last one that was acknowledged, at the offsets
//! that were acknowledged. A killed process loses nothing in any mode of durability: the operating system has the bytes.
//!
//! `THALWEG_KILL_ROUNDS` says how often the broker is killed in each mode (3 unless told).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::{BrokerProcess, DEADLINE};
use client::admin::Admin;
use client::consumer::{Consumer, ConsumerConfig};
use client::grpc::GrpcTransport;
use client::producer::{Producer, ProducerConfig};
use protocol::id::TopicName;
use protocol::record::Record;
use protocol::verbs::{Position, TopicSpec};

const PRODUCERS: u64 = 8;
const PARTITIONS: u32 = 4;
/// New acknowledgements that must arrive between two kills, so that every life of the broker does real work.
const ACKNOWLEDGED_PER_ROUND: u64 = 500;

/// (producer, number) -> (partition, offset), as acknowledged.
type Acknowledged = BTreeMap<(u64, u64), (u32, i64)>;

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

/// Reads everything: for each producer its numbers in the order of the log, with their places.
async fn read_all(
    transport: Arc<GrpcTransport>,
    topic: &TopicName,
) -> BTreeMap<u64, Vec<(u64, (u32, i64))>> {
    let mut consumer = Consumer::new(transport, ConsumerConfig::default());
    consumer.assign(topic, None, Position::Earliest).await.unwrap();
    let ends = consumer.ends().await.unwrap();
    let total: i64 = ends.iter().map(|(_, _, end)| end.get()).sum();
    let mut found: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for _ in 0..total {
        let record = tokio::time::timeout(DEADLINE, consumer.next()).await.unwrap().unwrap();
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let mut words = value.split(' ').map(|word| word.parse::<u64>());
        let (producer, number) = (words.next().unwrap().unwrap(), words.next().unwrap().unwrap());
        let place = (record.partition.get(), record.offset.get());
        found.entry(producer).or_default().push((number, place));
    }
    found
}

async fn survive(durability: &str) {
    let rounds = std::env::var("THALWEG_KILL_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    // Small segments, so that kills fall into rolls as well.
    let durability = format!("durability={durability}");
    let settings = [durability.as_str(), "topic.segment.bytes=65536"];
    let mut broker = BrokerProcess::start(folder.path(), &settings);
    let topic: TopicName = "numbers".parse().unwrap();
    let transport = GrpcTransport::connect(&broker.grpc).unwrap();
    let spec =
        TopicSpec { name: topic.clone(), partitions: Some(PARTITIONS), settings: BTreeMap::new() };
    Admin::new(transport.clone()).create_topic(spec).await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        let transport = GrpcTransport::connect(&broker.grpc).unwrap();
        let config = ProducerConfig::default().delivery_timeout(DEADLINE);
        let producer = Producer::new(transport, config);
        producers.push(tokio::spawn(produce(
            number,
            producer,
            topic.clone(),
            stop.clone(),
            count.clone(),
        )));
    }
    for round in 0..rounds {
        let wanted = count.load(Ordering::Relaxed) + ACKNOWLEDGED_PER_ROUND;
        let started = Instant::now();
        while count.load(Ordering::Relaxed) < wanted {
            assert!(
                started.elapsed() < DEADLINE,
                "round {round}: producers do not go on after a restart"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        broker.kill();
        broker.restart();
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Acknowledged::new();
    for producer in producers {
        acknowledged.extend(producer.await.unwrap());
    }

    let found = read_all(transport, &topic).await;
    for (producer, numbers) in &found {
        let order: Vec<u64> = numbers.iter().map(|(number, _)| *number).collect();
        let wanted: Vec<u64> = (0..numbers.len() as u64).collect();
        assert_eq!(order, wanted, "producer {producer}: lost, repeated or reordered");
    }
    let places: BTreeMap<(u64, u64), (u32, i64)> = found
        .iter()
        .flat_map(|(producer, numbers)| {
            numbers.iter().map(|(number, place)| ((*producer, *number), *place))
        })
        .collect();
    assert!(acknowledged.len() as u64 >= rounds * ACKNOWLEDGED_PER_ROUND);
    for (record, place) in &acknowledged {
        assert_eq!(places.get(record), Some(place), "{record:?} was acknowledged at {place:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_every_record_is_synced() {
    survive("sync").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_syncs_come_at_intervals() {
    survive("interval").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_system_syncs() {
    survive("os").await;
}
