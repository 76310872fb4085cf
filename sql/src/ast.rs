//! Statements as written: what the grammar makes of a text, before names and types are looked up.
//!
//! Each piece prints as SQL that parses to the same tree again; that text is what stored statements are kept as.
//! Expressions are in [`crate::ast::Expr`]; what they mean is [`crate::compile`]'s.

mod expression;
mod print;
mod query;
pub(crate) mod rank;
mod statement;

pub use expression::{
    BinaryOperator, Expr, ExprKind, Literal, Name, SpanUnit, TimeSpan, TypeName, Written,
};
pub use query::{Emit, Join, JoinKind, Query, SelectItem, Source, Window, WindowShape, Within};
pub use statement::{
    Assert, ColumnDefinition, ColumnRole, ConnectorKind, CreateAs, CreateSource, InsertValues,
    Print, Properties, Property, QueryTarget, Shown, SourceKind, Statement,
};
