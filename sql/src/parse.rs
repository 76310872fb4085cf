//! The grammar: tokens to the tree of a statement.
//!
//! Nothing is looked up here: whether a column exists is [`crate::compile`]'s question, whether a statement can be
//! carried out the processor's.

mod cursor;
mod expression;
mod query;
mod statement;

pub use cursor::{DEPTH_MAX, NESTED_MAX};
pub use expression::{expression, sql_type};
pub use statement::{script, statement};
