//! Columns written as JSON, a row at a time.

use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType, TimestampMillisecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use sql::schema::Column;
use sql::value::Value;

use crate::format::codec::{Encode, write_base64};

/// Writes JSON payloads.
#[derive(Debug)]
pub struct JsonEncoder {
    /// `"NAME":` of each column, ready to be copied.
    names: Vec<Vec<u8>>,
    wrapped: bool,
}

impl JsonEncoder {
    /// An encoder for these columns. Not `wrapped`: the payload is the value of the only column.
    pub fn new(columns: &[Column], wrapped: bool) -> Self {
        let name = |column: &Column| {
            let mut text = Vec::new();
            write_text(&column.name, &mut text);
            text.push(b':');
            text
        };
        Self { names: columns.iter().map(name).collect(), wrapped }
    }
}

impl Encode for JsonEncoder {
    fn encode(&self, columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> bool {
        if !self.wrapped {
            return match columns.first() {
                Some(column) if column.is_valid(row) => {
                    write_cell(column, row, out);
                    true
                }
                _ => false,
            };
        }
        out.push(b'{');
        for (index, (name, column)) in self.names.iter().zip(columns).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            write_cell(column, row, out);
        }
        out.push(b'}');
        true
    }
}

pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing text to memory cannot fail");
}

pub(super) fn write_double(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        serde_json::to_writer(out, &value).expect("writing a number to memory cannot fail");
    } else {
        // JSON has no such numbers; ksqlDB writes their names.
        write_text(&sql::value::double_text(value), out);
    }
}

fn write_cell(column: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if column.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    let mut number =
        |number: &dyn fmt::Display| out.extend_from_slice(number.to_string().as_bytes());
    match column.data_type() {
        DataType::Boolean => number(&column.as_boolean().value(row)),
        DataType::Int32 => number(&column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => number(&column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => write_double(column.as_primitive::<Float64Type>().value(row), out),
        DataType::Decimal128(..) => number(&Value::read(column, row)),
        DataType::Utf8 => write_text(column.as_string::<i32>().value(row), out),
        DataType::Binary => {
            out.push(b'"');
            write_base64(column.as_binary::<i32>().value(row), out);
            out.push(b'"');
        }
        DataType::Date32 => number(&column.as_primitive::<Date32Type>().value(row)),
        DataType::Time32(TimeUnit::Millisecond) => {
            number(&column.as_primitive::<Time32MillisecondType>().value(row));
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            number(&column.as_primitive::<TimestampMillisecondType>().value(row));
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            write_listed(out, [b'[', b']'], items.len(), |out, index| {
                write_cell(&items, index, out);
            });
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            write_listed(out, [b'{', b'}'], entries.len(), |out, index| {
                write_text(&Value::read(entries.column(0), index).to_string(), out);
                out.push(b':');
                write_cell(entries.column(1), index, out);
            });
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns();
            write_listed(out, [b'{', b'}'], columns.len(), |out, index| {
                if let (Some(field), Some(column)) = (fields.get(index), columns.get(index)) {
                    write_text(field.name(), out);
                    out.push(b':');
                    write_cell(column, row, out);
                }
            });
        }
        // Columns come from `SqlType::to_arrow`, which names no other type.
        _ => out.extend_from_slice(b"null"),
    }
}

fn write_listed(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    count: usize,
    mut write: impl FnMut(&mut Vec<u8>, usize),
) {
    out.push(open);
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        write(out, index);
    }
    out.push(close);
}
