//! The doors of the engine: they translate, nothing else.

pub mod grpc;
