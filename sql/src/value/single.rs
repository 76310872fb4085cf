//! A single value of any type: read from a column, compared, written as text.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, TimeUnit};

use super::decimal::Decimal;
use super::sql_type::{SqlType, StructField};

/// One SQL value.
///
/// Values are ordered and hashed by kind and content, so they can be keys of a map: floats by IEEE total order (as
/// the columnar kernels do), null below everything. SQL comparison, where null is unknown, is
/// [`crate::evaluate`]'s.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value.
    Null,
    /// BOOLEAN.
    Boolean(bool),
    /// INT.
    Int(i32),
    /// BIGINT.
    Bigint(i64),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL.
    Decimal(Decimal),
    /// STRING.
    String(String),
    /// BYTES.
    Bytes(Vec<u8>),
    /// DATE: days since 1970-01-01.
    Date(i32),
    /// TIME: milliseconds since midnight.
    Time(i32),
    /// TIMESTAMP: milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// ARRAY.
    Array(Vec<Value>),
    /// MAP: entries in their order; keys are never null.
    Map(Vec<(Value, Value)>),
    /// STRUCT: field names and values in declared order.
    Struct(Vec<(String, Value)>),
}

impl Value {
    /// A MAP in which each key stands once, where it first stood, with its last value.
    pub(crate) fn map(entries: impl Iterator<Item = (Value, Value)>) -> Self {
        let mut places = HashMap::new();
        let mut map: Vec<(Value, Value)> = Vec::new();
        for (key, value) in entries {
            match places.get(&key) {
                Some(&place) => map[place] = (key, value),
                None => {
                    places.insert(key.clone(), map.len());
                    map.push((key, value));
                }
            }
        }
        Self::Map(map)
    }

    /// Whether there is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// About what its texts and items take in memory, for limits; a plain number counts nothing.
    pub fn payload_bytes(&self) -> usize {
        const ITEM: usize = size_of::<Value>();
        match self {
            Self::String(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Array(items) => items.iter().map(|item| ITEM + item.payload_bytes()).sum(),
            Self::Map(entries) => {
                let bytes =
                    |(key, value): &(Value, Value)| key.payload_bytes() + value.payload_bytes();
                entries.iter().map(|entry| 2 * ITEM + bytes(entry)).sum()
            }
            Self::Struct(fields) => {
                fields.iter().map(|(_, value)| ITEM + value.payload_bytes()).sum()
            }
            _ => 0,
        }
    }

    /// Whether a column of the type takes this value: null always, an INT also as a BIGINT, a DECIMAL of the same
    /// scale.
    pub fn is_of(&self, sql_type: &SqlType) -> bool {
        match (self, sql_type) {
            (Self::Null, _)
            | (Self::Boolean(_), SqlType::Boolean)
            | (Self::Int(_), SqlType::Int | SqlType::Bigint)
            | (Self::Bigint(_), SqlType::Bigint)
            | (Self::Double(_), SqlType::Double)
            | (Self::String(_), SqlType::String)
            | (Self::Bytes(_), SqlType::Bytes)
            | (Self::Date(_), SqlType::Date)
            | (Self::Time(_), SqlType::Time)
            | (Self::Timestamp(_), SqlType::Timestamp) => true,
            (Self::Decimal(decimal), SqlType::Decimal { precision, scale }) => {
                decimal.scale == *scale && decimal.precision() <= *precision
            }
            (Self::Array(items), SqlType::Array(of)) => items.iter().all(|item| item.is_of(of)),
            (Self::Map(entries), SqlType::Map(keys, values)) => {
                entries.iter().all(|(k, v)| !k.is_null() && k.is_of(keys) && v.is_of(values))
            }
            (Self::Struct(found), SqlType::Struct(fields)) => {
                let of = |((name, value), field): (&(String, Self), &StructField)| {
                    *name == field.name && value.is_of(&field.sql_type)
                };
                found.len() == fields.len() && found.iter().zip(fields).all(of)
            }
            _ => false,
        }
    }

    /// Reads one row of a column whose Arrow type is one of [`SqlType::to_arrow`]; a column of another Arrow type reads
    /// as null.
    ///
    /// # Panics
    /// When `row` is not below the column's length.
    pub fn read(column: &dyn Array, row: usize) -> Self {
        if column.is_null(row) {
            return Self::Null;
        }
        match column.data_type() {
            DataType::Boolean => Self::Boolean(column.as_boolean().value(row)),
            DataType::Int32 => Self::Int(column.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => Self::Bigint(column.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => Self::Double(column.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal128(_, scale) => {
                let unscaled = column.as_primitive::<Decimal128Type>().value(row);
                Self::Decimal(Decimal { unscaled, scale: (*scale).max(0) as u8 })
            }
            DataType::Utf8 => Self::String(column.as_string::<i32>().value(row).to_owned()),
            DataType::Binary => Self::Bytes(column.as_binary::<i32>().value(row).to_owned()),
            DataType::Date32 => Self::Date(column.as_primitive::<Date32Type>().value(row)),
            DataType::Time32(TimeUnit::Millisecond) => {
                Self::Time(column.as_primitive::<Time32MillisecondType>().value(row))
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Self::Timestamp(column.as_primitive::<TimestampMillisecondType>().value(row))
            }
            DataType::List(_) => {
                let items = column.as_list::<i32>().value(row);
                Self::Array((0..items.len()).map(|i| Self::read(&items, i)).collect())
            }
            DataType::Map(..) => {
                let entries = column.as_map().value(row);
                let (keys, values) = (entries.column(0), entries.column(1));
                let entry = |i| (Self::read(keys, i), Self::read(values, i));
                Self::Map((0..entries.len()).map(entry).collect())
            }
            DataType::Struct(fields) => {
                let columns = column.as_struct().columns();
                let field = |(field, column): (&Arc<Field>, &ArrayRef)| {
                    (field.name().clone(), Self::read(column, row))
                };
                Self::Struct(fields.iter().zip(columns).map(field).collect())
            }
            _ => Self::Null,
        }
    }

    /// What distinguishes kinds, in the order of kinds.
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Boolean(_) => 1,
            Self::Int(_) => 2,
            Self::Bigint(_) => 3,
            Self::Double(_) => 4,
            Self::Decimal(_) => 5,
            Self::String(_) => 6,
            Self::Bytes(_) => 7,
            Self::Date(_) => 8,
            Self::Time(_) => 9,
            Self::Timestamp(_) => 10,
            Self::Array(_) => 11,
            Self::Map(_) => 12,
            Self::Struct(_) => 13,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Boolean(left), Self::Boolean(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right))
            | (Self::Date(left), Self::Date(right))
            | (Self::Time(left), Self::Time(right)) => left.cmp(right),
            (Self::Bigint(left), Self::Bigint(right))
            | (Self::Timestamp(left), Self::Timestamp(right)) => left.cmp(right),
            (Self::Double(left), Self::Double(right)) => left.total_cmp(right),
            (Self::Decimal(left), Self::Decimal(right)) => left.cmp(right),
            (Self::String(left), Self::String(right)) => left.cmp(right),
            (Self::Bytes(left), Self::Bytes(right)) => left.cmp(right),
            (Self::Array(left), Self::Array(right)) => left.cmp(right),
            (Self::Map(left), Self::Map(right)) => left.cmp(right),
            (Self::Struct(left), Self::Struct(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Null => {}
            Self::Boolean(value) => value.hash(state),
            Self::Int(value) | Self::Date(value) | Self::Time(value) => value.hash(state),
            Self::Bigint(value) | Self::Timestamp(value) => value.hash(state),
            Self::Double(value) => value.to_bits().hash(state),
            Self::Decimal(value) => value.hash(state),
            Self::String(value) => value.hash(state),
            Self::Bytes(value) => value.hash(state),
            Self::Array(items) => items.hash(state),
            Self::Map(entries) => entries.hash(state),
            Self::Struct(fields) => fields.hash(state),
        }
    }
}

/// As `CAST(value AS STRING)` writes it and a terminal shows it; null is `null`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Bigint(value) => write!(f, "{value}"),
            Self::Double(value) => f.write_str(&double_text(*value)),
            Self::Decimal(value) => write!(f, "{value}"),
            Self::String(value) => f.write_str(value),
            Self::Bytes(value) => value.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Date(days) => f.write_str(&date_text(*days)),
            Self::Time(ms) => f.write_str(&time_text(*ms)),
            Self::Timestamp(ms) => f.write_str(&timestamp_text(*ms)),
            Self::Array(items) => write_list(f, ["[", "]"], items, |f, item| write!(f, "{item}")),
            Self::Map(entries) => {
                write_list(f, ["{", "}"], entries, |f, (key, value)| write!(f, "{key}={value}"))
            }
            Self::Struct(fields) => {
                write_list(f, ["{", "}"], fields, |f, (name, value)| write!(f, "{name}={value}"))
            }
        }
    }
}

fn write_list<T>(
    f: &mut fmt::Formatter<'_>,
    [open, close]: [&str; 2],
    items: &[T],
    write_item: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write_item(f, item)?;
    }
    f.write_str(close)
}

/// The shortest digits that read back as the same float, as Java writes them: `1.0`, `0.001`, `1.0E10`.
pub fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

/// `2024-02-29`; a day outside the years -9999 to 9999 as its number.
pub fn date_text(days: i32) -> String {
    match jiff::civil::date(1970, 1, 1)
        .checked_add(jiff::SignedDuration::from_hours(i64::from(days) * 24))
    {
        Ok(date) => date.to_string(),
        Err(_) => days.to_string(),
    }
}

/// `23:59:59`, with `.123` where there are milliseconds.
pub fn time_text(ms_of_day: i32) -> String {
    let (seconds, ms) = (ms_of_day.div_euclid(1000), ms_of_day.rem_euclid(1000));
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if ms == 0 { clock } else { format!("{clock}.{ms:03}") }
}

/// `2024-02-29T23:59:59.123` in UTC; a moment outside the years -9999 to 9999 as its number.
pub fn timestamp_text(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(moment) => {
            let civil = jiff::tz::Offset::UTC.to_datetime(moment);
            format!("{}.{:03}", civil.strftime("%Y-%m-%dT%H:%M:%S"), ms.rem_euclid(1000))
        }
        Err(_) => ms.to_string(),
    }
}
