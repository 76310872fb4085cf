//! What a task is made of before it runs: its query, its plan, its source partition, its sink, and what it shares.

use std::sync::Arc;

use client::error::Result;
use client::transport::Transport;
use protocol::id::{Partition, TopicId};
use protocol::record::Record;
use protocol::verbs::Position;

use super::checkpoint::Checkpoint;
use super::sink::Sink;
use super::source::{find_position, find_positions};
use crate::clock::Clock;
use crate::journal::Journal;
use crate::plan::logical::Plan;
use crate::processing_log::ProcessingLog;

/// What a task does.
#[derive(Clone, Debug)]
pub struct TaskSpec {
    /// The query's id.
    pub query: Arc<str>,
    /// What is computed.
    pub plan: Arc<Plan>,
    /// Where it goes.
    pub sink: Arc<Sink>,
    /// Which partition of the plan's topic it reads.
    pub partition: Partition,
}

/// What tasks share.
#[derive(Clone, Debug)]
pub struct Services {
    /// The way to the broker.
    pub transport: Arc<dyn Transport>,
    /// Where checkpoints go.
    pub checkpoints: Journal,
    /// Where faults go.
    pub log: ProcessingLog,
    /// What time it is.
    pub clock: Clock,
}

/// What a task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read and write.
    Run,
    /// Read nothing; finish what is under way.
    Pause,
    /// Finish what is under way and end.
    Stop,
}

impl TaskSpec {
    /// The first checkpoint of a new task: an identity of its own, where it starts, where the sink ends.
    ///
    /// # Errors
    /// What the broker says, or that it cannot be reached.
    ///
    /// # After an error
    /// Nothing was written; an identity may be wasted.
    pub async fn first_checkpoint(
        &self,
        transport: &dyn Transport,
        source_id: TopicId,
        start: Position,
        sink_partitions: u32,
    ) -> Result<Checkpoint> {
        let source = &self.plan.scan().topic;
        let source_next = find_position(transport, source, self.partition, start).await?;
        let latest = Position::Latest;
        let ends = find_positions(transport, &self.sink.topic, sink_partitions, latest).await?;
        let identity = transport.init_producer().await?;
        Ok(Checkpoint::first(identity, source_id, source_next, &ends))
    }

    /// The record that keeps a checkpoint of this task.
    pub fn record(&self, checkpoint: &Checkpoint) -> Record {
        Record::new(Checkpoint::key(&self.query, self.partition), checkpoint.encode())
    }
}
