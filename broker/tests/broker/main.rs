//! The promises of the broker, through its one way in and its gRPC door. One test binary, a module a story.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod changes;
mod doors;
mod fallen;
mod grpc;
mod internal;
mod rolls;
mod service;
mod support;
mod watched;
