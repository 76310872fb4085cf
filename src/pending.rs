//! Records that were handed to the producer and not yet answered, and the count of what became of them.
//!
//! Every record ends in exactly one of the counts, so that a command can say how many were not acknowledged.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};

use client::error::Error;
use client::producer::{Producer, Ticket};
use futures_util::FutureExt;
use protocol::id::{Partition, TopicName};
use protocol::outcome::{Outcome, Refusal};
use protocol::record::Record;

use crate::exit::Failure;

/// Records that may wait for their acknowledgement; bytes are bounded by the producer.
const TICKETS_MAX: usize = 100_000;

/// A producer with its open tickets.
#[derive(Debug)]
pub(crate) struct Pending {
    producer: Producer,
    topic: TopicName,
    tickets: VecDeque<Open>,
    sent: u64,
    acknowledged: u64,
    acknowledged_bytes: u64,
    /// Why, for the first record that was refused.
    refused: Option<Refusal>,
    /// The first and the last line of those that were refused with these words.
    refused_lines: Option<RangeInclusive<u64>>,
}

/// A record that is not answered yet.
#[derive(Debug)]
struct Open {
    bytes: u64,
    /// The line that it was, from 1; 0 where it was none.
    line: u64,
    ticket: Ticket,
}

impl Pending {
    /// Nothing sent yet.
    pub(crate) fn new(producer: Producer, topic: TopicName) -> Self {
        Self {
            producer,
            topic,
            tickets: VecDeque::new(),
            sent: 0,
            acknowledged: 0,
            acknowledged_bytes: 0,
            refused: None,
            refused_lines: None,
        }
    }

    /// Records that are as durable as their topic asks.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Bytes of their keys, values and headers.
    pub(crate) fn acknowledged_bytes(&self) -> u64 {
        self.acknowledged_bytes
    }

    /// Records handed over and not (yet) acknowledged.
    pub(crate) fn unacknowledged(&self) -> u64 {
        self.sent - self.acknowledged
    }

    /// True once a record was refused: sending more would leave a hole.
    pub(crate) fn has_failed(&self) -> bool {
        self.refused.is_some()
    }

    /// Hands a record over; waits for room in the producer's buffer. A refusal shows in [`Self::has_failed`].
    ///
    /// `line` is the line that it was, from 1; 0 where it was none.
    ///
    /// May be cancelled: the record is then not sent and not counted.
    pub(crate) async fn send(&mut self, line: u64, partition: Option<Partition>, record: Record) {
        if self.tickets.len() >= TICKETS_MAX {
            self.settle().await;
        }
        let bytes = u64::try_from(record.payload_bytes()).unwrap_or(u64::MAX);
        let handed_over = self.producer.send(&self.topic, partition, record).await;
        self.sent += 1;
        match handed_over {
            Ok(ticket) => self.tickets.push_back(Open { bytes, line, ticket }),
            Err(error) => self.refuse(line, error.into()),
        }
    }

    /// Waits until a record is answered, then takes all answers that are there; waits for ever without a record.
    ///
    /// May be cancelled: no answer is lost.
    pub(crate) async fn settle(&mut self) {
        let Some(open) = self.tickets.front_mut() else {
            return std::future::pending().await;
        };
        let answer = Pin::new(&mut open.ticket).await;
        self.count(answer.map(drop));
        while let Some(open) = self.tickets.front_mut() {
            let Some(answer) = Pin::new(&mut open.ticket).now_or_never() else { break };
            self.count(answer.map(drop));
        }
    }

    /// Waits until every record is answered. The producer's delivery timeout bounds the wait.
    pub(crate) async fn settle_all(&mut self) {
        let producer = self.producer.clone();
        let mut flush = pin!(producer.flush());
        let mut flushing = true;
        while !self.tickets.is_empty() {
            tokio::select! {
                // What the flush says of a record, its ticket says too.
                _ = &mut flush, if flushing => flushing = false,
                () = self.settle() => {}
            }
        }
    }

    /// The end of the command, as far as records go. `interrupted`: the caller gave up waiting, or sending.
    pub(crate) fn outcome(&self, interrupted: bool) -> Result<(), Failure> {
        let unacknowledged = self.unacknowledged();
        if unacknowledged > 0 {
            let cause = self.refused.clone().unwrap_or_else(|| {
                Refusal::new(Outcome::Cancelled, "interrupted before the answers came")
            });
            let lines = self.refused_lines.clone();
            return Err(Failure::Unacknowledged { unacknowledged, sent: self.sent, cause, lines });
        }
        if interrupted { Err(Failure::Interrupted) } else { Ok(()) }
    }

    /// Gives up waiting for the answers that are not there, because of this.
    pub(crate) fn give_up(&mut self, cause: Refusal) {
        self.refused.get_or_insert(cause);
    }

    /// The answer to the record in front.
    fn count(&mut self, answer: Result<(), Error>) {
        let Some(Open { bytes, line, .. }) = self.tickets.pop_front() else { return };
        match answer {
            Ok(()) => {
                self.acknowledged += 1;
                self.acknowledged_bytes += bytes;
            }
            Err(error) => self.refuse(line, error.into()),
        }
    }

    /// What else the broker refuses in the same words stood in the same batch.
    fn refuse(&mut self, line: u64, error: Refusal) {
        let first = self.refused.get_or_insert_with(|| error.clone());
        if line > 0 && *first == error {
            let lines = self.refused_lines.take().unwrap_or(line..=line);
            let (from, to) = lines.into_inner();
            self.refused_lines = Some(from.min(line)..=to.max(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use client::fake::{Call, FakeBroker, Fault};
    use client::producer::ProducerConfig;

    use super::*;

    async fn sent(broker: &Arc<FakeBroker>, records: u64) -> Pending {
        let producer = Producer::new(broker.clone(), ProducerConfig::default());
        let mut pending = Pending::new(producer, "t".parse().unwrap());
        for line in 1..=records {
            pending.send(line, Some(Partition::ZERO), Record::new("key", "value")).await;
        }
        pending
    }

    #[tokio::test]
    async fn every_acknowledged_record_is_counted() {
        let broker = FakeBroker::with_topic("t", 1);
        let mut pending = sent(&broker, 1_000).await;
        assert_eq!(pending.unacknowledged() + pending.acknowledged(), 1_000);
        pending.settle_all().await;
        assert_eq!((pending.acknowledged(), pending.acknowledged_bytes()), (1_000, 8_000));
        assert!(pending.outcome(false).is_ok());
        assert!(matches!(pending.outcome(true), Err(Failure::Interrupted)));
    }

    #[tokio::test]
    async fn a_refused_record_is_told_with_its_cause() {
        let broker = FakeBroker::with_topic("t", 1);
        broker.fail(Call::Produce, Fault::Refuse(Outcome::BatchTooLarge), 1);
        let mut pending = sent(&broker, 3).await;
        pending.settle_all().await;
        assert!(pending.has_failed());
        match pending.outcome(false) {
            Err(Failure::Unacknowledged { unacknowledged: 3, sent: 3, cause, lines }) => {
                assert_eq!(cause.outcome, Outcome::BatchTooLarge);
                assert_eq!(lines, Some(1..=3), "the lines of its batch");
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_record_without_its_topic_is_counted_too() {
        let mut pending = sent(&FakeBroker::new(), 1).await;
        pending.settle_all().await;
        assert!(pending.has_failed());
        assert_eq!((pending.unacknowledged(), pending.acknowledged()), (1, 0));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_is_told_how_many_are_open() {
        let broker = FakeBroker::with_topic("t", 1);
        broker.hold_answers(true);
        let pending = sent(&broker, 3).await;
        match pending.outcome(true) {
            Err(Failure::Unacknowledged { unacknowledged: 3, cause, lines: None, .. }) => {
                assert_eq!(cause.outcome, Outcome::Cancelled);
            }
            other => panic!("{other:?}"),
        }
    }
}
