//! SQL types, single values, and the columns they make; to Arrow and back.
//!
//! Arithmetic and casts are not here: see [`crate::evaluate`].

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int32Builder,
    Int64Builder, StringBuilder, Time32MillisecondBuilder, TimestampMillisecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields, TimeUnit};

/// The largest precision of a DECIMAL, in digits.
pub const DECIMAL_PRECISION_MAX: u8 = 38;

/// The type of a column or an expression.
///
/// Its text is the SQL that names it, and that text parses to it again.
///
/// ```
/// use thalweg_sql::value::SqlType;
/// let nested: SqlType = "map<string, array<decimal(10, 2)>>".parse().unwrap();
/// assert_eq!(nested.to_string(), "MAP<STRING, ARRAY<DECIMAL(10, 2)>>");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// True or false.
    Boolean,
    /// 32 bits with sign.
    Int,
    /// 64 bits with sign.
    Bigint,
    /// A 64 bit float.
    Double,
    /// An exact number.
    Decimal {
        /// Digits in all: 1 to 38.
        precision: u8,
        /// Digits after the point: 0 to `precision`.
        scale: u8,
    },
    /// UTF-8 text.
    String,
    /// Bytes.
    Bytes,
    /// A day of the calendar.
    Date,
    /// A time of day, to the millisecond.
    Time,
    /// A moment, to the millisecond.
    Timestamp,
    /// Values of one type in order.
    Array(Box<SqlType>),
    /// Keys and their values.
    Map(Box<SqlType>, Box<SqlType>),
    /// Named fields: at least one.
    Struct(Vec<StructField>),
}

/// A field of a STRUCT.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StructField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
}

impl SqlType {
    /// The Arrow type of a column of this type.
    pub fn to_arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Bigint => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
            Self::String => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time32(TimeUnit::Millisecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
            Self::Array(item) => DataType::List(item_field(item)),
            Self::Map(key, value) => DataType::Map(entries_field(key, value), false),
            Self::Struct(fields) => DataType::Struct(arrow_fields(fields)),
        }
    }

    /// Whether it is INT, BIGINT, DECIMAL or DOUBLE.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Bigint | Self::Double | Self::Decimal { .. })
    }

    /// Whether it is DATE, TIME or TIMESTAMP.
    pub fn is_time(&self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Timestamp)
    }

    /// Whether it is ARRAY, MAP or STRUCT.
    pub fn is_nested(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Map(..) | Self::Struct(_))
    }

    /// The field of that name, of a STRUCT.
    pub fn field(&self, name: &str) -> Option<(usize, &StructField)> {
        match self {
            Self::Struct(fields) => fields.iter().enumerate().find(|(_, f)| f.name == name),
            _ => None,
        }
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Int => f.write_str("INT"),
            Self::Bigint => f.write_str("BIGINT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            Self::String => f.write_str("STRING"),
            Self::Bytes => f.write_str("BYTES"),
            Self::Date => f.write_str("DATE"),
            Self::Time => f.write_str("TIME"),
            Self::Timestamp => f.write_str("TIMESTAMP"),
            Self::Array(item) => write!(f, "ARRAY<{item}>"),
            Self::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            Self::Struct(fields) => {
                f.write_str("STRUCT<")?;
                for (index, field) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} {}", crate::words::quoted(&field.name), field.sql_type)?;
                }
                f.write_str(">")
            }
        }
    }
}

fn item_field(item: &SqlType) -> Arc<Field> {
    Arc::new(Field::new("item", item.to_arrow(), true))
}

fn entries_field(key: &SqlType, value: &SqlType) -> Arc<Field> {
    Arc::new(Field::new("entries", DataType::Struct(entry_fields(key, value)), false))
}

fn entry_fields(key: &SqlType, value: &SqlType) -> Fields {
    Fields::from(vec![
        Field::new("key", key.to_arrow(), false),
        Field::new("value", value.to_arrow(), true),
    ])
}

fn arrow_fields(fields: &[StructField]) -> Fields {
    fields.iter().map(|field| Field::new(&field.name, field.sql_type.to_arrow(), true)).collect()
}

/// A number with a fixed count of digits after the point: `unscaled` × 10^-`scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// All digits, as one integer.
    pub unscaled: i128,
    /// Digits after the point: 0 to 38.
    pub scale: u8,
}

impl Decimal {
    /// Reads `-12.50`: a sign, digits, a point; no exponent. `None` for any other text or more than 38 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && part.is_empty()) || !all_digits(whole) || !all_digits(part) {
            return None;
        }
        let mut unscaled: i128 = 0;
        for digit in whole.bytes().chain(part.bytes()) {
            unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        }
        let fits = unscaled < 10_i128.pow(38) && part.len() <= usize::from(DECIMAL_PRECISION_MAX);
        let unscaled = if negative { -unscaled } else { unscaled };
        fits.then_some(Self { unscaled, scale: part.len() as u8 })
    }

    /// The same number with another scale, rounded half up; `None` when it needs more than `precision` digits.
    pub fn rescale(self, precision: u8, scale: u8) -> Option<Self> {
        let unscaled = if scale >= self.scale {
            let factor = 10_i128.checked_pow(u32::from(scale - self.scale))?;
            self.unscaled.checked_mul(factor)?
        } else {
            let factor = 10_i128.checked_pow(u32::from(self.scale - scale))?;
            let (quotient, rest) = (self.unscaled / factor, self.unscaled % factor);
            let up = rest.unsigned_abs() >= (factor.unsigned_abs()).div_ceil(2);
            quotient + if up { self.unscaled.signum() } else { 0 }
        };
        let bound = 10_i128.checked_pow(u32::from(precision.min(DECIMAL_PRECISION_MAX)))?;
        (unscaled.abs() < bound).then_some(Self { unscaled, scale })
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// Digits before the point plus digits after it: 1 to 38, the precision it needs.
    pub fn precision(self) -> u8 {
        let digits = self.unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1) as u8;
        digits.max(self.scale).max(1)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let scale = usize::from(self.scale);
        let digits = format!("{:0>width$}", self.unscaled.unsigned_abs(), width = scale + 1);
        let (whole, part) = digits.split_at(digits.len() - scale);
        if part.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{part}") }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale {
            return self.unscaled.cmp(&other.unscaled);
        }
        let scale = self.scale.max(other.scale);
        let widen = |d: &Self| d.unscaled.checked_mul(10_i128.pow(u32::from(scale - d.scale)));
        match (widen(self), widen(other)) {
            (Some(left), Some(right)) => left.cmp(&right).then(self.scale.cmp(&other.scale)),
            // Only one that is far larger than the other can leave 128 bits.
            (None, _) => self.unscaled.cmp(&0),
            (_, None) => 0.cmp(&other.unscaled),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

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

    /// A column of this value, `rows` times.
    ///
    /// # Errors
    /// [`ValueError::WrongType`] when the value is not of the type.
    pub fn repeat(&self, sql_type: &SqlType, rows: usize) -> Result<ArrayRef, ValueError> {
        let mut builder = ColumnBuilder::new(sql_type, rows);
        for _ in 0..rows {
            builder.push(self)?;
        }
        Ok(builder.finish())
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

/// Why a value can't go into a column.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// The value has another type.
    #[error("the value {found} is not {expected}")]
    WrongType {
        /// The type of the column.
        expected: SqlType,
        /// The value, cut to 60 characters.
        found: String,
    },
}

/// Builds one column, value by value.
///
/// ```
/// use thalweg_sql::value::{ColumnBuilder, SqlType, Value};
/// let mut builder = ColumnBuilder::new(&SqlType::Int, 2);
/// builder.push(&Value::Int(7)).unwrap();
/// builder.push_null();
/// let column = builder.finish();
/// assert_eq!(Value::read(&column, 0), Value::Int(7));
/// assert!(Value::read(&column, 1).is_null());
/// ```
#[derive(Debug)]
pub struct ColumnBuilder {
    sql_type: SqlType,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    Bigint(Int64Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder),
    String(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time32MillisecondBuilder),
    Timestamp(TimestampMillisecondBuilder),
    Array { items: Box<ColumnBuilder>, ends: Vec<i32>, valid: Vec<bool> },
    Map { entries: Box<[ColumnBuilder; 2]>, ends: Vec<i32>, valid: Vec<bool> },
    Struct { fields: Vec<ColumnBuilder>, valid: Vec<bool> },
}

impl ColumnBuilder {
    /// An empty column with room for `capacity` rows.
    pub fn new(sql_type: &SqlType, capacity: usize) -> Self {
        let parts = match sql_type {
            SqlType::Boolean => Parts::Boolean(BooleanBuilder::with_capacity(capacity)),
            SqlType::Int => Parts::Int(Int32Builder::with_capacity(capacity)),
            SqlType::Bigint => Parts::Bigint(Int64Builder::with_capacity(capacity)),
            SqlType::Double => Parts::Double(Float64Builder::with_capacity(capacity)),
            SqlType::Decimal { .. } => Parts::Decimal(
                Decimal128Builder::with_capacity(capacity).with_data_type(sql_type.to_arrow()),
            ),
            SqlType::String => {
                Parts::String(StringBuilder::with_capacity(capacity, capacity.saturating_mul(16)))
            }
            SqlType::Bytes => {
                Parts::Bytes(BinaryBuilder::with_capacity(capacity, capacity.saturating_mul(16)))
            }
            SqlType::Date => Parts::Date(Date32Builder::with_capacity(capacity)),
            SqlType::Time => Parts::Time(Time32MillisecondBuilder::with_capacity(capacity)),
            SqlType::Timestamp => {
                Parts::Timestamp(TimestampMillisecondBuilder::with_capacity(capacity))
            }
            SqlType::Array(item) => Parts::Array {
                items: Box::new(Self::new(item, capacity)),
                ends: vec![0],
                valid: Vec::with_capacity(capacity),
            },
            SqlType::Map(key, value) => Parts::Map {
                entries: Box::new([Self::new(key, capacity), Self::new(value, capacity)]),
                ends: vec![0],
                valid: Vec::with_capacity(capacity),
            },
            SqlType::Struct(fields) => Parts::Struct {
                fields: fields.iter().map(|f| Self::new(&f.sql_type, capacity)).collect(),
                valid: Vec::with_capacity(capacity),
            },
        };
        Self { sql_type: sql_type.clone(), parts }
    }

    /// The type of the column.
    pub fn sql_type(&self) -> &SqlType {
        &self.sql_type
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        use arrow_array::builder::ArrayBuilder as _;
        match &self.parts {
            Parts::Boolean(builder) => builder.len(),
            Parts::Int(builder) => builder.len(),
            Parts::Bigint(builder) => builder.len(),
            Parts::Double(builder) => builder.len(),
            Parts::Decimal(builder) => builder.len(),
            Parts::String(builder) => builder.len(),
            Parts::Bytes(builder) => builder.len(),
            Parts::Date(builder) => builder.len(),
            Parts::Time(builder) => builder.len(),
            Parts::Timestamp(builder) => builder.len(),
            Parts::Array { valid, .. } | Parts::Map { valid, .. } | Parts::Struct { valid, .. } => {
                valid.len()
            }
        }
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`ValueError::WrongType`] when the value is not of the column's type (see [`Value::is_of`]).
    ///
    /// # After an error
    /// The column is as it was.
    pub fn push(&mut self, value: &Value) -> Result<(), ValueError> {
        if !value.is_of(&self.sql_type) {
            let found = value.to_string().chars().take(60).collect();
            return Err(ValueError::WrongType { expected: self.sql_type.clone(), found });
        }
        self.push_checked(value);
        Ok(())
    }

    /// Adds a row without a value.
    pub fn push_null(&mut self) {
        self.push_checked(&Value::Null);
    }

    /// Adds a value that [`Value::is_of`] the type; any other becomes null.
    fn push_checked(&mut self, value: &Value) {
        match (&mut self.parts, value) {
            (Parts::Boolean(builder), Value::Boolean(value)) => builder.append_value(*value),
            (Parts::Int(builder), Value::Int(value)) => builder.append_value(*value),
            (Parts::Bigint(builder), Value::Bigint(value)) => builder.append_value(*value),
            (Parts::Bigint(builder), Value::Int(value)) => builder.append_value((*value).into()),
            (Parts::Double(builder), Value::Double(value)) => builder.append_value(*value),
            (Parts::Decimal(builder), Value::Decimal(value)) => {
                builder.append_value(value.unscaled);
            }
            (Parts::String(builder), Value::String(value)) => builder.append_value(value),
            (Parts::Bytes(builder), Value::Bytes(value)) => builder.append_value(value),
            (Parts::Date(builder), Value::Date(value)) => builder.append_value(*value),
            (Parts::Time(builder), Value::Time(value)) => builder.append_value(*value),
            (Parts::Timestamp(builder), Value::Timestamp(value)) => builder.append_value(*value),
            (Parts::Array { items, ends, valid }, Value::Array(values)) => {
                values.iter().for_each(|value| items.push_checked(value));
                ends.push(items.len() as i32);
                valid.push(true);
            }
            (Parts::Map { entries, ends, valid }, Value::Map(values)) => {
                let [keys, items] = &mut **entries;
                for (key, value) in values {
                    keys.push_checked(key);
                    items.push_checked(value);
                }
                ends.push(items.len() as i32);
                valid.push(true);
            }
            (Parts::Struct { fields, valid }, Value::Struct(values)) => {
                for (field, (_, value)) in fields.iter_mut().zip(values) {
                    field.push_checked(value);
                }
                valid.push(true);
            }
            (parts, _) => parts.push_null(),
        }
    }

    /// The column; the builder is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        const SHAPE: &str = "rows are pushed to all parts together, so lengths and types agree";
        match &mut self.parts {
            Parts::Boolean(builder) => Arc::new(builder.finish()),
            Parts::Int(builder) => Arc::new(builder.finish()),
            Parts::Bigint(builder) => Arc::new(builder.finish()),
            Parts::Double(builder) => Arc::new(builder.finish()),
            Parts::Decimal(builder) => Arc::new(builder.finish()),
            Parts::String(builder) => Arc::new(builder.finish()),
            Parts::Bytes(builder) => Arc::new(builder.finish()),
            Parts::Date(builder) => Arc::new(builder.finish()),
            Parts::Time(builder) => Arc::new(builder.finish()),
            Parts::Timestamp(builder) => Arc::new(builder.finish()),
            Parts::Array { items, ends, valid } => {
                let field = item_field(&items.sql_type);
                let (offsets, nulls) = (take_offsets(ends), take_nulls(valid));
                let list = ListArray::try_new(field, offsets, items.finish(), nulls);
                Arc::new(list.expect(SHAPE))
            }
            Parts::Map { entries, ends, valid } => {
                let [keys, values] = &mut **entries;
                let fields = entry_fields(&keys.sql_type, &values.sql_type);
                let field = entries_field(&keys.sql_type, &values.sql_type);
                let columns = vec![keys.finish(), values.finish()];
                let entries = StructArray::try_new(fields, columns, None).expect(SHAPE);
                let (offsets, nulls) = (take_offsets(ends), take_nulls(valid));
                let map = MapArray::try_new(field, offsets, entries, nulls, false);
                Arc::new(map.expect(SHAPE))
            }
            Parts::Struct { fields, valid } => {
                let (rows, nulls) = (valid.len(), take_nulls(valid));
                let columns = fields.iter_mut().map(Self::finish).collect();
                let declared = match &self.sql_type {
                    SqlType::Struct(declared) => arrow_fields(declared),
                    _ => Fields::empty(),
                };
                let all = StructArray::try_new_with_length(declared, columns, nulls, rows);
                Arc::new(all.expect(SHAPE))
            }
        }
    }
}

impl Parts {
    fn push_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Bigint(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::Decimal(builder) => builder.append_null(),
            Self::String(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Array { items, ends, valid } => {
                ends.push(items.len() as i32);
                valid.push(false);
            }
            Self::Map { entries, ends, valid } => {
                ends.push(entries[0].len() as i32);
                valid.push(false);
            }
            Self::Struct { fields, valid } => {
                fields.iter_mut().for_each(ColumnBuilder::push_null);
                valid.push(false);
            }
        }
    }
}

fn take_offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])))
}

fn take_nulls(valid: &mut Vec<bool>) -> Option<NullBuffer> {
    let nulls = NullBuffer::from(std::mem::take(valid));
    (nulls.null_count() > 0).then_some(nulls)
}
