//! The Rust client of Thalweg. **Promise: a record handed over is acknowledged, or you are told whether it may have
//! been written.**
//!
//! A producer and a consumer in twenty lines, here over a broker in memory; with a real one, the transport is
//! `GrpcTransport::connect("127.0.0.1:9093")?`.
//!
//! ```
//! use protocol::record::Record;
//! use protocol::verbs::Position;
//! use thalweg_client::consumer::{Consumer, ConsumerConfig};
//! use thalweg_client::fake::FakeBroker;
//! use thalweg_client::producer::{Producer, ProducerConfig};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = FakeBroker::with_topic("ratings", 3);
//! let topic = "ratings".parse()?;
//!
//! let producer = Producer::new(transport.clone(), ProducerConfig::default());
//! let ticket = producer.send(&topic, None, Record::new("4711", r#"{"stars":1}"#)).await?;
//! let placed = ticket.await?;
//! producer.close().await?;
//!
//! let mut consumer = Consumer::new(transport, ConsumerConfig::default());
//! consumer.assign(&topic, None, Position::Earliest).await?;
//! let record = consumer.next().await?;
//! assert_eq!((record.partition, record.offset), (placed.partition, placed.offset));
//! assert_eq!(record.key.as_deref(), Some(&b"4711"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! Everything leaves through one trait, [`transport::Transport`]: over gRPC ([`grpc::GrpcTransport`]), straight into a
//! broker of the same process, or into a broker in memory for your own tests ([`fake::FakeBroker`]). Every error says
//! what happened, whether to try again, and whether it may have happened all the same ([`error::Error`]).
//!
//! Left out: consumer groups, transactions, TLS.

pub mod admin;
mod clock;
pub mod config;
pub mod consumer;
pub mod error;
pub mod fake;
pub mod grpc;
mod metadata;
pub mod producer;
mod retry;
pub mod transport;

pub use producer::partitioner;
