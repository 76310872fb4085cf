//! The gRPC door: translation only, no rule.

mod admin;
mod friendly;
mod records;
pub(crate) mod server;
