//! A derived topic equals its oracle exactly, whatever broke and whenever the process was killed.
//!
//! The story: records come, a query copies those with few stars, answers get lost, the process is killed or stops as it
//! should, another one starts. The method: each life has a runtime of its own that is dropped at a random moment; the
//! last life has no faults, and must end with every row once, in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use client::fake::{Call, FakeBroker, Fault};
use client::transport::Transport;
use proptest::prelude::*;
use protocol::id::{Offset, Partition, TopicName};
use protocol::outcome::Outcome;
use protocol::verbs::TopicChange;
use thalweg_processor::Engine;
use tokio::time::{Instant, sleep};

use crate::support::{DEADLINE, create_topic, feed, open, refused, rows, run, until, values};

/// Partitions that the source has from the beginning; a third one is added later.
const SOURCE_PARTITIONS: u32 = 2;

/// One life of the process.
#[derive(Clone, Debug)]
struct Life {
    /// Records that come while it lives, for each source partition.
    records: [usize; 3],
    /// Whether the third partition is added while it lives, if it is not there yet.
    grows: bool,
    /// Faults of the broker, one after the other.
    faults: Vec<(Call, Fault)>,
    /// It ends after so many further appends...
    appends: usize,
    /// ...or so many milliseconds.
    ms_max: u64,
    /// As it should, or by a kill.
    graceful: bool,
}

fn any_life() -> impl Strategy<Value = Life> {
    let fault = prop_oneof![
        3 => Just(Fault::DropAfter),
        2 => Just(Fault::DropBefore),
        1 => Just(Fault::Refuse(Outcome::Unavailable)),
    ];
    let call = prop_oneof![4 => Just(0_u8), 1 => Just(1)];
    let faults = prop::collection::vec((call, fault), 0..6).prop_map(|faults| {
        let call = |number| if number == 0 { Call::Produce } else { Call::Fetch };
        faults.into_iter().map(|(number, fault)| (call(number), fault)).collect()
    });
    let rarely = prop::bool::weighted(0.2);
    (prop::array::uniform3(0_usize..40), rarely, faults, 0_usize..12, 0_u64..60, rarely).prop_map(
        |(records, grows, faults, appends, ms_max, graceful)| Life {
            records,
            grows,
            faults,
            appends,
            ms_max,
            graceful,
        },
    )
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Records whose every third has a key; their stars go round.
fn records(partition: u32, from: usize, count: usize) -> Vec<(Option<String>, String)> {
    (from..from + count)
        .map(|id| {
            let key = id.is_multiple_of(3).then(|| format!("user-{}", id % 7));
            (key, format!(r#"{{"P":{partition},"ID":{id},"STARS":{}}}"#, id % 5))
        })
        .collect()
}

/// What the query makes of the first `count` records of a source partition: (key, value), in order.
fn oracle(partition: u32, count: usize) -> Vec<(Option<String>, String)> {
    let kept = |(_, id): &(Option<String>, usize)| id % 5 < 3;
    let key = |id: usize| id.is_multiple_of(3).then(|| format!("user-{}", id % 7));
    (0..count)
        .map(|id| (key(id), id))
        .filter(kept)
        .map(|(key, id)| (key, format!(r#"{{"P":{partition},"ID":{id},"STARS":{}}}"#, id % 5)))
        .collect()
}

/// An engine with the query, over a source of its own.
async fn begin(broker: &Arc<FakeBroker>) -> Engine {
    create_topic(broker, "ratings", SOURCE_PARTITIONS).await;
    let engine = open(broker).await;
    run(
        &engine,
        "CREATE STREAM RATINGS (USER STRING KEY, P INT, ID BIGINT, STARS INT) WITH (KAFKA_TOPIC='ratings', VALUE_FORMAT='JSON');
         CREATE STREAM POOR WITH (PARTITIONS=3) AS SELECT * FROM RATINGS WHERE STARS < 3;",
    )
    .await;
    engine
}

/// Feeds the next records of a source partition, `at..`.
async fn feed_ratings(broker: &Arc<FakeBroker>, partition: u32, at: Range<usize>) {
    feed(broker, "ratings", partition, records(partition, at.start, at.len())).await;
}

/// Waits until the query has derived the rows of records `at..` of source partitions, and not one more.
async fn derived(broker: &FakeBroker, sources: &[(u32, Range<usize>)]) {
    let rows = |(partition, at): &(u32, Range<usize>)| {
        oracle(*partition, at.end).len() - oracle(*partition, at.start).len()
    };
    let expected: usize = sources.iter().map(rows).sum();
    until("the derived rows are there", || values(broker, "POOR").len() >= expected).await;
    assert_eq!(values(broker, "POOR").len(), expected);
}

/// Each sink partition holds, of each source partition, exactly the rows of the oracle, in order.
fn check(broker: &FakeBroker, fed: [usize; 3]) -> Result<(), TestCaseError> {
    for (partition, count) in (0..).zip(fed) {
        let mut expected: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (key, value) in oracle(partition, count) {
            let lane = match key {
                Some(key) => client::partitioner::partition_for_key(key.as_bytes(), 3).get(),
                None => partition % 3,
            };
            expected.entry(lane).or_default().push(value);
        }
        let mark = format!(r#"{{"P":{partition},"#);
        let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (lane, value) in values(broker, "POOR") {
            if value.starts_with(&mark) {
                found.entry(lane).or_default().push(value);
            }
        }
        prop_assert_eq!(found, expected, "source partition {}", partition);
    }
    Ok(())
}

async fn grow(broker: &FakeBroker) {
    let change = TopicChange { partitions: Some(3), ..TopicChange::default() };
    broker.alter_topic("ratings".parse().unwrap(), change).await.unwrap();
}

async fn live(broker: &Arc<FakeBroker>, life: &Life, fed: &mut [usize; 3]) {
    let engine = open(broker).await;
    let appends = broker.calls(Call::Produce) + life.appends;
    let end = Instant::now() + std::time::Duration::from_millis(life.ms_max);
    if life.grows {
        grow(broker).await;
    }
    let source = broker.describe_topic("ratings".parse().unwrap()).await.unwrap();
    for (call, fault) in &life.faults {
        broker.fail(*call, *fault, 1);
    }
    for (partition, count) in (0..).zip(life.records).take(source.partitions.len()) {
        let at = partition as usize;
        feed_ratings(broker, partition, fed[at]..fed[at] + count).await;
        fed[at] += count;
    }
    while broker.calls(Call::Produce) < appends && Instant::now() < end {
        sleep(std::time::Duration::from_millis(1)).await;
    }
    broker.heal();
    if life.graceful {
        engine.close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_row_is_lost_or_repeated(lives in prop::collection::vec(any_life(), 1..7)) {
        let broker = FakeBroker::new();
        let mut fed = [0; 3];
        runtime().block_on(async {
            begin(&broker).await;
        });
        for life in &lives {
            // Dropping the runtime drops everything that runs in it, wherever it stands.
            runtime().block_on(live(&broker, life, &mut fed));
        }
        let expected: usize = (0..).zip(fed).map(|(partition, count)| oracle(partition, count).len()).sum();
        runtime().block_on(async {
            let engine = open(&broker).await;
            let deadline = Instant::now() + DEADLINE;
            while values(&broker, "POOR").len() < expected && Instant::now() < deadline {
                sleep(std::time::Duration::from_millis(1)).await;
            }
            // What would be repeated would come now: a graceful stop waits for everything under way.
            engine.close().await;
        });
        check(&broker, fed)?;
    }
}

#[test]
fn a_graceful_stop_leaves_nothing_to_scan_and_loses_nothing() {
    let broker = FakeBroker::new();
    runtime().block_on(async {
        let engine = begin(&broker).await;
        feed_ratings(&broker, 0, 0..100).await;
        derived(&broker, &[(0, 0..100)]).await;
        engine.close().await;
        feed_ratings(&broker, 0, 100..150).await;
        let engine = open(&broker).await;
        derived(&broker, &[(0, 0..150)]).await;
        engine.close().await;
    });
    check(&broker, [150, 0, 0]).unwrap();
}

#[test]
fn lost_answers_cost_no_row() {
    let broker = FakeBroker::new();
    runtime().block_on(async {
        let engine = begin(&broker).await;
        let mut fed = 0;
        for round in 0..20 {
            feed_ratings(&broker, 0, fed..fed + 10).await;
            fed += 10;
            let fault = if round % 2 == 0 { Fault::DropAfter } else { Fault::DropBefore };
            broker.fail(Call::Produce, fault, 1);
            derived(&broker, &[(0, 0..fed)]).await;
            broker.heal();
        }
        engine.close().await;
    });
    check(&broker, [200, 0, 0]).unwrap();
}

#[test]
fn a_query_goes_on_behind_what_retention_has_taken() {
    let broker = FakeBroker::new();
    runtime().block_on(async {
        let engine = begin(&broker).await;
        engine.close().await;
        feed_ratings(&broker, 0, 0..100).await;
        let topic = "ratings".parse().unwrap();
        broker.trim(&topic, Partition::ZERO, Offset::new(50).unwrap());
        let engine = open(&broker).await;
        derived(&broker, &[(0, 50..100)]).await;
        let queries = rows(&run(&engine, "SHOW QUERIES;").await);
        assert_eq!(queries[0][1], "RUNNING");
        assert!(queries[0][7].contains("went on at offset 50 instead of 0"), "{queries:?}");
        engine.close().await;
    });
}

#[test]
fn a_sink_that_was_made_again_is_filled_again_from_here_on() {
    let broker = FakeBroker::new();
    runtime().block_on(async {
        let engine = begin(&broker).await;
        feed_ratings(&broker, 0, 0..10).await;
        derived(&broker, &[(0, 0..10)]).await;
        engine.close().await;
        broker.delete_topic("POOR".parse().unwrap()).await.unwrap();
        create_topic(&broker, "POOR", 3).await;
        let engine = open(&broker).await;
        feed_ratings(&broker, 0, 10..20).await;
        derived(&broker, &[(0, 10..20)]).await;
        engine.close().await;
    });
}

#[test]
fn partitions_that_are_added_are_read_while_the_query_runs() {
    let broker = FakeBroker::new();
    runtime().block_on(async {
        let _engine = begin(&broker).await;
        feed_ratings(&broker, 0, 0..10).await;
        grow(&broker).await;
        // Before the query knows of the partition: these rows must not be left out.
        feed_ratings(&broker, 2, 0..50).await;
        derived(&broker, &[(0, 0..10), (2, 0..50)]).await;
        feed_ratings(&broker, 2, 50..60).await;
        derived(&broker, &[(0, 0..10), (2, 0..60)]).await;
    });
    // Killed: the next life goes on in the added partition too, and repeats nothing.
    runtime().block_on(async {
        let engine = open(&broker).await;
        feed_ratings(&broker, 2, 60..70).await;
        derived(&broker, &[(0, 0..10), (2, 0..70)]).await;
        engine.close().await;
    });
    check(&broker, [10, 0, 70]).unwrap();
}

#[test]
fn a_query_that_cannot_be_started_says_why_and_starts_when_it_can() {
    let broker = FakeBroker::new();
    runtime().block_on(async {
        let engine = begin(&broker).await;
        engine.close().await;
        let topic: TopicName = "ratings".parse().unwrap();
        broker.delete_topic(topic.clone()).await.unwrap();
        let engine = open(&broker).await;
        let queries = rows(&run(&engine, "SHOW QUERIES;").await);
        assert_eq!(queries[0][1], "ERROR");
        assert!(queries[0][7].contains("not started, tried again"), "{queries:?}");
        assert!(queries[0][7].contains("no topic ratings"), "{queries:?}");
        create_topic(&broker, "ratings", SOURCE_PARTITIONS).await;
        feed_ratings(&broker, 1, 0..10).await;
        derived(&broker, &[(1, 0..10)]).await;
        assert_eq!(rows(&run(&engine, "SHOW QUERIES;").await)[0][1], "RUNNING");
        // It can be ended while it cannot be started, and is not started again then.
        engine.close().await;
        broker.delete_topic(topic).await.unwrap();
        let engine = open(&broker).await;
        run(&engine, "TERMINATE ALL;").await;
        assert_eq!(rows(&run(&engine, "SHOW QUERIES;").await), [[""; 0]; 0]);
        engine.close().await;
        let refusal = refused(&engine, "TERMINATE ALL;").await;
        assert_eq!(refusal.outcome, Outcome::Unavailable, "{refusal}");
    });
    check(&broker, [0, 10, 0]).unwrap();
}
