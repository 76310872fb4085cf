//! Pure: the batches of one partition that are under way: their sequences, their order, and what follows from each
//! answer. No I/O and no clock; the sender feeds it and carries out what it says.
//!
//! A batch in the window is
//!
//! ```text
//!              sent                 acknowledged, or refused for good
//!   Queued ------------> Waiting -----------------------------------> Done
//!      ^                   |  |                                        ^
//!      '--- may be retried-'  '------ its time has run out ------------'
//! ```
//!
//! and leaves from the front only, so that tickets are completed in order.
//!
//! Order and uniqueness, with an idempotent producer:
//! 1. A batch gets its sequence when it is first sent; a repeat carries the same bytes.
//! 2. After a failure that may pass, nothing is sent until every batch under way has its answer (those behind the
//!    failed one are refused as out of order); then all are sent again, in order.
//! 3. When a batch fails for good, its sequence is missing for those behind it. Each of them is settled first under the
//!    identity it was sent with: acknowledged, certainly not written, or unknown. What is certainly not written is
//!    sent again under a new identity with sequences from 0; what is unknown is reported as such and never sent under
//!    another identity, for it could then be stored twice.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::batch::{Batch, Builder, ProducerStamp};
use protocol::id::{Sequence, Timestamp};
use protocol::outcome::Outcome;
use protocol::verbs::{Appended, ProduceEntry, ProducerIdentity};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::accumulator::{Gathered, Place, Serial};
use super::ticket::Delivery;
use crate::config::ProducerConfig;
use crate::error::Error;
use crate::retry::{Rng, pause_after};

/// The number of a request of this producer.
pub(super) type RequestId = u64;

/// A batch that is settled.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) serial: Serial,
    pub(super) complete: oneshot::Sender<Delivery>,
    pub(super) charge: usize,
    pub(super) delivery: Delivery,
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// False when the request certainly never left: then nothing happened, whatever the outcome says.
    pub(super) sent: bool,
    /// When to try again, where that is decided for all partitions together.
    pub(super) retry_at: Option<Instant>,
}

#[derive(Debug)]
enum Payload {
    Gathered(Builder),
    Encoded(Batch),
    /// Only while one turns into the other.
    Moving,
}

#[derive(Debug)]
enum State {
    Queued,
    Waiting(RequestId),
    Done(Delivery),
}

#[derive(Debug)]
struct Flight {
    serial: Serial,
    payload: Payload,
    complete: oneshot::Sender<Delivery>,
    charge: usize,
    expires: Instant,
    state: State,
    /// True when an attempt may have been written without an answer.
    uncertain: bool,
    last_error: Option<Error>,
}

impl Flight {
    fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued)
    }

    /// True while something may still be learned of it under the identity that it was sent with.
    fn is_unsettled(&self) -> bool {
        self.is_waiting() || (self.is_queued() && self.uncertain)
    }

    fn base_sequence(&self) -> Option<Sequence> {
        match &self.payload {
            Payload::Encoded(batch) => batch.header().producer.map(|stamp| stamp.base_sequence),
            Payload::Gathered(_) | Payload::Moving => None,
        }
    }
}

/// Who the batches come from.
#[derive(Debug)]
enum Identity {
    /// Not idempotent: no identity, no sequences.
    Anonymous,
    /// Nothing was sent under an identity yet.
    Unknown,
    /// Batches are numbered.
    Known(Numbering),
    /// A sequence is missing: the identity serves only to settle what was sent under it.
    Spent(ProducerIdentity),
}

#[derive(Clone, Copy, Debug)]
struct Numbering {
    who: ProducerIdentity,
    next: Sequence,
}

/// The batches under way of one partition. See the head of the file.
#[derive(Debug)]
pub(super) struct Window {
    place: Place,
    config: ProducerConfig,
    identity: Identity,
    /// In the order of their records, never more than the configuration allows.
    flights: VecDeque<Flight>,
    /// Set by a failure that may pass: when everything may be sent again.
    retry_at: Option<Instant>,
    failures: u32,
    rng: Rng,
}

impl Window {
    pub(super) fn new(place: Place, config: &ProducerConfig) -> Self {
        let identity = if config.idempotent { Identity::Unknown } else { Identity::Anonymous };
        Self {
            place,
            config: config.clone(),
            identity,
            flights: VecDeque::new(),
            retry_at: None,
            failures: 0,
            rng: Rng::new(config.backoff.seed),
        }
    }

    /// True when another batch may enter.
    pub(super) fn has_room(&self) -> bool {
        // Without sequences nothing but waiting keeps batches in order.
        let most = if self.config.idempotent { self.config.in_flight_max } else { 1 };
        self.flights.len() < most
    }

    /// Takes a batch in, behind the others. Only with room.
    pub(super) fn admit(&mut self, gathered: Gathered) {
        debug_assert!(self.has_room());
        self.flights.push_back(Flight {
            serial: gathered.serial,
            expires: gathered.opened + self.config.delivery_timeout,
            payload: Payload::Gathered(gathered.builder),
            complete: gathered.complete,
            charge: gathered.charge,
            state: State::Queued,
            uncertain: false,
            last_error: None,
        });
    }

    /// True when something can be sent now.
    pub(super) fn has_sendable(&self, now: Instant) -> bool {
        self.may_send(now) && self.flights.iter().any(|flight| self.is_sendable(flight))
    }

    /// Adds what can be sent now to a request, in order, until the request holds `bytes_max`. Returns the serials.
    pub(super) fn send(
        &mut self,
        request: RequestId,
        now: Instant,
        bytes_max: usize,
        entries: &mut Vec<ProduceEntry>,
    ) -> Vec<Serial> {
        let mut sent = Vec::new();
        if !self.may_send(now) {
            return sent;
        }
        let mut bytes: usize = entries.iter().map(|entry| entry.batch.bytes().len()).sum();
        for index in 0..self.flights.len() {
            if !self.is_sendable(&self.flights[index]) {
                continue;
            }
            let batch = self.encode(index);
            let flight = &mut self.flights[index];
            if !entries.is_empty() && bytes + batch.bytes().len() > bytes_max {
                break;
            }
            bytes += batch.bytes().len();
            flight.state = State::Waiting(request);
            sent.push(flight.serial);
            let Place { topic, partition } = self.place.clone();
            entries.push(ProduceEntry { topic, partition, batch });
        }
        if !sent.is_empty() {
            self.retry_at = None;
        }
        sent
    }

    /// Takes the answer to a batch of a request. An answer that comes after the batch was given up is too late.
    pub(super) fn answer(
        &mut self,
        serial: Serial,
        request: RequestId,
        answer: std::result::Result<Appended, Failure>,
        now: Instant,
    ) {
        let is_it = |flight: &Flight| {
            flight.serial == serial
                && matches!(flight.state, State::Waiting(waiting) if waiting == request)
        };
        let Some(index) = self.flights.iter().position(is_it) else { return };
        match answer {
            Ok(appended) => {
                self.failures = 0;
                self.flights[index].state = State::Done(Ok(appended));
            }
            Err(failure) => self.fail(index, failure, now),
        }
    }

    /// Gives up what was not acknowledged in time.
    pub(super) fn expire(&mut self, now: Instant) {
        for index in 0..self.flights.len() {
            let flight = &mut self.flights[index];
            if flight.is_done() || now < flight.expires {
                continue;
            }
            flight.uncertain |= flight.is_waiting();
            let error = timed_out(&self.place, flight, self.config.delivery_timeout);
            self.settle_failed(index, error);
        }
    }

    /// Gives up what waits for an identity that will not come.
    pub(super) fn refuse_identity(&mut self, error: &Error) {
        if self.lacks_identity() {
            for index in 0..self.flights.len() {
                if self.flights[index].is_queued() {
                    self.settle_failed(index, error.clone());
                }
            }
        }
    }

    /// The next batch that is settled, in order.
    pub(super) fn pop_settled(&mut self) -> Option<Settled> {
        let flight = self.flights.pop_front_if(|flight| flight.is_done())?;
        let State::Done(delivery) = flight.state else { return None };
        Some(Settled {
            serial: flight.serial,
            complete: flight.complete,
            charge: flight.charge,
            delivery,
        })
    }

    /// True when batches wait for a new identity, and nothing is left to be settled under the old one.
    pub(super) fn lacks_identity(&self) -> bool {
        match self.identity {
            Identity::Anonymous | Identity::Known(_) => false,
            Identity::Unknown => self.flights.iter().any(Flight::is_queued),
            Identity::Spent(_) => {
                self.flights.iter().any(Flight::is_queued)
                    && !self.flights.iter().any(Flight::is_unsettled)
            }
        }
    }

    /// True when this identity is not the spent one.
    pub(super) fn accepts(&self, identity: ProducerIdentity) -> bool {
        !matches!(self.identity, Identity::Spent(spent) if spent.id == identity.id)
    }

    /// Goes on under a new identity, with sequences from 0.
    pub(super) fn identify(&mut self, who: ProducerIdentity) {
        debug_assert!(self.lacks_identity() && self.accepts(who));
        self.identity = Identity::Known(Numbering { who, next: Sequence::ZERO });
        for flight in self.flights.iter_mut().filter(|flight| flight.is_queued()) {
            if let Payload::Encoded(batch) = &flight.payload {
                flight.payload = Payload::Gathered(reopen(batch));
            }
        }
    }

    /// When there is something to do though nothing happens: a retry, or a batch whose time runs out.
    /// A retry whose time has come is not told again: [`Self::has_sendable`] says so.
    pub(super) fn alarm(&self, now: Instant) -> Option<Instant> {
        let expires = self.flights.iter().find(|flight| !flight.is_done()).map(|it| it.expires);
        let retry =
            self.retry_at.filter(|at| *at > now && !self.flights.iter().any(Flight::is_waiting));
        expires.into_iter().chain(retry).min()
    }

    fn may_send(&self, now: Instant) -> bool {
        match self.retry_at {
            None => true,
            Some(at) => now >= at && !self.flights.iter().any(Flight::is_waiting),
        }
    }

    fn is_sendable(&self, flight: &Flight) -> bool {
        flight.is_queued()
            && match self.identity {
                Identity::Anonymous | Identity::Known(_) => true,
                Identity::Unknown => false,
                Identity::Spent(_) => flight.uncertain,
            }
    }

    /// The bytes of a batch; made, and numbered, when it is first sent.
    fn encode(&mut self, index: usize) -> Batch {
        let flight = &mut self.flights[index];
        let batch = match std::mem::replace(&mut flight.payload, Payload::Moving) {
            Payload::Gathered(builder) => {
                let count = u32::try_from(builder.record_count()).unwrap_or(u32::MAX);
                let stamp = match &mut self.identity {
                    Identity::Known(numbering) => {
                        let base_sequence = numbering.next;
                        numbering.next = numbering.next.plus(count);
                        let ProducerIdentity { id, epoch } = numbering.who;
                        Some(ProducerStamp { id, epoch, base_sequence })
                    }
                    Identity::Anonymous | Identity::Unknown | Identity::Spent(_) => None,
                };
                builder.finish(stamp)
            }
            Payload::Encoded(batch) => batch,
            Payload::Moving => unreachable!("a payload is put back before anybody looks again"),
        };
        flight.payload = Payload::Encoded(batch.clone());
        batch
    }

    fn fail(&mut self, index: usize, failure: Failure, now: Instant) {
        let Failure { error, sent, retry_at } = failure;
        let in_doubt = sent && error.may_have_happened();
        let spent = matches!(self.identity, Identity::Spent(_));
        // Under a spent identity, what waits for the next one is not sent before: nothing is to be hoped from it, and
        // what stands behind it would be sent and refused again and again until its time runs out.
        let is_ahead =
            |flight: &Flight| if spent { flight.is_unsettled() } else { !flight.is_done() };
        let behind_another = self.flights.iter().take(index).any(is_ahead);
        let flight = &mut self.flights[index];
        flight.uncertain |= in_doubt;
        if error.outcome() == Outcome::OutOfOrderSequence && self.config.idempotent {
            let uncertain = flight.uncertain;
            if behind_another || (spent && !uncertain) {
                // Refused only because one before it was: certainly not written by this attempt.
                flight.state = State::Queued;
                self.retry_at.get_or_insert(now);
            } else {
                let verdict = verdict(&self.place, uncertain, error);
                self.settle_failed(index, verdict);
            }
            return;
        }
        if error.may_retry() && (self.config.idempotent || !in_doubt) {
            flight.state = State::Queued;
            flight.last_error = Some(error);
            // Batches that fail together are one failure, with one pause.
            if self.retry_at.is_none() {
                let pause = pause_after(&self.config.backoff, self.failures, &mut self.rng);
                self.failures = self.failures.saturating_add(1);
                self.retry_at = Some(retry_at.unwrap_or(now + pause));
            }
        } else {
            let verdict = verdict(&self.place, flight.uncertain, error);
            self.settle_failed(index, verdict);
        }
    }

    /// A batch fails for good: its sequence will be missing.
    fn settle_failed(&mut self, index: usize, error: Error) {
        let certainly_absent = !error.may_have_happened()
            && !matches!(error.outcome(), Outcome::OutOfOrderSequence | Outcome::ProducerFenced);
        let sequence = self.flights[index].base_sequence();
        self.flights[index].state = State::Done(Err(error));
        let (Identity::Known(numbering), Some(sequence)) = (&mut self.identity, sequence) else {
            return;
        };
        let numbered_behind = |flight: &Flight| flight.base_sequence().is_some();
        if certainly_absent && !self.flights.iter().skip(index + 1).any(numbered_behind) {
            // Nobody has come after it: the next batch takes its number.
            numbering.next = sequence;
        } else {
            self.identity = Identity::Spent(numbering.who);
        }
    }
}

/// What to tell of a batch that fails for good: an attempt that may have been written outweighs a later refusal.
fn verdict(place: &Place, uncertain: bool, error: Error) -> Error {
    if !uncertain || error.may_have_happened() {
        return error;
    }
    Error::new(
        Outcome::Disconnected,
        format!(
            "topic {}, partition {}: the connection broke before the answer came, and the repeat was refused: {}",
            place.topic,
            place.partition,
            error.message()
        ),
    )
}

fn timed_out(place: &Place, flight: &Flight, timeout: Duration) -> Error {
    let what = format!(
        "topic {}, partition {}: not acknowledged within {} ms",
        place.topic,
        place.partition,
        timeout.as_millis()
    );
    let why = match &flight.last_error {
        Some(error) => format!("{what}; the last attempt: {}", error.message()),
        None => what,
    };
    let certain = flight.last_error.as_ref().filter(|error| !error.may_have_happened());
    let outcome = match (flight.uncertain, certain) {
        (true, _) => Outcome::TimedOut,
        (false, Some(error)) => error.outcome(),
        // It never left, or the attempts never did.
        (false, None) => Outcome::Unavailable,
    };
    Error::new(outcome, why)
}

/// The records of a batch that was encoded under an identity now spent.
fn reopen(batch: &Batch) -> Builder {
    let header = batch.header();
    let mut builder = Builder::with_capacity(header.compression, batch.bytes().len());
    let mut scratch = Vec::new();
    let records = batch.records(&mut scratch).expect("our own Builder made this batch");
    for record in records {
        let record = record.expect("our own Builder wrote this record");
        builder.push(&record.to_record(batch.bytes()), Timestamp::NONE);
    }
    builder
}

#[cfg(test)]
mod tests {
    use protocol::compression::Compression;
    use protocol::id::{Offset, Partition, ProducerEpoch, ProducerId};
    use protocol::record::Record;

    use super::super::ticket::completion;
    use super::*;

    fn identity(id: i64) -> ProducerIdentity {
        ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(0) }
    }

    fn window(config: ProducerConfig) -> Window {
        let place = Place { topic: "t".parse().unwrap(), partition: Partition::ZERO };
        Window::new(place, &config)
    }

    /// Admits batches of two records each, with serials from 0.
    fn admit(window: &mut Window, serials: std::ops::Range<Serial>, now: Instant) {
        for serial in serials {
            let mut builder = Builder::new(Compression::None);
            for _ in 0..2 {
                builder.push(&Record::of_value(serial.to_string()), Timestamp(1));
            }
            let (complete, _) = completion();
            window.admit(Gathered { serial, builder, complete, charge: 10, opened: now });
        }
    }

    /// Sends what can be sent: (producer, base sequence) of each batch.
    fn send(window: &mut Window, request: RequestId, now: Instant) -> Vec<(i64, i32)> {
        let mut entries = Vec::new();
        window.send(request, now, usize::MAX, &mut entries);
        let stamp = |entry: &ProduceEntry| entry.batch.header().producer.unwrap();
        let numbers = |entry| (stamp(entry).id.0, stamp(entry).base_sequence.get());
        entries.iter().map(numbers).collect()
    }

    fn appended(offset: i64) -> std::result::Result<Appended, Failure> {
        let base_offset = Offset::new(offset).unwrap();
        Ok(Appended { base_offset, append_time: None, repeated: false })
    }

    fn failed(outcome: Outcome) -> std::result::Result<Appended, Failure> {
        Err(Failure { error: Error::new(outcome, "so"), sent: true, retry_at: None })
    }

    fn settled(window: &mut Window) -> Vec<(Serial, std::result::Result<i64, Outcome>)> {
        std::iter::from_fn(|| window.pop_settled())
            .map(|it| {
                let told = it.delivery.map(|appended| appended.base_offset.get());
                (it.serial, told.map_err(|error| error.outcome()))
            })
            .collect()
    }

    #[test]
    fn answers_are_told_in_order_and_repeats_carry_the_same_numbers() {
        let now = Instant::now();
        let mut window = window(ProducerConfig::default());
        admit(&mut window, 0..3, now);
        assert!(window.lacks_identity() && !window.has_sendable(now));
        window.identify(identity(7));
        assert_eq!(send(&mut window, 1, now), [(7, 0), (7, 2), (7, 4)]);
        window.answer(1, 1, appended(2), now);
        assert_eq!(settled(&mut window), []);
        window.answer(0, 1, failed(Outcome::Disconnected), now);
        assert!(!window.has_sendable(now + Duration::from_secs(9)), "one is still under way");
        window.answer(2, 1, failed(Outcome::Disconnected), now);
        let later = window.alarm(now).unwrap();
        assert!(later > now && send(&mut window, 2, now).is_empty());
        assert_eq!(send(&mut window, 2, later), [(7, 0), (7, 4)]);
        window.answer(0, 1, appended(99), later);
        assert_eq!(settled(&mut window), [], "an answer to another request is not for it");
        window.answer(0, 2, appended(0), later);
        window.answer(2, 2, appended(4), later);
        assert_eq!(settled(&mut window), [(0, Ok(0)), (1, Ok(2)), (2, Ok(4))]);
    }

    #[test]
    fn a_refusal_for_good_leaves_no_gap_behind_it() {
        let now = Instant::now();
        let mut window = window(ProducerConfig::default());
        admit(&mut window, 0..3, now);
        window.identify(identity(7));
        send(&mut window, 1, now);
        window.answer(0, 1, failed(Outcome::InvalidRecord), now);
        assert_eq!(settled(&mut window), [(0, Err(Outcome::InvalidRecord))]);
        assert!(!window.lacks_identity(), "two are under way under the old one");
        window.answer(1, 1, failed(Outcome::OutOfOrderSequence), now);
        window.answer(2, 1, failed(Outcome::OutOfOrderSequence), now);
        assert!(window.lacks_identity() && !window.has_sendable(now));
        assert!(!window.accepts(identity(7)));
        window.identify(identity(8));
        assert_eq!(send(&mut window, 2, now), [(8, 0), (8, 2)]);
        window.answer(1, 2, appended(0), now);
        window.answer(2, 2, appended(2), now);
        assert_eq!(settled(&mut window), [(1, Ok(0)), (2, Ok(2))]);
    }

    #[test]
    fn the_last_batch_refused_gives_its_number_back() {
        let now = Instant::now();
        let mut window = window(ProducerConfig::default());
        admit(&mut window, 0..1, now);
        window.identify(identity(7));
        send(&mut window, 1, now);
        window.answer(0, 1, failed(Outcome::BatchTooLarge), now);
        assert_eq!(settled(&mut window), [(0, Err(Outcome::BatchTooLarge))]);
        admit(&mut window, 1..2, now);
        assert_eq!(send(&mut window, 2, now), [(7, 0)]);
    }

    #[test]
    fn what_may_have_been_written_is_never_sent_under_another_identity() {
        let now = Instant::now();
        let timeout = Duration::from_secs(10);
        let mut window = window(ProducerConfig::default().delivery_timeout(timeout));
        admit(&mut window, 0..1, now);
        let later = now + Duration::from_secs(5);
        admit(&mut window, 1..3, later);
        window.identify(identity(7));
        send(&mut window, 1, later);
        for serial in 0..2 {
            window.answer(serial, 1, failed(Outcome::Disconnected), later);
        }
        window.answer(2, 1, failed(Outcome::OutOfOrderSequence), later);
        let expired = now + timeout;
        window.expire(expired);
        assert_eq!(settled(&mut window), [(0, Err(Outcome::TimedOut))]);
        assert!(!window.lacks_identity(), "one is not settled under the old identity");
        assert_eq!(send(&mut window, 2, expired), [(7, 2)], "only to learn what became of it");
        window.answer(1, 2, failed(Outcome::OutOfOrderSequence), expired);
        assert_eq!(settled(&mut window), [(1, Err(Outcome::Disconnected))]);
        window.identify(identity(8));
        assert_eq!(send(&mut window, 3, expired), [(8, 0)], "certainly not written");
    }

    #[test]
    fn doubt_behind_one_that_waits_for_a_new_identity_is_settled_at_once() {
        let now = Instant::now();
        let mut window = window(ProducerConfig::default());
        admit(&mut window, 0..3, now);
        window.identify(identity(7));
        send(&mut window, 1, now);
        window.answer(0, 1, failed(Outcome::InvalidRecord), now);
        window.answer(1, 1, failed(Outcome::OutOfOrderSequence), now);
        window.answer(2, 1, failed(Outcome::Disconnected), now);
        assert_eq!(settled(&mut window), [(0, Err(Outcome::InvalidRecord))]);
        assert_eq!(send(&mut window, 2, now), [(7, 4)], "only to learn what became of it");
        window.answer(2, 2, failed(Outcome::OutOfOrderSequence), now);
        assert!(window.lacks_identity(), "nothing is left to be learned under the old one");
        window.identify(identity(8));
        assert_eq!(send(&mut window, 3, now), [(8, 0)]);
        window.answer(1, 3, appended(0), now);
        assert_eq!(settled(&mut window), [(1, Ok(0)), (2, Err(Outcome::Disconnected))]);
    }

    #[test]
    fn without_sequences_one_is_under_way_and_doubt_is_told() {
        let now = Instant::now();
        let mut window = window(ProducerConfig::default().idempotent(false));
        admit(&mut window, 0..1, now);
        assert!(!window.has_room());
        let mut entries = Vec::new();
        window.send(1, now, usize::MAX, &mut entries);
        assert_eq!(entries[0].batch.header().producer, None);
        window.answer(0, 1, failed(Outcome::Busy), now);
        let later = window.alarm(now).unwrap();
        window.send(2, later, usize::MAX, &mut entries);
        window.answer(0, 2, failed(Outcome::Disconnected), later);
        assert_eq!(settled(&mut window), [(0, Err(Outcome::Disconnected))]);
        admit(&mut window, 1..2, later);
        window.send(3, later, usize::MAX, &mut entries);
        let error = Error::new(Outcome::Disconnected, "so");
        let never_left = Failure { error, sent: false, retry_at: None };
        window.answer(1, 3, Err(never_left), later);
        assert!(settled(&mut window).is_empty() && window.alarm(later).is_some());
    }

    #[test]
    fn what_never_left_is_known_not_to_have_happened() {
        let now = Instant::now();
        let mut window = window(ProducerConfig::default());
        admit(&mut window, 0..1, now);
        window.expire(window.alarm(now).unwrap());
        assert_eq!(settled(&mut window), [(0, Err(Outcome::Unavailable))]);
        admit(&mut window, 1..2, now);
        window.identify(identity(7));
        send(&mut window, 1, now);
        window.answer(1, 1, failed(Outcome::DiskFull), now);
        window.expire(now + Duration::from_secs(120));
        assert_eq!(settled(&mut window), [(1, Err(Outcome::DiskFull))]);
    }

    #[test]
    fn an_identity_that_is_refused_fails_what_waits_for_it() {
        let now = Instant::now();
        let mut window = window(ProducerConfig::default());
        admit(&mut window, 0..2, now);
        window.refuse_identity(&Error::new(Outcome::Denied, "no"));
        let told = [(0, Err(Outcome::Denied)), (1, Err(Outcome::Denied))];
        assert_eq!(settled(&mut window), told);
    }

    #[test]
    fn a_request_takes_one_batch_at_least_and_no_more_than_fit() {
        let now = Instant::now();
        let mut window = window(ProducerConfig::default());
        admit(&mut window, 0..2, now);
        window.identify(identity(7));
        let mut entries = Vec::new();
        assert_eq!(window.send(1, now, 1, &mut entries), [0]);
        assert!(window.has_sendable(now));
        let mut entries = Vec::new();
        assert_eq!(window.send(2, now, 1, &mut entries), [1]);
    }
}
