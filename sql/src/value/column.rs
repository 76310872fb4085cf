//! Columns made of values, one after the other.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int32Builder,
    Int64Builder, StringBuilder, Time32MillisecondBuilder, TimestampMillisecondBuilder,
};
use arrow_array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::Fields;

use super::single::Value;
use super::sql_type::{SqlType, arrow_fields, entries_field, entry_fields, item_field};

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

impl Value {
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
}
