//! `thalweg produce`: lines in, records out. Batching, retries and placement are the client's.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::admin::Admin;
use client::producer::{Producer, ProducerConfig};
use indicatif::ProgressBar;
use protocol::id::{Partition, Timestamp};
use protocol::limits::{BATCH_BYTES_MAX, DECOMPRESSED_RATIO_MAX, MIB};
use protocol::record::{Header, Record};
use protocol::verbs::TopicDescription;
use serde::Serialize;

use crate::args::{InputFormat, ProduceArgs};
use crate::attempts::Attempts;
use crate::context::{Context, interrupted};
use crate::exit::Failure;
use crate::lines::{Chunk, Line, Lines};
use crate::pending::Pending;
use crate::text::{self, FieldError, LineError, Parsed};

/// Bytes of records that wait to be sent or acknowledged, where the records of the topic are no larger.
const BUFFER_BYTES: usize = 32 * MIB;
/// Clocks differ: only what lies so much further ahead than the topic allows is told to be too far without asking.
const CLOCKS_DIFFER_MS: i64 = 60_000;

/// Reads the input to its end and waits for every acknowledgement.
pub(crate) async fn run(args: ProduceArgs, context: &Context) -> Result<(), Failure> {
    let mut maker = Maker::new(&args)?;
    let limit = Duration::from_millis(args.timeout_ms);
    let (attempts, transport) = Attempts::watch(context.transport()?);
    // A wrong name or address is told now, not when the producer has given up trying.
    let admin = Admin::new(transport.clone());
    let described = admin.describe_topic(&args.topic);
    let topic = attempts.within(limit, |text| context.output.note(text), described).await??;
    maker.ahead_ms_max = ahead_ms_max(&topic);
    let config = ProducerConfig::default()
        .batch_bytes(usize::try_from(args.batch_bytes).unwrap_or(usize::MAX))
        .linger(Duration::from_millis(args.linger_ms))
        .compression(args.compression)
        .delivery_timeout(limit)
        .buffer_bytes(buffer_bytes(&topic));
    let producer = Producer::new(transport, config);
    let lines = Lines::open(args.file.as_deref(), BATCH_BYTES_MAX)?;
    let mut run = Run {
        maker,
        pending: Pending::new(producer, args.topic.clone()),
        progress: context.output.progress(lines.bytes),
        lines,
        skip_bad: args.skip_bad,
        skipped: 0,
        empty: 0,
        context,
        attempts,
        limit,
    };
    let begun = Instant::now();
    let end = run.read_and_send().await;
    run.progress.finish_and_clear();
    run.report(&args, context, begun.elapsed())?;
    match end {
        Ok(ended_early) => run.pending.outcome(ended_early),
        // Records that were lost weigh more than the line that stopped the input.
        Err(failure) => run.pending.outcome(false).and(Err(failure)),
    }
}

fn setting(topic: &TopicDescription, name: &str) -> Option<String> {
    let found = topic.settings.iter().find(|setting| setting.name == name);
    found.map(|setting| setting.value.clone())
}

/// How far ahead of the broker's clock a record may be; `None` where it is any, or the broker sets the time.
fn ahead_ms_max(topic: &TopicDescription) -> Option<i64> {
    if setting(topic, "message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime") {
        return None;
    }
    setting(topic, "message.timestamp.after.max.ms")?.parse().ok()
}

/// Room for the largest record that the topic may take.
fn buffer_bytes(topic: &TopicDescription) -> usize {
    let stored = setting(topic, "max.message.bytes").and_then(|bytes| bytes.parse().ok());
    let unfolded = stored.unwrap_or(0_usize).saturating_mul(DECOMPRESSED_RATIO_MAX);
    unfolded.clamp(BUFFER_BYTES, BATCH_BYTES_MAX)
}

/// What the command says when it is done.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    topic: &'a str,
    records: u64,
    bytes: u64,
    skipped_lines: u64,
    empty_lines: u64,
    unacknowledged: u64,
    seconds: f64,
}

struct Run<'a> {
    maker: Maker,
    pending: Pending,
    progress: ProgressBar,
    lines: Lines,
    skip_bad: bool,
    /// Bad lines that were left out.
    skipped: u64,
    /// Empty lines that were left out.
    empty: u64,
    context: &'a Context,
    attempts: Attempts,
    /// How long nothing may be acknowledged.
    limit: Duration,
}

impl Run<'_> {
    /// True when Ctrl-C ended it. Whatever it gives back, all answers that can be had have been counted.
    async fn read_and_send(&mut self) -> Result<bool, Failure> {
        let mut interrupt = pin!(interrupted());
        let (attempts, limit) = (self.attempts.clone(), self.limit);
        let (progress, output) = (self.progress.clone(), self.context.output);
        let say = |text: &str| progress.suspend(|| output.note(text));
        let end = tokio::select! {
            biased;
            () = &mut interrupt => Ok(true),
            end = attempts.within(limit, say, self.send_lines()) => match end {
                Ok(end) => end.map(|()| false),
                Err(refusal) => {
                    self.pending.give_up(refusal);
                    Ok(false)
                }
            },
        };
        // A second Ctrl-C ends the wait for the answers.
        tokio::select! {
            biased;
            () = interrupted() => Ok(true),
            settled = attempts.within(limit, say, self.pending.settle_all()) => {
                if let Err(refusal) = settled {
                    self.pending.give_up(refusal);
                }
                end
            }
        }
    }

    /// Until the input ends, a line is bad, or a record is refused. May be cancelled between and inside records.
    async fn send_lines(&mut self) -> Result<(), Failure> {
        while !self.pending.has_failed() {
            tokio::select! {
                biased;
                () = self.pending.settle() => {}
                chunk = self.lines.next_chunk() => match chunk? {
                    Some(chunk) => self.send_chunk(chunk).await?,
                    None => return Ok(()),
                },
            }
            self.progress.set_message(text::counted(self.pending.acknowledged(), "record"));
        }
        Ok(())
    }

    async fn send_chunk(&mut self, chunk: Chunk) -> Result<(), Failure> {
        for line in chunk.lines {
            match self.maker.make(&line, self.context.now()) {
                Ok(Some(Parsed { record, partition })) => {
                    self.pending.send(line.number, partition, record).await;
                    if self.pending.has_failed() {
                        return Ok(());
                    }
                }
                Ok(None) => self.empty += 1,
                Err(_) if self.skip_bad => self.skipped += 1,
                Err(bad) => {
                    return Err(Failure::Input {
                        place: self.lines.place.clone(),
                        line: line.number,
                        cause: bad.to_string(),
                        advice: "the lines before it are written; correct it, or leave such lines out with --skip-bad",
                    });
                }
            }
        }
        self.progress.inc(chunk.bytes_read);
        Ok(())
    }

    fn report(&self, args: &ProduceArgs, context: &Context, took: Duration) -> Result<(), Failure> {
        let summary = Summary {
            topic: args.topic.as_str(),
            records: self.pending.acknowledged(),
            bytes: self.pending.acknowledged_bytes(),
            skipped_lines: self.skipped,
            empty_lines: self.empty,
            unacknowledged: self.pending.unacknowledged(),
            seconds: took.as_secs_f64(),
        };
        if context.output.is_json() {
            return context.output.json(&summary);
        }
        context.output.note(&summary.to_string());
        Ok(())
    }
}

impl std::fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per_second = |number: u64| (number as f64 / self.seconds.max(0.001)) as u64;
        write!(
            f,
            "{} ({}) written to {} in {:.2} s: {} records/s, {}/s",
            text::counted(self.records, "record"),
            text::bytes_size(self.bytes),
            self.topic,
            self.seconds,
            text::count(per_second(self.records)),
            text::bytes_size(per_second(self.bytes)),
        )?;
        for (lines, kind) in [(self.skipped_lines, "bad line"), (self.empty_lines, "empty line")] {
            if lines > 0 {
                write!(f, "; {} left out", text::counted(lines, kind))?;
            }
        }
        Ok(())
    }
}

/// Makes records of lines.
#[derive(Debug)]
struct Maker {
    key: KeyFrom,
    headers: Vec<Header>,
    partition: Option<Partition>,
    keep_empty: bool,
    /// How many milliseconds ahead of the clock the topic lets a record be, where that is known.
    ahead_ms_max: Option<i64>,
}

/// Where the key of a line is.
#[derive(Debug)]
enum KeyFrom {
    /// Lines are values without a key.
    Nowhere,
    /// Before these bytes.
    Separator(Vec<u8>),
    /// In this field of the value.
    Field(String),
    /// In the JSON object that the line is.
    Object,
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
enum BadLine {
    #[error("the line is longer than {BATCH_BYTES_MAX} bytes")]
    TooLong,
    #[error("there is no key separator in the line")]
    NoSeparator,
    #[error("the line is not UTF-8, so it holds no JSON field")]
    NotUtf8,
    #[error(
        "the timestamp {timestamp} is {ahead_ms} ms ahead of the clock; message.timestamp.after.max.ms of the topic allows {ahead_ms_max}"
    )]
    FarAhead { timestamp: Timestamp, ahead_ms: i64, ahead_ms_max: i64 },
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(transparent)]
    Object(#[from] LineError),
}

impl Maker {
    fn new(args: &ProduceArgs) -> Result<Self, Failure> {
        let usage = |message: String, advice| Failure::Usage { message, advice };
        let key = match (args.format, &args.key_separator, &args.key_field) {
            (InputFormat::Jsonl, None, None) => KeyFrom::Object,
            (InputFormat::Jsonl, _, _) => {
                return Err(usage(
                    "--key-separator and --key-field are for lines".to_owned(),
                    "leave them out: with --format jsonl the key is the field \"key\"",
                ));
            }
            (InputFormat::Lines, Some(separator), _) => {
                let bytes = text::unescape(separator).map_err(|error| {
                    usage(format!("--key-separator: {error}"), "correct the separator")
                })?;
                if bytes.is_empty() {
                    return Err(usage(
                        "the key separator is empty".to_owned(),
                        "give at least one character, for example --key-separator ':'",
                    ));
                }
                KeyFrom::Separator(bytes)
            }
            (InputFormat::Lines, None, Some(field)) => KeyFrom::Field(field.clone()),
            (InputFormat::Lines, None, None) => KeyFrom::Nowhere,
        };
        let header = |setting: &text::Setting| Header {
            name: setting.name.clone().into(),
            value: Some(setting.value.clone().into()),
        };
        let headers = args.headers.iter().map(header).collect();
        let (partition, keep_empty) = (args.partition, args.keep_empty);
        Ok(Self { key, headers, partition, keep_empty, ahead_ms_max: None })
    }

    /// `None` for a line that is no record: an empty one.
    fn make(&self, line: &Line, now: Timestamp) -> Result<Option<Parsed>, BadLine> {
        let bytes = line.bytes.as_ref().ok_or(BadLine::TooLong)?;
        if bytes.is_empty() && !self.keep_empty {
            return Ok(None);
        }
        let mut parsed = match &self.key {
            KeyFrom::Object if bytes.trim_ascii().is_empty() => return Ok(None),
            KeyFrom::Object => text::parse_line(bytes)?,
            KeyFrom::Nowhere => of_parts(None, bytes.clone()),
            KeyFrom::Field(path) => {
                let line = std::str::from_utf8(bytes).map_err(|_| BadLine::NotUtf8)?;
                of_parts(Some(text::scalar_at(line, path)?.into()), bytes.clone())
            }
            KeyFrom::Separator(separator) => {
                let mut windows = bytes.windows(separator.len());
                let at = windows.position(|window| window == separator);
                let at = at.ok_or(BadLine::NoSeparator)?;
                of_parts(Some(bytes.slice(..at)), bytes.slice(at + separator.len()..))
            }
        };
        if let (Some(timestamp), Some(ahead_ms_max)) = (parsed.record.timestamp, self.ahead_ms_max)
        {
            let ahead_ms = timestamp.0.saturating_sub(now.0);
            if ahead_ms > ahead_ms_max.saturating_add(CLOCKS_DIFFER_MS) {
                return Err(BadLine::FarAhead { timestamp, ahead_ms, ahead_ms_max });
            }
        }
        if !self.headers.is_empty() {
            parsed.record.headers.splice(..0, self.headers.iter().cloned());
        }
        parsed.partition = parsed.partition.or(self.partition);
        Ok(Some(parsed))
    }
}

fn of_parts(key: Option<Bytes>, value: Bytes) -> Parsed {
    let record = Record { key, value: Some(value), ..Record::default() };
    Parsed { record, partition: None }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use protocol::verbs::SettingDescription;

    use super::*;
    use crate::args::{Args, Command};

    fn maker(flags: &[&str]) -> Result<Maker, Failure> {
        let line = ["thalweg", "produce", "ratings"].iter().chain(flags);
        match Args::try_parse_from(line).unwrap().command {
            Command::Produce(args) => Maker::new(&args),
            other => panic!("{other:?}"),
        }
    }

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn make(maker: &Maker, line: &'static str) -> Result<Option<Parsed>, BadLine> {
        maker.make(&Line { number: 1, bytes: Some(Bytes::from_static(line.as_bytes())) }, NOW)
    }

    fn key_and_value(maker: &Maker, line: &'static str) -> (Option<Bytes>, Option<Bytes>) {
        let record = make(maker, line).unwrap().unwrap().record;
        (record.key, record.value)
    }

    #[test]
    fn plain_lines_are_values_and_empty_ones_only_where_asked_for() {
        let plain = maker(&[]).unwrap();
        assert_eq!(key_and_value(&plain, "a b"), (None, Some("a b".into())));
        assert_eq!(key_and_value(&plain, " "), (None, Some(" ".into())));
        for flags in [&[][..], &["-K", ":"], &["--key-field", "id"], &["--format", "jsonl"]] {
            assert_eq!(make(&maker(flags).unwrap(), "").unwrap(), None, "{flags:?}");
        }
        let keeping = maker(&["--keep-empty"]).unwrap();
        assert_eq!(key_and_value(&keeping, ""), (None, Some("".into())));
        let empty_value = maker(&["-K", ":"]).unwrap();
        assert_eq!(key_and_value(&empty_value, "k:"), (Some("k".into()), Some("".into())));
    }

    #[test]
    fn a_separator_splits_at_its_first_place() {
        let maker = maker(&["-K", r"\t::"]).unwrap();
        let parts = key_and_value(&maker, "k\t::v\t::w");
        assert_eq!(parts, (Some("k".into()), Some("v\t::w".into())));
        assert!(matches!(make(&maker, "no"), Err(BadLine::NoSeparator)));
    }

    #[test]
    fn a_field_gives_the_key_and_the_line_stays_as_it_is() {
        let maker = maker(&["--key-field", "a.id"]).unwrap();
        let line = r#"{"a": {"id": 5}}"#;
        assert_eq!(key_and_value(&maker, line), (Some("5".into()), Some(line.into())));
        assert!(matches!(make(&maker, "{}"), Err(BadLine::Field(FieldError::Missing { .. }))));
    }

    #[test]
    fn json_lines_bring_everything_and_flags_fill_in() {
        let maker = maker(&["--format", "jsonl", "-H", "from=test", "--partition", "3"]).unwrap();
        let parsed = make(&maker, r#"{"value":1,"headers":{"a":"b"}}"#).unwrap().unwrap();
        assert_eq!(parsed.record.headers[0].name, "from");
        assert_eq!(parsed.record.headers[1].name, "a");
        assert_eq!(parsed.partition.unwrap().get(), 3);
        let own = make(&maker, r#"{"value":1,"partition":1}"#).unwrap().unwrap();
        assert_eq!(own.partition.unwrap().get(), 1);
        assert_eq!(make(&maker, "  ").unwrap(), None);
        assert!(matches!(make(&maker, "x"), Err(BadLine::Object(LineError::NotJson(_)))));
    }

    #[test]
    fn a_time_that_the_topic_would_not_take_is_a_bad_line() {
        let mut maker = maker(&["--format", "jsonl"]).unwrap();
        let (late, latest) = (
            r#"{"value":1,"timestamp":1700003660001}"#,
            r#"{"value":1,"timestamp":1700003660000}"#,
        );
        assert!(make(&maker, late).is_ok(), "without knowing the topic");
        maker.ahead_ms_max = Some(3_600_000);
        let refused = make(&maker, late).unwrap_err();
        assert!(matches!(refused, BadLine::FarAhead { ahead_ms: 3_660_001, .. }), "{refused}");
        for taken in [latest, r#"{"value":1,"timestamp":0}"#, r#"{"value":1}"#] {
            assert!(make(&maker, taken).is_ok(), "{taken}");
        }
    }

    #[test]
    fn the_settings_of_the_topic_say_what_is_too_far_and_how_large_records_are() {
        let topic = |settings: &[(&str, &str)]| TopicDescription {
            name: "t".parse().unwrap(),
            id: "0190163d-8694-739b-aea5-966c26f8ad90".parse().unwrap(),
            partitions: Vec::new(),
            settings: settings
                .iter()
                .map(|(name, value)| SettingDescription {
                    name: (*name).to_owned(),
                    value: (*value).to_owned(),
                    is_default: true,
                })
                .collect(),
        };
        let after = ("message.timestamp.after.max.ms", "5");
        assert_eq!(ahead_ms_max(&topic(&[after])), Some(5));
        let broker = ("message.timestamp.type", "LogAppendTime");
        assert_eq!(ahead_ms_max(&topic(&[after, broker])), None);
        assert_eq!(ahead_ms_max(&topic(&[])), None);
        for (stored, buffer) in [("1048576", 32 * MIB), ("16777216", 64 * MIB)] {
            assert_eq!(buffer_bytes(&topic(&[("max.message.bytes", stored)])), buffer);
        }
        assert_eq!(buffer_bytes(&topic(&[("max.message.bytes", "67108864")])), 64 * MIB);
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for flags in [
            &["--format", "jsonl", "-K", ":"][..],
            &["--format", "jsonl", "--key-field", "id"],
            &["-K", ""],
            &["-K", r"\q"],
        ] {
            assert!(matches!(maker(flags), Err(Failure::Usage { .. })), "{flags:?}");
        }
        let too_long = maker(&[]).unwrap().make(&Line { number: 1, bytes: None }, NOW);
        assert!(matches!(too_long, Err(BadLine::TooLong)));
    }

    #[test]
    fn the_summary_is_a_sentence() {
        let summary = Summary {
            topic: "ratings",
            records: 2_000,
            bytes: 2_048,
            skipped_lines: 1,
            empty_lines: 2,
            unacknowledged: 0,
            seconds: 2.0,
        };
        assert_eq!(
            summary.to_string(),
            "2,000 records (2.0 KiB) written to ratings in 2.00 s: 1,000 records/s, 1.0 KiB/s; 1 bad line left out; 2 empty lines left out"
        );
    }
}
