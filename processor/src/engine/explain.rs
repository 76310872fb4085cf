//! EXPLAIN: the plan of a statement or of a query that runs, in words, with where its rows go.

use sql::Place;
use sql::ast::{Query, Statement};

use super::streams::{derived_stream, refuse_table};
use crate::error::{Error, Result};
use crate::hall::Hall;
use crate::launch::plan_of;
use crate::plan::build::{plan_insert, plan_records, plan_rows};
use crate::plan::declare::{SourceProperties, Stream};
use crate::plan::explain::explain;
use crate::session::Session;

/// EXPLAIN of a statement
pub(super) fn explain_statement(
    hall: &Hall,
    session: &Session,
    statement: &Statement,
    place: Place,
) -> Result<Vec<String>> {
    let catalog = hall.catalog();
    let source = |query: &Query| catalog.stream(query.from.name.as_str());
    match statement {
        Statement::Query(query) => Ok(explain(&plan_rows(query, source(query)?)?.plan)),
        Statement::CreateAs(create) => {
            refuse_table(create.kind, "CREATE TABLE AS SELECT", place)?;
            let properties = SourceProperties::read(&create.with)?;
            let from = source(&create.query)?;
            let plan = plan_records(&create.query, from)?.plan;
            let name = create.name.as_str();
            let sink = derived_stream(session, name, &properties, plan.schema(), from)?;
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

/// EXPLAIN of a persistent query.
pub(super) fn explain_query(hall: &Hall, id: &str) -> Result<Vec<String>> {
    let catalog = hall.catalog();
    let (plan, sink) = plan_of(catalog.query(id)?, &catalog)?;
    Ok(with_sink(explain(&plan), &sink))
}

fn with_sink(plan: Vec<String>, sink: &Stream) -> Vec<String> {
    let (key, value) = (sink.layout.key.format, sink.layout.value.format);
    let first = format!("WRITE {} (topic {}, key {key}, value {value})", sink.name, sink.topic);
    std::iter::once(first).chain(plan.into_iter().map(|line| format!("  {line}"))).collect()
}
