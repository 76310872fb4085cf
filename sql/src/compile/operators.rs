//! Operators on checked operands: which types go together, and as what they are computed or compared.

use super::typed::{Typed, convert, literal_error, operands_error, time_from_text};
use crate::ast::{BinaryOperator, Expr, ExprKind};
use crate::coerce::{arithmetic, as_decimal, common};
use crate::error::{Place, Result};
use crate::evaluate::{LIKE_BYTES_MAX, Operation};
use crate::functions::java_time;
use crate::value::{SqlType, Value};

/// Columns that hold moments as BIGINT, and may be compared with texts.
const MOMENTS: [&str; 3] = ["ROWTIME", "WINDOWSTART", "WINDOWEND"];

/// A number with the other sign.
pub(super) fn negated(inner: Typed, place: Place) -> Result<Typed> {
    let sql_type = inner.found().filter(SqlType::is_number);
    let sql_type = sql_type.ok_or_else(|| operands_error(place, "-", &[&inner]))?;
    Ok(Typed::new(place, Operation::Negate, vec![inner], sql_type))
}

/// Arithmetic, and texts end to end.
pub(super) fn calculation(
    operator: BinaryOperator,
    left: Typed,
    right: Typed,
    place: Place,
) -> Result<Typed> {
    let refused =
        |left: &Typed, right: &Typed| operands_error(place, operator.sign(), &[left, right]);
    // NULL is of the other side's type.
    let (left, right) = match (left.found(), right.found()) {
        (None, Some(other)) => (convert(left, &other), right),
        (Some(other), None) => (left, convert(right, &other)),
        _ => (left, right),
    };
    let (Some(left_type), Some(right_type)) = (left.found(), right.found()) else {
        return Err(refused(&left, &right));
    };
    let joins = matches!(operator, BinaryOperator::Add | BinaryOperator::Concatenate);
    if joins && left_type == SqlType::String && right_type == left_type {
        return Ok(Typed::new(place, Operation::Concatenate, vec![left, right], SqlType::String));
    }
    let calculated = match operator {
        BinaryOperator::Concatenate => None,
        _ => arithmetic(operator, &left_type, &right_type),
    };
    let Some(sql_type) = calculated else {
        return Err(refused(&left, &right));
    };
    // Exact operands keep their own digits; the result's type says how many come out.
    let operand = |typed: Typed, of: &SqlType| match (&sql_type, as_decimal(of)) {
        (SqlType::Decimal { .. }, Some(exact)) => convert(typed, &exact),
        _ => convert(typed, &sql_type),
    };
    let operands = vec![operand(left, &left_type), operand(right, &right_type)];
    Ok(Typed::new(place, Operation::Arithmetic(operator), operands, sql_type))
}

/// Two sides brought to the type in which they are compared.
pub(super) fn comparable(
    operator: &str,
    left: Typed,
    right: Typed,
    place: Place,
) -> Result<[Typed; 2]> {
    let (left_type, right_type) = match (left.found(), right.found()) {
        (Some(left_type), Some(right_type)) => (left_type, right_type),
        (None, Some(other)) => return Ok([convert(left, &other), right]),
        (Some(other), None) => return Ok([left, convert(right, &other)]),
        (None, None) => {
            return Ok([convert(left, &SqlType::String), convert(right, &SqlType::String)]);
        }
    };
    let is_whole = |of: &SqlType| matches!(of, SqlType::Int | SqlType::Bigint);
    let one = match (&left_type, &right_type) {
        (SqlType::String, time) | (time, SqlType::String) if time.is_time() => Some(time.clone()),
        (SqlType::Timestamp, other) | (other, SqlType::Timestamp)
            if is_whole(other) || *other == SqlType::Date =>
        {
            Some(SqlType::Timestamp)
        }
        _ => common(&left_type, &right_type),
    };
    let Some(one) = one else { return Err(operands_error(place, operator, &[&left, &right])) };
    let bring = |typed: Typed| match typed.node.sql_type {
        SqlType::String if one.is_time() => time_from_text(typed, &one),
        _ => Ok(convert(typed, &one)),
    };
    Ok([bring(left)?, bring(right)?])
}

/// A text that is compared with ROWTIME, WINDOWSTART or WINDOWEND: the milliseconds of that moment.
pub(super) fn moment_from_text(typed: Typed, other: &Expr) -> Result<Typed> {
    let is_moment = matches!(
        &other.kind,
        ExprKind::Column { name, .. } if MOMENTS.contains(&name.as_str())
    );
    let Some(text) = typed.text().filter(|_| is_moment) else { return Ok(typed) };
    let ms = java_time::read_moment(text).map(Value::Bigint);
    let expected = "a moment such as 2024-02-29T23:59:59";
    let ms = ms.ok_or_else(|| literal_error(typed.place, text, expected))?;
    Ok(Typed::of(ms, SqlType::Bigint, typed.place))
}

/// Values brought to the one type that they have in common: STRING where none has a type.
pub(super) fn of_one_type(typed: Vec<Typed>, place: Place, operator: &str) -> Result<Vec<Typed>> {
    let mut one: Option<SqlType> = None;
    for found in typed.iter().filter_map(Typed::found) {
        one = Some(match one {
            None => found,
            Some(one) => common(&one, &found).ok_or_else(|| {
                operands_error(place, operator, &typed.iter().collect::<Vec<_>>())
            })?,
        });
    }
    let one = one.unwrap_or(SqlType::String);
    Ok(typed.into_iter().map(|typed| convert(typed, &one)).collect())
}

/// LIKE: the text, then the pattern.
pub(super) fn like(sides: [Typed; 2], escape: Option<char>, place: Place) -> Result<Typed> {
    if sides.iter().any(|side| side.found().is_some_and(|of| of != SqlType::String)) {
        return Err(operands_error(place, "LIKE", &sides.each_ref()));
    }
    if let Some(pattern) = sides[1].text().filter(|pattern| pattern.len() > LIKE_BYTES_MAX) {
        let expected = format!("a pattern of at most {LIKE_BYTES_MAX} bytes");
        return Err(literal_error(sides[1].place, pattern, expected));
    }
    Ok(Typed::new(place, Operation::Like { escape }, sides.into(), SqlType::Boolean))
}

/// The other answer, if NOT stands before the operator.
pub(super) fn negate_if(negated: bool, typed: Typed) -> Typed {
    match negated {
        true => Typed::new(typed.place, Operation::Not, vec![typed], SqlType::Boolean),
        false => typed,
    }
}
