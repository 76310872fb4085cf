//! What the handles of a producer share with its sender.

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use super::accumulator::{Accumulator, Serial};
use crate::config::ProducerConfig;
use crate::error::Error;
use crate::metadata::Metadata;

/// Shared by all handles and the sender.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ProducerConfig,
    pub(super) metadata: Metadata,
    /// Held by the one who asks for a topic that is new, so that many handles ask once.
    pub(super) asking: tokio::sync::Mutex<()>,
    /// Bytes that may still be handed over. Taken before a record enters a batch, given back when its batch is settled;
    /// closed with the producer.
    pub(super) memory: Semaphore,
    /// Tells the sender that there is something to do.
    pub(super) wake: Notify,
    /// Never held across an await.
    pub(super) state: Mutex<State>,
    /// All batches with a smaller serial are settled. Written by the sender.
    pub(super) settled: watch::Sender<Serial>,
}

/// Guarded by the lock of [`Shared`].
#[derive(Debug)]
pub(super) struct State {
    pub(super) accumulator: Accumulator,
    /// No further record is taken.
    pub(super) closed: bool,
    /// The first failure since the last flush.
    pub(super) failure: Option<Error>,
}

impl Shared {
    pub(super) fn new(config: ProducerConfig, metadata: Metadata) -> Self {
        let accumulator = Accumulator::new(&config);
        Self {
            memory: Semaphore::new(config.buffer_bytes),
            metadata,
            asking: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            state: Mutex::new(State { accumulator, closed: false, failure: None }),
            settled: watch::Sender::new(0),
            config,
        }
    }

    /// Takes no further record; what is there is sent at once.
    pub(super) fn close(&self) {
        {
            let mut state = self.state.lock();
            state.closed = true;
            state.accumulator.expedite();
        }
        self.memory.close();
        self.wake.notify_one();
    }
}
