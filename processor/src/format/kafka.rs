//! Kafka's own serializers: one column, its bytes and nothing else.
//!
//! INT and BIGINT are 4 and 8 bytes big-endian with sign, DOUBLE is IEEE 754 big-endian, STRING is UTF-8, BYTES is
//! itself. Null is a null payload.

use arrow_array::ArrayRef;
use sql::schema::Column;
use sql::value::{SqlType, Value};

use super::codec::{Decode, Encode, Malformed};

/// Reads payloads of Kafka's serializers.
#[derive(Debug)]
pub struct KafkaDecoder {
    column: Column,
}

/// Writes payloads as Kafka's serializers do.
#[derive(Debug)]
pub struct KafkaEncoder;

/// Whether the format has a form for this type.
pub fn supports(sql_type: &SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::Int | SqlType::Bigint | SqlType::Double | SqlType::String | SqlType::Bytes
    )
}

impl KafkaDecoder {
    /// A decoder for this column.
    pub fn new(column: Column) -> Self {
        Self { column }
    }

    fn exactly<const N: usize>(&self, payload: &[u8]) -> Result<[u8; N], Malformed> {
        payload.try_into().map_err(|_| Malformed::Length {
            column: self.column.name.clone(),
            expected: self.column.sql_type.clone(),
            bytes: N,
            found: payload.len(),
        })
    }
}

impl Decode for KafkaDecoder {
    fn decode(&mut self, payload: &[u8], slots: &mut [Value]) -> Result<(), Malformed> {
        let value = match self.column.sql_type {
            SqlType::Int => Value::Int(i32::from_be_bytes(self.exactly(payload)?)),
            SqlType::Bigint => Value::Bigint(i64::from_be_bytes(self.exactly(payload)?)),
            SqlType::Double => Value::Double(f64::from_be_bytes(self.exactly(payload)?)),
            SqlType::String => {
                let text = std::str::from_utf8(payload).map_err(|cause| Malformed::Syntax {
                    format: "KAFKA",
                    cause: cause.to_string(),
                })?;
                Value::String(text.to_owned())
            }
            // `supports` was asked when the stream was made: only BYTES is left.
            _ => Value::Bytes(payload.to_vec()),
        };
        if let Some(slot) = slots.first_mut() {
            *slot = value;
        }
        Ok(())
    }
}

impl Encode for KafkaEncoder {
    fn encode(&self, columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> bool {
        let Some(column) = columns.first() else { return false };
        match Value::read(column, row) {
            Value::Int(value) => out.extend_from_slice(&value.to_be_bytes()),
            Value::Bigint(value) => out.extend_from_slice(&value.to_be_bytes()),
            Value::Double(value) => out.extend_from_slice(&value.to_be_bytes()),
            Value::String(value) => out.extend_from_slice(value.as_bytes()),
            Value::Bytes(value) => out.extend_from_slice(&value),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::testing::{any_columns_and_row, columns, read_back};

    proptest! {
        #[test]
        fn what_is_written_is_read((columns, row) in any_columns_and_row(false)) {
            for (column, value) in columns.into_iter().zip(row) {
                if supports(&column.sql_type) {
                    let (one, decoder) = ([column.clone()], KafkaDecoder::new(column));
                    let read = read_back(&one, std::slice::from_ref(&value), decoder, &KafkaEncoder);
                    prop_assert_eq!(read, (!value.is_null()).then(|| vec![value]));
                }
            }
        }
    }

    #[test]
    fn the_bytes_are_kafkas() {
        let columns = columns(&[("A", "INT")]);
        let mut out = Vec::new();
        let array = Value::Int(-2).repeat(&SqlType::Int, 1).unwrap();
        assert!(KafkaEncoder.encode(&[array], 0, &mut out));
        assert_eq!(out, [0xff, 0xff, 0xff, 0xfe]);
        let error = KafkaDecoder::new(columns[0].clone()).decode(b"1", &mut [Value::Null]);
        assert!(matches!(error, Err(Malformed::Length { bytes: 4, found: 1, .. })));
    }
}
