//! One evaluation over one batch: the tree from its leaves to its root, a column for each operation.
//!
//! An operation on columns is a kernel's where there is one, else it is computed row by row. What all operations may
//! make together is bounded.

use std::sync::Arc;

use arrow_arith::boolean::{and_kleene, is_not_null, is_null, not, or_kleene};
use arrow_arith::numeric;
use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow_select::{take::take, zip::zip};

use super::arithmetic::{calculate, out_of_range};
use super::error::{BATCH_BYTES_MAX, EvaluateError, Result};
use super::held::Held;
use super::kernels::{
    compare, each_text, field, has_zero, index, is_between, is_in, is_in_set, kernel_pattern,
    make_map, null_is_false,
};
use super::node::{Node, Operation};
use super::row_errors::{RowError, RowErrors};
use crate::ast::BinaryOperator;
use crate::cast::cast;
use crate::error::RowCause;
use crate::rows::Rows;
use crate::value::{ColumnBuilder, SqlType, Value};

/// The most bytes of texts and items that are handed to functions for a batch: a large constant is handed over anew for
/// each row.
const READ_BYTES_MAX: usize = 1 << 32;

/// The longest pattern of LIKE, in bytes: its cost grows with it.
pub(crate) const LIKE_BYTES_MAX: usize = 1_000;

/// The values of a tree for all rows of a batch, and what went wrong in some of them.
pub(super) fn column_of(node: &Node, rows: &Rows) -> Result<(ArrayRef, Vec<RowError>)> {
    let mut run = Run::new(Some(rows));
    let held = run.node(node)?;
    let column = run.expand(&held, rows.len())?;
    Ok((column, run.errors.finish()))
}

/// The value of a tree without columns.
pub(crate) fn constant_value(node: &Node) -> std::result::Result<Value, RowCause> {
    let mut run = Run::new(None);
    match run.node(node) {
        Err(_) => Ok(Value::Null),
        Ok(held) => match run.errors.first() {
            Some(cause) => Err(cause),
            None => Ok(held.value(0)),
        },
    }
}

/// One evaluation over one batch.
struct Run<'r> {
    /// None for constants, which have one row.
    rows: Option<&'r Rows>,
    errors: RowErrors,
    /// Of texts and items that were made so far.
    bytes: usize,
    /// Of texts and items that were handed to functions so far.
    bytes_read: usize,
}

impl<'r> Run<'r> {
    fn new(rows: Option<&'r Rows>) -> Self {
        let errors = RowErrors::new(rows.map_or(1, Rows::len));
        Self { rows, errors, bytes: 0, bytes_read: 0 }
    }

    fn len(&self) -> usize {
        self.rows.map_or(1, Rows::len)
    }

    /// One value a row.
    fn expand(&mut self, held: &Held, rows: usize) -> Result<ArrayRef> {
        let array = match held {
            Held::Column(array) => return Ok(Arc::clone(array)),
            Held::Same(array) => array,
        };
        let bytes = array.to_data().get_slice_memory_size()?.saturating_mul(rows);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > BATCH_BYTES_MAX {
            return Err(EvaluateError::TooLarge { rows });
        }
        Ok(take(array, &UInt32Array::from(vec![0; rows]), None)?)
    }

    /// The values of a tree: its operands first. What needs no column is computed once for all rows.
    fn node(&mut self, node: &Node) -> Result<Held> {
        match node.operation {
            Operation::Constant(ref value) => {
                return Ok(Held::Same(value.repeat(&node.sql_type, 1)?));
            }
            Operation::Column(place) => {
                let column = self.rows.and_then(|rows| rows.column(place));
                return column.map(Held::Column).ok_or(EvaluateError::Column { place });
            }
            // These see to the errors of their operands themselves.
            Operation::And | Operation::Or => return self.logic(node),
            Operation::Case { has_subject } => return self.case(node, has_subject),
            _ => {}
        }
        let before = self.errors.mark();
        let mut held = Vec::with_capacity(node.operands.len());
        for operand in &node.operands {
            held.push(self.node(operand)?);
            self.errors.settle(before);
        }
        let same = held.iter().all(Held::is_same);
        if !same {
            return Ok(Held::Column(self.column(node, &held, self.len())?));
        }
        let before = self.errors.mark();
        let column = self.column(node, &held, 1)?;
        self.errors.spread(before);
        Ok(Held::Same(column))
    }

    /// The values of an operation whose operands are there.
    fn column(&mut self, node: &Node, held: &[Held], rows: usize) -> Result<ArrayRef> {
        Ok(match &node.operation {
            Operation::Not => Arc::new(not(&held[0].booleans(rows)?)?),
            Operation::Compare(operator) => Arc::new(compare(*operator, &held[0], &held[1], rows)?),
            Operation::Arithmetic(operator) => {
                return self.arithmetic(*operator, node, held, rows);
            }
            Operation::Negate => return self.negate(node, held, rows),
            Operation::IsNull => Arc::new(is_null(&self.expand(&held[0], rows)?)?),
            Operation::IsNotNull => Arc::new(is_not_null(&self.expand(&held[0], rows)?)?),
            Operation::Like { escape } => Arc::new(self.like(held, *escape, rows)?),
            Operation::In => Arc::new(is_in(held, rows)?),
            Operation::Between => Arc::new(is_between(held, rows)?),
            Operation::InSet { values, has_null } => {
                Arc::new(is_in_set(&held[0], values, *has_null, rows))
            }
            Operation::Cast => return self.cast(node, held, rows),
            Operation::Field(index) => field(&self.expand(&held[0], rows)?, *index)?,
            Operation::Index => index(&self.expand(&held[0], rows)?, &held[1], rows)?,
            Operation::TextFunction(function) => {
                Arc::new(each_text(&self.expand(&held[0], rows)?, *function))
            }
            Operation::StrictFunction(function) => {
                return self.each(node, held, rows, |row| match row.iter().any(Value::is_null) {
                    true => Ok(Value::Null),
                    false => function(row),
                });
            }
            Operation::Function(function) => {
                return self.each(node, held, rows, |row| function(row));
            }
            Operation::Concatenate => {
                return self.each(node, held, rows, |row| match row {
                    [Value::String(left), Value::String(right)] => {
                        Ok(Value::String([left.as_str(), right].concat()))
                    }
                    _ => Ok(Value::Null),
                });
            }
            Operation::MakeArray => {
                return self.each(node, held, rows, |row| Ok(Value::Array(row.to_vec())));
            }
            Operation::MakeMap => return self.each(node, held, rows, make_map),
            Operation::MakeStruct => {
                let SqlType::Struct(fields) = &node.sql_type else {
                    return Ok(new_null_array(&node.sql_type.to_arrow(), rows));
                };
                return self.each(node, held, rows, |row| {
                    let names = fields.iter().map(|field| field.name.clone());
                    Ok(Value::Struct(names.zip(row.iter().cloned()).collect()))
                });
            }
            Operation::Column(_)
            | Operation::Constant(_)
            | Operation::And
            | Operation::Or
            | Operation::Case { .. } => new_null_array(&node.sql_type.to_arrow(), rows),
        })
    }

    /// Computes row by row; an error makes the row null.
    fn each(
        &mut self,
        node: &Node,
        held: &[Held],
        rows: usize,
        compute: impl Fn(&[Value]) -> std::result::Result<Value, RowCause>,
    ) -> Result<ArrayRef> {
        let mut builder = ColumnBuilder::new(&node.sql_type, rows);
        let mut row_values = Vec::with_capacity(held.len());
        for row in 0..rows {
            let is_spent = self.bytes > BATCH_BYTES_MAX || self.bytes_read > READ_BYTES_MAX;
            let too_large = RowCause::TooLarge { what: "bytes in a batch", limit: BATCH_BYTES_MAX };
            let computed = if is_spent {
                Err(too_large)
            } else {
                row_values.clear();
                row_values.extend(held.iter().map(|held| held.value(row)));
                self.bytes_read += row_values.iter().map(Value::payload_bytes).sum::<usize>();
                compute(&row_values).and_then(|value| {
                    self.bytes = self.bytes.saturating_add(value.payload_bytes());
                    if self.bytes > BATCH_BYTES_MAX { Err(too_large) } else { Ok(value) }
                })
            };
            match computed {
                Ok(value) => builder.push(&value)?,
                Err(cause) => {
                    builder.push_null();
                    self.errors.push(row, cause);
                }
            }
        }
        Ok(builder.finish())
    }

    /// AND and OR. What the right side says of a row that the left side has decided is no error.
    fn logic(&mut self, node: &Node) -> Result<Held> {
        let (rows, begun) = (self.len(), self.errors.mark());
        let left = self.node(&node.operands[0])?.booleans(rows)?;
        let is_and = matches!(node.operation, Operation::And);
        let before = self.errors.mark();
        let right = self.node(&node.operands[1])?.booleans(rows)?;
        let decided = |row: usize| left.is_valid(row) && left.value(row) != is_and;
        self.errors.forgive(before, decided);
        self.errors.settle(begun);
        let both = if is_and { and_kleene(&left, &right)? } else { or_kleene(&left, &right)? };
        Ok(Held::Column(Arc::new(both)))
    }

    /// CASE. What a branch says of a row that it was not chosen for is no error.
    fn case(&mut self, node: &Node, has_subject: bool) -> Result<Held> {
        let rows = self.len();
        let (subject, operands) = node.operands.split_at(usize::from(has_subject));
        let subject = match subject {
            [subject] => {
                let held = self.node(subject)?;
                Some(Held::Column(self.expand(&held, rows)?))
            }
            _ => None,
        };
        let (branches, otherwise) = operands.split_at(operands.len() - 1);
        let begun = self.errors.mark();
        let mut open = vec![true; rows];
        let mut chosen = Vec::with_capacity(branches.len() / 2);
        for branch in branches.chunks_exact(2) {
            let before = self.errors.mark();
            let when = self.node(&branch[0])?;
            let mask = match &subject {
                Some(subject) => compare(BinaryOperator::Equal, subject, &when, rows)?,
                None => when.booleans(rows)?,
            };
            let mask = null_is_false(&mask);
            self.errors.forgive(before, |row| !open[row]);
            let before = self.errors.mark();
            let values = self.node(&branch[1])?;
            let values = self.expand(&values, rows)?;
            self.errors.forgive(before, |row| !open[row] || !mask.value(row));
            open.iter_mut().enumerate().for_each(|(row, open)| *open &= !mask.value(row));
            chosen.push((mask, values));
            self.errors.settle(begun);
        }
        let before = self.errors.mark();
        let otherwise = self.node(&otherwise[0])?;
        let mut result = self.expand(&otherwise, rows)?;
        self.errors.forgive(before, |row| !open[row]);
        for (mask, values) in chosen.iter().rev() {
            result = zip(mask, values, &result)?;
        }
        Ok(Held::Column(result))
    }

    /// LIKE. A pattern that is too long has no answer: it costs time and memory with each of its characters.
    fn like(&mut self, held: &[Held], escape: Option<char>, rows: usize) -> Result<BooleanArray> {
        let [text, pattern] = held else { return Ok(BooleanArray::new_null(rows)) };
        let mut patterns = StringBuilder::new();
        for (row, pattern) in pattern.array().as_string::<i32>().iter().enumerate() {
            let fits = pattern.filter(|pattern| pattern.len() <= LIKE_BYTES_MAX);
            patterns.append_option(fits.map(|pattern| kernel_pattern(pattern, escape)));
            if pattern.is_some() && fits.is_none() {
                let what = "bytes in a pattern of LIKE";
                let cause = RowCause::TooLarge { what, limit: LIKE_BYTES_MAX };
                self.errors.push(row, cause);
            }
        }
        let patterns: ArrayRef = Arc::new(patterns.finish());
        let patterns = match pattern {
            Held::Same(_) => Held::Same(patterns),
            Held::Column(_) => Held::Column(patterns),
        };
        let text = Held::Column(self.expand(text, rows)?);
        Ok(arrow_string::like::like(&text, &patterns)?)
    }

    fn arithmetic(
        &mut self,
        operator: BinaryOperator,
        node: &Node,
        held: &[Held],
        rows: usize,
    ) -> Result<ArrayRef> {
        let kernel = match operator {
            BinaryOperator::Add => numeric::add,
            BinaryOperator::Subtract => numeric::sub,
            BinaryOperator::Multiply => numeric::mul,
            BinaryOperator::Divide => numeric::div,
            _ => numeric::rem,
        };
        let divides = matches!(operator, BinaryOperator::Divide | BinaryOperator::Modulo);
        let by_row = match node.sql_type {
            SqlType::Decimal { .. } => true,
            SqlType::Double => divides && has_zero(&held[1]),
            _ => false,
        };
        if !by_row {
            // It refuses a whole batch for one row; then each row is looked at.
            if let Ok(column) = kernel(&held[0], &held[1]) {
                return Ok(column);
            }
        }
        let sql_type = &node.sql_type;
        self.each(node, held, rows, |row| calculate(operator, &row[0], &row[1], sql_type))
    }

    fn negate(&mut self, node: &Node, held: &[Held], rows: usize) -> Result<ArrayRef> {
        if let Ok(column) = numeric::neg(held[0].array()) {
            return Ok(column);
        }
        self.each(node, held, rows, |row| {
            let negated = match &row[0] {
                Value::Int(value) => value.checked_neg().map(Value::Int),
                Value::Bigint(value) => value.checked_neg().map(Value::Bigint),
                _ => None,
            };
            match &row[0] {
                Value::Null => Ok(Value::Null),
                _ => negated.ok_or_else(|| out_of_range("-", &node.sql_type)),
            }
        })
    }

    fn cast(&mut self, node: &Node, held: &[Held], rows: usize) -> Result<ArrayRef> {
        let from = &node.operands[0].sql_type;
        let exact = matches!(
            (from, &node.sql_type),
            (SqlType::Int, SqlType::Bigint | SqlType::Double) | (SqlType::Bigint, SqlType::Double)
        );
        if exact {
            return Ok(arrow_cast::cast(held[0].array(), &node.sql_type.to_arrow())?);
        }
        self.each(node, held, rows, |row| match &row[0] {
            Value::Null => Ok(Value::Null),
            value => cast(value, &node.sql_type),
        })
    }
}
