//! A checked expression: its type known, computed ahead where it is constant, and made another type.

use crate::ast::Literal;
use crate::cast::castable;
use crate::coerce::widens;
use crate::error::{Cause, Place, Result, SqlError};
use crate::evaluate::{Node, Operation, constant_value};
use crate::functions::java_time;
use crate::value::{SqlType, Value};

/// The largest constant that is computed ahead and kept, in bytes.
const FOLDED_BYTES_MAX: usize = 4 * 1024;

/// A checked expression.
pub(super) struct Typed {
    pub(super) node: Node,
    pub(super) place: Place,
    /// NULL by itself, which is of any type.
    untyped: bool,
}

impl Typed {
    /// A literal as written.
    pub(super) fn literal(literal: &Literal, place: Place) -> Self {
        let (value, sql_type) = match literal {
            Literal::Null => (Value::Null, SqlType::String),
            Literal::Boolean(value) => (Value::Boolean(*value), SqlType::Boolean),
            Literal::Integer(value) => match i32::try_from(*value) {
                Ok(value) => (Value::Int(value), SqlType::Int),
                Err(_) => (Value::Bigint(*value), SqlType::Bigint),
            },
            Literal::Decimal(value) => {
                let (precision, scale) = (value.precision(), value.scale);
                (Value::Decimal(*value), SqlType::Decimal { precision, scale })
            }
            Literal::Double(value) => (Value::Double(*value), SqlType::Double),
            Literal::String(value) => (Value::String(value.clone()), SqlType::String),
        };
        let untyped = *literal == Literal::Null;
        Self { untyped, ..Self::of(value, sql_type, place) }
    }

    /// A value that is known.
    pub(super) fn of(value: Value, sql_type: SqlType, place: Place) -> Self {
        Self::for_rows(place, Operation::Constant(value), Vec::new(), sql_type)
    }

    /// An operation on checked operands: computed at once when all of them are constants.
    pub(super) fn new(
        place: Place,
        operation: Operation,
        operands: Vec<Typed>,
        sql_type: SqlType,
    ) -> Self {
        let foldable =
            !operands.is_empty() && operands.iter().all(|operand| operand.constant().is_some());
        let typed = Self::for_rows(place, operation, operands, sql_type);
        match foldable.then(|| constant_value(&typed.node)) {
            Some(Ok(value)) if value.payload_bytes() <= FOLDED_BYTES_MAX => {
                Self::of(value, typed.node.sql_type, place)
            }
            // One that fails is left for the rows, where errors are reported; so is one that is large: a short text can
            // ask for many of them.
            Some(Ok(_) | Err(_)) | None => typed,
        }
    }

    /// An operation that is left for the rows, however constant its operands are.
    pub(super) fn for_rows(
        place: Place,
        operation: Operation,
        operands: Vec<Typed>,
        sql_type: SqlType,
    ) -> Self {
        let operands = operands.into_iter().map(|operand| operand.node).collect();
        Self { node: Node { operation, operands, sql_type }, place, untyped: false }
    }

    /// Its type; `None` for NULL by itself.
    pub(super) fn found(&self) -> Option<SqlType> {
        (!self.untyped).then(|| self.node.sql_type.clone())
    }

    /// Its type as errors name it.
    pub(super) fn name(&self) -> String {
        self.found().map_or("NULL".into(), |found| found.to_string())
    }

    /// Its value, if that is known by now.
    pub(super) fn constant(&self) -> Option<&Value> {
        match &self.node.operation {
            Operation::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// The text that it is, if that is known by now.
    pub(super) fn text(&self) -> Option<&str> {
        match self.constant() {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}

/// The same value as another type; the caller knows that it can be.
pub(super) fn convert(typed: Typed, to: &SqlType) -> Typed {
    if typed.untyped {
        return Typed::of(Value::Null, to.clone(), typed.place);
    }
    if typed.node.sql_type == *to {
        return typed;
    }
    Typed::new(typed.place, Operation::Cast, vec![typed], to.clone())
}

/// The value as a column of the type takes it; `None` when it can't.
pub(super) fn assign(typed: Typed, target: &SqlType) -> Result<Option<Typed>> {
    let Some(found) = typed.found() else { return Ok(Some(convert(typed, target))) };
    if found == SqlType::String && target.is_time() {
        return time_from_text(typed, target).map(Some);
    }
    let numbers = matches!(target, SqlType::Decimal { .. }) && found.is_number();
    // A whole constant that fits INT may be given where INT is asked for, whatever type it was computed in.
    let narrows = *target == SqlType::Int && found == SqlType::Bigint && typed.constant().is_some();
    let nested = found.is_nested() && target.is_nested() && castable(&found, target);
    let fits = found == *target || widens(&found, target) || numbers || narrows || nested;
    Ok(fits.then(|| convert(typed, target)))
}

/// A text as a date, a time or a moment: at once when it is a constant.
pub(super) fn time_from_text(typed: Typed, to: &SqlType) -> Result<Typed> {
    let Some(text) = typed.text() else { return Ok(convert(typed, to)) };
    let (value, expected) = match to {
        SqlType::Date => (java_time::read_date(text).map(Value::Date), "a date such as 2024-02-29"),
        SqlType::Time => (java_time::read_time(text).map(Value::Time), "a time such as 23:59:59"),
        _ => (
            java_time::read_moment(text).map(Value::Timestamp),
            "a moment such as 2024-02-29T23:59:59",
        ),
    };
    let value = value.ok_or_else(|| literal_error(typed.place, text, expected))?;
    Ok(Typed::of(value, to.clone(), typed.place))
}

/// Something of another type than it must have.
pub(super) fn type_error(
    place: Place,
    what: &str,
    expected: impl ToString,
    found: SqlType,
) -> SqlError {
    let (what, expected) = (what.to_owned(), expected.to_string());
    SqlError::new(place, Cause::WrongType { what, expected, found })
}

/// An operator whose operands are not of its types.
pub(super) fn operands_error(place: Place, operator: &str, operands: &[&Typed]) -> SqlError {
    let mut names: Vec<String> = operands.iter().map(|operand| operand.name()).collect();
    names.dedup();
    let (operator, found) = (operator.to_owned(), names.join(" and "));
    SqlError::new(place, Cause::Operands { operator, found })
}

/// A text that cannot be read as what it stands for.
pub(super) fn literal_error(place: Place, text: &str, expected: impl Into<String>) -> SqlError {
    let text = text.chars().take(60).collect();
    SqlError::new(place, Cause::Literal { text, expected: expected.into() })
}
