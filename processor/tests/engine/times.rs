//! Rows with times that their topic does not take are told of and passed over, each judged once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use client::fake::FakeBroker;
use client::transport::Transport;
use protocol::id::{Timestamp, TopicName};
use protocol::verbs::TopicSpec;
use thalweg_processor::clock::Clock;
use thalweg_processor::{Engine, EngineConfig};

use crate::support::{create_topic, feed, rows, run, until, values};

const NOW: i64 = 1_700_000_000_000;

/// The row that is ahead of the clock.
const AHEAD: i64 = NOW + 7_200_000;

const STATEMENTS: &str = "CREATE STREAM FUT (ID INT, EV BIGINT) WITH (KAFKA_TOPIC='fut', VALUE_FORMAT='JSON', TIMESTAMP='ev');
    CREATE STREAM FUTD AS SELECT ID FROM FUT;";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn open_at(broker: &Arc<FakeBroker>, now: &Arc<AtomicI64>) -> Engine {
    let now = Arc::clone(now);
    let clock = Clock::of(move || Timestamp(now.load(Ordering::Relaxed)));
    Engine::open(broker.clone(), broker.clone(), EngineConfig { clock }).await.unwrap()
}

/// A source, and a sink that takes times up to one hour ahead.
async fn topics(broker: &Arc<FakeBroker>) {
    create_topic(broker, "fut", 1).await;
    let limit = ("message.timestamp.after.max.ms".to_owned(), "3600000".to_owned());
    let settings = BTreeMap::from([limit]);
    let name = "FUTD".parse().unwrap();
    broker.create_topic(TopicSpec { name, partitions: Some(1), settings }).await.unwrap();
}

async fn feed_times(broker: &Arc<FakeBroker>, first: usize, times: &[i64]) {
    let row = |(id, time)| (None, format!(r#"{{"id":{id},"ev":{time}}}"#));
    feed(broker, "fut", 0, (first..).zip(times).map(row)).await;
}

fn ids(broker: &FakeBroker) -> Vec<String> {
    values(broker, "FUTD").into_iter().map(|(_, value)| value).collect()
}

fn rows_of(ids: &[usize]) -> Vec<String> {
    ids.iter().map(|id| format!(r#"{{"ID":{id}}}"#)).collect()
}

#[test]
fn a_row_from_the_future_is_told_of_and_the_query_goes_on() {
    let broker = FakeBroker::new();
    let times = [1_000, 4_102_444_800_000, 2_000, i64::MAX, i64::MIN, -5, -1, 0, i64::MIN, NOW];
    runtime().block_on(async {
        topics(&broker).await;
        let engine = open_at(&broker, &Arc::new(AtomicI64::new(NOW))).await;
        run(&engine, STATEMENTS).await;
        feed_times(&broker, 0, &times).await;
        let log: TopicName = "_thalweg_processing_log".parse().unwrap();
        until("what can be written is, and the rest is told of", || {
            values(&broker, "FUTD").len() >= 8 && broker.records(&log).len() >= 2
        })
        .await;
        let queries = rows(&run(&engine, "SHOW QUERIES;").await);
        assert_eq!(queries[0][1], "RUNNING", "{queries:?}");
        engine.close().await;
        let told = values(&broker, "_thalweg_processing_log");
        assert_eq!(told.len(), 2, "{told:?}");
        for ((_, told), offset) in told.iter().zip([1, 3]) {
            assert!(told.contains("message.timestamp.after.max.ms"), "{told}");
            assert!(told.contains(&format!(r#""offset":{offset},"step":"encode""#)), "{told}");
        }
    });
    assert_eq!(ids(&broker), rows_of(&[0, 2, 4, 5, 6, 7, 8, 9]));
    let written = broker.records(&"FUTD".parse().unwrap());
    let written = written.into_iter().map(|(_, _, record)| record.timestamp.unwrap().0);
    let kept = times.into_iter().filter(|time| *time <= NOW);
    assert_eq!(written.collect::<Vec<_>>(), kept.collect::<Vec<_>>());
}

#[test]
fn a_row_that_was_passed_over_stays_so_after_a_kill_whatever_the_clock_says_then() {
    let broker = FakeBroker::new();
    let now = Arc::new(AtomicI64::new(NOW));
    runtime().block_on(async {
        topics(&broker).await;
        let engine = open_at(&broker, &now).await;
        run(&engine, STATEMENTS).await;
        feed_times(&broker, 0, &[NOW, AHEAD, NOW, NOW]).await;
        until("the rows are there", || ids(&broker).len() >= 3).await;
    });
    now.store(AHEAD, Ordering::Relaxed);
    runtime().block_on(async {
        let engine = open_at(&broker, &now).await;
        feed_times(&broker, 4, &[NOW, AHEAD]).await;
        until("the rows are there", || ids(&broker).len() >= 5).await;
        engine.close().await;
    });
    assert_eq!(ids(&broker), rows_of(&[0, 2, 3, 4, 5]));
}
