//! Pure: what gathers for one partition: at most one batch that is open, and any number that are sealed, in order.
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
//! Due is what is sealed, and an open batch whose linger has passed.

use std::collections::VecDeque;

use protocol::batch::Builder;
use protocol::id::{Partition, Timestamp, TopicName};
use protocol::record::Record;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ticket::{Completion, Delivery};
use super::topics::TopicIndex;

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

/// The batch of a lane that takes records.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) gathered: Gathered,
    pub(super) completion: Completion,
    pub(super) due: bool,
    /// The last of those that hand over many records at once to which its completion was given.
    pub(super) round: u64,
}

impl Open {
    pub(super) fn add(&mut self, record: &Record, charge: usize, time: Timestamp) {
        self.gathered.builder.push(record, time);
        self.gathered.charge += charge;
    }
}

/// See the head of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Resting,
    Ready,
    Parked,
}

/// One partition. See the head of the file.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) place: Place,
    pub(super) topic: TopicIndex,
    pub(super) open: Option<Open>,
    pub(super) sealed: VecDeque<Gathered>,
    pub(super) state: State,
    /// Bytes of its last batch: the room that the next one starts with.
    pub(super) bytes_hint: usize,
}

impl Lane {
    /// True when its open batch takes a record of this size too.
    pub(super) fn has_room(&self, charge: usize, batch_bytes: usize) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let builder = &open.gathered.builder;
            builder.bytes() + charge <= batch_bytes && !builder.is_full()
        })
    }

    pub(super) fn has_due(&self) -> bool {
        !self.sealed.is_empty() || self.open.as_ref().is_some_and(|open| open.due)
    }
}
