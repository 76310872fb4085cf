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
//! 2. Until one batch is acknowledged under an identity, no other is sent under it: a log that does not know a producer
//!    takes whatever number it begins with, so a second batch could be taken where the first found no room.
//! 3. After a failure that may pass, nothing is sent until every batch under way has its answer (those behind the
//!    failed one are refused as out of order); then all are sent again, in order.
//! 4. When a batch fails for good, its sequence is missing for those behind it. Each of them is settled first under the
//!    identity it was sent with: acknowledged, certainly not written, or unknown. What is certainly not written is
//!    sent again under a new identity with sequences from 0; what is unknown is reported as such and never sent under
//!    another identity, for it could then be stored twice.

use std::collections::VecDeque;

use protocol::batch::{Batch, ProducerStamp};
use protocol::id::Sequence;
use protocol::outcome::Outcome;
use protocol::verbs::{Appended, ProduceEntry, ProducerIdentity};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::flight::{Flight, Payload, RequestId, State, reopen, timed_out, verdict};
use super::lane::{Gathered, Place, Serial};
use super::ticket::Delivery;
use crate::config::ProducerConfig;
use crate::error::Error;
use crate::retry::{Rng, pause_after};

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
    /// The log has acknowledged a batch under it.
    is_known: bool,
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
            if self.is_new() {
                break;
            }
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
                if let Identity::Known(numbering) = &mut self.identity {
                    numbering.is_known = true;
                }
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
        self.identity = Identity::Known(Numbering { who, next: Sequence::ZERO, is_known: false });
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
        let waits = || self.flights.iter().any(Flight::is_waiting);
        match self.retry_at {
            None => !(self.is_new() && waits()),
            Some(at) => now >= at && !waits(),
        }
    }

    /// True while the log may never have heard of the identity.
    fn is_new(&self) -> bool {
        matches!(&self.identity, Identity::Known(numbering) if !numbering.is_known)
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

#[cfg(test)]
mod tests;
