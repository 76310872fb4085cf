//! Per-producer sequences of one log: is this batch new, a repeat, or out of order?
//!
//! | what is known of the producer | the batch | verdict |
//! |---|---|---|
//! | nothing (new, or forgotten) | any sequence | new |
//! | nothing, and its first batch found no room | another than that one, of its epoch | out of order |
//! | a later epoch | any | fenced |
//! | an earlier epoch | sequence 0 | new |
//! | an earlier epoch | another sequence | out of order |
//! | this epoch | first and last sequence of one of the last five | repeat |
//! | this epoch | follows the last one | new |
//! | this epoch | anything else | out of order |
//!
//! The table is bounded ([`PRODUCERS_PER_PARTITION_MAX`], longest silent goes first) and lives in the checkpoint of
//! the log; what was appended since is replayed from the batches. Nothing here reads a record.

use std::collections::{BTreeMap, HashMap};

use bytes::BufMut;
use protocol::batch::ProducerStamp;
use protocol::id::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use protocol::limits::{PRODUCER_BATCHES_REMEMBERED, PRODUCERS_PER_PARTITION_MAX};

use crate::error::StageError;
use crate::format::{Fields, STATE_BATCH, STATE_PRODUCER, put_count};

/// A batch that is in the log, or in line to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) base_sequence: Sequence,
    pub(crate) records: u32,
    pub(crate) base_offset: Offset,
    /// The time that its records got, where the topic has append time.
    pub(crate) append_time: Option<Timestamp>,
}

impl Sent {
    pub(crate) fn end(&self) -> Offset {
        self.base_offset.plus(u64::from(self.records))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    last_append: Timestamp,
    /// Oldest first; the first is always there.
    recent: [Option<Sent>; PRODUCER_BATCHES_REMEMBERED],
}

impl Producer {
    fn sent(&self) -> impl DoubleEndedIterator<Item = Sent> {
        self.recent.iter().flatten().copied()
    }

    fn last(&self) -> Option<Sent> {
        self.sent().next_back()
    }

    fn push(&mut self, sent: Sent) {
        match self.recent.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(sent),
            None => {
                self.recent.rotate_left(1);
                if let Some(last) = self.recent.last_mut() {
                    *last = Some(sent);
                }
            }
        }
    }
}

/// What a batch of an idempotent producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// To be appended.
    New,
    /// Here already.
    Repeat(Sent),
}

/// What to put back when a batch in line is dropped.
#[derive(Debug)]
pub(crate) struct Undo {
    id: ProducerId,
    before: Option<Producer>,
    /// What the batch is that is dropped.
    epoch: ProducerEpoch,
    base_sequence: Sequence,
}

/// The producers of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<ProducerId, Producer>,
    /// By the offset of their last batch: the longest silent first.
    by_last: BTreeMap<Offset, ProducerId>,
    /// Producers of which nothing is here, but whose first batch was in line and was dropped: it must come first when
    /// it comes again. Else a batch that they had sent behind it, and that finds room, would be taken for their first.
    owed: BTreeMap<ProducerId, (ProducerEpoch, Sequence)>,
}

impl Producers {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Says what a batch of `records` records is. Changes nothing.
    pub(crate) fn judge(&self, stamp: &ProducerStamp, records: u32) -> Result<Verdict, StageError> {
        let Some(known) = self.by_id.get(&stamp.id) else { return self.judge_unknown(stamp) };
        if stamp.epoch < known.epoch {
            return Err(StageError::Fenced {
                producer: stamp.id,
                current: known.epoch,
                found: stamp.epoch,
            });
        }
        let expected = if stamp.epoch > known.epoch {
            Sequence::ZERO
        } else {
            let is_it =
                |sent: &Sent| sent.base_sequence == stamp.base_sequence && sent.records == records;
            if let Some(sent) = known.sent().rev().find(is_it) {
                return Ok(Verdict::Repeat(sent));
            }
            known.last().map_or(Sequence::ZERO, |last| last.base_sequence.plus(last.records))
        };
        if stamp.base_sequence == expected {
            Ok(Verdict::New)
        } else {
            let found = stamp.base_sequence;
            Err(StageError::OutOfOrderSequence { producer: stamp.id, expected, found })
        }
    }

    /// A producer of which nothing is here may begin anywhere (what it sent may have been let go), unless it owes a
    /// batch.
    fn judge_unknown(&self, stamp: &ProducerStamp) -> Result<Verdict, StageError> {
        let (producer, found) = (stamp.id, stamp.base_sequence);
        match self.owed.get(&producer) {
            Some((epoch, expected)) if *epoch == stamp.epoch && *expected != found => {
                Err(StageError::OutOfOrderSequence { producer, expected: *expected, found })
            }
            _ => Ok(Verdict::New),
        }
    }

    /// Takes note of a batch behind all others, which [`Self::judge`] has called new or which stands in the log.
    pub(crate) fn note(&mut self, stamp: &ProducerStamp, sent: Sent, now: Timestamp) -> Undo {
        let before = self.take(stamp.id);
        let mut after = before.filter(|known| known.epoch == stamp.epoch).unwrap_or(Producer {
            epoch: stamp.epoch,
            last_append: now,
            recent: Default::default(),
        });
        after.last_append = now;
        after.push(sent);
        self.put(stamp.id, after);
        self.owed.remove(&stamp.id);
        Undo { id: stamp.id, before, epoch: stamp.epoch, base_sequence: stamp.base_sequence }
    }

    /// Takes a note back. The last note goes first.
    pub(crate) fn undo(&mut self, undo: &Undo) {
        self.take(undo.id);
        if let Some(before) = undo.before {
            self.put(undo.id, before);
        } else {
            self.owed.insert(undo.id, (undo.epoch, undo.base_sequence));
            if self.owed.len() > PRODUCERS_PER_PARTITION_MAX {
                self.owed.pop_first();
            }
        }
    }

    /// Forgets the longest silent while there are too many.
    pub(crate) fn bound(&mut self) {
        while self.by_id.len() > PRODUCERS_PER_PARTITION_MAX {
            let Some((_, id)) = self.by_last.pop_first() else { return };
            self.by_id.remove(&id);
        }
    }

    /// Forgets those whose last append was before `time`.
    pub(crate) fn expire(&mut self, time: Timestamp) {
        self.by_id.retain(|_, producer| producer.last_append >= time);
        let by_id = &self.by_id;
        self.by_last.retain(|_, id| by_id.contains_key(id));
    }

    fn take(&mut self, id: ProducerId) -> Option<Producer> {
        let producer = self.by_id.remove(&id)?;
        if let Some(last) = producer.last() {
            self.by_last.remove(&last.base_offset);
        }
        Some(producer)
    }

    fn put(&mut self, id: ProducerId, producer: Producer) {
        if let Some(last) = producer.last() {
            self.by_last.insert(last.base_offset, id);
            self.by_id.insert(id, producer);
        }
    }

    /// Appends the producers, in the order of their last batches, as they lie in a checkpoint.
    pub(crate) fn encode(&self, output: &mut Vec<u8>) {
        for id in self.by_last.values() {
            let Some(producer) = self.by_id.get(id) else { continue };
            output.put_i64(id.0);
            output.put_i16(producer.epoch.0);
            output.put_i64(producer.last_append.0);
            put_count(output, producer.sent().count());
            for sent in producer.sent() {
                output.put_i32(sent.base_sequence.get());
                output.put_u32(sent.records);
                output.put_i64(sent.base_offset.get());
                output.put_i64(sent.append_time.unwrap_or(Timestamp::NONE).0);
            }
        }
    }

    /// Reads `count` producers.
    pub(crate) fn decode(fields: &mut Fields<'_>, count: usize) -> Option<Self> {
        let mut producers = Self::default();
        if count > fields.0.len() / STATE_PRODUCER.bytes() {
            return None;
        }
        for _ in 0..count {
            let id = ProducerId(fields.i64()?);
            let mut producer = Producer {
                epoch: ProducerEpoch(fields.i16()?),
                last_append: Timestamp(fields.i64()?),
                recent: Default::default(),
            };
            let batches = fields.count(STATE_BATCH.bytes())?;
            if !(1..=PRODUCER_BATCHES_REMEMBERED).contains(&batches) {
                return None;
            }
            for _ in 0..batches {
                producer.push(Sent {
                    base_sequence: Sequence::new(fields.i32()?)?,
                    records: fields.u32()?,
                    base_offset: fields.offset()?,
                    append_time: Some(Timestamp(fields.i64()?))
                        .filter(|time| *time != Timestamp::NONE),
                });
            }
            producers.put(id, producer);
        }
        Some(producers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp(id: i64, epoch: i16, sequence: i32) -> ProducerStamp {
        ProducerStamp {
            id: ProducerId(id),
            epoch: ProducerEpoch(epoch),
            base_sequence: Sequence::new(sequence).unwrap(),
        }
    }

    fn sent(stamp: &ProducerStamp, records: u32, offset: u64) -> Sent {
        Sent {
            base_sequence: stamp.base_sequence,
            records,
            base_offset: Offset::ZERO.plus(offset),
            append_time: None,
        }
    }

    fn note(producers: &mut Producers, stamp: ProducerStamp, records: u32, offset: u64) -> Undo {
        producers.note(&stamp, sent(&stamp, records, offset), Timestamp(offset as i64))
    }

    #[test]
    fn the_table_at_the_head_of_the_file_holds() {
        let mut producers = Producers::default();
        let judge = |producers: &Producers, epoch, sequence, records| {
            producers.judge(&stamp(1, epoch, sequence), records)
        };
        assert_eq!(judge(&producers, 3, 77, 2), Ok(Verdict::New));
        for number in 0..6 {
            note(&mut producers, stamp(1, 3, 77 + 2 * number), 2, 10 + 2 * number as u64);
        }
        assert!(matches!(judge(&producers, 2, 89, 1), Err(StageError::Fenced { .. })));
        assert_eq!(judge(&producers, 4, 0, 1), Ok(Verdict::New));
        let found = judge(&producers, 4, 1, 1).unwrap_err();
        assert!(matches!(found, StageError::OutOfOrderSequence { expected: Sequence::ZERO, .. }));
        assert_eq!(judge(&producers, 3, 89, 1), Ok(Verdict::New));
        assert!(judge(&producers, 3, 90, 1).is_err());
        let Ok(Verdict::Repeat(repeat)) = judge(&producers, 3, 79, 2) else { panic!() };
        assert_eq!((repeat.base_offset.get(), repeat.end().get()), (12, 14));
        assert!(judge(&producers, 3, 79, 1).is_err(), "another last sequence is another batch");
        assert!(judge(&producers, 3, 77, 2).is_err(), "only five are remembered");
    }

    #[test]
    fn sequences_go_on_at_zero_behind_the_largest() {
        let mut producers = Producers::default();
        note(&mut producers, stamp(1, 0, i32::MAX - 1), 3, 0);
        assert_eq!(producers.judge(&stamp(1, 0, 1), 1), Ok(Verdict::New));
        assert!(producers.judge(&stamp(1, 0, 0), 1).is_err());
    }

    #[test]
    fn the_longest_silent_is_forgotten_first() {
        let mut producers = Producers::default();
        let most = PRODUCERS_PER_PARTITION_MAX as i64;
        for id in 0..most {
            note(&mut producers, stamp(id, 0, 0), 1, id as u64);
        }
        note(&mut producers, stamp(0, 0, 1), 1, most as u64);
        note(&mut producers, stamp(most, 0, 0), 1, most as u64 + 1);
        producers.bound();
        assert_eq!(producers.len(), PRODUCERS_PER_PARTITION_MAX);
        assert!(producers.judge(&stamp(0, 0, 7), 1).is_err(), "0 has spoken since");
        assert_eq!(producers.judge(&stamp(1, 0, 7), 1), Ok(Verdict::New), "1 is forgotten");
        producers.expire(Timestamp(most));
        assert_eq!(producers.len(), 2);
    }

    proptest! {
        #[test]
        fn notes_are_taken_back_exactly_and_survive_their_encoding(
            batches in prop::collection::vec((0..4i64, 0..3i16, 0..50i32, 1..9u32), 1..40),
            keep in any::<prop::sample::Index>(),
        ) {
            let mut producers = Producers::default();
            let keep = keep.index(batches.len());
            let mut undos = Vec::new();
            let mut kept = producers.clone();
            for (number, (id, epoch, sequence, records)) in batches.iter().enumerate() {
                if number == keep {
                    kept = producers.clone();
                }
                let offset = number as u64 * 10;
                let undo = note(&mut producers, stamp(*id, *epoch, *sequence), *records, offset);
                if number >= keep {
                    undos.push(undo);
                }
            }
            let mut bytes = Vec::new();
            producers.encode(&mut bytes);
            let decoded = Producers::decode(&mut Fields(&bytes), producers.len());
            prop_assert_eq!(decoded.as_ref(), Some(&producers));
            for undo in undos.into_iter().rev() {
                producers.undo(&undo);
            }
            prop_assert_eq!((producers.by_id, producers.by_last), (kept.by_id, kept.by_last));
        }
    }
}
