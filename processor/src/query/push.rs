//! A SELECT for one caller: rows as they come, or those that are there, until its LIMIT, its end, or nobody listens.
//!
//! Nothing is kept and nothing waits unbounded: rows go through a bounded line to the caller, and the next fetch is made
//! when the caller has taken them.

use std::sync::Arc;
use std::time::Duration;

use client::transport::Transport;
use protocol::id::{Offset, Partition, Timestamp};
use protocol::verbs::Position;
use sql::Rows;
use tokio::time::{Instant, sleep};

use crate::answer::{Answer, AnswerColumn, Answers, Gone};
use crate::error::{Error, Result};
use crate::flow::graph::Graph;
use crate::flow::source::{
    Arrival, FETCH_WAIT_MS, PARTITIONS_INTERVAL, Place, Source, find_positions,
};
use crate::format::rows::RowsReader;
use crate::frontier::Frontier;
use crate::operators::operator::Output;
use crate::plan::logical::Plan;

/// Rows in one answer.
const ROWS_PER_ANSWER: usize = 500;

/// Waits after a failed read, which is tried again for ever: the caller can end it.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Which rows are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// From where.
    pub start: Position,
    /// Only what is there now.
    pub finite: bool,
    /// At most so many.
    pub limit: Option<u64>,
}

/// How a query of a caller has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All wanted rows were sent.
    Complete,
    /// LIMIT was reached.
    Limit,
    /// Nobody listens any more.
    Gone,
}

/// The places to read a topic from, and up to where.
///
/// # Errors
/// What the broker says.
pub async fn open_source(
    transport: &Arc<dyn Transport>,
    topic: &protocol::id::TopicName,
    start: Position,
    finite: bool,
) -> Result<Source> {
    let described = transport.describe_topic(topic.clone()).await?;
    let count = u32::try_from(described.partitions.len()).unwrap_or(u32::MAX);
    let starts = find_positions(&**transport, topic, count, start).await?;
    let ends: Vec<Option<Offset>> = match finite {
        true => {
            let ends = find_positions(&**transport, topic, count, Position::Latest).await?;
            ends.into_iter().map(Some).collect()
        }
        false => vec![None; starts.len()],
    };
    let places = Partition::all(count).zip(starts).zip(ends);
    let places = places.map(|((partition, next), until)| Place { partition, next, until });
    Ok(Source::new(Arc::clone(transport), topic.clone(), places.collect()))
}

/// Carries the SELECT out. Cancelled by dropping the other end of `answers`.
///
/// # Errors
/// When the source cannot be opened or its rows do not fit the plan; reading itself is tried again.
pub async fn push(
    transport: &Arc<dyn Transport>,
    plan: &Plan,
    wanted: Wanted,
    answers: &Answers,
) -> Result<Ended> {
    let columns = plan.schema().columns().map(|(_, column)| AnswerColumn {
        name: column.name.clone(),
        sql_type: column.sql_type.clone(),
    });
    let scan = plan.scan();
    let source = open_source(transport, &scan.topic, wanted.start, wanted.finite).await?;
    let mut push = Push {
        source,
        reader: RowsReader::new(scan.layout.clone()),
        graph: Graph::new(plan),
        frontier: Frontier::START,
        left: wanted.limit,
        follows: !wanted.finite,
        look_at: Instant::now() + PARTITIONS_INTERVAL,
        answers,
        told_fault: false,
    };
    if answers.send(Answer::Columns(columns.collect())).await.is_err() {
        return Ok(Ended::Gone);
    }
    tokio::select! {
        ended = push.run() => ended,
        () = answers.gone() => Ok(Ended::Gone),
    }
}

struct Push<'a> {
    source: Source,
    reader: RowsReader,
    graph: Graph,
    frontier: Frontier,
    /// Rows that LIMIT still allows.
    left: Option<u64>,
    /// Whether new partitions are wanted too.
    follows: bool,
    /// When to look for them.
    look_at: Instant,
    answers: &'a Answers,
    told_fault: bool,
}

impl Push<'_> {
    async fn run(&mut self) -> Result<Ended> {
        let mut wait = BACKOFF.0;
        loop {
            if self.left == Some(0) {
                return Ok(Ended::Limit);
            }
            if self.source.is_done() {
                return Ok(Ended::Complete);
            }
            if self.follows && self.look_at <= Instant::now() {
                // What cannot be asked now is asked the next time; a broker that is gone shows in the fetch.
                let _ = self.source.add_new_partitions().await;
                self.look_at = Instant::now() + PARTITIONS_INTERVAL;
            }
            let mut output = Output::default();
            match self.source.fetch(FETCH_WAIT_MS).await {
                Ok(reply) => {
                    let mut failed = None;
                    for arrival in self.source.take(reply) {
                        if let Some(cause) = self.arrived(arrival, &mut output).await? {
                            failed = Some(cause);
                        }
                    }
                    match failed {
                        Some(cause) => self.failed(cause, &mut wait).await,
                        None => wait = BACKOFF.0,
                    }
                }
                Err(error) if error.may_retry() => self.failed(error.to_string(), &mut wait).await,
                Err(error) => return Err(error.into()),
            }
            if self.send(output).await.is_err() {
                return Ok(Ended::Gone);
            }
        }
    }

    /// Gives why the partition could not be read, if it could not.
    async fn arrived(&mut self, arrival: Arrival, output: &mut Output) -> Result<Option<String>> {
        match arrival {
            Arrival::Batch { partition, batch, from, until } => {
                let reading = self.reader.read(partition, &batch, from, until);
                if let Some(bad) = reading.bad.first() {
                    let place = format!("partition {partition}, offset {}", bad.offset);
                    self.tell_fault(&place, &bad.cause.to_string()).await;
                }
                for time in reading.rows.times().values() {
                    self.frontier.advance(Timestamp(*time));
                }
                let run = self.graph.run(reading.rows, self.frontier, output);
                run.map_err(|error| Error::Internal(error.to_string()))?;
                Ok(None)
            }
            Arrival::Gap { partition, from, to, cause } => {
                let notice = format!(
                    "partition {partition}: went on at offset {to} instead of {from}: {cause}"
                );
                // When nobody listens, the next send ends the query.
                let _ = self.answers.send(Answer::Notice(notice)).await;
                Ok(None)
            }
            Arrival::Lost { partition, cause } => {
                match self.source.seek_earliest(partition).await {
                    Ok(_) => Ok(None),
                    Err(_) => Ok(Some(cause.to_string())),
                }
            }
            Arrival::Failed(cause) if cause.outcome.may_retry() => Ok(Some(cause.to_string())),
            Arrival::Failed(cause) => Err(Error::Client(cause.into())),
        }
    }

    async fn failed(&mut self, cause: String, wait: &mut Duration) {
        if *wait == BACKOFF.0 {
            // When nobody listens, the next send ends the query.
            let _ =
                self.answers.send(Answer::Notice(format!("reading is tried again: {cause}"))).await;
        }
        sleep(*wait).await;
        *wait = (*wait * 2).min(BACKOFF.1);
    }

    async fn tell_fault(&mut self, place: &str, cause: &str) {
        if !std::mem::replace(&mut self.told_fault, true) {
            let notice =
                format!("a record at {place} is passed over: {cause}; further ones are not shown");
            // When nobody listens, the next send ends the query.
            let _ = self.answers.send(Answer::Notice(notice)).await;
        }
    }

    async fn send(&mut self, output: Output) -> std::result::Result<(), Gone> {
        if let Some(fault) = output.faults.first() {
            let place = format!("partition {}, offset {}", fault.partition, fault.offset);
            if !std::mem::replace(&mut self.told_fault, true) {
                let notice = format!(
                    "{place}: null, because of {}; further ones are not shown",
                    fault.cause
                );
                self.answers.send(Answer::Notice(notice)).await?;
            }
        }
        for rows in &output.rows {
            let wanted =
                self.left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
            let count = rows.len().min(wanted);
            self.left = self.left.map(|left| left.saturating_sub(count as u64));
            for start in (0..count).step_by(ROWS_PER_ANSWER) {
                let end = count.min(start + ROWS_PER_ANSWER);
                self.answers.send(Answer::Rows(values(rows, start..end))).await?;
            }
        }
        Ok(())
    }
}

fn values(rows: &Rows, range: std::ops::Range<usize>) -> Vec<Vec<sql::Value>> {
    range.map(|row| [rows.key_values(row), rows.row_values(row)].concat()).collect()
}
