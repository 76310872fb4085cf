//! Where a task stands: source, sink and state agreed as one, so that a crash neither loses nor repeats a row.
//!
//! A task reads one source partition of one query and is the only writer of its *lanes*: a lane is the sequence of
//! rows that the task gives to one sink partition. There are no transactions; two facts stand in for them:
//!
//! 1. **The output is a function of the input.** Run again from the same source offset, a task gives the same rows to
//!    the same lanes in the same order.
//! 2. **The broker counts.** A task writes under an idempotent producer identity of its own, and the sequence of a row
//!    is its place in its lane. So sequence *n* always stands for the same row, however the rows are cut into batches,
//!    and the broker takes each sequence once, in order.
//!
//! A checkpoint says: *all source rows before `source_next` are done; their rows fill lane p up to `next_sequence`,
//! and nothing of this task lies in sink partition p at or behind `sink_end`.* It is written after the rows were
//! acknowledged, now and then: at most every half second, at idle, at a graceful stop.
//!
//! To resume: read the checkpoint; read the headers of the batches in each sink partition from `sink_end` on; the
//! last one of our own producer tells how far the lane really got, hence how many rows behind the checkpoint are
//! there already. Read the source again from `source_next`, drop exactly that many rows of each lane, and go on with
//! the sequence that follows. What can go wrong, walked through:
//!
//! * **Killed before a batch arrived.** The scan does not see it; its rows are made again and written.
//! * **Killed after the append, before the answer or before the checkpoint.** The scan sees the batch; its rows are
//!   made again and dropped.
//! * **Killed after the answer to lane 0 of a request, before lane 1 was appended.** Lanes are scanned and dropped one
//!   by one, so lane 0 drops more than lane 1.
//! * **The answer was lost, the process lives.** The same bytes are sent again: the broker has them and says so.
//! * **Killed with a batch still on its way; it arrives after the scan.** (1) The scan ends at sequence 40. (2) The old
//!   batch 40..60 arrives. (3) The new life sends 40..50, cut differently: the broker refuses it, as 60 is next. (4)
//!   The task scans again, finds 60, drops twenty rows more. Had (3) come before (2), the broker would have refused the
//!   old batch. Two lives at once cannot repeat a row for the same reason.
//! * **Killed between asking for an identity and writing it down.** The first checkpoint of a task is written before
//!   the first row; an identity that was never written down was never used.
//! * **The writing of a checkpoint was not answered.** An older checkpoint is as right as a newer one: the scan is only
//!   longer. `serial` tells which is newer should a late one arrive behind its successor.
//! * **The broker has forgotten the producer, or the sink topic was deleted and made again.** The task takes a new
//!   identity. The rows that the old one left behind the checkpoint become `already`, and the new lane starts at 0;
//!   that is written down before the first row under the new identity.
//! * **Source rows behind the checkpoint are gone** (retention, damage) while their output is there. Which of the rows in
//!   the lane were theirs cannot be known. Each lost row gave its lane at most one row, so dropping that many fewer
//!   never loses a row; it may repeat some, and the task says so ([`Replay::gap`]).
//!
//! * **The source is another topic of its name, or has lost its last records.** The id of the topic and its end tell; the
//!   table in `flow/shift.rs` says where the task goes on. Under a new identity, since the sequences of the old one
//!   stand for rows that cannot be made again. Where the source has lost records behind the checkpoint only, the rows
//!   made of them are not awaited behind the end that the source had at the start.
//! * **A row has a time that the sink does not take.** Whether it does depends on a clock, so the decision would be
//!   another one when the row is made again. It is written down before any row behind it is sent ([`PassedOver`]).
//!
//! What this leaves out: functions that read a clock or roll dice are not functions of the input. They may give another
//! *value* the second time, which nobody can have seen; in WHERE they may also let another *number* of rows through.

use protocol::batch::Header;
use protocol::id::{Offset, Partition, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use protocol::verbs::ProducerIdentity;
use serde::{Deserialize, Serialize};

use super::passed_over::{PassedOver, StoredRun};
use crate::frontier::Frontier;

/// Where a task stands; see the head of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Counts the checkpoints of a task: the largest is the newest.
    pub serial: u64,
    /// The task's own producer.
    pub identity: ProducerIdentity,
    /// The topic that it reads: this life of it. `None` in those of older versions.
    pub source: Option<TopicId>,
    /// Everything that depends on how far the source was read.
    pub mark: Mark,
    /// One for each sink partition, in order. Their number never changes, so that a key stays in its partition.
    pub lanes: Vec<Lane>,
    /// Rows behind the mark that the sink did not take and that are not to be judged again.
    pub passed_over: PassedOver,
}

/// How far the source is done, and what belongs to that point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// All rows before it are done: `..source_next`.
    pub source_next: Offset,
    /// Stream time there.
    pub frontier: Frontier,
    /// For each lane: rows behind `source_next` that lie in the sink already and are to be dropped when made again.
    pub already: Vec<u64>,
}

/// One sink partition as a task has filled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The sequence of the next row.
    pub next_sequence: Sequence,
    /// Nothing of this task lies at this offset or behind it.
    pub sink_end: Offset,
}

impl Checkpoint {
    /// The first checkpoint of a task: nothing read, nothing written. `sink_ends` are the ends of the sink partitions.
    pub fn first(
        identity: ProducerIdentity,
        source: TopicId,
        source_next: Offset,
        sink_ends: &[Offset],
    ) -> Self {
        Self {
            serial: 0,
            identity,
            source: Some(source),
            mark: Mark {
                source_next,
                frontier: Frontier::START,
                already: vec![0; sink_ends.len()],
            },
            lanes: fresh_lanes(sink_ends),
            passed_over: PassedOver::default(),
        }
    }

    /// The same place under a new producer: what the old one left behind the checkpoint is to be dropped.
    #[must_use]
    pub fn with_identity(self, identity: ProducerIdentity, sink_ends: &[Offset]) -> Self {
        Self { identity, lanes: fresh_lanes(sink_ends), ..self }
    }

    /// Takes note of a batch header at or behind the lane's `sink_end`.
    ///
    /// Not the records are counted but the sequences: batches that retention or compaction has taken away since are
    /// counted by the ones that follow them.
    pub fn saw(&mut self, lane: usize, header: &Header) {
        let (Some(producer), Some(state), Some(already)) =
            (header.producer, self.lanes.get_mut(lane), self.mark.already.get_mut(lane))
        else {
            return;
        };
        if producer.id != self.identity.id || producer.epoch != self.identity.epoch {
            return;
        }
        let next = producer.base_sequence.plus(header.offset_count());
        let ahead = sequences_between(state.next_sequence, next);
        if ahead <= SEQUENCES_AHEAD_MAX {
            *already += u64::from(ahead);
            state.next_sequence = next;
            state.sink_end = state.sink_end.max(header.end_offset());
        }
    }

    /// The key of its record: query and source partition.
    pub fn key(query: &str, partition: Partition) -> String {
        format!("{query}/{partition}")
    }

    /// The value of its record.
    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            version: VERSION,
            serial: self.serial,
            producer_id: self.identity.id.0,
            producer_epoch: self.identity.epoch.0,
            source: self.source.map(|id| id.to_string()),
            source_next: self.mark.source_next.get(),
            stream_time: self.mark.frontier.time().map(|time| time.0),
            lanes: self
                .lanes
                .iter()
                .zip(&self.mark.already)
                .map(|(lane, already)| StoredLane {
                    next_sequence: lane.next_sequence.get(),
                    sink_end: lane.sink_end.get(),
                    already: *already,
                })
                .collect(),
            passed_over: self.passed_over.encode(),
        };
        serde_json::to_vec(&stored).expect("plain numbers and lists always become JSON")
    }

    /// Reads the value of a record.
    ///
    /// # Errors
    /// When it is not a checkpoint of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let stored: Stored = serde_json::from_slice(bytes)
            .map_err(|cause| CheckpointError::Layout { cause: cause.to_string() })?;
        if stored.version != VERSION {
            return Err(CheckpointError::Version { found: stored.version });
        }
        let offset =
            |field, found| Offset::new(found).map_err(|_| CheckpointError::Number { field, found });
        let lanes = stored.lanes.iter().map(|lane| {
            let next_sequence =
                Sequence::new(lane.next_sequence).ok_or(CheckpointError::Number {
                    field: "next_sequence",
                    found: lane.next_sequence.into(),
                })?;
            Ok(Lane { next_sequence, sink_end: offset("sink_end", lane.sink_end)? })
        });
        Ok(Self {
            serial: stored.serial,
            identity: ProducerIdentity {
                id: ProducerId(stored.producer_id),
                epoch: ProducerEpoch(stored.producer_epoch),
            },
            source: stored.source.map(|id| id.parse()).transpose().map_err(
                |error: protocol::id::IdError| CheckpointError::Layout { cause: error.to_string() },
            )?,
            lanes: lanes.collect::<Result<_, CheckpointError>>()?,
            mark: Mark {
                source_next: offset("source_next", stored.source_next)?,
                frontier: Frontier::at(stored.stream_time.map(Timestamp)),
                already: stored.lanes.iter().map(|lane| lane.already).collect(),
            },
            passed_over: PassedOver::decode(&stored.passed_over).ok_or_else(|| {
                CheckpointError::Layout { cause: "passed_over is no list of rows".to_owned() }
            })?,
        })
    }
}

/// Rows that are made again after a restart and lie in the sink already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    already: Vec<u64>,
}

impl Replay {
    /// The rows to drop, as a checkpoint has them after the scan.
    pub fn new(already: Vec<u64>) -> Self {
        Self { already }
    }

    /// Asks for each row in order: is it new? A row that is not new is to be dropped.
    pub fn is_new(&mut self, lane: usize) -> bool {
        match self.already.get_mut(lane) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        }
    }

    /// Source rows cannot be read again. True when rows may be repeated because of it.
    pub fn gap(&mut self, rows: u64) -> bool {
        let unsure = rows > 0 && self.already.iter().any(|left| *left > 0);
        for left in &mut self.already {
            *left = left.saturating_sub(rows);
        }
        unsure
    }

    /// Rows still to be dropped, for each lane.
    pub fn left(&self) -> &[u64] {
        &self.already
    }
}

/// Why bytes are not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not the JSON that was expected.
    #[error("the checkpoint is not readable: {cause}")]
    Layout {
        /// What serde says.
        cause: String,
    },
    /// Written by another version of the program.
    #[error(
        "the checkpoint has version {found}; this program reads version {VERSION}: use the newer program"
    )]
    Version {
        /// The version.
        found: u32,
    },
    /// A number out of its range.
    #[error("the checkpoint says {field} = {found}, which cannot be")]
    Number {
        /// The field.
        field: &'static str,
        /// Its value.
        found: i64,
    },
}

/// The version of the stored form.
const VERSION: u32 = 1;

/// A lane is never this far ahead of its checkpoint; a larger distance means behind it. Half the range of sequences.
const SEQUENCES_AHEAD_MAX: u32 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    serial: u64,
    producer_id: i64,
    producer_epoch: i16,
    /// Not in those of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    source_next: i64,
    stream_time: Option<i64>,
    lanes: Vec<StoredLane>,
    /// Not in those of older versions; left out where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    passed_over: Vec<StoredRun>,
}

#[derive(Serialize, Deserialize)]
struct StoredLane {
    next_sequence: i32,
    sink_end: i64,
    already: u64,
}

fn fresh_lanes(sink_ends: &[Offset]) -> Vec<Lane> {
    let fresh = |sink_end: &Offset| Lane { next_sequence: Sequence::ZERO, sink_end: *sink_end };
    sink_ends.iter().map(fresh).collect()
}

/// Steps from `from` up to `to`, through the wrap behind 2^31 - 1.
fn sequences_between(from: Sequence, to: Sequence) -> u32 {
    to.get().wrapping_sub(from.get()).cast_unsigned() & i32::MAX.cast_unsigned()
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may fail")]
mod tests {
    use proptest::prelude::*;
    use protocol::batch::{Builder, ProducerStamp, Stamp};
    use protocol::compression::Compression;
    use protocol::id::LeaderEpoch;
    use protocol::record::Record;

    use super::*;

    fn identity(id: i64) -> ProducerIdentity {
        ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(0) }
    }

    fn first(id: i64, source_next: Offset, sink_ends: &[Offset]) -> Checkpoint {
        let source = "1".repeat(32).parse().unwrap();
        Checkpoint::first(identity(id), source, source_next, sink_ends)
    }

    fn header(id: i64, base_sequence: Sequence, rows: usize, base_offset: i64) -> Header {
        let mut builder = Builder::new(Compression::None);
        for _ in 0..rows {
            builder.push(&Record::of_value("x"), Timestamp(0));
        }
        let producer = ProducerStamp { id: ProducerId(id), epoch: ProducerEpoch(0), base_sequence };
        let stamp = Stamp {
            base_offset: Offset::new(base_offset).unwrap(),
            leader_epoch: LeaderEpoch(0),
            append_time: None,
        };
        *builder.finish(Some(producer)).stamp(stamp).header()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            serial: u64,
            id in 0_i64..,
            source in 0_i64..,
            source_id: Option<u128>,
            time in any::<Option<i64>>(),
            lanes in prop::collection::vec((0_i32.., 0_i64.., any::<u64>()), 0..5),
            passed in prop::collection::vec(0_i64..1_000, 0..5),
        ) {
            let mut passed_over = PassedOver::default();
            passed.into_iter().for_each(|row| passed_over.add(Offset::new(row).unwrap()));
            let checkpoint = Checkpoint {
                serial,
                identity: identity(id),
                source: source_id.map(|id| format!("{id:032x}").parse().unwrap()),
                mark: Mark {
                    source_next: Offset::new(source).unwrap(),
                    frontier: Frontier::at(time.map(Timestamp)),
                    already: lanes.iter().map(|lane| lane.2).collect(),
                },
                lanes: lanes.iter().map(|lane| Lane {
                    next_sequence: Sequence::new(lane.0).unwrap(),
                    sink_end: Offset::new(lane.1).unwrap(),
                }).collect(),
                passed_over,
            };
            prop_assert_eq!(Checkpoint::decode(&checkpoint.encode()).unwrap(), checkpoint);
        }

        /// However the rows were cut into batches, whichever of the earlier ones retention has taken, and wherever
        /// the sequence stood: the scan finds how many rows lie behind the checkpoint.
        #[test]
        fn the_scan_finds_how_far_the_lane_got(
            start in prop::sample::select(vec![0, 5, i32::MAX - 3, i32::MAX]),
            batches in prop::collection::vec((1_usize..6, any::<bool>(), any::<bool>()), 0..12),
        ) {
            let mut checkpoint = first(7, Offset::ZERO, &[Offset::ZERO]);
            checkpoint.lanes[0].next_sequence = Sequence::new(start).unwrap();
            let (mut sequence, mut offset, mut written) = (checkpoint.lanes[0].next_sequence, 0, 0);
            let last = batches.len().saturating_sub(1);
            for (index, (rows, foreign, trimmed)) in batches.into_iter().enumerate() {
                if foreign {
                    checkpoint.saw(0, &header(8, Sequence::ZERO, rows, offset));
                }
                if index == last || !trimmed {
                    checkpoint.saw(0, &header(7, sequence, rows, offset + 6));
                }
                sequence = sequence.plus(u32::try_from(rows).unwrap());
                written += rows as u64;
                offset += 12;
            }
            prop_assert_eq!(&checkpoint.mark.already, &vec![written]);
            prop_assert_eq!(checkpoint.lanes[0].next_sequence, sequence);
        }

        #[test]
        fn a_replay_drops_exactly_what_is_there(already in prop::collection::vec(0_u64..20, 1..4), rows in 0_usize..100) {
            let mut replay = Replay::new(already.clone());
            let mut new = vec![0_u64; already.len()];
            for row in 0..rows {
                let lane = row % already.len();
                new[lane] += u64::from(replay.is_new(lane));
            }
            for (lane, already) in already.iter().enumerate() {
                let made = (rows / new.len() + usize::from(lane < rows % new.len())) as u64;
                prop_assert_eq!(new[lane], made.saturating_sub(*already));
                prop_assert_eq!(replay.left()[lane], already.saturating_sub(made));
            }
        }
    }

    #[test]
    fn a_gap_drops_fewer_rows_and_says_so() {
        let mut replay = Replay::new(vec![5, 0, 2]);
        assert!(!replay.gap(0));
        assert!(replay.gap(3));
        assert_eq!(replay.left(), [2, 0, 0]);
        let mut caught_up = Replay::new(vec![0, 0]);
        assert!(!caught_up.gap(3), "nothing to drop, nothing to repeat");
    }

    #[test]
    fn a_new_identity_keeps_what_the_old_one_left() {
        let mut checkpoint = first(7, Offset::ZERO, &[Offset::ZERO]);
        checkpoint.saw(0, &header(7, Sequence::ZERO, 3, 10));
        let renewed = checkpoint.with_identity(identity(9), &[Offset::new(13).unwrap()]);
        assert_eq!(renewed.mark.already, [3]);
        assert_eq!(renewed.lanes[0].next_sequence, Sequence::ZERO);
        assert_eq!(renewed.lanes[0].sink_end.get(), 13);
    }

    #[test]
    fn a_checkpoint_of_an_older_version_has_no_source_and_passes_nothing_over() {
        let old = r#"{"version":1,"serial":3,"producer_id":7,"producer_epoch":0,"source_next":5,"stream_time":null,
            "lanes":[{"next_sequence":2,"sink_end":9,"already":0}]}"#;
        let read = Checkpoint::decode(old.as_bytes()).unwrap();
        assert_eq!((read.source, read.mark.source_next.get()), (None, 5));
        assert_eq!(read.passed_over, PassedOver::default());
        let new = String::from_utf8(read.encode()).unwrap();
        assert!(!new.contains("passed_over") && !new.contains("source\""), "{new}");
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        assert!(matches!(Checkpoint::decode(b"{}"), Err(CheckpointError::Layout { .. })));
        let good = first(1, Offset::ZERO, &[Offset::ZERO]).encode();
        let good = String::from_utf8(good).unwrap();
        let newer = good.replace("\"version\":1", "\"version\":2");
        assert_eq!(
            Checkpoint::decode(newer.as_bytes()),
            Err(CheckpointError::Version { found: 2 })
        );
        let wrong = good.replace("\"sink_end\":0", "\"sink_end\":-1");
        assert!(matches!(
            Checkpoint::decode(wrong.as_bytes()),
            Err(CheckpointError::Number { field: "sink_end", found: -1 })
        ));
    }
}
