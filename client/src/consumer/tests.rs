//! The consumer through the broker in memory: every record once and in order whatever breaks, positions that move
//! only when records are taken, errors that stay until their partition is sought.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::compression::Compression;
use protocol::id::{Offset, Partition, Timestamp, TopicName};
use protocol::outcome::Outcome;
use protocol::record::Record;
use protocol::verbs::Position;

use super::*;
use crate::admin::Admin;
use crate::error::Result;
use crate::fake::{Call, FakeBroker, Fault};
use crate::producer::{Producer, ProducerConfig};

fn topic() -> TopicName {
    "t".parse().unwrap()
}

fn offset(number: i64) -> Offset {
    Offset::new(number).unwrap()
}

fn outcome<T: std::fmt::Debug>(result: Result<T>) -> Outcome {
    result.unwrap_err().outcome()
}

fn config() -> ConsumerConfig {
    let backoff = BackoffConfig::default();
    let backoff = backoff.first(Duration::from_millis(1)).longest(Duration::from_millis(2)).seed(7);
    ConsumerConfig::default().backoff(backoff)
}

/// Stores records with these values, `batch` to a batch, with times 0, 10, 20, ...
async fn store(
    broker: &Arc<FakeBroker>,
    partition: i64,
    values: std::ops::Range<usize>,
    batch: usize,
) {
    store_as(broker, partition, values, batch, Compression::None).await;
}

async fn store_as(
    broker: &Arc<FakeBroker>,
    partition: i64,
    values: std::ops::Range<usize>,
    batch: usize,
    compression: Compression,
) {
    let linger = Duration::from_secs(60);
    let config = ProducerConfig::default().linger(linger).compression(compression);
    let producer = Producer::new(broker.clone(), config);
    let partition = Partition::new(partition).unwrap();
    for (count, value) in values.enumerate() {
        let record = Record::new(value.to_string(), value.to_string())
            .at(Timestamp(10 * i64::try_from(value).unwrap()));
        producer.send(&topic(), Some(partition), record).await.unwrap();
        if count % batch == batch - 1 {
            producer.flush().await.unwrap();
        }
    }
    producer.close().await.unwrap();
}

async fn consumer_at(broker: &Arc<FakeBroker>, at: Position) -> Consumer {
    let mut consumer = Consumer::new(broker.clone(), config());
    consumer.assign(&topic(), None, at).await.unwrap();
    consumer
}

fn number(record: &ConsumedRecord) -> usize {
    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap()
}

async fn take(consumer: &mut Consumer, count: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(number(&consumer.next().await.unwrap()));
    }
    numbers
}

async fn is_idle(consumer: &mut Consumer) -> bool {
    for _ in 0..50 {
        let mut next = std::pin::pin!(consumer.next());
        if futures_util::poll!(&mut next).is_ready() {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

#[tokio::test]
async fn records_come_in_order_and_the_position_follows() {
    let broker = FakeBroker::with_topic("t", 1);
    store(&broker, 0, 0..5, 2).await;
    let mut consumer = consumer_at(&broker, Position::Earliest).await;
    for expected in 0..5 {
        assert_eq!(consumer.position(&topic(), Partition::ZERO), Some(offset(expected)));
        let record = consumer.next().await.unwrap();
        assert_eq!(record.offset, offset(expected));
        assert_eq!(record.timestamp, Timestamp(10 * expected));
        assert_eq!(record.key, record.value);
    }
    assert!(is_idle(&mut consumer).await);
    let end = (topic(), Partition::ZERO, offset(5));
    assert_eq!(consumer.ends().await.unwrap(), [end]);
    store(&broker, 0, 5..6, 1).await;
    assert_eq!(take(&mut consumer, 1).await, [5]);
}

#[tokio::test]
async fn whole_batches_can_be_taken_and_begin_at_the_position() {
    let broker = FakeBroker::with_topic("t", 1);
    store(&broker, 0, 0..6, 3).await;
    let mut consumer = consumer_at(&broker, Position::Offset(offset(1))).await;
    let numbers = |batch: Vec<ConsumedRecord>| batch.iter().map(number).collect::<Vec<_>>();
    assert_eq!(numbers(consumer.next_batch().await.unwrap()), [1, 2]);
    assert_eq!(take(&mut consumer, 1).await, [3]);
    assert_eq!(numbers(consumer.next_batch().await.unwrap()), [4, 5]);
    assert_eq!(consumer.position(&topic(), Partition::ZERO), Some(offset(6)));
}

#[tokio::test]
async fn every_position_finds_its_place() {
    let broker = FakeBroker::with_topic("t", 1);
    store(&broker, 0, 0..10, 4).await;
    broker.trim(&topic(), Partition::ZERO, offset(2));
    let mut consumer = consumer_at(&broker, Position::Earliest).await;
    assert_eq!(take(&mut consumer, 1).await, [2]);
    for (at, first) in [
        (Position::Time(Timestamp(55)), 6),
        (Position::Time(Timestamp(0)), 2),
        (Position::Offset(offset(9)), 9),
    ] {
        consumer.seek(&topic(), Partition::ZERO, at).await.unwrap();
        assert_eq!(take(&mut consumer, 1).await, [first], "{at:?}");
    }
    consumer.seek(&topic(), Partition::ZERO, Position::Latest).await.unwrap();
    assert!(is_idle(&mut consumer).await);
    store(&broker, 0, 10..11, 1).await;
    assert_eq!(take(&mut consumer, 1).await, [10]);
}

#[tokio::test]
async fn a_seek_inside_an_open_batch_goes_back_at_once() {
    let broker = FakeBroker::with_topic("t", 1);
    store(&broker, 0, 0..6, 6).await;
    let mut consumer = consumer_at(&broker, Position::Earliest).await;
    assert_eq!(take(&mut consumer, 3).await, [0, 1, 2]);
    let back = Position::Offset(offset(1));
    consumer.seek(&topic(), Partition::ZERO, back).await.unwrap();
    assert_eq!(take(&mut consumer, 5).await, [1, 2, 3, 4, 5]);
    let unknown = Partition::new(7).unwrap();
    assert_eq!(outcome(consumer.seek(&topic(), unknown, back).await), Outcome::InvalidRequest);
}

#[tokio::test]
async fn a_cancelled_wait_loses_nothing() {
    let broker = FakeBroker::with_topic("t", 1);
    let mut consumer = consumer_at(&broker, Position::Earliest).await;
    assert!(is_idle(&mut consumer).await);
    store(&broker, 0, 0..2, 2).await;
    assert_eq!(take(&mut consumer, 2).await, [0, 1]);
}

/// The next record, through calls that are given up again and again.
async fn next_in_spite_of_everything(consumer: &mut Consumer) -> ConsumedRecord {
    loop {
        for _ in 0..3 {
            let mut next = std::pin::pin!(consumer.next());
            if let std::task::Poll::Ready(record) = futures_util::poll!(&mut next) {
                return record.unwrap();
            }
        }
        let waiting = tokio::time::timeout(Duration::from_millis(1), consumer.next());
        if let Ok(record) = waiting.await {
            return record.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_calls_that_are_given_up_lose_and_repeat_nothing() {
    const RECORDS: usize = 1_000;
    let broker = FakeBroker::with_topic("t", 4);
    let readers = (0..4).map(|partition| {
        let broker = broker.clone();
        tokio::spawn(async move {
            let config = config().fetch_bytes(700).buffer_bytes(64 * 1024);
            let mut consumer = Consumer::new(broker, config);
            let partition = Partition::new(partition).unwrap();
            consumer.assign(&topic(), Some(partition), Position::Earliest).await.unwrap();
            for expected in 0..RECORDS {
                let record = next_in_spite_of_everything(&mut consumer).await;
                assert_eq!((record.partition, number(&record)), (partition, expected));
                let after = Some(record.offset.plus(1));
                assert_eq!(consumer.position(&topic(), partition), after);
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let writers = (0..4).map(|partition| {
        let broker = broker.clone();
        tokio::spawn(async move {
            store(&broker, partition, 0..RECORDS, 37).await;
            broker.disconnect();
        })
    });
    for done in futures_util::future::join_all(writers.collect::<Vec<_>>()).await {
        done.unwrap();
    }
    for done in futures_util::future::join_all(readers).await {
        done.unwrap();
    }
}

#[tokio::test]
async fn without_a_partition_there_is_nothing_to_wait_for() {
    let broker = FakeBroker::with_topic("t", 1);
    let mut consumer = Consumer::new(broker.clone(), config());
    assert_eq!(outcome(consumer.next().await), Outcome::InvalidRequest);
    let nowhere = "nowhere".parse().unwrap();
    let assigned = consumer.assign(&nowhere, None, Position::Earliest).await;
    assert_eq!(outcome(assigned), Outcome::UnknownTopic);
}

#[tokio::test]
async fn an_offset_out_of_range_is_told_until_the_caller_decides() {
    let broker = FakeBroker::with_topic("t", 1);
    store(&broker, 0, 0..6, 2).await;
    broker.trim(&topic(), Partition::ZERO, offset(4));
    let mut consumer = consumer_at(&broker, Position::Offset(offset(1))).await;
    for _ in 0..2 {
        let error = consumer.next().await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::OffsetOutOfRange);
        assert_eq!(error.resume_at(), Some(offset(4)));
    }
    let on = Position::Offset(offset(4));
    consumer.seek(&topic(), Partition::ZERO, on).await.unwrap();
    assert_eq!(take(&mut consumer, 2).await, [4, 5]);
}

#[tokio::test]
async fn damage_is_told_behind_what_is_sound() {
    for compression in [Compression::None, Compression::Lz4] {
        let broker = FakeBroker::with_topic("t", 1);
        store_as(&broker, 0, 0..6, 2, compression).await;
        broker.damage(&topic(), Partition::ZERO, offset(2));
        let mut consumer = consumer_at(&broker, Position::Earliest).await;
        assert_eq!(take(&mut consumer, 2).await, [0, 1]);
        let error = consumer.next().await.unwrap_err();
        assert_eq!((error.outcome(), error.resume_at()), (Outcome::DamagedData, Some(offset(4))));
        assert_eq!(consumer.position(&topic(), Partition::ZERO), Some(offset(2)));
        let on = Position::Offset(error.resume_at().unwrap());
        consumer.seek(&topic(), Partition::ZERO, on).await.unwrap();
        assert_eq!(take(&mut consumer, 2).await, [4, 5]);
    }
}

#[tokio::test]
async fn a_topic_that_is_deleted_is_an_error_and_can_be_given_up() {
    let broker = FakeBroker::with_topic("t", 2);
    let mut consumer = consumer_at(&broker, Position::Earliest).await;
    let other: TopicName = "other".parse().unwrap();
    let admin = Admin::new(broker.clone());
    let spec = protocol::verbs::TopicSpec {
        name: other.clone(),
        partitions: None,
        settings: Default::default(),
    };
    admin.create_topic(spec).await.unwrap();
    consumer.assign(&other, None, Position::Earliest).await.unwrap();
    admin.delete_topic(&topic()).await.unwrap();
    assert_eq!(outcome(consumer.next().await), Outcome::UnknownTopic);
    consumer.unassign(&topic(), None);
    let producer = Producer::new(broker.clone(), ProducerConfig::default());
    producer.send(&other, None, Record::of_value("1")).await.unwrap().await.unwrap();
    assert_eq!(consumer.next().await.unwrap().topic, other);
}

#[tokio::test]
async fn a_broker_that_stays_away_is_given_up_only_when_asked_for() {
    let broker = FakeBroker::with_topic("t", 1);
    store(&broker, 0, 0..1, 1).await;
    broker.fail(Call::Fetch, Fault::DropBefore, 100_000);
    let config = config().give_up(Duration::from_millis(20));
    let mut consumer = Consumer::new(broker.clone(), config);
    consumer.assign(&topic(), None, Position::Earliest).await.unwrap();
    assert_eq!(outcome(consumer.next().await), Outcome::Disconnected);
    broker.heal();
    let record = loop {
        // Asking again goes on trying.
        match consumer.next().await {
            Ok(record) => break record,
            Err(error) => assert!(error.may_retry()),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(number(&record), 0);
}

#[tokio::test]
async fn a_refusal_to_answer_at_all_is_told() {
    let broker = FakeBroker::with_topic("t", 1);
    broker.fail(Call::Fetch, Fault::Refuse(Outcome::Denied), 1);
    let mut consumer = consumer_at(&broker, Position::Earliest).await;
    assert_eq!(outcome(consumer.next().await), Outcome::Denied);
}

#[tokio::test]
async fn what_is_read_ahead_stays_within_its_budget() {
    const BUDGET: usize = 64 * 1024;
    let broker = FakeBroker::with_topic("t", 1);
    let producer = Producer::new(broker.clone(), ProducerConfig::default().batch_bytes(10_000));
    for _ in 0..100 {
        producer.send(&topic(), None, Record::of_value(vec![b'1'; 9_000])).await.unwrap();
    }
    producer.close().await.unwrap();
    let config = config().buffer_bytes(BUDGET).fetch_bytes(20_000);
    let mut consumer = Consumer::new(broker.clone(), config);
    consumer.assign(&topic(), None, Position::Earliest).await.unwrap();
    let mut most = 0;
    for _ in 0..100 {
        for _ in 0..20 {
            tokio::task::yield_now().await;
            most = most.max(consumer.shelf_bytes());
        }
        consumer.next().await.unwrap();
    }
    assert!((BUDGET / 2..BUDGET + 10_000).contains(&most), "{most}");
    assert!(is_idle(&mut consumer).await);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_breaks_each_record_comes_once_and_in_order(
        counts in prop::collection::vec(0_usize..30, 1..4),
        faults in prop::collection::vec(any::<bool>(), 0..8),
        batch in 1_usize..8,
        fetch_bytes in 1_usize..2_000,
        codec in prop::sample::select(&Compression::ALL[..]),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let broker = FakeBroker::with_topic("t", 4);
            let mut total = 0;
            for (partition, count) in (0..).zip(&counts) {
                store_as(&broker, partition, 0..*count, batch, codec).await;
                total += count;
            }
            for busy in faults {
                let fault =
                    if busy { Fault::Refuse(Outcome::Busy) } else { Fault::DropAfter };
                broker.fail(Call::Fetch, fault, 1);
                broker.fail(Call::FindPositions, fault, 1);
            }
            let mut consumer = Consumer::new(broker.clone(), config().fetch_bytes(fetch_bytes));
            consumer.assign(&topic(), None, Position::Earliest).await.unwrap();
            let mut next = [0_usize; 4];
            for _ in 0..total {
                let record = consumer.next().await.unwrap();
                let next = &mut next[record.partition.get() as usize];
                assert_eq!(number(&record), *next);
                *next += 1;
            }
            assert!(is_idle(&mut consumer).await);
        });
    }
}
