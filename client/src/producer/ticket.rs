//! The promise for one record, cheap: all records of a batch share one completion.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use protocol::id::{Offset, Partition, Timestamp};
use protocol::outcome::Outcome;
use protocol::verbs::Appended;
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// What became of a batch.
pub(super) type Delivery = Result<Appended>;

/// The end that waits for a batch; shared by its records.
pub(super) type Completion = Shared<oneshot::Receiver<Delivery>>;

/// A new completion with the end that completes it. Dropping that end tells all who wait that the fate is unknown.
pub(super) fn completion() -> (oneshot::Sender<Delivery>, Completion) {
    let (complete, wait) = oneshot::channel();
    (complete, wait.shared())
}

/// The promise for a record handed over: a future that says where the record went, or what is known of its fate.
///
/// Its error is final: the producer has tried until nothing was to be hoped for, or until
/// [`delivery_timeout`](super::ProducerConfig::delivery_timeout). Where [`Error::may_have_happened`] is false, the
/// record is not in the log and will not be.
///
/// Dropping it changes nothing for the record; its failure is then told by the next flush. A clone gives the same
/// answer.
///
/// ```
/// use protocol::outcome::Outcome;
/// use protocol::record::Record;
/// use thalweg_client::fake::{Call, FakeBroker, Fault};
/// use thalweg_client::producer::{Producer, ProducerConfig};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = FakeBroker::with_topic("ratings", 1);
/// broker.fail(Call::Produce, Fault::Refuse(Outcome::InvalidTimestamp), 1);
/// let producer = Producer::new(broker.clone(), ProducerConfig::default());
/// let ticket = producer.send(&"ratings".parse()?, None, Record::of_value("5")).await?;
/// match ticket.await {
///     Ok(placed) => println!("partition {}, offset {}", placed.partition, placed.offset),
///     Err(error) if error.may_have_happened() => println!("look whether it is there: {error}"),
///     Err(error) => println!("it is not there: {error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Ticket {
    pub(super) batch: Completion,
    pub(super) partition: Partition,
    /// The place of the record in its batch, from 0.
    pub(super) index: u64,
    /// The record's own time.
    pub(super) timestamp: Timestamp,
}

/// Where an acknowledged record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: Partition,
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time: its own, or the broker's where the topic asks for append time.
    pub timestamp: Timestamp,
}

impl Future for Ticket {
    type Output = Result<Placed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Placed>> {
        let delivery = std::task::ready!(Pin::new(&mut self.batch).poll(cx));
        Poll::Ready(fate(delivery).map(|appended| Placed {
            partition: self.partition,
            offset: appended.base_offset.plus(self.index),
            timestamp: appended.append_time.unwrap_or(self.timestamp),
        }))
    }
}

/// The promise for records that were handed over together: a future that is done when all of them are settled.
///
/// Its error is the first failure among them; which records it befell is not told. Dropping it changes nothing for the
/// records; a failure is then told by the next flush.
#[derive(Clone, Debug, Default)]
pub struct Tickets {
    /// The batches that hold them and are not settled yet, in the order in which they were first written to.
    batches: VecDeque<Completion>,
    failure: Option<Error>,
}

impl Tickets {
    /// Some of the records are in this batch.
    pub(super) fn add(&mut self, batch: &Completion) {
        self.batches.push_back(batch.clone());
    }
}

impl Future for Tickets {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some(batch) = self.batches.front_mut() {
            let settled = fate(std::task::ready!(Pin::new(batch).poll(cx)));
            self.batches.pop_front();
            if let Err(error) = settled {
                self.failure.get_or_insert(error);
            }
        }
        Poll::Ready(self.failure.take().map_or(Ok(()), Err))
    }
}

fn fate(delivery: std::result::Result<Delivery, oneshot::error::RecvError>) -> Delivery {
    delivery.unwrap_or_else(|_| {
        Err(Error::new(
            Outcome::Cancelled,
            "the producer's task ended (its runtime was shut down) before the record was acknowledged",
        ))
    })
}
