//! `thalweg consume`: records out, by format string. Fetching, checking and positions are the client's.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::admin::Admin;
use client::consumer::{ConsumedRecord, Consumer, ConsumerConfig};
use client::error::Error;
use client::transport::Transport;
use futures_util::future::select_all;
use protocol::id::{Offset, Partition, TopicName};
use protocol::limits::MIB;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::Position;

use crate::args::ConsumeArgs;
use crate::context::{Context, interrupted};
use crate::exit::Failure;
use crate::text::{self, FormatString, Seen, bytes_size, counted};

/// How often a reader that wants to stop at the end looks whether it is there: offsets may end without a record, as
/// those of transaction markers do.
const END_CHECK: Duration = Duration::from_millis(50);

/// A broker that cannot be reached for so long ends the command.
const GIVE_UP: Duration = Duration::from_secs(15);
/// Bytes that all readers together read ahead.
const READ_AHEAD_BYTES: usize = 32 * MIB;

/// Reads until a limit, the end, Ctrl-C or a closed pipe.
pub(crate) async fn run(args: ConsumeArgs, context: &Context) -> Result<(), Failure> {
    let form = RecordForm::choose(args.format.as_deref(), context.output.is_json())?;
    let begun = Instant::now();
    let mut reading = Reading { form, args, context, seen: 0, seen_bytes: 0 };
    let end = tokio::select! {
        biased;
        () = interrupted() => Err(Failure::Interrupted),
        end = reading.read() => end,
    };
    if matches!(end, Ok(()) | Err(Failure::Interrupted)) {
        reading.summarize(begun.elapsed());
    }
    end
}

/// The consumers of the command: one for all partitions; or one for each, so that it is known where damage was met
/// and only that partition steps over it.
#[derive(Debug)]
struct Readers(Vec<Reader>);

#[derive(Debug)]
struct Reader {
    consumer: Consumer,
    /// The only partition that it reads, where it is one.
    partition: Option<Partition>,
}

impl Readers {
    async fn open(
        transport: Arc<dyn Transport>,
        args: &ConsumeArgs,
        at: Position,
    ) -> Result<Self, Failure> {
        let partitions = match args.partition {
            None if args.skip_damaged => {
                let topic = Admin::new(transport.clone()).describe_topic(&args.topic).await?;
                topic.partitions.iter().map(|found| Some(found.partition)).collect()
            }
            given => vec![given],
        };
        let config = ConsumerConfig::default()
            .give_up(GIVE_UP)
            .buffer_bytes(READ_AHEAD_BYTES / partitions.len().max(1));
        let mut readers = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let mut consumer = Consumer::new(transport.clone(), config.clone());
            consumer.assign(&args.topic, partition, at).await?;
            readers.push(Reader { consumer, partition });
        }
        Ok(Self(readers))
    }

    /// The ends of all partitions now. A place behind an end is refused: nothing would ever be read there.
    async fn ends(&self) -> Result<Ends, Failure> {
        let mut ends = Vec::new();
        for reader in &self.0 {
            ends.extend(reader.consumer.ends().await?);
        }
        for (topic, partition, end) in &ends {
            if let Some(position) = self.position(topic, *partition).filter(|at| at > end) {
                let message = format!(
                    "topic {topic}, partition {partition}: offset {position} lies behind the end, {end}"
                );
                return Err(Refusal::new(Outcome::OffsetOutOfRange, message)
                    .resume_at(*end)
                    .into());
            }
        }
        Ok(Ends(ends))
    }

    /// The next records of any reader, or its error with its number. May be cancelled: nothing is lost.
    async fn next_batch(&mut self) -> (usize, Result<Vec<ConsumedRecord>, Error>) {
        let readers = self.0.iter_mut();
        let batches = readers.map(|reader| Box::pin(reader.consumer.next_batch()));
        let (batch, index, _) = select_all(batches).await;
        (index, batch)
    }

    fn position(&self, topic: &TopicName, partition: Partition) -> Option<Offset> {
        self.0.iter().find_map(|reader| reader.consumer.position(topic, partition))
    }

    /// Goes on behind damage that a reader met.
    async fn step_over(
        &mut self,
        index: usize,
        topic: &TopicName,
        error: Error,
    ) -> Result<(), Failure> {
        let place = self.0.get_mut(index).and_then(|reader| {
            let partition = reader.partition?;
            let position = reader.consumer.position(topic, partition)?;
            let resume_at = error.resume_at().filter(|resume_at| *resume_at > position)?;
            Some((&mut reader.consumer, partition, resume_at))
        });
        match place {
            Some((consumer, partition, resume_at)) => {
                Ok(consumer.seek(topic, partition, Position::Offset(resume_at)).await?)
            }
            // Nothing says where to go on, or it would be where we stand.
            None => Err(error.into()),
        }
    }
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
    form: RecordForm,
    args: ConsumeArgs,
    context: &'a Context,
    seen: u64,
    seen_bytes: u64,
}

impl Reading<'_> {
    /// May be cancelled: what was printed was printed whole.
    async fn read(&mut self) -> Result<(), Failure> {
        let at = self.args.from.resolve(self.context.now());
        let mut readers = Readers::open(self.context.transport()?, &self.args, at).await?;
        let ends = if self.args.exit_at_end { Some(readers.ends().await?) } else { None };
        let mut buffer = Vec::new();
        let mut end_check = tokio::time::interval(END_CHECK);
        while !self.is_done(&readers, ends.as_ref()) {
            let (index, batch) = tokio::select! {
                biased;
                next = readers.next_batch() => next,
                _ = end_check.tick(), if ends.is_some() => continue,
            };
            match batch {
                Ok(records) => {
                    buffer.clear();
                    for record in &records {
                        self.take(record, ends.as_ref(), &mut buffer);
                    }
                    self.context.output.bytes(&buffer)?;
                }
                Err(error) if self.args.skip_damaged && error.outcome() == Outcome::DamagedData => {
                    self.context.output.warning(error.message());
                    readers.step_over(index, &self.args.topic, error).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn is_done(&self, readers: &Readers, ends: Option<&Ends>) -> bool {
        let is_at_end =
            |ends: &Ends| ends.are_reached(|topic, partition| readers.position(topic, partition));
        self.has_enough() || ends.is_some_and(is_at_end)
    }

    fn has_enough(&self) -> bool {
        self.args.limit.is_some_and(|limit| self.seen >= limit)
    }

    /// Writes a record that is still wanted.
    fn take(&mut self, record: &ConsumedRecord, ends: Option<&Ends>, buffer: &mut Vec<u8>) {
        if self.has_enough() || ends.is_some_and(|ends| !ends.cover(record)) {
            return;
        }
        let before = buffer.len();
        self.form.write(buffer, &seen(record));
        self.seen += 1;
        self.seen_bytes += u64::try_from(buffer.len() - before).unwrap_or(u64::MAX);
    }

    fn summarize(&self, took: Duration) {
        self.context.output.note(&format!(
            "{} read from {} ({} written) in {:.2} s",
            counted(self.seen, "record"),
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
    use clap::Parser;
    use client::fake::FakeBroker;
    use client::producer::{Producer, ProducerConfig};
    use protocol::record::Record;

    use super::*;
    use crate::args::{Args, Command};

    fn args(flags: &str) -> ConsumeArgs {
        let line = format!("thalweg consume t {flags}");
        match Args::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Consume(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn offset(offset: i64) -> Offset {
        Offset::new(offset).unwrap()
    }

    /// Two partitions with ten records each, every record in a batch of its own.
    async fn broker() -> Arc<FakeBroker> {
        let broker = FakeBroker::with_topic("t", 2);
        let producer = Producer::new(broker.clone(), ProducerConfig::default());
        for number in 0..10 {
            for partition in Partition::all(2) {
                let record = Record::of_value(number.to_string());
                let topic = "t".parse().unwrap();
                producer.send(&topic, Some(partition), record).await.unwrap().await.unwrap();
            }
        }
        broker
    }

    /// Reads to the end, stepping over damage; gives the offsets of each partition and the number of steps.
    async fn read(mut readers: Readers) -> Result<([Vec<i64>; 2], usize), Failure> {
        let topic: TopicName = "t".parse().unwrap();
        let ends = readers.ends().await?;
        let mut found = [Vec::new(), Vec::new()];
        let mut steps = 0;
        while !ends.are_reached(|topic, partition| readers.position(topic, partition)) {
            match readers.next_batch().await {
                (_, Ok(records)) => {
                    for record in records {
                        found[record.partition.get() as usize].push(record.offset.get());
                    }
                }
                (index, Err(error)) => {
                    assert_eq!(error.outcome(), Outcome::DamagedData);
                    readers.step_over(index, &topic, error).await?;
                    steps += 1;
                }
            }
        }
        Ok((found, steps))
    }

    #[tokio::test]
    async fn only_the_damaged_records_are_left_out() {
        let broker = broker().await;
        broker.damage(&"t".parse().unwrap(), Partition::new(1).unwrap(), offset(4));
        let args = args("--skip-damaged");
        let readers = Readers::open(broker, &args, Position::Earliest).await.unwrap();
        assert_eq!(readers.0.len(), 2);
        let (found, steps) = read(readers).await.unwrap();
        assert_eq!(found[0], (0..10).collect::<Vec<_>>());
        assert_eq!(found[1], [0, 1, 2, 3, 5, 6, 7, 8, 9]);
        assert_eq!(steps, 1);
    }

    #[tokio::test]
    async fn one_consumer_reads_all_partitions_and_stops_at_damage() {
        let broker = broker().await;
        let readers = Readers::open(broker.clone(), &args(""), Position::Earliest).await.unwrap();
        assert_eq!(readers.0.len(), 1);
        let (found, _) = read(readers).await.unwrap();
        assert_eq!(found.map(|offsets| offsets.len()), [10, 10]);
        broker.damage(&"t".parse().unwrap(), Partition::ZERO, offset(4));
        let readers = Readers::open(broker, &args(""), Position::Earliest).await.unwrap();
        let refused = read(readers).await.unwrap_err();
        assert_eq!(refused.refusal().unwrap().outcome, Outcome::DamagedData);
    }

    #[tokio::test]
    async fn a_place_behind_the_end_is_refused() {
        let at = Position::Offset(offset(11));
        let readers = Readers::open(broker().await, &args("-e"), at).await.unwrap();
        let refused = readers.ends().await.unwrap_err();
        assert_eq!(refused.refusal().unwrap().outcome, Outcome::OffsetOutOfRange);
    }

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
