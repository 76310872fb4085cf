//! What both ends of Thalweg agree on, and nothing else: identifiers, outcomes, limits, the record batch, the verbs
//! of a broker, and (feature `grpc`) the generated gRPC messages.
//!
//! No async, no sockets, no files. Reading order: [`batch`], [`record`], [`verbs`], [`outcome`].

pub mod batch;
pub mod compression;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod id;
pub mod limits;
pub mod outcome;
pub mod partitioner;
pub mod record;
pub mod varint;
pub mod verbs;
