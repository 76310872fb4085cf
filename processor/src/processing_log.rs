//! What queries could not use, as records of a topic: which query, which record, why.
//!
//! Best effort, on purpose: no query ever waits for it. Faults wait in a bounded queue; what finds it full, or cannot
//! be written, is counted and dropped. The topic is made with the first fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use client::transport::Transport;
use protocol::id::{Offset, Partition, Timestamp, TopicName};
use protocol::record::Record;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::journal::{Journal, ensure_topic};

/// The topic of the processing log.
pub const PROCESSING_LOG_TOPIC: &str = "_thalweg_processing_log";

/// Faults that may wait to be written.
const QUEUE_MAX: usize = 1_024;

/// Faults that are written together.
const TOGETHER_MAX: usize = 128;

/// Something that a query could not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where its record lies.
    pub partition: Partition,
    /// Where its record lies.
    pub offset: Offset,
    /// In which step.
    pub step: Step,
    /// What is wrong with it, for people.
    pub cause: String,
}

/// The step of a query that met a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Reading the record from its partition: it is damaged or gone.
    Fetch,
    /// Making a row of the record: the record is passed over.
    Decode,
    /// Computing an expression: it is null for the row.
    Compute,
    /// Making a record of the row: the row is passed over.
    Encode,
}

/// A handle to the processing log.
#[derive(Clone, Debug)]
pub struct ProcessingLog {
    queue: mpsc::Sender<Record>,
    dropped: Arc<AtomicU64>,
    clock: Clock,
}

/// The layout of a record's value.
#[derive(Serialize)]
struct Entry<'a> {
    version: u32,
    query: &'a str,
    topic: &'a str,
    partition: u32,
    offset: i64,
    step: Step,
    cause: &'a str,
    time: i64,
}

impl ProcessingLog {
    /// Starts the writer of the log. It ends when the last handle is dropped.
    pub fn start(transport: Arc<dyn Transport>, clock: Clock) -> Self {
        let (queue, faults) = mpsc::channel(QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        tokio::spawn(write_faults(transport, clock.clone(), faults, Arc::clone(&dropped)));
        Self { queue, dropped, clock }
    }

    /// Notes a fault of a query reading a topic. Never waits.
    pub fn note(&self, query: &str, topic: &TopicName, fault: &Fault) {
        let Timestamp(time) = self.clock.now();
        let entry = Entry {
            version: 1,
            query,
            topic: topic.as_str(),
            partition: fault.partition.get(),
            offset: fault.offset.get(),
            step: fault.step,
            cause: &fault.cause,
            time,
        };
        tracing::debug!(query, %topic, partition = entry.partition, offset = entry.offset, cause = entry.cause, "fault");
        let value = serde_json::to_vec(&entry).expect("plain text and numbers always become JSON");
        let record = Record::new(query.to_owned(), value).at(Timestamp(time));
        if self.queue.try_send(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Faults that could not be written since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

async fn write_faults(
    transport: Arc<dyn Transport>,
    clock: Clock,
    mut faults: mpsc::Receiver<Record>,
    dropped: Arc<AtomicU64>,
) {
    let topic: TopicName =
        PROCESSING_LOG_TOPIC.parse().expect("the name is within the rules of topic names");
    let mut journal: Option<Journal> = None;
    let mut together = Vec::new();
    while faults.recv_many(&mut together, TOGETHER_MAX).await > 0 {
        let records = std::mem::take(&mut together);
        let count = records.len() as u64;
        if journal.is_none() {
            match ensure_topic(&*transport, &topic, Some(1), &[]).await {
                Ok(_) => {
                    let (transport, clock) = (Arc::clone(&transport), clock.clone());
                    journal =
                        Some(Journal::start(transport, topic.clone(), Partition::ZERO, clock));
                }
                Err(error) => tracing::warn!(%error, "the processing log cannot be made"),
            }
        }
        let written = match &journal {
            Some(journal) => journal.append(records).await.is_ok(),
            None => false,
        };
        if !written {
            dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}
