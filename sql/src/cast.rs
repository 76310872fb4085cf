//! CAST of one value, and which types can be cast at all.

use crate::error::RowCause;
use crate::functions::java_time;
use crate::value::{Decimal, SqlType, StructField, Value};

const DAY_MS: i64 = 86_400_000;

/// Whether values of one type can be cast to another; single values may still refuse.
pub(crate) fn castable(from: &SqlType, to: &SqlType) -> bool {
    match (from, to) {
        _ if from == to => true,
        (SqlType::Array(from), SqlType::Array(to)) => castable(from, to),
        (SqlType::Map(fk, fv), SqlType::Map(tk, tv)) => castable(fk, tk) && castable(fv, tv),
        (SqlType::Struct(from), SqlType::Struct(to)) => castable_fields(from, to),
        (_, SqlType::String) => *from != SqlType::Bytes,
        (SqlType::String, _) => !to.is_nested() && *to != SqlType::Bytes,
        (SqlType::Int | SqlType::Bigint, SqlType::Timestamp) => true,
        (SqlType::Date, SqlType::Timestamp) => true,
        (SqlType::Timestamp, SqlType::Date | SqlType::Time | SqlType::Bigint) => true,
        _ => from.is_number() && to.is_number(),
    }
}

fn castable_fields(from: &[StructField], to: &[StructField]) -> bool {
    let fits = |(from, to): (&StructField, &StructField)| {
        from.name == to.name && castable(&from.sql_type, &to.sql_type)
    };
    from.len() == to.len() && from.iter().zip(to).all(fits)
}

/// The value as another type.
pub(crate) fn cast(value: &Value, to: &SqlType) -> Result<Value, RowCause> {
    if value.is_of(to) && !matches!((value, to), (Value::Int(_), SqlType::Bigint)) {
        return Ok(value.clone());
    }
    let cast = match to {
        SqlType::Boolean => text_of(value).and_then(to_boolean),
        SqlType::Int => to_whole(value).and_then(|whole| i32::try_from(whole).ok()).map(Value::Int),
        SqlType::Bigint => to_whole(value).map(Value::Bigint),
        SqlType::Double => to_double(value).map(Value::Double),
        SqlType::Decimal { precision, scale } => to_decimal(value)
            .and_then(|exact| exact.rescale(*precision, *scale))
            .map(Value::Decimal),
        SqlType::String => Some(Value::String(value.to_string())),
        SqlType::Bytes => None,
        SqlType::Date => match value {
            Value::Timestamp(ms) => i32::try_from(ms.div_euclid(DAY_MS)).ok().map(Value::Date),
            _ => text_of(value).and_then(java_time::read_date).map(Value::Date),
        },
        SqlType::Time => match value {
            // Fits: it is less than a day.
            Value::Timestamp(ms) => Some(Value::Time(ms.rem_euclid(DAY_MS) as i32)),
            _ => text_of(value).and_then(java_time::read_time).map(Value::Time),
        },
        SqlType::Timestamp => match value {
            Value::Date(days) => Some(Value::Timestamp(i64::from(*days) * DAY_MS)),
            Value::Int(ms) => Some(Value::Timestamp((*ms).into())),
            Value::Bigint(ms) => Some(Value::Timestamp(*ms)),
            _ => text_of(value).and_then(java_time::read_moment).map(Value::Timestamp),
        },
        SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => return cast_nested(value, to),
    };
    cast.ok_or_else(|| RowCause::Cast {
        value: value.to_string().chars().take(60).collect(),
        to: to.clone(),
    })
}

fn cast_nested(value: &Value, to: &SqlType) -> Result<Value, RowCause> {
    match (value, to) {
        (Value::Array(items), SqlType::Array(to)) => {
            let items = items.iter().map(|item| cast(item, to));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        (Value::Map(entries), SqlType::Map(keys, values)) => {
            let entries = entries.iter().map(|(k, v)| Ok((cast(k, keys)?, cast(v, values)?)));
            Ok(Value::Map(entries.collect::<Result<_, RowCause>>()?))
        }
        (Value::Struct(found), SqlType::Struct(to)) => {
            let fields = found
                .iter()
                .zip(to)
                .map(|((name, value), field)| Ok((name.clone(), cast(value, &field.sql_type)?)));
            Ok(Value::Struct(fields.collect::<Result<_, RowCause>>()?))
        }
        _ => Err(RowCause::Cast { value: value.to_string(), to: to.clone() }),
    }
}

fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text.trim()),
        _ => None,
    }
}

fn to_boolean(text: &str) -> Option<Value> {
    let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(["TRUE", "YES", "T"]) {
        Some(Value::Boolean(true))
    } else {
        is(["FALSE", "NO", "F"]).then_some(Value::Boolean(false))
    }
}

/// Digits after the point are dropped.
fn to_whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(whole) => Some((*whole).into()),
        Value::Bigint(whole) | Value::Timestamp(whole) => Some(*whole),
        Value::Double(float) => {
            // 2^63 is the first float that is too large.
            let bound = 9_223_372_036_854_775_808.0;
            (*float >= -bound && *float < bound).then_some(*float as i64)
        }
        Value::Decimal(exact) => {
            i64::try_from(exact.unscaled / 10_i128.checked_pow(exact.scale.into())?).ok()
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn to_double(value: &Value) -> Option<f64> {
    match value {
        Value::Int(whole) => Some((*whole).into()),
        Value::Bigint(whole) => Some(*whole as f64),
        Value::Decimal(exact) => Some(exact.to_f64()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn to_decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Int(whole) => Some(Decimal { unscaled: (*whole).into(), scale: 0 }),
        Value::Bigint(whole) => Some(Decimal { unscaled: (*whole).into(), scale: 0 }),
        Value::Decimal(exact) => Some(*exact),
        Value::Double(float) => {
            // The digits it is written with; those beyond 38 after the point are nothing.
            let text = format!("{float}");
            let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
            let part: String = part.chars().take(38_usize.saturating_sub(whole.len())).collect();
            Decimal::parse(&format!("{whole}.{part}"))
        }
        Value::String(text) => Decimal::parse(text.trim()),
        _ => None,
    }
}
