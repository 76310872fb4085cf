//! How a stored query becomes one that can be started: its statement a plan, its records checkpoints, its source tasks.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::id::{Partition, TopicName};
use protocol::record::Record;
use protocol::verbs::{Position, TopicDescription};
use sql::ast::Statement;

use crate::catalog::{Catalog, PersistentQuery, parse_one};
use crate::error::{Error, Result};
use crate::flow::checkpoint::Checkpoint;
use crate::flow::running::Launch;
use crate::flow::sink::Sink;
use crate::flow::spec::{Services, TaskSpec};
use crate::journal::read_journal;
use crate::plan::build::{plan_insert, plan_records};
use crate::plan::declare::Stream;
use crate::plan::logical::Plan;

/// The topic of the tasks' checkpoints.
pub const CHECKPOINTS_TOPIC: &str = "_thalweg_sql_checkpoints";

/// The newest checkpoint of every task by the key of its record, or why it cannot be read.
pub type Stored = BTreeMap<String, Result<Checkpoint>>;

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

/// Reads the newest checkpoint of every task. Those of queries that are no more are removed.
///
/// # Errors
/// What the broker says.
pub async fn read_checkpoints(services: &Services, catalog: &Catalog) -> Result<Stored> {
    let mut stored: Stored = BTreeMap::new();
    read_journal(&services.transport, &own_topic(CHECKPOINTS_TOPIC), None, |_, record| {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let Some(value) = &record.value else {
            stored.remove(&key);
            return;
        };
        let read = Checkpoint::decode(value).map_err(|error| Error::Stored {
            topic: CHECKPOINTS_TOPIC,
            key: key.clone(),
            cause: error.to_string(),
        });
        // A late one may stand behind its successor.
        let older = match (stored.get(&key), &read) {
            (Some(Ok(known)), Ok(read)) => read.serial < known.serial,
            _ => false,
        };
        if !older {
            stored.insert(key, read);
        }
    })
    .await?;
    let is_orphan =
        |key: &&String| key.rsplit_once('/').is_none_or(|(query, _)| catalog.query(query).is_err());
    let orphans: Vec<_> = stored.keys().filter(is_orphan).map(|key| tombstone(key)).collect();
    if !orphans.is_empty() {
        services.checkpoints.append(orphans).await?;
    }
    Ok(stored)
}

/// What is needed to start a query where its checkpoints stand. A partition of the source without a checkpoint was
/// added after the query was made: it is read from its first record on, and that is written down here.
///
/// # Errors
/// When the statement does not fit the streams any more, a checkpoint cannot be read, or what the broker says.
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
        let checkpoint = match stored.get(&Checkpoint::key(&spec.query, spec.partition)) {
            Some(Ok(checkpoint)) => {
                lanes = u32::try_from(checkpoint.lanes.len()).unwrap_or(lanes);
                checkpoint.clone()
            }
            Some(Err(error)) => return Err(error.clone()),
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

/// The record that takes the record of a key away.
pub fn tombstone(key: &str) -> Record {
    Record { key: Some(key.to_owned().into()), ..Record::default() }
}

/// The name of one of the engine's own topics.
pub fn own_topic(name: &str) -> TopicName {
    name.parse().expect("the names of our own topics are within the rules of topic names")
}
