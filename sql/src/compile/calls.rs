//! Calls of functions: found by name, chosen by the types of the arguments, prepared where those are constant.

use std::sync::Arc;

use super::typed::{Typed, convert, literal_error};
use crate::ast::{Expr, ExprKind, SpanUnit};
use crate::error::{Cause, Place, Result, RowCause, SqlError};
use crate::evaluate::{Node, Operation, constant_value};
use crate::functions::function::{Body, Function, Type};
use crate::functions::table;
use crate::schema::nearest;
use crate::value::{SqlType, Value};

/// Functions that make a large value of small arguments. Their calls are not computed ahead, however constant: a short
/// text can hold thousands of them.
const GROWING: [&str; 3] = ["LPAD", "RPAD", "GENERATE_SERIES"];

/// The function of that name.
pub(super) fn function(name: &str, place: Place) -> Result<&'static Function> {
    table::find(name).ok_or_else(|| {
        let near = nearest(name, table::all().map(|f| f.name)).map(str::to_owned);
        SqlError::new(place, Cause::UnknownFunction { name: name.into(), near })
    })
}

/// What no function of one row is: an aggregate, or called like one.
pub(super) fn refuse_aggregate(name: &str, distinct: bool, star: bool, place: Place) -> Result<()> {
    if table::is_aggregate(name) {
        return Err(SqlError::new(place, Cause::Aggregate { name: name.to_owned() }));
    }
    let what = match (distinct, star) {
        (false, false) => return Ok(()),
        (true, _) => "DISTINCT in a call",
        (_, true) => "* as an argument",
    };
    Err(SqlError::new(place, Cause::Unsupported { what }))
}

/// The unit in `DATEADD(DAYS, ...)`, which is written like a column.
pub(super) fn unit(function: &Function, index: usize, argument: &Expr) -> Option<Typed> {
    let takes_unit = function.signatures.iter().any(|s| s.takes.get(index) == Some(&Type::Unit));
    match &argument.kind {
        ExprKind::Column { source: None, name } if takes_unit => {
            let unit = Value::String(SpanUnit::of_name(name.as_str())?.to_string());
            Some(Typed::of(unit, SqlType::String, argument.place()))
        }
        _ => None,
    }
}

/// A call with these arguments.
pub(super) fn call(
    function: &'static Function,
    arguments: Vec<Typed>,
    place: Place,
) -> Result<Typed> {
    let found: Vec<Option<SqlType>> = arguments.iter().map(Typed::found).collect();
    let Some((signature, takes, gives)) = function.choose(&found) else {
        let found = arguments.iter().map(Typed::name).collect::<Vec<_>>().join(", ");
        let expected = function.calls().join(" or ");
        let cause = Cause::Arguments { name: function.name.into(), found, expected };
        return Err(SqlError::new(place, cause));
    };
    let operands: Vec<Typed> =
        arguments.into_iter().zip(&takes).map(|(typed, take)| convert(typed, take)).collect();
    let operation = operation(function, &signature.body, &operands, place)?;
    if operands.is_empty() {
        // Without arguments a function is a constant.
        let node = Node { operation, operands: Vec::new(), sql_type: gives.clone() };
        let value = constant_value(&node).unwrap_or(Value::Null);
        return Ok(Typed::of(value, gives, place));
    }
    if GROWING.contains(&function.name) {
        return Ok(Typed::for_rows(place, operation, operands, gives));
    }
    Ok(Typed::new(place, operation, operands, gives))
}

/// What computes a call; what is constant in it is prepared.
fn operation(
    function: &Function,
    body: &Body,
    operands: &[Typed],
    place: Place,
) -> Result<Operation> {
    Ok(match body {
        Body::Text(compute) => Operation::TextFunction(*compute),
        Body::Row(compute) if function.sees_nulls => Operation::Function(Arc::new(*compute)),
        Body::Row(compute) => Operation::StrictFunction(Arc::new(*compute)),
        Body::Prepared(prepare) => {
            let constants: Vec<Option<Value>> =
                operands.iter().map(|operand| operand.constant().cloned()).collect();
            let prepared = prepare(&constants).map_err(|cause| match cause {
                RowCause::Argument { value, expected } => literal_error(place, &value, expected),
                other => literal_error(place, function.name, other.to_string()),
            })?;
            Operation::StrictFunction(prepared)
        }
    })
}
