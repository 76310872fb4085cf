//! The generated gRPC types (`thalweg.v1`) and their conversions, nothing else.
//!
//! Both doors of the wire translate here: the broker from requests to [`crate::verbs`] and back, the client the
//! other way round. Identifiers are checked on the way in.

/// What `protocol/proto/*.proto` generates.
#[expect(missing_docs, reason = "generated: the documentation stands in the .proto files")]
#[allow(clippy::allow_attributes, clippy::allow_attributes_without_reason, clippy::large_futures, unreachable_pub, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("thalweg.v1");
}

/// The compiled descriptors of all services, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
