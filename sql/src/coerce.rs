//! Which types go together: widening, the type two others have in common, the types of arithmetic.

use crate::ast::BinaryOperator;
use crate::value::{DECIMAL_PRECISION_MAX, SqlType, StructField};

/// Digits of the largest INT and BIGINT.
const INT_DIGITS: u8 = 10;
const BIGINT_DIGITS: u8 = 19;

/// Whether every value of one type is written as another without being asked for:
/// INT -> BIGINT -> DECIMAL -> DOUBLE.
pub(crate) fn widens(from: &SqlType, to: &SqlType) -> bool {
    match (from, to) {
        (SqlType::Array(from), SqlType::Array(to)) => from == to || widens(from, to),
        (_, SqlType::Decimal { precision, scale }) => decimal_digits(from)
            .is_some_and(|(p, s)| from != to && s <= *scale && p - s <= precision - scale),
        (SqlType::Int, SqlType::Bigint) => true,
        (_, SqlType::Double) => decimal_digits(from).is_some(),
        _ => false,
    }
}

/// The type that values of both types can be.
pub(crate) fn common(left: &SqlType, right: &SqlType) -> Option<SqlType> {
    if left == right || widens(right, left) {
        return Some(left.clone());
    }
    if widens(left, right) {
        return Some(right.clone());
    }
    match (left, right) {
        (SqlType::Array(left), SqlType::Array(right)) => {
            Some(SqlType::Array(Box::new(common(left, right)?)))
        }
        (SqlType::Map(lk, lv), SqlType::Map(rk, rv)) => {
            Some(SqlType::Map(Box::new(common(lk, rk)?), Box::new(common(lv, rv)?)))
        }
        (SqlType::Struct(left), SqlType::Struct(right)) => common_struct(left, right),
        _ => {
            let ((lp, ls), (rp, rs)) = (decimal_digits(left)?, decimal_digits(right)?);
            let scale = ls.max(rs);
            let precision = (lp - ls).max(rp - rs) + scale;
            let fits = precision <= DECIMAL_PRECISION_MAX;
            fits.then_some(SqlType::Decimal { precision, scale }).or(Some(SqlType::Double))
        }
    }
}

fn common_struct(left: &[StructField], right: &[StructField]) -> Option<SqlType> {
    let same = left.len() == right.len() && left.iter().zip(right).all(|(l, r)| l.name == r.name);
    let field = |(left, right): (&StructField, &StructField)| {
        Some(StructField {
            name: left.name.clone(),
            sql_type: common(&left.sql_type, &right.sql_type)?,
        })
    };
    let fields = same.then(|| left.iter().zip(right).map(field).collect::<Option<Vec<_>>>())?;
    fields.map(SqlType::Struct)
}

/// The precision and scale of an exact number.
fn decimal_digits(of: &SqlType) -> Option<(u8, u8)> {
    match of {
        SqlType::Int => Some((INT_DIGITS, 0)),
        SqlType::Bigint => Some((BIGINT_DIGITS, 0)),
        SqlType::Decimal { precision, scale } => Some((*precision, *scale)),
        _ => None,
    }
}

/// An exact number as a DECIMAL.
pub(crate) fn as_decimal(of: &SqlType) -> Option<SqlType> {
    decimal_digits(of).map(|(precision, scale)| SqlType::Decimal { precision, scale })
}

/// The type of an arithmetic operation on two numbers. DECIMAL follows SQL Server: the digits a result can need,
/// and where those are more than 38, fewer after the point, but 6 of them at least.
pub(crate) fn arithmetic(
    operator: BinaryOperator,
    left: &SqlType,
    right: &SqlType,
) -> Option<SqlType> {
    if !left.is_number() || !right.is_number() {
        return None;
    }
    let is_decimal = |of: &SqlType| matches!(of, SqlType::Decimal { .. });
    if *left == SqlType::Double || *right == SqlType::Double {
        return Some(SqlType::Double);
    }
    if !is_decimal(left) && !is_decimal(right) {
        return common(left, right);
    }
    let ((lp, ls), (rp, rs)) = (decimal_digits(left)?, decimal_digits(right)?);
    let [lp, ls, rp, rs] = [lp, ls, rp, rs].map(u32::from);
    let (whole, scale) = match operator {
        BinaryOperator::Add | BinaryOperator::Subtract => ((lp - ls).max(rp - rs) + 1, ls.max(rs)),
        BinaryOperator::Multiply => (lp + rp + 1 - ls - rs, ls + rs),
        BinaryOperator::Divide => (lp - ls + rs, (ls + rp + 1).max(6)),
        _ => ((lp - ls).min(rp - rs), ls.max(rs)),
    };
    let max = u32::from(DECIMAL_PRECISION_MAX);
    let (precision, scale) = match whole + scale {
        precision if precision <= max => (precision.max(1), scale),
        _ => (max, max.saturating_sub(whole).max(scale.min(6))),
    };
    Some(SqlType::Decimal { precision: precision as u8, scale: scale as u8 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_number() -> impl Strategy<Value = SqlType> {
        let decimal = (1_u8..=38).prop_flat_map(|precision| {
            (0..=precision).prop_map(move |scale| SqlType::Decimal { precision, scale })
        });
        prop_oneof![Just(SqlType::Int), Just(SqlType::Bigint), Just(SqlType::Double), decimal]
    }

    #[test]
    fn decimals_follow_the_table() {
        let decimal = |precision, scale| SqlType::Decimal { precision, scale };
        let of = |operator, l, r| arithmetic(operator, &l, &r).unwrap();
        assert_eq!(of(BinaryOperator::Add, decimal(5, 2), decimal(4, 3)), decimal(7, 3));
        assert_eq!(of(BinaryOperator::Multiply, decimal(5, 2), decimal(4, 3)), decimal(10, 5));
        assert_eq!(of(BinaryOperator::Divide, decimal(5, 2), decimal(4, 3)), decimal(13, 7));
        assert_eq!(of(BinaryOperator::Modulo, decimal(5, 2), decimal(4, 3)), decimal(4, 3));
        assert_eq!(of(BinaryOperator::Multiply, decimal(38, 10), decimal(38, 10)), decimal(38, 6));
        assert_eq!(of(BinaryOperator::Add, decimal(5, 2), SqlType::Double), SqlType::Double);
    }

    proptest! {
        #[test]
        fn two_numbers_have_one_type_in_common(left in any_number(), right in any_number()) {
            let both = common(&left, &right).unwrap();
            prop_assert_eq!(Some(both.clone()), common(&right, &left));
            prop_assert!(left == both || widens(&left, &both));
        }

        #[test]
        fn results_of_arithmetic_are_types(left in any_number(), right in any_number()) {
            use BinaryOperator::{Add, Divide, Modulo, Multiply, Subtract};
            for operator in [Add, Subtract, Multiply, Divide, Modulo] {
                let of = arithmetic(operator, &left, &right).unwrap();
                if let SqlType::Decimal { precision, scale } = of {
                    prop_assert!((1..=38).contains(&precision) && scale <= precision);
                }
            }
        }
    }
}
