//! Statements as written: what the grammar makes of a text, before names and types are looked up.
//!
//! Each piece prints as SQL that parses to the same tree again; that text is what stored statements are kept as.
//! Expressions are in [`crate::ast::Expr`]; what they mean is [`crate::compile`]'s.

use std::fmt;

use crate::error::{Cause, Place, Result, SqlError};
use crate::value::{SqlType, StructField};
use crate::words::quoted;

/// A name: upper case unless it was quoted. Prints as it must be written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub String);

impl Name {
    /// Its characters, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quoted(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

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

/// A SELECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What is computed.
    pub select: Vec<SelectItem>,
    /// SELECT DISTINCT.
    pub distinct: bool,
    /// The first source.
    pub from: Source,
    /// The sources joined to it, in order.
    pub joins: Vec<Join>,
    /// WINDOW.
    pub window: Option<Window>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY.
    pub group_by: Vec<Expr>,
    /// PARTITION BY.
    pub partition_by: Vec<Expr>,
    /// HAVING.
    pub having: Option<Expr>,
    /// ORDER BY: expression, and whether descending.
    pub order_by: Vec<(Expr, bool)>,
    /// EMIT; none makes it a pull query.
    pub emit: Option<Emit>,
    /// LIMIT.
    pub limit: Option<u64>,
    /// Where SELECT stands. Two queries are equal wherever they stand.
    pub place: Written,
}

/// One entry of a select list.
#[derive(Clone, Debug, PartialEq)]
pub enum SelectItem {
    /// `expression [AS alias]`.
    Expression {
        /// What is computed.
        expr: Expr,
        /// Its name.
        alias: Option<Name>,
    },
    /// `*` or `source.*`.
    All {
        /// Only the columns of this source.
        source: Option<Name>,
        /// Where it stands. Two items are equal wherever they stand.
        place: Written,
    },
    /// `struct->*`.
    Fields(Expr),
}

/// `name [AS alias]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// A stream or table.
    pub name: Name,
    /// What columns call it.
    pub alias: Option<Name>,
    /// Where it stands. Two sources are equal wherever they stand.
    pub place: Written,
}

impl Source {
    /// What columns call it: its alias, else its name.
    pub fn called(&self) -> &Name {
        self.alias.as_ref().unwrap_or(&self.name)
    }
}

/// `kind JOIN source [WITHIN ...] [GRACE PERIOD n] ON condition`.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// Which rows without a partner stay.
    pub kind: JoinKind,
    /// What is joined.
    pub source: Source,
    /// How far apart in time two rows may be.
    pub within: Option<Within>,
    /// When they must match.
    pub on: Expr,
}

/// Which rows without a partner stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// None.
    Inner,
    /// Those of the left side.
    Left,
    /// Those of the right side.
    Right,
    /// Those of both sides.
    Full,
}

/// `WITHIN n unit` or `WITHIN (before, after)`, then `GRACE PERIOD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// How much earlier than the left row the right row may be.
    pub before: TimeSpan,
    /// How much later.
    pub after: TimeSpan,
    /// How late rows may come.
    pub grace: Option<TimeSpan>,
}

/// `WINDOW ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How windows lie.
    pub shape: WindowShape,
    /// RETENTION: how long results are kept.
    pub retention: Option<TimeSpan>,
    /// GRACE PERIOD: how late rows may come.
    pub grace: Option<TimeSpan>,
}

/// How windows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowShape {
    /// Side by side.
    Tumbling {
        /// How long each is.
        size: TimeSpan,
    },
    /// Overlapping.
    Hopping {
        /// How long each is.
        size: TimeSpan,
        /// How far apart they start.
        advance: TimeSpan,
    },
    /// Around rows that are near each other.
    Session {
        /// The longest silence inside one.
        gap: TimeSpan,
    },
}

/// When results are emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// With every change.
    Changes,
    /// When a window closes.
    Final,
}

/// A number of units of time, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan {
    /// How many; `count × unit` fits an i64 of milliseconds.
    pub count: u64,
    /// Of what.
    pub unit: SpanUnit,
}

impl TimeSpan {
    /// Its length in milliseconds.
    pub fn ms(self) -> i64 {
        let ms = i128::from(self.count) * i128::from(self.unit.ms());
        i64::try_from(ms).unwrap_or(i64::MAX)
    }
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanUnit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
    /// Days of 24 hours.
    Days,
}

impl SpanUnit {
    const ALL: [(Self, &str, i64); 5] = [
        (Self::Milliseconds, "MILLISECONDS", 1),
        (Self::Seconds, "SECONDS", 1_000),
        (Self::Minutes, "MINUTES", 60_000),
        (Self::Hours, "HOURS", 3_600_000),
        (Self::Days, "DAYS", 86_400_000),
    ];

    /// The unit of that name, in upper case, with or without the S.
    pub fn of_name(name: &str) -> Option<Self> {
        let matches = |full: &str| full == name || full.strip_suffix('S') == Some(name);
        Self::ALL.into_iter().find(|(_, full, _)| matches(full)).map(|(unit, ..)| unit)
    }

    /// Its length in milliseconds.
    pub fn ms(self) -> i64 {
        Self::ALL.into_iter().find(|(unit, ..)| *unit == self).map_or(1, |(.., ms)| ms)
    }
}

/// A type as written: it may name one that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeName {
    /// A scalar type.
    Scalar(SqlType),
    /// ARRAY of another.
    Array(Box<TypeName>),
    /// MAP from one to another.
    Map(Box<TypeName>, Box<TypeName>),
    /// STRUCT of fields.
    Struct(Vec<(Name, TypeName)>),
    /// A type that was created.
    Created(Name, Written),
}

impl TypeName {
    /// The type, with created ones looked up.
    ///
    /// # Errors
    /// [`Cause::UnknownType`] when `created` does not know a name.
    pub fn resolve(&self, created: &dyn Fn(&str) -> Option<SqlType>) -> Result<SqlType> {
        Ok(match self {
            Self::Scalar(scalar) => scalar.clone(),
            Self::Array(item) => SqlType::Array(Box::new(item.resolve(created)?)),
            Self::Map(key, value) => {
                SqlType::Map(Box::new(key.resolve(created)?), Box::new(value.resolve(created)?))
            }
            Self::Struct(fields) => {
                let field = |(name, type_name): &(Name, Self)| {
                    let sql_type = type_name.resolve(created)?;
                    Ok(StructField { name: name.0.clone(), sql_type })
                };
                SqlType::Struct(fields.iter().map(field).collect::<Result<_>>()?)
            }
            Self::Created(name, at) => created(name.as_str()).ok_or_else(|| {
                SqlError::new(at.0, Cause::UnknownType { name: name.to_string() })
            })?,
        })
    }
}

/// Where something was written. It is no part of what was said: any two are equal.
#[derive(Clone, Copy, Debug)]
pub struct Written(pub Place);

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

/// An expression and where it starts; operators start where their name or sign stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands. Two expressions are equal wherever they stand.
    pub place: Written,
}

impl Expr {
    /// An expression at a place.
    pub fn new(kind: ExprKind, place: Place) -> Self {
        Self { kind, place: Written(place) }
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place.0
    }

    /// The expressions it is made of.
    pub fn children(&self) -> Vec<&Self> {
        match &self.kind {
            ExprKind::Literal(_) | ExprKind::Column { .. } => Vec::new(),
            ExprKind::Not(expr)
            | ExprKind::Negate(expr)
            | ExprKind::IsNull { expr, .. }
            | ExprKind::Cast { expr, .. }
            | ExprKind::Field { expr, .. }
            | ExprKind::Lambda { body: expr, .. } => vec![expr],
            ExprKind::Binary { left, right, .. } => vec![left, right],
            ExprKind::Like { expr, pattern, .. } => vec![expr, pattern],
            ExprKind::In { expr, list, .. } => std::iter::once(&**expr).chain(list).collect(),
            ExprKind::Between { expr, low, high, .. } => vec![expr, low, high],
            ExprKind::Case { operand, branches, otherwise } => {
                let branches = branches.iter().flat_map(|(when, then)| [when, then]);
                operand.as_deref().into_iter().chain(branches).chain(otherwise.as_deref()).collect()
            }
            ExprKind::Call { arguments, .. } => arguments.iter().collect(),
            ExprKind::Index { expr, index } => vec![expr, index],
            ExprKind::Array(items) => items.iter().collect(),
            ExprKind::Map(entries) => entries.iter().flat_map(|(k, v)| [k, v]).collect(),
            ExprKind::Struct(fields) => fields.iter().map(|(_, value)| value).collect(),
        }
    }

    /// Calls `visit` with this expression and all inside it, parents first.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        self.children().into_iter().for_each(|child| child.visit(visit));
    }
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A constant.
    Literal(Literal),
    /// `[source.]name`.
    Column {
        /// The source it is looked for in.
        source: Option<Name>,
        /// Its name.
        name: Name,
    },
    /// `NOT expr`.
    Not(Box<Expr>),
    /// `-expr`.
    Negate(Box<Expr>),
    /// `left operator right`.
    Binary {
        /// The operator.
        operator: BinaryOperator,
        /// Before it.
        left: Box<Expr>,
        /// After it.
        right: Box<Expr>,
    },
    /// `expr IS [NOT] NULL`.
    IsNull {
        /// What is tested.
        expr: Box<Expr>,
        /// With NOT.
        negated: bool,
    },
    /// `expr [NOT] LIKE pattern [ESCAPE 'c']`.
    Like {
        /// What is tested.
        expr: Box<Expr>,
        /// `%` is any text, `_` any character.
        pattern: Box<Expr>,
        /// The character that takes the meaning off the next one.
        escape: Option<char>,
        /// With NOT.
        negated: bool,
    },
    /// `expr [NOT] IN (list)`.
    In {
        /// What is tested.
        expr: Box<Expr>,
        /// At least one.
        list: Vec<Expr>,
        /// With NOT.
        negated: bool,
    },
    /// `expr [NOT] BETWEEN low AND high`.
    Between {
        /// What is tested.
        expr: Box<Expr>,
        /// The least value.
        low: Box<Expr>,
        /// The greatest value.
        high: Box<Expr>,
        /// With NOT.
        negated: bool,
    },
    /// `CASE [operand] WHEN ... THEN ... [ELSE ...] END`.
    Case {
        /// What WHEN is compared with; without it WHEN is a condition.
        operand: Option<Box<Expr>>,
        /// WHEN and THEN, at least one.
        branches: Vec<(Expr, Expr)>,
        /// ELSE.
        otherwise: Option<Box<Expr>>,
    },
    /// `CAST(expr AS type)`.
    Cast {
        /// What is cast.
        expr: Box<Expr>,
        /// To what.
        to: TypeName,
    },
    /// `name(arguments)`; `COUNT(*)` is a call with `star` and no arguments.
    Call {
        /// The function, upper case.
        name: String,
        /// What it is called with.
        arguments: Vec<Expr>,
        /// DISTINCT before the arguments.
        distinct: bool,
        /// `*` instead of arguments.
        star: bool,
    },
    /// `expr->name`.
    Field {
        /// A struct.
        expr: Box<Expr>,
        /// Its field.
        name: Name,
    },
    /// `expr[index]`.
    Index {
        /// An array or map.
        expr: Box<Expr>,
        /// Position from 1 (from the end when negative), or a key.
        index: Box<Expr>,
    },
    /// `ARRAY[a, b]`.
    Array(Vec<Expr>),
    /// `MAP(key := value, ...)`.
    Map(Vec<(Expr, Expr)>),
    /// `STRUCT(name := value, ...)`.
    Struct(Vec<(Name, Expr)>),
    /// `x => body` or `(x, y) => body`.
    Lambda {
        /// Names of its parameters, at least one.
        parameters: Vec<Name>,
        /// What it computes.
        body: Box<Expr>,
    },
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// NULL.
    Null,
    /// TRUE or FALSE.
    Boolean(bool),
    /// A whole number: INT where it fits, else BIGINT.
    Integer(i64),
    /// A number with a point, or a whole one beyond BIGINT: exact.
    Decimal(crate::value::Decimal),
    /// A number with an exponent.
    Double(f64),
    /// A text.
    String(String),
}

impl Literal {
    /// As properties take it: a text without its quotes, anything else as printed.
    pub fn to_text(&self) -> String {
        match self {
            Self::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOperator {
    /// OR.
    Or,
    /// AND.
    And,
    /// =
    Equal,
    /// <> or !=
    NotEqual,
    /// <
    Less,
    /// <=
    LessOrEqual,
    /// >
    Greater,
    /// >=
    GreaterOrEqual,
    /// IS DISTINCT FROM: as <>, but null is a value like others.
    Distinct,
    /// IS NOT DISTINCT FROM.
    NotDistinct,
    /// + of numbers, or of texts end to end.
    Add,
    /// -
    Subtract,
    /// *
    Multiply,
    /// /
    Divide,
    /// %
    Modulo,
}

impl BinaryOperator {
    /// As written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Or => "OR",
            Self::And => "AND",
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Distinct => "IS DISTINCT FROM",
            Self::NotDistinct => "IS NOT DISTINCT FROM",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }

    /// Whether it is one of `= <> < <= > >=` or IS \[NOT\] DISTINCT FROM.
    pub fn is_comparison(self) -> bool {
        !matches!(self, Self::Or | Self::And) && !self.is_arithmetic()
    }

    /// Whether it is one of `+ - * / %`.
    pub fn is_arithmetic(self) -> bool {
        matches!(self, Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Modulo)
    }
}

mod print;
