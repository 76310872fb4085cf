//! Why a statement was not carried out: the thing, the place, what to do. Errors of single rows are not here; they go to
//! the processing log.

use protocol::outcome::{Outcome, Refusal};
use sql::schema::DuplicateColumn;
use sql::{Place, SqlError, SqlType};

use crate::format::table::FormatError;

/// What a statement gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a statement was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The text is not a statement, or names and types in it do not fit.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A form that is known and cannot be carried out.
    #[error("{place}: not supported yet: {what}{}", instead(what))]
    Unsupported {
        /// Where it stands.
        place: Place,
        /// The form.
        what: String,
    },
    /// No stream of that name.
    #[error("the stream {name} does not exist{}", did_you_mean(near.as_deref()))]
    UnknownSource {
        /// As looked up.
        name: String,
        /// A name much like it.
        near: Option<String>,
    },
    /// There is a stream of that name.
    #[error(
        "the stream {name} exists already: use CREATE OR REPLACE, IF NOT EXISTS or another name"
    )]
    SourceExists {
        /// Its name.
        name: String,
    },
    /// No query of that id.
    #[error("the query {id} does not exist{}", did_you_mean(near.as_deref()))]
    UnknownQuery {
        /// As looked up.
        id: String,
        /// An id much like it.
        near: Option<String>,
    },
    /// There is a query of that id.
    #[error("the query {id} exists already: use another QUERY_ID")]
    QueryExists {
        /// Its id.
        id: String,
    },
    /// No function of that name.
    #[error("the function {name} does not exist{}", did_you_mean(near.as_deref()))]
    UnknownFunction {
        /// As looked up.
        name: String,
        /// A name much like it.
        near: Option<String>,
    },
    /// Queries read or write it.
    #[error("the stream {name} is used by {}: TERMINATE {} first", queries.join(", "), queries.join(", TERMINATE "))]
    InUse {
        /// The stream.
        name: String,
        /// The queries.
        queries: Vec<String>,
    },
    /// A query would read what it writes.
    #[error("the query would feed itself without end: {}; {}", topics.join(" -> "), circle_advice(queries))]
    Circle {
        /// The topics on the way round; the first is also the last.
        topics: Vec<String>,
        /// The queries that are there already, on the way.
        queries: Vec<String>,
    },
    /// A column with the name of a pseudo-column.
    #[error(
        "{place}: {column} is a column that every row has by itself: leave it out, or give it another name ({column} AS ROW_{})", column.trim_start_matches("ROW")
    )]
    ReservedColumn {
        /// Where it stands, or its statement.
        place: Place,
        /// The name.
        column: &'static str,
    },
    /// No topic of that name.
    #[error("the topic '{topic}' does not exist{}", topic_advice(near.as_deref()))]
    UnknownTopic {
        /// As given.
        topic: String,
        /// A topic whose name differs a little, perhaps only in case.
        near: Option<String>,
    },
    /// The topic is the engine's own: what it says makes streams and queries.
    #[error(
        "the topic '{topic}' is the SQL engine's own: statements may read it, not write or delete it: use another topic, or the statements that change streams and queries"
    )]
    InternalTopic {
        /// The topic.
        topic: String,
    },
    /// The topic is there with another number of partitions.
    #[error(
        "the topic '{topic}' exists already with {found} partitions, not {expected}: leave PARTITIONS out, or use another topic"
    )]
    Partitions {
        /// The topic.
        topic: String,
        /// As WITH says.
        expected: u32,
        /// As it is.
        found: usize,
    },
    /// A property that WITH does not take.
    #[error("{place}: WITH does not take {name}{}", did_you_mean(near.as_deref()))]
    UnknownProperty {
        /// Where it stands.
        place: Place,
        /// As given.
        name: String,
        /// A name much like it.
        near: Option<String>,
    },
    /// A property with a value that it does not take.
    #[error("{place}: {name} = {found} is not valid: use {expected}")]
    Property {
        /// Where it stands.
        place: Place,
        /// The property.
        name: String,
        /// As given.
        found: String,
        /// What it takes.
        expected: String,
    },
    /// A session property that does not exist.
    #[error("the property '{name}' does not exist{}", did_you_mean(Some(near.as_deref().unwrap_or("one of those that SHOW PROPERTIES lists"))))]
    UnknownSetting {
        /// As given.
        name: String,
        /// A name much like it.
        near: Option<String>,
    },
    /// A session property with a value that it does not take.
    #[error("the property '{name}' cannot be '{found}': use {expected}")]
    Setting {
        /// The property.
        name: String,
        /// As given.
        found: String,
        /// What it takes.
        expected: &'static str,
    },
    /// Properties and variables that are too large together.
    #[error(
        "the variables of a session hold at most {limit} bytes together: UNDEFINE some, or make them shorter"
    )]
    SessionTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// More queries of callers than run at once.
    #[error(
        "{limit} SELECT and PRINT statements run already, as many as run at once: end some of them"
    )]
    TooManyQueries {
        /// The limit.
        limit: usize,
    },
    /// INSERT VALUES with more than one statement may write.
    #[error(
        "{place}: the rows up to here have more than {limit} bytes: use several INSERT statements, or `thalweg produce`"
    )]
    InsertTooLarge {
        /// The row with which the limit was passed.
        place: Place,
        /// The limit, in bytes.
        limit: usize,
    },
    /// WITH lacks something.
    #[error("WITH lacks {name}: {advice}")]
    MissingProperty {
        /// The property.
        name: &'static str,
        /// What to write.
        advice: &'static str,
    },
    /// A format cannot hold the columns.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Two columns with one name.
    #[error(transparent)]
    Duplicate(#[from] DuplicateColumn),
    /// PARTITION BY something that is not selected.
    #[error(
        "{place}: PARTITION BY {expression}: the key must be in the select list: add {expression} to it"
    )]
    KeyNotSelected {
        /// Where it stands.
        place: Place,
        /// As written.
        expression: String,
    },
    /// A SELECT whose columns do not fit the stream that they go into.
    #[error(
        "{place}: the columns selected do not fit the stream {target} {expected}: found {found}"
    )]
    SinkColumns {
        /// Where it stands.
        place: Place,
        /// The stream.
        target: String,
        /// Its columns.
        expected: String,
        /// The columns selected.
        found: String,
    },
    /// INSERT VALUES with another number of values than columns.
    #[error("{place}: {found} values are given for {expected} columns")]
    ValueCount {
        /// Where they stand.
        place: Place,
        /// Columns.
        expected: usize,
        /// Values.
        found: usize,
    },
    /// A value that cannot be computed.
    #[error("{place}: the value for {column} {sql_type} cannot be computed: {cause}")]
    Value {
        /// Where it stands.
        place: Place,
        /// The column.
        column: String,
        /// Its type.
        sql_type: SqlType,
        /// Why.
        cause: String,
    },
    /// A query that was to end did not end in time.
    #[error(
        "the query {id} did not finish what it had under way within {seconds} s: try again when the broker answers"
    )]
    NotStopped {
        /// The query.
        id: String,
        /// How long it had.
        seconds: u64,
    },
    /// A record of the engine's own topics cannot be read.
    #[error("the record {key} of topic {topic} cannot be used: {cause}")]
    Stored {
        /// The topic.
        topic: &'static str,
        /// The key of the record.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A topic in which the engine keeps its own records cannot be read.
    #[error(
        "the SQL engine keeps its records in topic {topic}, which cannot be read: {cause}: restore its folder from a backup, or begin anew, as docs/operating.md says"
    )]
    OwnRecords {
        /// The topic.
        topic: &'static str,
        /// What is wrong with it: file and offset, where they are known.
        cause: String,
    },
    /// Nobody knows where a query stands.
    #[error(
        "the checkpoint {key} of topic _thalweg_sql_checkpoints is lost, and an older one could repeat rows or leave some out: {cause}: put the topic's folder back as it was, or TERMINATE {query} and create it again for another topic"
    )]
    CheckpointLost {
        /// The query.
        query: String,
        /// Which of its checkpoints.
        key: String,
        /// Why it is lost.
        cause: String,
    },
    /// The engine has been closed, or is about to be.
    #[error("the SQL engine is stopping")]
    Closed,
    /// The broker refused, or could not be reached.
    #[error("{}", .0.message())]
    Client(client::error::Error),
    /// A contradiction inside the engine.
    #[error("{0}")]
    Internal(String),
}

impl From<client::error::Error> for Error {
    fn from(error: client::error::Error) -> Self {
        Self::Client(error)
    }
}

impl Error {
    /// What it means that one of the engine's own topics could not be read.
    pub fn reading(topic: &'static str, error: Self) -> Self {
        match error.outcome() {
            Outcome::DamagedData | Outcome::StorageFailed | Outcome::OffsetOutOfRange => {
                Self::OwnRecords { topic, cause: error.to_string() }
            }
            _ => error,
        }
    }

    /// What happened, as programs compare it.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unsupported { .. } => Outcome::Unsupported,
            Self::UnknownSource { .. }
            | Self::UnknownQuery { .. }
            | Self::UnknownFunction { .. } => Outcome::NotFound,
            Self::SourceExists { .. } | Self::QueryExists { .. } => Outcome::AlreadyExists,
            Self::InUse { .. } => Outcome::InUse,
            Self::UnknownTopic { .. } => Outcome::UnknownTopic,
            Self::InternalTopic { .. } => Outcome::Denied,
            Self::Partitions { .. } => Outcome::TopicExists,
            Self::NotStopped { .. } => Outcome::TimedOut,
            Self::Stored { .. } | Self::CheckpointLost { .. } => Outcome::DamagedData,
            Self::OwnRecords { .. } => Outcome::SqlNotStarted,
            Self::Closed => Outcome::Unavailable,
            Self::SessionTooLarge { .. } | Self::InsertTooLarge { .. } => Outcome::LimitReached,
            Self::TooManyQueries { .. } => Outcome::Busy,
            Self::Client(error) => error.outcome(),
            Self::Internal(_) => Outcome::Internal,
            Self::Sql(_)
            | Self::UnknownProperty { .. }
            | Self::Property { .. }
            | Self::UnknownSetting { .. }
            | Self::Setting { .. }
            | Self::MissingProperty { .. }
            | Self::Format(_)
            | Self::Duplicate(_)
            | Self::KeyNotSelected { .. }
            | Self::SinkColumns { .. }
            | Self::Circle { .. }
            | Self::ReservedColumn { .. }
            | Self::ValueCount { .. }
            | Self::Value { .. } => Outcome::InvalidStatement,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Client(error) => error.into(),
            other => Self::new(other.outcome(), other.to_string()),
        }
    }
}

/// What can be done today in the place of a form that cannot be carried out yet.
fn instead(what: &str) -> &'static str {
    const AGGREGATE: &str = ": select the rows (WHERE and expressions work) and sum them up in the program that reads them";
    const FORMS: [(&str, &str); 15] = [
        ("CREATE TABLE AS", AGGREGATE),
        ("CREATE TABLE", ": CREATE STREAM over the same topic gives each change of it as a row"),
        ("DROP TABLE", ": there are no tables yet; DROP STREAM drops a stream"),
        (
            "ALTER",
            ": DROP STREAM, then CREATE STREAM with the new columns; the topic keeps its records",
        ),
        (
            "CREATE TYPE",
            ": write the type out where it is used, as in STRUCT<city STRING, zip STRING>",
        ),
        ("DROP TYPE", ": there are no types of one's own yet"),
        ("RUN SCRIPT", ": `thalweg sql -f FILE` carries a file out"),
        ("ASSERT", ": SHOW TOPICS, DESCRIBE and SELECT without EMIT CHANGES show what is there"),
        ("CONNECTOR", ": `thalweg produce` and `thalweg consume` move records in and out"),
        ("JOIN", ": each SELECT reads one stream; join in the program that reads them"),
        ("WINDOW", AGGREGATE),
        ("GROUP BY", AGGREGATE),
        ("HAVING", AGGREGATE),
        ("the aggregate", AGGREGATE),
        ("ORDER BY", ": rows come in the order of their partition; sort where they are read"),
    ];
    let fits = |(form, _): &&(&str, &str)| what.contains(form);
    FORMS.iter().find(fits).map_or("", |(_, advice)| advice)
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map(|near| format!(": did you mean {near}?")).unwrap_or_default()
}

fn circle_advice(queries: &[String]) -> String {
    match queries {
        [] => "write to another topic".to_owned(),
        queries => {
            format!("write to another topic, or TERMINATE {} first", queries.join(" or "))
        }
    }
}

fn topic_advice(near: Option<&str>) -> String {
    match near {
        Some(near) => format!(": did you mean '{near}'? Names of topics have case"),
        None => ": create it, or say PARTITIONS=1 (or more) and it is created with the stream"
            .to_owned(),
    }
}
