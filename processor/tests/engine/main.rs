//! The whole engine over a broker in memory: what statements answer, and that queries neither lose nor repeat a row.
//!
//! The broker is `client::fake`, whose head says which faults are fair. A crash is a runtime that is dropped with
//! everything in it; what is left is what the broker has.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail")]

mod circles;
mod exactly_once;
mod own_topics;
mod sources;
mod statements;
mod support;
mod times;
