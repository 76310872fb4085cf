//! Topics and partitions over front doors with one behaviour.
//!
//! **Promise: what one door can do the other can, and only one place says yes to a producer.** An hourglass: everything
//! below [`service`] knows no protocol, everything above it knows no rule. That one place is `shard/pending.rs`.

pub mod admission;
mod broker;
mod caller;
pub mod config;
mod connection;
mod error;
pub mod fetch;
mod grpc;
mod http;
pub mod metrics;
mod patience;
mod positions;
pub mod produce;
pub mod service;
pub mod setting;
mod shard;
pub mod shutdown;
pub mod time;
pub mod topics;
pub mod world;

pub use broker::{Broker, Doors, OpenError};
pub use config::Config;
pub use service::Service;
pub use world::World;
