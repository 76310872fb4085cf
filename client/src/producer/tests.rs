//! The producer's promise, through the broker in memory: a record handed over is acknowledged, stored once and in
//! order, or its ticket tells whether it may have been written; whatever breaks, and however often.
//!
//! Method: faults are planned in the fake before anything is sent; nothing depends on how long things take.

use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use protocol::compression::Compression;
use protocol::id::{Offset, Partition, Timestamp, TopicName};
use protocol::limits::HEADERS_PER_RECORD_MAX;
use protocol::outcome::Outcome;
use protocol::record::{Header, Record, encoded_bytes_max};
use protocol::verbs::TopicChange;

use super::topics::AGE_MAX;
use super::*;
use crate::error::Result;
use crate::fake::{Call, FakeBroker, Fault};
use crate::partitioner::partition_for_key;
use crate::transport::Transport as _;

fn topic() -> TopicName {
    "t".parse().unwrap()
}

fn quick() -> BackoffConfig {
    BackoffConfig::default()
        .first(Duration::from_millis(1))
        .longest(Duration::from_millis(2))
        .seed(7)
}

fn config() -> ProducerConfig {
    ProducerConfig::default().backoff(quick())
}

fn patient() -> ProducerConfig {
    config().linger(Duration::from_secs(60))
}

fn outcome<T: std::fmt::Debug>(result: Result<T>) -> Outcome {
    result.unwrap_err().outcome()
}

/// The number that a test has written into the value of a record.
fn number(record: &Record) -> usize {
    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap()
}

async fn send(producer: &Producer, partition: i64, value: impl ToString) -> Ticket {
    let partition = Partition::new(partition).unwrap();
    let record = Record::of_value(value.to_string());
    producer.send(&topic(), Some(partition), record).await.unwrap()
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::DropAfter,
        Fault::Refuse(Outcome::Busy),
        Fault::Refuse(Outcome::DiskFull),
        Fault::Refuse(Outcome::StorageFailed),
        Fault::Refuse(Outcome::InvalidRecord),
    ])
}

/// What happens after a record was handed over.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The next record at once.
    Nothing,
    /// The sender runs, so that batches of all sizes are under way when faults strike.
    Run,
    /// Answers are kept back: windows fill up.
    Hold,
    /// Answers go out again.
    Release,
    /// The connection breaks; answers that were kept back are lost.
    Disconnect,
    /// The next request fails so.
    Fail(Fault),
    /// The next request for an identity is refused for now.
    Nameless,
}

/// Most records go to one partition, whose window is then full most of the time.
fn any_steps(fault: impl Strategy<Value = Fault>) -> impl Strategy<Value = Vec<(i64, Then)>> {
    let then = prop_oneof![
        1 => Just(Then::Nothing),
        4 => Just(Then::Run),
        2 => Just(Then::Hold),
        2 => Just(Then::Release),
        1 => Just(Then::Disconnect),
        3 => fault.prop_map(Then::Fail),
        1 => Just(Then::Nameless),
    ];
    let partition = prop_oneof![4 => Just(0_i64), 1 => Just(1), 1 => Just(2)];
    prop::collection::vec((partition, then), 1..60)
}

/// What one run did: the fate of each record, in the order of sending, and the log afterwards.
struct Run {
    fates: Vec<(Partition, Result<Placed>)>,
    log: Vec<(Partition, Offset, usize)>,
}

async fn run(config: ProducerConfig, steps: Vec<(i64, Then)>) -> Run {
    let broker = FakeBroker::with_topic("t", 3);
    let producer = Producer::new(broker.clone(), config);
    let mut tickets = Vec::new();
    for (index, (partition, then)) in steps.into_iter().enumerate() {
        tickets.push(send(&producer, partition, index).await);
        match then {
            Then::Nothing => {}
            Then::Run => {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
            }
            Then::Hold => broker.hold_answers(true),
            Then::Release => broker.hold_answers(false),
            Then::Disconnect => broker.disconnect(),
            Then::Fail(fault) => broker.fail(Call::Produce, fault, 1),
            Then::Nameless => broker.fail(Call::InitProducer, Fault::Refuse(Outcome::Busy), 1),
        }
    }
    broker.hold_answers(false);
    let places = tickets.iter().map(|ticket| ticket.partition).collect::<Vec<_>>();
    let fates = places.into_iter().zip(join_all(tickets).await).collect();
    drop(producer.close().await);
    let records = broker.records(&topic());
    let log = records.iter().map(|(partition, offset, it)| (*partition, *offset, number(it)));
    Run { fates, log: log.collect() }
}

/// Acknowledged means present, in order, once; refused means absent; only doubt may be either.
fn check(run: &Run) {
    for (index, (partition, fate)) in run.fates.iter().enumerate() {
        let copies: Vec<_> = run.log.iter().filter(|(_, _, number)| *number == index).collect();
        match fate {
            Ok(placed) => {
                assert_eq!(copies, [&(placed.partition, placed.offset, index)]);
                assert_eq!(placed.partition, *partition);
            }
            Err(error) if error.may_have_happened() => assert!(copies.len() <= 1, "{copies:?}"),
            Err(error) if error.outcome() == Outcome::OutOfOrderSequence => {
                panic!("{index} had to pay for another: {error}")
            }
            Err(error) => assert!(copies.is_empty(), "{index} is there in spite of {error}"),
        }
        // What breaks here passes at once, so nobody's time may run out: two minutes are for a broker that is away.
        let out_of_time = [Outcome::TimedOut, Outcome::Unavailable];
        assert!(
            !fate.as_ref().is_err_and(|error| out_of_time.contains(&error.outcome())),
            "{index} waited in vain: {fate:?}"
        );
    }
    for pair in run.log.windows(2) {
        let ((partition, _, earlier), (next_partition, _, later)) = (pair[0], pair[1]);
        assert!(partition != next_partition || earlier < later, "{later} overtook {earlier}");
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_breaks_records_are_stored_once_and_in_order(
        steps in any_steps(any_fault()),
        in_flight in 1_usize..=5,
        linger_ms in 0_u64..3,
    ) {
        let config = config()
            .in_flight_max(in_flight)
            .linger(Duration::from_millis(linger_ms))
            .batch_bytes(1024);
        check(&block_on(run(config, steps)));
    }

    #[test]
    fn breaks_alone_lose_nothing(
        steps in any_steps(prop::sample::select(vec![Fault::DropBefore, Fault::DropAfter])),
    ) {
        let count = steps.len();
        let run = block_on(run(config(), steps));
        check(&run);
        assert!(run.fates.iter().all(|(_, fate)| fate.is_ok()));
        assert_eq!(run.log.len(), count);
    }

    #[test]
    fn without_sequences_nothing_is_stored_twice_either(steps in any_steps(any_fault())) {
        check(&block_on(run(config().idempotent(false), steps)));
    }
}

#[tokio::test]
async fn what_gathers_while_a_batch_lingers_goes_together() {
    let broker = FakeBroker::with_topic("t", 2);
    let producer = Producer::new(broker.clone(), patient());
    for partition in [0, 1, 0] {
        send(&producer, partition, "x").await;
    }
    assert_eq!(broker.calls(Call::Produce), 0);
    producer.flush().await.unwrap();
    assert_eq!(broker.batch_sizes(&topic(), Partition::ZERO), [2]);
    assert_eq!(broker.calls(Call::Produce), 1, "both partitions go in one request");
}

#[tokio::test]
async fn a_linger_ends_by_itself() {
    let broker = FakeBroker::with_topic("t", 1);
    let producer = Producer::new(broker.clone(), config().linger(Duration::from_millis(5)));
    let tickets = [send(&producer, 0, "a").await, send(&producer, 0, "b").await];
    let placed = join_all(tickets).await;
    assert_eq!(placed[1].as_ref().unwrap().offset, Offset::new(1).unwrap());
    assert_eq!(broker.batch_sizes(&topic(), Partition::ZERO), [2]);
}

#[tokio::test]
async fn a_window_that_is_full_makes_larger_batches() {
    let broker = FakeBroker::with_topic("t", 1);
    let producer = Producer::new(broker.clone(), config().in_flight_max(1));
    broker.hold_answers(true);
    let first = send(&producer, 0, 0).await;
    while broker.calls(Call::Produce) == 0 {
        tokio::task::yield_now().await;
    }
    let mut rest = Vec::new();
    for value in 1..10 {
        rest.push(send(&producer, 0, value).await);
    }
    broker.hold_answers(false);
    first.await.unwrap();
    join_all(rest).await;
    assert_eq!(broker.batch_sizes(&topic(), Partition::ZERO), [1, 9]);
}

#[tokio::test]
async fn memory_is_bounded_and_given_back() {
    let broker = FakeBroker::with_topic("t", 1);
    broker.hold_answers(true);
    let producer = Producer::new(broker.clone(), config().buffer_bytes(64 * 1024));
    let record = Record::of_value(vec![0; 10_000]);
    let fit = 64 * 1024 / encoded_bytes_max(&record);
    let mut tickets = Vec::new();
    for _ in 0..fit {
        tickets.push(producer.send(&topic(), None, record.clone()).await.unwrap());
    }
    {
        let name = topic();
        let mut one_more = std::pin::pin!(producer.send(&name, None, record.clone()));
        for _ in 0..100 {
            assert!(futures_util::poll!(&mut one_more).is_pending(), "there is no room");
            tokio::task::yield_now().await;
        }
        broker.hold_answers(false);
        one_more.await.unwrap();
    }
    for delivered in join_all(tickets).await {
        delivered.unwrap();
    }
    producer.close().await.unwrap();
    assert_eq!(broker.records(&topic()).len(), fit + 1);
}

#[tokio::test]
async fn who_waits_for_room_does_not_wait_for_a_linger() {
    let broker = FakeBroker::with_topic("t", 3);
    let producer = Producer::new(broker.clone(), patient().buffer_bytes(64 * 1024));
    let started = std::time::Instant::now();
    let mut tickets = Vec::new();
    for index in 0..30 {
        let partition = Partition::new(index % 3).unwrap();
        let record = Record::of_value(vec![0; 10_000]);
        tickets.push(producer.send(&topic(), Some(partition), record).await.unwrap());
    }
    assert!(started.elapsed() < Duration::from_secs(30), "it waited for the linger");
    producer.close().await.unwrap();
    for delivered in join_all(tickets).await {
        delivered.unwrap();
    }
    assert_eq!(broker.records(&topic()).len(), 30);
}

/// Polls a future a few times while everything else runs, and drops it.
async fn give_up(future: impl Future) {
    let mut future = std::pin::pin!(future);
    for _ in 0..20 {
        assert!(futures_util::poll!(&mut future).is_pending(), "it had to wait");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_gives_up_waiting_hands_nothing_over_and_takes_no_room_along() {
    let broker = FakeBroker::with_topic("t", 1);
    broker.hold_answers(true);
    let producer = Producer::new(broker.clone(), config().buffer_bytes(64 * 1024));
    let record = |number: usize| {
        let mut value = number.to_string();
        value.extend(std::iter::repeat_n(' ', 40_000));
        Record::of_value(value)
    };
    let first = producer.send(&topic(), None, record(0)).await.unwrap();
    give_up(producer.send(&topic(), None, record(1))).await;
    give_up(producer.send_all(&topic(), None, [record(2), record(3)])).await;
    // A ticket that is dropped changes nothing for its record.
    give_up(first).await;
    broker.hold_answers(false);
    for number in 4..10 {
        // All of the buffer is there again each time.
        let ticket = producer.send(&topic(), None, record(number)).await.unwrap();
        ticket.await.unwrap();
    }
    producer.close().await.unwrap();
    let stored: Vec<usize> = broker
        .records(&topic())
        .iter()
        .map(|(_, _, it)| std::str::from_utf8(it.value.as_ref().unwrap()).unwrap())
        .map(|text| text.trim_end().parse().unwrap())
        .collect();
    assert_eq!(stored, [0, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn a_question_that_is_given_up_is_asked_by_the_next() {
    let broker = FakeBroker::with_topic("t", 1);
    broker.fail(Call::Admin, Fault::Refuse(Outcome::Busy), 100_000);
    let producer = Producer::new(broker.clone(), config());
    give_up(producer.send(&topic(), None, Record::of_value("0"))).await;
    broker.heal();
    producer.send(&topic(), None, Record::of_value("1")).await.unwrap().await.unwrap();
    assert_eq!(broker.records(&topic()).len(), 1);
}

#[tokio::test]
async fn many_records_at_once_are_stored_as_one_by_one() {
    let broker = FakeBroker::with_topic("t", 3);
    let producer = Producer::new(broker.clone(), config().buffer_bytes(64 * 1024));
    // More than the buffer holds, more than a piece holds, and some larger than a piece.
    let sizes = (0..2_000).map(|number| if number % 500 == 7 { 60_000 } else { number % 90 });
    let records: Vec<Record> = (0..)
        .zip(sizes)
        .map(|(number, bytes)| Record::new((number % 10).to_string(), vec![b'x'; bytes]))
        .map(|record| record.header("h", "v"))
        .collect();
    producer.send_all(&topic(), None, records.clone()).await.unwrap().await.unwrap();
    let stored = broker.records(&topic());
    assert_eq!(stored.len(), records.len());
    for partition in Partition::all(3) {
        let expected = records
            .iter()
            .filter(|record| partition_for_key(record.key.as_ref().unwrap(), 3) == partition);
        let found = stored.iter().filter(|(at, ..)| *at == partition);
        for (expected, (_, _, found)) in expected.zip(found) {
            assert_eq!((&expected.key, &expected.value), (&found.key, &found.value));
            assert!(found.timestamp.is_some());
        }
    }
    let none = producer.send_all(&topic(), None, std::iter::empty()).await.unwrap();
    none.await.unwrap();
}

#[tokio::test]
async fn many_records_at_once_tell_their_first_failure() {
    let broker = FakeBroker::with_topic("t", 1);
    let producer = Producer::new(broker.clone(), config());
    let two = || [Record::of_value("0"), Record::of_value("1")];
    broker.fail(Call::Produce, Fault::Refuse(Outcome::InvalidRecord), 1);
    let tickets = producer.send_all(&topic(), None, two()).await.unwrap();
    assert_eq!(outcome(tickets.await), Outcome::InvalidRecord);
    let nowhere = "nowhere".parse().unwrap();
    let refused = producer.send_all(&nowhere, None, two()).await;
    assert_eq!(outcome(refused.map(drop)), Outcome::UnknownTopic);
    let large = Record::of_value(vec![0; 40_000_000]);
    let refused = producer.send_all(&topic(), None, [large]).await;
    assert_eq!(outcome(refused.map(drop)), Outcome::BatchTooLarge);
    producer.send_all(&topic(), None, two()).await.unwrap().await.unwrap();
    producer.close().await.unwrap_err();
    let closed = producer.send_all(&topic(), None, two()).await;
    assert_eq!(outcome(closed.map(drop)), Outcome::InvalidRequest);
    assert_eq!(broker.records(&topic()).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_many_threads_share_a_producer() {
    const TASKS: usize = 8;
    const EACH: usize = 500;
    let broker = FakeBroker::with_topic("t", 3);
    // Little room, so that they wait for each other all the time.
    let config = config().buffer_bytes(64 * 1024).batch_bytes(4_096);
    let producer = Producer::new(broker.clone(), config.linger(Duration::from_secs(60)));
    let tasks = (0..TASKS).map(|task| {
        let producer = producer.clone();
        tokio::spawn(async move {
            for number in 0..EACH / 2 {
                let record = Record::new(task.to_string(), number.to_string());
                let ticket = producer.send(&topic(), None, record.header("h", "v")).await.unwrap();
                if number % 50 == 0 {
                    producer.flush().await.unwrap();
                    ticket.await.unwrap();
                }
            }
            let rest = EACH / 2..EACH;
            let rest = rest.map(|number| Record::new(task.to_string(), number.to_string()));
            let tickets = producer.send_all(&topic(), None, rest).await.unwrap();
            producer.flush().await.unwrap();
            tickets.await.unwrap();
        })
    });
    for done in join_all(tasks.collect::<Vec<_>>()).await {
        done.unwrap();
    }
    producer.close().await.unwrap();
    for task in 0..TASKS {
        let stored = broker.records(&topic());
        let of_task =
            stored.iter().filter(|(_, _, it)| *it.key.as_ref().unwrap() == task.to_string());
        let numbers: Vec<usize> = of_task.map(|(_, _, it)| number(it)).collect();
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn more_partitions_are_noticed_after_a_while() {
    let broker = FakeBroker::with_topic("t", 1);
    let producer = Producer::new(broker.clone(), config());
    producer.send(&topic(), None, Record::of_value("x")).await.unwrap().await.unwrap();
    let change = TopicChange { partitions: Some(4), settings: Default::default() };
    broker.alter_topic(topic(), change).await.unwrap();
    let long_ago = tokio::time::Instant::now().checked_sub(AGE_MAX).unwrap();
    let state = &producer.shared().state;
    state.lock().accumulator.topics_mut().learn(&topic(), 1, long_ago);
    // While it is asked for, the old number serves. Each batch goes to the next partition.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let sent = producer.send(&topic(), None, Record::of_value("x")).await.unwrap();
        if sent.await.unwrap().partition.get() == 3 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "it was never asked for");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn keys_decide_the_partition_and_records_keep_all_they_have() {
    let broker = FakeBroker::with_topic("t", 5);
    let compressed = config().compression(Compression::Zstd);
    let producer = Producer::new(broker.clone(), compressed);
    let record = Record::new("foobar", "v").header("h", "1").at(Timestamp(77));
    let placed = producer.send(&topic(), None, record.clone()).await.unwrap().await.unwrap();
    assert_eq!(placed.partition, partition_for_key(b"foobar", 5));
    assert_eq!(placed.timestamp, Timestamp(77));
    assert_eq!(broker.records(&topic()), [(placed.partition, Offset::ZERO, record)]);
}

#[tokio::test]
async fn records_without_a_time_get_the_clocks() {
    let broker = FakeBroker::with_topic("t", 1);
    let producer = Producer::new(broker.clone(), config());
    let before = crate::clock::now();
    let placed = send(&producer, 0, "x").await.await.unwrap();
    assert!(placed.timestamp >= before && placed.timestamp <= crate::clock::now());
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    let broker = FakeBroker::with_topic("t", 1);
    let producer = Producer::new(broker.clone(), config().buffer_bytes(64 * 1024));
    let refused = async |topic: &str, record: Record| {
        let topic = topic.parse().unwrap();
        outcome(producer.send(&topic, None, record).await)
    };
    let large = Record::of_value(vec![0; 70_000]);
    assert_eq!(refused("t", large).await, Outcome::BatchTooLarge);
    let headers = vec![Header::default(); HEADERS_PER_RECORD_MAX + 1];
    let many = Record { headers, ..Record::default() };
    assert_eq!(refused("t", many).await, Outcome::InvalidRecord);
    assert_eq!(refused("nowhere", Record::default()).await, Outcome::UnknownTopic);
    producer.close().await.unwrap();
    assert_eq!(refused("t", Record::default()).await, Outcome::InvalidRequest);
}

#[tokio::test]
async fn a_flush_tells_what_dropped_tickets_would_have_told() {
    let broker = FakeBroker::with_topic("t", 1);
    let producer = Producer::new(broker.clone(), config());
    drop(send(&producer, 9, "nowhere").await);
    assert_eq!(outcome(producer.flush().await), Outcome::UnknownPartition);
    producer.flush().await.unwrap();
    send(&producer, 0, "somewhere").await.await.unwrap();
}

#[tokio::test]
async fn the_number_of_partitions_is_asked_once_and_again_when_it_was_wrong() {
    let broker = FakeBroker::with_topic("t", 1);
    let producer = Producer::new(broker.clone(), config());
    for _ in 0..3 {
        producer.send(&topic(), None, Record::of_value("x")).await.unwrap().await.unwrap();
    }
    assert_eq!(broker.calls(Call::Admin), 1);
    let lost = send(&producer, 9, "x").await.await;
    assert_eq!(outcome(lost), Outcome::UnknownPartition);
    producer.send(&topic(), None, Record::of_value("x")).await.unwrap().await.unwrap();
    assert_eq!(broker.calls(Call::Admin), 2);
}

#[tokio::test]
async fn after_its_time_a_record_is_given_up_with_what_is_known() {
    let short = config().delivery_timeout(Duration::from_millis(30));
    let broker = FakeBroker::with_topic("t", 1);
    broker.fail(Call::Produce, Fault::DropBefore, 100_000);
    let producer = Producer::new(broker.clone(), short.clone());
    let error = send(&producer, 0, "x").await.await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::TimedOut);
    assert!(error.may_have_happened());

    let broker = FakeBroker::with_topic("t", 1);
    broker.fail(Call::InitProducer, Fault::Refuse(Outcome::Unavailable), 100_000);
    let producer = Producer::new(broker.clone(), short.clone());
    let error = send(&producer, 0, "x").await.await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unavailable);
    assert!(!error.may_have_happened());

    let broker = FakeBroker::with_topic("t", 1);
    broker.fail(Call::Produce, Fault::Refuse(Outcome::DiskFull), 100_000);
    let producer = Producer::new(broker.clone(), short);
    assert_eq!(outcome(send(&producer, 0, "x").await.await), Outcome::DiskFull);
    broker.heal();
    send(&producer, 0, "y").await.await.unwrap();
    assert_eq!(broker.records(&topic()).len(), 1);
}

#[tokio::test]
async fn an_answer_that_never_comes_does_not_hold_up_what_follows() {
    let broker = FakeBroker::with_topic("t", 1);
    broker.hold_answers(true);
    let producer =
        Producer::new(broker.clone(), config().delivery_timeout(Duration::from_millis(30)));
    assert_eq!(outcome(send(&producer, 0, 0).await.await), Outcome::TimedOut);
    broker.hold_answers(false);
    send(&producer, 0, 1).await.await.unwrap();
    let numbers: Vec<_> = broker.records(&topic()).iter().map(|(_, _, it)| number(it)).collect();
    assert_eq!(numbers, [0, 1]);
}

#[tokio::test]
async fn an_identity_that_is_refused_for_good_is_told() {
    let broker = FakeBroker::with_topic("t", 1);
    broker.fail(Call::InitProducer, Fault::Refuse(Outcome::Denied), 1);
    let producer = Producer::new(broker.clone(), config());
    assert_eq!(outcome(send(&producer, 0, "x").await.await), Outcome::Denied);
    send(&producer, 0, "y").await.await.unwrap();
}

#[tokio::test]
async fn dropping_the_last_handle_still_sends() {
    let broker = FakeBroker::with_topic("t", 1);
    let producer = Producer::new(broker.clone(), patient());
    let ticket = send(&producer.clone(), 0, "x").await;
    drop(producer);
    ticket.await.unwrap();
    assert_eq!(broker.records(&topic()).len(), 1);
}

#[test]
fn a_runtime_that_ends_leaves_tickets_that_say_so() {
    let broker = FakeBroker::with_topic("t", 1);
    broker.hold_answers(true);
    let ticket = block_on(async {
        let producer = Producer::new(broker.clone(), config());
        Some(send(&producer, 0, "x").await)
    });
    let error = block_on(ticket.unwrap()).unwrap_err();
    assert!(error.may_have_happened());
}
