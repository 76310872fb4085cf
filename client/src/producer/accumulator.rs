//! Pure: records to batches. One lane for each partition; in it at most one batch that is open and any number that are
//! sealed, in order. Time comes in as an argument; memory is bounded by whoever hands records over.
//!
//! A lane is
//!
//! ```text
//!            something due            no room in its window
//!   Resting ---------------> Ready -------------------------> Parked
//!      ^                     |   ^                              |
//!      '---- nothing due ----'   '--------- room again ---------'
//! ```
//!
//! Due is what is sealed, and an open batch whose linger has passed. A parked lane goes on gathering: the slower the
//! broker, the larger the batches.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use protocol::batch::{Builder, HEADER_BYTES};
use protocol::compression::Compression;
use protocol::id::{Partition, Timestamp, TopicName};
use protocol::record::Record;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ticket::{Completion, Delivery, Ticket, Tickets, completion};
use super::topics::{LaneId, TopicIndex, Topics};
use crate::config::ProducerConfig;
use crate::retry::Rng;

/// The number of a batch of this producer, in the order in which batches were opened.
pub(super) type Serial = u64;

/// A topic and a partition of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) topic: TopicName,
    pub(super) partition: Partition,
}

/// A batch on its way from the accumulator to the window of its partition.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) serial: Serial,
    pub(super) builder: Builder,
    pub(super) complete: oneshot::Sender<Delivery>,
    /// Bytes that its records were charged for.
    pub(super) charge: usize,
    /// When its first record came.
    pub(super) opened: Instant,
}

/// A record with the bytes of the buffer that it is charged for.
#[derive(Debug)]
pub(super) struct Weighed {
    pub(super) record: Record,
    pub(super) charge: usize,
}

/// A record that has found its batch.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) ticket: Ticket,
    /// True when the sender has something new to do or to wait for.
    pub(super) wake: bool,
}

#[derive(Debug)]
struct Open {
    gathered: Gathered,
    completion: Completion,
    due: bool,
    /// The last of those that hand over many records at once to which its completion was given.
    round: u64,
}

impl Open {
    fn add(&mut self, record: &Record, charge: usize, time: Timestamp) {
        self.gathered.builder.push(record, time);
        self.gathered.charge += charge;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resting,
    Ready,
    Parked,
}

#[derive(Debug)]
struct Lane {
    place: Place,
    topic: TopicIndex,
    open: Option<Open>,
    sealed: VecDeque<Gathered>,
    state: State,
    /// Bytes of its last batch: the room that the next one starts with.
    bytes_hint: usize,
}

impl Lane {
    /// True when its open batch takes a record of this size too.
    fn has_room(&self, charge: usize, batch_bytes: usize) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let builder = &open.gathered.builder;
            builder.bytes() + charge <= batch_bytes && !builder.is_full()
        })
    }

    fn has_due(&self) -> bool {
        !self.sealed.is_empty() || self.open.as_ref().is_some_and(|open| open.due)
    }
}

/// Gathers records. See the head of the file.
#[derive(Debug)]
pub(super) struct Accumulator {
    batch_bytes: usize,
    linger: Duration,
    compression: Compression,
    topics: Topics,
    /// Topics whose number of partitions should be asked for again.
    aged: Vec<TopicName>,
    lanes: Vec<Lane>,
    /// Lanes in state Ready, in turn.
    ready: VecDeque<LaneId>,
    /// Open batches that are not due yet, one at most for each lane, by the time when they will be.
    lingering: BTreeSet<(Instant, LaneId)>,
    next_serial: Serial,
    /// Counts the times at which many records were handed over at once.
    next_round: u64,
    /// Those who wait for room in the buffer. While there are any nothing lingers: only what is sent makes room.
    hungry: usize,
}

impl Accumulator {
    pub(super) fn new(config: &ProducerConfig) -> Self {
        Self {
            batch_bytes: config.batch_bytes,
            linger: config.linger,
            compression: config.compression,
            topics: Topics::new(Rng::new(config.backoff.seed)),
            aged: Vec::new(),
            lanes: Vec::new(),
            ready: VecDeque::new(),
            lingering: BTreeSet::new(),
            next_serial: 0,
            next_round: 0,
            hungry: 0,
        }
    }

    /// Adds a record, charged with so many bytes, to the batch of this partition, or without one to where its key
    /// belongs; without a key, to the batch of all that have none. `time` stands in for a time of its own.
    ///
    /// `None` when that takes the number of the topic's partitions, which is not known: [`Self::topics_mut`] takes it.
    pub(super) fn push(
        &mut self,
        topic: &TopicName,
        partition: Option<Partition>,
        record: &Record,
        charge: usize,
        time: Timestamp,
        now: impl FnOnce() -> Instant,
    ) -> Option<Pushed> {
        let topic = self.topics.index(topic);
        let (lane_id, wake) = self.make_room(topic, partition, record, charge, now)?;
        let (place, open) = self.opened(lane_id);
        let ticket = Ticket {
            batch: open.completion.clone(),
            partition: place.partition,
            index: u64::try_from(open.gathered.builder.record_count()).unwrap_or(u64::MAX),
            timestamp: record.timestamp.unwrap_or(time),
        };
        open.add(record, charge, time);
        Some(Pushed { ticket, wake })
    }

    /// Adds records, each as [`Self::push`] does, all of them or none. Their batches are added to those that `tickets`
    /// wait for. True when the sender has something new to do or to wait for.
    pub(super) fn push_all(
        &mut self,
        topic: &TopicName,
        partition: Option<Partition>,
        records: &[Weighed],
        time: Timestamp,
        now: impl Fn() -> Instant,
        tickets: &mut Tickets,
    ) -> Option<bool> {
        let topic = self.topics.index(topic);
        self.next_round += 1;
        let round = self.next_round;
        let mut wake_sender = false;
        for Weighed { record, charge } in records {
            // It is the first record for which this can fail: what is known of the topic does not change in between.
            let (lane_id, wake) = self.make_room(topic, partition, record, *charge, &now)?;
            wake_sender |= wake;
            let (_, open) = self.opened(lane_id);
            if open.round != round {
                open.round = round;
                tickets.add(&open.completion);
            }
            open.add(record, *charge, time);
        }
        Some(wake_sender)
    }

    /// The next batch that is due, from the lanes in turn. A lane whose window has no room is parked until
    /// [`Self::unpark`].
    pub(super) fn take(
        &mut self,
        now: Instant,
        has_room: impl Fn(LaneId) -> bool,
    ) -> Option<(LaneId, Gathered)> {
        self.advance(now);
        while let Some(lane_id) = self.ready.pop_front() {
            if !has_room(lane_id) {
                self.lanes[lane_id].state = State::Parked;
                continue;
            }
            let gathered = self.take_from(lane_id);
            let lane = &mut self.lanes[lane_id];
            lane.state = if lane.has_due() { State::Ready } else { State::Resting };
            if lane.state == State::Ready {
                self.ready.push_back(lane_id);
            }
            if let Some(gathered) = gathered {
                return Some((lane_id, gathered));
            }
        }
        None
    }

    /// The window of this lane has room again.
    pub(super) fn unpark(&mut self, lane_id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(lane_id)
            && lane.state == State::Parked
        {
            lane.state = State::Resting;
            self.ready_if_due(lane_id);
        }
    }

    /// Makes everything gathered so far due now.
    pub(super) fn expedite(&mut self) {
        while let Some((_, lane_id)) = self.lingering.pop_first() {
            self.make_due(lane_id);
        }
    }

    /// When the next open batch becomes due, if none is ready before.
    pub(super) fn alarm(&self) -> Option<Instant> {
        self.lingering.first().map(|(due, _)| *due)
    }

    /// The serial that the next batch will get: all batches so far have a smaller one.
    pub(super) fn next_serial(&self) -> Serial {
        self.next_serial
    }

    /// The place that a lane stands for.
    pub(super) fn place(&self, lane_id: LaneId) -> &Place {
        &self.lanes[lane_id].place
    }

    /// The topics that are written to.
    pub(super) fn topics_mut(&mut self) -> &mut Topics {
        &mut self.topics
    }

    /// The topics whose number of partitions should be asked for again, each told once.
    pub(super) fn take_aged(&mut self) -> Vec<TopicName> {
        std::mem::take(&mut self.aged)
    }

    /// The broker does not know this lane's topic or partition: what was known of the topic is wrong.
    pub(super) fn forget_topic(&mut self, lane_id: LaneId) {
        self.topics.forget(self.lanes[lane_id].topic);
    }

    /// Somebody waits for room in the buffer, until [`Self::fed`].
    pub(super) fn hungry(&mut self) {
        self.hungry += 1;
        self.expedite();
    }

    /// Somebody waits for room no longer.
    pub(super) fn fed(&mut self) {
        self.hungry -= 1;
    }

    /// The lane that a record belongs to, with an open batch that has room for it; and whether the sender has something
    /// new to do or to wait for.
    fn make_room(
        &mut self,
        topic: TopicIndex,
        partition: Option<Partition>,
        record: &Record,
        charge: usize,
        now: impl FnOnce() -> Instant,
    ) -> Option<(LaneId, bool)> {
        let mut lane_id = self.route(topic, partition, record)?;
        // Almost always the batch is open and has room: then nobody else need know.
        if self.lanes[lane_id].has_room(charge, self.batch_bytes) {
            return Some((lane_id, false));
        }
        let alarm_before = self.alarm();
        let was_ready = !self.ready.is_empty();
        if self.seal(lane_id) {
            // That may have ended the stickiness: the record then goes with the next partition's batch.
            lane_id = self.route(topic, partition, record)?;
            if !self.lanes[lane_id].has_room(charge, self.batch_bytes) {
                self.seal(lane_id);
            }
        }
        if self.lanes[lane_id].open.is_none() {
            self.open(lane_id, charge, now());
        }
        let wake = (!was_ready && !self.ready.is_empty()) || self.alarm() != alarm_before;
        Some((lane_id, wake))
    }

    /// The open batch that [`Self::make_room`] has made sure of.
    fn opened(&mut self, lane_id: LaneId) -> (&Place, &mut Open) {
        let lane = &mut self.lanes[lane_id];
        (&lane.place, lane.open.as_mut().expect("room was made in it just now"))
    }

    fn route(
        &mut self,
        topic: TopicIndex,
        partition: Option<Partition>,
        record: &Record,
    ) -> Option<LaneId> {
        let partition = match partition {
            Some(partition) => partition,
            None => self.topics.choose(topic, record.key.as_deref())?,
        };
        let known = self.topics.lane(topic, partition);
        Some(known.unwrap_or_else(|| self.add_lane(topic, partition)))
    }

    fn add_lane(&mut self, topic: TopicIndex, partition: Partition) -> LaneId {
        let place = Place { topic: self.topics.name(topic).clone(), partition };
        self.lanes.push(Lane {
            place,
            topic,
            open: None,
            sealed: VecDeque::new(),
            state: State::Resting,
            bytes_hint: 0,
        });
        let lane_id = self.lanes.len() - 1;
        self.topics.set_lane(topic, partition, lane_id);
        lane_id
    }

    fn open(&mut self, lane_id: LaneId, charge: usize, now: Instant) {
        let room = self.lanes[lane_id].bytes_hint.clamp(charge, self.batch_bytes.max(charge));
        let (complete, completion) = completion();
        let gathered = Gathered {
            serial: self.next_serial,
            builder: Builder::with_capacity(self.compression, room),
            complete,
            charge: 0,
            opened: now,
        };
        self.next_serial += 1;
        self.lanes[lane_id].open = Some(Open { gathered, completion, due: false, round: 0 });
        let topic = self.lanes[lane_id].topic;
        self.aged.extend(self.topics.aged(topic, now));
        if self.linger.is_zero() || self.hungry > 0 {
            self.make_due(lane_id);
        } else {
            self.lingering.insert((now + self.linger, lane_id));
        }
    }

    /// Ends the open batch of a lane; false when there is none.
    fn seal(&mut self, lane_id: LaneId) -> bool {
        let Some(gathered) = self.close(lane_id) else { return false };
        self.lanes[lane_id].sealed.push_back(gathered);
        self.ready_if_due(lane_id);
        true
    }

    /// Ends the open batch of a lane, and with it the stickiness to its partition.
    fn close(&mut self, lane_id: LaneId) -> Option<Gathered> {
        let lane = &mut self.lanes[lane_id];
        let open = lane.open.take()?;
        lane.bytes_hint = open.gathered.builder.bytes().saturating_sub(HEADER_BYTES);
        self.lingering.remove(&(open.gathered.opened + self.linger, lane_id));
        self.topics.unstick(lane.topic, lane.place.partition);
        Some(open.gathered)
    }

    fn take_from(&mut self, lane_id: LaneId) -> Option<Gathered> {
        let lane = &mut self.lanes[lane_id];
        match lane.sealed.pop_front() {
            Some(sealed) => Some(sealed),
            None if lane.has_due() => self.close(lane_id),
            None => None,
        }
    }

    fn advance(&mut self, now: Instant) {
        while let Some(&(due, lane_id)) = self.lingering.first()
            && due <= now
        {
            self.lingering.pop_first();
            self.make_due(lane_id);
        }
    }

    fn make_due(&mut self, lane_id: LaneId) {
        if let Some(open) = &mut self.lanes[lane_id].open {
            open.due = true;
            self.ready_if_due(lane_id);
        }
    }

    fn ready_if_due(&mut self, lane_id: LaneId) {
        let lane = &mut self.lanes[lane_id];
        if lane.state == State::Resting && lane.has_due() {
            lane.state = State::Ready;
            self.ready.push_back(lane_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::record::encoded_bytes_max;

    use super::super::topics::AGE_MAX;
    use super::*;

    const TIME: Timestamp = Timestamp(1);

    fn accumulator(batch_bytes: usize, linger_ms: u64) -> Accumulator {
        let config = ProducerConfig::default()
            .batch_bytes(batch_bytes)
            .linger(Duration::from_millis(linger_ms));
        Accumulator::new(&config)
    }

    fn topic() -> TopicName {
        "t".parse().unwrap()
    }

    fn to(partition: i64) -> Option<Partition> {
        Some(Partition::new(partition).unwrap())
    }

    fn push(
        accumulator: &mut Accumulator,
        partition: Option<Partition>,
        record: &Record,
        now: Instant,
    ) -> Pushed {
        let charge = encoded_bytes_max(record);
        accumulator.push(&topic(), partition, record, charge, TIME, || now).unwrap()
    }

    fn values(gathered: Gathered) -> Vec<Vec<u8>> {
        let batch = gathered.builder.finish(None);
        let mut scratch = Vec::new();
        let records = batch.records(&mut scratch).unwrap();
        records.map(|record| record.unwrap().value.unwrap().to_vec()).collect()
    }

    proptest! {
        /// Whatever the sizes, the linger and the moments of taking: each lane gives back its records in order, each
        /// once, in batches within the limit, and the charge is what was charged.
        #[test]
        fn every_record_comes_out_once_and_in_order(
            steps in prop::collection::vec((0_i64..3, 0_usize..1500, 0_u64..8, any::<bool>()), 1..80),
            linger_ms in 0_u64..10,
        ) {
            let mut accumulator = accumulator(2048, linger_ms);
            let mut now = Instant::now();
            let mut charged = 0;
            let mut given: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 3];
            let mut taken: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 3];
            let mut keep = |accumulator: &Accumulator, lane_id, gathered: Gathered| {
                let partition = accumulator.place(lane_id).partition.get() as usize;
                assert!(gathered.builder.bytes() <= 2048 || gathered.builder.record_count() == 1);
                charged -= gathered.charge as i64;
                taken[partition].extend(values(gathered));
            };
            let mut charges = 0;
            for (step, (partition, bytes, wait_ms, has_room)) in steps.into_iter().enumerate() {
                let mut value = step.to_be_bytes().to_vec();
                value.resize(8 + bytes, 0);
                let record = Record::of_value(value.clone());
                charges += encoded_bytes_max(&record) as i64;
                given[partition as usize].push(value);
                push(&mut accumulator, to(partition), &record, now);
                now += Duration::from_millis(wait_ms);
                while let Some((lane_id, gathered)) = accumulator.take(now, |_| has_room) {
                    keep(&accumulator, lane_id, gathered);
                }
            }
            accumulator.expedite();
            for lane_id in 0..accumulator.lanes.len() {
                accumulator.unpark(lane_id);
            }
            while let Some((lane_id, gathered)) = accumulator.take(now, |_| true) {
                keep(&accumulator, lane_id, gathered);
            }
            prop_assert_eq!(charges + charged, 0);
            prop_assert_eq!(given, taken);
            prop_assert_eq!(accumulator.alarm(), None);
        }
    }

    #[test]
    fn a_batch_waits_for_its_linger_and_no_longer() {
        let mut accumulator = accumulator(1024, 5);
        let start = Instant::now();
        let pushed = push(&mut accumulator, to(0), &Record::of_value("a"), start);
        assert!(pushed.wake, "the sender has to wait for the linger");
        let again = push(&mut accumulator, to(0), &Record::of_value("b"), start);
        assert!(!again.wake, "it waits already");
        let due = start + Duration::from_millis(5);
        assert_eq!(accumulator.alarm(), Some(due));
        assert!(accumulator.take(due - Duration::from_millis(1), |_| true).is_none());
        let (_, gathered) = accumulator.take(due, |_| true).unwrap();
        assert_eq!(values(gathered), [b"a", b"b"]);
    }

    #[test]
    fn a_full_batch_waits_for_nothing() {
        let mut accumulator = accumulator(1024, 60_000);
        let start = Instant::now();
        let record = Record::of_value(vec![0; 600]);
        push(&mut accumulator, to(0), &record, start);
        assert!(accumulator.take(start, |_| true).is_none());
        assert!(push(&mut accumulator, to(0), &record, start).wake);
        assert_eq!(values(accumulator.take(start, |_| true).unwrap().1).len(), 1);
        assert!(accumulator.take(start, |_| true).is_none());
    }

    #[test]
    fn without_room_a_lane_gathers_on_and_wakes_nobody() {
        let mut accumulator = accumulator(1024, 0);
        let start = Instant::now();
        assert!(push(&mut accumulator, to(0), &Record::of_value("a"), start).wake);
        assert!(accumulator.take(start, |_| false).is_none());
        assert!(!push(&mut accumulator, to(0), &Record::of_value("b"), start).wake);
        accumulator.unpark(0);
        let (_, gathered) = accumulator.take(start, |_| true).unwrap();
        assert_eq!(values(gathered), [b"a", b"b"]);
    }

    #[test]
    fn records_without_a_key_change_their_partition_with_each_batch() {
        let mut accumulator = accumulator(1024, 60_000);
        let start = Instant::now();
        accumulator.topics_mut().learn(&topic(), 3, start);
        let mut partitions = Vec::new();
        for _ in 0..6 {
            let mut in_batch = Vec::new();
            for _ in 0..2 {
                let record = Record::of_value("x");
                let pushed = push(&mut accumulator, None, &record, start);
                in_batch.push(pushed.ticket.partition);
            }
            assert_eq!(in_batch[0], in_batch[1], "a batch keeps together");
            partitions.push(in_batch[0].get());
            accumulator.expedite();
            assert!(accumulator.take(start, |_| true).is_some());
        }
        let mut first_round = partitions[..3].to_vec();
        first_round.sort_unstable();
        assert_eq!(first_round, [0, 1, 2]);
        assert_eq!(partitions[..3], partitions[3..]);
    }

    #[test]
    fn without_the_number_of_partitions_only_a_given_one_will_do() {
        let mut accumulator = accumulator(1024, 0);
        let start = Instant::now();
        let record = Record::of_value("a");
        assert!(accumulator.push(&topic(), None, &record, 60, TIME, || start).is_none());
        assert!(accumulator.take(start, |_| true).is_none());
        assert_eq!(push(&mut accumulator, to(1), &record, start).ticket.index, 0);
        accumulator.topics_mut().learn(&topic(), 2, start);
        assert!(accumulator.push(&topic(), None, &record, 60, TIME, || start).is_some());
        accumulator.forget_topic(0);
        assert!(accumulator.push(&topic(), None, &record, 60, TIME, || start).is_none());
    }

    #[test]
    fn while_somebody_waits_for_room_nothing_lingers() {
        let mut accumulator = accumulator(1024, 60_000);
        let start = Instant::now();
        push(&mut accumulator, to(0), &Record::of_value("a"), start);
        accumulator.hungry();
        assert!(accumulator.take(start, |_| true).is_some());
        assert!(push(&mut accumulator, to(0), &Record::of_value("b"), start).wake);
        assert!(accumulator.take(start, |_| true).is_some());
        accumulator.fed();
        push(&mut accumulator, to(0), &Record::of_value("c"), start);
        assert!(accumulator.take(start, |_| true).is_none());
    }

    #[test]
    fn an_old_number_of_partitions_is_told_when_a_batch_is_opened() {
        let mut accumulator = accumulator(1024, 60_000);
        let start = Instant::now();
        accumulator.topics_mut().learn(&topic(), 2, start);
        let later = start + AGE_MAX;
        push(&mut accumulator, None, &Record::of_value("a"), start);
        push(&mut accumulator, None, &Record::of_value("b"), later);
        assert!(accumulator.take_aged().is_empty());
        accumulator.expedite();
        assert!(accumulator.take(later, |_| true).is_some());
        push(&mut accumulator, None, &Record::of_value("c"), later);
        assert_eq!(accumulator.take_aged(), [topic()]);
        assert!(accumulator.take_aged().is_empty());
    }
}
