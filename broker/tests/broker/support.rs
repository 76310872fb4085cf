//! What the tests of the broker share: topics, batches, what the metrics say, patience.

use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::batch::{Batch, Builder};
use protocol::compression::Compression;
use protocol::id::{Partition, Timestamp, TopicName};
use protocol::outcome::Refusal;
use protocol::record::Record;
use protocol::verbs::{Appended, ProduceEntry, ProduceRequest, TopicSpec};
use thalweg_broker::Service;

pub(crate) fn topic(name: &str) -> TopicName {
    name.parse().unwrap()
}

pub(crate) fn spec(name: &str, partitions: u32, settings: &[(&str, &str)]) -> TopicSpec {
    let settings =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TopicSpec { name: topic(name), partitions: Some(partitions), settings }
}

/// A batch of one record.
pub(crate) fn batch_of(value: impl Into<Bytes>, time: Timestamp) -> Batch {
    let mut builder = Builder::new(Compression::None);
    builder.push(&Record::of_value(value.into()), time);
    builder.finish(None)
}

/// A batch for the first partition of a topic.
pub(crate) fn entry(name: &str, batch: Batch) -> ProduceEntry {
    ProduceEntry { topic: topic(name), partition: Partition::ZERO, batch }
}

/// Writes a batch to the first partition of a topic.
pub(crate) async fn produce(
    service: &Service,
    name: &str,
    batch: Batch,
) -> Result<Appended, Refusal> {
    let submitted = service.produce(ProduceRequest { entries: vec![entry(name, batch)] }).await;
    submitted.reply().await.entries.remove(0)
}

/// Syncs of logs so far.
pub(crate) fn syncs(service: &Service) -> u64 {
    let metrics = service.render_metrics();
    let syncs = metrics.lines().find_map(|line| line.strip_prefix("thalweg_syncs_total "));
    syncs.unwrap().parse().unwrap()
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}
