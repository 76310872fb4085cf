//! The gRPC door: translation only, no rule.

mod admin;
mod friendly;
mod held;
mod inflow;
mod outflow;
mod records;
pub(crate) mod server;
