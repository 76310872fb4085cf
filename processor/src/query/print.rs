//! PRINT: the records of a topic as a person can read them, whatever is in them.

use std::sync::Arc;

use client::transport::Transport;
use protocol::batch::Batch;
use protocol::id::{Offset, Partition, TopicName};
use protocol::verbs::Position;
use sql::ast::Print;
use sql::value::{SqlType, Value, timestamp_text};
use tokio::time::{Duration, Instant, sleep};

use super::push::{Ended, open_source};
use crate::answer::{Answer, Answers, Gone, Table};
use crate::error::{Error, Result};
use crate::flow::source::{Arrival, FETCH_WAIT_MS, PARTITIONS_INTERVAL, Source};

/// The wait after a failed read.
const BACKOFF: Duration = Duration::from_millis(500);

/// What bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    Null,
    Json,
    Text,
    Bytes,
}

impl Looks {
    fn of(bytes: Option<&[u8]>) -> Self {
        let Some(bytes) = bytes else { return Self::Null };
        let readable = |c: char| !c.is_control() || matches!(c, '\t' | '\r' | '\n');
        match std::str::from_utf8(bytes) {
            Ok(text) if is_json(text) => Self::Json,
            Ok(text) if text.chars().all(readable) => Self::Text,
            _ => Self::Bytes,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Json => "JSON",
            Self::Text => "TEXT",
            Self::Bytes => "BYTES",
        }
    }

    fn show(self, bytes: Option<&[u8]>) -> Value {
        let bytes = bytes.unwrap_or_default();
        match self {
            Self::Null => Value::Null,
            Self::Json | Self::Text => Value::String(String::from_utf8_lossy(bytes).into_owned()),
            Self::Bytes => Value::String(Value::Bytes(bytes.to_vec()).to_string()),
        }
    }
}

/// Objects and arrays; a bare number or word is rather text.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Carries a PRINT out. Cancelled by dropping the other end of `answers`.
///
/// # Errors
/// When the topic is not there, or what the broker says for good.
pub async fn print(
    transport: &Arc<dyn Transport>,
    topic: &TopicName,
    print: &Print,
    answers: &Answers,
) -> Result<Ended> {
    let table = Table::new([
        ("ROWTIME", SqlType::String),
        ("PARTITION", SqlType::Int),
        ("OFFSET", SqlType::Bigint),
        ("KEY", SqlType::String),
        // The last one, since it may be of any length.
        ("VALUE", SqlType::String),
    ]);
    let [columns, _] = table.into_answers();
    let start = if print.from_beginning { Position::Earliest } else { Position::Latest };
    let source = open_source(transport, topic, start, false).await?;
    if answers.send(columns).await.is_err() {
        return Ok(Ended::Gone);
    }
    tokio::select! {
        ended = run(source, print, answers) => ended,
        () = answers.gone() => Ok(Ended::Gone),
    }
}

async fn run(mut source: Source, print: &Print, answers: &Answers) -> Result<Ended> {
    let mut printer = Printer {
        answers,
        interval: print.interval.unwrap_or(1).max(1),
        left: print.limit.unwrap_or(u64::MAX),
        seen: 0,
        scratch: Vec::new(),
    };
    let mut look_at = Instant::now() + PARTITIONS_INTERVAL;
    while printer.left > 0 {
        if look_at <= Instant::now() {
            // What cannot be asked now is asked the next time; a broker that is gone shows in the fetch.
            let _ = source.add_new_partitions().await;
            look_at = Instant::now() + PARTITIONS_INTERVAL;
        }
        let arrivals = match source.fetch(FETCH_WAIT_MS).await {
            Ok(reply) => source.take(reply),
            Err(error) if error.may_retry() => {
                sleep(BACKOFF).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for arrival in arrivals {
            match arrival {
                Arrival::Batch { partition, batch, from, .. } => {
                    if printer.batch(partition, &batch, from).await.is_err() {
                        return Ok(Ended::Gone);
                    }
                }
                // That nobody listens any more shows in the next rows.
                Arrival::Gap { cause, .. } => {
                    let _ = answers.send(Answer::Notice(cause.to_string())).await;
                }
                Arrival::Lost { partition, .. } => {
                    source.seek_earliest(partition).await?;
                }
                Arrival::Failed(cause) if cause.outcome.may_retry() => sleep(BACKOFF).await,
                Arrival::Failed(cause) => return Err(Error::Client(cause.into())),
            }
        }
    }
    Ok(Ended::Limit)
}

/// What is printed of the records that come.
struct Printer<'a> {
    answers: &'a Answers,
    /// Of so many records one is printed, the first of them.
    interval: u64,
    /// Records that may still be printed.
    left: u64,
    /// Records that have come so far.
    seen: u64,
    scratch: Vec<u8>,
}

impl Printer<'_> {
    /// Prints what is wanted of a batch; before the first record of all, what the records look like.
    async fn batch(
        &mut self,
        partition: Partition,
        batch: &Batch,
        from: Offset,
    ) -> std::result::Result<(), Gone> {
        let mut rows = Vec::new();
        let records = match batch.records(&mut self.scratch) {
            Ok(records) => records,
            Err(error) => {
                let notice = format!("partition {partition}: {error}");
                let _ = self.answers.send(Answer::Notice(notice)).await;
                return Ok(());
            }
        };
        for view in records.flatten().filter(|view| view.offset >= from) {
            let (key, value) = (Looks::of(view.key), Looks::of(view.value));
            if self.seen == 0 {
                let (key, value) = (key.name(), value.name());
                let notice = format!("key format: {key}, value format: {value}");
                self.answers.send(Answer::Notice(notice)).await?;
            }
            self.seen += 1;
            if self.left == 0 || !(self.seen - 1).is_multiple_of(self.interval) {
                continue;
            }
            self.left -= 1;
            rows.push(vec![
                Value::String(timestamp_text(view.timestamp.0)),
                Value::Int(partition.to_i32()),
                Value::Bigint(view.offset.get()),
                key.show(view.key),
                value.show(view.value),
            ]);
        }
        if rows.is_empty() { Ok(()) } else { self.answers.send(Answer::Rows(rows)).await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_look_like_what_they_are() {
        for (bytes, looks) in [
            (Some(&b"{\"a\":1}"[..]), Looks::Json),
            (Some(b"[1]"), Looks::Json),
            (Some(b"{a"), Looks::Text),
            (Some(b"42"), Looks::Text),
            (Some("grün".as_bytes()), Looks::Text),
            (Some(b""), Looks::Text),
            (Some(b"\0\0\0\x2a"), Looks::Bytes),
            (Some(b"\xff"), Looks::Bytes),
            (None, Looks::Null),
        ] {
            assert_eq!(Looks::of(bytes), looks, "{bytes:?}");
        }
        assert_eq!(Looks::Bytes.show(Some(b"\x00\x2a")), Value::String("002a".into()));
    }
}
