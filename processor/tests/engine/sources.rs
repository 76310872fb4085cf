//! A source that is deleted and made again, or that has lost its last records: no row is left out and none is repeated.

use std::ops::Range;
use std::sync::Arc;

use client::fake::FakeBroker;
use client::transport::Transport;
use protocol::id::{Offset, Partition, TopicName};
use thalweg_processor::Engine;

use crate::support::{create_topic, feed, open, rows, run, until, values};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn topic() -> TopicName {
    "b".parse().unwrap()
}

/// An engine with a query that copies the topic `b`.
async fn begin(broker: &Arc<FakeBroker>) -> Engine {
    create_topic(broker, "b", 1).await;
    let engine = open(broker).await;
    let statements = "CREATE STREAM B (X INT) WITH (KAFKA_TOPIC='b', VALUE_FORMAT='JSON');
        CREATE STREAM BD AS SELECT X FROM B;";
    run(&engine, statements).await;
    engine
}

/// Feeds records in batches of five.
async fn feed_numbers(broker: &Arc<FakeBroker>, numbers: Range<usize>) {
    let numbers: Vec<_> = numbers.collect();
    for five in numbers.chunks(5) {
        feed(broker, "b", 0, five.iter().map(|x| (None, format!(r#"{{"X":{x}}}"#)))).await;
    }
}

async fn make_again(broker: &Arc<FakeBroker>) {
    broker.delete_topic(topic()).await.unwrap();
    create_topic(broker, "b", 1).await;
}

fn cut(broker: &FakeBroker, end: i64) {
    broker.cut(&topic(), Partition::ZERO, Offset::new(end).unwrap());
}

/// Waits until the derived topic holds so many rows, then that it holds just these.
async fn derived(broker: &FakeBroker, expected: impl Iterator<Item = usize>) {
    let expected: Vec<_> = expected.map(|x| (0, format!(r#"{{"X":{x}}}"#))).collect();
    until("the derived rows are there", || values(broker, "BD").len() >= expected.len()).await;
    assert_eq!(values(broker, "BD"), expected);
}

/// Waits until SHOW QUERIES tells of it while the query runs.
async fn told(engine: &Engine, what: &str) {
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    loop {
        let queries = rows(&run(engine, "SHOW QUERIES;").await);
        if queries[0][1] == "RUNNING" && queries[0][7].contains(what) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{queries:?}");
        tokio::task::yield_now().await;
    }
}

/// Waits until the query has read so many records in this life.
async fn has_read(engine: &Engine, count: usize) {
    let row = ["Rows read by queries since the start".to_owned(), count.to_string()];
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    loop {
        let described = rows(&run(engine, "DESCRIBE B EXTENDED;").await);
        if described.contains(&row.to_vec()) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{described:?}");
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_source_that_is_made_again_while_the_query_runs_is_read_from_its_beginning() {
    let broker = FakeBroker::new();
    runtime().block_on(async {
        let engine = begin(&broker).await;
        feed_numbers(&broker, 0..5).await;
        derived(&broker, 0..5).await;
        make_again(&broker).await;
        // More of them than the old topic had: the position lies inside.
        feed_numbers(&broker, 100..120).await;
        derived(&broker, (0..5).chain(100..120)).await;
        told(&engine, "deleted and made again").await;
        // Fewer: it lies behind the end.
        make_again(&broker).await;
        feed_numbers(&broker, 200..205).await;
        derived(&broker, (0..5).chain(100..120).chain(200..205)).await;
        engine.close().await;
    });
    runtime().block_on(async {
        let engine = open(&broker).await;
        feed_numbers(&broker, 205..210).await;
        derived(&broker, (0..5).chain(100..120).chain(200..210)).await;
        engine.close().await;
    });
}

#[test]
fn a_source_that_is_made_again_between_two_lives_is_read_from_its_beginning() {
    for graceful in [true, false] {
        let broker = FakeBroker::new();
        runtime().block_on(async {
            let engine = begin(&broker).await;
            feed_numbers(&broker, 0..5).await;
            derived(&broker, 0..5).await;
            if graceful {
                engine.close().await;
            }
        });
        runtime().block_on(async {
            make_again(&broker).await;
            feed_numbers(&broker, 100..120).await;
            let _engine = open(&broker).await;
            derived(&broker, (0..5).chain(100..120)).await;
        });
        // Killed: that the topic is another one was written down before its first row was.
        runtime().block_on(async {
            let engine = open(&broker).await;
            feed_numbers(&broker, 120..125).await;
            derived(&broker, (0..5).chain(100..125)).await;
            engine.close().await;
        });
    }
}

#[test]
fn a_source_that_ends_before_the_position_is_read_on_at_its_end() {
    let broker = FakeBroker::new();
    runtime().block_on(async {
        let engine = begin(&broker).await;
        feed_numbers(&broker, 0..50).await;
        derived(&broker, 0..50).await;
        engine.close().await;
        cut(&broker, 40);
        let engine = open(&broker).await;
        told(&engine, "it ends at offset 40 and was read up to 50: 10 records were lost").await;
        feed_numbers(&broker, 50..55).await;
        derived(&broker, 0..55).await;
        // The same while it runs.
        cut(&broker, 30);
        told(&engine, "it ends at offset 30 and was read up to 45").await;
        feed_numbers(&broker, 55..60).await;
        derived(&broker, 0..60).await;
        engine.close().await;
    });
}

#[test]
fn rows_whose_records_were_lost_behind_the_checkpoint_are_not_awaited() {
    let broker = FakeBroker::new();
    runtime().block_on(async {
        let _engine = begin(&broker).await;
        feed_numbers(&broker, 0..50).await;
        derived(&broker, 0..50).await;
    });
    cut(&broker, 40);
    runtime().block_on(async {
        let engine = open(&broker).await;
        // Once it has read all that is left, it has found the end.
        has_read(&engine, 40).await;
        feed_numbers(&broker, 50..70).await;
        derived(&broker, 0..70).await;
        engine.close().await;
    });
}
