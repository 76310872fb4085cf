//! The functions of the language: each one row of a table, with its types, what it does, and examples that are tests.
//!
//! Aggregates are not here: they have state, which is the processor's.

pub mod function;
pub(crate) mod java_time;
mod nested;
mod number;
pub mod table;
mod text;
mod time;

pub(crate) use nested::map_of;
