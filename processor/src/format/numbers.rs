//! Numbers, as formats made of text have them, to values of a declared type: exactly, or not at all.

use sql::value::{Decimal, SqlType, Value};

/// A float without a fraction, where the integers are exact.
pub(super) fn whole(value: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "no fraction, and inside the bound")]
    (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i64)
}

/// A whole number as the type has it; `None` where it does not fit exactly.
pub(super) fn from_integer(sql_type: &SqlType, value: i64) -> Option<Value> {
    Some(match sql_type {
        SqlType::Int => Value::Int(value.try_into().ok()?),
        SqlType::Bigint => Value::Bigint(value),
        #[expect(clippy::cast_precision_loss, reason = "a DOUBLE is the nearest float")]
        SqlType::Double => Value::Double(value as f64),
        SqlType::Decimal { precision, scale } => {
            let exact = Decimal { unscaled: value.into(), scale: 0 };
            Value::Decimal(exact.rescale(*precision, *scale)?)
        }
        SqlType::String => Value::String(value.to_string()),
        SqlType::Date => Value::Date(value.try_into().ok()?),
        SqlType::Time => {
            const DAY_MS: i64 = 86_400_000;
            Value::Time((0..DAY_MS).contains(&value).then_some(value)?.try_into().ok()?)
        }
        SqlType::Timestamp => Value::Timestamp(value),
        _ => return None,
    })
}

/// A number that stands in text; a STRING is the text.
pub(super) fn from_number_text(sql_type: &SqlType, text: &str) -> Option<Value> {
    match sql_type {
        SqlType::Double => text.parse().ok().map(Value::Double),
        SqlType::Decimal { precision, scale } => {
            Decimal::parse(text)?.rescale(*precision, *scale).map(Value::Decimal)
        }
        SqlType::String => Some(Value::String(text.to_owned())),
        _ => from_integer(sql_type, text.parse().ok()?),
    }
}
