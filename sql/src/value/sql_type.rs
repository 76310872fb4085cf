//! The types of columns and expressions; as SQL and as Arrow has them.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};

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

pub(super) fn item_field(item: &SqlType) -> Arc<Field> {
    Arc::new(Field::new("item", item.to_arrow(), true))
}

pub(super) fn entries_field(key: &SqlType, value: &SqlType) -> Arc<Field> {
    Arc::new(Field::new("entries", DataType::Struct(entry_fields(key, value)), false))
}

pub(super) fn entry_fields(key: &SqlType, value: &SqlType) -> Fields {
    Fields::from(vec![
        Field::new("key", key.to_arrow(), false),
        Field::new("value", value.to_arrow(), true),
    ])
}

pub(super) fn arrow_fields(fields: &[StructField]) -> Fields {
    fields.iter().map(|field| Field::new(&field.name, field.sql_type.to_arrow(), true)).collect()
}
