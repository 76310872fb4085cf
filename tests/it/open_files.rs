//! A process that may open few files: more partitions than that are written and read, and nobody is refused.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use client::admin::Admin;
use client::consumer::{Consumer, ConsumerConfig};
use client::grpc::GrpcTransport;
use client::producer::{Producer, ProducerConfig};
use protocol::id::{Partition, TopicName};
use protocol::record::Record;
use protocol::verbs::{Position, TopicSpec};

use crate::support::{BrokerProcess, DEADLINE};

const PARTITIONS: u32 = 150;
const ROUNDS: u64 = 3;

/// The hard limit too, so that the broker cannot raise it.
const LAUNCHER: [&str; 3] = ["sh", "-c", "ulimit -n 100; exec \"$0\" \"$@\""];

fn topic() -> TopicName {
    "wide".parse().unwrap()
}

/// One record for each partition, then all of them waited for, some rounds long.
async fn write(transport: &std::sync::Arc<GrpcTransport>) {
    let config = ProducerConfig::default().delivery_timeout(DEADLINE);
    let producer = Producer::new(transport.clone(), config);
    for round in 0..ROUNDS {
        for partition in Partition::all(PARTITIONS) {
            let record = Record::of_value(format!("{} {round}", partition.get()));
            producer.send(&topic(), Some(partition), record).await.unwrap();
        }
        producer.flush().await.unwrap();
    }
    producer.close().await.unwrap();
}

/// The rounds found in each partition, in order.
async fn read(transport: &std::sync::Arc<GrpcTransport>) -> BTreeMap<u32, Vec<u64>> {
    let mut consumer = Consumer::new(transport.clone(), ConsumerConfig::default());
    consumer.assign(&topic(), None, Position::Earliest).await.unwrap();
    let mut found: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for _ in 0..u64::from(PARTITIONS) * ROUNDS {
        let record = tokio::time::timeout(DEADLINE, consumer.next()).await.unwrap().unwrap();
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let (partition, round) = value.split_once(' ').unwrap();
        assert_eq!(partition, record.partition.get().to_string());
        found.entry(record.partition.get()).or_default().push(round.parse().unwrap());
    }
    found
}

fn metric(broker: &BrokerProcess, name: &str) -> u64 {
    let mut stream = TcpStream::connect(&broker.http).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_take_turns_where_few_files_may_be_open() {
    let folder = tempfile::tempdir().unwrap();
    // Without a tail every reader needs a file.
    let settings = ["shards=2", "tail_bytes_max=0", "durability=os"];
    let launcher = LAUNCHER.map(str::to_owned);
    let mut broker = BrokerProcess::start_by(&launcher, &folder.path().join("data"), &settings);
    let transport = GrpcTransport::connect(&broker.grpc).unwrap();
    let spec = TopicSpec { name: topic(), partitions: Some(PARTITIONS), settings: BTreeMap::new() };
    Admin::new(transport.clone()).create_topic(spec).await.unwrap();
    write(&transport).await;
    let wanted: BTreeMap<u32, Vec<u64>> =
        (0..PARTITIONS).map(|partition| (partition, (0..ROUNDS).collect())).collect();
    assert_eq!(read(&transport).await, wanted);
    assert!(metric(&broker, "thalweg_logs_parked_total") > u64::from(PARTITIONS));

    broker.kill();
    broker.restart();
    assert_eq!(read(&transport).await, wanted);
}
