//! Statements and their parts.

use super::expression::{Expr, Literal, Name, TimeSpan, TypeName, Written};
use super::query::Query;

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `SHOW what [EXTENDED]`.
    Show {
        /// What is listed.
        what: Shown,
        /// With details.
        extended: bool,
    },
    /// `DESCRIBE name [EXTENDED]`.
    Describe {
        /// A stream or table.
        name: Name,
        /// With counters and settings.
        extended: bool,
    },
    /// `DESCRIBE FUNCTION name`.
    DescribeFunction(Name),
    /// `DESCRIBE CONNECTOR name`.
    DescribeConnector(Name),
    /// `PRINT topic ...`.
    Print(Print),
    /// `CREATE STREAM|TABLE name (columns) WITH (...)`.
    CreateSource(CreateSource),
    /// `CREATE STREAM|TABLE name AS SELECT`.
    CreateAs(CreateAs),
    /// `INSERT INTO name SELECT`.
    InsertSelect {
        /// Where the rows go.
        target: Name,
        /// WITH properties, such as QUERY_ID.
        with: Properties,
        /// Where they come from.
        query: Box<Query>,
    },
    /// `INSERT INTO name (columns) VALUES (...), ...`.
    InsertValues(InsertValues),
    /// `SELECT`: a push query with EMIT, else a pull query.
    Query(Box<Query>),
    /// `DROP STREAM|TABLE`.
    Drop {
        /// Stream or table.
        kind: SourceKind,
        /// Its name.
        name: Name,
        /// Not an error when it does not exist.
        if_exists: bool,
        /// The topic is deleted with it.
        delete_topic: bool,
    },
    /// `CREATE TYPE name AS type`.
    CreateType {
        /// Its name.
        name: Name,
        /// Not an error when it exists.
        if_not_exists: bool,
        /// What it stands for.
        type_name: TypeName,
    },
    /// `DROP TYPE name`.
    DropType {
        /// Its name.
        name: Name,
        /// Not an error when it does not exist.
        if_exists: bool,
    },
    /// `ALTER STREAM|TABLE name ADD COLUMN ...`.
    Alter {
        /// Stream or table.
        kind: SourceKind,
        /// Its name.
        name: Name,
        /// The columns that are added.
        columns: Vec<(Name, TypeName)>,
    },
    /// `EXPLAIN query-id`.
    ExplainQuery(Name),
    /// `EXPLAIN statement`.
    Explain(Box<Statement>),
    /// `TERMINATE id|ALL`.
    Terminate(QueryTarget),
    /// `PAUSE id|ALL`.
    Pause(QueryTarget),
    /// `RESUME id|ALL`.
    Resume(QueryTarget),
    /// `SET 'property' = 'value'`.
    Set {
        /// The property.
        property: String,
        /// Its value.
        value: String,
    },
    /// `UNSET 'property'`; without a property, all of them.
    Unset(Option<String>),
    /// `DEFINE name = 'value'`.
    Define {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// `UNDEFINE name`.
    Undefine(String),
    /// `RUN SCRIPT 'path'`.
    RunScript(String),
    /// `ASSERT ...`.
    Assert(Assert),
    /// `CREATE SOURCE|SINK CONNECTOR`.
    CreateConnector {
        /// Which way it carries.
        kind: ConnectorKind,
        /// Its name.
        name: Name,
        /// Not an error when it exists.
        if_not_exists: bool,
        /// Its settings.
        with: Properties,
    },
    /// `DROP CONNECTOR name`.
    DropConnector {
        /// Its name.
        name: Name,
        /// Not an error when it does not exist.
        if_exists: bool,
    },
}

/// What SHOW lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Topics; `all`: internal ones too.
    Topics {
        /// SHOW ALL TOPICS.
        all: bool,
    },
    /// Streams.
    Streams,
    /// Tables.
    Tables,
    /// Running queries.
    Queries,
    /// Functions.
    Functions,
    /// Settings.
    Properties,
    /// Types that were created.
    Types,
    /// Variables.
    Variables,
    /// Connectors.
    Connectors {
        /// Only those that carry this way.
        kind: Option<ConnectorKind>,
    },
}

/// A stream or a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// Rows that happened.
    Stream,
    /// The newest row of each key.
    Table,
}

/// Which way a connector carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorKind {
    /// From outside into a topic.
    Source,
    /// From a topic to outside.
    Sink,
}

/// `PRINT topic [FROM BEGINNING] [INTERVAL n] [LIMIT n]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Print {
    /// The topic as written: never upper-cased, since topic names have case.
    pub topic: String,
    /// From the first record instead of the next one.
    pub from_beginning: bool,
    /// Every how many records one is shown.
    pub interval: Option<u64>,
    /// How many are shown.
    pub limit: Option<u64>,
}

/// `CREATE [OR REPLACE] [SOURCE] STREAM|TABLE [IF NOT EXISTS] name [(columns)] [WITH (...)]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateSource {
    /// Stream or table.
    pub kind: SourceKind,
    /// Its name.
    pub name: Name,
    /// OR REPLACE.
    pub or_replace: bool,
    /// SOURCE: it is only read, its rows are kept for pull queries.
    pub read_only: bool,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Its columns; none when they come from a registry.
    pub columns: Vec<ColumnDefinition>,
    /// Its properties.
    pub with: Properties,
}

/// One column of a CREATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub type_name: TypeName,
    /// Which part of a record it is in.
    pub role: ColumnRole,
    /// Where it stands. Two definitions are equal wherever they stand.
    pub place: Written,
}

/// Which part of a record a column is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnRole {
    /// The value.
    Value,
    /// The key of a stream: KEY.
    Key,
    /// The key of a table: PRIMARY KEY.
    PrimaryKey,
    /// All headers: HEADERS.
    Headers,
    /// One header: HEADER('name').
    Header(String),
}

/// `CREATE [OR REPLACE] STREAM|TABLE [IF NOT EXISTS] name [WITH (...)] AS SELECT ...`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateAs {
    /// Stream or table.
    pub kind: SourceKind,
    /// Its name.
    pub name: Name,
    /// OR REPLACE.
    pub or_replace: bool,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Its properties.
    pub with: Properties,
    /// Its rows.
    pub query: Box<Query>,
}

/// `INSERT INTO name [(columns)] VALUES (...), ...`.
#[derive(Clone, Debug, PartialEq)]
pub struct InsertValues {
    /// Where the rows go.
    pub target: Name,
    /// The columns given; none means all in declared order.
    pub columns: Vec<Name>,
    /// One or more rows of expressions without columns.
    pub rows: Vec<Vec<Expr>>,
}

/// What TERMINATE, PAUSE and RESUME act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryTarget {
    /// Every query.
    All,
    /// The one with this id.
    Id(Name),
}

/// `ASSERT ...`.
#[derive(Clone, Debug, PartialEq)]
pub enum Assert {
    /// `ASSERT [NOT EXISTS] TOPIC name [WITH (...)] [TIMEOUT n unit]`.
    Topic {
        /// It must exist, or must not.
        exists: bool,
        /// The topic, as written.
        topic: String,
        /// What it must have, such as PARTITIONS.
        with: Properties,
        /// How long to wait.
        timeout: Option<TimeSpan>,
    },
    /// `ASSERT STREAM|TABLE name (columns) WITH (...)`: it is as this CREATE would make it.
    Source(CreateSource),
    /// `ASSERT VALUES name (columns) VALUES (...)`: the next rows are these.
    Values(InsertValues),
    /// `ASSERT NULL VALUES name (columns) KEY (...)`: the next row is a tombstone.
    NullValues {
        /// Where the row is looked for.
        source: Name,
        /// The key columns.
        columns: Vec<Name>,
        /// Their values.
        key: Vec<Expr>,
    },
}

/// `WITH (NAME = literal, ...)`, in the order written; no name twice.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Properties(pub Vec<Property>);

/// One of [`Properties`].
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name: upper case unless it was quoted.
    pub name: String,
    /// Its value.
    pub value: Literal,
    /// Where the name stands. Two properties are equal wherever they stand.
    pub place: Written,
}

impl Properties {
    /// The property of that name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.0.iter().find(|property| property.name.eq_ignore_ascii_case(name))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Property> {
        self.0.iter()
    }
}
