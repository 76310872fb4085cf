//! What a task does between two scans of the sink: fetch, compute, hand over, settle, write checkpoints down.
//!
//! Each method is one step, taken when the task's loop says that something has come.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use client::error::Result;
use client::transport::PendingReply;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use protocol::id::{Offset, Partition, Timestamp, TopicId, TopicName};
use protocol::outcome::Refusal;
use protocol::verbs::{FetchReply, ProduceEntry, ProduceReply, ProduceRequest, ProducerIdentity};
use tokio::time::Instant;

use super::checkpoint::{Checkpoint, Lane, Mark};
use super::graph::Graph;
use super::outbox::{Answered, Entry, Outbox};
use super::passed_over::PassedOver;
use super::pause::Pause;
use super::shift::Found;
use super::sink::{Limits, Packer};
use super::source::{Arrival, FETCH_WAIT_MS, Place, Source};
use super::spec::{Command, Services, TaskSpec};
use super::status::Status;
use crate::format::rows::RowsReader;
use crate::frontier::Frontier;
use crate::operators::operator::{OperatorError, Output};
use crate::processing_log::{Fault, Step};

/// Checkpoints of a task are at least so far apart.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);

/// The first wait after a failure, and the longest.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Why a life of a task has ended.
pub enum End {
    /// As it was told to.
    Stopped,
    /// The broker counts otherwise: scan.
    Disagreed(Refusal),
    /// Start again from the last settled place.
    Failed(String),
}

/// What a life stands on, as it was found at its start.
#[derive(Clone, Debug)]
pub struct Footing {
    /// What the sink takes.
    pub limits: Limits,
    /// The source.
    pub source: Found,
}

/// Everything between two scans of the sink.
#[expect(missing_debug_implementations, reason = "futures under way have nothing to show")]
pub struct Life {
    source: Source,
    reader: RowsReader,
    graph: Graph,
    frontier: Frontier,
    packer: Packer,
    /// What was made and is not settled yet.
    pub outbox: Outbox,
    identity: ProducerIdentity,
    /// A fetch under way.
    pub fetching: Option<BoxFuture<'static, Result<Fetched>>>,
    /// Why nothing more is read in this life: the source is not what it was.
    left: Option<String>,
    source_id: TopicId,
    /// A request on its way into the transport.
    pub handing: Option<BoxFuture<'static, Result<PendingReply>>>,
    /// Answers to come, in the order of their requests.
    pub replies: FuturesOrdered<BoxFuture<'static, Result<ProduceReply>>>,
    /// A checkpoint being written.
    pub saving: Option<BoxFuture<'static, (Checkpoint, Result<Offset>)>>,
    saved: (Mark, Vec<Lane>),
    save_at: Instant,
    verdicts: Verdicts,
    source_pause: Pause,
    sink_pause: Pause,
    save_pause: Pause,
}

impl Life {
    /// A life that begins where the checkpoint stands after the scan of the sink.
    pub fn new(
        spec: &TaskSpec,
        services: &Services,
        checkpoint: &Checkpoint,
        footing: Footing,
    ) -> Self {
        let scan = spec.plan.scan();
        let place =
            Place { partition: spec.partition, next: checkpoint.mark.source_next, until: None };
        let layout = &spec.sink.layout;
        Self {
            source: Source::new(Arc::clone(&services.transport), scan.topic.clone(), vec![place]),
            reader: RowsReader::new(scan.layout.clone()),
            graph: Graph::new(&spec.plan),
            frontier: checkpoint.mark.frontier,
            packer: Packer::new(layout, &footing.source, footing.limits, checkpoint),
            outbox: Outbox::new(checkpoint.mark.clone(), checkpoint.lanes.clone()),
            identity: checkpoint.identity,
            fetching: None,
            left: None,
            source_id: footing.source.id,
            handing: None,
            replies: FuturesOrdered::new(),
            saving: None,
            saved: (checkpoint.mark.clone(), checkpoint.lanes.clone()),
            save_at: Instant::now() + CHECKPOINT_INTERVAL,
            verdicts: Verdicts::Durable,
            source_pause: Pause::between(BACKOFF),
            sink_pause: Pause::between(BACKOFF),
            save_pause: Pause::between(BACKOFF),
        }
    }

    /// True when nothing is under way and everything settled is written down.
    pub fn is_finished(&self) -> bool {
        self.outbox.is_empty() && self.saving.is_none() && !self.is_unsaved()
    }

    fn is_unsaved(&self) -> bool {
        let (mark, lanes) = self.outbox.settled();
        (mark, lanes) != (&self.saved.0, &self.saved.1[..])
    }

    /// Starts what can be started now.
    pub fn start_work(
        &mut self,
        command: Command,
        spec: &TaskSpec,
        services: &Services,
        serial: u64,
    ) {
        let now = Instant::now();
        if self.handing.is_none()
            && self.verdicts == Verdicts::Durable
            && self.sink_pause.is_over(now)
            && let Some(entries) = self.outbox.next_request()
        {
            let request = produce_request(&spec.sink.topic, entries);
            let transport = Arc::clone(&services.transport);
            self.handing = Some(Box::pin(async move { transport.produce(request).await }));
        }
        let stopping = command == Command::Stop && self.outbox.is_empty();
        if self.saving.is_none()
            && self.save_pause.is_over(now)
            && (self.verdicts == Verdicts::New
                || self.is_unsaved() && (stopping || self.save_at <= now))
        {
            if self.verdicts == Verdicts::New {
                self.verdicts = Verdicts::Saving;
            }
            self.saving = Some(self.save(spec, services, serial + 1));
        }
        match command {
            Command::Run => {
                let may = self.left.is_none() && self.source_pause.is_over(now);
                if self.fetching.is_none() && may {
                    self.fetching = Some(self.fetch(services));
                }
            }
            // A fetch has no effect: it is simply given up.
            Command::Pause | Command::Stop => self.fetching = None,
        }
    }

    /// Fetches, and looks whether what came is of the topic that is meant: a topic is read by its name, and another one
    /// may have it by now.
    fn fetch(&mut self, services: &Services) -> BoxFuture<'static, Result<Fetched>> {
        let fetch = self.source.fetch(FETCH_WAIT_MS);
        let (topic, id) = (self.source.topic().clone(), self.source_id);
        let transport = Arc::clone(&services.transport);
        Box::pin(async move {
            let reply = fetch.await?;
            let is_empty = reply.entries.iter().flatten().all(|found| found.batches.is_empty());
            // Asked behind the fetch: a topic that is the same still was the same then.
            let is_same = is_empty || transport.describe_topic(topic).await?.id == id;
            Ok(if is_same { Fetched::Reply(reply) } else { Fetched::OtherTopic })
        })
    }

    /// Why this life ends, once all that it has read is in the sink: the source is not what it was.
    pub fn source_left(&self) -> Option<&str> {
        self.left.as_deref().filter(|_| self.outbox.is_empty())
    }

    /// Rows that are not to be judged again, as a checkpoint of the settled place has them.
    pub fn passed_over(&self) -> PassedOver {
        self.packer.passed_over(self.outbox.settled().0.source_next)
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
            source: Some(self.source_id),
            mark: mark.clone(),
            lanes: lanes.to_vec(),
            passed_over: self.passed_over(),
        };
        let (record, journal) = (spec.record(&checkpoint), services.checkpoints.clone());
        Box::pin(async move {
            let result = journal.append(vec![record]).await;
            (checkpoint, result)
        })
    }

    /// When something is to be started that no future announces.
    pub fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let at = if self.verdicts == Verdicts::New { now } else { self.save_at };
        let is_due = self.verdicts == Verdicts::New || self.is_unsaved();
        let save = match (is_due && self.saving.is_none(), self.save_pause.until()) {
            (true, Some(pause)) => at.max(pause),
            (true, None) => at,
            (false, _) => now + CHECKPOINT_INTERVAL,
        };
        let pauses = [&self.source_pause, &self.sink_pause];
        let ends = pauses.iter().filter_map(|pause| pause.until()).filter(|until| *until > now);
        ends.fold(save.max(now), Instant::min)
    }

    /// A request was taken by the transport, or not.
    pub fn handed(&mut self, handed: Result<PendingReply>) -> std::result::Result<(), End> {
        self.replies.push_back(handed.unwrap_or_else(|error| Box::pin(ready(Err(error)))));
        Ok(())
    }

    /// The answer to the oldest request came.
    pub fn replied(
        &mut self,
        reply: Result<ProduceReply>,
        status: &Status,
    ) -> std::result::Result<(), End> {
        let answer = reply.map(|reply| reply.entries).map_err(Refusal::from);
        match self.outbox.answered(answer) {
            Answered::Fine => self.sink_pause.clear(),
            Answered::Failed => {}
            Answered::Disagreed(refusal) => return Err(End::Disagreed(refusal)),
            Answered::Unfit(refusal) => return Err(End::Failed(format!("writing: {refusal}"))),
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

    /// A checkpoint was written, or not.
    pub fn saved(&mut self, saved: (Checkpoint, Result<Offset>), newest: &mut Checkpoint) {
        let (checkpoint, result) = saved;
        newest.serial = checkpoint.serial;
        self.save_at = Instant::now() + CHECKPOINT_INTERVAL;
        if self.verdicts == Verdicts::Saving {
            self.verdicts = if result.is_ok() { Verdicts::Durable } else { Verdicts::New };
        }
        match result {
            Ok(_) => {
                self.saved = (checkpoint.mark, checkpoint.lanes);
                self.save_pause.clear();
            }
            Err(error) => self.save_pause.failed(format!("writing the checkpoint: {error}")),
        }
    }

    /// A fetch came back: its rows are computed and put into the outbox.
    pub async fn fetched(
        &mut self,
        fetched: Result<Fetched>,
        spec: &TaskSpec,
        services: &Services,
        status: &Status,
    ) -> std::result::Result<(), End> {
        let reply = match fetched {
            Ok(Fetched::Reply(reply)) => reply,
            Ok(Fetched::OtherTopic) => {
                let topic = self.source.topic();
                self.left = Some(format!("reading: the topic {topic} was deleted and made again"));
                return Ok(());
            }
            Err(error) => {
                self.source_pause.failed(format!("reading: {error}"));
                return Ok(());
            }
        };
        let paused = self.source_pause.until();
        let mut output = Output::default();
        for arrival in self.source.take(reply) {
            let run = self.arrived(arrival, status, &mut output);
            run.map_err(|error| End::Failed(error.to_string()))?;
        }
        // A partition that could not be read is in the answer as well: only then the pauses go on growing.
        if self.source_pause.until() == paused {
            self.source_pause.clear();
        }
        for rows in &output.rows {
            if self.packer.pack(rows, services.clock.now(), &mut output.faults) {
                self.verdicts = Verdicts::New;
            }
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

    fn arrived(
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
            Arrival::Lost { cause, .. } => self.left = Some(format!("reading: {cause}")),
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

    /// Tells what the task waits for, if it failed.
    pub fn publish(&self, status: &Status) {
        let pauses = [&self.sink_pause, &self.source_pause, &self.save_pause];
        match pauses.iter().find_map(|pause| pause.cause()) {
            Some(cause) => status.set_trouble(cause.to_owned()),
            None => status.clear_trouble(),
        }
    }
}

/// What a fetch has brought.
pub enum Fetched {
    /// Of the topic that is meant.
    Reply(FetchReply),
    /// Something of another topic that has its name now.
    OtherTopic,
}

/// Whether it is durable which rows were passed over. Until it is, nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdicts {
    Durable,
    New,
    Saving,
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
