//! What was found in a log, as it is shown: rows and sentences for people, JSON lines for programs.

use protocol::batch::Header;
use protocol::id::{Offset, Timestamp};
use serde::Serialize;
use storage::DamagedBytes;

use super::catalogue::Missing;
use super::folder::LogFolder;
use crate::text::{bytes_size, count, counted};

/// What was found in a segment, added up.
#[derive(Debug, Default)]
pub(super) struct Sum {
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// The offset behind the last sound batch.
    pub(super) end: Offset,
    pub(super) batches: u64,
    pub(super) records: u64,
    pub(super) time_min: Option<Timestamp>,
    pub(super) time_max: Option<Timestamp>,
    pub(super) damage: Vec<DamagedBytes>,
    /// Bytes of a last batch that was never finished; cut off when the log is next opened.
    pub(super) unfinished_bytes: u64,
}

impl Sum {
    /// One more sound batch.
    pub(super) fn add(&mut self, header: &Header) {
        self.batches += 1;
        self.records += u64::from(header.record_count.unsigned_abs());
        let earlier =
            self.time_min.map_or(header.base_timestamp, |min| min.min(header.base_timestamp));
        self.time_min = Some(earlier);
        self.time_max = self.time_max.max(Some(header.max_timestamp));
    }
}

/// What programs read: an object a line.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Line<'a> {
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
    /// Something that should be there is not, or not as it was written.
    Missing {
        /// `None`: the folder itself.
        topic: Option<&'a str>,
        partition: Option<u32>,
        cause: &'a str,
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

pub(super) fn batch_line<'a>(
    log: &'a LogFolder,
    file: &'a str,
    position: u64,
    header: &Header,
) -> Line<'a> {
    Line::Batch {
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
    }
}

/// A batch in one line for people.
pub(super) fn batch_text(position: u64, header: &Header) -> String {
    let producer = header
        .producer
        .map(|producer| format!("  producer {} sequence {}", producer.id, producer.base_sequence));
    format!(
        "  at {position}: offsets {}..{}  {}  {} bytes  {}  {}{}",
        header.base_offset,
        header.end_offset(),
        counted(header.record_count.unsigned_abs().into(), "record"),
        header.total_bytes,
        header.compression,
        moment(header.max_timestamp),
        producer.unwrap_or_default(),
    )
}

pub(super) fn missing_line(missing: &Missing) -> Line<'_> {
    let partition = missing.partition.as_ref();
    Line::Missing {
        topic: partition.map(|(topic, _)| topic.as_str()),
        partition: partition.map(|(_, number)| number.get()),
        cause: &missing.cause,
    }
}

/// A damaged place for people.
pub(super) fn sentence(file: &str, damaged: &DamagedBytes) -> String {
    let DamagedBytes { position, bytes, offset, cause, resume_at, .. } = damaged;
    let resume = match resume_at {
        Some(resume) => format!("records go on at offset {resume}"),
        None => "no record follows in this file".to_owned(),
    };
    format!("{file} at byte {position}, {bytes} bytes, offset {offset} expected: {cause}; {resume}")
}

pub(super) fn damage_line<'a>(
    log: &'a LogFolder,
    file: &'a str,
    damaged: &DamagedBytes,
) -> Line<'a> {
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

pub(super) fn segment_line<'a>(
    log: &'a LogFolder,
    base: Offset,
    file: &'a str,
    sum: &Sum,
) -> Line<'a> {
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

/// A segment as a row of the table for people.
pub(super) fn segment_row(base: Offset, file: &str, sum: &Sum) -> [String; 7] {
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
    use super::*;

    #[test]
    fn times_are_in_utc_and_none_is_a_dash() {
        assert_eq!(moment(Timestamp(1_600_000_000_000)), "2020-09-13T12:26:40Z");
        assert_eq!(moment(Timestamp::NONE), "-");
        assert_eq!(moment(Timestamp(i64::MAX)), "-");
    }
}
