//! The gRPC door: translation only, no rule.

mod admin;
mod friendly;
mod held;
mod inflow;
mod log;
mod messages;
mod records;
pub(crate) mod server;
mod single;
#[cfg(test)]
mod testing;
