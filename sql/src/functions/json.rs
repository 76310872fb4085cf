//! Functions on JSON texts: what stands in them at a path, their parts, and values written as JSON.

use std::sync::Arc;

use serde_json::{Map, Number, Value as Json};

use super::function::{Body, Function, Group, RowFunction, RowResult, Signature, Type, call, text};
use super::json_path;
use crate::error::RowCause;
use crate::value::Value;

const S: Type = Type::String;
const I: Type = Type::Int;
const T: Type = Type::Any('T');

/// How deep the JSON of a value goes at the most.
const JSON_DEPTH_MAX: usize = 64;

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
    Group::Nested.row(
        "EXTRACTJSONFIELD",
        "What stands in a JSON text at a path: texts without quotes, all else as JSON.",
        &[call(&[S, S], S, Body::Prepared(extract_json))],
        &[
            ("EXTRACTJSONFIELD('{\"a\": {\"b\": [1, \"x\"]}}', '$.a.b[1]')", "x"),
            ("EXTRACTJSONFIELD('{\"a\": 1}', '$.b')", "null"),
            ("EXTRACTJSONFIELD('{\"a b\": {\"c\": 1}}', '$[''a b'']')", "{\"c\":1}"),
        ],
    ),
    Function {
        sees_nulls: true,
        ..Group::Nested.row(
            "IS_JSON_STRING",
            "Whether the text is JSON.",
            &[call(
                &[S],
                Type::Boolean,
                Body::Row(|row| {
                    Ok(Value::Boolean(!row[0].is_null() && json(text(row, 0)).is_some()))
                }),
            )],
            &[("IS_JSON_STRING('[1]')", "true"), ("IS_JSON_STRING('[')", "false")],
        )
    },
    Group::Nested.row(
        "JSON_ARRAY_LENGTH",
        "How many items a JSON array has; null for other texts.",
        &[call(&[S], I, Body::Row(json_array_length))],
        &[("JSON_ARRAY_LENGTH('[1, [2, 3]]')", "2"), ("JSON_ARRAY_LENGTH('{}')", "null")],
    ),
    Group::Nested.row(
        "JSON_KEYS",
        "The names in a JSON object; null for other texts.",
        &[call(&[S], Type::Array(&S), Body::Row(json_keys))],
        &[("JSON_KEYS('{\"a\": 1, \"b\": 2}')", "[a, b]")],
    ),
    Group::Nested.row(
        "JSON_RECORDS",
        "The names in a JSON object and the JSON of their values; null for other texts.",
        &[call(&[S], Type::Map(&S, &S), Body::Row(json_records))],
        &[("JSON_RECORDS('{\"a\": 1, \"b\": \"x\"}')", "{a=1, b=\"x\"}")],
    ),
    Group::Nested.row(
        "JSON_ITEMS",
        "The JSON of each item of a JSON array; null for other texts.",
        &[call(&[S], Type::Array(&S), Body::Row(json_items))],
        &[("JSON_ITEMS('[1, {\"a\": 2}]')", "[1, {\"a\":2}]")],
    ),
    Group::Nested.row(
        "JSON_CONCAT",
        "JSON objects as one (later ones win), anything else as one array.",
        &[Signature { takes: &[S], variadic: true, gives: S, body: Body::Row(json_concat) }],
        &[
            ("JSON_CONCAT('{\"a\": 1}', '{\"b\": 2}')", "{\"a\":1,\"b\":2}"),
            ("JSON_CONCAT('[1]', '2')", "[1,2]"),
        ],
    ),
    Function {
        sees_nulls: true,
        ..Group::Nested.row(
            "TO_JSON_STRING",
            "The value as JSON.",
            &[call(&[T], S, Body::Row(to_json_string))],
            &[
                ("TO_JSON_STRING(ARRAY[1, NULL])", "[1,null]"),
                ("TO_JSON_STRING('a\"b')", "\"a\\\"b\""),
            ],
        )
    },
    Group::Nested.row(
        "JSON_ARRAY_CONTAINS",
        "Whether a JSON array has the value.",
        &[call(&[S, T], Type::Boolean, Body::Row(json_array_contains))],
        &[
            ("JSON_ARRAY_CONTAINS('[1, 2]', 2)", "true"),
            ("JSON_ARRAY_CONTAINS('[\"a\"]', 'b')", "false"),
        ],
    ),
];

fn json(input: &str) -> Option<Json> {
    serde_json::from_str(input).ok()
}

fn extract_json(arguments: &[Option<Value>]) -> Result<RowFunction, RowCause> {
    let constant = match &arguments[1] {
        Some(Value::String(path)) => Some(json_path::read(path)?),
        _ => None,
    };
    Ok(Arc::new(move |row| {
        let read;
        let steps = match &constant {
            Some(steps) => steps,
            None => {
                read = json_path::read(text(row, 1))?;
                &read
            }
        };
        let found = json(text(row, 0)).ok_or_else(|| RowCause::argument(text(row, 0), "JSON"))?;
        Ok(match json_path::find(found, steps) {
            None | Some(Json::Null) => Value::Null,
            Some(Json::String(text)) => Value::String(text),
            Some(other) => Value::String(other.to_string()),
        })
    }))
}

fn json_array_length(row: &[Value]) -> RowResult {
    Ok(match json(text(row, 0)) {
        Some(Json::Array(array)) => Value::Int(i32::try_from(array.len()).unwrap_or(i32::MAX)),
        _ => Value::Null,
    })
}

fn json_keys(row: &[Value]) -> RowResult {
    Ok(match json(text(row, 0)) {
        Some(Json::Object(object)) => {
            Value::Array(object.into_iter().map(|(name, _)| Value::String(name)).collect())
        }
        _ => Value::Null,
    })
}

fn json_records(row: &[Value]) -> RowResult {
    let entry =
        |(name, value): (String, Json)| (Value::String(name), Value::String(value.to_string()));
    Ok(match json(text(row, 0)) {
        Some(Json::Object(object)) => Value::Map(object.into_iter().map(entry).collect()),
        _ => Value::Null,
    })
}

fn json_items(row: &[Value]) -> RowResult {
    Ok(match json(text(row, 0)) {
        Some(Json::Array(array)) => {
            Value::Array(array.iter().map(|item| Value::String(item.to_string())).collect())
        }
        _ => Value::Null,
    })
}

fn json_concat(row: &[Value]) -> RowResult {
    let mut parts = Vec::with_capacity(row.len());
    for index in 0..row.len() {
        let part = json(text(row, index));
        parts.push(part.ok_or_else(|| RowCause::argument(text(row, index), "JSON"))?);
    }
    if parts.iter().all(Json::is_object) {
        let objects = parts.into_iter().filter_map(|part| match part {
            Json::Object(object) => Some(object),
            _ => None,
        });
        let merged: Map<String, Json> = objects.flatten().collect();
        return Ok(Value::String(Json::Object(merged).to_string()));
    }
    let items = parts.into_iter().flat_map(|part| match part {
        Json::Array(items) => items,
        other => vec![other],
    });
    Ok(Value::String(Json::Array(items.collect()).to_string()))
}

/// A value as JSON: decimals as numbers, bytes as hexadecimal text, times as text.
fn to_json(value: &Value, depth: usize) -> Result<Json, RowCause> {
    if depth == 0 {
        return Err(RowCause::TooLarge { what: "levels of JSON", limit: JSON_DEPTH_MAX });
    }
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Bigint(value) => Json::from(*value),
        Value::Double(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::Decimal(value) => Number::from_f64(value.to_f64()).map_or(Json::Null, Json::Number),
        Value::Array(items) => {
            let items = items.iter().map(|item| to_json(item, depth - 1));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Map(entries) => {
            let entry =
                |(key, value): &(Value, Value)| Ok((key.to_string(), to_json(value, depth - 1)?));
            Json::Object(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
        Value::Struct(fields) => {
            let field =
                |(name, value): &(String, Value)| Ok((name.clone(), to_json(value, depth - 1)?));
            Json::Object(fields.iter().map(field).collect::<Result<_, _>>()?)
        }
        Value::String(_)
        | Value::Bytes(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Timestamp(_) => Json::String(value.to_string()),
    })
}

fn to_json_string(row: &[Value]) -> RowResult {
    to_json(&row[0], JSON_DEPTH_MAX).map(|json| Value::String(json.to_string()))
}

fn json_array_contains(row: &[Value]) -> RowResult {
    let wanted = to_json(&row[1], JSON_DEPTH_MAX)?;
    Ok(match json(text(row, 0)) {
        Some(Json::Array(array)) => Value::Boolean(array.contains(&wanted)),
        _ => Value::Boolean(false),
    })
}
