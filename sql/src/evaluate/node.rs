//! The tree of a compiled expression: operations and their operands.

use std::collections::HashSet;
use std::fmt;

use crate::ast::BinaryOperator;
use crate::functions::function::RowFunction;
use crate::schema::ColumnRef;
use crate::value::{SqlType, Value};

/// An operation with its operands.
pub(crate) struct Node {
    pub(crate) operation: Operation,
    pub(crate) operands: Vec<Node>,
    pub(crate) sql_type: SqlType,
}

/// What is computed from the operands. Compiling has seen to their number and types.
pub(crate) enum Operation {
    Column(ColumnRef),
    Constant(Value),
    Not,
    And,
    Or,
    /// Two operands of one type.
    Compare(BinaryOperator),
    /// Two operands: of the result's type, or any two DECIMALs.
    Arithmetic(BinaryOperator),
    /// Texts end to end.
    Concatenate,
    Negate,
    IsNull,
    IsNotNull,
    /// Text, pattern.
    Like {
        escape: Option<char>,
    },
    /// The first operand among the others, all of one type.
    In,
    /// The first operand not below the second and not above the third, all of one type.
    Between,
    /// The operand among constants of its type.
    InSet {
        values: HashSet<Value>,
        has_null: bool,
    },
    /// Condition, value, condition, value, ..., value otherwise. With a subject, that stands first, and values of its
    /// type stand in place of the conditions.
    Case {
        has_subject: bool,
    },
    Cast,
    Field(usize),
    /// Array, position; or map, key.
    Index,
    MakeArray,
    /// Key, value, key, value, ...
    MakeMap,
    MakeStruct,
    TextFunction(fn(&str) -> String),
    /// Null when any operand is.
    StrictFunction(RowFunction),
    /// Sees nulls.
    Function(RowFunction),
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} operands", self.sql_type, self.operands.len())
    }
}
