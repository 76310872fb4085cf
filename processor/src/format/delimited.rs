//! Delimited lines: one line for each row, one field for each column, in their order.
//!
//! Quoted as in RFC 4180 where a field holds the delimiter, a quote or a line break. An empty field is null. There is
//! no header line and there are no nested types.

use arrow_array::{Array, ArrayRef};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use sql::schema::Column;
use sql::value::{SqlType, Value};

use super::codec::{Decode, Encode, Malformed, excerpt, read_base64, write_base64};
use super::numbers::from_number_text;

/// Reads delimited payloads.
#[derive(Debug)]
pub struct DelimitedDecoder {
    columns: Vec<Column>,
    reader: Reader,
    fields: Vec<u8>,
    ends: Vec<usize>,
}

/// Writes delimited payloads.
#[derive(Debug)]
pub struct DelimitedEncoder {
    delimiter: u8,
}

impl DelimitedDecoder {
    /// A decoder for these columns, whose fields stand apart by `delimiter`.
    pub fn new(columns: &[Column], delimiter: u8) -> Self {
        Self {
            columns: columns.to_vec(),
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            fields: vec![0; 256],
            // One more than expected, so that a line with too many fields is told from a full one.
            ends: vec![0; columns.len() + 2],
        }
    }

    /// Splits the line; gives how many fields there are.
    fn split(&mut self, payload: &[u8]) -> Result<usize, Malformed> {
        let too_many =
            Malformed::FieldCount { expected: self.columns.len(), found: self.columns.len() + 1 };
        self.reader.reset();
        let (mut input, mut written, mut fields) = (payload, 0, 0);
        loop {
            let (read, out, ended) = {
                let room = self.fields.get_mut(written..).unwrap_or_default();
                let ends = self.ends.get_mut(fields..).unwrap_or_default();
                let (result, read, out, ended) = self.reader.read_record(input, room, ends);
                match result {
                    ReadRecordResult::InputEmpty => {}
                    ReadRecordResult::OutputFull => {
                        let larger = self.fields.len() * 2;
                        self.fields.resize(larger, 0);
                    }
                    ReadRecordResult::OutputEndsFull => return Err(too_many),
                    ReadRecordResult::Record => return Ok(fields + ended),
                    // An empty payload is a line with one empty field.
                    ReadRecordResult::End => {
                        if let Some(end) = self.ends.first_mut() {
                            *end = 0;
                        }
                        return Ok(1);
                    }
                }
                (read, out, ended)
            };
            input = input.get(read..).unwrap_or_default();
            written += out;
            fields += ended;
        }
    }
}

impl Decode for DelimitedDecoder {
    fn decode(&mut self, payload: &[u8], slots: &mut [Value]) -> Result<(), Malformed> {
        let found = self.split(payload)?;
        if found != self.columns.len() {
            return Err(Malformed::FieldCount { expected: self.columns.len(), found });
        }
        let mut start = 0;
        for ((column, end), slot) in self.columns.iter().zip(&self.ends).zip(slots) {
            let field = self.fields.get(start..*end).unwrap_or_default();
            start = *end;
            let text = std::str::from_utf8(field).map_err(|cause| Malformed::Syntax {
                format: "DELIMITED",
                cause: cause.to_string(),
            })?;
            *slot = if text.is_empty() {
                Value::Null
            } else {
                read_field(&column.sql_type, text).ok_or_else(|| Malformed::WrongType {
                    column: column.name.clone(),
                    expected: column.sql_type.clone(),
                    found: excerpt(&format!("{text:?}")),
                })?
            };
        }
        Ok(())
    }
}

fn read_field(sql_type: &SqlType, text: &str) -> Option<Value> {
    match sql_type {
        SqlType::String => Some(Value::String(text.to_owned())),
        SqlType::Bytes => read_base64(text).map(Value::Bytes),
        SqlType::Boolean if text.trim().eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
        SqlType::Boolean if text.trim().eq_ignore_ascii_case("false") => {
            Some(Value::Boolean(false))
        }
        SqlType::Boolean => None,
        number => from_number_text(number, text.trim()),
    }
}

impl DelimitedEncoder {
    /// An encoder whose fields stand apart by `delimiter`.
    pub fn new(delimiter: u8) -> Self {
        Self { delimiter }
    }

    fn write(&self, value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Null => {}
            Value::Bytes(bytes) => write_base64(bytes, out),
            Value::Date(number) | Value::Time(number) => {
                out.extend_from_slice(number.to_string().as_bytes());
            }
            Value::Timestamp(number) => out.extend_from_slice(number.to_string().as_bytes()),
            other => self.write_quoted(&other.to_string(), out),
        }
    }

    fn write_quoted(&self, text: &str, out: &mut Vec<u8>) {
        let special = |byte: u8| byte == self.delimiter || matches!(byte, b'"' | b'\r' | b'\n');
        // At the start of a line readers take it for a byte order mark and skip it.
        let marked = text.starts_with('\u{feff}');
        if !marked && !text.bytes().any(special) {
            return out.extend_from_slice(text.as_bytes());
        }
        out.push(b'"');
        for byte in text.bytes() {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
}

impl Encode for DelimitedEncoder {
    fn encode(&self, columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> bool {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.push(self.delimiter);
            }
            let column: &dyn Array = column;
            self.write(&Value::read(column, row), out);
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
        /// All but empty text, which is null here.
        #[test]
        fn what_is_written_is_read(
            (columns, row) in any_columns_and_row(false),
            delimiter in prop::sample::select(&b",\t |"[..]),
        ) {
            let decoder = DelimitedDecoder::new(&columns, delimiter);
            let read = read_back(&columns, &row, decoder, &DelimitedEncoder::new(delimiter));
            let emptied = |value: Value| match value {
                Value::String(text) if text.is_empty() => Value::Null,
                Value::Bytes(bytes) if bytes.is_empty() => Value::Null,
                other => other,
            };
            prop_assert_eq!(read, Some(row.into_iter().map(emptied).collect()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..600)) {
            let columns = columns(&[("A", "STRING"), ("B", "INT")]);
            let mut slots = vec![Value::Null; 2];
            let _ = DelimitedDecoder::new(&columns, b',').decode(&payload, &mut slots);
        }
    }

    #[test]
    fn fields_are_counted_and_typed() {
        let columns = columns(&[("A", "INT"), ("B", "STRING")]);
        let mut decoder = DelimitedDecoder::new(&columns, b',');
        let mut slots = vec![Value::Null; 2];
        decoder.decode(b"7,\"a,\"\"b\"\"\"", &mut slots).unwrap();
        assert_eq!(slots, [Value::Int(7), Value::String("a,\"b\"".into())]);
        decoder.decode(b",x\r\n", &mut slots).unwrap();
        assert_eq!(slots, [Value::Null, Value::String("x".into())]);
        for (payload, found) in [(&b"7"[..], 1), (b"", 1), (b"7,8,9", 3), (b"7,8,9,10,11", 3)] {
            assert_eq!(
                decoder.decode(payload, &mut slots),
                Err(Malformed::FieldCount { expected: 2, found })
            );
        }
        assert!(matches!(
            decoder.decode(b"x,y", &mut slots),
            Err(Malformed::WrongType { column, .. }) if column == "A"
        ));
    }
}
