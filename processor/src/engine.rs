//! Carries out statements: each parsed, dispatched, answered, one after the other.
//!
//! What lives longer than a statement is the hall's; what a statement computes is the plan's. This file takes requests
//! apart and answers what lasts no longer than its caller.

mod explain;
mod queries;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;

use client::transport::Transport;
use futures_util::future::BoxFuture;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::Position;
use sql::ast::{InsertValues, Print, Query, Statement};
use sql::tokens::{StatementText, split, substitute};
use sql::{Place, SqlError};
use tokio::sync::{Semaphore, mpsc, watch};

use self::explain::{explain_query, explain_statement};
use self::queries::{insert_select, pause, terminate};
use self::streams::{create_as, create_stream, drop_stream, refuse_table};
use crate::answer::{Answer, Answers, Gone};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::hall::Hall;
use crate::plan::build::plan_rows;
use crate::plan::declare::SourceProperties;
use crate::query::insert::{Inserter, records_of};
use crate::query::print::print;
use crate::query::push::{Ended, Wanted, push};
use crate::session::Session;
use crate::show::{describe, describe_function, lines, show};
use crate::supervisor::watch_over;
use crate::topics;

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
    /// Or why it is not started: what it does not know it must not act upon.
    core: std::result::Result<Arc<Core>, Refusal>,
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
    /// `transport` is for what statements ask for; `own`, to the same broker, for the topics that the engine keeps for
    /// itself: with it alone they may be changed.
    ///
    /// An engine whose catalogue cannot be read refuses all statements, for the reason that [`Self::not_started`] gives.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn open(
        transport: Arc<dyn Transport>,
        own: Arc<dyn Transport>,
        config: EngineConfig,
    ) -> Result<Self> {
        let EngineConfig { clock } = config;
        let inserter = Inserter::new(Arc::clone(&transport), clock.clone());
        let hall = match Hall::open(transport, own, clock.clone()).await {
            Ok(hall) => Arc::new(hall),
            Err(error @ Error::OwnRecords { .. }) => {
                tracing::error!(%error, "the SQL engine is not started");
                return Ok(Self { core: Err(error.into()) });
            }
            Err(error) => return Err(error),
        };
        watch_over(&hall);
        let (closing, _) = watch::channel(false);
        let places = Semaphore::new(QUERIES_MAX);
        Ok(Self { core: Ok(Arc::new(Core { hall, inserter, clock, closing, places })) })
    }

    /// Why it carries out nothing, if that is so.
    pub fn not_started(&self) -> Option<&Refusal> {
        self.core.as_ref().err()
    }

    /// Carries the statements of a text out, in order. After one that fails, the stream ends with its refusal; those
    /// before it are carried out.
    ///
    /// Statements that change something are carried out to their end even when nobody takes the answers any more.
    pub fn execute(&self, sql: &str, properties: BTreeMap<String, String>) -> AnswerStream {
        let (answers, taken) = Answers::line();
        let (core, sql) = (self.core.clone(), sql.to_owned());
        tokio::spawn(async move {
            let core = match core {
                Ok(core) => core,
                Err(refusal) => return answers.refuse(refusal).await,
            };
            match Session::of(properties) {
                Ok(session) => Run { core, answers, session }.script(sql).await,
                Err(error) => answers.refuse(error.into()).await,
            }
        });
        taken
    }

    /// Ends the queries of callers, lets persistent queries finish what they have under way, writes their checkpoints.
    pub async fn close(&self) {
        if let Ok(core) = &self.core {
            core.closing.send_replace(true);
            core.hall.close().await;
        }
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
        let (hall, session) = (&self.core.hall, &self.session);
        let answers = match statement {
            Statement::CreateSource(create) => {
                vec![create_stream(hall, session, &create, place).await?]
            }
            Statement::CreateAs(create) => create_as(hall, session, &create, place).await?,
            Statement::InsertSelect { ref target, ref with, ref query } => {
                let properties = SourceProperties::read(with)?;
                let text = statement.to_string();
                insert_select(hall, session, target.as_str(), properties, query, text).await?
            }
            Statement::InsertValues(insert) => vec![self.insert_values(&insert).await?],
            // These two last as long as somebody listens.
            Statement::Query(query) => return self.select(&query).await,
            Statement::Print(wanted) => return self.print(&wanted).await,
            Statement::Drop { kind, name, if_exists, delete_topic } => {
                refuse_table(kind, "DROP TABLE", place)?;
                let inserter = &self.core.inserter;
                vec![drop_stream(hall, inserter, name.as_str(), if_exists, delete_topic).await?]
            }
            Statement::Show { what, extended } => {
                show(hall, session, what, extended).await?.to_vec()
            }
            Statement::Describe { name, extended } => {
                describe(hall, name.as_str(), extended).await?
            }
            Statement::DescribeFunction(name) => describe_function(name.as_str())?.to_vec(),
            Statement::Explain(statement) => {
                lines(explain_statement(hall, session, &statement, place)?).to_vec()
            }
            Statement::ExplainQuery(id) => lines(explain_query(hall, id.as_str())?).to_vec(),
            Statement::Terminate(target) => vec![terminate(hall, &target).await?],
            Statement::Pause(target) => vec![pause(hall, &target, true).await?],
            Statement::Resume(target) => vec![pause(hall, &target, false).await?],
            other => self.session_statement(other, place)?,
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

    async fn insert_values(&self, insert: &InsertValues) -> Result<Answer> {
        let catalog = self.core.hall.catalog();
        let stream = catalog.stream(insert.target.as_str())?;
        topics::check_not_internal(&stream.topic)?;
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

    async fn print(&self, wanted: &Print) -> std::result::Result<(), Stop> {
        let hall = &self.core.hall;
        let unknown = || Error::UnknownTopic { topic: wanted.topic.clone(), near: None };
        let topic = wanted.topic.parse().map_err(|_| unknown())?;
        let asked = print(hall.transport(), &topic, wanted, &self.answers);
        match self.until_closed(Box::pin(asked)).await {
            Err(error) if error.outcome() == Outcome::UnknownTopic => {
                Err(topics::unknown(&**hall.transport(), &wanted.topic).await.into())
            }
            ended => self.ended(ended?).await,
        }
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
}
