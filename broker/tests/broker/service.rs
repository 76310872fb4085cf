//! The promises of the broker, through its one way in: produce, fetch, wait, restart, repeat, refuse.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use protocol::batch::{Batch, Builder, ProducerStamp};
use protocol::compression::Compression;
use protocol::id::{Offset, Partition, ProducerEpoch, ProducerId, Sequence, Timestamp};
use protocol::outcome::{Outcome, Refusal};
use protocol::record::Record;
use protocol::verbs::{
    Appended, FetchEntry, FetchRequest, Fetched, Position, PositionEntry, ProduceEntry,
    ProduceRequest, TopicChange,
};
use thalweg_broker::config::DurabilityMode;
use thalweg_broker::{Broker, Config, Service};

use crate::support::{self, spec, topic};

fn config(folder: &Path) -> Config {
    Config {
        data_dir: folder.to_owned(),
        durability: DurabilityMode::Os,
        shards: 2,
        ..Config::default()
    }
}

async fn open(folder: &Path) -> Broker {
    Broker::open(config(folder)).await.unwrap()
}

fn batch(values: &[&str], producer: Option<(i64, i32)>) -> Batch {
    let mut builder = Builder::new(Compression::None);
    for value in values {
        builder.push(&Record::of_value((*value).to_owned()), now());
    }
    builder.finish(producer.map(|(id, sequence)| ProducerStamp {
        id: ProducerId(id),
        epoch: ProducerEpoch(0),
        base_sequence: Sequence::new(sequence).unwrap(),
    }))
}

fn now() -> Timestamp {
    thalweg_broker::time::Clock::real().wall()
}

async fn produce(service: &Service, name: &str, values: &[&str]) -> Result<Appended, Refusal> {
    support::produce(service, name, batch(values, None)).await
}

fn fetch_request(name: &str, offset: i64, bytes_min: u32, wait_ms_max: u32) -> FetchRequest {
    let entry = FetchEntry {
        topic: topic(name),
        partition: Partition::ZERO,
        offset: Offset::new(offset).unwrap(),
        bytes_max: 0,
    };
    FetchRequest { entries: vec![entry], bytes_min, wait_ms_max, bytes_max: 0 }
}

async fn fetch(service: &Service, name: &str, offset: i64) -> Result<Fetched, Refusal> {
    let answered = service.fetch(fetch_request(name, offset, 0, 0)).await.unwrap();
    answered.reply.entries.into_iter().next().unwrap()
}

fn values(fetched: &Fetched) -> Vec<(i64, String)> {
    let mut scratch = Vec::new();
    let mut values = Vec::new();
    for piece in &fetched.batches {
        for batch in protocol::batch::split(piece.clone()) {
            let batch = batch.unwrap();
            for record in batch.records(&mut scratch).unwrap() {
                let record = record.unwrap();
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                values.push((record.offset.get(), value));
            }
        }
    }
    values
}

#[tokio::test]
async fn what_is_produced_is_fetched_in_order_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    let service = broker.service();
    service.create_topic(spec("numbers", 3, &[])).await.unwrap();
    assert_eq!(
        produce(service, "numbers", &["zero", "one"]).await.unwrap().base_offset,
        Offset::ZERO
    );
    assert_eq!(produce(service, "numbers", &["two"]).await.unwrap().base_offset.get(), 2);
    let wanted: Vec<_> =
        [(0, "zero"), (1, "one"), (2, "two")].map(|(n, v)| (n, v.to_owned())).into();
    assert_eq!(values(&fetch(service, "numbers", 0).await.unwrap()), wanted);
    let before = service.describe_topic(&topic("numbers")).unwrap();
    broker.close().await;

    let broker = open(folder.path()).await;
    let service = broker.service();
    assert_eq!(values(&fetch(service, "numbers", 0).await.unwrap()), wanted);
    assert_eq!(produce(service, "numbers", &["three"]).await.unwrap().base_offset.get(), 3);
    let after = service.describe_topic(&topic("numbers")).unwrap();
    assert_eq!((before.id, before.partitions.len()), (after.id, after.partitions.len()));
    broker.close().await;
}

#[tokio::test]
async fn a_fetch_waits_for_enough_bytes_or_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    let service = broker.service().clone();
    service.create_topic(spec("waited", 1, &[])).await.unwrap();

    let waiting = service.fetch(fetch_request("waited", 0, 150, 60_000));
    let mut waiting = std::pin::pin!(waiting);
    produce(&service, "waited", &["too little"]).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), waiting.as_mut()).await;
    assert!(early.is_err(), "one batch of less than 150 bytes is not enough");
    produce(&service, "waited", &[&"x".repeat(100)]).await.unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
    assert_eq!(values(answered.reply.entries[0].as_ref().unwrap()).len(), 2);

    let empty = service.fetch(fetch_request("waited", 2, 1, 50)).await.unwrap();
    assert_eq!(empty.reply.entries[0].as_ref().unwrap().bytes(), 0);
    broker.close().await;
}

/// The values that one fetch of at least `bytes_min` answers with, long before its deadline.
async fn fetch_at_once(service: &Service, name: &str, bytes_min: u32, bytes_max: u32) -> usize {
    let mut request = fetch_request(name, 0, bytes_min, 60_000);
    request.bytes_max = bytes_max;
    let fetched = tokio::time::timeout(Duration::from_secs(20), service.fetch(request)).await;
    let answered = fetched.expect("it waits for what is there").unwrap();
    values(answered.reply.entries[0].as_ref().unwrap()).len()
}

#[tokio::test]
async fn a_fetch_reads_on_where_one_read_ends_before_enough() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { tail_bytes_max: 0, ..config(folder.path()) };
    let broker = Broker::open(config).await.unwrap();
    let service = broker.service();
    // From files: every segment of 4096 bytes is a read of its own.
    service.create_topic(spec("segments", 1, &[("segment.bytes", "4096")])).await.unwrap();
    for _ in 0..20 {
        produce(service, "segments", &[&"x".repeat(1000)]).await.unwrap();
    }
    let end = service.describe_topic(&topic("segments")).unwrap().partitions[0].bytes;
    assert!(end > 4 * 4096);
    assert_eq!(fetch_at_once(service, "segments", u32::try_from(end).unwrap(), 0).await, 20);
    // No more can come than the limit lets through, however long one waits.
    let some = fetch_at_once(service, "segments", 10_000, 10_000).await;
    assert!((8..=9).contains(&some), "{some} of 20 in 10,000 bytes");
    broker.close().await;

    // From memory: one read takes 1,024 batches.
    let broker = open(folder.path()).await;
    let service = broker.service();
    service.create_topic(spec("tail", 1, &[])).await.unwrap();
    let entry = || ProduceEntry {
        topic: topic("tail"),
        partition: Partition::ZERO,
        batch: batch(&["x"], None),
    };
    let request = ProduceRequest { entries: (0..2_000).map(|_| entry()).collect() };
    let reply = service.produce(request).await.reply().await;
    assert!(reply.entries.iter().all(Result::is_ok));
    let bytes = service.describe_topic(&topic("tail")).unwrap().partitions[0].bytes;
    assert_eq!(fetch_at_once(service, "tail", u32::try_from(bytes).unwrap(), 0).await, 2_000);
    broker.close().await;
}

#[tokio::test]
async fn entries_that_find_no_room_read_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(Config { tail_bytes_max: 0, ..config(folder.path()) }).await.unwrap();
    let service = broker.service();
    service.create_topic(spec("full", 1, &[])).await.unwrap();
    produce(service, "full", &[&"x".repeat(10_000)]).await.unwrap();
    let mut request = fetch_request("full", 0, 0, 0);
    request.entries = vec![request.entries.remove(0); 1_000];
    request.bytes_max = 25_000;
    let answered = service.fetch(request).await.unwrap();
    let bytes = |entry: &Result<Fetched, Refusal>| entry.as_ref().unwrap().bytes();
    let answering = answered.reply.entries.iter().filter(|entry| bytes(entry) > 0).count();
    assert_eq!((answered.reply.entries.len(), answering), (1_000, 2));
    let metrics = service.render_metrics();
    let reads = metrics
        .lines()
        .find_map(|line| line.strip_prefix("thalweg_fetches_from_files_total "))
        .unwrap();
    assert_eq!(reads, "3", "the third found no room, those behind it need not look");
    broker.close().await;
}

#[tokio::test]
async fn who_waits_for_a_topic_hears_when_it_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    let service = broker.service().clone();
    service.create_topic(spec("short", 1, &[])).await.unwrap();
    let waiting = service.fetch(fetch_request("short", 0, 1, 60_000));
    let mut waiting = std::pin::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(50), waiting.as_mut()).await;
    assert!(early.is_err());
    service.delete_topic(&topic("short")).await.unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    let refusal = answered.reply.entries[0].as_ref().unwrap_err();
    assert_eq!(refusal.outcome, Outcome::UnknownTopic);
    broker.close().await;
}

#[tokio::test]
async fn a_repeated_batch_is_stored_once_also_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    let service = broker.service();
    service.create_topic(spec("once", 1, &[])).await.unwrap();
    let identity = service.init_producer().await.unwrap();
    let first = batch(&["a", "b"], Some((identity.id.0, 0)));
    let appended = support::produce(service, "once", first.clone()).await.unwrap();
    let again = support::produce(service, "once", first.clone()).await.unwrap();
    assert!(!appended.repeated && again.repeated);
    assert_eq!(appended.base_offset, again.base_offset);
    let gap = support::produce(service, "once", batch(&["d"], Some((identity.id.0, 3)))).await;
    assert_eq!(gap.unwrap_err().outcome, Outcome::OutOfOrderSequence);
    broker.close().await;

    let broker = open(folder.path()).await;
    let service = broker.service();
    assert!(support::produce(service, "once", first).await.unwrap().repeated);
    support::produce(service, "once", batch(&["c"], Some((identity.id.0, 2)))).await.unwrap();
    assert_eq!(values(&fetch(service, "once", 0).await.unwrap()).len(), 3);
    let other = service.init_producer().await.unwrap();
    assert!(other.id > identity.id, "an id is never given out twice");
    broker.close().await;
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_refused_with_its_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    let service = broker.service();
    service.create_topic(spec("Ratings", 1, &[("max.message.bytes", "1024")])).await.unwrap();
    let outcome = |result: Result<Appended, Refusal>| result.unwrap_err();
    let unknown = outcome(produce(service, "ratings", &["x"]).await);
    assert_eq!(unknown.outcome, Outcome::UnknownTopic);
    assert!(unknown.message.contains("did you mean Ratings?"), "{unknown}");
    let large = outcome(produce(service, "Ratings", &[&"x".repeat(2000)]).await);
    assert_eq!(large.outcome, Outcome::BatchTooLarge);
    let beyond = fetch(service, "Ratings", 1).await.unwrap_err();
    assert_eq!((beyond.outcome, beyond.resume_at), (Outcome::OffsetOutOfRange, Some(Offset::ZERO)));
    let exists = service.create_topic(spec("Ratings", 1, &[])).await.unwrap_err();
    assert_eq!(exists.outcome, Outcome::TopicExists);
    let none = service.create_topic(spec("none", 0, &[])).await.unwrap_err();
    assert_eq!(none.outcome, Outcome::InvalidPartitions);
    let many = service.create_topic(spec("many", u32::MAX, &[])).await.unwrap_err();
    assert_eq!(many.outcome, Outcome::InvalidPartitions);
    let setting = service.create_topic(spec("set", 1, &[("colour", "red")])).await.unwrap_err();
    assert_eq!(setting.outcome, Outcome::InvalidSetting);
    let fewer = TopicChange { partitions: Some(0), settings: BTreeMap::new() };
    let fewer = service.alter_topic(&topic("Ratings"), fewer).await.unwrap_err();
    assert_eq!(fewer.outcome, Outcome::InvalidPartitions);
    assert_eq!(service.list_topics().len(), 1);
    broker.close().await;
}

#[tokio::test]
async fn changes_of_topics_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    let service = broker.service();
    for name in ["kept", "gone"] {
        service.create_topic(spec(name, 1, &[])).await.unwrap();
        produce(service, name, &["old"]).await.unwrap();
    }
    let settings = [("retention.ms".to_owned(), Some("5000".to_owned()))].into();
    service
        .alter_topic(&topic("kept"), TopicChange { partitions: Some(4), settings })
        .await
        .unwrap();
    service.delete_topic(&topic("gone")).await.unwrap();
    assert_eq!(produce(service, "gone", &["x"]).await.unwrap_err().outcome, Outcome::UnknownTopic);
    assert!(!folder.path().join("topics/gone").exists());
    // A topic of the same name is another topic.
    service.create_topic(spec("gone", 1, &[])).await.unwrap();
    assert_eq!(values(&fetch(service, "gone", 0).await.unwrap()), []);
    broker.close().await;

    let broker = open(folder.path()).await;
    let kept = broker.service().describe_topic(&topic("kept")).unwrap();
    assert_eq!(kept.partitions.len(), 4);
    let retention = kept.settings.iter().find(|setting| setting.name == "retention.ms").unwrap();
    assert_eq!((retention.value.as_str(), retention.is_default), ("5000", false));
    assert_eq!(values(&fetch(broker.service(), "kept", 0).await.unwrap()).len(), 1);
    assert_eq!(values(&fetch(broker.service(), "gone", 0).await.unwrap()), []);
    broker.close().await;
}

#[tokio::test]
async fn positions_are_found_by_edge_and_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    let service = broker.service();
    service.create_topic(spec("timed", 1, &[])).await.unwrap();
    for time in [1_000, 2_000, 3_000] {
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record::of_value("x").at(Timestamp(time)), now());
        support::produce(service, "timed", builder.finish(None)).await.unwrap();
    }
    let positions = [
        (Position::Earliest, 0),
        (Position::Latest, 3),
        (Position::Time(Timestamp(0)), 0),
        (Position::Time(Timestamp(2_000)), 1),
        (Position::Time(Timestamp(2_001)), 2),
        (Position::Time(Timestamp(9_999)), 3),
        (Position::Offset(Offset::new(2).unwrap()), 2),
    ];
    let entry = |(at, _): &(Position, i64)| PositionEntry {
        topic: topic("timed"),
        partition: Partition::ZERO,
        at: *at,
    };
    let found = service.find_positions(positions.iter().map(entry).collect()).await.unwrap();
    for ((at, wanted), found) in positions.iter().zip(found) {
        assert_eq!(found.unwrap().offset.get(), *wanted, "{at:?}");
    }
    broker.close().await;
}

#[tokio::test]
async fn a_second_broker_on_the_same_folder_is_refused_before_it_touches_anything() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    let second = Broker::open(config(folder.path())).await.unwrap_err();
    let refusal: Refusal = second.into();
    assert_eq!(refusal.outcome, Outcome::InUse, "{refusal}");
    broker.close().await;
    open(folder.path()).await.close().await;
}

#[tokio::test]
async fn a_partition_whose_folder_is_gone_does_not_keep_the_others_from_serving() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    for name in ["lost", "kept"] {
        broker.service().create_topic(spec(name, 1, &[])).await.unwrap();
        produce(broker.service(), name, &["x"]).await.unwrap();
    }
    broker.close().await;
    let id = std::fs::read_dir(folder.path().join("topics/lost"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::remove_dir_all(id.join("0")).unwrap();

    let broker = open(folder.path()).await;
    assert_eq!(values(&fetch(broker.service(), "kept", 0).await.unwrap()).len(), 1);
    let refused = produce(broker.service(), "lost", &["x"]).await.unwrap_err();
    assert_eq!(refused.outcome, Outcome::StorageFailed, "never made anew in silence");
    let description = broker.service().describe_topic(&topic("lost")).unwrap();
    assert!(description.partitions[0].failure.as_ref().unwrap().contains("missing"));
    broker.close().await;
}

#[tokio::test]
async fn many_producers_share_syncs_and_each_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { durability: DurabilityMode::Sync, ..config(folder.path()) };
    let broker = Broker::open(config).await.unwrap();
    let service = broker.service();
    service.create_topic(spec("shared", 1, &[])).await.unwrap();
    let appends = (0..200).map(|_| produce(service, "shared", &["x"]));
    let mut offsets: Vec<_> = futures_util::future::join_all(appends)
        .await
        .into_iter()
        .map(|appended| appended.unwrap().base_offset.get())
        .collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..200).collect::<Vec<_>>());
    let metrics = service.render_metrics();
    let syncs = metrics.lines().find_map(|line| line.strip_prefix("thalweg_syncs_total ")).unwrap();
    assert!(syncs.parse::<u64>().unwrap() < 100, "200 producers took {syncs} syncs");
    broker.close().await;
}
