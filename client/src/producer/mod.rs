//! Records in: gathered into batches, sent in order, acknowledged one by one.
//!
//! A record's way: [`handle`](Producer::send) reserves room and adds it to the batch of its partition
//! ([`partitioner`], `accumulator`); the one `sender` task moves batches into the window of their partition (`window`),
//! sends them, and completes the tickets (`ticket`) in order. Reading order: `ticket`, `topics`, `accumulator`, `window`,
//! `sender`, `handle`.

mod accumulator;
mod handle;
pub mod partitioner;
mod sender;
mod shared;
mod ticket;
mod topics;
mod window;

#[cfg(test)]
mod tests;

pub use handle::Producer;
pub use ticket::{Placed, Ticket, Tickets};

pub use crate::config::{BackoffConfig, ProducerConfig};
