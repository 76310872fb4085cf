//! From statements to what is to be computed.

pub mod build;
pub mod declare;
pub mod explain;
pub mod logical;
