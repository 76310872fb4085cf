//! The life of persistent queries: made, started, paused, replaced, ended; and the catalogue that outlives them.
//!
//! Whoever changes something holds the one change lock for the whole change: first durable in the catalogue's topic,
//! then applied, then started or stopped. Whoever only looks takes the state's lock for a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::transport::Transport;
use parking_lot::RwLock;
use protocol::id::{Partition, TopicName};
use protocol::outcome::Outcome;
use protocol::record::Record;
use protocol::verbs::{Position, TopicDescription, TopicSpec};
use sql::schema::nearest;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::catalog::{CATALOG_TOPIC, Catalog, Change, PersistentQuery};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::flow::checkpoint::Checkpoint;
use crate::flow::running::{Launch, Running};
use crate::flow::spec::Services;
use crate::flow::status::{Counts, State};
use crate::journal::{Journal, ensure_topic, read_journal};
use crate::launch::{
    CHECKPOINTS_TOPIC, Stored, own_topic, partition_count, prepare, read_checkpoints, specs,
    tombstone,
};
use crate::plan::declare::{SourceProperties, Stream};
use crate::plan::logical::Plan;
use crate::processing_log::ProcessingLog;

/// Topics of the engine begin so; SHOW TOPICS leaves them out.
pub const INTERNAL_PREFIX: &str = "_thalweg";

/// How long a query may take to finish what it has under way.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Our own topics keep the newest record of each key for ever.
const KEEP_NEWEST: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("retention.ms", "-1")];

/// Catalogue and running queries; see the head of this file.
#[derive(Debug)]
pub struct Hall {
    transport: Arc<dyn Transport>,
    services: Services,
    /// Guards catalogue and running queries. Never held across an await. Taken after `changing`, where both are.
    state: RwLock<Inside>,
    /// Held by the one who changes something.
    changing: Mutex<Changing>,
}

#[derive(Debug, Default)]
struct Inside {
    catalog: Catalog,
    running: BTreeMap<String, Running>,
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

/// A persistent query and how it fares.
#[derive(Clone, Debug)]
pub struct QueryReport {
    /// The query.
    pub query: PersistentQuery,
    /// Its state.
    pub state: State,
    /// Its counters since it was started.
    pub counts: Counts,
    /// What people should know of, though it went on.
    pub note: Option<String>,
}

/// The sink of a query that is made.
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
    /// Reads the catalogue and starts its queries.
    ///
    /// # Errors
    /// When the broker cannot be reached or a record of the catalogue cannot be read. A query that cannot be started
    /// does not stop the others: it is shown with its cause.
    pub async fn open(transport: Arc<dyn Transport>, clock: Clock) -> Result<Self> {
        let catalog_topic = own_topic(CATALOG_TOPIC);
        let checkpoints_topic = own_topic(CHECKPOINTS_TOPIC);
        for topic in [&catalog_topic, &checkpoints_topic] {
            ensure_topic(&*transport, topic, Some(1), &KEEP_NEWEST).await?;
        }
        let checkpoints = Journal::start(
            Arc::clone(&transport),
            checkpoints_topic,
            Partition::ZERO,
            clock.clone(),
        );
        let journal =
            Journal::start(Arc::clone(&transport), catalog_topic, Partition::ZERO, clock.clone());
        let log = ProcessingLog::start(Arc::clone(&transport), clock.clone());
        let services = Services { transport: Arc::clone(&transport), checkpoints, log };
        let hall = Self {
            transport,
            services,
            state: RwLock::default(),
            changing: Mutex::new(Changing { journal, unsure: true, closed: false }),
        };
        drop(hall.change_lock().await?);
        Ok(hall)
    }

    /// The way to the broker.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// The catalogue as it is now.
    pub fn catalog(&self) -> Catalog {
        self.state.read().catalog.clone()
    }

    /// Every persistent query and how it fares, by id.
    pub fn reports(&self) -> Vec<QueryReport> {
        let inside = self.state.read();
        let report = |query: &PersistentQuery| {
            let running = inside.running.get(&query.id);
            let between = || State::Error("it is being started or ended".to_owned());
            QueryReport {
                state: running.map_or_else(between, |running| running.state(query.paused)),
                counts: running.map_or_else(Counts::default, Running::counts),
                note: running.and_then(Running::note),
                query: query.clone(),
            }
        };
        inside.catalog.queries().map(report).collect()
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
        let count = records.len() as u64;
        let base = match changing.journal.append(records).await {
            Ok(base) => base,
            Err(error) => {
                changing.unsure = error.may_have_happened();
                return Err(error.into());
            }
        };
        let mut inside = self.state.write();
        // Something that we do not know of lies before our change: read it before the next one.
        changing.unsure |= base != inside.catalog.end();
        if !changing.unsure {
            inside.catalog.set_end(base.plus(count));
        }
        changes.into_iter().for_each(|change| inside.catalog.apply(change));
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
        let source = self.transport.describe_topic(scan.topic.clone()).await?;
        let sink = self.transport.describe_topic(new.sink.topic.clone()).await?;
        let specs = specs(&query, new.plan, new.sink, partition_count(&source));
        let lanes = partition_count(&sink);
        let mut checkpoints = Vec::new();
        for spec in &specs {
            let transport = &*self.transport;
            checkpoints.push(spec.first_checkpoint(transport, new.start, lanes).await?);
        }
        let pairs = specs.iter().zip(&checkpoints);
        let records = pairs.map(|(spec, checkpoint)| spec.record(checkpoint)).collect();
        self.services.checkpoints.append(records).await?;
        let mut changes = Vec::new();
        if new.declares_sink {
            changes.push(Change::PutStream(Box::new(new.sink.clone())));
        }
        changes.push(Change::PutQuery(query.clone()));
        self.change(changing, changes).await?;
        let tasks = specs.into_iter().zip(checkpoints).collect();
        self.run(&query, Launch { source: source.name, tasks });
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
        let old = self.state.write().running.remove(&id);
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
        self.restart(&query).await;
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
            let running = self.state.write().running.remove(id);
            let Some(running) = running else { continue };
            let partitions = running.partitions();
            running.stop(deadline).await;
            let partitions = Partition::all(u32::try_from(partitions).unwrap_or(0));
            let tombstones = partitions.map(|partition| tombstone(&Checkpoint::key(id, partition)));
            // Left-over checkpoints are removed at the next start: ids are never used again.
            if let Err(error) = self.services.checkpoints.append(tombstones.collect()).await {
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
        let inside = self.state.read();
        for running in ids.iter().filter_map(|id| inside.running.get(id)) {
            running.pause(paused);
        }
        Ok(())
    }

    /// Finds the topic of a stream that is declared, or makes it when WITH says how many partitions it shall have.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::Partitions`], or what the broker says.
    pub async fn find_or_create_topic(
        &self,
        name: &TopicName,
        properties: &SourceProperties,
        partitions_default: Option<u32>,
    ) -> Result<TopicDescription> {
        match self.transport.describe_topic(name.clone()).await {
            Ok(found) => match properties.partitions {
                Some(expected) if partition_count(&found) != expected => Err(Error::Partitions {
                    topic: name.to_string(),
                    expected,
                    found: found.partitions.len(),
                }),
                _ => Ok(found),
            },
            Err(error) if error.outcome() == Outcome::UnknownTopic => {
                let Some(partitions) = properties.partitions.or(partitions_default) else {
                    return Err(self.unknown_topic(name.as_str()).await);
                };
                let settings = properties.topic_settings();
                let spec = TopicSpec { name: name.clone(), partitions: Some(partitions), settings };
                Ok(self.transport.create_topic(spec).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The error for a topic that is not there, with the name that was perhaps meant.
    pub async fn unknown_topic(&self, name: &str) -> Error {
        let topics = self.transport.list_topics().await.unwrap_or_default();
        let names = || topics.iter().map(|topic| topic.name.as_str());
        let same = names().find(|known| known.eq_ignore_ascii_case(name));
        let near = same.or_else(|| nearest(name, names())).map(str::to_owned);
        Error::UnknownTopic { topic: name.to_owned(), near }
    }

    /// Lets every query finish what it has under way and ends it; they start again with the next engine.
    pub async fn close(&self) {
        self.changing.lock().await.closed = true;
        let running = std::mem::take(&mut self.state.write().running);
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
        let end = read_journal(&self.transport, &topic, from, |_, record| {
            changes.push(Change::from_record(record));
        })
        .await?;
        let changes = changes.into_iter().collect::<Result<Vec<_>>>()?;
        let (missing, surplus) = {
            let mut inside = self.state.write();
            let Inside { catalog, running } = &mut *inside;
            let mut gone = BTreeSet::new();
            for change in changes.into_iter().flatten() {
                gone.extend(catalog.query_ended_by(&change));
                catalog.apply(change);
            }
            catalog.set_end(end);
            let surplus: Vec<_> = gone.iter().filter_map(|id| running.remove(id)).collect();
            let is_missing = |query: &&PersistentQuery| !running.contains_key(&query.id);
            let missing: Vec<_> = catalog.queries().filter(is_missing).cloned().collect();
            for query in catalog.queries() {
                running.get(&query.id).into_iter().for_each(|known| known.pause(query.paused));
            }
            (missing, surplus)
        };
        for running in surplus {
            running.stop(Instant::now() + STOP_PATIENCE).await;
        }
        if missing.is_empty() {
            return Ok(());
        }
        let stored = read_checkpoints(&self.services, &self.catalog()).await?;
        for query in &missing {
            self.resume(query, &stored).await;
        }
        Ok(())
    }

    /// Starts those queries again that could not be started, once they have waited long enough.
    ///
    /// Called now and then; what fails is shown with its cause and tried again at a later call.
    pub async fn retry_failed(&self) {
        let due = self.ids(|running| running.is_due(Instant::now()));
        let Some((_changing, stored)) = self.lock_for(&due).await else { return };
        // Whoever had the lock before may have ended or started some of them.
        let due = self.ids(|running| running.is_due(Instant::now()));
        for query in self.catalog().queries().filter(|query| due.contains(&query.id)) {
            self.resume(query, &stored).await;
        }
    }

    /// Takes up the partitions that were added to the sources of running queries: each from its first record on, so
    /// that no record is left out whenever it is noticed.
    ///
    /// Called now and then; what fails is tried again at the next call.
    pub async fn take_up_partitions(&self) {
        let sources: BTreeSet<_> = {
            let inside = self.state.read();
            inside.running.values().filter_map(|running| running.source().cloned()).collect()
        };
        let mut counts = BTreeMap::new();
        for topic in sources {
            if let Ok(found) = self.transport.describe_topic(topic).await {
                counts.insert(found.name, found.partitions.len());
            }
        }
        let has_grown = |running: &Running| {
            let count = running.source().and_then(|topic| counts.get(topic));
            count.is_some_and(|count| *count > running.partitions())
        };
        let grown = self.ids(has_grown);
        let Some((_changing, stored)) = self.lock_for(&grown).await else { return };
        let catalog = self.catalog();
        for query in grown.iter().filter_map(|id| catalog.query(id).ok()) {
            match prepare(&self.services, query, &catalog, &stored).await {
                Ok(launch) => self.extend(query, launch),
                Err(error) => {
                    tracing::warn!(query = query.id, %error, "added partitions are not read yet");
                }
            }
        }
    }

    /// The ids of queries that are so.
    fn ids(&self, is_so: impl Fn(&Running) -> bool) -> Vec<String> {
        let inside = self.state.read();
        let found = inside.running.iter().filter(|(_, running)| is_so(running));
        found.map(|(id, _)| id.clone()).collect()
    }

    /// The change lock and all checkpoints, when there is something to do with them. `None` also when the broker is not
    /// there, or the engine is closed: then there is nothing to do now.
    async fn lock_for(&self, ids: &[String]) -> Option<(MutexGuard<'_, Changing>, Stored)> {
        if ids.is_empty() {
            return None;
        }
        let changing = self.change_lock().await.ok()?;
        match read_checkpoints(&self.services, &self.catalog()).await {
            Ok(stored) => Some((changing, stored)),
            Err(error) => {
                tracing::warn!(%error, "the checkpoints of queries cannot be read");
                None
            }
        }
    }

    async fn restart(&self, query: &PersistentQuery) {
        match read_checkpoints(&self.services, &self.catalog()).await {
            Ok(stored) => self.resume(query, &stored).await,
            Err(error) => self.run_failed(query, error.to_string()),
        }
    }

    /// Starts a query where its checkpoints stand; a query that cannot be started is kept with the cause.
    async fn resume(&self, query: &PersistentQuery, stored: &Stored) {
        match prepare(&self.services, query, &self.catalog(), stored).await {
            Ok(launch) => self.run(query, launch),
            Err(error) => self.run_failed(query, error.to_string()),
        }
    }

    fn run(&self, query: &PersistentQuery, launch: Launch) {
        let running = Running::start(&self.services, launch, query.paused);
        self.state.write().running.insert(query.id.clone(), running);
    }

    /// Starts the tasks behind those that run already.
    fn extend(&self, query: &PersistentQuery, launch: Launch) {
        let mut inside = self.state.write();
        let Some(running) = inside.running.get_mut(&query.id) else { return };
        if running.source() != Some(&launch.source) {
            return;
        }
        let new: Vec<_> = launch.tasks.into_iter().skip(running.partitions()).collect();
        tracing::info!(query = query.id, partitions = new.len(), "added partitions are read");
        running.add(&self.services, new);
    }

    fn run_failed(&self, query: &PersistentQuery, failure: String) {
        let mut inside = self.state.write();
        let before = inside.running.remove(&query.id);
        // Told once, not at every try.
        if before.as_ref().and_then(Running::failure) != Some(failure.as_str()) {
            tracing::error!(query = query.id, failure, "the query cannot be started");
        }
        inside.running.insert(query.id.clone(), Running::failed(before, failure));
    }
}
