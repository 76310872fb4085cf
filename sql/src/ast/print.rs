//! Statements as text: SQL that parses to the same tree again.
//!
//! Parentheses stand only where they must, so a text that is stored is never nested deeper than the one it came from.

use std::fmt::{self, Display, Formatter};

use super::{
    Assert, BinaryOperator, ColumnDefinition, ColumnRole, ConnectorKind, CreateAs, CreateSource,
    Emit, Expr, ExprKind, InsertValues, Join, JoinKind, Literal, Name, Print, Properties, Query,
    QueryTarget, SelectItem, Shown, Source, SourceKind, SpanUnit, Statement, TimeSpan, TypeName,
    Window, WindowShape, Within, rank,
};
use crate::words::{quoted, text_literal};

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Show { what, extended } => {
                write!(f, "SHOW {what}{}", flag(*extended, " EXTENDED"))
            }
            Self::Describe { name, extended } => {
                write!(f, "DESCRIBE {name}{}", flag(*extended, " EXTENDED"))
            }
            Self::DescribeFunction(name) => write!(f, "DESCRIBE FUNCTION {name}"),
            Self::DescribeConnector(name) => write!(f, "DESCRIBE CONNECTOR {name}"),
            Self::Print(print) => write!(f, "{print}"),
            Self::CreateSource(create) => write_create_source(f, "CREATE", create),
            Self::CreateAs(create) => write!(f, "{create}"),
            Self::InsertSelect { target, with, query } => {
                write!(f, "INSERT INTO {target}{with} {query}")
            }
            Self::InsertValues(insert) => write!(f, "INSERT INTO {insert}"),
            Self::Query(query) => write!(f, "{query}"),
            Self::Drop { kind, name, if_exists, delete_topic } => {
                let (exists, topic) =
                    (if_exists_text(*if_exists), flag(*delete_topic, " DELETE TOPIC"));
                write!(f, "DROP {kind} {exists}{name}{topic}")
            }
            Self::CreateType { name, if_not_exists, type_name } => {
                write!(f, "CREATE TYPE {}{name} AS {type_name}", if_not_exists_text(*if_not_exists))
            }
            Self::DropType { name, if_exists } => {
                write!(f, "DROP TYPE {}{name}", if_exists_text(*if_exists))
            }
            Self::Alter { kind, name, columns } => {
                write!(f, "ALTER {kind} {name} ")?;
                write_list(f, columns, |f, (name, of)| write!(f, "ADD COLUMN {name} {of}"))
            }
            Self::ExplainQuery(name) => write!(f, "EXPLAIN {name}"),
            Self::Explain(statement) => write!(f, "EXPLAIN {statement}"),
            Self::Terminate(target) => write!(f, "TERMINATE {target}"),
            Self::Pause(target) => write!(f, "PAUSE {target}"),
            Self::Resume(target) => write!(f, "RESUME {target}"),
            Self::Set { property, value } => {
                write!(f, "SET {} = {}", text_literal(property), text_literal(value))
            }
            Self::Unset(None) => f.write_str("UNSET ALL"),
            Self::Unset(Some(property)) => write!(f, "UNSET {}", text_literal(property)),
            Self::Define { name, value } => {
                write!(f, "DEFINE {} = {}", quoted(name), text_literal(value))
            }
            Self::Undefine(name) => write!(f, "UNDEFINE {}", quoted(name)),
            Self::RunScript(path) => write!(f, "RUN SCRIPT {}", text_literal(path)),
            Self::Assert(assert) => write!(f, "ASSERT {assert}"),
            Self::CreateConnector { kind, name, if_not_exists, with } => {
                write!(
                    f,
                    "CREATE {kind} CONNECTOR {}{name}{with}",
                    if_not_exists_text(*if_not_exists)
                )
            }
            Self::DropConnector { name, if_exists } => {
                write!(f, "DROP CONNECTOR {}{name}", if_exists_text(*if_exists))
            }
        }
    }
}

fn flag(set: bool, text: &'static str) -> &'static str {
    if set { text } else { "" }
}

fn if_exists_text(set: bool) -> &'static str {
    flag(set, "IF EXISTS ")
}

fn if_not_exists_text(set: bool) -> &'static str {
    flag(set, "IF NOT EXISTS ")
}

fn write_list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    write_item: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write_item(f, item)?;
    }
    Ok(())
}

fn write_all<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    write_list(f, items, |f, item| write!(f, "{item}"))
}

impl Display for Shown {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topics { all: false } => "TOPICS",
            Self::Topics { all: true } => "ALL TOPICS",
            Self::Streams => "STREAMS",
            Self::Tables => "TABLES",
            Self::Queries => "QUERIES",
            Self::Functions => "FUNCTIONS",
            Self::Properties => "PROPERTIES",
            Self::Types => "TYPES",
            Self::Variables => "VARIABLES",
            Self::Connectors { kind: None } => "CONNECTORS",
            Self::Connectors { kind: Some(ConnectorKind::Source) } => "SOURCE CONNECTORS",
            Self::Connectors { kind: Some(ConnectorKind::Sink) } => "SINK CONNECTORS",
        })
    }
}

impl Display for SourceKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream => "STREAM",
            Self::Table => "TABLE",
        })
    }
}

impl Display for ConnectorKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "SOURCE",
            Self::Sink => "SINK",
        })
    }
}

impl Display for Print {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "PRINT {}", text_literal(&self.topic))?;
        f.write_str(flag(self.from_beginning, " FROM BEGINNING"))?;
        if let Some(interval) = self.interval {
            write!(f, " INTERVAL {interval}")?;
        }
        write_limit(f, self.limit)
    }
}

fn write_limit(f: &mut Formatter<'_>, limit: Option<u64>) -> fmt::Result {
    limit.map_or(Ok(()), |limit| write!(f, " LIMIT {limit}"))
}

fn write_create_source(f: &mut Formatter<'_>, verb: &str, create: &CreateSource) -> fmt::Result {
    let CreateSource { kind, name, or_replace, read_only, if_not_exists, columns, with } = create;
    let (replace, source) = (flag(*or_replace, " OR REPLACE"), flag(*read_only, " SOURCE"));
    write!(f, "{verb}{replace}{source} {kind} {}{name}", if_not_exists_text(*if_not_exists))?;
    if !columns.is_empty() {
        f.write_str(" (")?;
        write_all(f, columns)?;
        f.write_str(")")?;
    }
    write!(f, "{with}")
}

impl Display for CreateSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_create_source(f, "CREATE", self)
    }
}

impl Display for ColumnDefinition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.type_name)?;
        match &self.role {
            ColumnRole::Value => Ok(()),
            ColumnRole::Key => f.write_str(" KEY"),
            ColumnRole::PrimaryKey => f.write_str(" PRIMARY KEY"),
            ColumnRole::Headers => f.write_str(" HEADERS"),
            ColumnRole::Header(name) => write!(f, " HEADER({})", text_literal(name)),
        }
    }
}

impl Display for CreateAs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { kind, name, or_replace, if_not_exists, with, query } = self;
        let (replace, exists) =
            (flag(*or_replace, " OR REPLACE"), if_not_exists_text(*if_not_exists));
        write!(f, "CREATE{replace} {kind} {exists}{name}{with} AS {query}")
    }
}

impl Display for InsertValues {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.target)?;
        if !self.columns.is_empty() {
            f.write_str(" (")?;
            write_all(f, &self.columns)?;
            f.write_str(")")?;
        }
        f.write_str(" VALUES ")?;
        write_list(f, &self.rows, |f, row| {
            f.write_str("(")?;
            write_all(f, row)?;
            f.write_str(")")
        })
    }
}

impl Display for QueryTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("ALL"),
            Self::Id(name) => write!(f, "{name}"),
        }
    }
}

impl Display for Assert {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic { exists, topic, with, timeout } => {
                let not = flag(!exists, "NOT EXISTS ");
                write!(f, "{not}TOPIC {}{with}", text_literal(topic))?;
                timeout.map_or(Ok(()), |timeout| write!(f, " TIMEOUT {timeout}"))
            }
            Self::Source(create) => {
                write!(f, "{} {}", create.kind, create.name)?;
                if !create.columns.is_empty() {
                    f.write_str(" (")?;
                    write_all(f, &create.columns)?;
                    f.write_str(")")?;
                }
                write!(f, "{}", create.with)
            }
            Self::Values(insert) => write!(f, "VALUES {insert}"),
            Self::NullValues { source, columns, key } => {
                write!(f, "NULL VALUES {source} (")?;
                write_all(f, columns)?;
                f.write_str(") KEY (")?;
                write_all(f, key)?;
                f.write_str(")")
            }
        }
    }
}

/// With a blank before it; nothing when there are none.
impl Display for Properties {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        f.write_str(" WITH (")?;
        write_list(f, &self.0, |f, one| write!(f, "{} = {}", quoted(&one.name), one.value))?;
        f.write_str(")")
    }
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "SELECT {}", flag(self.distinct, "DISTINCT "))?;
        write_all(f, &self.select)?;
        write!(f, " FROM {}", self.from)?;
        self.joins.iter().try_for_each(|join| write!(f, " {join}"))?;
        if let Some(window) = &self.window {
            write!(f, " {window}")?;
        }
        if let Some(filter) = &self.filter {
            write!(f, " WHERE {filter}")?;
        }
        for (clause, exprs) in [("GROUP BY", &self.group_by), ("PARTITION BY", &self.partition_by)]
        {
            if !exprs.is_empty() {
                write!(f, " {clause} ")?;
                write_all(f, exprs)?;
            }
        }
        if let Some(having) = &self.having {
            write!(f, " HAVING {having}")?;
        }
        if !self.order_by.is_empty() {
            f.write_str(" ORDER BY ")?;
            write_list(f, &self.order_by, |f, (expr, descending)| {
                write!(f, "{expr}{}", flag(*descending, " DESC"))
            })?;
        }
        match self.emit {
            Some(Emit::Changes) => f.write_str(" EMIT CHANGES")?,
            Some(Emit::Final) => f.write_str(" EMIT FINAL")?,
            None => {}
        }
        write_limit(f, self.limit)
    }
}

impl Display for SelectItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expression { expr, alias: Some(alias) } => write!(f, "{expr} AS {alias}"),
            Self::Expression { expr, alias: None } => write!(f, "{expr}"),
            Self::All { source: Some(source), .. } => write!(f, "{source}.*"),
            Self::All { source: None, .. } => f.write_str("*"),
            Self::Fields(expr) => write!(f, "{}->*", Operand(expr, rank::CLOSED)),
        }
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        self.alias.as_ref().map_or(Ok(()), |alias| write!(f, " AS {alias}"))
    }
}

impl Display for Join {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            JoinKind::Inner => "INNER",
            JoinKind::Left => "LEFT",
            JoinKind::Right => "RIGHT",
            JoinKind::Full => "FULL",
        };
        write!(f, "{kind} JOIN {}", self.source)?;
        if let Some(within) = &self.within {
            write!(f, " {within}")?;
        }
        write!(f, " ON {}", self.on)
    }
}

impl Display for Within {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "WITHIN ({}, {})", self.before, self.after)?;
        self.grace.map_or(Ok(()), |grace| write!(f, " GRACE PERIOD {grace}"))
    }
}

impl Display for Window {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.shape {
            WindowShape::Tumbling { size } => write!(f, "WINDOW TUMBLING (SIZE {size}")?,
            WindowShape::Hopping { size, advance } => {
                write!(f, "WINDOW HOPPING (SIZE {size}, ADVANCE BY {advance}")?;
            }
            WindowShape::Session { gap } => write!(f, "WINDOW SESSION ({gap}")?,
        }
        if let Some(retention) = self.retention {
            write!(f, ", RETENTION {retention}")?;
        }
        if let Some(grace) = self.grace {
            write!(f, ", GRACE PERIOD {grace}")?;
        }
        f.write_str(")")
    }
}

impl Display for TimeSpan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.unit)
    }
}

impl Display for SpanUnit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(unit, ..)| unit == self).map(|(_, name, _)| name);
        f.write_str(name.unwrap_or_default())
    }
}

impl Display for TypeName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => write!(f, "{scalar}"),
            Self::Array(item) => write!(f, "ARRAY<{item}>"),
            Self::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            Self::Struct(fields) => {
                f.write_str("STRUCT<")?;
                write_list(f, fields, |f, (name, of)| write!(f, "{name} {of}"))?;
                f.write_str(">")
            }
            Self::Created(name, _) => write!(f, "{name}"),
        }
    }
}

fn operator_rank(operator: BinaryOperator) -> u8 {
    match operator {
        BinaryOperator::Or => rank::OR,
        BinaryOperator::And => rank::AND,
        BinaryOperator::Add | BinaryOperator::Subtract | BinaryOperator::Concatenate => rank::ADD,
        BinaryOperator::Multiply | BinaryOperator::Divide | BinaryOperator::Modulo => {
            rank::MULTIPLY
        }
        _ => rank::COMPARE,
    }
}

fn rank_of(expr: &Expr) -> u8 {
    match &expr.kind {
        ExprKind::Lambda { .. } => rank::LAMBDA,
        ExprKind::Binary { operator, .. } => operator_rank(*operator),
        ExprKind::Not(_) => rank::NOT,
        ExprKind::IsNull { .. }
        | ExprKind::Like { .. }
        | ExprKind::In { .. }
        | ExprKind::Between { .. } => rank::COMPARE,
        ExprKind::Negate(_) => rank::SIGN,
        _ => rank::CLOSED,
    }
}

/// An expression inside another, where it must bind at least as tightly as a rank: else it stands in parentheses.
struct Operand<'a>(&'a Expr, u8);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(expr, rank) = *self;
        if rank_of(expr) >= rank { write!(f, "{expr}") } else { write!(f, "({expr})") }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Literal(literal) => write!(f, "{literal}"),
            ExprKind::Column { source: Some(source), name } => write!(f, "{source}.{name}"),
            ExprKind::Column { source: None, name } => write!(f, "{name}"),
            ExprKind::Not(expr) => write!(f, "NOT {}", Operand(expr, rank::NOT)),
            ExprKind::Negate(expr) => write_negation(f, expr),
            ExprKind::Binary { operator, left, right } => {
                let rank = operator_rank(*operator);
                let (left, right) = (Operand(left, rank), Operand(right, rank + 1));
                write!(f, "{left} {} {right}", operator.sign())
            }
            ExprKind::IsNull { expr, negated } => {
                let not = flag(*negated, "NOT ");
                write!(f, "{} IS {not}NULL", Operand(expr, rank::COMPARE))
            }
            ExprKind::Like { expr, pattern, escape, negated } => {
                let not = flag(*negated, "NOT ");
                let (expr, pattern) = (Operand(expr, rank::COMPARE), Operand(pattern, rank::ADD));
                write!(f, "{expr} {not}LIKE {pattern}")?;
                let write_escape = |c: char| write!(f, " ESCAPE {}", text_literal(&c.to_string()));
                escape.map_or(Ok(()), write_escape)
            }
            ExprKind::In { expr, list, negated } => {
                let not = flag(*negated, "NOT ");
                write!(f, "{} {not}IN (", Operand(expr, rank::COMPARE))?;
                write_all(f, list)?;
                f.write_str(")")
            }
            ExprKind::Between { expr, low, high, negated } => {
                let not = flag(*negated, "NOT ");
                let (low, high) = (Operand(low, rank::ADD), Operand(high, rank::ADD));
                write!(f, "{} {not}BETWEEN {low} AND {high}", Operand(expr, rank::COMPARE))
            }
            ExprKind::Case { operand, branches, otherwise } => {
                write_case(f, operand.as_deref(), branches, otherwise.as_deref())
            }
            ExprKind::Cast { expr, to } => write!(f, "CAST({expr} AS {to})"),
            ExprKind::Call { name, star: true, .. } => write!(f, "{}(*)", quoted(name)),
            ExprKind::Call { name, arguments, distinct, .. } => {
                write!(f, "{}({}", quoted(name), flag(*distinct, "DISTINCT "))?;
                write_all(f, arguments)?;
                f.write_str(")")
            }
            ExprKind::Field { expr, name } => write!(f, "{}->{name}", Operand(expr, rank::CLOSED)),
            ExprKind::Index { expr, index } => {
                write!(f, "{}[{index}]", Operand(expr, rank::CLOSED))
            }
            ExprKind::Array(items) => {
                f.write_str("ARRAY[")?;
                write_all(f, items)?;
                f.write_str("]")
            }
            ExprKind::Map(entries) => {
                f.write_str("MAP(")?;
                write_list(f, entries, |f, (key, value)| write!(f, "{key} := {value}"))?;
                f.write_str(")")
            }
            ExprKind::Struct(fields) => {
                f.write_str("STRUCT(")?;
                write_list(f, fields, |f, (name, value)| write!(f, "{name} := {value}"))?;
                f.write_str(")")
            }
            ExprKind::Lambda { parameters, body } => write_lambda(f, parameters, body),
        }
    }
}

/// A minus before a number would be part of it, and two in a row would begin a comment.
fn write_negation(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    match &expr.kind {
        ExprKind::Negate(_) => write!(f, "- {expr}"),
        _ if begins_with_literal(expr) => write!(f, "-({expr})"),
        _ => write!(f, "-{}", Operand(expr, rank::SIGN)),
    }
}

fn begins_with_literal(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Literal(_) => true,
        ExprKind::Field { expr, .. } | ExprKind::Index { expr, .. } => begins_with_literal(expr),
        _ => false,
    }
}

fn write_lambda(f: &mut Formatter<'_>, parameters: &[Name], body: &Expr) -> fmt::Result {
    f.write_str("(")?;
    write_all(f, parameters)?;
    write!(f, ") => {body}")
}

fn write_case(
    f: &mut Formatter<'_>,
    operand: Option<&Expr>,
    branches: &[(Expr, Expr)],
    otherwise: Option<&Expr>,
) -> fmt::Result {
    f.write_str("CASE")?;
    if let Some(operand) = operand {
        write!(f, " {operand}")?;
    }
    for (when, then) in branches {
        write!(f, " WHEN {when} THEN {then}")?;
    }
    if let Some(otherwise) = otherwise {
        write!(f, " ELSE {otherwise}")?;
    }
    f.write_str(" END")
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean(true) => f.write_str("TRUE"),
            Self::Boolean(false) => f.write_str("FALSE"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Decimal(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value:E}"),
            Self::String(text) => f.write_str(&text_literal(text)),
        }
    }
}
