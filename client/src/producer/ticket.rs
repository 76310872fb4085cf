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
/// Dropping it changes nothing for the record; its failure is then told by the next flush.
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
