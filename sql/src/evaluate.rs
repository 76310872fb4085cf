//! A compiled expression over rows: column by column with Arrow's kernels, row by row where there is none.
//!
//! An error in one row makes the expression null there and is reported with the row; the others are not touched.
//! Errors in what a CASE, AND or OR did not need for a row are not reported.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow_arith::boolean::{and_kleene, is_not_null, is_null, not, or_kleene};
use arrow_arith::numeric;
use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Datum, StringArray, UInt32Array, new_null_array};
use arrow_buffer::i256;
use arrow_ord::cmp;
use arrow_schema::ArrowError;
use arrow_select::{filter::prep_null_mask_filter, nullif::nullif, take::take, zip::zip};

use crate::ast::BinaryOperator;
use crate::cast::cast;
use crate::error::RowCause;
use crate::functions::function::RowFunction;
use crate::rows::Rows;
use crate::schema::ColumnRef;
use crate::value::{ColumnBuilder, Decimal, SqlType, Value, ValueError};

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

/// Why an expression could not be evaluated at all. A batch with the schema that the expression was compiled for has
/// none of these.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The batch has no such column.
    #[error("the batch has no column at {place:?}")]
    Column {
        /// Where the column should be.
        place: ColumnRef,
    },
    /// The values would fill the memory.
    #[error(
        "the expression could not be evaluated: its values take more than {BATCH_BYTES_MAX} bytes for {rows} rows; make its texts and arrays shorter"
    )]
    TooLarge {
        /// Rows of the batch.
        rows: usize,
    },
    /// A kernel refused.
    #[error("the expression could not be evaluated: {0}")]
    Arrow(#[from] ArrowError),
    /// A value is not of the type it was checked to have.
    #[error("the expression could not be evaluated: {0}")]
    Value(#[from] ValueError),
}

/// The most bytes of texts and items that an expression may make for a batch, all of its operations together; rows
/// beyond it have no value.
const BATCH_BYTES_MAX: usize = 1 << 28;

/// The most bytes of texts and items that are handed to functions for a batch: a large constant is handed over anew for
/// each row.
const READ_BYTES_MAX: usize = 1 << 32;

/// The longest pattern of LIKE, in bytes: its cost grows with it.
pub(crate) const LIKE_BYTES_MAX: usize = 1_000;

type Result<T> = std::result::Result<T, EvaluateError>;

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

/// The values of an operand: one a row, or one for all of them.
enum Held {
    Column(ArrayRef),
    Same(ArrayRef),
}

impl Held {
    fn array(&self) -> &ArrayRef {
        match self {
            Self::Column(array) | Self::Same(array) => array,
        }
    }

    fn is_same(&self) -> bool {
        matches!(self, Self::Same(_))
    }

    fn value(&self, row: usize) -> Value {
        Value::read(self.array(), if self.is_same() { 0 } else { row })
    }

    /// Compiling has seen to it that this is a condition.
    fn booleans(&self, rows: usize) -> Result<BooleanArray> {
        Ok(match self {
            Self::Column(array) => array.as_boolean().clone(),
            Self::Same(array) => {
                take(array, &UInt32Array::from(vec![0; rows]), None)?.as_boolean().clone()
            }
        })
    }
}

impl Datum for Held {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array(), self.is_same())
    }
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

fn null_is_false(mask: &BooleanArray) -> BooleanArray {
    if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() }
}

fn out_of_range(operation: &str, sql_type: &SqlType) -> RowCause {
    RowCause::OutOfRange { operation: operation.to_owned(), sql_type: sql_type.clone() }
}

fn has_zero(divisor: &Held) -> bool {
    let floats = divisor.array().as_primitive_opt::<arrow_array::types::Float64Type>();
    floats.is_some_and(|floats| floats.iter().flatten().any(|float| float == 0.0))
}

/// Arithmetic on two values of a row.
pub(crate) fn calculate(
    operator: BinaryOperator,
    left: &Value,
    right: &Value,
    sql_type: &SqlType,
) -> std::result::Result<Value, RowCause> {
    use BinaryOperator as Op;
    let divides = matches!(operator, Op::Divide | Op::Modulo);
    macro_rules! checked {
        ($left:expr, $right:expr) => {{
            if divides && *$right == 0 {
                return Err(RowCause::DivisionByZero);
            }
            match operator {
                Op::Add => $left.checked_add(*$right),
                Op::Subtract => $left.checked_sub(*$right),
                Op::Multiply => $left.checked_mul(*$right),
                Op::Divide => $left.checked_div(*$right),
                // The only remainder that overflows is that of the least number by -1, which is 0.
                _ => Some($left.checked_rem(*$right).unwrap_or(0)),
            }
        }};
    }
    let result = match (left, right) {
        (Value::Null, _) | (_, Value::Null) => return Ok(Value::Null),
        (Value::Int(left), Value::Int(right)) => checked!(left, right).map(Value::Int),
        (Value::Bigint(left), Value::Bigint(right)) => checked!(left, right).map(Value::Bigint),
        (Value::Double(_), Value::Double(0.0)) if divides => return Err(RowCause::DivisionByZero),
        (Value::Double(left), Value::Double(right)) => Some(Value::Double(match operator {
            Op::Add => left + right,
            Op::Subtract => left - right,
            Op::Multiply => left * right,
            Op::Divide => left / right,
            _ => left % right,
        })),
        (Value::Decimal(_), Value::Decimal(right)) if divides && right.unscaled == 0 => {
            return Err(RowCause::DivisionByZero);
        }
        (Value::Decimal(left), Value::Decimal(right)) => {
            decimal_result(operator, *left, *right, sql_type).map(Value::Decimal)
        }
        _ => None,
    };
    result.ok_or_else(|| out_of_range(operator.sign(), sql_type))
}

/// Exact arithmetic, rounded half up to the type of the result. `None` when it does not fit.
fn decimal_result(
    operator: BinaryOperator,
    left: Decimal,
    right: Decimal,
    sql_type: &SqlType,
) -> Option<Decimal> {
    let SqlType::Decimal { precision, scale } = *sql_type else { return None };
    let widest = left.scale.max(right.scale);
    let same_scale =
        |of: Decimal| of.unscaled.checked_mul(10_i128.checked_pow((widest - of.scale).into())?);
    let exact = match operator {
        BinaryOperator::Add => {
            Decimal { unscaled: same_scale(left)?.checked_add(same_scale(right)?)?, scale: widest }
        }
        BinaryOperator::Subtract => {
            Decimal { unscaled: same_scale(left)?.checked_sub(same_scale(right)?)?, scale: widest }
        }
        BinaryOperator::Multiply => {
            let product =
                i256::from_i128(left.unscaled).checked_mul(i256::from_i128(right.unscaled))?;
            let dropped = u32::from(left.scale) + u32::from(right.scale);
            return rounded(product, dropped.checked_sub(scale.into())?, precision, scale);
        }
        BinaryOperator::Divide => return divide(left, right, precision, scale),
        _ => Decimal { unscaled: same_scale(left)? % same_scale(right)?, scale: widest },
    };
    exact.rescale(precision, scale)
}

/// left / right at one digit more than wanted, then rounded. Both sides have twice the bits of a DECIMAL on the way.
fn divide(left: Decimal, right: Decimal, precision: u8, scale: u8) -> Option<Decimal> {
    let shift = i32::from(scale) + 1 + i32::from(right.scale) - i32::from(left.scale);
    let power = i256::from_i128(10).checked_pow(shift.unsigned_abs())?;
    let (left, right) = (i256::from_i128(left.unscaled), i256::from_i128(right.unscaled));
    let quotient = match shift {
        0.. => left.checked_mul(power)?.checked_div(right)?,
        _ => left.checked_div(right.checked_mul(power)?)?,
    };
    rounded(quotient, 1, precision, scale)
}

/// A number without its last digits, rounded half up. `None` when it has more digits than the precision.
fn rounded(exact: i256, dropped: u32, precision: u8, scale: u8) -> Option<Decimal> {
    let ten = i256::from_i128(10);
    if dropped == 0 {
        return Decimal { unscaled: exact.to_i128()?, scale }.rescale(precision, scale);
    }
    // All but one of the digits, then that one with rounding.
    let nearly = exact.checked_div(ten.checked_pow(dropped - 1)?)?;
    let (whole, last) = (nearly.checked_div(ten)?.to_i128()?, nearly.checked_rem(ten)?.to_i128()?);
    let unscaled = whole.checked_add(if last.abs() >= 5 { last.signum() } else { 0 })?;
    Decimal { unscaled, scale }.rescale(precision, scale)
}

fn compare(
    operator: BinaryOperator,
    left: &Held,
    right: &Held,
    rows: usize,
) -> Result<BooleanArray> {
    use BinaryOperator as Op;
    if left.array().data_type().is_nested() {
        let of_row = |row| compare_values(operator, &left.value(row), &right.value(row));
        return Ok((0..rows).map(of_row).collect());
    }
    let compared = match operator {
        Op::Equal => cmp::eq(left, right),
        Op::NotEqual => cmp::neq(left, right),
        Op::Less => cmp::lt(left, right),
        Op::LessOrEqual => cmp::lt_eq(left, right),
        Op::Greater => cmp::gt(left, right),
        Op::GreaterOrEqual => cmp::gt_eq(left, right),
        Op::Distinct => cmp::distinct(left, right),
        _ => cmp::not_distinct(left, right),
    }?;
    // Two constants among columns: one answer for all rows.
    match left.is_same() && right.is_same() {
        true => Held::Same(Arc::new(compared)).booleans(rows),
        false => Ok(compared),
    }
}

/// Comparison of two values of one type; `None` is unknown.
pub(crate) fn compare_values(
    operator: BinaryOperator,
    left: &Value,
    right: &Value,
) -> Option<bool> {
    use BinaryOperator as Op;
    match operator {
        Op::Distinct => return Some(left != right),
        Op::NotDistinct => return Some(left == right),
        _ if left.is_null() || right.is_null() => return None,
        _ => {}
    }
    let order = left.cmp(right);
    Some(match operator {
        Op::Equal => order.is_eq(),
        Op::NotEqual => order.is_ne(),
        Op::Less => order.is_lt(),
        Op::LessOrEqual => order.is_le(),
        Op::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}

/// The pattern as the kernel reads it: there a backslash takes the meaning off the next character, always.
fn kernel_pattern(pattern: &str, escape: Option<char>) -> String {
    let mut written = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            let plain = characters.next().unwrap_or(character);
            if matches!(plain, '%' | '_' | '\\') {
                written.push('\\');
            }
            written.push(plain);
        } else if character == '\\' {
            written.push_str("\\\\");
        } else {
            written.push(character);
        }
    }
    written
}

fn is_in(held: &[Held], rows: usize) -> Result<BooleanArray> {
    let mut found: Option<BooleanArray> = None;
    for item in &held[1..] {
        let equal = compare(BinaryOperator::Equal, &held[0], item, rows)?;
        found = Some(match found {
            Some(found) => or_kleene(&found, &equal)?,
            None => equal,
        });
    }
    Ok(found.unwrap_or_else(|| BooleanArray::from(vec![false; rows])))
}

fn make_map(row: &[Value]) -> std::result::Result<Value, RowCause> {
    let entries = row.chunks_exact(2).map(|entry| (entry[0].clone(), entry[1].clone()));
    let entries = entries.filter(|(key, _)| !key.is_null());
    Ok(crate::functions::map_of(entries))
}

/// A field of a struct: null where the struct is.
fn field(array: &ArrayRef, index: usize) -> Result<ArrayRef> {
    let fields = array.as_struct();
    let column = fields.column(index);
    if fields.null_count() == 0 {
        return Ok(Arc::clone(column));
    }
    Ok(nullif(column, &is_null(array)?)?)
}

fn index(array: &ArrayRef, at: &Held, rows: usize) -> Result<ArrayRef> {
    // Positions in the column of all items; null where there is no such item.
    if let Some(list) = array.as_list_opt::<i32>() {
        let place = |row: usize| {
            let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
            let length = i64::from(end - start);
            let position = match at.value(row) {
                _ if list.is_null(row) => return None,
                Value::Int(position) => i64::from(position),
                Value::Bigint(position) => position,
                _ => return None,
            };
            let from_start = if position < 0 { length + position } else { position - 1 };
            (0..length).contains(&from_start).then(|| start as u32 + from_start as u32)
        };
        let positions: UInt32Array = (0..rows).map(place).collect();
        return Ok(take(list.values(), &positions, None)?);
    }
    let map = array.as_map();
    let place = |row: usize| {
        let (start, end) =
            (map.value_offsets()[row] as usize, map.value_offsets()[row + 1] as usize);
        let key = at.value(row);
        if map.is_null(row) {
            return None;
        }
        (start..end).find(|at| Value::read(map.keys(), *at) == key).map(|at| at as u32)
    };
    let positions: UInt32Array = (0..rows).map(place).collect();
    Ok(take(map.values(), &positions, None)?)
}
