//! The functions of the language: each one row of a table, with its types, what it does, and examples that are tests.
//!
//! Aggregates are not here: they have state, which is the processor's.

mod encoding;
pub mod function;
pub(crate) mod java_time;
mod json;
mod json_path;
mod mask;
mod nested;
mod number;
mod regexp;
pub mod table;
mod text;
mod time;
mod url;
