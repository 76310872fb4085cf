//! Functions that hide what a text says and keep its shape.

use super::function::{Body, Function, Group, RESULT_MAX, RowResult, Type, call, text, whole};
use crate::error::RowCause;
use crate::value::Value;

const S: Type = Type::String;
const N: Type = Type::Int;

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
    Group::Text.row(
        "MASK",
        "The text with capitals as X, small letters as x, digits as n, all else as -; or as the four texts given.",
        &[
            call(&[S], S, Body::Row(|row| mask(row, 0, |_, _| true))),
            call(&[S, S, S, S, S], S, Body::Row(|row| mask(row, 1, |_, _| true))),
        ],
        &[("MASK('My Test $123')", "Xx-Xxxx--nnn"), ("MASK('Ab1', 'A', 'a', '1', '*')", "Aa1")],
    ),
    Group::Text.row(
        "MASK_KEEP_LEFT",
        "As MASK, but the first characters stay.",
        &[call(&[S, N], S, Body::Row(|row| mask(row, 0, |at, ends| at >= ends.count)))],
        &[("MASK_KEEP_LEFT('Test 12', 2)", "Texx-nn")],
    ),
    Group::Text.row(
        "MASK_KEEP_RIGHT",
        "As MASK, but the last characters stay.",
        &[call(
            &[S, N],
            S,
            Body::Row(|row| mask(row, 0, |at, ends| at + ends.count < ends.length)),
        )],
        &[("MASK_KEEP_RIGHT('Test 12', 2)", "Xxxx-12")],
    ),
    Group::Text.row(
        "MASK_LEFT",
        "As MASK, but only the first characters.",
        &[call(&[S, N], S, Body::Row(|row| mask(row, 0, |at, ends| at < ends.count)))],
        &[("MASK_LEFT('Test 12', 2)", "Xxst 12")],
    ),
    Group::Text.row(
        "MASK_RIGHT",
        "As MASK, but only the last characters.",
        &[call(
            &[S, N],
            S,
            Body::Row(|row| mask(row, 0, |at, ends| at + ends.count >= ends.length)),
        )],
        &[("MASK_RIGHT('Test 12', 2)", "Test nn")],
    ),
];

/// How many characters MASK_... counts, and how many there are.
struct Ends {
    count: usize,
    length: usize,
}

/// Masks the characters that `masked` chooses; masks of its own stand from argument `own`, if that is not 0.
fn mask(row: &[Value], own: usize, masked: fn(usize, &Ends) -> bool) -> RowResult {
    let input = text(row, 0);
    let counted = if own == 0 && row.len() > 1 { whole(row, 1) } else { 0 };
    if counted < 0 {
        return Err(RowCause::argument(counted, "a number of characters from 0"));
    }
    let ends = Ends { count: counted as usize, length: input.chars().count() };
    let masks = match own {
        0 => ["X", "x", "n", "-"],
        _ => [0, 1, 2, 3].map(|index| text(row, own + index)),
    };
    let mut result = String::with_capacity(input.len());
    for (at, character) in input.chars().enumerate() {
        let kind = match character {
            c if c.is_uppercase() => 0,
            c if c.is_lowercase() => 1,
            c if c.is_numeric() => 2,
            _ => 3,
        };
        if masked(at, &ends) {
            result.push_str(masks[kind])
        } else {
            result.push(character)
        }
        if result.len() > RESULT_MAX.max(input.len()) {
            return Err(RowCause::TooLarge { what: "bytes", limit: RESULT_MAX });
        }
    }
    Ok(Value::String(result))
}
