//! The task that keeps a consumer's shelf filled: one long fetch over all partitions at a time, again and again.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::positions::Positions;
use crate::config::ConsumerConfig;
use crate::error::Error;
use crate::retry::Backoff;
use crate::transport::Transport;

/// What a consumer shares with its fetcher.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Never held across an await.
    pub(super) state: Mutex<State>,
    /// Tells the consumer that something was shelved, or that the broker cannot be reached.
    pub(super) arrived: Notify,
    /// Tells the fetcher that there is room again.
    pub(super) room: Notify,
    /// Tells the fetcher that it fetches the wrong things: partitions were assigned, sought or released.
    pub(super) restart: Notify,
}

/// Guarded by the lock of [`Shelf`].
#[derive(Debug)]
pub(super) struct State {
    pub(super) positions: Positions,
    /// Set while fetches fail.
    pub(super) trouble: Option<Trouble>,
}

/// The broker cannot be reached, or refuses to answer.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) since: Instant,
    pub(super) error: Error,
}

impl Shelf {
    pub(super) fn new(config: &ConsumerConfig) -> Self {
        Self {
            state: Mutex::new(State { positions: Positions::new(config), trouble: None }),
            arrived: Notify::new(),
            room: Notify::new(),
            restart: Notify::new(),
        }
    }
}

/// Fetches for ever; the consumer ends it by dropping the task.
pub(super) async fn run(shelf: Arc<Shelf>, transport: Arc<dyn Transport>, config: ConsumerConfig) {
    let mut backoff = Backoff::new(config.backoff);
    loop {
        let planned = shelf.state.lock().positions.plan();
        let Some(planned) = planned else {
            tokio::select! {
                () = shelf.room.notified() => {}
                () = shelf.restart.notified() => {}
            }
            continue;
        };
        let reply = tokio::select! {
            biased;
            () = shelf.restart.notified() => continue,
            reply = transport.fetch(planned.request.clone()) => reply,
        };
        let shelved = {
            let mut state = shelf.state.lock();
            let shelved = reply.and_then(|reply| state.positions.shelve(&planned, reply));
            match &shelved {
                Ok(()) => state.trouble = None,
                Err(error) => {
                    let since = state.trouble.take().map_or_else(Instant::now, |it| it.since);
                    state.trouble = Some(Trouble { since, error: error.clone() });
                }
            }
            shelved
        };
        shelf.arrived.notify_one();
        match shelved {
            Ok(()) => backoff.succeed(),
            Err(error) => {
                let pause = backoff.fail();
                tracing::debug!(%error, pause_ms = pause.as_millis(), "fetching again later");
                tokio::time::sleep(pause).await;
            }
        }
    }
}
