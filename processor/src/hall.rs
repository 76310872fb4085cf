//! The life of persistent queries: made, started, paused, replaced, ended; and the catalogue that outlives them.
//!
//! Whoever changes something holds the one change lock for the whole change: first durable in the catalogue's topic,
//! then applied, then started or stopped. Whoever only looks takes the state's lock for a copy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::transport::Transport;
use parking_lot::RwLock;
use protocol::id::{Partition, TopicName};
use protocol::outcome::Outcome;
use protocol::record::Record;
use protocol::verbs::{Position, TopicDescription, TopicSpec};
use sql::ast::Statement;
use sql::schema::nearest;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{Instant, timeout_at};

use crate::catalog::{CATALOG_TOPIC, Catalog, Change, PersistentQuery, parse_one};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::flow::checkpoint::Checkpoint;
use crate::flow::sink::Sink;
use crate::flow::status::{Counts, State};
use crate::flow::task::{Command, Services, Task, TaskSpec};
use crate::journal::{Journal, ensure_topic, read_journal};
use crate::plan::build::{plan_insert, plan_records};
use crate::plan::declare::{SourceProperties, Stream};
use crate::plan::logical::Plan;
use crate::processing_log::ProcessingLog;

/// The topic of the tasks' checkpoints.
pub const CHECKPOINTS_TOPIC: &str = "_thalweg_sql_checkpoints";

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
}

#[derive(Debug)]
struct Running {
    commands: watch::Sender<Command>,
    tasks: Vec<Task>,
    /// Why it could not be started.
    failure: Option<String>,
}

/// A persistent query and how it fares.
#[derive(Clone, Debug)]
pub struct QueryReport {
    /// The query.
    pub query: PersistentQuery,
    /// Its state.
    pub state: State,
    /// Its counters since the start of the engine.
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
            changing: Mutex::new(Changing { journal, unsure: true }),
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
        let report = |query: &PersistentQuery| match inside.running.get(&query.id) {
            Some(running) => running.report(query.clone()),
            None => QueryReport {
                query: query.clone(),
                state: State::Error("it is being started or ended".to_owned()),
                counts: Counts::default(),
                note: None,
            },
        };
        inside.catalog.queries().map(report).collect()
    }

    /// The right to change something. Everything that is in the catalogue's topic is applied when it is given.
    ///
    /// # Errors
    /// When the catalogue has to be read and cannot be.
    pub async fn change_lock(&self) -> Result<MutexGuard<'_, Changing>> {
        let mut changing = self.changing.lock().await;
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
        self.run(&query, specs.into_iter().zip(checkpoints).collect());
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
            let partitions = running.tasks.len();
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
            running.commands.send_replace(command_of(paused));
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
        let _changing = self.changing.lock().await;
        let running = std::mem::take(&mut self.state.write().running);
        let deadline = Instant::now() + STOP_PATIENCE;
        for running in running.values() {
            running.commands.send_replace(Command::Stop);
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
            changes.into_iter().flatten().for_each(|change| inside.catalog.apply(change));
            inside.catalog.set_end(end);
            let Inside { catalog, running } = &mut *inside;
            let gone: Vec<_> =
                running.keys().filter(|id| catalog.query(id).is_err()).cloned().collect();
            let surplus: Vec<_> = gone.iter().filter_map(|id| running.remove(id)).collect();
            let missing: Vec<_> = catalog
                .queries()
                .filter(|query| !running.contains_key(&query.id))
                .cloned()
                .collect();
            (missing, surplus)
        };
        for running in surplus {
            running.stop(Instant::now() + STOP_PATIENCE).await;
        }
        if missing.is_empty() {
            return Ok(());
        }
        let stored = self.read_checkpoints().await?;
        for query in &missing {
            self.resume(query, &stored).await;
        }
        Ok(())
    }

    async fn restart(&self, query: &PersistentQuery) {
        match self.read_checkpoints().await {
            Ok(stored) => self.resume(query, &stored).await,
            Err(error) => self.run_failed(query, error.to_string()),
        }
    }

    /// The newest checkpoint of every task, by key. Those of queries that are no more are removed.
    async fn read_checkpoints(&self) -> Result<BTreeMap<String, Result<Checkpoint>>> {
        let mut stored: BTreeMap<String, Result<Checkpoint>> = BTreeMap::new();
        read_journal(&self.transport, &own_topic(CHECKPOINTS_TOPIC), None, |_, record| {
            let key =
                String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
            let Some(value) = &record.value else {
                stored.remove(&key);
                return;
            };
            let read = Checkpoint::decode(value).map_err(|error| Error::Stored {
                topic: CHECKPOINTS_TOPIC,
                key: key.clone(),
                cause: error.to_string(),
            });
            // A late one may stand behind its successor.
            let older = match (stored.get(&key), &read) {
                (Some(Ok(known)), Ok(read)) => read.serial < known.serial,
                _ => false,
            };
            if !older {
                stored.insert(key, read);
            }
        })
        .await?;
        let catalog = self.catalog();
        let is_orphan = |key: &&String| {
            key.rsplit_once('/').is_none_or(|(query, _)| catalog.query(query).is_err())
        };
        let orphans: Vec<_> = stored.keys().filter(is_orphan).map(|key| tombstone(key)).collect();
        if !orphans.is_empty() {
            self.services.checkpoints.append(orphans).await?;
        }
        Ok(stored)
    }

    /// Starts a query where its checkpoints stand; a query that cannot be started is kept with the cause.
    async fn resume(&self, query: &PersistentQuery, stored: &BTreeMap<String, Result<Checkpoint>>) {
        match self.prepare(query, stored).await {
            Ok(tasks) => self.run(query, tasks),
            Err(error) => {
                tracing::error!(query = query.id, %error, "the query cannot be started");
                self.run_failed(query, error.to_string());
            }
        }
    }

    async fn prepare(
        &self,
        query: &PersistentQuery,
        stored: &BTreeMap<String, Result<Checkpoint>>,
    ) -> Result<Vec<(TaskSpec, Checkpoint)>> {
        let catalog = self.catalog();
        let (plan, sink) = plan_of(query, &catalog)?;
        let source = self.transport.describe_topic(plan.scan().topic.clone()).await?;
        let described = self.transport.describe_topic(sink.topic.clone()).await?;
        let mut tasks = Vec::new();
        let mut lanes = partition_count(&described);
        for spec in specs(query, plan, sink, partition_count(&source)) {
            let checkpoint = match stored.get(&Checkpoint::key(&spec.query, spec.partition)) {
                Some(Ok(checkpoint)) => {
                    lanes = u32::try_from(checkpoint.lanes.len()).unwrap_or(lanes);
                    checkpoint.clone()
                }
                Some(Err(error)) => return Err(error.clone()),
                // A partition that was added since.
                None => {
                    let earliest = Position::Earliest;
                    let first = spec.first_checkpoint(&*self.transport, earliest, lanes).await?;
                    self.services.checkpoints.append(vec![spec.record(&first)]).await?;
                    first
                }
            };
            tasks.push((spec, checkpoint));
        }
        Ok(tasks)
    }

    fn run(&self, query: &PersistentQuery, tasks: Vec<(TaskSpec, Checkpoint)>) {
        let (commands, listen) = watch::channel(command_of(query.paused));
        let start = |(spec, checkpoint): (TaskSpec, Checkpoint)| {
            spec.start(self.services.clone(), checkpoint, listen.clone())
        };
        let tasks = tasks.into_iter().map(start).collect();
        let running = Running { commands, tasks, failure: None };
        self.state.write().running.insert(query.id.clone(), running);
    }

    fn run_failed(&self, query: &PersistentQuery, failure: String) {
        let (commands, _) = watch::channel(Command::Stop);
        let running = Running { commands, tasks: Vec::new(), failure: Some(failure) };
        self.state.write().running.insert(query.id.clone(), running);
    }
}

impl Running {
    /// True when everything under way was finished; tasks that did not are given up.
    async fn stop(self, deadline: Instant) -> bool {
        self.commands.send_replace(Command::Stop);
        let mut finished = true;
        for mut task in self.tasks {
            if timeout_at(deadline, &mut task.ended).await.is_err() {
                task.ended.abort();
                finished = false;
            }
        }
        finished
    }

    fn report(&self, query: PersistentQuery) -> QueryReport {
        let counts = self.tasks.iter().map(|task| task.status.counts());
        let trouble = || self.tasks.iter().find_map(|task| task.status.trouble());
        let state = match self.failure.clone().or_else(trouble) {
            Some(cause) => State::Error(cause),
            None if query.paused => State::Paused,
            None => State::Running,
        };
        QueryReport {
            state,
            counts: counts.fold(Counts::default(), Counts::and),
            note: self.tasks.iter().find_map(|task| task.status.note()),
            query,
        }
    }
}

/// What a stored query computes, and where that goes.
///
/// # Errors
/// When its statement does not fit the streams any more.
pub fn plan_of(query: &PersistentQuery, catalog: &Catalog) -> Result<(Plan, Stream)> {
    let sink = catalog.stream(&query.sink)?.clone();
    let plan = match parse_one(&query.statement)? {
        Statement::CreateAs(create) => {
            let source = catalog.stream(create.query.from.name.as_str())?;
            plan_records(&create.query, source)?.plan
        }
        Statement::InsertSelect { query, .. } => {
            plan_insert(&query, catalog.stream(query.from.name.as_str())?, &sink)?.plan
        }
        _ => return Err(Error::Internal(format!("the query {} is no SELECT", query.id))),
    };
    Ok((plan, sink))
}

fn specs(
    query: &PersistentQuery,
    plan: Plan,
    sink: impl std::borrow::Borrow<Stream>,
    partitions: u32,
) -> Vec<TaskSpec> {
    let sink = sink.borrow();
    let sink = Arc::new(Sink { topic: sink.topic.clone(), layout: sink.layout.clone() });
    let (plan, id): (Arc<Plan>, Arc<str>) = (Arc::new(plan), query.id.as_str().into());
    let spec = |partition| TaskSpec {
        query: Arc::clone(&id),
        plan: Arc::clone(&plan),
        sink: Arc::clone(&sink),
        partition,
    };
    Partition::all(partitions).map(spec).collect()
}

fn command_of(paused: bool) -> Command {
    if paused { Command::Pause } else { Command::Run }
}

fn partition_count(topic: &TopicDescription) -> u32 {
    u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX)
}

fn tombstone(key: &str) -> Record {
    Record { key: Some(key.to_owned().into()), ..Record::default() }
}

fn own_topic(name: &str) -> TopicName {
    name.parse().expect("the names of our own topics are within the rules of topic names")
}
