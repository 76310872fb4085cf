//! What a shard can be asked.

use std::path::PathBuf;

use protocol::batch::Batch;
use protocol::outcome::Refusal;
use storage::{Options, View};
use tokio::sync::{oneshot, watch};

use crate::error::Place;
use crate::shard::pending::Ticket;
use crate::topics::settings::Durability;

/// A partition inside its shard; never used twice while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u64);

/// One thing to do. Commands of one sender are carried out in the order in which they were sent.
#[derive(Debug)]
pub(crate) enum Command {
    /// Append a checked batch and answer the ticket.
    Append { slot: Slot, batch: Batch, ticket: Ticket },
    /// Take over a partition: open its log, recovering it if need be.
    Open {
        slot: Slot,
        partition: Box<OpenPartition>,
        answer: oneshot::Sender<Result<Opened, Refusal>>,
    },
    /// Follow changed settings from now on.
    Alter { slot: Slot, options: Options, durability: DurabilityRule },
    /// Give a partition up and close its log; its files stay.
    Close { slot: Slot, answer: oneshot::Sender<Result<(), Refusal>> },
    /// Give a partition up and delete its files.
    Delete { slot: Slot, answer: oneshot::Sender<Result<(), Refusal>> },
    /// Sync and close everything, then end.
    Stop { answer: oneshot::Sender<()> },
}

/// What a shard needs to know to own a partition.
#[derive(Debug)]
pub(crate) struct OpenPartition {
    pub(crate) place: Place,
    pub(crate) folder: PathBuf,
    /// True for a partition of a new topic: its folder is made. Else it must be there.
    pub(crate) create: bool,
    pub(crate) options: Options,
    pub(crate) durability: DurabilityRule,
}

/// A partition that its shard has opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Always the newest view.
    pub(crate) view: watch::Receiver<View>,
}

/// When records of a partition are synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurabilityRule {
    /// What an acknowledgement means.
    pub(crate) durability: Durability,
    /// Beyond that: sync when so many records are not synced yet.
    pub(crate) unsynced_records_max: Option<u64>,
}
