//! Carries out statements: each parsed, dispatched, answered, one after the other.
//!
//! What lives longer than a statement is the hall's; what a statement computes is the plan's.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::transport::Transport;
use futures_util::future::BoxFuture;
use protocol::outcome::Refusal;
use protocol::verbs::Position;
use sql::ast::{CreateAs, CreateSource, InsertValues, Query, QueryTarget, SourceKind, Statement};
use sql::schema::Schema;
use sql::tokens::{StatementText, split, substitute};
use sql::{Place, SqlError};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::answer::{Answer, Answers, Gone};
use crate::catalog::{Change, PersistentQuery, parse_one};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::format::table::{Codec, Format, Part};
use crate::hall::{Hall, NewQuery};
use crate::launch::plan_of;
use crate::plan::build::{plan_insert, plan_records, plan_rows};
use crate::plan::declare::{DefaultFormats, SourceProperties, Stream};
use crate::plan::explain::explain;
use crate::query::insert::{Inserter, records_of};
use crate::query::print::print;
use crate::query::push::{Ended, Wanted, push};
use crate::session::Session;
use crate::show::{describe, describe_function, lines, show};
use crate::supervisor::watch_over;

/// Queries of callers that run at the same time: each holds what one fetch brings until its caller takes it.
const QUERIES_MAX: usize = 1_000;

/// What an engine needs to know.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// What time it is.
    pub clock: Clock,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { clock: Clock::system() }
    }
}

/// The SQL engine. Cloning gives another handle to the same engine.
#[derive(Clone, Debug)]
pub struct Engine {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {
    hall: Arc<Hall>,
    inserter: Inserter,
    clock: Clock,
    /// True once the engine is closing: queries of callers end.
    closing: watch::Sender<bool>,
    /// One for each query of a caller that may run at the same time.
    places: Semaphore,
}

/// The answers of one request. Dropping it ends a query that runs on for it.
pub type AnswerStream = mpsc::Receiver<std::result::Result<Answer, Refusal>>;

impl Engine {
    /// Reads the catalogue from its topic and starts its queries where they stood. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the broker cannot be reached or the catalogue cannot be read.
    pub async fn open(transport: Arc<dyn Transport>, config: EngineConfig) -> Result<Self> {
        let EngineConfig { clock } = config;
        let inserter = Inserter::new(Arc::clone(&transport), clock.clone());
        let hall = Arc::new(Hall::open(transport, clock.clone()).await?);
        watch_over(&hall);
        let (closing, _) = watch::channel(false);
        Ok(Self {
            core: Arc::new(Core {
                hall,
                inserter,
                clock,
                closing,
                places: Semaphore::new(QUERIES_MAX),
            }),
        })
    }

    /// Carries the statements of a text out, in order. After one that fails, the stream ends with its refusal; those
    /// before it are carried out.
    ///
    /// Statements that change something are carried out to their end even when nobody takes the answers any more.
    pub fn execute(&self, sql: &str, properties: BTreeMap<String, String>) -> AnswerStream {
        let (answers, taken) = Answers::line();
        let (core, sql) = (Arc::clone(&self.core), sql.to_owned());
        tokio::spawn(async move {
            match Session::of(properties) {
                Ok(session) => Run { core, answers, session }.script(sql).await,
                Err(error) => answers.refuse(error.into()).await,
            }
        });
        taken
    }

    /// Ends the queries of callers, lets persistent queries finish what they have under way, writes their checkpoints.
    pub async fn close(&self) {
        self.core.closing.send_replace(true);
        self.core.hall.close().await;
    }
}

/// One request.
struct Run {
    core: Arc<Core>,
    answers: Answers,
    session: Session,
}

/// Why a request ends before its last statement.
enum Stop {
    Gone,
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Error(error.into())
    }
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Run {
    async fn script(mut self, sql: String) {
        match self.statements(&sql).await {
            Ok(()) | Err(Stop::Gone) => {}
            Err(Stop::Error(error)) => self.answers.refuse(error.into()).await,
        }
    }

    async fn statements(&mut self, sql: &str) -> std::result::Result<(), Stop> {
        for text in split(sql)? {
            let text: StatementText = substitute(&text, |name| self.session.variable(name))?;
            let statement = sql::parse::statement(&text)?;
            self.statement(statement, text.place).await?;
        }
        Ok(())
    }

    /// One statement; boxed, since its future is as large as that of the largest statement.
    fn statement(
        &mut self,
        statement: Statement,
        place: Place,
    ) -> BoxFuture<'_, std::result::Result<(), Stop>> {
        Box::pin(self.dispatch(statement, place))
    }

    async fn dispatch(
        &mut self,
        statement: Statement,
        place: Place,
    ) -> std::result::Result<(), Stop> {
        let hall = &self.core.hall;
        let answers = match statement {
            Statement::CreateSource(create) => vec![self.create_stream(&create, place).await?],
            Statement::CreateAs(create) => self.create_as(&create, place).await?,
            Statement::InsertSelect { ref target, ref with, ref query } => {
                let properties = SourceProperties::read(with)?;
                self.insert_select(target.as_str(), properties, query, statement.to_string())
                    .await?
            }
            Statement::InsertValues(insert) => vec![self.insert_values(&insert).await?],
            Statement::Query(query) => {
                // The only statements that last as long as somebody listens.
                return self.select(&query).await;
            }
            Statement::Print(wanted) => {
                let topic = wanted
                    .topic
                    .parse()
                    .map_err(|_| Error::UnknownTopic { topic: wanted.topic.clone(), near: None })?;
                let asked = print(hall.transport(), &topic, &wanted, &self.answers);
                match self.until_closed(Box::pin(asked)).await {
                    Err(error) if error.outcome() == protocol::outcome::Outcome::UnknownTopic => {
                        return Err(hall.unknown_topic(&wanted.topic).await.into());
                    }
                    ended => return self.ended(ended?).await,
                }
            }
            Statement::Drop { kind, name, if_exists, delete_topic } => {
                refuse_table(kind, "DROP TABLE", place)?;
                vec![self.drop_stream(name.as_str(), if_exists, delete_topic).await?]
            }
            Statement::Show { what, extended } => {
                show(hall, &self.session, what, extended).await?.to_vec()
            }
            Statement::Describe { name, extended } => {
                describe(hall, name.as_str(), extended).await?
            }
            Statement::DescribeFunction(name) => describe_function(name.as_str())?.to_vec(),
            Statement::Explain(statement) => lines(self.explain(&statement, place)?).to_vec(),
            Statement::ExplainQuery(id) => {
                let catalog = hall.catalog();
                let query = catalog.query(id.as_str())?;
                let (plan, sink) = plan_of(query, &catalog)?;
                lines(with_sink(explain(&plan), &sink)).to_vec()
            }
            Statement::Terminate(target) => vec![self.terminate(&target).await?],
            Statement::Pause(target) => vec![self.pause(&target, true).await?],
            Statement::Resume(target) => vec![self.pause(&target, false).await?],
            session => self.session_statement(session, place)?,
        };
        for answer in answers {
            self.answers.send(answer).await?;
        }
        Ok(())
    }

    /// SET and its kin; everything that is left is refused by name.
    fn session_statement(&mut self, statement: Statement, place: Place) -> Result<Vec<Answer>> {
        let mut notices = Vec::new();
        let done = match statement {
            Statement::Set { property, value } => {
                if !self.session.set(&property, &value)? {
                    notices.push(Answer::Notice(format!(
                        "the property '{property}' has no effect here"
                    )));
                }
                format!("Set '{property}' to '{value}'")
            }
            Statement::Unset(property) => {
                self.session.unset(property.as_deref());
                format!("Unset {}", property.as_deref().unwrap_or("all properties"))
            }
            Statement::Define { name, value } => {
                self.session.define(&name, &value)?;
                format!("Defined {name}")
            }
            Statement::Undefine(name) => {
                self.session.undefine(&name);
                format!("Undefined {name}")
            }
            other => {
                let text = other.to_string();
                let form: Vec<_> = text.split_whitespace().take(3).collect();
                return Err(Error::Unsupported { place, what: form.join(" ") });
            }
        };
        notices.push(Answer::Properties(self.session.properties().clone()));
        notices.push(Answer::Done(done));
        Ok(notices)
    }

    async fn create_stream(&self, create: &CreateSource, place: Place) -> Result<Answer> {
        refuse_table(create.kind, "CREATE TABLE", place)?;
        let hall = &self.core.hall;
        let properties = SourceProperties::read(&create.with)?;
        let name = create.name.as_str();
        let mut changing = hall.change_lock().await?;
        let catalog = hall.catalog();
        if catalog.find_stream(name).is_some() {
            if create.if_not_exists {
                return Ok(Answer::Done(format!("Stream {name} exists already")));
            }
            if !create.or_replace {
                return Err(Error::SourceExists { name: name.to_owned() });
            }
            catalog.check_unused(name)?;
        }
        let is_key =
            |column: &&sql::ast::ColumnDefinition| column.role == sql::ast::ColumnRole::Key;
        let keys = create.columns.iter().filter(is_key).count();
        let defaults = self.session.default_formats(keys, create.columns.len() - keys)?;
        let stream = Stream::declared_by(create, &properties, defaults)?;
        hall.find_or_create_topic(&stream.topic, &properties, None).await?;
        hall.change(&mut changing, vec![Change::PutStream(Box::new(stream))]).await?;
        Ok(Answer::Done(format!("Stream {name} created")))
    }

    async fn create_as(&self, create: &CreateAs, place: Place) -> Result<Vec<Answer>> {
        refuse_table(create.kind, "CREATE TABLE AS SELECT", place)?;
        let hall = &self.core.hall;
        let name = create.name.as_str();
        let properties = SourceProperties::read(&create.with)?;
        let start = self.session.start(Position::Earliest)?;
        let mut changing = hall.change_lock().await?;
        let catalog = hall.catalog();
        let existing = catalog.find_stream(name);
        if existing.is_some() && create.if_not_exists {
            return Ok(vec![Answer::Done(format!("Stream {name} exists already"))]);
        }
        if existing.is_some() && !create.or_replace {
            return Err(Error::SourceExists { name: name.to_owned() });
        }
        let source = catalog.stream(create.query.from.name.as_str())?;
        let selected = plan_records(&create.query, source)?;
        let stream = self.derived_stream(name, &properties, selected.plan.schema(), source)?;
        let mut answers: Vec<_> = selected.notices.into_iter().map(Answer::Notice).collect();
        let statement = create.to_string();
        if let Some(old) = existing {
            let query = replaced_query(&catalog.writers(name), old, &stream, source, place)?;
            let id = query.id.clone();
            let query = PersistentQuery { statement, ..query };
            hall.replace_query(&mut changing, query, &stream).await?;
            answers.push(Answer::Done(format!(
                "Stream {name} replaced; query {id} goes on with the new statement"
            )));
            return Ok(answers);
        }
        let described = hall.transport().describe_topic(source.topic.clone()).await?;
        let partitions = u32::try_from(described.partitions.len()).ok();
        hall.find_or_create_topic(&stream.topic, &properties, partitions).await?;
        let new = NewQuery {
            id: properties.query_id,
            id_prefix: format!("CSAS_{}", name.to_uppercase()),
            statement,
            plan: selected.plan,
            sink: &stream,
            declares_sink: true,
            start,
        };
        let id = hall.create_query(&mut changing, new).await?;
        answers.push(Answer::Done(format!("Created stream {name} with query {id}")));
        Ok(answers)
    }

    /// The stream of a SELECT: formats as the source has them unless WITH or the session says otherwise.
    fn derived_stream(
        &self,
        name: &str,
        properties: &SourceProperties,
        schema: &Schema,
        source: &Stream,
    ) -> Result<Stream> {
        let (keys, values) = (schema.key().len(), schema.value().len());
        let like = |codec: Codec, part, columns| Codec {
            delimiter: codec.delimiter,
            ..Codec::new(codec.format, part, columns)
        };
        let session = self.session.default_formats(keys, values)?;
        let key = match source.layout.key.format {
            Format::None => session.key,
            _ => like(source.layout.key, Part::Key, keys),
        };
        let value = like(source.layout.value, Part::Value, values);
        let value = Some(session.value.unwrap_or(value));
        properties.declare(name, schema.clone(), DefaultFormats { key, value })
    }

    async fn insert_select(
        &self,
        target: &str,
        properties: SourceProperties,
        query: &Query,
        statement: String,
    ) -> Result<Vec<Answer>> {
        let hall = &self.core.hall;
        let start = self.session.start(Position::Earliest)?;
        let mut changing = hall.change_lock().await?;
        let catalog = hall.catalog();
        let sink = catalog.stream(target)?;
        let source = catalog.stream(query.from.name.as_str())?;
        let selected = plan_insert(query, source, sink)?;
        let new = NewQuery {
            id: properties.query_id,
            id_prefix: "INSERTQUERY".to_owned(),
            statement,
            plan: selected.plan,
            sink,
            declares_sink: false,
            start,
        };
        let id = hall.create_query(&mut changing, new).await?;
        Ok(vec![Answer::Done(format!("Created query {id}"))])
    }

    async fn insert_values(&self, insert: &InsertValues) -> Result<Answer> {
        let catalog = self.core.hall.catalog();
        let stream = catalog.stream(insert.target.as_str())?;
        let records = records_of(insert, stream, self.core.clock.now())?;
        let count = records.len();
        self.core.inserter.insert(&stream.topic, records).await?;
        let rows = if count == 1 { "row" } else { "rows" };
        Ok(Answer::Done(format!("Inserted {count} {rows} into {}", stream.name)))
    }

    async fn select(&self, query: &Query) -> std::result::Result<(), Stop> {
        let hall = &self.core.hall;
        let catalog = hall.catalog();
        let source = catalog.stream(query.from.name.as_str())?;
        let plan = plan_rows(query, source)?.plan;
        let finite = query.emit.is_none();
        let start = match finite {
            true => Position::Earliest,
            false => self.session.start(Position::Latest)?,
        };
        if finite {
            let notice = "rows that are there now; end the statement with EMIT CHANGES to see new ones as they come";
            self.answers.send(Answer::Notice(notice.to_owned())).await?;
        }
        let wanted = Wanted { start, finite, limit: query.limit };
        let asked = push(hall.transport(), &plan, wanted, &self.answers);
        let ended = self.until_closed(Box::pin(asked)).await?;
        self.ended(ended).await
    }

    /// Lets a query of the caller run until it ends; where the engine closes first, it is refused the rest.
    async fn until_closed(&self, asked: BoxFuture<'_, Result<Ended>>) -> Result<Ended> {
        let place = self.core.places.try_acquire();
        let _place = place.map_err(|_| Error::TooManyQueries { limit: QUERIES_MAX })?;
        let mut closing = self.core.closing.subscribe();
        tokio::select! {
            ended = asked => ended,
            // Not an end of the query: whoever asked must not take the rows so far for all of them. Without a sender the
            // engine is gone, which is the same.
            _ = closing.wait_for(|closing| *closing) => Err(Error::Closed),
        }
    }

    async fn ended(&self, ended: Ended) -> std::result::Result<(), Stop> {
        let done = match ended {
            Ended::Complete => "Query completed",
            Ended::Limit => "Limit reached",
            Ended::Gone => return Err(Stop::Gone),
        };
        Ok(self.answers.send(Answer::Done(done.to_owned())).await?)
    }

    async fn drop_stream(&self, name: &str, if_exists: bool, delete_topic: bool) -> Result<Answer> {
        let hall = &self.core.hall;
        let mut changing = hall.change_lock().await?;
        let catalog = hall.catalog();
        let topic = match catalog.stream(name) {
            Ok(stream) => stream.topic.clone(),
            Err(_) if if_exists => {
                return Ok(Answer::Done(format!("Stream {name} does not exist")));
            }
            Err(error) => return Err(error),
        };
        catalog.check_unused(name)?;
        hall.change(&mut changing, vec![Change::DropStream(name.to_owned())]).await?;
        if delete_topic {
            hall.transport().delete_topic(topic.clone()).await?;
            self.core.inserter.forget(&topic);
            return Ok(Answer::Done(format!("Stream {name} dropped, topic {topic} deleted")));
        }
        Ok(Answer::Done(format!("Stream {name} dropped")))
    }

    fn targets(&self, target: &QueryTarget) -> Result<Vec<String>> {
        let catalog = self.core.hall.catalog();
        match target {
            QueryTarget::All => Ok(catalog.queries().map(|query| query.id.clone()).collect()),
            QueryTarget::Id(id) => Ok(vec![catalog.query(id.as_str())?.id.clone()]),
        }
    }

    async fn terminate(&self, target: &QueryTarget) -> Result<Answer> {
        let hall = &self.core.hall;
        let mut changing = hall.change_lock().await?;
        let ids = self.targets(target)?;
        if !ids.is_empty() {
            hall.terminate(&mut changing, &ids).await?;
        }
        Ok(Answer::Done(told("Terminated", &ids)))
    }

    async fn pause(&self, target: &QueryTarget, paused: bool) -> Result<Answer> {
        let hall = &self.core.hall;
        let mut changing = hall.change_lock().await?;
        let ids = self.targets(target)?;
        if !ids.is_empty() {
            hall.pause(&mut changing, &ids, paused).await?;
        }
        Ok(Answer::Done(told(if paused { "Paused" } else { "Resumed" }, &ids)))
    }

    fn explain(&self, statement: &Statement, place: Place) -> Result<Vec<String>> {
        let catalog = self.core.hall.catalog();
        let source = |query: &Query| catalog.stream(query.from.name.as_str());
        match statement {
            Statement::Query(query) => Ok(explain(&plan_rows(query, source(query)?)?.plan)),
            Statement::CreateAs(create) => {
                refuse_table(create.kind, "CREATE TABLE AS SELECT", place)?;
                let properties = SourceProperties::read(&create.with)?;
                let from = source(&create.query)?;
                let plan = plan_records(&create.query, from)?.plan;
                let name = create.name.as_str();
                let sink = self.derived_stream(name, &properties, plan.schema(), from)?;
                Ok(with_sink(explain(&plan), &sink))
            }
            Statement::InsertSelect { target, query, .. } => {
                let sink = catalog.stream(target.as_str())?;
                let plan = plan_insert(query, source(query)?, sink)?.plan;
                Ok(with_sink(explain(&plan), sink))
            }
            other => {
                let what = format!("EXPLAIN of {other}");
                Err(Error::Unsupported { place, what })
            }
        }
    }
}

/// The query that OR REPLACE puts the new statement into: it must be the only writer, of the same topics.
fn replaced_query(
    writers: &[&PersistentQuery],
    old: &Stream,
    new: &Stream,
    source: &Stream,
    place: Place,
) -> Result<PersistentQuery> {
    let unsupported = |what: &str| Err(Error::Unsupported { place, what: what.to_owned() });
    let [query] = writers else {
        return unsupported(
            "CREATE OR REPLACE of a stream that is not written by exactly one query: DROP it first",
        );
    };
    if !matches!(parse_one(&query.statement)?, Statement::CreateAs(_)) {
        return unsupported("CREATE OR REPLACE of a stream that INSERT INTO writes: DROP it first");
    }
    if query.sources != [source.name.as_str()] || old.topic != new.topic {
        return unsupported(
            "CREATE OR REPLACE with another source or another topic: TERMINATE and DROP first",
        );
    }
    Ok((*query).clone())
}

fn refuse_table(kind: SourceKind, what: &str, place: Place) -> Result<()> {
    match kind {
        SourceKind::Stream => Ok(()),
        SourceKind::Table => Err(Error::Unsupported { place, what: what.to_owned() }),
    }
}

fn with_sink(plan: Vec<String>, sink: &Stream) -> Vec<String> {
    let (key, value) = (sink.layout.key.format, sink.layout.value.format);
    let first = format!("WRITE {} (topic {}, key {key}, value {value})", sink.name, sink.topic);
    std::iter::once(first).chain(plan.into_iter().map(|line| format!("  {line}"))).collect()
}

fn told(what: &str, ids: &[String]) -> String {
    match ids {
        [] => "There are no queries".to_owned(),
        [id] => format!("{what} query {id}"),
        ids => format!("{what} queries {}", ids.join(", ")),
    }
}
