//! Functions on texts as characters: case, length, parts, places, padding.
//!
//! Regular expressions, masks, encodings and URLs have files of their own.

use super::function::{
    Body, Function, Group, RESULT_MAX, RowResult, Signature, Type, call, text, texts, whole,
};
use crate::error::RowCause;
use crate::value::Value;

const S: Type = Type::String;
const N: Type = Type::Int;

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
    Group::Text.row(
        "UCASE",
        "The text in upper case.",
        &[call(&[S], S, Body::Text(str::to_uppercase))],
        &[("UCASE('iOS')", "IOS")],
    ),
    Group::Text.row(
        "LCASE",
        "The text in lower case.",
        &[call(&[S], S, Body::Text(str::to_lowercase))],
        &[("LCASE('iOS-Test')", "ios-test")],
    ),
    Group::Text.row(
        "INITCAP",
        "Each word with a capital first letter.",
        &[call(&[S], S, Body::Text(initcap))],
        &[("INITCAP('the quick BROWN fox')", "The Quick Brown Fox")],
    ),
    Group::Text.row(
        "TRIM",
        "The text without blanks at its ends.",
        &[call(&[S], S, Body::Text(|text| text.trim().to_owned()))],
        &[("TRIM('  a b ')", "a b")],
    ),
    Group::Text.row(
        "LEN",
        "How many characters a text, or bytes a BYTES, has.",
        &[call(&[S], N, Body::Row(length)), call(&[Type::Bytes], N, Body::Row(length))],
        &[("LEN('héllo')", "5")],
    ),
    Group::Text.row(
        "LENGTH",
        "As LEN.",
        &[call(&[S], N, Body::Row(length)), call(&[Type::Bytes], N, Body::Row(length))],
        &[("LENGTH('abc')", "3")],
    ),
    Function {
        sees_nulls: true,
        ..Group::Text.row(
            "CONCAT",
            "Texts end to end; nulls are left out.",
            &[Signature {
                takes: &[S, S],
                variadic: true,
                gives: S,
                body: Body::Row(|row| joined("", row)),
            }],
            &[("CONCAT('a', NULL, 'b')", "ab")],
        )
    },
    Function {
        sees_nulls: true,
        ..Group::Text.row(
            "CONCAT_WS",
            "Texts end to end with the first between them; nulls are left out.",
            &[Signature { takes: &[S, S], variadic: true, gives: S, body: Body::Row(concat_ws) }],
            &[("CONCAT_WS(', ', 'a', NULL, 'b')", "a, b"), ("CONCAT_WS(NULL, 'a', 'b')", "null")],
        )
    },
    Group::Text.row(
        "SUBSTRING",
        "The characters from a position (from 1; from the end when negative), all or so many.",
        &[call(&[S, N], S, Body::Row(substring)), call(&[S, N, N], S, Body::Row(substring))],
        &[("SUBSTRING('stream', 3)", "ream"), ("SUBSTRING('stream', -4, 2)", "re")],
    ),
    Group::Text.row(
        "LPAD",
        "The text filled up on the left, or cut, to a length.",
        &[call(&[S, N, S], S, Body::Row(|row| pad(row, true)))],
        &[("LPAD('7', 3, '0')", "007"), ("LPAD('stream', 3, ' ')", "str")],
    ),
    Group::Text.row(
        "RPAD",
        "The text filled up on the right, or cut, to a length.",
        &[call(&[S, N, S], S, Body::Row(|row| pad(row, false)))],
        &[("RPAD('7', 3, 'ab')", "7ab")],
    ),
    Group::Text.row(
        "REPLACE",
        "The text with each occurrence of the second replaced by the third.",
        &[call(&[S, S, S], S, Body::Row(replace))],
        &[("REPLACE('a-b-c', '-', '+')", "a+b+c")],
    ),
    Group::Text.row(
        "INSTR",
        "Where the second text is in the first, from 1; 0 where it is not. With a position to start at (from the end when negative), and which occurrence.",
        &[
            call(&[S, S], N, Body::Row(instr)),
            call(&[S, S, N], N, Body::Row(instr)),
            call(&[S, S, N, N], N, Body::Row(instr)),
        ],
        &[
            ("INSTR('CORPORATE FLOOR', 'OR')", "2"),
            ("INSTR('CORPORATE FLOOR', 'OR', 3, 2)", "14"),
            ("INSTR('CORPORATE FLOOR', 'OR', -3)", "5"),
        ],
    ),
    Group::Text.row(
        "SPLIT",
        "The parts of a text between delimiters; its characters when the delimiter is empty.",
        &[call(&[S, S], Type::Array(&S), Body::Row(split))],
        &[("SPLIT('a,b,,c', ',')", "[a, b, , c]")],
    ),
    Group::Text.row(
        "SPLIT_TO_MAP",
        "A text of entries, and of keys and values in each, as a MAP.",
        &[call(&[S, S, S], Type::Map(&S, &S), Body::Row(split_to_map))],
        &[("SPLIT_TO_MAP('a=1;b=2', ';', '=')['b']", "2")],
    ),
];

fn initcap(text: &str) -> String {
    let mut inside = false;
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if inside {
            result.extend(character.to_lowercase());
        } else {
            result.extend(character.to_uppercase());
        }
        inside = !character.is_whitespace();
    }
    result
}

fn count(length: usize) -> Value {
    i32::try_from(length).map_or(Value::Null, Value::Int)
}

fn length(row: &[Value]) -> RowResult {
    Ok(match &row[0] {
        Value::Bytes(bytes) => count(bytes.len()),
        _ => count(text(row, 0).chars().count()),
    })
}

fn joined(between: &str, row: &[Value]) -> RowResult {
    let texts = row.iter().filter(|value| !value.is_null());
    let texts: Vec<String> = texts.map(Value::to_string).collect();
    Ok(Value::String(texts.join(between)))
}

fn concat_ws(row: &[Value]) -> RowResult {
    if row[0].is_null() { Ok(Value::Null) } else { joined(text(row, 0), &row[1..]) }
}

fn substring(row: &[Value]) -> RowResult {
    let from = whole(row, 1);
    let length = text(row, 0).chars().count() as i64;
    let start = if from < 0 { (length + from).max(0) } else { (from - 1).max(0) };
    let take = if row.len() > 2 { whole(row, 2).max(0) } else { length };
    let characters = text(row, 0).chars().skip(start as usize).take(take as usize);
    Ok(Value::String(characters.collect()))
}

fn pad(row: &[Value], left: bool) -> RowResult {
    let (input, length, filler) = (text(row, 0), whole(row, 1), text(row, 2));
    if length < 0 || filler.is_empty() {
        return Ok(Value::Null);
    }
    let length = length as usize;
    if length > RESULT_MAX {
        return Err(RowCause::TooLarge { what: "characters", limit: RESULT_MAX });
    }
    let kept: String = input.chars().take(length).collect();
    let (missing, size) = (length - kept.chars().count(), filler.chars().count());
    // Whole fillers and the beginning of one more.
    let mut fill = filler.repeat(missing / size);
    fill.extend(filler.chars().take(missing % size));
    Ok(Value::String(if left { fill + &kept } else { kept + &fill }))
}

fn replace(row: &[Value]) -> RowResult {
    let (input, old, new) = (text(row, 0), text(row, 1), text(row, 2));
    let added = input.matches(old).count().saturating_mul(new.len());
    if added > RESULT_MAX {
        return Err(RowCause::TooLarge { what: "bytes", limit: RESULT_MAX });
    }
    Ok(Value::String(input.replace(old, new)))
}

fn instr(row: &[Value]) -> RowResult {
    let (haystack, needle) = (text(row, 0), text(row, 1));
    let length = haystack.chars().count() as i64;
    let from = if row.len() > 2 { whole(row, 2) } else { 1 };
    let occurrence = if row.len() > 3 { whole(row, 3) } else { 1 };
    if from == 0 || occurrence < 1 || needle.is_empty() {
        return Ok(Value::Int(0));
    }
    let nth = occurrence as usize - 1;
    let starts = occurrences(haystack, needle);
    let found = if from > 0 {
        starts.iter().filter(|start| **start as i64 >= from - 1).nth(nth)
    } else {
        starts.iter().rev().filter(|start| **start as i64 <= length + from).nth(nth)
    };
    Ok(found.map_or(Value::Int(0), |at| count(at + 1)))
}

/// Where a text stands in another, in characters from 0, overlaps too: by Knuth, Morris and Pratt, so that no two texts
/// take longer than their lengths together.
fn occurrences(haystack: &str, needle: &str) -> Vec<usize> {
    let needle: Vec<char> = needle.chars().collect();
    // How much of the needle is still matched where one character more is not.
    let mut shorter = vec![0; needle.len()];
    let step = |matched: usize, next: char, shorter: &[usize]| {
        let mut matched = matched;
        while matched > 0 && needle.get(matched) != Some(&next) {
            matched = shorter[matched - 1];
        }
        matched + usize::from(needle[matched] == next)
    };
    for at in 1..needle.len() {
        shorter[at] = step(shorter[at - 1], needle[at], &shorter);
    }
    let (mut found, mut matched) = (Vec::new(), 0);
    for (at, next) in haystack.chars().enumerate() {
        matched = step(matched, next, &shorter);
        if matched == needle.len() {
            found.push(at + 1 - needle.len());
        }
    }
    found
}

fn split(row: &[Value]) -> RowResult {
    let (input, delimiter) = (text(row, 0), text(row, 1));
    Ok(match delimiter {
        "" => Value::Array(input.chars().map(|one| Value::String(one.into())).collect()),
        _ => texts(input.split(delimiter)),
    })
}

fn split_to_map(row: &[Value]) -> RowResult {
    let (input, between, inside) = (text(row, 0), text(row, 1), text(row, 2));
    if between.is_empty() || inside.is_empty() {
        return Ok(Value::Null);
    }
    let pairs = input.split(between).filter_map(|entry| entry.split_once(inside));
    Ok(Value::map(
        pairs.map(|(key, value)| (Value::String(key.into()), Value::String(value.into()))),
    ))
}
