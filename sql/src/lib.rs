//! The SQL of the platform as a pure language: text to statements, and typed expressions over columnar rows.
//!
//! Nothing here reads, writes, waits or keeps state; carrying statements out is the processor's. In reading order:
//! values and their types, rows, the tokens and the tree of a text, the grammar, then functions, and expressions
//! checked and evaluated.

pub mod error;
pub mod value;
pub mod schema;
pub mod rows;
pub mod tokens;
pub mod ast;
pub mod parse;

pub use error::{Cause, Place, SqlError};
pub use rows::{Change, Row, Rows, RowsBuilder, RowsError, RowsParts};
pub use schema::{Column, ColumnRef, Pseudo, Schema};
pub use value::{ColumnBuilder, Decimal, SqlType, StructField, Value, ValueError};
