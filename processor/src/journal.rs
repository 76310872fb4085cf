//! Records appended in order to one partition, each durable before the caller goes on; our own topics are kept so, and
//! read back whole at a start.
//!
//! A journal has one owner, a task; handles are cheap clones. What several callers append at the same time goes out as
//! one batch, so a single append of several records is whole or not there. Appends that were not answered are sent
//! again, unchanged, under an idempotent identity. What the records mean is nobody's business here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::error::{Error, Result};
use client::transport::Transport;
use protocol::batch::{Batch, BatchError, Builder, ProducerStamp};
use protocol::compression::Compression;
use protocol::id::{Offset, Partition, Sequence, TopicName};
use protocol::outcome::Outcome;
use protocol::record::Record;
use protocol::verbs::{
    Appended, Position, ProduceEntry, ProduceRequest, ProducerIdentity, TopicDescription, TopicSpec,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::flow::source::{Arrival, Place, Source, find_position};

/// Appends that may wait in front of a journal.
const QUEUE_MAX: usize = 256;

/// Bytes after which no further append joins a batch.
const BATCH_BYTES: usize = 256 * 1024;

/// How long a failing append is tried again before its callers are told.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first wait after a failure, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A handle to append to a journal.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: mpsc::Sender<Append>,
}

#[derive(Debug)]
struct Append {
    records: Vec<Record>,
    answer: oneshot::Sender<Result<Offset>>,
}

impl Journal {
    /// Starts the owner of a journal in one partition of a topic that exists. It ends when the last handle is dropped.
    pub fn start(
        transport: Arc<dyn Transport>,
        topic: TopicName,
        partition: Partition,
        clock: Clock,
    ) -> Self {
        let (queue, appends) = mpsc::channel(QUEUE_MAX);
        let owner = Owner { transport, topic, partition, clock, producer: None };
        tokio::spawn(owner.run(appends));
        Self { queue }
    }

    /// Appends records as one: all are there or none is. Gives the offset of the first.
    ///
    /// # Errors
    /// What the broker says, or that it could not be reached for some time.
    ///
    /// # After an error
    /// The error tells whether it may have happened.
    pub async fn append(&self, records: Vec<Record>) -> Result<Offset> {
        let stopped = || Error::new(Outcome::Unavailable, "the SQL engine is stopping");
        let (answer, answered) = oneshot::channel();
        self.queue.send(Append { records, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

struct Owner {
    transport: Arc<dyn Transport>,
    topic: TopicName,
    partition: Partition,
    clock: Clock,
    producer: Option<(ProducerIdentity, Sequence)>,
}

impl Owner {
    async fn run(mut self, mut appends: mpsc::Receiver<Append>) {
        while let Some(first) = appends.recv().await {
            let mut together = vec![first];
            let mut builder = Builder::new(Compression::None);
            self.add(&mut builder, together.last());
            while builder.bytes() < BATCH_BYTES
                && let Ok(next) = appends.try_recv()
            {
                together.push(next);
                self.add(&mut builder, together.last());
            }
            if builder.is_empty() {
                continue;
            }
            let result = self.append(builder).await;
            let mut before = 0;
            for append in together {
                let count = append.records.len() as u64;
                // A caller that has gone away needs no answer.
                let _ = append.answer.send(result.clone().map(|base| base.plus(before)));
                before += count;
            }
        }
    }

    fn add(&self, builder: &mut Builder, append: Option<&Append>) {
        let now = self.clock.now();
        for record in append.into_iter().flat_map(|append| &append.records) {
            builder.push(record, now);
        }
    }

    async fn append(&mut self, builder: Builder) -> Result<Offset> {
        let deadline = Instant::now() + PATIENCE;
        let mut wait = BACKOFF.0;
        let (identity, sequence) = loop {
            match self.identity().await {
                Ok(producer) => break producer,
                Err(error) if !error.may_retry() || Instant::now() >= deadline => {
                    return Err(error);
                }
                Err(_) => pause(&mut wait).await,
            }
        };
        let count = u32::try_from(builder.record_count()).unwrap_or(u32::MAX);
        let stamp =
            ProducerStamp { id: identity.id, epoch: identity.epoch, base_sequence: sequence };
        let entry = ProduceEntry {
            topic: self.topic.clone(),
            partition: self.partition,
            batch: builder.finish(Some(stamp)),
        };
        let mut unsure = false;
        loop {
            match send(&*self.transport, entry.clone()).await {
                Ok(appended) => {
                    self.producer = Some((identity, sequence.plus(count)));
                    return Ok(appended.base_offset);
                }
                Err(error) => {
                    unsure |= error.may_have_happened();
                    if !error.may_retry() || Instant::now() >= deadline {
                        // The next append must not depend on what became of this one.
                        self.producer = None;
                        return Err(match unsure && !error.may_have_happened() {
                            true => Error::new(Outcome::TimedOut, error.message()),
                            false => error,
                        });
                    }
                    pause(&mut wait).await;
                }
            }
        }
    }

    async fn identity(&mut self) -> Result<(ProducerIdentity, Sequence)> {
        match self.producer {
            Some(producer) => Ok(producer),
            None => {
                let identity = self.transport.init_producer().await?;
                Ok(*self.producer.insert((identity, Sequence::ZERO)))
            }
        }
    }
}

async fn send(transport: &dyn Transport, entry: ProduceEntry) -> Result<Appended> {
    let request = ProduceRequest { entries: vec![entry] };
    let reply = transport.produce(request).await?.await?;
    match reply.entries.into_iter().next() {
        Some(answer) => Ok(answer?),
        None => Err(Error::new(Outcome::Internal, "the broker did not answer the entry")),
    }
}

async fn pause(wait: &mut Duration) {
    sleep(*wait).await;
    *wait = (*wait * 2).min(BACKOFF.1);
}

/// Finds a topic, or makes it.
///
/// # Errors
/// What the broker says.
pub async fn ensure_topic(
    transport: &dyn Transport,
    name: &TopicName,
    partitions: Option<u32>,
    settings: &[(&str, &str)],
) -> Result<TopicDescription> {
    match transport.describe_topic(name.clone()).await {
        Err(error) if error.outcome() == Outcome::UnknownTopic => {}
        other => return other,
    }
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let settings: BTreeMap<_, _> = settings.iter().map(owned).collect();
    match transport.create_topic(TopicSpec { name: name.clone(), partitions, settings }).await {
        // Somebody else was quicker.
        Err(error) if error.outcome() == Outcome::TopicExists => {
            transport.describe_topic(name.clone()).await
        }
        other => other,
    }
}

/// What stands at a place of a journal.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A record.
    Record(&'a Record),
    /// Records that cannot be read any more: nobody knows what they said, only where they stood.
    Damaged(&'a Error),
}

/// Reads partition 0 of a topic from an offset to its present end. Gives that end. What is damaged is passed over and
/// told in its place; what that means is for the caller to say.
///
/// # Errors
/// What the broker says.
///
/// # After an error
/// `each` was called for what lies before it.
pub async fn read_journal(
    transport: &Arc<dyn Transport>,
    topic: &TopicName,
    from: Option<Offset>,
    mut each: impl FnMut(Entry<'_>),
) -> Result<Offset> {
    let zero = Partition::ZERO;
    let next = match from {
        Some(from) => from,
        None => find_position(&**transport, topic, zero, Position::Earliest).await?,
    };
    let end = find_position(&**transport, topic, zero, Position::Latest).await?;
    let place = Place { partition: zero, next, until: Some(end) };
    let mut source = Source::new(Arc::clone(transport), topic.clone(), vec![place]);
    let mut scratch = Vec::new();
    while !source.is_done() {
        let reply = source.fetch(crate::flow::source::FETCH_WAIT_MS).await?;
        for arrival in source.take(reply) {
            let (batch, from) = match arrival {
                Arrival::Batch { batch, from, .. } => (batch, from),
                Arrival::Gap { cause, .. } => {
                    each(Entry::Damaged(&cause.into()));
                    continue;
                }
                Arrival::Lost { cause, .. } | Arrival::Failed(cause) => return Err(cause.into()),
            };
            if let Err(error) = read_batch(&batch, from, &mut scratch, &mut each) {
                let message = format!("topic {topic}, partition 0, from offset {from}: {error}");
                each(Entry::Damaged(&Error::new(Outcome::DamagedData, message)));
            }
        }
    }
    Ok(end)
}

fn read_batch(
    batch: &Batch,
    from: Offset,
    scratch: &mut Vec<u8>,
    each: &mut impl FnMut(Entry<'_>),
) -> std::result::Result<(), BatchError> {
    for view in batch.records(scratch)? {
        let view = view?;
        if view.offset >= from {
            each(Entry::Record(&view.to_record(batch.bytes())));
        }
    }
    Ok(())
}

/// The record that takes the record of a key away.
pub fn tombstone(key: &str) -> Record {
    Record { key: Some(key.to_owned().into()), ..Record::default() }
}

/// The name of one of the engine's own topics.
pub fn own_topic(name: &str) -> TopicName {
    name.parse().expect("the names of our own topics are within the rules of topic names")
}
