//! kill -9 under load, again and again: the story that every event log must survive.
//!
//! Eight idempotent producers write numbered records to four partitions through the real client. The real broker is
//! killed in the middle of it, restarted, killed again. At the end the whole topic is read. For every producer its
//! numbers must be there in order, each once, without a gap up to the last one that was acknowledged, at the offsets
//! that were acknowledged. A killed process loses nothing in any mode of durability: the operating system has the bytes.
//!
//! `THALWEG_KILL_ROUNDS` says how often the broker is killed in each mode (3 unless told).

use client::grpc::GrpcTransport;
use protocol::id::TopicName;

use crate::load::{self, Load};
use crate::support::BrokerProcess;

const PRODUCERS: u64 = 8;
/// New acknowledgements that must arrive between two kills, so that every life of the broker does real work.
const ACKNOWLEDGED_PER_ROUND: u64 = 500;

async fn survive(durability: &str) {
    let rounds = std::env::var("THALWEG_KILL_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    // Small segments, so that kills fall into rolls as well.
    let durability = format!("durability={durability}");
    let settings = [durability.as_str(), "topic.segment.bytes=65536"];
    let mut broker = BrokerProcess::start(folder.path(), &settings);
    let topic: TopicName = "numbers".parse().unwrap();
    let load = Load::start(&broker.grpc, &topic, PRODUCERS).await;
    for _ in 0..rounds {
        load.acknowledges(ACKNOWLEDGED_PER_ROUND).await;
        broker.kill();
        broker.restart();
    }
    let acknowledged = load.stop().await;
    assert!(acknowledged.len() as u64 >= rounds * ACKNOWLEDGED_PER_ROUND);
    let transport = GrpcTransport::connect(&broker.grpc).unwrap();
    load::assert_all_there(transport, &topic, &acknowledged).await;
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
