//! Arithmetic and comparison of single values.

use arrow_buffer::i256;

use crate::ast::BinaryOperator;
use crate::error::RowCause;
use crate::value::{Decimal, SqlType, Value};

pub(super) fn out_of_range(operation: &str, sql_type: &SqlType) -> RowCause {
    RowCause::OutOfRange { operation: operation.to_owned(), sql_type: sql_type.clone() }
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
