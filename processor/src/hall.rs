//! The life of persistent queries: made, started, paused, replaced, ended; and the catalogue that outlives them.
//!
//! Whoever changes something holds the one change lock for the whole change: first durable in the catalogue's topic,
//! then applied, then started or stopped. Whoever only looks takes a copy from the roster.

mod roster;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::transport::Transport;
use protocol::id::Partition;
use protocol::record::Record;
use protocol::verbs::Position;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

pub use self::roster::QueryReport;
use self::roster::{Due, Roster};
use crate::catalog::{CATALOG_TOPIC, Catalog, Change, PersistentQuery};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::flow::checkpoint::Checkpoint;
use crate::flow::running::{Launch, Running};
use crate::flow::spec::Services;
use crate::journal::{Entry, Journal, ensure_topic, own_topic, read_journal, tombstone};
use crate::launch::{partition_count, prepare, specs};
use crate::plan::declare::Stream;
use crate::plan::logical::Plan;
use crate::processing_log::ProcessingLog;
use crate::stored::{CHECKPOINTS_TOPIC, Stored, read_checkpoints};

/// How long a query may take to finish what it has under way.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Our own topics keep the newest record of each key for ever.
const KEEP_NEWEST: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("retention.ms", "-1")];

/// Catalogue and running queries; see the head of this file.
#[derive(Debug)]
pub struct Hall {
    roster: Roster,
    /// Held by the one who changes something.
    changing: Mutex<Changing>,
}

/// What only the holder of the change lock may use.
#[derive(Debug)]
pub struct Changing {
    journal: Journal,
    /// A change may or may not have been written: read before the next one.
    unsure: bool,
    /// The engine is closed: nothing is started any more.
    closed: bool,
}

/// A query that is to be made.
#[derive(Debug)]
pub struct NewQuery<'a> {
    /// The id it was given in WITH.
    pub id: Option<String>,
    /// What an id is made of otherwise.
    pub id_prefix: String,
    /// The statement.
    pub statement: String,
    /// What is computed.
    pub plan: Plan,
    /// The stream that it writes.
    pub sink: &'a Stream,
    /// Whether the stream is new with it.
    pub declares_sink: bool,
    /// Where it starts.
    pub start: Position,
}

impl Hall {
    /// Reads the catalogue and starts its queries. What statements and queries do goes through `transport`; `own` is
    /// for the records that the engine keeps for itself, and has rights that statements must not have.
    ///
    /// # Errors
    /// When the broker cannot be reached; [`Error::OwnRecords`] when the catalogue cannot be read. A query that cannot be started
    /// does not stop the others: it is shown with its cause.
    pub async fn open(
        transport: Arc<dyn Transport>,
        own: Arc<dyn Transport>,
        clock: Clock,
    ) -> Result<Self> {
        let catalog_topic = own_topic(CATALOG_TOPIC);
        let checkpoints_topic = own_topic(CHECKPOINTS_TOPIC);
        for topic in [&catalog_topic, &checkpoints_topic] {
            ensure_topic(&*own, topic, Some(1), &KEEP_NEWEST).await?;
        }
        let start = |topic| Journal::start(Arc::clone(&own), topic, Partition::ZERO, clock.clone());
        let (checkpoints, journal) = (start(checkpoints_topic), start(catalog_topic));
        let log = ProcessingLog::start(Arc::clone(&own), clock.clone());
        let services = Services { transport, checkpoints, log, clock };
        let hall = Self {
            roster: Roster::new(services),
            changing: Mutex::new(Changing { journal, unsure: true, closed: false }),
        };
        drop(hall.change_lock().await?);
        Ok(hall)
    }

    /// The way to the broker.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        self.roster.transport()
    }

    /// The catalogue as it is now.
    pub fn catalog(&self) -> Catalog {
        self.roster.catalog()
    }

    /// Every persistent query and how it fares, by id.
    pub fn reports(&self) -> Vec<QueryReport> {
        self.roster.reports()
    }

    /// The right to change something. Everything that is in the catalogue's topic is applied when it is given.
    ///
    /// # Errors
    /// When the catalogue has to be read and cannot be; [`Error::Closed`].
    pub async fn change_lock(&self) -> Result<MutexGuard<'_, Changing>> {
        let mut changing = self.changing.lock().await;
        if changing.closed {
            return Err(Error::Closed);
        }
        if changing.unsure {
            self.refresh().await?;
            changing.unsure = false;
        }
        Ok(changing)
    }

    /// Makes changes durable as one, then applies them.
    ///
    /// # Errors
    /// What the broker says.
    ///
    /// # After an error
    /// Nothing is applied. If the error says that it may have happened, the next holder of the lock reads what did.
    pub async fn change(&self, changing: &mut Changing, changes: Vec<Change>) -> Result<()> {
        let records: Vec<Record> = changes.iter().map(Change::to_record).collect();
        let base = match changing.journal.append(records).await {
            Ok(base) => base,
            Err(error) => {
                changing.unsure = error.may_have_happened();
                return Err(error.into());
            }
        };
        changing.unsure = self.roster.apply(changes, base, changing.unsure);
        Ok(())
    }

    /// Makes a query: its sink topic, its first checkpoints, its records; then starts it. Gives its id.
    ///
    /// # Errors
    /// What the broker says.
    ///
    /// # After an error
    /// There is no query, unless the error says that it may have happened. Its sink topic may be there.
    pub async fn create_query(&self, changing: &mut Changing, new: NewQuery<'_>) -> Result<String> {
        let catalog = self.catalog();
        let id = new.id.unwrap_or_else(|| catalog.next_query_id(&new.id_prefix));
        if catalog.query(&id).is_ok() {
            return Err(Error::QueryExists { id });
        }
        let scan = new.plan.scan();
        let query = PersistentQuery {
            id: id.clone(),
            statement: new.statement,
            sink: new.sink.name.clone(),
            sources: vec![scan.source.clone()],
            paused: false,
        };
        let source = self.transport().describe_topic(scan.topic.clone()).await?;
        let sink = self.transport().describe_topic(new.sink.topic.clone()).await?;
        let specs = specs(&query, new.plan, new.sink, partition_count(&source));
        let lanes = partition_count(&sink);
        let mut checkpoints = Vec::new();
        for spec in &specs {
            let transport = &**self.transport();
            checkpoints.push(spec.first_checkpoint(transport, source.id, new.start, lanes).await?);
        }
        let pairs = specs.iter().zip(&checkpoints);
        // What an earlier query of this id may have left there must not be taken for newer.
        let records = pairs.flat_map(|(spec, checkpoint)| {
            let left = tombstone(&Checkpoint::key(&spec.query, spec.partition));
            [left, spec.record(checkpoint)]
        });
        let records = records.collect();
        self.roster.services().checkpoints.append(records).await?;
        let mut changes = Vec::new();
        if new.declares_sink {
            changes.push(Change::PutStream(Box::new(new.sink.clone())));
        }
        changes.push(Change::PutQuery(query.clone()));
        self.change(changing, changes).await?;
        let tasks = specs.into_iter().zip(checkpoints).collect();
        self.roster.run(&query, Launch { source: source.name, tasks });
        Ok(id)
    }

    /// Puts another plan into a query that writes and reads the same topics: it goes on where it stood.
    ///
    /// # Errors
    /// [`Error::NotStopped`] when what is under way does not finish in time; what the broker says.
    ///
    /// # After an error
    /// The query goes on as it was, unless the error says that it may have happened.
    pub async fn replace_query(
        &self,
        changing: &mut Changing,
        query: PersistentQuery,
        sink: &Stream,
    ) -> Result<()> {
        let id = query.id.clone();
        let old = self.roster.remove(&id);
        let finished = match old {
            Some(running) => running.stop(Instant::now() + STOP_PATIENCE).await,
            None => true,
        };
        let changed = match finished {
            true => {
                let changes =
                    vec![Change::PutStream(Box::new(sink.clone())), Change::PutQuery(query)];
                self.change(changing, changes).await
            }
            false => Err(Error::NotStopped { id: id.clone(), seconds: STOP_PATIENCE.as_secs() }),
        };
        // Whichever plan is the valid one now: started again from what is durable.
        let query = self.catalog().query(&id)?.clone();
        self.roster.start(&[query]).await;
        changed
    }

    /// Ends queries for good.
    ///
    /// # Errors
    /// What the broker says.
    ///
    /// # After an error
    /// They run on, unless the error says that it may have happened.
    pub async fn terminate(&self, changing: &mut Changing, ids: &[String]) -> Result<()> {
        let drops = ids.iter().map(|id| Change::DropQuery(id.clone())).collect();
        self.change(changing, drops).await?;
        let deadline = Instant::now() + STOP_PATIENCE;
        for id in ids {
            let Some(running) = self.roster.remove(id) else { continue };
            let partitions = running.partitions();
            running.stop(deadline).await;
            let partitions = Partition::all(u32::try_from(partitions).unwrap_or(0));
            let tombstones = partitions.map(|partition| tombstone(&Checkpoint::key(id, partition)));
            // Left-over checkpoints are removed at the next start: ids are never used again.
            if let Err(error) =
                self.roster.services().checkpoints.append(tombstones.collect()).await
            {
                tracing::warn!(query = id, %error, "the checkpoints of a terminated query stay until the next start");
            }
        }
        Ok(())
    }

    /// Pauses queries, or lets them go on.
    ///
    /// # Errors
    /// What the broker says.
    ///
    /// # After an error
    /// They are as they were, unless the error says that it may have happened.
    pub async fn pause(&self, changing: &mut Changing, ids: &[String], paused: bool) -> Result<()> {
        let catalog = self.catalog();
        let mut changes = Vec::new();
        for id in ids {
            changes
                .push(Change::PutQuery(PersistentQuery { paused, ..catalog.query(id)?.clone() }));
        }
        self.change(changing, changes).await?;
        self.roster.pause(ids, paused);
        Ok(())
    }

    /// Lets every query finish what it has under way and ends it; they start again with the next engine.
    pub async fn close(&self) {
        self.changing.lock().await.closed = true;
        let running = self.roster.remove_all();
        let deadline = Instant::now() + STOP_PATIENCE;
        for running in running.values() {
            running.tell_stop();
        }
        for (id, running) in running {
            if !running.stop(deadline).await {
                tracing::warn!(
                    query = id,
                    "the query had no time to finish: the next start scans its sink"
                );
            }
        }
    }

    /// Applies what is in the catalogue's topic, starts what should run, stops what should not.
    async fn refresh(&self) -> Result<()> {
        let end = self.catalog().end();
        let mut changes = Vec::new();
        let topic = own_topic(CATALOG_TOPIC);
        let from = (end.get() > 0).then_some(end);
        let read = read_journal(self.transport(), &topic, from, |entry| {
            changes.push(match entry {
                Entry::Record(record) => Change::from_record(record),
                // It may have made a stream or ended a query: what follows cannot be trusted without it.
                Entry::Damaged(cause) => Err(cause.clone().into()),
            });
        });
        let unreadable = |error| Error::reading(CATALOG_TOPIC, error);
        let end = read.await.map_err(|error| unreadable(error.into()))?;
        let changes = changes.into_iter().collect::<Result<Vec<_>>>().map_err(unreadable)?;
        let Due { missing, surplus } = self.roster.catch_up(changes.into_iter().flatten(), end);
        for running in surplus {
            running.stop(Instant::now() + STOP_PATIENCE).await;
        }
        self.roster.start(&missing).await;
        Ok(())
    }

    /// Starts those queries again that could not be started, once they have waited long enough.
    ///
    /// Called now and then; what fails is shown with its cause and tried again at a later call.
    pub async fn retry_failed(&self) {
        let due = || self.roster.ids(|running| running.is_due(Instant::now()));
        if due().is_empty() {
            return;
        }
        let Ok(_changing) = self.change_lock().await else { return };
        // Whoever had the lock before may have ended or started some of them.
        let (due, catalog) = (due(), self.catalog());
        let queries = catalog.queries().filter(|query| due.contains(&query.id));
        self.roster.start(&queries.cloned().collect::<Vec<_>>()).await;
    }

    /// Takes up the partitions that were added to the sources of running queries: each from its first record on, so
    /// that no record is left out whenever it is noticed.
    ///
    /// Called now and then; what fails is tried again at the next call.
    pub async fn take_up_partitions(&self) {
        let mut counts = BTreeMap::new();
        for topic in self.roster.sources() {
            if let Ok(found) = self.transport().describe_topic(topic).await {
                counts.insert(found.name, found.partitions.len());
            }
        }
        let has_grown = |running: &Running| {
            let count = running.source().and_then(|topic| counts.get(topic));
            count.is_some_and(|count| *count > running.partitions())
        };
        let grown = self.roster.ids(has_grown);
        let Some((_changing, stored)) = self.lock_for(&grown).await else { return };
        let catalog = self.catalog();
        for query in grown.iter().filter_map(|id| catalog.query(id).ok()) {
            match prepare(self.roster.services(), query, &catalog, &stored).await {
                Ok(launch) => self.roster.extend(query, launch),
                Err(error) => {
                    tracing::warn!(query = query.id, %error, "added partitions are not read yet");
                }
            }
        }
    }

    /// The change lock and all checkpoints, when there is something to do with them. `None` also when the broker is not
    /// there, or the engine is closed: then there is nothing to do now.
    async fn lock_for(&self, ids: &[String]) -> Option<(MutexGuard<'_, Changing>, Stored)> {
        if ids.is_empty() {
            return None;
        }
        let changing = self.change_lock().await.ok()?;
        match read_checkpoints(self.roster.services(), &self.catalog()).await {
            Ok(stored) => Some((changing, stored)),
            Err(error) => {
                tracing::warn!(%error, "the checkpoints of queries cannot be read");
                None
            }
        }
    }
}
