//! A compiled expression over rows: column by column with Arrow's kernels, row by row where there is none.
//!
//! An error in one row makes the expression null there and is reported with the row; the others are not touched.
//! Errors in what a CASE, AND or OR did not need for a row are not reported.

mod arithmetic;
mod kernels;
mod node;

use std::sync::Arc;

use arrow_arith::boolean::{and_kleene, is_not_null, is_null, not, or_kleene};
use arrow_arith::numeric;
use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, StringArray, UInt32Array, new_null_array};
use arrow_schema::ArrowError;
use arrow_select::{take::take, zip::zip};

pub(crate) use self::arithmetic::calculate;
use self::arithmetic::out_of_range;
pub use self::kernels::EvaluateError;
use self::kernels::{
    BATCH_BYTES_MAX, Held, Result, compare, field, has_zero, index, is_in, kernel_pattern,
    make_map, null_is_false,
};
pub(crate) use self::node::{Node, Operation};
use crate::ast::BinaryOperator;
use crate::cast::cast;
use crate::error::RowCause;
use crate::rows::Rows;
use crate::schema::ColumnRef;
use crate::value::{ColumnBuilder, SqlType, Value};

/// An expression with names bound and types checked; see [`crate::compile`]. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub(crate) node: Arc<Node>,
    pub(crate) text: Arc<str>,
}

/// The values of an expression for a batch.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// One value a row.
    pub column: ArrayRef,
    /// Rows that have no value because something went wrong, in order, each at most once.
    pub errors: Vec<RowError>,
}

/// What went wrong in one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// The row's number in the batch.
    pub row: usize,
    /// What it was.
    pub cause: RowCause,
}

/// The most bytes of texts and items that are handed to functions for a batch: a large constant is handed over anew for
/// each row.
const READ_BYTES_MAX: usize = 1 << 32;

/// The longest pattern of LIKE, in bytes: its cost grows with it.
pub(crate) const LIKE_BYTES_MAX: usize = 1_000;

impl Compiled {
    /// The type of its values. A bare NULL is a STRING.
    pub fn sql_type(&self) -> &SqlType {
        &self.node.sql_type
    }

    /// Its values for all rows of a batch.
    ///
    /// # Errors
    /// [`EvaluateError`] when the batch is not of the schema it was compiled for.
    pub fn evaluate(&self, rows: &Rows) -> Result<Evaluated> {
        let mut run = Run { rows: Some(rows), errors: Vec::new(), bytes: 0, bytes_read: 0 };
        let held = run.node(&self.node)?;
        let column = run.expand(&held, rows.len())?;
        Ok(Evaluated { column, errors: run.finish() })
    }

    /// Its values as a mask: true where it is true, false where it is false or null.
    ///
    /// # Errors
    /// As [`Compiled::evaluate`], and [`EvaluateError::Arrow`] when it is not a condition.
    pub fn evaluate_mask(&self, rows: &Rows) -> Result<(BooleanArray, Vec<RowError>)> {
        let Evaluated { column, errors } = self.evaluate(rows)?;
        let Some(mask) = column.as_boolean_opt() else {
            let refused = format!("a condition must be BOOLEAN, not {}", self.sql_type());
            return Err(ArrowError::InvalidArgumentError(refused).into());
        };
        Ok((null_is_false(mask), errors))
    }

    /// Its value, when it has no columns.
    pub fn constant(&self) -> Option<std::result::Result<Value, RowCause>> {
        self.columns().is_empty().then(|| constant_value(&self.node))
    }

    /// The columns it reads, each once, in order of first use.
    pub fn columns(&self) -> Vec<ColumnRef> {
        let mut columns = Vec::new();
        gather_columns(&self.node, &mut columns);
        columns
    }

    /// As SQL: the text of the expression it was compiled from.
    pub fn to_text(&self) -> String {
        self.text.to_string()
    }
}

fn gather_columns(node: &Node, columns: &mut Vec<ColumnRef>) {
    if let Operation::Column(place) = node.operation
        && !columns.contains(&place)
    {
        columns.push(place);
    }
    node.operands.iter().for_each(|operand| gather_columns(operand, columns));
}

/// The value of a tree without columns.
pub(crate) fn constant_value(node: &Node) -> std::result::Result<Value, RowCause> {
    let mut run = Run { rows: None, errors: Vec::new(), bytes: 0, bytes_read: 0 };
    match run.node(node) {
        Err(_) => Ok(Value::Null),
        Ok(held) => match run.errors.into_iter().next() {
            Some(RowError { cause, .. }) => Err(cause),
            None => Ok(held.value(0)),
        },
    }
}

/// One evaluation over one batch.
struct Run<'r> {
    /// None for constants, which have one row.
    rows: Option<&'r Rows>,
    errors: Vec<RowError>,
    /// Of texts and items that were made so far.
    bytes: usize,
    /// Of texts and items that were handed to functions so far.
    bytes_read: usize,
}

impl Run<'_> {
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

    /// The errors, one a row.
    fn finish(mut self) -> Vec<RowError> {
        self.errors.sort_by_key(|error| error.row);
        self.errors.dedup_by_key(|error| error.row);
        self.errors
    }

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
        let before = self.errors.len();
        let mut held = Vec::with_capacity(node.operands.len());
        for operand in &node.operands {
            held.push(self.node(operand)?);
            self.settle(before);
        }
        let same = held.iter().all(Held::is_same);
        if !same {
            return Ok(Held::Column(self.column(node, &held, self.len())?));
        }
        let before = self.errors.len();
        let column = self.column(node, &held, 1)?;
        self.spread(before);
        Ok(Held::Same(column))
    }

    /// What was computed once for all rows, and failed, has failed for each of them.
    fn spread(&mut self, before: usize) {
        for RowError { cause, .. } in self.errors.split_off(before) {
            let everywhere = (0..self.len()).map(|row| RowError { row, cause: cause.clone() });
            self.errors.extend(everywhere);
        }
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
            Operation::Between => {
                let low = compare(BinaryOperator::GreaterOrEqual, &held[0], &held[1], rows)?;
                let high = compare(BinaryOperator::LessOrEqual, &held[0], &held[2], rows)?;
                Arc::new(and_kleene(&low, &high)?)
            }
            Operation::InSet { values, has_null } => {
                let known = |row| match held[0].value(row) {
                    Value::Null => None,
                    value if values.contains(&value) => Some(true),
                    _ => (!has_null).then_some(false),
                };
                Arc::new((0..rows).map(known).collect::<BooleanArray>())
            }
            Operation::Cast => return self.cast(node, held, rows),
            Operation::Field(index) => field(&self.expand(&held[0], rows)?, *index)?,
            Operation::Index => index(&self.expand(&held[0], rows)?, &held[1], rows)?,
            Operation::TextFunction(function) => {
                let texts = self.expand(&held[0], rows)?;
                let texts = texts.as_string::<i32>().iter().map(|text| text.map(*function));
                Arc::new(texts.collect::<StringArray>())
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
                    self.errors.push(RowError { row, cause });
                }
            }
        }
        Ok(builder.finish())
    }

    /// AND and OR. What the right side says of a row that the left side has decided is no error.
    fn logic(&mut self, node: &Node) -> Result<Held> {
        let (rows, begun) = (self.len(), self.errors.len());
        let left = self.node(&node.operands[0])?.booleans(rows)?;
        let is_and = matches!(node.operation, Operation::And);
        let before = self.errors.len();
        let right = self.node(&node.operands[1])?.booleans(rows)?;
        let decided = |row: usize| left.is_valid(row) && left.value(row) != is_and;
        self.forgive(before, decided);
        self.settle(begun);
        let both = if is_and { and_kleene(&left, &right)? } else { or_kleene(&left, &right)? };
        Ok(Held::Column(Arc::new(both)))
    }

    /// Keeps the first error of each row only, of those from `before` on, where they have become many. They must share
    /// one fate: none is forgiven without the others.
    fn settle(&mut self, before: usize) {
        if self.errors.len() - before > self.len() {
            let mut late = self.errors.split_off(before);
            late.sort_by_key(|error| error.row);
            late.dedup_by_key(|error| error.row);
            self.errors.append(&mut late);
        }
    }

    /// Drops errors from `before` on, of rows that did not need what failed.
    fn forgive(&mut self, before: usize, unneeded: impl Fn(usize) -> bool) {
        let late = self.errors.split_off(before);
        self.errors.extend(late.into_iter().filter(|error| !unneeded(error.row)));
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
        let begun = self.errors.len();
        let mut open = vec![true; rows];
        let mut chosen = Vec::with_capacity(branches.len() / 2);
        for branch in branches.chunks_exact(2) {
            let before = self.errors.len();
            let when = self.node(&branch[0])?;
            let mask = match &subject {
                Some(subject) => compare(BinaryOperator::Equal, subject, &when, rows)?,
                None => when.booleans(rows)?,
            };
            let mask = null_is_false(&mask);
            self.forgive(before, |row| !open[row]);
            let before = self.errors.len();
            let values = self.node(&branch[1])?;
            let values = self.expand(&values, rows)?;
            self.forgive(before, |row| !open[row] || !mask.value(row));
            open.iter_mut().enumerate().for_each(|(row, open)| *open &= !mask.value(row));
            chosen.push((mask, values));
            self.settle(begun);
        }
        let before = self.errors.len();
        let otherwise = self.node(&otherwise[0])?;
        let mut result = self.expand(&otherwise, rows)?;
        self.forgive(before, |row| !open[row]);
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
                self.errors.push(RowError { row, cause });
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
