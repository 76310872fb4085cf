//! The SQL of the platform as a pure language: text to statements, and typed expressions over columnar rows.
//!
//! Nothing here reads, writes, waits or keeps state; carrying statements out is the processor's. In reading order:
//! values and their types, rows, the tokens and the tree of a text, the grammar, then functions, and expressions
//! checked and evaluated.

pub mod ast;
mod cast;
mod coerce;
pub mod compile;
pub mod error;
pub mod evaluate;
pub mod functions;
pub mod parse;
pub mod rows;
pub mod schema;
pub mod tokens;
pub mod value;
pub mod words;

pub use error::{Cause, Place, RowCause, SqlError};
pub use evaluate::{Compiled, EvaluateError, Evaluated, RowError};
pub use rows::{Change, Row, Rows, RowsBuilder, RowsError, RowsParts};
pub use schema::{Column, ColumnRef, Pseudo, Schema};
pub use value::{ColumnBuilder, Decimal, SqlType, StructField, Value, ValueError};
