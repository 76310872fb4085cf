//! Arrays, maps and structs: made of checked values, and taken apart.

use super::typed::{Typed, convert, type_error};
use crate::ast::Name;
use crate::coerce::widens;
use crate::error::{Cause, Place, Result, SqlError};
use crate::evaluate::Operation;
use crate::value::{SqlType, StructField};

/// `ARRAY[item, ...]`, whose items are of one type.
pub(super) fn array(items: Vec<Typed>, place: Place) -> Typed {
    let item = type_of_first(&items);
    Typed::new(place, Operation::MakeArray, items, SqlType::Array(Box::new(item)))
}

/// `MAP(key := value, ...)`, whose keys are of one type, and whose values are.
pub(super) fn map(keys: Vec<Typed>, values: Vec<Typed>, place: Place) -> Typed {
    let sql_type = SqlType::Map(Box::new(type_of_first(&keys)), Box::new(type_of_first(&values)));
    let operands = keys.into_iter().zip(values).flat_map(|(key, value)| [key, value]);
    Typed::new(place, Operation::MakeMap, operands.collect(), sql_type)
}

/// `STRUCT(name := value, ...)`, whose names are all different.
pub(super) fn structure(fields: Vec<(&Name, Typed)>, place: Place) -> Typed {
    let field = |(name, value): &(&Name, Typed)| StructField {
        name: name.as_str().to_owned(),
        sql_type: value.node.sql_type.clone(),
    };
    let types = fields.iter().map(field).collect();
    let operands = fields.into_iter().map(|(_, value)| value).collect();
    Typed::new(place, Operation::MakeStruct, operands, SqlType::Struct(types))
}

/// `struct->name`
pub(super) fn field(inner: Typed, name: &Name, place: Place) -> Result<Typed> {
    let found = inner.node.sql_type.clone();
    match found.field(name.as_str()) {
        Some((index, field)) => {
            let sql_type = field.sql_type.clone();
            Ok(Typed::new(place, Operation::Field(index), vec![inner], sql_type))
        }
        None if matches!(found, SqlType::Struct(_)) => {
            let name = name.to_string();
            Err(SqlError::new(place, Cause::UnknownField { name, found }))
        }
        None => Err(type_error(place, "what -> is used on", "a STRUCT", found)),
    }
}

/// `array[position]` and `map[key]`
pub(super) fn index(inner: Typed, index: Typed, place: Place) -> Result<Typed> {
    let (key, sql_type) = match &inner.node.sql_type {
        SqlType::Array(item) => (SqlType::Bigint, (**item).clone()),
        SqlType::Map(key, value) => ((**key).clone(), (**value).clone()),
        found => {
            let expected = "an ARRAY or a MAP";
            return Err(type_error(place, "what [ ] is used on", expected, found.clone()));
        }
    };
    match index.found() {
        Some(found) if found != key && !widens(&found, &key) => {
            Err(type_error(index.place, "what stands in [ ]", key, found))
        }
        _ => {
            let operands = vec![inner, convert(index, &key)];
            Ok(Typed::new(place, Operation::Index, operands, sql_type))
        }
    }
}

/// Of values that are of one type; without any, STRING.
fn type_of_first(typed: &[Typed]) -> SqlType {
    typed.first().map_or(SqlType::String, |first| first.node.sql_type.clone())
}
