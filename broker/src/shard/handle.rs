//! What others hold of a shard and of its partitions: a bounded queue in, a watched view out.

use std::sync::Arc;

use protocol::batch::Batch;
use protocol::outcome::Refusal;
use storage::{Options, View};
use tokio::sync::{mpsc, oneshot, watch};

use crate::admission::Permit;
use crate::error::{self, Place};
use crate::shard::command::{Command, DurabilityRule, OpenPartition, Slot};
use crate::shard::pending::{Answer, Ticket};

/// A shard; cloning gives another way into the same queue.
#[derive(Clone, Debug)]
pub(crate) struct ShardHandle {
    queue: mpsc::Sender<Command>,
}

impl ShardHandle {
    pub(crate) fn new(queue: mpsc::Sender<Command>) -> Self {
        Self { queue }
    }

    /// Waits for a place in the queue. May be cancelled: nothing was sent.
    async fn send(&self, command: Command) -> Result<(), Refusal> {
        self.queue.send(command).await.map_err(|_| error::stopping())
    }

    /// Done when the shard has ended, in whatever way.
    pub(crate) async fn ended(&self) {
        self.queue.closed().await;
    }

    /// Lets the shard open a partition.
    pub(crate) async fn open(
        &self,
        slot: Slot,
        partition: OpenPartition,
    ) -> Result<PartitionHandle, Refusal> {
        let (answer, opened) = oneshot::channel();
        let place = partition.place.clone();
        let partition = Box::new(partition);
        self.send(Command::Open { slot, partition, answer }).await?;
        let opened = opened.await.map_err(|_| error::stopping())??;
        Ok(PartitionHandle { slot, place: Arc::new(place), shard: self.clone(), view: opened.view })
    }

    /// Syncs and closes everything that the shard owns. Commands sent later are refused.
    pub(crate) async fn stop(&self) {
        let (answer, stopped) = oneshot::channel();
        if self.send(Command::Stop { answer }).await.is_ok() {
            // An error means that the shard has ended already.
            let _ = stopped.await;
        }
    }
}

/// One open partition; cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct PartitionHandle {
    slot: Slot,
    place: Arc<Place>,
    shard: ShardHandle,
    view: watch::Receiver<View>,
}

impl PartitionHandle {
    /// Topic and number.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Puts a batch in line. When this is done the batch has its place: batches handed in one after the other are
    /// appended in that order. May be cancelled: the batch was then not sent.
    ///
    /// # Errors
    /// When the broker is stopping; nothing has then happened.
    pub(crate) async fn append(&self, batch: Batch, permit: Permit) -> Result<Answer, Refusal> {
        let (ticket, answer) = Ticket::new(permit);
        self.shard.send(Command::Append { slot: self.slot, batch, ticket }).await?;
        Ok(answer)
    }

    /// The newest view, without asking the shard.
    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// To wait for newer views.
    pub(crate) fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Lets changed settings count from now on.
    pub(crate) async fn alter(
        &self,
        options: Options,
        durability: DurabilityRule,
    ) -> Result<(), Refusal> {
        self.shard.send(Command::Alter { slot: self.slot, options, durability }).await
    }

    /// Gives the partition up; its files stay.
    pub(crate) async fn close(&self) -> Result<(), Refusal> {
        let (answer, closed) = oneshot::channel();
        self.shard.send(Command::Close { slot: self.slot, answer }).await?;
        closed.await.map_err(|_| error::stopping())?
    }

    /// Gives the partition up and deletes its files.
    pub(crate) async fn delete(&self) -> Result<(), Refusal> {
        let (answer, deleted) = oneshot::channel();
        self.shard.send(Command::Delete { slot: self.slot, answer }).await?;
        deleted.await.map_err(|_| error::stopping())?
    }
}
