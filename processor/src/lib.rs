//! SQL over topics. **Promise: every piece of state can be deleted and rebuilt from topics.**
//!
//! The processor speaks to a broker only through a client's [`Transport`](client::transport::Transport). Reading order:
//! [`engine`] takes statements, [`plan`] says what is to be computed, [`flow`] computes it; `flow/checkpoint.rs` tells
//! why a crash at any moment neither loses nor repeats a row.

pub mod answer;
pub mod catalog;
pub mod circle;
pub mod clock;
pub mod engine;
pub mod error;
pub mod flow;
pub mod format;
pub mod frontier;
pub mod hall;
pub mod journal;
pub mod launch;
pub mod operators;
pub mod plan;
pub mod processing_log;
pub mod query;
pub mod serve;
pub mod session;
pub mod show;
pub mod stored;
pub mod supervisor;
pub mod topics;

pub use engine::{Engine, EngineConfig};
