//! Statements on persistent queries: made to write a stream that is there, paused, resumed, ended.

use protocol::verbs::Position;
use sql::ast::{Query, QueryTarget};

use crate::answer::Answer;
use crate::circle::check_circle;
use crate::error::Result;
use crate::hall::{Hall, NewQuery};
use crate::plan::build::plan_insert;
use crate::plan::declare::SourceProperties;
use crate::session::Session;
use crate::topics::check_not_internal;

/// INSERT INTO name SELECT: a query that writes a stream which is there.
pub(super) async fn insert_select(
    hall: &Hall,
    session: &Session,
    target: &str,
    properties: SourceProperties,
    query: &Query,
    statement: String,
) -> Result<Vec<Answer>> {
    let start = session.start(Position::Earliest)?;
    let mut changing = hall.change_lock().await?;
    let catalog = hall.catalog();
    let sink = catalog.stream(target)?;
    check_not_internal(&sink.topic)?;
    let source = catalog.stream(query.from.name.as_str())?;
    let selected = plan_insert(query, source, sink)?;
    check_circle(&catalog, &source.topic, &sink.topic)?;
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

/// TERMINATE
pub(super) async fn terminate(hall: &Hall, target: &QueryTarget) -> Result<Answer> {
    let mut changing = hall.change_lock().await?;
    let ids = targets(hall, target)?;
    if !ids.is_empty() {
        hall.terminate(&mut changing, &ids).await?;
    }
    Ok(Answer::Done(told("Terminated", &ids)))
}

/// PAUSE and RESUME
pub(super) async fn pause(hall: &Hall, target: &QueryTarget, paused: bool) -> Result<Answer> {
    let mut changing = hall.change_lock().await?;
    let ids = targets(hall, target)?;
    if !ids.is_empty() {
        hall.pause(&mut changing, &ids, paused).await?;
    }
    Ok(Answer::Done(told(if paused { "Paused" } else { "Resumed" }, &ids)))
}

/// The ids of the queries that are meant.
fn targets(hall: &Hall, target: &QueryTarget) -> Result<Vec<String>> {
    let catalog = hall.catalog();
    match target {
        QueryTarget::All => Ok(catalog.queries().map(|query| query.id.clone()).collect()),
        QueryTarget::Id(id) => Ok(vec![catalog.query(id.as_str())?.id.clone()]),
    }
}

fn told(what: &str, ids: &[String]) -> String {
    match ids {
        [] => "There are no queries".to_owned(),
        [id] => format!("{what} query {id}"),
        ids => format!("{what} queries {}", ids.join(", ")),
    }
}
