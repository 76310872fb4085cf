//! How a stored query becomes one that can be started: its statement a plan, its records checkpoints, its source tasks.

use std::borrow::Borrow;
use std::sync::Arc;

use protocol::id::Partition;
use protocol::verbs::{Position, TopicDescription};
use sql::ast::Statement;

use crate::catalog::{Catalog, PersistentQuery, parse_one};
use crate::error::{Error, Result};
use crate::flow::running::Launch;
use crate::flow::sink::Sink;
use crate::flow::spec::{Services, TaskSpec};
use crate::plan::build::{plan_insert, plan_records};
use crate::plan::declare::Stream;
use crate::plan::logical::Plan;
use crate::stored::Stored;

/// What a stored query computes, and where that goes.
///
/// # Errors
/// When its statement does not fit the streams any more.
pub fn plan_of(query: &PersistentQuery, catalog: &Catalog) -> Result<(Plan, Stream)> {
    let sink = catalog.stream(&query.sink)?.clone();
    let plan = match parse_one(&query.statement)? {
        Statement::CreateAs(create) => {
            let source = catalog.stream(create.query.from.name.as_str())?;
            plan_records(&create.query, source)?.plan
        }
        Statement::InsertSelect { query, .. } => {
            plan_insert(&query, catalog.stream(query.from.name.as_str())?, &sink)?.plan
        }
        _ => return Err(Error::Internal(format!("the query {} is no SELECT", query.id))),
    };
    Ok((plan, sink))
}

/// The tasks of a query, one for each partition of its source.
pub fn specs(
    query: &PersistentQuery,
    plan: Plan,
    sink: impl Borrow<Stream>,
    partitions: u32,
) -> Vec<TaskSpec> {
    let sink = sink.borrow();
    let sink = Arc::new(Sink { topic: sink.topic.clone(), layout: sink.layout.clone() });
    let (plan, id): (Arc<Plan>, Arc<str>) = (Arc::new(plan), query.id.as_str().into());
    let spec = |partition| TaskSpec {
        query: Arc::clone(&id),
        plan: Arc::clone(&plan),
        sink: Arc::clone(&sink),
        partition,
    };
    Partition::all(partitions).map(spec).collect()
}

/// What is needed to start a query where its checkpoints stand. A partition of the source without a checkpoint was
/// added after the query was made: it is read from its first record on, and that is written down here.
///
/// # Errors
/// When the statement does not fit the streams any more, a checkpoint cannot be known, or what the broker says.
///
/// # After an error
/// First checkpoints may have been written; they are as good the next time.
pub async fn prepare(
    services: &Services,
    query: &PersistentQuery,
    catalog: &Catalog,
    stored: &Stored,
) -> Result<Launch> {
    let transport = &*services.transport;
    let (plan, sink) = plan_of(query, catalog)?;
    let source = transport.describe_topic(plan.scan().topic.clone()).await?;
    let described = transport.describe_topic(sink.topic.clone()).await?;
    let mut tasks = Vec::new();
    let mut lanes = partition_count(&described);
    for spec in specs(query, plan, sink, partition_count(&source)) {
        let checkpoint = match stored.find(&spec)? {
            Some(checkpoint) => {
                lanes = u32::try_from(checkpoint.lanes.len()).unwrap_or(lanes);
                checkpoint.clone()
            }
            None => {
                let earliest = Position::Earliest;
                let first = spec.first_checkpoint(transport, source.id, earliest, lanes).await?;
                services.checkpoints.append(vec![spec.record(&first)]).await?;
                first
            }
        };
        tasks.push((spec, checkpoint));
    }
    Ok(Launch { source: source.name, tasks })
}

/// How many partitions a topic has.
pub fn partition_count(topic: &TopicDescription) -> u32 {
    u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX)
}
