//! Bytes of records to columns and back.

pub mod codec;
pub mod delimited;
pub mod json;
pub mod kafka;
mod numbers;
pub mod rows;
pub mod table;

#[cfg(test)]
mod testing;
