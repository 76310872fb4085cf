//! Looks after persistent queries from time to time: what could not be started is tried again, what has grown is taken up.
//!
//! When something is due is the hall's business; here is only the clockwork.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::flow::source::PARTITIONS_INTERVAL;
use crate::hall::Hall;

/// How often queries that could not be started are looked at.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Looks after the queries of a hall for as long as it is there.
pub fn watch_over(hall: &Arc<Hall>) {
    tokio::spawn(run(Arc::downgrade(hall)));
}

async fn run(hall: Weak<Hall>) {
    let mut retry = interval(RETRY_INTERVAL);
    let mut partitions = interval(PARTITIONS_INTERVAL);
    for timer in [&mut retry, &mut partitions] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        let is_retry = tokio::select! {
            _ = retry.tick() => true,
            _ = partitions.tick() => false,
        };
        let Some(hall) = hall.upgrade() else { return };
        match is_retry {
            true => hall.retry_failed().await,
            false => hall.take_up_partitions().await,
        }
    }
}
