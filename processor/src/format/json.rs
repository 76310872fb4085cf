//! JSON: an object for each row, or a bare value where there is one column and no wrapping.
//!
//! Read as ksqlDB reads it: a field belongs to the column of its exact name, else to the one whose name differs only in
//! case; what is missing is null; what no column wants is skipped. Numbers become the declared type where they fit it
//! exactly, also from text; a STRING column takes anything, nested values as their JSON. BYTES is base64; DATE, TIME
//! and TIMESTAMP are days, milliseconds of the day and milliseconds since 1970.
//!
//! Left out: DECIMAL numbers of more than 17 digits lose digits unless they are written as text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType, TimestampMillisecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sql::schema::Column;
use sql::value::{Decimal, SqlType, StructField, Value};

use super::codec::{Decode, Encode, Malformed, excerpt, read_base64, write_base64};

/// Reads JSON payloads.
#[derive(Debug)]
pub struct JsonDecoder {
    columns: Vec<StructField>,
    names: Names,
    wrapped: bool,
    /// For each column: was its field seen, and was it by the exact name? Scratch of one row.
    seen: Vec<Seen>,
}

/// Writes JSON payloads.
#[derive(Debug)]
pub struct JsonEncoder {
    /// `"NAME":` of each column, ready to be copied.
    names: Vec<Vec<u8>>,
    wrapped: bool,
}

impl JsonDecoder {
    /// A decoder for these columns. Not `wrapped`: the payload is the value of the only column.
    pub fn new(columns: &[Column], wrapped: bool) -> Self {
        let field = |c: &Column| StructField { name: c.name.clone(), sql_type: c.sql_type.clone() };
        let columns: Vec<StructField> = columns.iter().map(field).collect();
        Self { names: Names::of(&columns), seen: vec![Seen::No; columns.len()], columns, wrapped }
    }
}

impl Decode for JsonDecoder {
    fn decode(&mut self, payload: &[u8], slots: &mut [Value]) -> Result<(), Malformed> {
        let mut wrong = None;
        let mut json = serde_json::Deserializer::from_slice(payload);
        let read = if self.wrapped {
            self.seen.fill(Seen::No);
            let (fields, names) = (&self.columns[..], &self.names);
            let row = Fields { fields, names, slots, seen: &mut self.seen, wrong: &mut wrong };
            row.deserialize(&mut json)
        } else {
            match (self.columns.first(), slots.first_mut()) {
                (Some(column), Some(slot)) => {
                    Cell { column, slot, wrong: &mut wrong }.deserialize(&mut json)
                }
                _ => Ok(()),
            }
        };
        match read.and_then(|()| json.end()) {
            Ok(()) => Ok(()),
            Err(cause) => Err(wrong
                .unwrap_or_else(|| Malformed::Syntax { format: "JSON", cause: cause.to_string() })),
        }
    }
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

/// Which field names belong to which column.
#[derive(Debug)]
struct Names {
    exact: HashMap<String, usize>,
    upper: HashMap<String, usize>,
}

impl Names {
    fn of(fields: &[StructField]) -> Self {
        let numbered = || fields.iter().enumerate();
        Self {
            exact: numbered().map(|(index, field)| (field.name.clone(), index)).collect(),
            // The first of two names that differ only in case is kept.
            upper: numbered()
                .rev()
                .map(|(index, field)| (field.name.to_uppercase(), index))
                .collect(),
        }
    }

    fn find(&self, name: &str) -> Option<(usize, Seen)> {
        match self.exact.get(name) {
            Some(index) => Some((*index, Seen::Exactly)),
            None => Some((*self.upper.get(&name.to_uppercase())?, Seen::ByCase)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    No,
    ByCase,
    Exactly,
}

/// Reads an object into one slot for each field.
struct Fields<'a> {
    fields: &'a [StructField],
    names: &'a Names,
    slots: &'a mut [Value],
    seen: &'a mut [Seen],
    wrong: &'a mut Option<Malformed>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(found) = map.next_key_seed(FieldName(self.names))? {
            let wanted = found.and_then(|(index, how)| {
                let seen = self.seen.get_mut(index)?;
                // A field given twice counts the last time, but a near name never replaces the exact one.
                if how < *seen {
                    return None;
                }
                *seen = how;
                Some((self.fields.get(index)?, self.slots.get_mut(index)?))
            });
            match wanted {
                Some((column, slot)) => {
                    map.next_value_seed(Cell { column, slot, wrong: self.wrong })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        for (slot, seen) in self.slots.iter_mut().zip(self.seen) {
            if *seen == Seen::No {
                *slot = Value::Null;
            }
        }
        Ok(())
    }
}

struct FieldName<'a>(&'a Names);

impl<'de> DeserializeSeed<'de> for FieldName<'_> {
    type Value = Option<(usize, Seen)>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName<'_> {
    type Value = Option<(usize, Seen)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.find(name))
    }
}

/// Reads one value of a column's type into its slot.
struct Cell<'a> {
    column: &'a StructField,
    slot: &'a mut Value,
    /// Where the error is put that the caller will report: serde's own errors are text.
    wrong: &'a mut Option<Malformed>,
}

impl Cell<'_> {
    fn refuse<E: serde::de::Error>(&mut self, found: impl fmt::Display) -> E {
        // The innermost place is the most telling one.
        self.wrong.get_or_insert_with(|| Malformed::WrongType {
            column: self.column.name.clone(),
            expected: self.column.sql_type.clone(),
            found: excerpt(&found.to_string()),
        });
        E::custom("wrong type")
    }

    fn put<E: serde::de::Error>(
        mut self,
        value: Option<Value>,
        found: impl fmt::Display,
    ) -> Result<(), E> {
        match value {
            Some(value) => {
                *self.slot = value;
                Ok(())
            }
            None => Err(self.refuse(found)),
        }
    }

    fn put_text(self, text: &str) {
        match self.slot {
            Value::String(old) => {
                old.clear();
                old.push_str(text);
            }
            slot => *slot = Value::String(text.to_owned()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.column.sql_type)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        *self.slot = Value::Null;
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        let read = match self.column.sql_type {
            SqlType::Boolean => Some(Value::Boolean(value)),
            SqlType::String => Some(Value::String(value.to_string())),
            _ => None,
        };
        self.put(read, value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        let read = from_integer(&self.column.sql_type, value);
        self.put(read, value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => {
                let read = from_number_text(&self.column.sql_type, &value.to_string());
                self.put(read, value)
            }
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        let read = match &self.column.sql_type {
            SqlType::Double => Some(Value::Double(value)),
            SqlType::String => Some(Value::String(sql::value::double_text(value))),
            SqlType::Decimal { .. } => from_number_text(&self.column.sql_type, &format!("{value}")),
            other => whole(value).and_then(|value| from_integer(other, value)),
        };
        self.put(read, value)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let read = match &self.column.sql_type {
            SqlType::String => {
                self.put_text(text);
                return Ok(());
            }
            SqlType::Bytes => read_base64(text).map(Value::Bytes),
            SqlType::Boolean | SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => None,
            number => from_number_text(number, text.trim()),
        };
        self.put(read, format_args!("{text:?}"))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        match &self.column.sql_type {
            SqlType::Array(of) => {
                let item = StructField { name: self.column.name.clone(), sql_type: (**of).clone() };
                let mut values = Vec::new();
                loop {
                    let mut value = Value::Null;
                    let cell = Cell { column: &item, slot: &mut value, wrong: self.wrong };
                    if items.next_element_seed(cell)?.is_none() {
                        break;
                    }
                    values.push(value);
                }
                *self.slot = Value::Array(values);
                Ok(())
            }
            SqlType::String => {
                let mut text = Vec::new();
                JsonText(&mut text).visit_seq(items)?;
                *self.slot = Value::String(String::from_utf8_lossy(&text).into_owned());
                Ok(())
            }
            _ => Err(self.refuse("an array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        match &self.column.sql_type {
            SqlType::Struct(fields) => {
                let mut slots = vec![Value::Null; fields.len()];
                Fields {
                    fields,
                    names: &Names::of(fields),
                    slots: &mut slots,
                    seen: &mut vec![Seen::No; fields.len()],
                    wrong: self.wrong,
                }
                .visit_map(map)?;
                let names = fields.iter().map(|field| field.name.clone());
                *self.slot = Value::Struct(names.zip(slots).collect());
                Ok(())
            }
            SqlType::Map(keys, values) => {
                let name = self.column.name.clone();
                let item = StructField { name, sql_type: (**values).clone() };
                let mut entries: Vec<(Value, Value)> = Vec::new();
                while let Some(key) = map.next_key::<Cow<'_, str>>()? {
                    let Some(key) = map_key(keys, &key) else { return Err(self.refuse(key)) };
                    let mut value = Value::Null;
                    map.next_value_seed(Cell {
                        column: &item,
                        slot: &mut value,
                        wrong: self.wrong,
                    })?;
                    entries.push((key, value));
                }
                *self.slot = Value::Map(entries);
                Ok(())
            }
            SqlType::String => {
                let mut text = Vec::new();
                JsonText(&mut text).visit_map(map)?;
                *self.slot = Value::String(String::from_utf8_lossy(&text).into_owned());
                Ok(())
            }
            _ => Err(self.refuse("an object")),
        }
    }
}

/// A float without a fraction, where the integers are exact.
fn whole(value: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "no fraction, and inside the bound")]
    (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i64)
}

fn from_integer(sql_type: &SqlType, value: i64) -> Option<Value> {
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

/// A number that stands in text. Formats made of text use it for their cells too.
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

fn map_key(sql_type: &SqlType, key: &str) -> Option<Value> {
    match sql_type {
        SqlType::Boolean => key.parse().ok().map(Value::Boolean),
        other => from_number_text(other, key),
    }
}

/// Writes whatever comes as JSON text again: for nested values in a STRING column.
struct JsonText<'a>(&'a mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for JsonText<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonText<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.extend_from_slice(value.to_string().as_bytes());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.extend_from_slice(value.to_string().as_bytes());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        write_double(value, self.0);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        write_text(text, self.0);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        let start = self.0.len();
        loop {
            let comma = self.0.len();
            if comma > start {
                self.0.push(b',');
            }
            if items.next_element_seed(JsonText(self.0))?.is_none() {
                self.0.truncate(comma);
                break;
            }
        }
        self.0.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.push(b'{');
        let start = self.0.len();
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if self.0.len() > start {
                self.0.push(b',');
            }
            write_text(&key, self.0);
            self.0.push(b':');
            map.next_value_seed(JsonText(self.0))?;
        }
        self.0.push(b'}');
        Ok(())
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing text to memory cannot fail");
}

fn write_double(value: f64, out: &mut Vec<u8>) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::testing::{any_columns_and_row, columns, read_back};

    fn decode(declared: &[(&str, &str)], json: &str) -> Result<Vec<String>, Malformed> {
        let columns = columns(declared);
        let mut slots = vec![Value::Boolean(true); columns.len()];
        JsonDecoder::new(&columns, true).decode(json.as_bytes(), &mut slots)?;
        Ok(slots.iter().map(ToString::to_string).collect())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read((columns, row) in any_columns_and_row(true)) {
            let (decoder, encoder) = (JsonDecoder::new(&columns, true), JsonEncoder::new(&columns, true));
            prop_assert_eq!(read_back(&columns, &row, decoder, &encoder), Some(row));
        }

        #[test]
        fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..60)) {
            let columns = columns(&[("A", "STRING"), ("B", "ARRAY<INT>")]);
            let mut slots = vec![Value::Null; 2];
            if JsonDecoder::new(&columns, true).decode(&payload, &mut slots).is_ok() {
                for (slot, column) in slots.iter().zip(&columns) {
                    prop_assert!(slot.is_of(&column.sql_type));
                }
            }
        }
    }

    #[test]
    fn names_match_exactly_first_then_without_case() {
        let declared = [("A", "INT"), ("b", "INT"), ("C", "INT")];
        assert_eq!(
            decode(&declared, r#"{"a":1,"A":2,"x":[{}],"B":3}"#).unwrap(),
            ["2", "3", "null"]
        );
        assert_eq!(decode(&declared, r#"{"A":2,"a":1,"b":4,"B":3}"#).unwrap(), ["2", "4", "null"]);
        assert_eq!(decode(&declared, r#"{"A":2,"A":5}"#).unwrap(), ["5", "null", "null"]);
    }

    #[test]
    fn values_become_the_declared_type() {
        let one = |sql_type, json: &str| decode(&[("A", sql_type)], &format!(r#"{{"A":{json}}}"#));
        for (sql_type, json, expected) in [
            ("BIGINT", "7.0", "7"),
            ("BIGINT", "\"7\"", "7"),
            ("DOUBLE", "7", "7.0"),
            ("DECIMAL(6, 2)", "10.105", "10.11"),
            ("STRING", "7", "7"),
            ("STRING", r#"{"z":1,"a":[true,null,"x"]}"#, r#"{"z":1,"a":[true,null,"x"]}"#),
            ("STRING", "[]", "[]"),
            ("ARRAY<INT>", "[1,null]", "[1, null]"),
            ("MAP<STRING, INT>", r#"{"k":1}"#, "{k=1}"),
            ("STRUCT<F INT, G STRING>", r#"{"f":1}"#, "{F=1, G=null}"),
            ("BYTES", "\"Zm8=\"", "666f"),
        ] {
            assert_eq!(one(sql_type, json).unwrap(), [expected], "{sql_type} from {json}");
        }
        for (sql_type, json) in [
            ("INT", "2147483648"),
            ("INT", "1.5"),
            ("INT", "\"x\""),
            ("INT", "true"),
            ("BOOLEAN", "1"),
            ("BOOLEAN", "\"true\""),
            ("ARRAY<INT>", "{}"),
            ("ARRAY<INT>", "[\"x\"]"),
            ("STRUCT<F INT>", "[]"),
            ("BYTES", "\"*\""),
            ("TIME", "86400000"),
        ] {
            let error = one(sql_type, json).unwrap_err();
            assert!(
                matches!(&error, Malformed::WrongType { column, .. } if column.as_str() >= "A"),
                "{sql_type} from {json}: {error}"
            );
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for payload in ["", "{", "[1]", "1", r#"{"A":1} x"#, "{\"A\":\u{1}}"] {
            let error = decode(&[("A", "INT")], payload).unwrap_err();
            assert!(
                matches!(error, Malformed::Syntax { format: "JSON", .. }),
                "{payload}: {error}"
            );
        }
    }

    #[test]
    fn a_single_value_may_stand_alone() {
        let columns = columns(&[("K", "BIGINT")]);
        let mut slots = [Value::Null];
        JsonDecoder::new(&columns, false).decode(b"42", &mut slots).unwrap();
        assert_eq!(slots, [Value::Bigint(42)]);
        let mut out = Vec::new();
        let array = Value::Bigint(42).repeat(&SqlType::Bigint, 1).unwrap();
        assert!(JsonEncoder::new(&columns, false).encode(&[array], 0, &mut out));
        assert_eq!(out, b"42");
        let null = Value::Null.repeat(&SqlType::Bigint, 1).unwrap();
        assert!(!JsonEncoder::new(&columns, false).encode(&[null], 0, &mut out));
    }
}
