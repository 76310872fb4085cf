//! SHOW and DESCRIBE: what is there, as tables.

use protocol::id::{Offset, Timestamp};
use protocol::verbs::TopicDescription;
use sql::ast::Shown;
use sql::schema::{ColumnRef, nearest};
use sql::value::{SqlType, timestamp_text};

use crate::answer::{Answer, Table, number, text};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::flow::source::{Arrival, FETCH_WAIT_MS, Place, Source};
use crate::flow::status::State;
use crate::hall::{Hall, QueryReport};
use crate::plan::declare::Stream;
use crate::session::{PROPERTIES, Session};

/// SHOW.
///
/// # Errors
/// What the broker says; things that cannot be shown yet.
pub async fn show(
    hall: &Hall,
    session: &Session,
    what: Shown,
    extended: bool,
) -> Result<[Answer; 2]> {
    let table = match what {
        Shown::Topics { all } => {
            let topics = hall.transport().list_topics().await?;
            let shown = |topic: &&TopicDescription| all || !topic.name.is_internal();
            topic_table(topics.iter().filter(shown), extended)
        }
        Shown::Streams => stream_table(&hall.catalog()),
        // There are no tables and no types of one's own yet, so none are listed.
        Shown::Tables => {
            Table::of_text(&["NAME", "TOPIC", "KEY_FORMAT", "VALUE_FORMAT", "WINDOWED"])
        }
        Shown::Types => Table::of_text(&["NAME", "TYPE"]),
        Shown::Queries => query_table(&hall.reports()),
        Shown::Functions => {
            let mut table = Table::of_text(&["NAME", "GROUP", "MEANING"]);
            for function in sql::functions::table::all() {
                table.push(vec![text(function.name), text(group_of(function)), text(function.doc)]);
            }
            table
        }
        Shown::Properties => {
            let mut table = Table::of_text(&["PROPERTY", "VALUE", "DEFAULT", "MEANING"]);
            for (name, default, meaning) in PROPERTIES {
                let value = session.property(name).unwrap_or_default();
                table.push(vec![text(name), text(value), text(default), text(meaning)]);
            }
            table
        }
        Shown::Variables => {
            let mut table = Table::of_text(&["VARIABLE", "VALUE"]);
            session.variables().for_each(|(name, value)| table.push(vec![text(name), text(value)]));
            table
        }
        Shown::Connectors { .. } => {
            let what = "SHOW CONNECTORS".to_owned();
            return Err(Error::Unsupported { place: sql::Place::START, what });
        }
    };
    Ok(table.into_answers())
}

fn topic_table<'a>(topics: impl Iterator<Item = &'a TopicDescription>, extended: bool) -> Table {
    let mut columns = vec![
        ("TOPIC", SqlType::String),
        ("PARTITIONS", SqlType::Bigint),
        ("REPLICAS", SqlType::Bigint),
    ];
    if extended {
        columns.extend([("RECORDS", SqlType::Bigint), ("BYTES", SqlType::Bigint)]);
    }
    let mut table = Table::new(columns);
    for topic in topics {
        let partitions = &topic.partitions;
        // There is one node, so every partition has one replica.
        let mut row = vec![text(topic.name.as_str()), number(partitions.len() as u64), number(1)];
        if extended {
            row.push(number(
                partitions.iter().map(|partition| partition.end.since(partition.start)).sum(),
            ));
            row.push(number(partitions.iter().map(|partition| partition.bytes).sum()));
        }
        table.push(row);
    }
    table
}

fn stream_table(catalog: &Catalog) -> Table {
    let mut table = Table::of_text(&["NAME", "TOPIC", "KEY_FORMAT", "VALUE_FORMAT", "WINDOWED"]);
    for stream in catalog.streams() {
        table.push(vec![
            text(&stream.name),
            text(stream.topic.as_str()),
            text(stream.layout.key.format.name()),
            text(stream.layout.value.format.name()),
            text("false"),
        ]);
    }
    table
}

fn query_table(reports: &[QueryReport]) -> Table {
    let string = SqlType::String;
    let mut table = Table::new([
        ("ID", string.clone()),
        ("STATE", string.clone()),
        ("READS", string.clone()),
        ("WRITES", string.clone()),
        ("ROWS_READ", SqlType::Bigint),
        ("ROWS_WRITTEN", SqlType::Bigint),
        ("ERRORS", SqlType::Bigint),
        ("CAUSE", string.clone()),
        ("STATEMENT", string),
    ]);
    for report in reports {
        let cause = match &report.state {
            State::Error(cause) => text(cause),
            State::Running | State::Paused => text(report.note.as_deref().unwrap_or_default()),
        };
        table.push(vec![
            text(&report.query.id),
            text(report.state.name()),
            text(report.query.sources.join(", ")),
            text(&report.query.sink),
            number(report.counts.read),
            number(report.counts.written),
            number(report.counts.errors),
            cause,
            text(&report.query.statement),
        ]);
    }
    table
}

/// DESCRIBE: the columns; EXTENDED adds where the stream is kept, who uses it and how much went through.
///
/// # Errors
/// [`Error::UnknownSource`]; what the broker says.
pub async fn describe(hall: &Hall, name: &str, extended: bool) -> Result<Vec<Answer>> {
    let catalog = hall.catalog();
    let stream = catalog.stream(name)?;
    let mut table = Table::of_text(&["FIELD", "TYPE"]);
    for (place, column) in stream.layout.schema.columns() {
        let key = if matches!(place, ColumnRef::Key(_)) { " (key)" } else { "" };
        table.push(vec![text(&column.name), text(format!("{}{key}", column.sql_type))]);
    }
    let mut answers = table.into_answers().to_vec();
    if extended {
        answers.extend(describe_extended(hall, &catalog, stream).await?);
    }
    Ok(answers)
}

async fn describe_extended(hall: &Hall, catalog: &Catalog, stream: &Stream) -> Result<[Answer; 2]> {
    let topic = hall.transport().describe_topic(stream.topic.clone()).await?;
    let ids = |queries: Vec<&crate::catalog::PersistentQuery>| {
        queries.iter().map(|query| query.id.as_str()).collect::<Vec<_>>().join(", ")
    };
    let reports = hall.reports();
    let sum = |writes: bool| {
        let uses = |report: &&QueryReport| match writes {
            true => report.query.sink == stream.name,
            false => report.query.sources.contains(&stream.name),
        };
        reports.iter().filter(uses).map(|report| report.counts).fold(
            (0, 0),
            |(rows, errors), counts| {
                (rows + if writes { counts.written } else { counts.read }, errors + counts.errors)
            },
        )
    };
    let (written, _) = sum(true);
    let (read, errors) = sum(false);
    let records: u64 = topic.partitions.iter().map(|p| p.end.since(p.start)).sum();
    let last = last_record_time(hall, &topic).await?;
    let rows = [
        ("Kind", "STREAM".to_owned()),
        ("Topic", stream.topic.to_string()),
        ("Partitions", topic.partitions.len().to_string()),
        ("Key format", stream.layout.key.format.to_string()),
        ("Value format", stream.layout.value.format.to_string()),
        (
            "Timestamp column",
            stream.timestamp.as_ref().map_or_else(String::new, |(column, _)| column.clone()),
        ),
        ("Queries that read it", ids(catalog.readers(&stream.name))),
        ("Queries that write it", ids(catalog.writers(&stream.name))),
        ("Records in the topic", records.to_string()),
        ("Last record", last.map_or_else(String::new, |time| timestamp_text(time.0))),
        ("Rows read by queries since the start", read.to_string()),
        ("Rows written by queries since the start", written.to_string()),
        ("Errors of queries that read it", errors.to_string()),
        ("Statement", stream.statement()),
    ];
    let mut table = Table::of_text(&["PROPERTY", "VALUE"]);
    rows.into_iter().for_each(|(name, value)| table.push(vec![text(name), text(value)]));
    Ok(table.into_answers())
}

/// The newest time in the last batch of each partition.
async fn last_record_time(hall: &Hall, topic: &TopicDescription) -> Result<Option<Timestamp>> {
    let places = topic.partitions.iter().filter(|partition| partition.end > partition.start);
    let places = places.map(|partition| Place {
        partition: partition.partition,
        next: Offset::new(partition.end.get() - 1).unwrap_or_default(),
        until: Some(partition.end),
    });
    let transport = std::sync::Arc::clone(hall.transport());
    let mut source = Source::new(transport, topic.name.clone(), places.collect());
    let mut newest = None;
    // One fetch for each partition at most: what it does not bring is told at the next DESCRIBE.
    for _ in 0..topic.partitions.len() {
        if source.is_done() {
            break;
        }
        let reply = source.fetch(FETCH_WAIT_MS).await?;
        for arrival in source.take(reply) {
            if let Arrival::Batch { batch, .. } = arrival {
                newest = newest.max(Some(batch.header().max_timestamp));
            }
        }
    }
    Ok(newest)
}

/// DESCRIBE FUNCTION.
///
/// # Errors
/// [`Error::UnknownFunction`].
pub fn describe_function(name: &str) -> Result<[Answer; 2]> {
    let Some(function) = sql::functions::table::find(name) else {
        let names = sql::functions::table::all().map(|function| function.name);
        let near = nearest(name, names).map(str::to_owned);
        return Err(Error::UnknownFunction { name: name.to_owned(), near });
    };
    let mut table = Table::of_text(&["PROPERTY", "VALUE"]);
    table.push(vec![text("Name"), text(function.name)]);
    table.push(vec![text("Group"), text(group_of(function))]);
    table.push(vec![text("Meaning"), text(function.doc)]);
    for call in function.calls() {
        table.push(vec![text("Call"), text(call)]);
    }
    Ok(table.into_answers())
}

fn group_of(function: &sql::functions::function::Function) -> String {
    format!("{:?}", function.group).to_uppercase()
}

/// The lines of a plan as a table.
pub fn lines(lines: Vec<String>) -> [Answer; 2] {
    let mut table = Table::of_text(&["PLAN"]);
    lines.into_iter().for_each(|line| table.push(vec![text(line)]));
    table.into_answers()
}
