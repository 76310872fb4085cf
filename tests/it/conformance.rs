//! The promises of the broker, each a row, through every door that there is: gRPC and in process. A door that cannot keep
//! a promise is a failing row.
//!
//! Both doors lead into the same broker at the same time, each with topics of its own.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use client::grpc::GrpcTransport;
use client::transport::Transport;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use protocol::batch::{Batch, Builder, ProducerStamp, split};
use protocol::compression::Compression;
use protocol::id::{Offset, Partition, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicName};
use protocol::outcome::Outcome;
use protocol::record::Record;
use protocol::verbs::{
    Appended, FetchEntry, FetchRequest, Fetched, Position, PositionEntry, ProduceEntry,
    ProduceRequest, TopicChange, TopicSpec,
};
use thalweg::{Config, Thalweg};

use crate::support::DEADLINE;

/// A door, and what names the topics of the row at hand.
#[derive(Clone)]
struct Door {
    name: &'static str,
    transport: Arc<dyn Transport>,
}

type Answer<T> = Result<T, Outcome>;
type Promise = fn(Door) -> BoxFuture<'static, ()>;

/// What holds at every door.
const PROMISES: [(&str, Promise); 16] = [
    ("a topic is created, described, changed, listed, deleted", |door| Box::pin(topics(door))),
    ("what is not there is refused by its outcome", |door| Box::pin(not_there(door))),
    ("what is not valid changes nothing", |door| Box::pin(not_valid(door))),
    ("topics of the SQL engine are read and not changed", |door| Box::pin(internal(door))),
    ("offsets count up in the order of the entries", |door| Box::pin(offsets(door))),
    ("an entry fails by itself", |door| Box::pin(entries_fail_alone(door))),
    ("requests are applied in the order handed over", |door| Box::pin(pipelined(door))),
    ("a repeat gets its old offset and is stored once", |door| Box::pin(repeats(door))),
    ("a gap in the sequence is refused", |door| Box::pin(gaps(door))),
    ("an older life of a producer is fenced", |door| Box::pin(fenced(door))),
    ("a producer id is given once", |door| Box::pin(identities(door))),
    ("bytes come back as they were sent, in every compression", |door| Box::pin(bytes(door))),
    ("a batch too large or out of time is refused", |door| Box::pin(refused_batches(door))),
    ("a fetch answers at once, or waits for news", |door| Box::pin(waiting(door))),
    ("a fetch keeps its limits and always goes on", |door| Box::pin(limits(door))),
    ("positions are found by edge, offset and time", |door| Box::pin(positions(door))),
];

impl Door {
    fn topic(&self, name: &str) -> TopicName {
        format!("{}-{name}", self.name).parse().unwrap()
    }

    /// Makes a topic of one partition.
    async fn create(&self, name: &str, settings: &[(&str, &str)]) -> TopicName {
        let topic = self.topic(name);
        self.transport.create_topic(spec(&topic, 1, settings)).await.unwrap();
        topic
    }

    async fn produce(&self, entries: Vec<ProduceEntry>) -> Vec<Answer<Appended>> {
        let pending = self.transport.produce(ProduceRequest { entries }).await.unwrap();
        let reply = pending.await.unwrap();
        reply.entries.into_iter().map(|entry| entry.map_err(|refusal| refusal.outcome)).collect()
    }

    async fn append(&self, topic: &TopicName, batch: Batch) -> Answer<Appended> {
        self.produce(vec![entry(topic, 0, batch)]).await.remove(0)
    }

    async fn fetch_waiting(
        &self,
        topic: &TopicName,
        (offset, bytes_max, wait_ms_max): (i64, u32, u32),
    ) -> Answer<Fetched> {
        let entries = vec![FetchEntry {
            topic: topic.clone(),
            partition: Partition::ZERO,
            offset: Offset::new(offset).unwrap(),
            bytes_max,
        }];
        let request = FetchRequest { entries, bytes_min: 1, wait_ms_max, bytes_max: 0 };
        let reply = self.transport.fetch(request).await.unwrap();
        reply.entries.into_iter().next().unwrap().map_err(|refusal| refusal.outcome)
    }

    async fn fetch(&self, topic: &TopicName, offset: i64) -> Answer<Fetched> {
        self.fetch_waiting(topic, (offset, 0, 0)).await
    }
}

fn spec(topic: &TopicName, partitions: u32, settings: &[(&str, &str)]) -> TopicSpec {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let settings = settings.iter().map(owned).collect();
    TopicSpec { name: topic.clone(), partitions: Some(partitions), settings }
}

fn entry(topic: &TopicName, partition: u32, batch: Batch) -> ProduceEntry {
    let partition = Partition::new(partition.into()).unwrap();
    ProduceEntry { topic: topic.clone(), partition, batch }
}

fn now() -> Timestamp {
    broker::time::Clock::real().wall()
}

fn batch(values: &[&str]) -> Batch {
    stamped(values, None)
}

/// Of a producer, by id, epoch and sequence.
fn stamped(values: &[&str], producer: Option<(ProducerId, i16, i32)>) -> Batch {
    let mut builder = Builder::new(Compression::None);
    for value in values {
        builder.push(&Record::of_value((*value).to_owned()), now());
    }
    builder.finish(producer.map(|(id, epoch, sequence)| ProducerStamp {
        id,
        epoch: ProducerEpoch(epoch),
        base_sequence: Sequence::new(sequence).unwrap(),
    }))
}

/// Offsets and values of an answer.
fn values(fetched: &Fetched) -> Vec<(i64, String)> {
    let mut scratch = Vec::new();
    let mut found = Vec::new();
    for batch in fetched.batches.iter().cloned().flat_map(split) {
        let batch = batch.unwrap();
        for record in batch.records(&mut scratch).unwrap() {
            let record = record.unwrap();
            let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
            found.push((record.offset.get(), value));
        }
    }
    found
}

async fn topics(door: Door) {
    let name = door.topic("life");
    let made = door.transport.create_topic(spec(&name, 2, &[("retention.ms", "5000")])).await;
    let made = made.unwrap();
    assert_eq!((made.name.clone(), made.partitions.len()), (name.clone(), 2));
    assert_eq!(door.transport.describe_topic(name.clone()).await.unwrap(), made);
    let settings = BTreeMap::from([("retention.ms".to_owned(), None)]);
    let change = TopicChange { partitions: Some(3), settings };
    let changed = door.transport.alter_topic(name.clone(), change).await.unwrap();
    let retention = changed.settings.iter().find(|it| it.name == "retention.ms").unwrap();
    assert_eq!((changed.partitions.len(), retention.is_default, changed.id), (3, true, made.id));
    let listed = door.transport.list_topics().await.unwrap();
    assert!(listed.contains(&changed) && listed.is_sorted_by_key(|topic| topic.name.clone()));
    door.transport.delete_topic(name.clone()).await.unwrap();
    let gone = door.transport.describe_topic(name.clone()).await.unwrap_err();
    assert_eq!(gone.outcome(), Outcome::UnknownTopic);
    let again = door.transport.create_topic(spec(&name, 1, &[])).await.unwrap();
    assert_ne!(again.id, made.id, "a topic of the same name is another topic");
}

async fn not_there(door: Door) {
    let topic = door.create("there", &[]).await;
    let nowhere = door.topic("nowhere");
    assert_eq!(door.append(&nowhere, batch(&["x"])).await, Err(Outcome::UnknownTopic));
    assert_eq!(door.fetch(&nowhere, 0).await, Err(Outcome::UnknownTopic));
    let beyond = door.produce(vec![entry(&topic, 7, batch(&["x"]))]).await;
    assert_eq!(beyond, [Err(Outcome::UnknownPartition)]);
    assert_eq!(door.fetch(&topic, 1).await, Err(Outcome::OffsetOutOfRange));
    let deleted = door.transport.delete_topic(nowhere).await.unwrap_err();
    assert_eq!(deleted.outcome(), Outcome::UnknownTopic);
}

async fn internal(door: Door) {
    let own: TopicName = "_thalweg_sql_catalog".parse().unwrap();
    let before = door.transport.describe_topic(own.clone()).await.unwrap();
    let spec = TopicSpec {
        name: "_thalweg_of_somebody_else".parse().unwrap(),
        partitions: None,
        settings: BTreeMap::new(),
    };
    let answer =
        |result: Result<_, client::error::Error>| result.map(drop).map_err(|error| error.outcome());
    let refused = [
        door.append(&own, batch(&["garbage"])).await.map(drop),
        answer(door.transport.create_topic(spec).await),
        answer(door.transport.alter_topic(own.clone(), TopicChange::default()).await),
        door.transport.delete_topic(own.clone()).await.map_err(|error| error.outcome()),
    ];
    assert_eq!(refused, [Err(Outcome::Denied); 4]);
    door.fetch(&own, 0).await.unwrap();
    assert_eq!(door.transport.describe_topic(own).await.unwrap(), before);
}

async fn not_valid(door: Door) {
    let topic = door.create("kept", &[]).await;
    let before = door.transport.describe_topic(topic.clone()).await.unwrap();
    let refused = async |spec| door.transport.create_topic(spec).await.unwrap_err().outcome();
    assert_eq!(refused(spec(&topic, 1, &[])).await, Outcome::TopicExists);
    let other = door.topic("never");
    assert_eq!(refused(spec(&other, 0, &[])).await, Outcome::InvalidPartitions);
    assert_eq!(refused(spec(&other, u32::MAX, &[])).await, Outcome::InvalidPartitions);
    assert_eq!(refused(spec(&other, 1, &[("colour", "red")])).await, Outcome::InvalidSetting);
    assert_eq!(refused(spec(&other, 1, &[("segment.bytes", "1")])).await, Outcome::InvalidSetting);
    let fewer = TopicChange { partitions: Some(0), settings: BTreeMap::new() };
    let fewer = door.transport.alter_topic(topic.clone(), fewer).await.unwrap_err();
    assert_eq!(fewer.outcome(), Outcome::InvalidPartitions);
    assert_eq!(door.transport.describe_topic(topic).await.unwrap(), before);
    assert!(door.transport.describe_topic(other).await.is_err());
}

async fn offsets(door: Door) {
    let topic = door.create("counted", &[]).await;
    let entries = [&["a", "b"][..], &["c"], &["d", "e", "f"]];
    let entries = entries.map(|values| entry(&topic, 0, batch(values))).to_vec();
    let answers = door.produce(entries).await;
    let bases: Vec<_> = answers.into_iter().map(|it| it.unwrap().base_offset.get()).collect();
    assert_eq!(bases, [0, 2, 3]);
    let found = values(&door.fetch(&topic, 0).await.unwrap());
    let wanted = ["a", "b", "c", "d", "e", "f"].iter().zip(0..);
    assert_eq!(found, wanted.map(|(value, n)| (n, (*value).to_owned())).collect::<Vec<_>>());
}

async fn entries_fail_alone(door: Door) {
    let topic = door.create("alone", &[]).await;
    let entries = vec![
        entry(&topic, 0, batch(&["a"])),
        entry(&door.topic("unknown"), 0, batch(&["x"])),
        entry(&topic, 0, batch(&["b"])),
    ];
    let answers = door.produce(entries).await;
    assert_eq!(answers[0].unwrap().base_offset.get(), 0);
    assert_eq!(answers[1], Err(Outcome::UnknownTopic));
    assert_eq!(answers[2].unwrap().base_offset.get(), 1);
}

async fn pipelined(door: Door) {
    let topic = door.create("line", &[]).await;
    let mut pending = Vec::new();
    for number in 0..50 {
        let entries = vec![entry(&topic, 0, batch(&[&number.to_string()]))];
        pending.push(door.transport.produce(ProduceRequest { entries }).await.unwrap());
    }
    for (number, pending) in pending.into_iter().enumerate().rev() {
        let appended = pending.await.unwrap().entries.remove(0).unwrap();
        assert_eq!(appended.base_offset.get(), i64::try_from(number).unwrap());
    }
}

async fn repeats(door: Door) {
    let topic = door.create("once", &[]).await;
    let id = door.transport.init_producer().await.unwrap().id;
    let first = stamped(&["a", "b"], Some((id, 0, 0)));
    let appended = door.append(&topic, first.clone()).await.unwrap();
    let again = door.append(&topic, first).await.unwrap();
    assert_eq!((appended.repeated, again.repeated), (false, true));
    assert_eq!(appended.base_offset, again.base_offset);
    assert_eq!(values(&door.fetch(&topic, 0).await.unwrap()).len(), 2);
}

async fn gaps(door: Door) {
    let topic = door.create("gap", &[]).await;
    let id = door.transport.init_producer().await.unwrap().id;
    door.append(&topic, stamped(&["a"], Some((id, 0, 0)))).await.unwrap();
    let gap = door.append(&topic, stamped(&["c"], Some((id, 0, 2)))).await;
    assert_eq!(gap, Err(Outcome::OutOfOrderSequence));
    door.append(&topic, stamped(&["b"], Some((id, 0, 1)))).await.unwrap();
}

async fn fenced(door: Door) {
    let topic = door.create("fence", &[]).await;
    let id = door.transport.init_producer().await.unwrap().id;
    door.append(&topic, stamped(&["new"], Some((id, 1, 0)))).await.unwrap();
    let old = door.append(&topic, stamped(&["old"], Some((id, 0, 0)))).await;
    assert_eq!(old, Err(Outcome::ProducerFenced));
}

async fn identities(door: Door) {
    let mut last = ProducerId(-1);
    for _ in 0..20 {
        let identity = door.transport.init_producer().await.unwrap();
        assert!(identity.id > last && identity.epoch == ProducerEpoch(0));
        last = identity.id;
    }
}

async fn bytes(door: Door) {
    let topic = door.create("bytes", &[]).await;
    let records = [
        Record::new("key", "value").at(Timestamp(1_000)).header("a", "1").header("a", vec![0, 255]),
        Record { key: None, value: None, timestamp: Some(Timestamp(999)), headers: Vec::new() },
        Record::new(vec![], vec![0_u8; 3_000]).at(Timestamp(1_001)),
    ];
    for codec in Compression::ALL {
        let mut builder = Builder::new(codec);
        records.iter().for_each(|record| builder.push(record, now()));
        let sent = builder.finish(None);
        let base = door.append(&topic, sent.clone()).await.unwrap().base_offset;
        let fetched = door.fetch(&topic, base.get()).await.unwrap();
        let found = fetched.batches.into_iter().flat_map(split).next().unwrap().unwrap();
        // The checksum covers everything from byte 21 on.
        assert_eq!(found.bytes()[21..], sent.bytes()[21..], "{codec:?}");
        let mut scratch = Vec::new();
        let read: Vec<_> = found.records(&mut scratch).unwrap().map(Result::unwrap).collect();
        let read: Vec<_> = read.iter().map(|record| record.to_record(found.bytes())).collect();
        assert_eq!(read, records, "{codec:?}");
    }
}

async fn refused_batches(door: Door) {
    let topic = door.create("strict", &[("max.message.bytes", "1024")]).await;
    let large = door.append(&topic, batch(&[&"x".repeat(2_000)])).await;
    assert_eq!(large, Err(Outcome::BatchTooLarge));
    let mut builder = Builder::new(Compression::None);
    builder.push(&Record::of_value("x").at(Timestamp(now().0 + 90_000_000)), now());
    let future = door.append(&topic, builder.finish(None)).await;
    assert_eq!(future, Err(Outcome::InvalidTimestamp));
    let mut builder = Builder::new(Compression::None).transactional();
    builder.push(&Record::of_value("x"), now());
    let transaction = door.append(&topic, builder.finish(None)).await;
    assert_eq!(transaction, Err(Outcome::InvalidRecord));
    assert_eq!(door.fetch(&topic, 0).await.unwrap().end, Offset::ZERO, "nothing was written");
}

async fn waiting(door: Door) {
    let topic = door.create("news", &[]).await;
    assert_eq!(door.fetch(&topic, 0).await.unwrap().bytes(), 0, "at once");
    let waiting = door.fetch_waiting(&topic, (0, 0, 30_000));
    let mut waiting = std::pin::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(50), waiting.as_mut()).await;
    assert!(early.is_err(), "there is nothing yet");
    door.append(&topic, batch(&["news"])).await.unwrap();
    let fetched = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert_eq!(values(&fetched), [(0, "news".to_owned())]);
    let timed_out = door.fetch_waiting(&topic, (1, 0, 20)).await.unwrap();
    assert_eq!((timed_out.bytes(), timed_out.end.get()), (0, 1));
}

async fn limits(door: Door) {
    let topic = door.create("large", &[]).await;
    for _ in 0..10 {
        door.append(&topic, batch(&[&"x".repeat(10_000)])).await.unwrap();
    }
    let one = door.fetch_waiting(&topic, (0, 100, 0)).await.unwrap();
    assert_eq!(values(&one).len(), 1, "a batch larger than the limit never blocks its reader");
    let some = door.fetch_waiting(&topic, (3, 35_000, 0)).await.unwrap();
    assert_eq!(values(&some).first().unwrap().0, 3);
    assert!(some.bytes() <= 35_000 && values(&some).len() >= 2);
}

async fn positions(door: Door) {
    let topic = door.create("timed", &[]).await;
    for time in [1_000, 2_000, 3_000] {
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record::of_value("x").at(Timestamp(time)), now());
        door.append(&topic, builder.finish(None)).await.unwrap();
    }
    let wanted = [
        (Position::Earliest, 0),
        (Position::Latest, 3),
        (Position::Offset(Offset::new(2).unwrap()), 2),
        (Position::Time(Timestamp(0)), 0),
        (Position::Time(Timestamp(2_000)), 1),
        (Position::Time(Timestamp(9_999)), 3),
    ];
    let entry = |(at, _): &(Position, i64)| {
        let (topic, partition) = (topic.clone(), Partition::ZERO);
        PositionEntry { topic, partition, at: *at }
    };
    let found = door.transport.find_positions(wanted.iter().map(entry).collect()).await.unwrap();
    for ((at, offset), found) in wanted.iter().zip(found) {
        assert_eq!(found.unwrap().offset.get(), *offset, "{at:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_door_keeps_every_promise() {
    let folder = tempfile::tempdir().unwrap();
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        data_dir: folder.path().to_owned(),
        grpc_listen: anywhere,
        http_listen: anywhere,
        ..Config::default()
    };
    let thalweg = Thalweg::open_with(config).await.unwrap();
    let grpc = thalweg.listen().await.unwrap().grpc.to_string();
    let doors = [
        Door { name: "grpc", transport: GrpcTransport::connect(&grpc).unwrap() },
        Door { name: "local", transport: thalweg.transport() },
    ];
    let mut broken = Vec::new();
    for (promise, keep) in PROMISES {
        for door in &doors {
            let kept = tokio::time::timeout(DEADLINE, keep(door.clone()));
            if !matches!(AssertUnwindSafe(kept).catch_unwind().await, Ok(Ok(()))) {
                broken.push(format!("{}: {promise}", door.name));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new(), "the reasons stand above");
    // What goes in at one door comes out at the other.
    let [grpc, local] = &doors;
    for (into, from) in [(grpc, local), (local, grpc)] {
        let topic = into.create("through", &[]).await;
        into.append(&topic, batch(&["through"])).await.unwrap();
        let found = values(&from.fetch(&topic, 0).await.unwrap());
        assert_eq!(found, [(0, "through".to_owned())]);
    }
    drop(doors);
    thalweg.close().await;
}
