//! Functions on numbers, and those that choose among values of any type.

use super::function::{
    Body, Function, Group, RowResult, Signature, Type, call, float, text, whole,
};
use crate::error::RowCause;
use crate::value::{Decimal, SqlType, Value};

const I: Type = Type::Int;
const B: Type = Type::Bigint;
const D: Type = Type::Double;
const E: Type = Type::Decimal;
const T: Type = Type::Any('T');

/// A function from one float to another.
macro_rules! float_function {
    ($name:literal, $doc:literal, $body:expr, $example:literal, $result:literal) => {
        Group::Number.row(
            $name,
            $doc,
            &[call(&[D], D, Body::Row(|row| Ok(Value::Double($body(float(row, 0))))))],
            &[($example, $result)],
        )
    };
}

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
    Group::Number.row(
        "ABS",
        "The number without its sign.",
        &[
            call(&[I], I, Body::Row(abs)),
            call(&[B], B, Body::Row(abs)),
            call(&[E], E, Body::Row(abs)),
            call(&[D], D, Body::Row(abs)),
        ],
        &[("ABS(-5)", "5"), ("ABS(-1.50)", "1.50")],
    ),
    Group::Number.row(
        "CEIL",
        "The least whole number that is not below.",
        &[
            call(&[I], I, Body::Row(same)),
            call(&[B], B, Body::Row(same)),
            call(&[E], E, Body::Row(|row| stepped(row, Rounding::Up))),
            call(&[D], D, Body::Row(|row| Ok(Value::Double(float(row, 0).ceil())))),
        ],
        &[("CEIL(1.2E0)", "2.0"), ("CEIL(-1.20)", "-1.00")],
    ),
    Group::Number.row(
        "FLOOR",
        "The greatest whole number that is not above.",
        &[
            call(&[I], I, Body::Row(same)),
            call(&[B], B, Body::Row(same)),
            call(&[E], E, Body::Row(|row| stepped(row, Rounding::Down))),
            call(&[D], D, Body::Row(|row| Ok(Value::Double(float(row, 0).floor())))),
        ],
        &[("FLOOR(1.8E0)", "1.0"), ("FLOOR(-1.20)", "-2.00")],
    ),
    Group::Number.row(
        "ROUND",
        "The nearest whole number, or number with so many digits after the point; halves go up.",
        &[
            call(&[I], I, Body::Row(same)),
            call(&[B], B, Body::Row(same)),
            call(&[E], E, Body::Row(|row| stepped(row, Rounding::Nearest))),
            call(&[E, I], E, Body::Row(|row| stepped(row, Rounding::Nearest))),
            call(&[D], B, Body::Row(round)),
            call(&[D, I], D, Body::Row(round_to)),
        ],
        &[
            ("ROUND(2.5E0)", "3"),
            ("ROUND(-2.5E0)", "-2"),
            ("ROUND(3.14159E0, 2)", "3.14"),
            ("ROUND(12.345, 2)", "12.350"),
        ],
    ),
    Group::Number.row(
        "TRUNC",
        "The number without its digits after the point.",
        &[
            call(&[D], B, Body::Row(trunc)),
            call(&[E], E, Body::Row(|row| stepped(row, Rounding::TowardZero))),
        ],
        &[("TRUNC(-1.8E0)", "-1"), ("TRUNC(1.85)", "1.00")],
    ),
    Group::Number.row(
        "SIGN",
        "-1, 0 or 1.",
        &[call(&[D], I, Body::Row(sign))],
        &[("SIGN(-7)", "-1"), ("SIGN(0)", "0")],
    ),
    float_function!("SQRT", "The square root.", f64::sqrt, "SQRT(2.25)", "1.5"),
    float_function!("CBRT", "The cube root.", f64::cbrt, "CBRT(27)", "3.0"),
    float_function!("EXP", "e to the power of the number.", f64::exp, "EXP(0)", "1.0"),
    float_function!("LN", "The natural logarithm.", f64::ln, "LN(1)", "0.0"),
    float_function!("SIN", "The sine of an angle in radians.", f64::sin, "SIN(0)", "0.0"),
    float_function!("COS", "The cosine of an angle in radians.", f64::cos, "COS(0)", "1.0"),
    float_function!("TAN", "The tangent of an angle in radians.", f64::tan, "TAN(0)", "0.0"),
    float_function!("ASIN", "The angle of a sine.", f64::asin, "ASIN(0)", "0.0"),
    float_function!("ACOS", "The angle of a cosine.", f64::acos, "ACOS(1)", "0.0"),
    float_function!("ATAN", "The angle of a tangent.", f64::atan, "ATAN(0)", "0.0"),
    float_function!("SINH", "The hyperbolic sine.", f64::sinh, "SINH(0)", "0.0"),
    float_function!("COSH", "The hyperbolic cosine.", f64::cosh, "COSH(0)", "1.0"),
    float_function!("TANH", "The hyperbolic tangent.", f64::tanh, "TANH(0)", "0.0"),
    float_function!("DEGREES", "Radians as degrees.", f64::to_degrees, "DEGREES(0)", "0.0"),
    float_function!("RADIANS", "Degrees as radians.", f64::to_radians, "RADIANS(0)", "0.0"),
    Group::Number.row(
        "ATAN2",
        "The angle of a point, y first.",
        &[call(&[D, D], D, Body::Row(|row| Ok(Value::Double(float(row, 0).atan2(float(row, 1))))))],
        &[("ATAN2(0, 1)", "0.0")],
    ),
    Group::Number.row(
        "PI",
        "The circle's number.",
        &[call(&[], D, Body::Row(|_| Ok(Value::Double(std::f64::consts::PI))))],
        &[("PI()", "3.141592653589793")],
    ),
    Group::Number.row(
        "LOG",
        "The natural logarithm, or that to the base given first.",
        &[
            call(&[D], D, Body::Row(|row| Ok(Value::Double(float(row, 0).ln())))),
            call(
                &[D, D],
                D,
                Body::Row(|row| Ok(Value::Double(float(row, 1).ln() / float(row, 0).ln()))),
            ),
        ],
        &[("LOG(1)", "0.0"), ("ROUND(LOG(2, 8), 3)", "3.0")],
    ),
    Group::Number.row(
        "POWER",
        "The first number to the power of the second.",
        &[call(&[D, D], D, Body::Row(|row| Ok(Value::Double(float(row, 0).powf(float(row, 1))))))],
        &[("POWER(2, 10)", "1024.0")],
    ),
    Function {
        sees_nulls: true,
        ..Group::Number.row(
            "GREATEST",
            "The greatest of the values that are not null.",
            &[Signature {
                takes: &[T],
                variadic: true,
                gives: T,
                body: Body::Row(|row| Ok(row.iter().max().cloned().unwrap_or(Value::Null))),
            }],
            &[("GREATEST(3, NULL, 7)", "7"), ("GREATEST('a', 'b')", "b")],
        )
    },
    Function {
        sees_nulls: true,
        ..Group::Number.row(
            "LEAST",
            "The least of the values that are not null.",
            &[Signature {
                takes: &[T],
                variadic: true,
                gives: T,
                body: Body::Row(|row| {
                    Ok(row
                        .iter()
                        .filter(|value| !value.is_null())
                        .min()
                        .cloned()
                        .unwrap_or(Value::Null))
                }),
            }],
            &[("LEAST(3, NULL, 7)", "3")],
        )
    },
    Group::Number.row(
        "GEO_DISTANCE",
        "Kilometres (or MILES) between two points given as latitude and longitude in degrees.",
        &[
            call(&[D, D, D, D], D, Body::Row(geo_distance)),
            call(&[D, D, D, D, Type::String], D, Body::Row(geo_distance)),
        ],
        &[
            ("ROUND(GEO_DISTANCE(37.4133, -122.1162, 53.8008, -1.5491), 0)", "8386.0"),
            ("ROUND(GEO_DISTANCE(37.4133, -122.1162, 53.8008, -1.5491, 'MILES'), 0)", "5211.0"),
        ],
    ),
    Function {
        sees_nulls: true,
        ..Group::Number.row(
            "COALESCE",
            "The first value that is not null.",
            &[Signature { takes: &[T], variadic: true, gives: T, body: Body::Row(first) }],
            &[("COALESCE(NULL, 1, 2)", "1"), ("COALESCE(NULL, NULL)", "null")],
        )
    },
    Function {
        sees_nulls: true,
        ..Group::Number.row(
            "IFNULL",
            "The first value, or the second where that is null.",
            &[call(&[T, T], T, Body::Row(first))],
            &[("IFNULL(NULL, 'x')", "x")],
        )
    },
    Function {
        sees_nulls: true,
        ..Group::Number.row(
            "NULLIF",
            "The first value, or null where the second is the same.",
            &[call(
                &[T, T],
                T,
                Body::Row(|row| Ok(if row[0] == row[1] { Value::Null } else { row[0].clone() })),
            )],
            &[("NULLIF('', '')", "null"), ("NULLIF(1, 2)", "1")],
        )
    },
    Function {
        sees_nulls: true,
        ..Group::Number.row(
            "AS_VALUE",
            "The value as it is: puts a copy of a key column among the value columns.",
            &[call(&[T], T, Body::Row(same))],
            &[("AS_VALUE(5)", "5")],
        )
    },
];

fn same(row: &[Value]) -> RowResult {
    Ok(row[0].clone())
}

fn first(row: &[Value]) -> RowResult {
    Ok(row.iter().find(|value| !value.is_null()).cloned().unwrap_or(Value::Null))
}

fn out_of_range(operation: &str, sql_type: SqlType) -> RowCause {
    RowCause::OutOfRange { operation: operation.to_owned(), sql_type }
}

fn abs(row: &[Value]) -> RowResult {
    Ok(match &row[0] {
        Value::Int(value) => {
            Value::Int(value.checked_abs().ok_or_else(|| out_of_range("ABS", SqlType::Int))?)
        }
        Value::Bigint(value) => {
            Value::Bigint(value.checked_abs().ok_or_else(|| out_of_range("ABS", SqlType::Bigint))?)
        }
        Value::Double(value) => Value::Double(value.abs()),
        Value::Decimal(value) => {
            Value::Decimal(Decimal { unscaled: value.unscaled.abs(), ..*value })
        }
        _ => Value::Null,
    })
}

/// Which way a number goes that is not whole.
#[derive(Clone, Copy)]
enum Rounding {
    Up,
    Down,
    Nearest,
    TowardZero,
}

/// A DECIMAL with zeros behind so many digits after the point; it keeps its type.
fn stepped(row: &[Value], rounding: Rounding) -> RowResult {
    let Value::Decimal(value) = &row[0] else { return Ok(Value::Null) };
    let kept = if row.len() > 1 { whole(row, 1) } else { 0 };
    let dropped = i64::from(value.scale) - kept;
    let Some(step) = u32::try_from(dropped).ok().filter(|dropped| *dropped > 0) else {
        return Ok(row[0].clone());
    };
    let sql_type = SqlType::Decimal { precision: 38, scale: value.scale };
    let too_large = || out_of_range("rounding", sql_type.clone());
    let step = 10_i128.checked_pow(step).ok_or_else(too_large)?;
    let unscaled = value.unscaled;
    let whole = match rounding {
        Rounding::Down => unscaled.div_euclid(step),
        Rounding::Up => -(-unscaled).div_euclid(step),
        Rounding::TowardZero => unscaled / step,
        Rounding::Nearest => (unscaled + step / 2).div_euclid(step),
    };
    let unscaled = whole.checked_mul(step).ok_or_else(too_large)?;
    Ok(Value::Decimal(Decimal { unscaled, scale: value.scale }))
}

fn to_bigint(operation: &str, value: f64) -> RowResult {
    // 2^63 is the first float that is too large.
    let bound = 9_223_372_036_854_775_808.0;
    if value >= -bound && value < bound {
        Ok(Value::Bigint(value as i64))
    } else {
        Err(out_of_range(operation, SqlType::Bigint))
    }
}

fn round(row: &[Value]) -> RowResult {
    let value = float(row, 0);
    let down = value.floor();
    to_bigint("ROUND", if value - down >= 0.5 { down + 1.0 } else { down })
}

fn round_to(row: &[Value]) -> RowResult {
    let (value, digits) = (float(row, 0), whole(row, 1).clamp(-308, 308));
    let factor = 10_f64.powi(digits.abs() as i32);
    let scaled = if digits < 0 { value / factor } else { value * factor };
    if !scaled.is_finite() {
        return Ok(Value::Double(value));
    }
    // A number written as 1.005 is a little less than that; a hair is added so that halves go up as written.
    let hair = scaled.abs() * f64::EPSILON;
    let rounded = (scaled + 0.5 + hair).floor();
    Ok(Value::Double(if digits < 0 { rounded * factor } else { rounded / factor }))
}

fn trunc(row: &[Value]) -> RowResult {
    to_bigint("TRUNC", float(row, 0).trunc())
}

fn sign(row: &[Value]) -> RowResult {
    let value = float(row, 0);
    Ok(Value::Int(i32::from(value > 0.0) - i32::from(value < 0.0)))
}

fn geo_distance(row: &[Value]) -> RowResult {
    const EARTH_KM: f64 = 6371.0;
    const EARTH_MILES: f64 = 3959.0;
    let unit = if row.len() > 4 { text(row, 4).to_ascii_uppercase() } else { "KM".into() };
    let radius = match unit.as_str() {
        "KM" | "KILOMETER" | "KILOMETERS" | "KILOMETRE" | "KILOMETRES" => EARTH_KM,
        "MI" | "MILE" | "MILES" => EARTH_MILES,
        _ => return Err(RowCause::argument(text(row, 4), "KM or MILES")),
    };
    let [lat1, lon1, lat2, lon2] = [0, 1, 2, 3].map(|index| float(row, index));
    for (value, bound) in [(lat1, 90.0), (lat2, 90.0), (lon1, 180.0), (lon2, 180.0)] {
        if value.is_nan() || value.abs() > bound {
            let expected = "a latitude from -90 to 90 or a longitude from -180 to 180";
            return Err(RowCause::argument(value, expected));
        }
    }
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let cosines = lat1.to_radians().cos() * lat2.to_radians().cos();
    let haversine = half(lat1, lat2) + cosines * half(lon1, lon2);
    Ok(Value::Double(2.0 * radius * haversine.sqrt().min(1.0).asin()))
}
