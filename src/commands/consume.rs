//! `thalweg consume`: records out, by format string. Fetching, checking and positions are the client's.

use std::pin::pin;
use std::str::FromStr;
use std::time::{Duration, Instant};

use client::consumer::{ConsumedRecord, Consumer, ConsumerConfig};
use protocol::id::{Offset, Partition, TopicName};
use protocol::outcome::Outcome;
use protocol::verbs::Position;

use crate::args::ConsumeArgs;
use crate::context::{Context, interrupted};
use crate::exit::Failure;
use crate::text::{self, FormatString, Seen, bytes_size, count};

/// How often a reader that wants to stop at the end looks whether it is there: offsets may end without a record, as
/// those of transaction markers do.
const END_CHECK: Duration = Duration::from_millis(50);

/// Reads until a limit, the end, Ctrl-C or a closed pipe.
pub(crate) async fn run(args: ConsumeArgs, context: &Context) -> Result<(), Failure> {
    let form = RecordForm::choose(args.format.as_deref(), context.output.is_json())?;
    let mut consumer = Consumer::new(context.transport()?, ConsumerConfig::default());
    consumer.assign(&args.topic, args.partition, args.from.resolve(context.now())).await?;
    let ends = if args.exit_at_end { Some(Ends(consumer.ends().await?)) } else { None };
    let mut reading = Reading { consumer, form, ends, args, context, seen: 0, seen_bytes: 0 };
    let begun = Instant::now();
    let end = tokio::select! {
        biased;
        () = interrupted() => Err(Failure::Interrupted),
        end = reading.read() => end,
    };
    if !matches!(end, Err(Failure::OutputClosed)) {
        reading.summarize(begun.elapsed());
    }
    end
}

/// The ends of the partitions when reading began.
#[derive(Debug)]
struct Ends(Vec<(TopicName, Partition, Offset)>);

impl Ends {
    /// True for what was there when reading began.
    fn cover(&self, record: &ConsumedRecord) -> bool {
        self.0.iter().any(|(topic, partition, end)| {
            *topic == record.topic && *partition == record.partition && record.offset < *end
        })
    }

    fn are_reached(&self, position: impl Fn(&TopicName, Partition) -> Option<Offset>) -> bool {
        self.0.iter().all(|(topic, partition, end)| {
            position(topic, *partition).is_some_and(|position| position >= *end)
        })
    }
}

struct Reading<'a> {
    consumer: Consumer,
    form: RecordForm,
    ends: Option<Ends>,
    args: ConsumeArgs,
    context: &'a Context,
    seen: u64,
    seen_bytes: u64,
}

impl Reading<'_> {
    /// May be cancelled: what was printed was printed whole.
    async fn read(&mut self) -> Result<(), Failure> {
        let mut buffer = Vec::new();
        let mut end_check = pin!(tokio::time::interval(END_CHECK));
        while !self.is_done() {
            let batch = tokio::select! {
                biased;
                batch = self.consumer.next_batch() => batch,
                _ = end_check.tick(), if self.ends.is_some() => continue,
            };
            match batch {
                Ok(records) => {
                    buffer.clear();
                    for record in &records {
                        self.take(record, &mut buffer);
                    }
                    self.context.output.bytes(&buffer)?;
                }
                Err(error) => self.step_over(error).await?,
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let is_enough = self.args.limit.is_some_and(|limit| self.seen >= limit);
        let is_at_end = self.ends.as_ref().is_some_and(|ends| {
            ends.are_reached(|topic, partition| self.consumer.position(topic, partition))
        });
        is_enough || is_at_end
    }

    /// Writes a record that is still wanted.
    fn take(&mut self, record: &ConsumedRecord, buffer: &mut Vec<u8>) {
        let is_enough = self.args.limit.is_some_and(|limit| self.seen >= limit);
        let is_later = self.ends.as_ref().is_some_and(|ends| !ends.cover(record));
        if is_enough || is_later {
            return;
        }
        let before = buffer.len();
        self.form.write(buffer, &seen(record));
        self.seen += 1;
        self.seen_bytes += u64::try_from(buffer.len() - before).unwrap_or(u64::MAX);
    }

    /// Goes on behind damage, where that was asked for; any other error ends the reading.
    async fn step_over(&mut self, error: client::error::Error) -> Result<(), Failure> {
        todo_resolve(error)
    }

    fn summarize(&self, took: Duration) {
        self.context.output.note(&format!(
            "{} records read from {} ({} written) in {:.2} s",
            count(self.seen),
            self.args.topic,
            bytes_size(self.seen_bytes),
            took.as_secs_f64(),
        ));
    }
}

fn seen(record: &ConsumedRecord) -> Seen<'_> {
    Seen {
        topic: record.topic.as_str(),
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &record.headers,
    }
}

/// How a record is written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RecordForm {
    Text,
    Json,
    Raw,
    Format(FormatString),
}

impl RecordForm {
    /// The form asked for; without one, what suits the reader of the output.
    fn choose(given: Option<&str>, for_programs: bool) -> Result<Self, Failure> {
        match given {
            None if for_programs => Ok(Self::Json),
            None => Ok(Self::Text),
            Some(given) => given.parse().map_err(|message| Failure::Usage {
                message,
                advice: "`thalweg consume --help` shows every form",
            }),
        }
    }

    fn write(&self, output: &mut Vec<u8>, record: &Seen<'_>) {
        match self {
            Self::Text => {
                output.extend_from_slice(record.value.unwrap_or_default());
                output.push(b'\n');
            }
            Self::Raw => output.extend_from_slice(record.value.unwrap_or_default()),
            Self::Json => text::write_line(output, record),
            Self::Format(format) => format.write(output, record),
        }
    }
}

impl FromStr for RecordForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "raw" => Ok(Self::Raw),
            format if format.contains(['%', '\\']) => format
                .parse()
                .map(Self::Format)
                .map_err(|error| format!("the format string is not valid: {error}")),
            other => Err(format!(
                "{other:?} is no form of a record: text, json, raw or a format string with % signs is expected"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: &str, value: Option<&[u8]>) -> String {
        let record = Seen {
            topic: "t",
            partition: Partition::ZERO,
            offset: Offset::ZERO,
            timestamp: protocol::id::Timestamp(5),
            key: Some(b"k"),
            value,
            headers: &[],
        };
        let mut output = Vec::new();
        RecordForm::choose(Some(form), false).unwrap().write(&mut output, &record);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn every_form() {
        assert_eq!(written("text", Some(b"v")), "v\n");
        assert_eq!(written("text", None), "\n");
        assert_eq!(written("raw", Some(b"v")), "v");
        assert_eq!(written("%k=%s;", Some(b"v")), "k=v;");
        assert_eq!(
            written("json", None),
            "{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"timestamp\":5,\"key\":\"k\",\"value\":null,\"headers\":[]}\n"
        );
    }

    #[test]
    fn the_form_suits_the_reader_unless_one_is_given() {
        assert_eq!(RecordForm::choose(None, true).unwrap(), RecordForm::Json);
        assert_eq!(RecordForm::choose(None, false).unwrap(), RecordForm::Text);
        assert_eq!(RecordForm::choose(Some("raw"), true).unwrap(), RecordForm::Raw);
        for bad in ["yaml", "", "%q"] {
            let refused = RecordForm::choose(Some(bad), false);
            assert!(matches!(refused, Err(Failure::Usage { .. })), "{bad}");
        }
    }

    #[test]
    fn the_end_is_where_it_was_when_reading_began() {
        let topic: TopicName = "t".parse().unwrap();
        let offset = |offset| Offset::new(offset).unwrap();
        let ends = Ends(vec![(topic.clone(), Partition::ZERO, offset(2))]);
        let record = |at| ConsumedRecord {
            topic: topic.clone(),
            partition: Partition::ZERO,
            offset: offset(at),
            timestamp: protocol::id::Timestamp(0),
            key: None,
            value: None,
            headers: Vec::new(),
        };
        assert!(ends.cover(&record(1)));
        assert!(!ends.cover(&record(2)));
        assert!(!ends.are_reached(|_, _| None));
        assert!(!ends.are_reached(|_, _| Some(offset(1))));
        assert!(ends.are_reached(|_, _| Some(offset(2))));
        assert!(Ends(Vec::new()).are_reached(|_, _| None));
    }
}
