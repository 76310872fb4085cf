//! Functions on arrays, maps and JSON.
//!
//! TRANSFORM, FILTER and REDUCE, which take lambdas, are left out.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Number, Value as Json};

use super::function::{
    Body, Function, Group, RESULT_MAX, RowFunction, RowResult, Signature, Type, call, items, text,
    whole,
};
use crate::error::RowCause;
use crate::value::Value;

const S: Type = Type::String;
const I: Type = Type::Int;
const T: Type = Type::Any('T');
const A: Type = Type::Array(&T);
const K: Type = Type::Any('K');
const V: Type = Type::Any('V');
const M: Type = Type::Map(&K, &V);
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
    Group::Nested.row(
        "ARRAY_LENGTH",
        "How many items an array has.",
        &[call(&[A], I, Body::Row(|row| Ok(Value::Int(items(row, 0).len() as i32))))],
        &[("ARRAY_LENGTH(ARRAY[1, 2, 3])", "3")],
    ),
    Function {
        sees_nulls: true,
        ..Group::Nested.row(
            "ARRAY_CONTAINS",
            "Whether an array has the value.",
            &[call(&[A, T], Type::Boolean, Body::Row(array_contains))],
            &[
                ("ARRAY_CONTAINS(ARRAY[1, 2], 2)", "true"),
                ("ARRAY_CONTAINS(ARRAY['a'], 'b')", "false"),
            ],
        )
    },
    Group::Nested.row(
        "ARRAY_JOIN",
        "The items as one text with commas, or the second text, between them.",
        &[call(&[A], S, Body::Row(array_join)), call(&[A, S], S, Body::Row(array_join))],
        &[("ARRAY_JOIN(ARRAY[1, 2], '-')", "1-2")],
    ),
    Group::Nested.row(
        "ARRAY_MAX",
        "The greatest item.",
        &[call(
            &[A],
            T,
            Body::Row(|row| Ok(items(row, 0).iter().max().cloned().unwrap_or(Value::Null))),
        )],
        &[("ARRAY_MAX(ARRAY[3, NULL, 7])", "7")],
    ),
    Group::Nested.row(
        "ARRAY_MIN",
        "The least item that is not null.",
        &[call(
            &[A],
            T,
            Body::Row(|row| {
                Ok(items(row, 0)
                    .iter()
                    .filter(|item| !item.is_null())
                    .min()
                    .cloned()
                    .unwrap_or(Value::Null))
            }),
        )],
        &[("ARRAY_MIN(ARRAY[3, NULL, 7])", "3")],
    ),
    Group::Nested.row(
        "ARRAY_SORT",
        "The items in order, nulls last; with 'DESC' the other way.",
        &[call(&[A], A, Body::Row(array_sort)), call(&[A, S], A, Body::Row(array_sort))],
        &[
            ("ARRAY_SORT(ARRAY[2, NULL, 1])", "[1, 2, null]"),
            ("ARRAY_SORT(ARRAY[1, 2], 'DESC')", "[2, 1]"),
        ],
    ),
    Group::Nested.row(
        "ARRAY_DISTINCT",
        "The items, each once.",
        &[call(&[A], A, Body::Row(|row| Ok(distinct(items(row, 0).iter()))))],
        &[("ARRAY_DISTINCT(ARRAY[1, 2, 1])", "[1, 2]")],
    ),
    Group::Nested.row(
        "ARRAY_CONCAT",
        "The items of both arrays.",
        &[call(
            &[A, A],
            A,
            Body::Row(|row| Ok(Value::Array([items(row, 0), items(row, 1)].concat()))),
        )],
        &[("ARRAY_CONCAT(ARRAY[1], ARRAY[1, 2])", "[1, 1, 2]")],
    ),
    Group::Nested.row(
        "ARRAY_UNION",
        "The items of both arrays, each once.",
        &[call(
            &[A, A],
            A,
            Body::Row(|row| Ok(distinct(items(row, 0).iter().chain(items(row, 1))))),
        )],
        &[("ARRAY_UNION(ARRAY[1], ARRAY[1, 2])", "[1, 2]")],
    ),
    Group::Nested.row(
        "ARRAY_INTERSECT",
        "The items that are in both arrays, each once.",
        &[call(&[A, A], A, Body::Row(|row| Ok(shared(row, true))))],
        &[("ARRAY_INTERSECT(ARRAY[1, 2], ARRAY[2, 3])", "[2]")],
    ),
    Group::Nested.row(
        "ARRAY_EXCEPT",
        "The items of the first array that are not in the second, each once.",
        &[call(&[A, A], A, Body::Row(|row| Ok(shared(row, false))))],
        &[("ARRAY_EXCEPT(ARRAY[1, 2], ARRAY[2, 3])", "[1]")],
    ),
    Function {
        sees_nulls: true,
        ..Group::Nested.row(
            "ARRAY_REMOVE",
            "The items that are not the value.",
            &[call(&[A, T], A, Body::Row(array_remove))],
            &[("ARRAY_REMOVE(ARRAY[1, 2, 1], 1)", "[2]")],
        )
    },
    Group::Nested.row(
        "SLICE",
        "The items from one position to another, both from 1 and both kept.",
        &[call(&[A, I, I], A, Body::Row(slice))],
        &[("SLICE(ARRAY[1, 2, 3, 4], 2, 3)", "[2, 3]")],
    ),
    Group::Nested.row(
        "GENERATE_SERIES",
        "The whole numbers from one to another, by a step.",
        &[
            call(&[I, I], Type::Array(&I), Body::Row(series)),
            call(&[I, I, I], Type::Array(&I), Body::Row(series)),
        ],
        &[("GENERATE_SERIES(1, 7, 3)", "[1, 4, 7]"), ("GENERATE_SERIES(2, 0)", "[2, 1, 0]")],
    ),
    Group::Nested.row(
        "MAP_KEYS",
        "The keys of a map.",
        &[call(
            &[M],
            Type::Array(&K),
            Body::Row(|row| {
                Ok(Value::Array(entries(row, 0).iter().map(|(key, _)| key.clone()).collect()))
            }),
        )],
        &[("MAP_KEYS(MAP('a' := 1))", "[a]")],
    ),
    Group::Nested.row(
        "MAP_VALUES",
        "The values of a map.",
        &[call(
            &[M],
            Type::Array(&V),
            Body::Row(|row| {
                Ok(Value::Array(entries(row, 0).iter().map(|(_, value)| value.clone()).collect()))
            }),
        )],
        &[("MAP_VALUES(MAP('a' := 1))", "[1]")],
    ),
    Group::Nested.row(
        "MAP_UNION",
        "The entries of both maps; the second wins.",
        &[call(
            &[M, M],
            M,
            Body::Row(|row| Ok(map_of(entries(row, 0).iter().chain(entries(row, 1)).cloned()))),
        )],
        &[("MAP_UNION(MAP('a' := 1), MAP('a' := 2, 'b' := 3))", "{a=2, b=3}")],
    ),
    Group::Nested.row(
        "AS_MAP",
        "A map of an array of keys and an array of values.",
        &[call(
            &[Type::Array(&K), Type::Array(&V)],
            M,
            Body::Row(|row| {
                Ok(map_of(
                    items(row, 0)
                        .iter()
                        .cloned()
                        .zip(items(row, 1).iter().cloned())
                        .filter(|(key, _)| !key.is_null()),
                ))
            }),
        )],
        &[("AS_MAP(ARRAY['a', 'b'], ARRAY[1, 2])", "{a=1, b=2}")],
    ),
];

fn entries(arguments: &[Value], index: usize) -> &[(Value, Value)] {
    match arguments.get(index) {
        Some(Value::Map(entries)) => entries,
        _ => &[],
    }
}

/// A map in which each key stands once, where it first stood, with its last value.
pub(crate) fn map_of(entries: impl Iterator<Item = (Value, Value)>) -> Value {
    let mut places = std::collections::HashMap::new();
    let mut map: Vec<(Value, Value)> = Vec::new();
    for (key, value) in entries {
        match places.get(&key) {
            Some(&place) => map[place] = (key, value),
            None => {
                places.insert(key.clone(), map.len());
                map.push((key, value));
            }
        }
    }
    Value::Map(map)
}

fn distinct<'v>(values: impl Iterator<Item = &'v Value>) -> Value {
    let mut seen = HashSet::new();
    Value::Array(values.filter(|value| seen.insert(*value)).cloned().collect())
}

fn shared(row: &[Value], in_both: bool) -> Value {
    let second: HashSet<&Value> = items(row, 1).iter().collect();
    distinct(items(row, 0).iter().filter(|item| second.contains(item) == in_both))
}

fn array_contains(row: &[Value]) -> RowResult {
    Ok(match &row[0] {
        Value::Null => Value::Boolean(false),
        _ => Value::Boolean(items(row, 0).contains(&row[1])),
    })
}

fn array_remove(row: &[Value]) -> RowResult {
    Ok(match &row[0] {
        Value::Null => Value::Null,
        _ => {
            let kept = items(row, 0).iter().filter(|item| **item != row[1]);
            Value::Array(kept.cloned().collect())
        }
    })
}

fn array_join(row: &[Value]) -> RowResult {
    let between = if row.len() > 1 { text(row, 1) } else { "," };
    let texts: Vec<String> = items(row, 0).iter().map(Value::to_string).collect();
    let bytes = texts.iter().map(|text| text.len() + between.len()).sum::<usize>();
    if bytes > RESULT_MAX {
        return Err(RowCause::TooLarge { what: "bytes", limit: RESULT_MAX });
    }
    Ok(Value::String(texts.join(between)))
}

fn array_sort(row: &[Value]) -> RowResult {
    let descending =
        match if row.len() > 1 { text(row, 1).to_uppercase() } else { "ASC".into() }.as_str() {
            "ASC" | "ASCENDING" => false,
            "DESC" | "DESCENDING" => true,
            _ => return Err(RowCause::argument(text(row, 1), "ASC or DESC")),
        };
    let mut sorted = items(row, 0).to_vec();
    sorted.sort_by(|left, right| {
        let order = if descending { right.cmp(left) } else { left.cmp(right) };
        left.is_null().cmp(&right.is_null()).then(order)
    });
    Ok(Value::Array(sorted))
}

fn slice(row: &[Value]) -> RowResult {
    let items = items(row, 0);
    let start = (whole(row, 1).max(1) - 1).min(items.len() as i64) as usize;
    let end = whole(row, 2).clamp(0, items.len() as i64) as usize;
    Ok(Value::Array(items.get(start..end).unwrap_or_default().to_vec()))
}

fn series(row: &[Value]) -> RowResult {
    let (from, to) = (whole(row, 0), whole(row, 1));
    let step = if row.len() > 2 { whole(row, 2) } else { (to - from).signum() };
    if (row.len() > 2 && step == 0) || (to - from) * step < 0 {
        return Err(RowCause::argument(step, "a step that leads from the first to the last"));
    }
    let last = if step == 0 { 0 } else { (to - from) / step };
    if last >= RESULT_MAX as i64 {
        return Err(RowCause::TooLarge { what: "items", limit: RESULT_MAX });
    }
    // Fits: it lies between two INTs.
    Ok(Value::Array((0..=last).map(|index| Value::Int((from + index * step) as i32)).collect()))
}

fn json(input: &str) -> Option<Json> {
    serde_json::from_str(input).ok()
}

/// One step of a path.
#[derive(Clone, Debug)]
enum Step {
    Name(String),
    Index(usize),
    /// `[*]` or `.*`
    All,
}

/// Reads `$.a.b[0]['c d'].*`.
fn read_path(path: &str) -> Result<Vec<Step>, RowCause> {
    let refused = || RowCause::argument(path, "a path such as $.name[0]");
    let mut rest = path.trim().strip_prefix('$').ok_or_else(refused)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(match &after[..end] {
                "" => return Err(refused()),
                "*" => Step::All,
                name => Step::Name(name.to_owned()),
            });
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix('[') {
            let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'));
            let close = quote.map_or("]".to_owned(), |quote| format!("{quote}]"));
            let inside = &after[quote.map_or(0, char::len_utf8)..];
            let (key, behind) = inside.split_once(close.as_str()).ok_or_else(refused)?;
            steps.push(match (quote, key) {
                (Some(_), name) => Step::Name(name.to_owned()),
                (None, "*") => Step::All,
                (None, index) => Step::Index(index.trim().parse().map_err(|_| refused())?),
            });
            rest = behind;
        } else {
            return Err(refused());
        }
    }
    Ok(steps)
}

fn at_path(mut json: Json, steps: &[Step]) -> Option<Json> {
    for (index, step) in steps.iter().enumerate() {
        json = match (step, json) {
            (Step::Name(name), Json::Object(mut object)) => object.remove(name)?,
            (Step::Index(index), Json::Array(mut array)) if *index < array.len() => {
                array.swap_remove(*index)
            }
            (Step::All, Json::Array(array)) => {
                return all_at(array.into_iter(), &steps[index + 1..]);
            }
            (Step::All, Json::Object(object)) => {
                return all_at(object.into_iter().map(|(_, value)| value), &steps[index + 1..]);
            }
            _ => return None,
        };
    }
    Some(json)
}

fn all_at(values: impl Iterator<Item = Json>, steps: &[Step]) -> Option<Json> {
    Some(Json::Array(values.filter_map(|value| at_path(value, steps)).collect()))
}

fn extract_json(arguments: &[Option<Value>]) -> Result<RowFunction, RowCause> {
    let constant = match &arguments[1] {
        Some(Value::String(path)) => Some(read_path(path)?),
        _ => None,
    };
    Ok(Arc::new(move |row| {
        let read;
        let steps = match &constant {
            Some(steps) => steps,
            None => {
                read = read_path(text(row, 1))?;
                &read
            }
        };
        let found = json(text(row, 0)).ok_or_else(|| RowCause::argument(text(row, 0), "JSON"))?;
        Ok(match at_path(found, steps) {
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
