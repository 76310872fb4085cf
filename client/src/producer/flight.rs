//! Pure: one batch under way: what is known of it, and what to tell of it when it fails.

use std::time::Duration;

use protocol::batch::{Batch, Builder};
use protocol::id::{Sequence, Timestamp};
use protocol::outcome::Outcome;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lane::{Place, Serial};
use super::ticket::Delivery;
use crate::error::Error;

/// The number of a request of this producer.
pub(super) type RequestId = u64;

/// The records of a batch, on their way to the bytes that are sent.
#[derive(Debug)]
pub(super) enum Payload {
    /// Never sent: it has no sequence.
    Gathered(Builder),
    /// As it was sent.
    Encoded(Batch),
    /// Only while one turns into the other.
    Moving,
}

/// See the head of `window`.
#[derive(Debug)]
pub(super) enum State {
    Queued,
    Waiting(RequestId),
    Done(Delivery),
}

/// A batch under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) serial: Serial,
    pub(super) payload: Payload,
    pub(super) complete: oneshot::Sender<Delivery>,
    pub(super) charge: usize,
    pub(super) expires: Instant,
    pub(super) state: State,
    /// True when an attempt may have been written without an answer.
    pub(super) uncertain: bool,
    pub(super) last_error: Option<Error>,
}

impl Flight {
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    pub(super) fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued)
    }

    /// True while something may still be learned of it under the identity that it was sent with.
    pub(super) fn is_unsettled(&self) -> bool {
        self.is_waiting() || (self.is_queued() && self.uncertain)
    }

    pub(super) fn base_sequence(&self) -> Option<Sequence> {
        match &self.payload {
            Payload::Encoded(batch) => batch.header().producer.map(|stamp| stamp.base_sequence),
            Payload::Gathered(_) | Payload::Moving => None,
        }
    }
}

/// What to tell of a batch that fails for good: an attempt that may have been written outweighs a later refusal.
pub(super) fn verdict(place: &Place, uncertain: bool, error: Error) -> Error {
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

/// What to tell of a batch whose time has run out.
pub(super) fn timed_out(place: &Place, flight: &Flight, timeout: Duration) -> Error {
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
pub(super) fn reopen(batch: &Batch) -> Builder {
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
