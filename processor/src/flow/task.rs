//! One task: pull, run, emit, checkpoint. The only owner of what one source partition of one query has made so far.
//!
//! The loop has no rules of its own: what is settled is the outbox's, what is dropped the packer's, what a checkpoint
//! means `flow/checkpoint.rs`'s. It ends when it is told to stop and everything is settled and written down, or when it
//! is dropped, which costs a scan at the next start and no row.

use std::future::{Future, pending, ready};
use std::sync::Arc;
use std::time::Duration;

use client::error::{Error, Result};
use client::transport::{PendingReply, Transport};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use protocol::id::{Offset, Partition, Timestamp, TopicName};
use protocol::outcome::Refusal;
use protocol::record::Record;
use protocol::verbs::{
    FetchReply, Position, ProduceEntry, ProduceReply, ProduceRequest, ProducerIdentity,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::checkpoint::{Checkpoint, Lane, Mark};
use super::graph::Graph;
use super::outbox::{Answered, Entry, Outbox};
use super::sink::{Packer, Sink, batch_bytes_max};
use super::source::{Arrival, FETCH_WAIT_MS, Place, Source, find_position, find_positions};
use super::status::Status;
use crate::format::rows::RowsReader;
use crate::frontier::Frontier;
use crate::journal::Journal;
use crate::operators::operator::{OperatorError, Output};
use crate::plan::logical::Plan;
use crate::processing_log::{Fault, ProcessingLog, Step};

/// Checkpoints of a task are at least so far apart.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);

/// The first wait after a failure, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How long a broker that disagrees about our sequences may keep a batch from readers that it has taken. After that it
/// must have forgotten the producer.
const UNSEEN_MAX: Duration = Duration::from_secs(30);

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

/// A task that runs.
#[derive(Debug)]
pub struct Task {
    /// Counters and trouble.
    pub status: Arc<Status>,
    /// Ends with the task.
    pub ended: JoinHandle<()>,
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
        start: Position,
        sink_partitions: u32,
    ) -> Result<Checkpoint> {
        let source = &self.plan.scan().topic;
        let source_next = find_position(transport, source, self.partition, start).await?;
        let latest = Position::Latest;
        let ends = find_positions(transport, &self.sink.topic, sink_partitions, latest).await?;
        let identity = transport.init_producer().await?;
        Ok(Checkpoint::first(identity, source_next, &ends))
    }

    /// The record that keeps a checkpoint of this task.
    pub fn record(&self, checkpoint: &Checkpoint) -> Record {
        Record::new(Checkpoint::key(&self.query, self.partition), checkpoint.encode())
    }

    /// Starts the task where the checkpoint stands, which is durable already.
    pub fn start(
        self,
        services: Services,
        checkpoint: Checkpoint,
        commands: watch::Receiver<Command>,
    ) -> Task {
        let status = Arc::new(Status::default());
        let runner = Runner {
            spec: self,
            services,
            commands,
            status: Arc::clone(&status),
            checkpoint,
            disagreed_since: None,
        };
        Task { status, ended: tokio::spawn(runner.run()) }
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

/// Why a life of a task has ended.
enum End {
    Stopped,
    /// The broker counts otherwise: scan.
    Disagreed(Refusal),
    /// Start again from the last settled place.
    Failed(String),
}

impl Runner {
    async fn run(mut self) {
        let mut wait = BACKOFF.0;
        loop {
            let trouble = match self.recover().await {
                Ok(batch_bytes_max) => match self.live(batch_bytes_max).await {
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
            self.status.set_trouble(trouble);
            tokio::select! {
                () = sleep(wait) => {}
                () = stopped(&mut self.commands) => return,
            }
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    /// Scans the sink for what lies there behind the checkpoint. Gives the largest batch that the sink takes.
    async fn recover(&mut self) -> Result<usize> {
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
        let next = |lanes: &[Lane]| lanes.iter().map(|lane| lane.next_sequence).collect::<Vec<_>>();
        if next(&before) != next(&self.checkpoint.lanes) {
            self.disagreed_since = None;
        }
        let forgotten = self.disagreed_since.is_some_and(|since| since.elapsed() > UNSEEN_MAX);
        if recreated || forgotten {
            let identity = transport.init_producer().await?;
            let mut renewed = self.checkpoint.clone().with_identity(identity, &ends);
            if recreated {
                // What was there is gone with the old topic.
                renewed.mark.already.fill(0);
            }
            renewed.serial += 1;
            self.services.checkpoints.append(vec![self.spec.record(&renewed)]).await?;
            self.checkpoint = renewed;
            self.disagreed_since = None;
        }
        Ok(batch_bytes_max(&described))
    }

    async fn live(&mut self, batch_bytes_max: usize) -> End {
        let mut life = Life::new(self, batch_bytes_max);
        let end = loop {
            let command = *self.commands.borrow_and_update();
            if command == Command::Stop && life.is_finished() {
                break End::Stopped;
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
        end
    }
}

/// Everything between two scans of the sink.
struct Life {
    source: Source,
    reader: RowsReader,
    graph: Graph,
    frontier: Frontier,
    packer: Packer,
    outbox: Outbox,
    identity: ProducerIdentity,
    fetching: Option<BoxFuture<'static, Result<FetchReply>>>,
    handing: Option<BoxFuture<'static, Result<PendingReply>>>,
    replies: FuturesOrdered<BoxFuture<'static, Result<ProduceReply>>>,
    saving: Option<BoxFuture<'static, (Checkpoint, Result<Offset>)>>,
    saved: (Mark, Vec<Lane>),
    save_at: Instant,
    source_pause: Pause,
    sink_pause: Pause,
    save_pause: Pause,
}

/// A wait after a failure, longer each time.
#[derive(Default)]
struct Pause {
    until: Option<Instant>,
    last: Duration,
    cause: Option<String>,
}

impl Pause {
    fn failed(&mut self, cause: String) {
        self.last = (self.last * 2).clamp(BACKOFF.0, BACKOFF.1);
        self.until = Some(Instant::now() + self.last);
        self.cause = Some(cause);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

impl Life {
    fn new(runner: &Runner, batch_bytes_max: usize) -> Self {
        let Runner { spec, services, checkpoint, .. } = runner;
        let scan = spec.plan.scan();
        let place =
            Place { partition: spec.partition, next: checkpoint.mark.source_next, until: None };
        let layout = &spec.sink.layout;
        Self {
            source: Source::new(Arc::clone(&services.transport), scan.topic.clone(), vec![place]),
            reader: RowsReader::new(scan.layout.clone()),
            graph: Graph::new(&spec.plan),
            frontier: checkpoint.mark.frontier,
            packer: Packer::new(layout, spec.partition, batch_bytes_max, checkpoint),
            outbox: Outbox::new(checkpoint.mark.clone(), checkpoint.lanes.clone()),
            identity: checkpoint.identity,
            fetching: None,
            handing: None,
            replies: FuturesOrdered::new(),
            saving: None,
            saved: (checkpoint.mark.clone(), checkpoint.lanes.clone()),
            save_at: Instant::now() + CHECKPOINT_INTERVAL,
            source_pause: Pause::default(),
            sink_pause: Pause::default(),
            save_pause: Pause::default(),
        }
    }

    /// True when nothing is under way and everything settled is written down.
    fn is_finished(&self) -> bool {
        self.outbox.is_empty() && self.saving.is_none() && !self.is_unsaved()
    }

    fn is_unsaved(&self) -> bool {
        let (mark, lanes) = self.outbox.settled();
        (mark, lanes) != (&self.saved.0, &self.saved.1[..])
    }

    fn start_work(&mut self, command: Command, spec: &TaskSpec, services: &Services, serial: u64) {
        let now = Instant::now();
        if self.handing.is_none()
            && self.sink_pause.is_over(now)
            && let Some(entries) = self.outbox.next_request()
        {
            let request = produce_request(&spec.sink.topic, entries);
            let transport = Arc::clone(&services.transport);
            self.handing = Some(Box::pin(async move { transport.produce(request).await }));
        }
        let stopping = command == Command::Stop && self.outbox.is_empty();
        if self.saving.is_none()
            && self.is_unsaved()
            && self.save_pause.is_over(now)
            && (stopping || self.save_at <= now)
        {
            self.saving = Some(self.save(spec, services, serial + 1));
        }
        match command {
            Command::Run => {
                if self.fetching.is_none() && self.source_pause.is_over(now) {
                    self.fetching = Some(self.source.fetch(FETCH_WAIT_MS));
                }
            }
            // A fetch has no effect: it is simply given up.
            Command::Pause | Command::Stop => self.fetching = None,
        }
    }

    fn save(
        &self,
        spec: &TaskSpec,
        services: &Services,
        serial: u64,
    ) -> BoxFuture<'static, (Checkpoint, Result<Offset>)> {
        let (mark, lanes) = self.outbox.settled();
        let checkpoint = Checkpoint {
            serial,
            identity: self.identity,
            mark: mark.clone(),
            lanes: lanes.to_vec(),
        };
        let (record, journal) = (spec.record(&checkpoint), services.checkpoints.clone());
        Box::pin(async move {
            let result = journal.append(vec![record]).await;
            (checkpoint, result)
        })
    }

    /// When something is to be started that no future announces.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let save = match (self.is_unsaved() && self.saving.is_none(), self.save_pause.until) {
            (true, Some(pause)) => self.save_at.max(pause),
            (true, None) => self.save_at,
            (false, _) => now + CHECKPOINT_INTERVAL,
        };
        let pauses = [&self.source_pause, &self.sink_pause];
        let ends = pauses.iter().filter_map(|pause| pause.until).filter(|until| *until > now);
        ends.fold(save.max(now), Instant::min)
    }

    fn handed(&mut self, handed: Result<PendingReply>) -> std::result::Result<(), End> {
        self.replies.push_back(handed.unwrap_or_else(|error| Box::pin(ready(Err(error)))));
        Ok(())
    }

    fn replied(
        &mut self,
        reply: Result<ProduceReply>,
        status: &Status,
    ) -> std::result::Result<(), End> {
        let answer = reply.map(|reply| reply.entries).map_err(Refusal::from);
        match self.outbox.answered(answer) {
            Answered::Fine => self.sink_pause = Pause::default(),
            Answered::Failed => {}
            Answered::Disagreed(refusal) => return Err(End::Disagreed(refusal)),
        }
        status.add_written(self.outbox.take_rows_settled());
        // A request being handed over will be answered too: only then all answers are in.
        if self.handing.is_none()
            && let Some(refusal) = self.outbox.rewind()
        {
            self.sink_pause.failed(format!("writing: {refusal}"));
        }
        Ok(())
    }

    fn saved(&mut self, saved: (Checkpoint, Result<Offset>), newest: &mut Checkpoint) {
        let (checkpoint, result) = saved;
        newest.serial = checkpoint.serial;
        self.save_at = Instant::now() + CHECKPOINT_INTERVAL;
        match result {
            Ok(_) => {
                self.saved = (checkpoint.mark, checkpoint.lanes);
                self.save_pause = Pause::default();
            }
            Err(error) => self.save_pause.failed(format!("writing the checkpoint: {error}")),
        }
    }

    async fn fetched(
        &mut self,
        fetched: Result<FetchReply>,
        spec: &TaskSpec,
        services: &Services,
        status: &Status,
    ) -> std::result::Result<(), End> {
        let reply = match fetched {
            Ok(reply) => reply,
            Err(error) => {
                self.source_pause.failed(format!("reading: {error}"));
                return Ok(());
            }
        };
        self.source_pause = Pause::default();
        let mut output = Output::default();
        for arrival in self.source.take(reply) {
            let run = self.arrived(arrival, status, &mut output).await;
            run.map_err(|error| End::Failed(error.to_string()))?;
        }
        for rows in &output.rows {
            self.packer.pack(rows, &mut output.faults);
        }
        status.add_errors(output.faults.len() as u64);
        for fault in &output.faults {
            services.log.note(&spec.query, self.source.topic(), fault);
        }
        if let Some(place) = self.source.places().first().copied() {
            let (entries, mark) = self.packer.close(place.next, self.frontier);
            if mark != *self.outbox.settled().0 || !entries.is_empty() {
                self.outbox.push(entries, mark);
            }
        }
        Ok(())
    }

    async fn arrived(
        &mut self,
        arrival: Arrival,
        status: &Status,
        output: &mut Output,
    ) -> std::result::Result<(), OperatorError> {
        match arrival {
            Arrival::Batch { partition, batch, from, until } => {
                let reading = self.reader.read(partition, &batch, from, until);
                status.add_read(reading.records);
                output.faults.extend(reading.bad.into_iter().map(|bad| Fault {
                    partition,
                    offset: bad.offset,
                    step: Step::Decode,
                    cause: bad.cause.to_string(),
                }));
                for time in reading.rows.times().values() {
                    self.frontier.advance(Timestamp(*time));
                }
                if let Some(time) = self.frontier.time() {
                    status.saw(time);
                }
                self.graph.run(reading.rows, self.frontier, output)?;
            }
            Arrival::Gap { partition, from, to, cause } => {
                let unsure = self.packer.gap(to.since(from));
                self.tell_gap(Gap { partition, from, to, unsure }, &cause, status, output);
            }
            Arrival::Lost { partition, cause } => {
                let from = self.source.places().first().map_or(Offset::ZERO, |place| place.next);
                match self.source.seek_earliest(partition).await {
                    Ok(to) => {
                        let unsure = self.packer.gap(u64::MAX);
                        self.tell_gap(Gap { partition, from, to, unsure }, &cause, status, output);
                    }
                    Err(error) => self.source_pause.failed(format!("reading: {error}")),
                }
            }
            Arrival::Failed(cause) => self.source_pause.failed(format!("reading: {cause}")),
        }
        Ok(())
    }

    fn tell_gap(&self, gap: Gap, cause: &Refusal, status: &Status, output: &mut Output) {
        let Gap { partition, from, to, unsure } = gap;
        let risk =
            if unsure { "; rows written just before the last start may be repeated" } else { "" };
        let topic = self.source.topic();
        let text = format!(
            "topic {topic}, partition {partition}: went on at offset {to} instead of {from}{risk}: {cause}"
        );
        status.set_note(text.clone());
        output.faults.push(Fault { partition, offset: from, step: Step::Fetch, cause: text });
    }

    fn publish(&self, status: &Status) {
        let pauses = [&self.sink_pause, &self.source_pause, &self.save_pause];
        match pauses.iter().find_map(|pause| pause.cause.as_ref()) {
            Some(cause) => status.set_trouble(cause.clone()),
            None => status.clear_trouble(),
        }
    }
}

/// Source records that could not be read.
struct Gap {
    partition: Partition,
    from: Offset,
    to: Offset,
    /// True when rows may be repeated because of it.
    unsure: bool,
}

fn produce_request(topic: &TopicName, entries: Vec<Entry>) -> ProduceRequest {
    let entry = |entry: Entry| ProduceEntry {
        topic: topic.clone(),
        // Lanes are numbered as partitions are, and there are no more of them.
        partition: i64::try_from(entry.lane)
            .ok()
            .and_then(|n| Partition::new(n).ok())
            .unwrap_or_default(),
        batch: entry.batch,
    };
    ProduceRequest { entries: entries.into_iter().map(entry).collect() }
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
