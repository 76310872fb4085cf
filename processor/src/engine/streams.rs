//! Statements that make, replace and drop streams.

use protocol::verbs::Position;
use sql::Place;
use sql::ast::{ColumnDefinition, ColumnRole, CreateAs, CreateSource, SourceKind, Statement};
use sql::schema::{Column, Pseudo, Schema};

use crate::answer::Answer;
use crate::catalog::{Change, PersistentQuery, parse_one};
use crate::circle::check_circle;
use crate::error::{Error, Result};
use crate::format::table::{Codec, Format, Part};
use crate::hall::{Hall, NewQuery};
use crate::plan::build::plan_records;
use crate::plan::declare::{DefaultFormats, SourceProperties, Stream};
use crate::query::insert::Inserter;
use crate::session::Session;
use crate::topics::{check_not_internal, find_or_create};

/// CREATE STREAM (columns)
pub(super) async fn create_stream(
    hall: &Hall,
    session: &Session,
    create: &CreateSource,
    place: Place,
) -> Result<Answer> {
    refuse_table(create.kind, "CREATE TABLE", place)?;
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
    for column in &create.columns {
        refuse_reserved(column.name.as_str(), column.place.0)?;
    }
    let is_key = |column: &&ColumnDefinition| column.role == ColumnRole::Key;
    let keys = create.columns.iter().filter(is_key).count();
    let defaults = session.default_formats(keys, create.columns.len() - keys)?;
    let stream = Stream::declared_by(create, &properties, defaults)?;
    find_or_create(&**hall.transport(), &stream.topic, &properties, None).await?;
    hall.change(&mut changing, vec![Change::PutStream(Box::new(stream))]).await?;
    Ok(Answer::Done(format!("Stream {name} created")))
}

/// CREATE STREAM AS SELECT: a stream, and the query that writes it.
pub(super) async fn create_as(
    hall: &Hall,
    session: &Session,
    create: &CreateAs,
    place: Place,
) -> Result<Vec<Answer>> {
    refuse_table(create.kind, "CREATE TABLE AS SELECT", place)?;
    let name = create.name.as_str();
    let properties = SourceProperties::read(&create.with)?;
    let start = session.start(Position::Earliest)?;
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
    let schema = selected.plan.schema();
    for column in schema.key().iter().chain(schema.value()) {
        refuse_reserved(&column.name, place)?;
    }
    let stream = derived_stream(session, name, &properties, schema, source)?;
    let mut answers: Vec<_> = selected.notices.into_iter().map(Answer::Notice).collect();
    check_not_internal(&stream.topic)?;
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
    check_circle(&catalog, &source.topic, &stream.topic)?;
    let described = hall.transport().describe_topic(source.topic.clone()).await?;
    let partitions = u32::try_from(described.partitions.len()).ok();
    find_or_create(&**hall.transport(), &stream.topic, &properties, partitions).await?;
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

/// DROP STREAM
pub(super) async fn drop_stream(
    hall: &Hall,
    inserter: &Inserter,
    name: &str,
    if_exists: bool,
    delete_topic: bool,
) -> Result<Answer> {
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
    if delete_topic {
        check_not_internal(&topic)?;
    }
    hall.change(&mut changing, vec![Change::DropStream(name.to_owned())]).await?;
    if delete_topic {
        hall.transport().delete_topic(topic.clone()).await?;
        inserter.forget(&topic);
        return Ok(Answer::Done(format!("Stream {name} dropped, topic {topic} deleted")));
    }
    Ok(Answer::Done(format!("Stream {name} dropped")))
}

/// The stream of a SELECT: formats as the source has them unless WITH or the session says otherwise.
pub(super) fn derived_stream(
    session: &Session,
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
    let session = session.default_formats(keys, values)?;
    let key = match source.layout.key.format {
        Format::None => session.key,
        _ => like(source.layout.key, Part::Key, keys),
    };
    let value = like(source.layout.value, Part::Value, values);
    let value = Some(session.value.unwrap_or(value));
    properties.declare(name, schema.clone(), DefaultFormats { key, value })
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
    refuse_lost_columns(&old.layout.schema, &new.layout.schema, place)?;
    Ok((*query).clone())
}

/// Rows of both forms lie in one topic, and readers know it by its old columns: the new ones may add to them.
fn refuse_lost_columns(old: &Schema, new: &Schema, place: Place) -> Result<()> {
    for (old, new) in [(old.key(), new.key()), (old.value(), new.value())] {
        let is_kept = |column: &&Column| {
            new.iter().any(|it| (&it.name, &it.sql_type) == (&column.name, &column.sql_type))
        };
        if let Some(Column { name, sql_type, .. }) = old.iter().find(|column| !is_kept(column)) {
            let what = format!(
                "CREATE OR REPLACE without the column {name} {sql_type}, which readers of the topic know: select it too, or write to another topic"
            );
            return Err(Error::Unsupported { place, what });
        }
    }
    Ok(())
}

/// A column must not hide a pseudo-column. Those that are there from before are read as they were.
fn refuse_reserved(column: &str, place: Place) -> Result<()> {
    match Pseudo::of_name(column) {
        Some(pseudo) => Err(Error::ReservedColumn { place, column: pseudo.name() }),
        None => Ok(()),
    }
}

/// Tables are not there yet.
pub(super) fn refuse_table(kind: SourceKind, what: &str, place: Place) -> Result<()> {
    match kind {
        SourceKind::Stream => Ok(()),
        SourceKind::Table => Err(Error::Unsupported { place, what: what.to_owned() }),
    }
}
