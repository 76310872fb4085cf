//! Pure: where a consumer stands in each partition, what it fetches next, and what lies on its shelf. No I/O, no clock.
//!
//! For each partition, `position <= fetched`: between the two lie the batches on the shelf. The position moves when the
//! caller takes a record, `fetched` when an answer is shelved. A seek begins a new life of the partition: what is on
//! the shelf from the old one is thrown away, and answers to its fetches are not taken.

use std::collections::{BTreeMap, VecDeque};

use protocol::batch::{self, Batch, Header};
use protocol::id::{Offset, Partition, TopicName};
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{FetchEntry, FetchReply, FetchRequest, Fetched};

use crate::config::ConsumerConfig;
use crate::error::Error;

/// A topic and a partition of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) topic: TopicName,
    pub(super) partition: Partition,
}

/// What lies on the shelf.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Checked, not yet unfolded.
    Batch(Batch),
    /// Reading cannot go on here without a seek.
    Failure(Error),
}

/// A piece on the shelf, in the order of its partition.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) place: Place,
    pub(super) content: Content,
}

impl Chunk {
    fn bytes(&self) -> usize {
        match &self.content {
            Content::Batch(batch) => batch.bytes().len(),
            Content::Failure(_) => 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    /// The next record that the caller gets is at or behind it.
    position: Offset,
    /// The next fetch begins here.
    fetched: Offset,
    /// Counts seeks over all partitions, so that no two lives are alike.
    life: u64,
    /// True when a failure lies on the shelf: nothing more is fetched.
    failed: bool,
}

/// A fetch to send, with what is needed to take its answer.
#[derive(Clone, Debug)]
pub(super) struct PlannedFetch {
    pub(super) request: FetchRequest,
    /// The life of each entry's partition.
    lives: Vec<u64>,
}

/// Where a consumer stands. See the head of the file.
#[derive(Debug)]
pub(super) struct Positions {
    fetch_bytes: usize,
    buffer_bytes: usize,
    wait_ms: u32,
    readings: BTreeMap<Place, Reading>,
    shelf: VecDeque<Chunk>,
    shelf_bytes: usize,
    next_life: u64,
    /// Which partition comes first in the next fetch, so that all have their turn when answers are full.
    rotation: usize,
}

impl Positions {
    pub(super) fn new(config: &ConsumerConfig) -> Self {
        Self {
            fetch_bytes: config.fetch_bytes,
            buffer_bytes: config.buffer_bytes,
            wait_ms: u32::try_from(config.wait.as_millis()).unwrap_or(u32::MAX),
            readings: BTreeMap::new(),
            shelf: VecDeque::new(),
            shelf_bytes: 0,
            next_life: 0,
            rotation: 0,
        }
    }

    /// Reads a partition from here, whether it was assigned before or not.
    pub(super) fn seek(&mut self, place: &Place, to: Offset) {
        self.clear(place);
        let life = self.next_life;
        self.next_life += 1;
        let reading = Reading { position: to, fetched: to, life, failed: false };
        self.readings.insert(place.clone(), reading);
    }

    /// Reads a partition no longer.
    pub(super) fn release(&mut self, place: &Place) {
        self.clear(place);
        self.readings.remove(place);
    }

    /// The partitions that are read, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.readings.keys()
    }

    /// The offset of the next record that the caller gets, or one before it.
    pub(super) fn position(&self, place: &Place) -> Option<Offset> {
        self.readings.get(place).map(|reading| reading.position)
    }

    /// The caller has taken everything before `to`.
    pub(super) fn advance(&mut self, place: &Place, to: Offset) {
        if let Some(reading) = self.readings.get_mut(place) {
            debug_assert!(reading.position <= to && to <= reading.fetched);
            reading.position = to;
        }
    }

    /// The next fetch; `None` while the shelf is full or there is nothing to read.
    pub(super) fn plan(&mut self) -> Option<PlannedFetch> {
        let room = self.buffer_bytes.checked_sub(self.shelf_bytes).filter(|room| *room > 0)?;
        let bytes_max = u32::try_from(room.min(self.fetch_bytes)).unwrap_or(u32::MAX);
        let mut entries = Vec::with_capacity(self.readings.len());
        let mut lives = Vec::with_capacity(self.readings.len());
        let wanted = self.readings.iter().filter(|(_, reading)| !reading.failed);
        for (place, reading) in wanted {
            entries.push(FetchEntry {
                topic: place.topic.clone(),
                partition: place.partition,
                offset: reading.fetched,
                bytes_max,
            });
            lives.push(reading.life);
        }
        let turn = self.rotation.checked_rem(entries.len())?;
        self.rotation = self.rotation.wrapping_add(1);
        entries.rotate_left(turn);
        lives.rotate_left(turn);
        let request = FetchRequest { entries, bytes_min: 1, wait_ms_max: self.wait_ms, bytes_max };
        Some(PlannedFetch { request, lives })
    }

    /// Shelves an answer. What was sought since is not taken.
    ///
    /// # Errors
    /// A refusal that may pass: try again a little later.
    pub(super) fn shelve(
        &mut self,
        planned: &PlannedFetch,
        reply: FetchReply,
    ) -> std::result::Result<(), Error> {
        let mut passing = None;
        let entries = planned.request.entries.iter().zip(&planned.lives);
        for ((entry, life), result) in entries.zip(reply.entries) {
            let place = Place { topic: entry.topic.clone(), partition: entry.partition };
            match self.readings.get(&place) {
                Some(reading) if reading.life == *life => {}
                Some(_) | None => continue,
            }
            match result {
                Ok(fetched) => self.shelve_batches(&place, entry.offset, fetched),
                Err(refusal) if refusal.outcome.may_retry() => passing = Some(refusal.into()),
                Err(refusal) => self.shelve_failure(place, refusal.into()),
            }
        }
        passing.map_or(Ok(()), Err)
    }

    /// What comes next, without taking it.
    pub(super) fn front(&self) -> Option<&Chunk> {
        self.shelf.front()
    }

    /// Takes what comes next from the shelf. True when that made room on a shelf that was full.
    pub(super) fn pop_front(&mut self) -> bool {
        let was_full = self.is_full();
        if let Some(chunk) = self.shelf.pop_front() {
            self.shelf_bytes -= chunk.bytes();
        }
        was_full && !self.is_full()
    }

    /// Puts a failure in front of everything: it is met until the partition is sought or released.
    pub(super) fn fail_front(&mut self, place: Place, error: Error) {
        if let Some(reading) = self.readings.get_mut(&place) {
            reading.failed = true;
            self.shelf.push_front(Chunk { place, content: Content::Failure(error) });
        }
    }

    /// Bytes on the shelf, as stored.
    #[cfg(test)]
    pub(super) fn shelf_bytes(&self) -> usize {
        self.shelf_bytes
    }

    fn is_full(&self) -> bool {
        self.shelf_bytes >= self.buffer_bytes
    }

    fn clear(&mut self, place: &Place) {
        self.shelf.retain(|chunk| chunk.place != *place);
        self.shelf_bytes = self.shelf.iter().map(Chunk::bytes).sum();
    }

    fn shelve_batches(&mut self, place: &Place, asked: Offset, fetched: Fetched) {
        let answered = fetched.bytes();
        let mut fetched_to = asked;
        for piece in fetched.batches {
            let mut consumed = 0;
            for checked in batch::split(piece.clone()) {
                match checked {
                    Ok(batch) => {
                        consumed += batch.header().total_bytes;
                        if batch.header().end_offset() > fetched_to {
                            fetched_to = batch.header().end_offset();
                            self.shelve_chunk(place.clone(), Content::Batch(batch));
                        }
                    }
                    Err(error) => {
                        let rest = piece.get(consumed..).unwrap_or_default();
                        let behind = Header::read(rest).ok().map(|header| header.end_offset());
                        let damage = damaged(place, fetched_to, &error, behind);
                        self.set_fetched(place, fetched_to);
                        return self.shelve_failure(place.clone(), damage);
                    }
                }
            }
        }
        self.set_fetched(place, fetched_to);
        if answered > 0 && fetched_to == asked {
            // Asking again would get the same answer, for ever.
            let what = format!("{answered} bytes were answered without one whole new batch");
            self.shelve_failure(place.clone(), damaged(place, asked, &what, None));
        }
    }

    fn set_fetched(&mut self, place: &Place, to: Offset) {
        if let Some(reading) = self.readings.get_mut(place) {
            reading.fetched = to;
        }
    }

    fn shelve_failure(&mut self, place: Place, error: Error) {
        if let Some(reading) = self.readings.get_mut(&place) {
            reading.failed = true;
        }
        self.shelve_chunk(place, Content::Failure(error));
    }

    fn shelve_chunk(&mut self, place: Place, content: Content) {
        let chunk = Chunk { place, content };
        self.shelf_bytes += chunk.bytes();
        self.shelf.push_back(chunk);
    }
}

/// Bytes that came are not what was stored. `behind` is where the damaged batch says it ends.
pub(super) fn damaged(
    place: &Place,
    at: Offset,
    cause: &dyn std::fmt::Display,
    behind: Option<Offset>,
) -> Error {
    let Place { topic, partition } = place;
    let mut refusal = Refusal::new(
        Outcome::DamagedData,
        format!("topic {topic}, partition {partition}, at or behind offset {at}: {cause}"),
    );
    refusal.resume_at = behind.filter(|behind| *behind > at);
    refusal.into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use protocol::batch::{Builder, Stamp};
    use protocol::compression::Compression;
    use protocol::id::{LeaderEpoch, Timestamp};
    use protocol::record::Record;

    use super::*;

    fn offset(number: i64) -> Offset {
        Offset::new(number).unwrap()
    }

    fn place(partition: i64) -> Place {
        Place { topic: "t".parse().unwrap(), partition: Partition::new(partition).unwrap() }
    }

    fn stored(base: i64, records: usize) -> Bytes {
        let mut builder = Builder::new(Compression::None);
        for _ in 0..records {
            builder.push(&Record::of_value("v"), Timestamp(1));
        }
        let base_offset = offset(base);
        let stamp = Stamp { base_offset, leader_epoch: LeaderEpoch(0), append_time: None };
        builder.finish(None).stamp(stamp).into_bytes()
    }

    fn answer(batches: Vec<Bytes>) -> FetchReply {
        let end = offset(1_000);
        FetchReply { entries: vec![Ok(Fetched { batches, start: Offset::ZERO, end })] }
    }

    fn outcome_in_front(positions: &Positions) -> Option<(Outcome, Option<Offset>)> {
        match &positions.front()?.content {
            Content::Failure(error) => Some((error.outcome(), error.resume_at())),
            Content::Batch(_) => None,
        }
    }

    proptest! {
        /// Partitions of batches with 1 to 4 records, answered in pieces of any number of batches, with seeks in
        /// between: what is taken from the shelf is each partition's batches from where it was last sought, in order.
        #[test]
        fn what_is_taken_follows_the_last_seek(
            steps in prop::collection::vec((0_u8..4, 0_i64..3, 0_usize..5), 1..60),
        ) {
            let config = ConsumerConfig::default();
            let mut positions = Positions::new(&config);
            for partition in 0..3 {
                positions.seek(&place(partition), Offset::ZERO);
            }
            // All partitions have a batch of 4 records at every multiple of 4.
            let mut expected = [0_i64; 3];
            let mut planned = None;
            for (step, partition, number) in steps {
                match step {
                    0 => planned = positions.plan(),
                    1 => {
                        let Some(fetch) = planned.take() else { continue };
                        let fetch: PlannedFetch = fetch;
                        let entries = fetch.request.entries.iter().map(|entry| {
                            let first = entry.offset.get() / 4;
                            let batches = (0..number as i64).map(|n| stored((first + n) * 4, 4));
                            let batches = batches.collect();
                            Ok(Fetched { batches, start: Offset::ZERO, end: offset(1_000) })
                        });
                        let reply = FetchReply { entries: entries.collect() };
                        positions.shelve(&fetch, reply).unwrap();
                    }
                    2 => {
                        let to = number as i64 * 3;
                        positions.seek(&place(partition), offset(to));
                        expected[partition as usize] = to;
                    }
                    _ => {
                        let Some(chunk) = positions.front().cloned() else { continue };
                        positions.pop_front();
                        let Content::Batch(batch) = &chunk.content else { panic!("no failure") };
                        let next = &mut expected[chunk.place.partition.get() as usize];
                        prop_assert_eq!(batch.header().base_offset.get(), *next / 4 * 4);
                        *next = batch.header().end_offset().get();
                        positions.advance(&chunk.place, batch.header().end_offset());
                    }
                }
                let bytes: usize = positions.shelf.iter().map(Chunk::bytes).sum();
                prop_assert_eq!(positions.shelf_bytes(), bytes);
            }
        }
    }

    #[test]
    fn a_full_shelf_asks_for_nothing_until_there_is_room() {
        let config = ConsumerConfig::default().buffer_bytes(64 * 1024).fetch_bytes(100_000);
        let mut positions = Positions::new(&config);
        assert!(positions.plan().is_none(), "nothing is assigned");
        positions.seek(&place(0), Offset::ZERO);
        let first = positions.plan().unwrap();
        assert_eq!(first.request.bytes_max, 64 * 1024);
        let one = stored(0, 1_000);
        let mut base = 0;
        while positions.shelf_bytes() < 64 * 1024 {
            let planned = positions.plan().unwrap();
            let room = 64 * 1024 - positions.shelf_bytes();
            assert_eq!(planned.request.bytes_max as usize, room);
            positions.shelve(&planned, answer(vec![stored(base, 1_000)])).unwrap();
            base += 1_000;
        }
        assert!(positions.shelf_bytes() < 64 * 1024 + one.len());
        assert!(positions.plan().is_none());
        assert!(positions.pop_front(), "there is room again");
        assert!(positions.plan().is_some());
    }

    #[test]
    fn partitions_take_turns_at_being_first() {
        let mut positions = Positions::new(&ConsumerConfig::default());
        for partition in 0..3 {
            positions.seek(&place(partition), Offset::ZERO);
        }
        let firsts: Vec<_> =
            (0..4).map(|_| positions.plan().unwrap().request.entries[0].partition.get()).collect();
        assert_eq!(firsts, [0, 1, 2, 0]);
    }

    #[test]
    fn damage_lies_behind_what_is_sound_and_says_where_to_go_on() {
        let mut positions = Positions::new(&ConsumerConfig::default());
        positions.seek(&place(0), Offset::ZERO);
        let planned = positions.plan().unwrap();
        let mut piece = stored(0, 2).to_vec();
        piece.extend_from_slice(&stored(2, 3));
        *piece.last_mut().unwrap() ^= 1;
        positions.shelve(&planned, answer(vec![piece.into()])).unwrap();
        assert_eq!(outcome_in_front(&positions), None);
        positions.pop_front();
        let told = Some((Outcome::DamagedData, Some(offset(5))));
        assert_eq!(outcome_in_front(&positions), told);
        assert!(positions.plan().is_none(), "a failed partition is not fetched");
        positions.seek(&place(0), offset(5));
        assert!(positions.front().is_none());
        assert_eq!(positions.plan().unwrap().request.entries[0].offset, offset(5));
    }

    #[test]
    fn an_answer_that_leads_nowhere_is_a_failure_not_a_loop() {
        let mut positions = Positions::new(&ConsumerConfig::default());
        positions.seek(&place(0), Offset::ZERO);
        let planned = positions.plan().unwrap();
        let cut = stored(0, 2).slice(..70);
        positions.shelve(&planned, answer(vec![cut])).unwrap();
        assert_eq!(outcome_in_front(&positions), Some((Outcome::DamagedData, None)));
    }

    #[test]
    fn refusals_that_pass_are_no_failures() {
        let mut positions = Positions::new(&ConsumerConfig::default());
        positions.seek(&place(0), Offset::ZERO);
        let planned = positions.plan().unwrap();
        let busy = FetchReply { entries: vec![Err(Refusal::new(Outcome::Busy, ""))] };
        let error = positions.shelve(&planned, busy).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Busy);
        assert!(positions.front().is_none() && positions.plan().is_some());
        let gone = FetchReply { entries: vec![Err(Refusal::new(Outcome::UnknownTopic, ""))] };
        positions.shelve(&planned, gone).unwrap();
        assert_eq!(outcome_in_front(&positions), Some((Outcome::UnknownTopic, None)));
        positions.release(&place(0));
        assert!(positions.front().is_none() && positions.plan().is_none());
    }
}
