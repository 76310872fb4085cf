//! Statements: CREATE, INSERT, DROP, SHOW and the rest.

use super::cursor::Cursor;
use super::expression::{literal, parse_expr, type_name};
use super::query::{named_type, query, time_span};
use crate::ast::{
    Assert, ColumnDefinition, ColumnRole, ConnectorKind, CreateAs, CreateSource, InsertValues,
    Name, Print, Properties, Property, QueryTarget, Shown, SourceKind, Statement, Written,
};
use crate::error::{Cause, Result, SqlError};
use crate::tokens::{self, StatementText, Token};

/// Parses one statement whose variables have been replaced.
///
/// # Errors
/// Whatever is wrong with it, at its place in the script it was cut from.
pub fn statement(text: &StatementText) -> Result<Statement> {
    let mut cursor = Cursor::new(text)?;
    let statement = any_statement(&mut cursor)?;
    cursor.finish()?;
    Ok(statement)
}

/// Parses all statements of a script without variables.
///
/// ```
/// let script = "SHOW TOPICS; SELECT * FROM ratings EMIT CHANGES;";
/// let statements = thalweg_sql::parse::script(script).unwrap();
/// assert_eq!(statements[1].1.to_string(), "SELECT * FROM RATINGS EMIT CHANGES");
/// ```
///
/// # Errors
/// Whatever is wrong with the first one that is wrong.
pub fn script(text: &str) -> Result<Vec<(StatementText, Statement)>> {
    let parse = |text: StatementText| statement(&text).map(|statement| (text, statement));
    tokens::split(text)?.into_iter().map(parse).collect()
}

fn any_statement(cursor: &mut Cursor<'_>) -> Result<Statement> {
    const EXPECTED: &str = "a statement such as SELECT, CREATE, INSERT, SHOW or DESCRIBE";
    let Some(Token::Word(word)) = cursor.peek() else { return Err(cursor.unexpected(EXPECTED)) };
    match word.clone().as_str() {
        "SELECT" => query(cursor).map(Statement::Query),
        "CREATE" => create(cursor),
        "INSERT" => insert(cursor),
        "SHOW" | "LIST" => show(cursor),
        "DESCRIBE" => describe(cursor),
        "PRINT" => print(cursor),
        "DROP" => drop_statement(cursor),
        "ALTER" => alter(cursor),
        "EXPLAIN" => explain(cursor),
        "TERMINATE" => query_target(cursor).map(Statement::Terminate),
        "PAUSE" => query_target(cursor).map(Statement::Pause),
        "RESUME" => query_target(cursor).map(Statement::Resume),
        "SET" => set(cursor),
        "UNSET" => unset(cursor),
        "DEFINE" => define(cursor),
        "UNDEFINE" => {
            cursor.advance();
            variable(cursor).map(Statement::Undefine)
        }
        "RUN" => {
            cursor.expect(&["RUN", "SCRIPT"])?;
            cursor.text("the path of a script in quotes").map(Statement::RunScript)
        }
        "ASSERT" => assert_statement(cursor).map(Statement::Assert),
        _ => Err(cursor.unexpected(EXPECTED)),
    }
}

fn if_exists(cursor: &mut Cursor<'_>) -> bool {
    cursor.eat(&["IF", "EXISTS"])
}

fn if_not_exists(cursor: &mut Cursor<'_>) -> bool {
    cursor.eat(&["IF", "NOT", "EXISTS"])
}

fn source_kind(cursor: &mut Cursor<'_>, expected: &str) -> Result<SourceKind> {
    if cursor.eat(&["STREAM"]) {
        Ok(SourceKind::Stream)
    } else if cursor.eat(&["TABLE"]) {
        Ok(SourceKind::Table)
    } else {
        Err(cursor.unexpected(expected))
    }
}

const A_SOURCE: &str = "the name of a stream or table";

fn create(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["CREATE"])?;
    let or_replace = cursor.eat(&["OR", "REPLACE"]);
    if !or_replace && cursor.eat(&["TYPE"]) {
        let if_not_exists = if_not_exists(cursor);
        let name = cursor.name("the name of a type")?;
        cursor.expect(&["AS"])?;
        let type_name = type_name(cursor)?;
        return Ok(Statement::CreateType { name, if_not_exists, type_name });
    }
    let connectors = [("SOURCE", ConnectorKind::Source), ("SINK", ConnectorKind::Sink)];
    for (word, kind) in connectors {
        if !or_replace && cursor.eat(&[word, "CONNECTOR"]) {
            let if_not_exists = if_not_exists(cursor);
            let name = connector_name(cursor)?;
            let with = properties(cursor)?;
            return Ok(Statement::CreateConnector { kind, name, if_not_exists, with });
        }
    }
    let read_only = cursor.eat(&["SOURCE"]);
    let kind = source_kind(cursor, "STREAM, TABLE, TYPE, SOURCE CONNECTOR or SINK CONNECTOR")?;
    let if_not_exists = if_not_exists(cursor);
    let name = cursor.name(A_SOURCE)?;
    let columns = columns(cursor)?;
    let with = properties(cursor)?;
    if columns.is_empty() && !read_only && cursor.eat(&["AS"]) {
        let query = query(cursor)?;
        let create = CreateAs { kind, name, or_replace, if_not_exists, with, query };
        return Ok(Statement::CreateAs(create));
    }
    if columns.is_empty() && with.is_empty() {
        return Err(cursor.unexpected("columns in parentheses, WITH or AS SELECT"));
    }
    let create = CreateSource { kind, name, or_replace, read_only, if_not_exists, columns, with };
    Ok(Statement::CreateSource(create))
}

fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<ColumnDefinition>> {
    if !cursor.is_symbol_at(0, "(") {
        return Ok(Vec::new());
    }
    let mut seen = std::collections::HashSet::new();
    cursor.enclosed(|cursor| {
        let place = cursor.place();
        let (name, type_name) = named_type(cursor)?;
        if !seen.insert(name.clone()) {
            let what = format!("the column {name}");
            return Err(SqlError::new(place, Cause::Twice { what }));
        }
        Ok(ColumnDefinition { name, type_name, role: role(cursor)?, place: Written(place) })
    })
}

fn role(cursor: &mut Cursor<'_>) -> Result<ColumnRole> {
    if cursor.eat(&["PRIMARY"]) {
        cursor.expect(&["KEY"])?;
        Ok(ColumnRole::PrimaryKey)
    } else if cursor.eat(&["KEY"]) {
        Ok(ColumnRole::Key)
    } else if cursor.eat(&["HEADERS"]) {
        Ok(ColumnRole::Headers)
    } else if cursor.eat(&["HEADER"]) {
        cursor.expect_symbol("(")?;
        let name = cursor.text("the name of a header in quotes")?;
        cursor.expect_symbol(")")?;
        Ok(ColumnRole::Header(name))
    } else {
        Ok(ColumnRole::Value)
    }
}

fn properties(cursor: &mut Cursor<'_>) -> Result<Properties> {
    if !cursor.eat(&["WITH"]) {
        return Ok(Properties::default());
    }
    let mut seen = std::collections::HashSet::new();
    let properties = cursor.enclosed(|cursor| {
        let place = cursor.place();
        let name = match cursor.peek() {
            Some(Token::Text(text)) => text.clone(),
            _ => cursor.name_ahead().ok_or_else(|| cursor.unexpected("the name of a property"))?.0,
        };
        cursor.advance();
        if !seen.insert(name.to_ascii_uppercase()) {
            let what = format!("the property {name}");
            return Err(SqlError::new(place, Cause::Twice { what }));
        }
        cursor.expect_symbol("=")?;
        let value = literal(cursor)?;
        let value = value.ok_or_else(|| cursor.unexpected("a text, a number, TRUE or FALSE"))?;
        Ok(Property { name, value, place: Written(place) })
    })?;
    Ok(Properties(properties))
}

fn insert(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["INSERT", "INTO"])?;
    let target = cursor.name(A_SOURCE)?;
    let with = properties(cursor)?;
    if cursor.is_word("SELECT") {
        return Ok(Statement::InsertSelect { target, with, query: query(cursor)? });
    }
    if !with.is_empty() {
        return Err(cursor.unexpected("SELECT"));
    }
    insert_values(cursor, target, "SELECT, VALUES or columns in parentheses")
        .map(Statement::InsertValues)
}

fn insert_values(cursor: &mut Cursor<'_>, target: Name, expected: &str) -> Result<InsertValues> {
    let columns = match cursor.is_symbol_at(0, "(") {
        true => cursor.enclosed(|cursor| cursor.name("the name of a column"))?,
        false => Vec::new(),
    };
    if !cursor.eat(&["VALUES"]) {
        return Err(cursor.unexpected(if columns.is_empty() { expected } else { "VALUES" }));
    }
    let rows = cursor.list(|cursor| {
        let place = cursor.place();
        let row = cursor.enclosed(parse_expr)?;
        if !columns.is_empty() && columns.len() != row.len() {
            let cause = Cause::Unexpected {
                found: format!("{} values", row.len()),
                expected: format!("{}, one for each column", columns.len()),
            };
            return Err(SqlError::new(place, cause));
        }
        Ok(row)
    })?;
    Ok(InsertValues { target, columns, rows })
}

fn show(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    let shown = [
        (&["TOPICS"][..], Shown::Topics { all: false }),
        (&["ALL", "TOPICS"], Shown::Topics { all: true }),
        (&["STREAMS"], Shown::Streams),
        (&["TABLES"], Shown::Tables),
        (&["QUERIES"], Shown::Queries),
        (&["FUNCTIONS"], Shown::Functions),
        (&["PROPERTIES"], Shown::Properties),
        (&["TYPES"], Shown::Types),
        (&["VARIABLES"], Shown::Variables),
        (&["CONNECTORS"], Shown::Connectors { kind: None }),
        (&["SOURCE", "CONNECTORS"], Shown::Connectors { kind: Some(ConnectorKind::Source) }),
        (&["SINK", "CONNECTORS"], Shown::Connectors { kind: Some(ConnectorKind::Sink) }),
    ];
    let Some((_, what)) = shown.into_iter().find(|(words, _)| cursor.eat(words)) else {
        return Err(cursor.unexpected(
            "TOPICS, STREAMS, TABLES, QUERIES, FUNCTIONS, PROPERTIES, TYPES, VARIABLES or CONNECTORS",
        ));
    };
    Ok(Statement::Show { what, extended: cursor.eat(&["EXTENDED"]) })
}

fn describe(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["DESCRIBE"])?;
    let more = matches!(cursor.peek_at(1), Some(Token::Word(_) | Token::Name(_)));
    if more && cursor.eat(&["FUNCTION"]) {
        return cursor.name("the name of a function").map(Statement::DescribeFunction);
    }
    if more || matches!(cursor.peek_at(1), Some(Token::Text(_))) {
        if cursor.eat(&["CONNECTOR"]) {
            return connector_name(cursor).map(Statement::DescribeConnector);
        }
        if cursor.eat(&["EXTENDED"]) {
            return Ok(Statement::Describe { name: cursor.name(A_SOURCE)?, extended: true });
        }
    }
    let name = cursor.name(A_SOURCE)?;
    Ok(Statement::Describe { name, extended: cursor.eat(&["EXTENDED"]) })
}

fn connector_name(cursor: &mut Cursor<'_>) -> Result<Name> {
    match cursor.peek() {
        Some(Token::Text(_)) => cursor.text("the name of a connector").map(Name),
        _ => cursor.name("the name of a connector"),
    }
}

fn topic(cursor: &mut Cursor<'_>) -> Result<String> {
    match cursor.peek() {
        Some(Token::Text(text) | Token::Name(text)) => {
            let topic = text.clone();
            cursor.advance();
            Ok(topic)
        }
        Some(Token::Word(_)) => Ok(cursor.take_unbroken().to_owned()),
        _ => Err(cursor.unexpected("the name of a topic")),
    }
}

fn print(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["PRINT"])?;
    let topic = topic(cursor)?;
    let mut print = Print { topic, from_beginning: false, interval: None, limit: None };
    if cursor.eat(&["FROM"]) {
        cursor.expect(&["BEGINNING"])?;
        print.from_beginning = true;
    }
    if cursor.eat(&["INTERVAL"]) || cursor.eat(&["SAMPLE"]) {
        print.interval = Some(cursor.count("a number of records")?);
    }
    if cursor.eat(&["LIMIT"]) {
        print.limit = Some(cursor.count("a number of records")?);
    }
    Ok(Statement::Print(print))
}

fn drop_statement(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["DROP"])?;
    if cursor.eat(&["TYPE"]) {
        let if_exists = if_exists(cursor);
        return Ok(Statement::DropType { if_exists, name: cursor.name("the name of a type")? });
    }
    if cursor.eat(&["CONNECTOR"]) {
        let if_exists = if_exists(cursor);
        return Ok(Statement::DropConnector { if_exists, name: connector_name(cursor)? });
    }
    let kind = source_kind(cursor, "STREAM, TABLE, TYPE or CONNECTOR")?;
    let if_exists = if_exists(cursor);
    let name = cursor.name(A_SOURCE)?;
    let delete_topic = cursor.eat(&["DELETE", "TOPIC"]);
    Ok(Statement::Drop { kind, name, if_exists, delete_topic })
}

fn alter(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["ALTER"])?;
    let kind = source_kind(cursor, "STREAM or TABLE")?;
    let name = cursor.name(A_SOURCE)?;
    let columns = cursor.list(|cursor| {
        cursor.expect(&["ADD"])?;
        cursor.eat(&["COLUMN"]);
        named_type(cursor)
    })?;
    Ok(Statement::Alter { kind, name, columns })
}

fn explain(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["EXPLAIN"])?;
    if ["SELECT", "CREATE", "INSERT"].iter().any(|word| cursor.is_word(word)) {
        let inner = any_statement(cursor)?;
        return Ok(Statement::Explain(Box::new(inner)));
    }
    cursor.name("a query id, SELECT, CREATE or INSERT").map(Statement::ExplainQuery)
}

fn query_target(cursor: &mut Cursor<'_>) -> Result<QueryTarget> {
    cursor.advance();
    cursor.eat(&["QUERY"]);
    if cursor.eat(&["ALL"]) {
        return Ok(QueryTarget::All);
    }
    cursor.name("a query id or ALL").map(QueryTarget::Id)
}

fn set(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["SET"])?;
    let property = cursor.text("the name of a property in quotes")?;
    cursor.expect_symbol("=")?;
    let value = literal(cursor)?.ok_or_else(|| cursor.unexpected("a value in quotes"))?.to_text();
    Ok(Statement::Set { property, value })
}

fn unset(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["UNSET"])?;
    if cursor.eat(&["ALL"]) {
        return Ok(Statement::Unset(None));
    }
    cursor.text("the name of a property in quotes, or ALL").map(|name| Statement::Unset(Some(name)))
}

/// Variables keep their case.
fn variable(cursor: &mut Cursor<'_>) -> Result<String> {
    match cursor.peek() {
        Some(Token::Name(name)) => {
            let name = name.clone();
            cursor.advance();
            Ok(name)
        }
        Some(Token::Word(_)) => Ok(cursor.take_word().to_owned()),
        _ => Err(cursor.unexpected("the name of a variable")),
    }
}

fn define(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.expect(&["DEFINE"])?;
    let name = variable(cursor)?;
    cursor.expect_symbol("=")?;
    let value = cursor.text("a value in quotes")?;
    Ok(Statement::Define { name, value })
}

fn assert_statement(cursor: &mut Cursor<'_>) -> Result<Assert> {
    cursor.expect(&["ASSERT"])?;
    let exists = !cursor.eat(&["NOT", "EXISTS"]);
    if !exists || cursor.is_word("TOPIC") {
        cursor.expect(&["TOPIC"])?;
        let topic = topic(cursor)?;
        let with = properties(cursor)?;
        let timeout = match cursor.eat(&["TIMEOUT"]) {
            true => Some(time_span(cursor)?),
            false => None,
        };
        return Ok(Assert::Topic { exists, topic, with, timeout });
    }
    if cursor.eat(&["VALUES"]) {
        let target = cursor.name(A_SOURCE)?;
        return insert_values(cursor, target, "VALUES or columns in parentheses")
            .map(Assert::Values);
    }
    if cursor.eat(&["NULL"]) {
        cursor.expect(&["VALUES"])?;
        let source = cursor.name(A_SOURCE)?;
        let columns = cursor.enclosed(|cursor| cursor.name("the name of a column"))?;
        cursor.expect(&["KEY"])?;
        let key = cursor.enclosed(parse_expr)?;
        return Ok(Assert::NullValues { source, columns, key });
    }
    let kind = source_kind(cursor, "TOPIC, STREAM, TABLE, VALUES or NULL VALUES")?;
    let name = cursor.name(A_SOURCE)?;
    let columns = columns(cursor)?;
    let with = properties(cursor)?;
    Ok(Assert::Source(CreateSource {
        kind,
        name,
        or_replace: false,
        read_only: false,
        if_not_exists: false,
        columns,
        with,
    }))
}
