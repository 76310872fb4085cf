//! JSON read into slots, one for each column, without a tree in between.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sql::schema::Column;
use sql::value::{SqlType, StructField, Value};

use super::verbatim::JsonText;
use crate::format::codec::{Decode, Malformed, excerpt, read_base64};
use crate::format::numbers::{from_integer, from_number_text, whole};

/// Reads JSON payloads.
#[derive(Debug)]
pub struct JsonDecoder {
    columns: Vec<StructField>,
    names: Names,
    wrapped: bool,
    /// For each column: was its field seen, and was it by the exact name? Scratch of one row.
    seen: Vec<Seen>,
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

/// A MAP's key, which JSON has as text.
fn map_key(sql_type: &SqlType, key: &str) -> Option<Value> {
    match sql_type {
        SqlType::Boolean => key.parse().ok().map(Value::Boolean),
        other => from_number_text(other, key),
    }
}
