//! The gRPC door: translation only, no rule.

mod admin;
mod friendly;
mod inflow;
mod log;
mod records;
pub(crate) mod server;
