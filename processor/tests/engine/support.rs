//! What the tests share: an engine over a fake broker, statements and their answers, waiting for a condition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::fake::FakeBroker;
use client::transport::Transport;
use protocol::batch::{Builder, ProducerStamp};
use protocol::compression::Compression;
use protocol::id::{Partition, Sequence, Timestamp, TopicName};
use protocol::outcome::Refusal;
use protocol::record::Record;
use protocol::verbs::{ProduceEntry, ProduceRequest, ProducerIdentity, TopicSpec};
use sql::Value;
use thalweg_processor::answer::Answer;
use thalweg_processor::{Engine, EngineConfig};
use tokio::time::{Instant, sleep};

/// How long a condition may take to come true.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn open(broker: &Arc<FakeBroker>) -> Engine {
    Engine::open(broker.clone(), broker.clone(), EngineConfig::default()).await.unwrap()
}

/// Carries statements out and collects what they answer, and the refusal at the end if there is one.
pub(crate) async fn try_run(engine: &Engine, sql: &str) -> (Vec<Answer>, Option<Refusal>) {
    try_run_with(engine, sql, &[]).await
}

pub(crate) async fn try_run_with(
    engine: &Engine,
    sql: &str,
    properties: &[(&str, &str)],
) -> (Vec<Answer>, Option<Refusal>) {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let properties: BTreeMap<_, _> = properties.iter().map(owned).collect();
    let mut answers = engine.execute(sql, properties);
    let mut all = Vec::new();
    while let Some(answer) = answers.recv().await {
        match answer {
            Ok(answer) => all.push(answer),
            Err(refusal) => return (all, Some(refusal)),
        }
    }
    (all, None)
}

pub(crate) async fn run(engine: &Engine, sql: &str) -> Vec<Answer> {
    let (answers, refusal) = try_run(engine, sql).await;
    assert_eq!(refusal, None, "{sql}");
    answers
}

pub(crate) async fn refused(engine: &Engine, sql: &str) -> Refusal {
    let (_, refusal) = try_run(engine, sql).await;
    refusal.unwrap_or_else(|| panic!("{sql} was carried out"))
}

/// The cells of all rows, as text.
pub(crate) fn rows(answers: &[Answer]) -> Vec<Vec<String>> {
    let cells = |row: &Vec<Value>| row.iter().map(ToString::to_string).collect();
    answers
        .iter()
        .filter_map(|answer| match answer {
            Answer::Rows(rows) => Some(rows.iter().map(cells).collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect()
}

pub(crate) fn done(answers: &[Answer]) -> Vec<&str> {
    answers
        .iter()
        .filter_map(|answer| match answer {
            Answer::Done(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

pub(crate) async fn create_topic(broker: &Arc<FakeBroker>, name: &str, partitions: u32) {
    let spec = TopicSpec {
        name: name.parse().unwrap(),
        partitions: Some(partitions),
        settings: BTreeMap::new(),
    };
    broker.create_topic(spec).await.unwrap();
}

/// Appends records to a partition, as a producer outside would.
pub(crate) async fn feed(
    broker: &Arc<FakeBroker>,
    topic: &str,
    partition: u32,
    records: impl IntoIterator<Item = (Option<String>, String)>,
) {
    let mut builder = Builder::new(Compression::None);
    for (index, (key, value)) in records.into_iter().enumerate() {
        let record = Record { key: key.map(Into::into), ..Record::of_value(value) };
        builder.push(&record, Timestamp(1_700_000_000_000 + index as i64));
    }
    if builder.is_empty() {
        return;
    }
    // Idempotent, so that faults meant for the engine, which may hit this too, change nothing.
    let ProducerIdentity { id, epoch } = broker.init_producer().await.unwrap();
    let stamp = ProducerStamp { id, epoch, base_sequence: Sequence::ZERO };
    let entry = ProduceEntry {
        topic: topic.parse().unwrap(),
        partition: Partition::new(partition.into()).unwrap(),
        batch: builder.finish(Some(stamp)),
    };
    let deadline = Instant::now() + DEADLINE;
    loop {
        let request = ProduceRequest { entries: vec![entry.clone()] };
        if let Ok(pending) = broker.produce(request).await
            && let Ok(reply) = pending.await
            && reply.entries.iter().all(Result::is_ok)
        {
            return;
        }
        assert!(Instant::now() < deadline, "the records were not taken");
    }
}

/// The values of a topic as text: by partition, in order.
pub(crate) fn values(broker: &FakeBroker, topic: &str) -> Vec<(u32, String)> {
    let topic: TopicName = topic.parse().unwrap();
    let text =
        |record: Record| String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
    let records = broker.records(&topic).into_iter();
    records.map(|(partition, _, record)| (partition.get(), text(record))).collect()
}

/// Waits until something is so.
///
/// # Panics
/// When it does not become so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(1)).await;
    }
}
