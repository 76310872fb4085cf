//! The generated gRPC types (`thalweg.v1`) and their conversions, nothing else.
//!
//! Both ends of the wire translate here, the broker from requests to [`crate::verbs`] and back, the client the other
//! way round. What comes in is checked: identifiers, counts, and that a batch is exactly one whole batch. Payloads stay
//! slices of the received message. Who calls what:
//!
//! | | broker | client |
//! |---|---|---|
//! | out | `v1::...::from(verbs)`, `verbs -> v1` functions | `v1::...Request::from(verbs)` |
//! | in | `TryFrom<v1::...Request>`, error [`crate::outcome::Refusal`] | functions named after the reply |
//! | errors | `tonic::Status::from(refusal)`, `v1::Problem::from(refusal)` | `Refusal::from(status)`, `Refusal::from(problem)` |

pub mod admin;
pub mod fetch;
pub mod pieces;
pub mod position;
pub mod produce;
pub mod record;
pub mod refusal;
#[expect(missing_docs, reason = "generated: the documentation stands in the .proto files")]
#[allow(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::large_futures,
    unreachable_pub,
    reason = "generated code"
)]
pub mod v1;
pub mod wire;

/// The compiled descriptors of all services, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
