//! Rows to batches for the partitions of a topic: which lane a row goes to, which rows are there already, which
//! sequence it gets.
//!
//! Rows with a key go where Kafka's default partitioner puts the key. Rows without one stay with their source
//! partition, so that where a row goes is a function of the row. Nothing is sent here: see [`super::outbox`].

use client::partitioner::partition_for_key;
use protocol::batch::{Builder, HEADER_BYTES, ProducerStamp};
use protocol::compression::Compression;
use protocol::id::{Offset, Partition, Sequence, TopicName};
use protocol::limits::BATCH_BYTES_DEFAULT;
use protocol::record::Record;
use protocol::verbs::{ProducerIdentity, TopicDescription};
use sql::Rows;

use super::checkpoint::{Checkpoint, Mark, Replay};
use super::outbox::Entry;
use crate::format::rows::{Layout, RowsWriter};
use crate::frontier::Frontier;
use crate::processing_log::{Fault, Step};

/// A batch is closed when it has this many bytes, where its topic takes as many.
const BATCH_BYTES: usize = 512 * 1024;

/// Bytes that lengths, time and place of a record can take at most, headers aside.
const RECORD_BYTES_AROUND_MAX: usize = 40;

/// Kafka's name for the largest batch of a topic.
const BATCH_BYTES_SETTING: &str = "max.message.bytes";

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
    batch_bytes_max: usize,
    replay: Replay,
    lanes: Vec<OpenLane>,
    closed: Vec<Entry>,
}

#[derive(Debug)]
struct OpenLane {
    /// The sequence of the first row that is not closed.
    next: Sequence,
    builder: Builder,
}

impl Packer {
    /// A packer that goes on where a checkpoint stands after the scan of the sink.
    pub fn new(
        layout: &Layout,
        source_partition: Partition,
        batch_bytes_max: usize,
        checkpoint: &Checkpoint,
    ) -> Self {
        let open = |next| OpenLane { next, builder: Builder::new(Compression::None) };
        Self {
            writer: RowsWriter::new(layout),
            identity: checkpoint.identity,
            source_partition,
            batch_bytes_max,
            replay: Replay::new(checkpoint.mark.already.clone()),
            lanes: checkpoint.lanes.iter().map(|lane| open(lane.next_sequence)).collect(),
            closed: Vec::new(),
        }
    }

    /// Adds rows; those that the sink has already are dropped. Rows that no batch can hold become faults.
    pub fn pack(&mut self, rows: &Rows, faults: &mut Vec<Fault>) {
        let records = self.writer.write(rows);
        for row in 0..rows.len() {
            let record = records.get(row);
            let bytes = record.payload_bytes() + RECORD_BYTES_AROUND_MAX;
            if HEADER_BYTES + bytes > self.batch_bytes_max {
                faults.push(too_large(rows, row, bytes, self.batch_bytes_max));
                continue;
            }
            let lane = self.lane_of(&record);
            if self.replay.is_new(lane) {
                self.add(lane, &record, bytes);
            }
        }
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

    fn add(&mut self, lane: usize, record: &Record, bytes: usize) {
        let limit = BATCH_BYTES.min(self.batch_bytes_max);
        let full = |open: &OpenLane| {
            open.builder.is_full()
                || (!open.builder.is_empty() && open.builder.bytes() + bytes > limit)
        };
        if self.lanes.get(lane).is_some_and(full) {
            self.close_lane(lane);
        }
        if let Some(open) = self.lanes.get_mut(lane) {
            open.builder.push(record, record.timestamp.unwrap_or_default());
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

/// The largest batch that a topic takes, in bytes.
pub fn batch_bytes_max(topic: &TopicDescription) -> usize {
    let setting = topic.settings.iter().find(|setting| setting.name == BATCH_BYTES_SETTING);
    setting.and_then(|setting| setting.value.parse().ok()).unwrap_or(BATCH_BYTES_DEFAULT)
}

fn too_large(rows: &Rows, row: usize, bytes: usize, bytes_max: usize) -> Fault {
    let place = rows.row(row);
    Fault {
        partition: Partition::new(place.partition.unwrap_or(0).into()).unwrap_or_default(),
        offset: Offset::new(place.offset.unwrap_or(0)).unwrap_or_default(),
        step: Step::Encode,
        cause: format!(
            "the row makes a record of {bytes} bytes; the topic takes batches of {bytes_max} ({BATCH_BYTES_SETTING})"
        ),
    }
}
