//! Rows to batches for the partitions of a topic: which lane a row goes to, which rows are there already, which
//! sequence it gets.
//!
//! Rows with a key go where Kafka's default partitioner puts the key. Rows without one stay with their source
//! partition, so that where a row goes is a function of the row. Nothing is sent here: see [`super::outbox`].

use client::partitioner::partition_for_key;
use protocol::batch::{Builder, HEADER_BYTES, ProducerStamp};
use protocol::compression::Compression;
use protocol::id::{Offset, Partition, Sequence, Timestamp, TopicName};
use protocol::limits::BATCH_BYTES_DEFAULT;
use protocol::record::Record;
use protocol::verbs::{ProducerIdentity, TopicDescription};
use sql::Rows;

use super::checkpoint::{Checkpoint, Mark, Replay};
use super::outbox::Entry;
use super::passed_over::PassedOver;
use super::shift::Found;
use crate::format::rows::{Layout, RowsWriter};
use crate::frontier::Frontier;
use crate::processing_log::{Fault, Step};

/// A batch is closed when it has this many bytes, where its topic takes as many.
const BATCH_BYTES: usize = 512 * 1024;

/// Bytes that lengths, time and place of a record can take at most, headers aside.
const RECORD_BYTES_AROUND_MAX: usize = 40;

/// Kafka's name for the largest batch of a topic.
const BATCH_BYTES_SETTING: &str = "max.message.bytes";

/// Kafka's names for how far from the broker's clock a time may be, in milliseconds, and for whose clock it is.
const AHEAD_SETTING: &str = "message.timestamp.after.max.ms";
const BEHIND_SETTING: &str = "message.timestamp.before.max.ms";
const CLOCK_SETTING: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

/// The cause of a fault: the first row behind them is fine.
const LOST: &str = "records before this one were lost in the source, as by a loss of power; rows that were derived from them stay";

/// What the topic of a sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest batch, in bytes.
    batch_bytes_max: usize,
    /// A time is at most so far ahead of the clock.
    ahead_ms_max: u64,
    /// A time is at most so far behind it.
    behind_ms_max: u64,
}

/// Where the rows of a query go.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The topic.
    pub topic: TopicName,
    /// How rows become records.
    pub layout: Layout,
}

/// Packs the rows of one task into batches.
#[derive(Debug)]
pub struct Packer {
    writer: RowsWriter,
    identity: ProducerIdentity,
    source_partition: Partition,
    /// Where the source ended when the sink was scanned: what the sink has already was made of records before it.
    /// `None` once a row behind it was made.
    source_end: Option<Offset>,
    limits: Limits,
    passed_over: PassedOver,
    replay: Replay,
    lanes: Vec<OpenLane>,
    closed: Vec<Entry>,
}

#[derive(Debug)]
struct OpenLane {
    /// The sequence of the first row that is not closed.
    next: Sequence,
    /// The time of the first record in the builder.
    first_time: Timestamp,
    builder: Builder,
}

impl Packer {
    /// A packer that goes on where a checkpoint stands after the scan of the sink.
    pub fn new(layout: &Layout, source: &Found, limits: Limits, checkpoint: &Checkpoint) -> Self {
        let open = |next| OpenLane {
            next,
            first_time: Timestamp(0),
            builder: Builder::new(Compression::None),
        };
        Self {
            writer: RowsWriter::new(layout),
            identity: checkpoint.identity,
            source_partition: source.partition,
            source_end: Some(source.end),
            limits,
            passed_over: checkpoint.passed_over.until(source.end),
            replay: Replay::new(checkpoint.mark.already.clone()),
            lanes: checkpoint.lanes.iter().map(|lane| open(lane.next_sequence)).collect(),
            closed: Vec::new(),
        }
    }

    /// Adds rows; those that the sink has already are dropped. Rows that the topic does not take become faults. True
    /// when there is one more in [`Self::passed_over`], which must be durable before anything that is closed after it
    /// is sent.
    pub fn pack(&mut self, rows: &Rows, now: Timestamp, faults: &mut Vec<Fault>) -> bool {
        let records = self.writer.write(rows);
        let mut judged = false;
        for row in 0..rows.len() {
            let record = records.get(row);
            let bytes = record.payload_bytes() + RECORD_BYTES_AROUND_MAX;
            let bytes_max = self.limits.batch_bytes_max;
            if HEADER_BYTES + bytes > bytes_max {
                faults.push(fault(rows, row, format!(
                    "the row makes a record of {bytes} bytes; the topic takes batches of {bytes_max} ({BATCH_BYTES_SETTING})"
                )));
                continue;
            }
            let offset = offset_of(rows, row);
            if self.passed_over.has(offset) {
                faults.push(fault(rows, row, "its time was out of the topic's range when the row was first made; it is not judged again".to_owned()));
                continue;
            }
            if self.source_end.is_some_and(|end| offset >= end) {
                self.source_end = None;
                if self.replay.gap(u64::MAX) {
                    faults.push(fault(rows, row, LOST.to_owned()));
                }
            }
            let lane = self.lane_of(&record);
            if !self.replay.is_new(lane) {
                continue;
            }
            let time = record.timestamp.unwrap_or_default();
            if let Err(cause) = self.limits.check_time(time, now) {
                faults.push(fault(rows, row, cause));
                self.passed_over.add(offset);
                judged = true;
                continue;
            }
            self.add(lane, &record, time, bytes);
        }
        judged
    }

    /// Rows behind `source_next` that are not to be judged again.
    pub fn passed_over(&self, source_next: Offset) -> PassedOver {
        self.passed_over.from(source_next)
    }

    /// Source rows cannot be read again: see [`Replay::gap`].
    pub fn gap(&mut self, rows: u64) -> bool {
        self.replay.gap(rows)
    }

    /// Closes all batches: what belongs to the source before `source_next`.
    pub fn close(&mut self, source_next: Offset, frontier: Frontier) -> (Vec<Entry>, Mark) {
        for lane in 0..self.lanes.len() {
            self.close_lane(lane);
        }
        let mark = Mark { source_next, frontier, already: self.replay.left().to_vec() };
        (std::mem::take(&mut self.closed), mark)
    }

    fn lane_of(&self, record: &Record) -> usize {
        let count = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let partition = match &record.key {
            Some(key) => partition_for_key(key, count).get(),
            None => self.source_partition.get().checked_rem(count).unwrap_or(0),
        };
        partition as usize
    }

    fn add(&mut self, lane: usize, record: &Record, time: Timestamp, bytes: usize) {
        let limit = BATCH_BYTES.min(self.limits.batch_bytes_max);
        let full = |open: &OpenLane| {
            open.builder.is_full()
                // A record says how far its time is from that of the first one: a number of 64 bits.
                || time.0.checked_sub(open.first_time.0).is_none()
                || (!open.builder.is_empty() && open.builder.bytes() + bytes > limit)
        };
        if self.lanes.get(lane).is_some_and(full) {
            self.close_lane(lane);
        }
        if let Some(open) = self.lanes.get_mut(lane) {
            if open.builder.is_empty() {
                open.first_time = time;
            }
            open.builder.push(record, time);
        }
    }

    fn close_lane(&mut self, lane: usize) {
        let Some(open) = self.lanes.get_mut(lane).filter(|open| !open.builder.is_empty()) else {
            return;
        };
        let builder = std::mem::replace(&mut open.builder, Builder::new(Compression::None));
        let rows = u32::try_from(builder.record_count()).unwrap_or(u32::MAX);
        let ProducerIdentity { id, epoch } = self.identity;
        let batch = builder.finish(Some(ProducerStamp { id, epoch, base_sequence: open.next }));
        open.next = open.next.plus(rows);
        self.closed.push(Entry { lane, batch });
    }
}

impl Limits {
    /// The limits of a topic. What it does not show has none.
    pub fn of(topic: &TopicDescription) -> Self {
        let find = |name| topic.settings.iter().find(|setting| setting.name == name);
        let number = |name| find(name).and_then(|setting| setting.value.parse::<u64>().ok());
        let (clock, of_broker) = CLOCK_SETTING;
        // Where the broker writes its own time, that of the record is not looked at.
        let free = find(clock).is_some_and(|setting| setting.value == of_broker);
        let span = |name| number(name).filter(|_| !free).unwrap_or(u64::MAX);
        Self {
            batch_bytes_max: number(BATCH_BYTES_SETTING)
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(BATCH_BYTES_DEFAULT),
            ahead_ms_max: span(AHEAD_SETTING),
            behind_ms_max: span(BEHIND_SETTING),
        }
    }

    /// The broker's rule for times, for one record.
    fn check_time(&self, time: Timestamp, now: Timestamp) -> Result<(), String> {
        if time == Timestamp::NONE {
            return Ok(());
        }
        let distance = |later: Timestamp, earlier: Timestamp| {
            u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0)
        };
        for (by, max, direction, setting) in [
            (distance(time, now), self.ahead_ms_max, "ahead of", AHEAD_SETTING),
            (distance(now, time), self.behind_ms_max, "behind", BEHIND_SETTING),
        ] {
            if by > max {
                return Err(format!(
                    "the time {time} of the row is {by} ms {direction} the clock; {setting} of its topic allows {max}"
                ));
            }
        }
        Ok(())
    }
}

fn offset_of(rows: &Rows, row: usize) -> Offset {
    Offset::new(rows.offsets().value(row)).unwrap_or_default()
}

/// A row that makes no record.
fn fault(rows: &Rows, row: usize, cause: String) -> Fault {
    let partition = rows.row(row).partition.unwrap_or(0);
    Fault {
        partition: Partition::new(partition.into()).unwrap_or_default(),
        offset: offset_of(rows, row),
        step: Step::Encode,
        cause,
    }
}
