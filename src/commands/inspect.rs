//! `thalweg inspect`: a data folder, read offline: topics, partitions, segments, batches, damage.
//!
//! Opens files for reading only, through the storage engine's one door to files. What the catalogue says is left
//! out: this shows what lies there, also where the catalogue cannot be read.

use std::path::{Path, PathBuf};

use protocol::batch::Header;
use protocol::id::{Offset, Partition, Timestamp, TopicId, TopicName};
use serde::Serialize;
use storage::{Access, DamagedBytes, Disk, Entry, Found, RealDisk, SegmentScan, StorageError};

use crate::args::InspectArgs;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Output;
use crate::text::{bytes_size, count, counted};

/// The folder of the broker's own log of topics.
const CATALOG: &str = "catalog";
/// The folder under which `NAME/ID/PARTITION` lie.
const TOPICS: &str = "topics";

/// Reads all that was asked for; damage makes it a failure once everything was shown.
pub(crate) fn run(args: &InspectArgs, context: &Context) -> Result<(), Failure> {
    let disk = RealDisk::new();
    let logs = find_logs(&disk, &args.folder, args.topic.as_ref())?;
    if logs.is_empty() {
        context.output.note("there are no topics in this folder");
    }
    let output = &context.output;
    let inspection = Inspection { disk: &disk, output, batches: args.batches };
    let mut damaged_places = 0;
    for log in &logs {
        damaged_places += inspection.show(log)?;
    }
    if damaged_places == 0 {
        return Ok(());
    }
    Err(Failure::Damaged { folder: args.folder.display().to_string(), places: damaged_places })
}

/// The folder of one partition's log, or of the catalogue's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LogFolder {
    /// `None` for the catalogue.
    topic: Option<(TopicName, TopicId)>,
    partition: Partition,
    path: PathBuf,
}

impl LogFolder {
    fn title(&self) -> String {
        match &self.topic {
            Some((name, id)) => format!("topic {name}, partition {} (id {id})", self.partition),
            None => "the broker's catalogue of topics".to_owned(),
        }
    }

    fn topic_name(&self) -> Option<&str> {
        self.topic.as_ref().map(|(name, _)| name.as_str())
    }
}

fn failed(error: StorageError) -> Failure {
    match error {
        StorageError::Disk { action, file, cause, .. } => {
            let doing = format!("read the data folder ({action} {})", file.display());
            let cause =
                cause.errno.map_or_else(|| cause.kind.into(), std::io::Error::from_raw_os_error);
            Failure::Io { doing, cause }
        }
        other => Failure::Io {
            doing: "read the data folder".to_owned(),
            cause: std::io::Error::other(other),
        },
    }
}

/// Every log in the folder, or those of one topic, in order. Folders with other names are passed over.
fn find_logs(
    disk: &dyn Disk,
    root: &Path,
    only: Option<&TopicName>,
) -> Result<Vec<LogFolder>, Failure> {
    let in_root = folders(disk, root)?;
    let mut logs = Vec::new();
    if only.is_none() && in_root.iter().any(|name| name == CATALOG) {
        let path = root.join(CATALOG);
        logs.push(LogFolder { topic: None, partition: Partition::ZERO, path });
    }
    let topics = root.join(TOPICS);
    let names =
        if in_root.iter().any(|name| name == TOPICS) { folders(disk, &topics)? } else { vec![] };
    for name in names.iter().filter_map(|name| TopicName::new(name).ok()) {
        if only.is_some_and(|only| *only != name) {
            continue;
        }
        let lives = topics.join(name.as_str());
        for id in folders(disk, &lives)?.iter().filter_map(|id| id.parse::<TopicId>().ok()) {
            let life = lives.join(id.to_string());
            for number in folders(disk, &life)? {
                let partition = number.parse().ok().and_then(|number| Partition::new(number).ok());
                let Some(partition) = partition else { continue };
                let topic = Some((name.clone(), id));
                logs.push(LogFolder { topic, partition, path: life.join(number) });
            }
        }
    }
    logs.sort();
    let nothing = |message| Failure::Usage {
        message,
        advice: "name the folder that was given to `thalweg serve --data-dir`, and a topic in it",
    };
    let root = root.display();
    match only {
        Some(only) if logs.is_empty() => {
            Err(nothing(format!("there is no topic {only} in {root}")))
        }
        None if logs.is_empty() && !in_root.iter().any(|name| name == TOPICS) => Err(nothing(
            format!("{root} is not a data folder: it holds neither topics nor a catalogue"),
        )),
        _ => Ok(logs),
    }
}

fn folders(disk: &dyn Disk, path: &Path) -> Result<Vec<String>, Failure> {
    let entries = disk.list(path).map_err(failed)?;
    Ok(entries.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name).collect())
}

/// The segments of a log: the files `OFFSET.log`, where OFFSET has 20 digits.
fn segments(entries: Vec<Entry>) -> Vec<(Offset, String)> {
    let mut found: Vec<_> = entries
        .into_iter()
        .filter(|entry| !entry.is_folder)
        .filter_map(|entry| {
            let digits = entry.name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
            let base = digits.parse().ok().and_then(|base| Offset::new(base).ok())?;
            Some((base, entry.name))
        })
        .collect();
    found.sort();
    found
}

/// What was found in a segment, added up.
#[derive(Debug, Default)]
struct Sum {
    /// Bytes of the file.
    bytes: u64,
    /// The offset behind the last sound batch.
    end: Offset,
    batches: u64,
    records: u64,
    time_min: Option<Timestamp>,
    time_max: Option<Timestamp>,
    damage: Vec<DamagedBytes>,
    /// Bytes of a last batch that was never finished; cut off when the log is next opened.
    unfinished_bytes: u64,
}

impl Sum {
    fn add(&mut self, header: &Header) {
        self.batches += 1;
        self.records += u64::from(header.record_count.unsigned_abs());
        let earlier =
            self.time_min.map_or(header.base_timestamp, |min| min.min(header.base_timestamp));
        self.time_min = Some(earlier);
        self.time_max = self.time_max.max(Some(header.max_timestamp));
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Segment {
        topic: Option<&'a str>,
        partition: u32,
        file: &'a str,
        start: i64,
        end: i64,
        batches: u64,
        records: u64,
        bytes: u64,
        time_min: Option<i64>,
        time_max: Option<i64>,
        unfinished_bytes: u64,
        damaged_places: usize,
    },
    Batch {
        topic: Option<&'a str>,
        partition: u32,
        file: &'a str,
        position: u64,
        start: i64,
        end: i64,
        records: i32,
        bytes: usize,
        time_min: i64,
        time_max: i64,
        compression: &'static str,
        leader_epoch: i32,
        producer_id: Option<i64>,
        base_sequence: Option<i32>,
    },
    Damage {
        topic: Option<&'a str>,
        partition: u32,
        file: &'a str,
        position: u64,
        bytes: u64,
        offset: i64,
        cause: String,
        resume_at: Option<i64>,
    },
}

struct Inspection<'a> {
    disk: &'a RealDisk,
    output: &'a Output,
    batches: bool,
}

impl Inspection<'_> {
    /// Shows one log; gives the number of damaged places.
    fn show(&self, log: &LogFolder) -> Result<u64, Failure> {
        let segments = segments(self.disk.list(&log.path).map_err(failed)?);
        if !self.output.is_json() {
            self.output.line(&self.output.heading(&log.title()))?;
        }
        let last = segments.len().saturating_sub(1);
        let mut rows = Vec::new();
        let mut damage = Vec::new();
        let mut expected_base: Option<Offset> = None;
        for (index, (base, file)) in segments.iter().enumerate() {
            if let Some(expected) = expected_base
                && expected != *base
            {
                damage.push(format!(
                    "{file}: the segment begins at offset {base} where {expected} was expected"
                ));
            }
            let sum = self.scan(log, *base, file, index == last)?;
            expected_base = Some(sum.end);
            damage.extend(sum.damage.iter().map(|damaged| sentence(file, damaged)));
            if self.output.is_json() {
                self.output.json(&segment_line(log, *base, file, &sum))?;
            } else {
                rows.push(segment_row(*base, file, &sum));
            }
        }
        if !self.output.is_json() {
            let header = ["SEGMENT", "OFFSETS", "BATCHES", "RECORDS", "SIZE", "TIMES", "STATE"];
            self.output.table(header, rows)?;
            for place in &damage {
                self.output.line(&format!("damaged: {place}"))?;
            }
            self.output.line("")?;
        }
        Ok(u64::try_from(damage.len()).unwrap_or(u64::MAX))
    }

    /// Walks through one segment, showing its batches where that was asked for.
    fn scan(
        &self,
        log: &LogFolder,
        base: Offset,
        file: &str,
        is_last: bool,
    ) -> Result<Sum, Failure> {
        let path = log.path.join(file);
        let opened = self.disk.open(&path, Access::Read).map_err(failed)?;
        let mut scan = SegmentScan::new(&*opened, base).map_err(failed)?;
        let mut sum = Sum::default();
        while let Some(found) = scan.step().map_err(failed)? {
            match found {
                Found::Batch { position, header } => {
                    sum.add(&header);
                    if self.batches {
                        self.show_batch(log, file, position, &header)?;
                    }
                }
                // Only the end of the log is written to.
                Found::Damaged(damaged) if is_last && damaged.is_unfinished => {
                    sum.unfinished_bytes = damaged.bytes;
                }
                Found::Damaged(damaged) => {
                    if self.output.is_json() {
                        self.output.json(&damage_line(log, file, &damaged))?;
                    }
                    sum.damage.push(damaged);
                }
            }
        }
        (sum.bytes, sum.end) = (scan.bytes(), scan.end());
        Ok(sum)
    }

    fn show_batch(
        &self,
        log: &LogFolder,
        file: &str,
        position: u64,
        header: &Header,
    ) -> Result<(), Failure> {
        if self.output.is_json() {
            return self.output.json(&Line::Batch {
                topic: log.topic_name(),
                partition: log.partition.get(),
                file,
                position,
                start: header.base_offset.get(),
                end: header.end_offset().get(),
                records: header.record_count,
                bytes: header.total_bytes,
                time_min: header.base_timestamp.0,
                time_max: header.max_timestamp.0,
                compression: header.compression.name(),
                leader_epoch: header.leader_epoch.0,
                producer_id: header.producer.map(|producer| producer.id.0),
                base_sequence: header.producer.map(|producer| producer.base_sequence.get()),
            });
        }
        let producer = header.producer.map(|producer| {
            format!("  producer {} sequence {}", producer.id, producer.base_sequence)
        });
        self.output.line(&format!(
            "  at {position}: offsets {}..{}  {}  {} bytes  {}  {}{}",
            header.base_offset,
            header.end_offset(),
            counted(header.record_count.unsigned_abs().into(), "record"),
            header.total_bytes,
            header.compression,
            moment(header.max_timestamp),
            producer.unwrap_or_default(),
        ))
    }
}

fn sentence(file: &str, damaged: &DamagedBytes) -> String {
    let DamagedBytes { position, bytes, offset, cause, resume_at, .. } = damaged;
    let resume = match resume_at {
        Some(resume) => format!("records go on at offset {resume}"),
        None => "no record follows in this file".to_owned(),
    };
    format!("{file} at byte {position}, {bytes} bytes, offset {offset} expected: {cause}; {resume}")
}

fn damage_line<'a>(log: &'a LogFolder, file: &'a str, damaged: &DamagedBytes) -> Line<'a> {
    Line::Damage {
        topic: log.topic_name(),
        partition: log.partition.get(),
        file,
        position: damaged.position,
        bytes: damaged.bytes,
        offset: damaged.offset.get(),
        cause: damaged.cause.to_string(),
        resume_at: damaged.resume_at.map(Offset::get),
    }
}

fn segment_line<'a>(log: &'a LogFolder, base: Offset, file: &'a str, sum: &Sum) -> Line<'a> {
    Line::Segment {
        topic: log.topic_name(),
        partition: log.partition.get(),
        file,
        start: base.get(),
        end: sum.end.get(),
        batches: sum.batches,
        records: sum.records,
        bytes: sum.bytes,
        time_min: sum.time_min.map(|time| time.0),
        time_max: sum.time_max.map(|time| time.0),
        unfinished_bytes: sum.unfinished_bytes,
        damaged_places: sum.damage.len(),
    }
}

fn segment_row(base: Offset, file: &str, sum: &Sum) -> [String; 7] {
    let times = match (sum.time_min, sum.time_max) {
        (Some(min), Some(max)) => format!("{} .. {}", moment(min), moment(max)),
        _ => "-".to_owned(),
    };
    let state = match (sum.damage.len(), sum.unfinished_bytes) {
        (0, 0) => "sound".to_owned(),
        (0, bytes) => format!("sound; {bytes} bytes of an unfinished batch at its end"),
        (places, _) => format!("damaged: {}", counted(places as u64, "place")),
    };
    [
        file.to_owned(),
        format!("{base}..{}", sum.end),
        count(sum.batches),
        count(sum.records),
        bytes_size(sum.bytes),
        times,
        state,
    ]
}

/// A time as people read it, in UTC.
fn moment(timestamp: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(timestamp.0) {
        Ok(moment) if timestamp != Timestamp::NONE => moment.to_string(),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad90";

    fn titles(root: &Path, only: Option<&str>) -> Result<Vec<String>, Failure> {
        let only = only.map(|name| name.parse().unwrap());
        let logs = find_logs(&RealDisk::new(), root, only.as_ref())?;
        Ok(logs
            .iter()
            .map(|log| log.path.strip_prefix(root).unwrap().display().to_string())
            .collect())
    }

    #[test]
    fn logs_are_found_in_order_and_strangers_passed_over() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["catalog", "lost+found"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        for partition in ["10", "2", "x"] {
            fs::create_dir_all(root.path().join(format!("topics/b/{ID}/{partition}"))).unwrap();
        }
        fs::create_dir_all(root.path().join(format!("topics/a/{ID}/0"))).unwrap();
        fs::create_dir_all(root.path().join("topics/a/no-uuid/0")).unwrap();
        let a = format!("topics/a/{ID}/0");
        let b = [format!("topics/b/{ID}/2"), format!("topics/b/{ID}/10")];
        let all = ["catalog".to_owned(), a.clone(), b[0].clone(), b[1].clone()];
        assert_eq!(titles(root.path(), None).unwrap(), all);
        assert_eq!(titles(root.path(), Some("a")).unwrap(), [a]);
        assert!(matches!(titles(root.path(), Some("c")), Err(Failure::Usage { .. })));
    }

    #[test]
    fn what_is_no_data_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(titles(root.path(), None), Err(Failure::Usage { .. })));
        let missing = titles(&root.path().join("missing"), None).unwrap_err();
        assert!(missing.to_string().contains("missing"));
        fs::create_dir(root.path().join("topics")).unwrap();
        assert!(titles(root.path(), None).unwrap().is_empty());
    }

    #[test]
    fn segments_are_the_files_with_an_offset_for_a_name() {
        let entry = |name: &str, is_folder| Entry { name: name.to_owned(), is_folder, bytes: 0 };
        let found = segments(vec![
            entry("00000000000000000200.log", false),
            entry("00000000000000000000.log", false),
            entry("00000000000000000000.index", false),
            entry("00000000000000000300.log", true),
            entry("5.log", false),
            entry("checkpoint", false),
        ]);
        let bases: Vec<_> = found.iter().map(|(base, _)| base.get()).collect();
        assert_eq!(bases, [0, 200]);
    }

    #[test]
    fn times_are_in_utc_and_none_is_a_dash() {
        assert_eq!(moment(Timestamp(1_600_000_000_000)), "2020-09-13T12:26:40Z");
        assert_eq!(moment(Timestamp::NONE), "-");
        assert_eq!(moment(Timestamp(i64::MAX)), "-");
    }
}
