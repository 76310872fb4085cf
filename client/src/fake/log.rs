//! One partition of the broker in memory: batches in order, and what is remembered of idempotent producers.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use protocol::batch::{Batch, Header, ProducerStamp, Stamp};
use protocol::id::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use protocol::limits::PRODUCER_BATCHES_REMEMBERED;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{Appended, FetchEntry, Fetched, Position, PositionFound};

/// A partition.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) batches: Vec<Batch>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    producers: HashMap<ProducerId, Producer>,
    /// Base offsets of the batches that readers get damaged.
    damaged: Vec<Offset>,
}

/// What a partition remembers of an idempotent producer.
#[derive(Debug)]
struct Producer {
    epoch: ProducerEpoch,
    next: Sequence,
    last: VecDeque<(Sequence, Appended)>,
}

impl Log {
    /// Appends a batch, or answers a repeat with its old place.
    pub(super) fn append(&mut self, batch: Batch) -> std::result::Result<Appended, Refusal> {
        let stamp = batch.header().producer;
        if let Some(repeated) = self.check_sequence(stamp)? {
            return Ok(repeated);
        }
        let base_offset = self.end;
        let count = batch.header().offset_count();
        let stamped =
            batch.stamp(Stamp { base_offset, leader_epoch: LeaderEpoch(0), append_time: None });
        self.end = self.end.plus(count.into());
        self.remember(stamped.header());
        self.batches.push(stamped);
        Ok(Appended { base_offset, append_time: None, repeated: false })
    }

    /// Takes note of a batch of an idempotent producer.
    fn remember(&mut self, header: &Header) {
        let base_offset = header.base_offset;
        let appended = Appended { base_offset, append_time: None, repeated: false };
        if let Some(ProducerStamp { id, epoch, base_sequence }) = header.producer {
            let known = self.producers.entry(id).or_insert(Producer {
                epoch,
                next: Sequence::ZERO,
                last: VecDeque::new(),
            });
            if known.epoch != epoch {
                known.last.clear();
            }
            known.epoch = epoch;
            known.next = base_sequence.plus(header.offset_count());
            known.last.push_back((base_sequence, appended));
            if known.last.len() > PRODUCER_BATCHES_REMEMBERED {
                known.last.pop_front();
            }
        }
    }

    /// New (`None`), a repeat with its old place, or out of order.
    fn check_sequence(
        &self,
        stamp: Option<ProducerStamp>,
    ) -> std::result::Result<Option<Appended>, Refusal> {
        let Some(ProducerStamp { id, epoch, base_sequence }) = stamp else { return Ok(None) };
        let known = self.producers.get(&id);
        if let Some(known) = known.filter(|known| epoch < known.epoch) {
            let message =
                format!("fake broker: producer {id} has epoch {}, not {}", known.epoch.0, epoch.0);
            return Err(Refusal::new(Outcome::ProducerFenced, message));
        }
        let known = known.filter(|known| known.epoch == epoch);
        let repeated = known
            .and_then(|known| known.last.iter().find(|(sequence, _)| *sequence == base_sequence));
        if let Some((_, appended)) = repeated {
            return Ok(Some(Appended { repeated: true, ..*appended }));
        }
        let expected = known.map_or(Sequence::ZERO, |known| known.next);
        if base_sequence != expected {
            return Err(Refusal::new(
                Outcome::OutOfOrderSequence,
                format!("fake broker: producer {id} sent sequence {base_sequence}, not {expected}"),
            ));
        }
        Ok(None)
    }

    /// Whole batches from an offset on.
    pub(super) fn read(
        &self,
        entry: &FetchEntry,
        bytes_max: usize,
        at_least_one: bool,
    ) -> std::result::Result<Fetched, Refusal> {
        if entry.offset < self.start || entry.offset > self.end {
            let message = format!(
                "fake broker: topic {}, partition {} has offsets {}..{}, not {}",
                entry.topic, entry.partition, self.start, self.end, entry.offset
            );
            let nearest = entry.offset.clamp(self.start, self.end);
            return Err(Refusal::new(Outcome::OffsetOutOfRange, message).resume_at(nearest));
        }
        let mut fetched = Fetched { batches: Vec::new(), start: self.start, end: self.end };
        let first = self.batches.partition_point(|it| it.header().end_offset() <= entry.offset);
        for batch in self.batches.iter().skip(first) {
            let fits = fetched.bytes() + batch.bytes().len() <= bytes_max;
            let must = at_least_one && fetched.batches.is_empty();
            if !fits && !must {
                break;
            }
            fetched.batches.push(self.bytes_of(batch));
        }
        Ok(fetched)
    }

    /// Removes the records before `start`.
    pub(super) fn trim(&mut self, start: Offset) {
        self.start = start.min(self.end).max(self.start);
        self.batches.retain(|batch| batch.header().end_offset() > self.start);
    }

    /// Removes the batches that reach behind `end`, and what is remembered of them.
    pub(super) fn cut(&mut self, end: Offset) {
        let batches = std::mem::take(&mut self.batches);
        self.producers.clear();
        self.end = self.start;
        for batch in batches.into_iter().take_while(|batch| batch.header().end_offset() <= end) {
            self.end = batch.header().end_offset();
            self.remember(batch.header());
            self.batches.push(batch);
        }
    }

    /// Readers get the batch that holds `offset` with a flipped bit from now on.
    pub(super) fn damage(&mut self, offset: Offset) {
        let holds = |batch: &&Batch| batch.header().end_offset() > offset;
        self.damaged.extend(self.batches.iter().find(holds).map(|it| it.header().base_offset));
    }

    /// The bytes as a reader gets them.
    fn bytes_of(&self, batch: &Batch) -> Bytes {
        if !self.damaged.contains(&batch.header().base_offset) {
            return batch.bytes().clone();
        }
        let mut bytes = batch.bytes().to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        bytes.into()
    }

    /// Where a position lies.
    pub(super) fn find(&self, at: Position) -> PositionFound {
        let found = |offset| PositionFound { offset, timestamp: None };
        match at {
            Position::Earliest => found(self.start),
            Position::Latest => found(self.end),
            Position::Offset(offset) => found(offset),
            Position::Time(time) => self.find_time(time).unwrap_or_else(|| found(self.end)),
        }
    }

    fn find_time(&self, time: Timestamp) -> Option<PositionFound> {
        let mut scratch = Vec::new();
        self.batches.iter().find_map(|batch| {
            let mut views = batch.records(&mut scratch).into_iter().flatten().flatten();
            let view = views.find(|view| view.offset >= self.start && view.timestamp >= time)?;
            Some(PositionFound { offset: view.offset, timestamp: Some(view.timestamp) })
        })
    }
}

#[cfg(test)]
mod tests {
    use protocol::batch::Builder;
    use protocol::compression::Compression;
    use protocol::record::Record;

    use super::*;

    fn batch(id: i64, epoch: i16, sequence: i32) -> Batch {
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record::of_value("a"), Timestamp(1));
        builder.push(&Record::of_value("b"), Timestamp(2));
        let base_sequence = Sequence::new(sequence).unwrap();
        let epoch = ProducerEpoch(epoch);
        builder.finish(Some(ProducerStamp { id: ProducerId(id), epoch, base_sequence }))
    }

    #[test]
    fn a_batch_that_comes_again_keeps_its_first_place() {
        let mut log = Log::default();
        for sequence in [0, 2, 4] {
            assert!(!log.append(batch(1, 0, sequence)).unwrap().repeated);
        }
        let again = log.append(batch(1, 0, 2)).unwrap();
        assert!(again.repeated && again.base_offset == Offset::new(2).unwrap());
        assert_eq!(log.end, Offset::new(6).unwrap());
    }

    #[test]
    fn what_is_cut_is_forgotten_and_can_be_sent_again() {
        let mut log = Log::default();
        for sequence in [0, 2, 4] {
            log.append(batch(1, 0, sequence)).unwrap();
        }
        log.cut(Offset::new(3).unwrap());
        assert_eq!((log.end, log.batches.len()), (Offset::new(2).unwrap(), 1));
        assert!(log.append(batch(1, 0, 0)).unwrap().repeated);
        assert_eq!(log.append(batch(1, 0, 2)).unwrap().base_offset, Offset::new(2).unwrap());
    }

    #[test]
    fn gaps_and_old_lives_are_refused() {
        let mut log = Log::default();
        let refused = |log: &mut Log, batch| log.append(batch).unwrap_err().outcome;
        assert_eq!(refused(&mut log, batch(1, 0, 2)), Outcome::OutOfOrderSequence);
        log.append(batch(1, 1, 0)).unwrap();
        assert_eq!(refused(&mut log, batch(1, 1, 4)), Outcome::OutOfOrderSequence);
        assert_eq!(refused(&mut log, batch(1, 0, 2)), Outcome::ProducerFenced);
        log.append(batch(2, 0, 0)).unwrap();
        assert_eq!(log.end, Offset::new(4).unwrap());
    }
}
