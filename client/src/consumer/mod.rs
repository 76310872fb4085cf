//! Records out: partitions assigned by the caller, read ahead within a budget, handed out in order.
//!
//! `positions` is the pure part (where we stand, what is on the shelf), `fetcher` the task that keeps the shelf filled,
//! `handle` the [`Consumer`]. Left out: groups of consumers that share partitions out among themselves.

mod fetcher;
mod handle;
mod positions;

#[cfg(test)]
mod tests;

pub use handle::{ConsumedRecord, Consumer};

pub use crate::config::{BackoffConfig, ConsumerConfig};
