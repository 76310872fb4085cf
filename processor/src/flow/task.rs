//! One task: pull, run, emit, checkpoint. The only owner of what one source partition of one query has made so far.
//!
//! The loop has no rules of its own: what is settled is the outbox's, what is dropped the packer's, what a checkpoint
//! means `flow/checkpoint.rs`'s. It ends when it is told to stop and everything is settled and written down, or when it
//! is dropped, which costs a scan at the next start and no row.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use client::error::{Error, Result};
use client::transport::Transport;
use futures_util::stream::StreamExt as _;
use protocol::id::{Offset, Partition, TopicName};
use protocol::verbs::Position;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::checkpoint::{Checkpoint, Lane};
use super::life::{BACKOFF, End, Footing, Life};
use super::pause::Pause;
use super::shift::Found;
use super::sink::Limits;
use super::source::{Arrival, FETCH_WAIT_MS, Place, Source, find_positions};
use super::spec::{Command, Services, TaskSpec};
use super::status::Status;
use crate::processing_log::{Fault, Step};

/// How long a broker that disagrees about our sequences may keep a batch from readers that it has taken. After that it
/// must have forgotten the producer.
const UNSEEN_MAX: Duration = Duration::from_secs(30);

/// A task that runs.
#[derive(Debug)]
pub struct Task {
    /// Counters and trouble.
    pub status: Arc<Status>,
    /// Ends with the task.
    pub ended: JoinHandle<()>,
}

impl Task {
    /// Starts the task where the checkpoint stands, which is durable already.
    pub fn start(
        spec: TaskSpec,
        services: Services,
        checkpoint: Checkpoint,
        commands: watch::Receiver<Command>,
    ) -> Self {
        let status = Arc::new(Status::default());
        let runner = Runner {
            spec,
            services,
            commands,
            status: Arc::clone(&status),
            checkpoint,
            disagreed_since: None,
        };
        Self { status, ended: tokio::spawn(runner.run()) }
    }
}

struct Runner {
    spec: TaskSpec,
    services: Services,
    commands: watch::Receiver<Command>,
    status: Arc<Status>,
    /// The newest settled place. Durable, or covered by a durable one and the scan.
    checkpoint: Checkpoint,
    /// Since when the broker disagrees and no scan has shown why.
    disagreed_since: Option<Instant>,
}

impl Runner {
    async fn run(mut self) {
        let mut pause = Pause::between(BACKOFF);
        loop {
            let begun = Instant::now();
            let trouble = match self.recover().await {
                Ok(footing) => match self.live(footing).await {
                    End::Stopped => return,
                    End::Disagreed(refusal) => {
                        self.disagreed_since.get_or_insert_with(Instant::now);
                        refusal.to_string()
                    }
                    End::Failed(cause) => cause,
                },
                Err(error) => error.to_string(),
            };
            tracing::warn!(query = %self.spec.query, partition = %self.spec.partition, trouble, "query task starts again");
            self.status.set_trouble(trouble.clone());
            // What went well for a while has nothing to do with the failures before it.
            if begun.elapsed() > BACKOFF.1 {
                pause.clear();
            }
            pause.failed(trouble);
            tokio::select! {
                () = sleep_until(pause.until().unwrap_or(begun)) => {}
                () = stopped(&mut self.commands) => return,
            }
        }
    }

    /// Scans the sink for what lies there behind the checkpoint. Gives what the task stands on.
    async fn recover(&mut self) -> Result<Footing> {
        let transport = Arc::clone(&self.services.transport);
        let topic = self.spec.sink.topic.clone();
        let described = transport.describe_topic(topic.clone()).await?;
        let lanes = u32::try_from(self.checkpoint.lanes.len()).unwrap_or(u32::MAX);
        let ends = find_positions(&*transport, &topic, lanes, Position::Latest).await?;
        let recreated =
            self.checkpoint.lanes.iter().zip(&ends).any(|(lane, end)| *end < lane.sink_end);
        let before = self.checkpoint.lanes.clone();
        if !recreated {
            scan(&transport, &topic, &ends, &mut self.checkpoint).await?;
        }
        // Behind the scan: whatever rows it has found were made of records before this end.
        let source = self.find_source().await?;
        let next = |lanes: &[Lane]| lanes.iter().map(|lane| lane.next_sequence).collect::<Vec<_>>();
        if next(&before) != next(&self.checkpoint.lanes) {
            self.disagreed_since = None;
        }
        let forgotten = self.disagreed_since.is_some_and(|since| since.elapsed() > UNSEEN_MAX);
        let mut renewed = self.checkpoint.clone();
        let shifted = source.shift(&mut renewed);
        if recreated || forgotten || shifted.is_some() {
            let identity = transport.init_producer().await?;
            renewed = renewed.with_identity(identity, &ends);
            if recreated {
                // What was there is gone with the old topic.
                renewed.mark.already.fill(0);
            }
            self.disagreed_since = None;
        }
        if renewed != self.checkpoint {
            renewed.serial += 1;
            self.services.checkpoints.append(vec![self.spec.record(&renewed)]).await?;
            self.checkpoint = renewed;
        }
        if let Some(told) = shifted {
            self.tell_shift(&source, told);
        }
        Ok(Footing { limits: Limits::of(&described), source })
    }

    /// The partition of the source as it is now.
    async fn find_source(&self) -> Result<Found> {
        let topic = self.spec.plan.scan().topic.clone();
        let described = self.services.transport.describe_topic(topic).await?;
        Found::of(&described, self.spec.partition)
    }

    fn tell_shift(&self, source: &Found, told: String) {
        tracing::warn!(query = %self.spec.query, told, "the source of a query is not what it was");
        self.status.set_note(told.clone());
        self.status.add_errors(1);
        let offset = self.checkpoint.mark.source_next;
        let fault = Fault { partition: source.partition, offset, step: Step::Fetch, cause: told };
        self.services.log.note(&self.spec.query, &source.topic, &fault);
    }

    async fn live(&mut self, footing: Footing) -> End {
        let mut life = Life::new(&self.spec, &self.services, &self.checkpoint, footing);
        let end = loop {
            let command = *self.commands.borrow_and_update();
            if command == Command::Stop && life.is_finished() {
                break End::Stopped;
            }
            if let Some(cause) = life.source_left() {
                break End::Failed(cause.to_owned());
            }
            life.start_work(command, &self.spec, &self.services, self.checkpoint.serial);
            let wake_at = life.wake_at();
            let step = tokio::select! {
                biased;
                // The sender lives as long as the query; without it there is nobody to work for.
                changed = self.commands.changed() => changed.map_err(|_| End::Stopped),
                handed = done(&mut life.handing) => life.handed(handed),
                Some(reply) = life.replies.next(), if !life.replies.is_empty() => {
                    life.replied(reply, &self.status)
                }
                saved = done(&mut life.saving) => {
                    life.saved(saved, &mut self.checkpoint);
                    Ok(())
                }
                fetched = done(&mut life.fetching), if life.outbox.has_room() => {
                    life.fetched(fetched, &self.spec, &self.services, &self.status).await
                }
                () = sleep_until(wake_at) => Ok(()),
            };
            life.publish(&self.status);
            if let Err(end) = step {
                break end;
            }
        };
        let (mark, lanes) = life.outbox.settled();
        self.checkpoint.mark = mark.clone();
        self.checkpoint.lanes = lanes.to_vec();
        self.checkpoint.passed_over = life.passed_over();
        end
    }
}

/// Reads the headers of what lies in the sink behind a checkpoint.
async fn scan(
    transport: &Arc<dyn Transport>,
    topic: &TopicName,
    ends: &[Offset],
    checkpoint: &mut Checkpoint,
) -> Result<()> {
    let partitions = Partition::all(u32::try_from(ends.len()).unwrap_or(u32::MAX));
    let places = partitions.zip(&checkpoint.lanes).zip(ends).map(|((partition, lane), end)| {
        Place { partition, next: lane.sink_end, until: Some(*end) }
    });
    let mut source = Source::new(Arc::clone(transport), topic.clone(), places.collect());
    while !source.is_done() {
        let reply = source.fetch(FETCH_WAIT_MS).await?;
        for arrival in source.take(reply) {
            match arrival {
                Arrival::Batch { partition, batch, .. } => {
                    checkpoint.saw(partition.get() as usize, batch.header());
                }
                // What retention has taken is counted by the sequences that follow.
                Arrival::Gap { .. } => {}
                Arrival::Lost { partition, .. } => {
                    source.seek_earliest(partition).await?;
                }
                Arrival::Failed(cause) => return Err(Error::from(cause)),
            }
        }
    }
    Ok(())
}

/// The result of a future that may not be there; waits for ever when it is not.
async fn done<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(running) => {
            let output = running.await;
            *future = None;
            output
        }
        None => pending().await,
    }
}

/// Waits until the task is told to stop.
async fn stopped(commands: &mut watch::Receiver<Command>) {
    // An error means that nobody can tell any more, which is a stop as well.
    let _ = commands.wait_for(|command| *command == Command::Stop).await;
}
