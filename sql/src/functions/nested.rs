//! Functions on arrays and maps.
//!
//! TRANSFORM, FILTER and REDUCE, which take lambdas, are left out.

use std::collections::HashSet;

use super::function::{
    Body, Function, Group, RESULT_MAX, RowResult, Type, call, items, text, whole,
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

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
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
            Body::Row(|row| Ok(Value::map(entries(row, 0).iter().chain(entries(row, 1)).cloned()))),
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
                Ok(Value::map(
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
