//! Shards: threads that own the logs. One turn, one write and at most one sync a partition, many answers.

pub(crate) mod awake;
pub(crate) mod chores;
pub(crate) mod command;
pub(crate) mod core;
pub(crate) mod handle;
mod owned;
pub(crate) mod pending;
pub(crate) mod thread;
