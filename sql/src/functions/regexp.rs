//! Functions by regular expressions.
//!
//! A pattern that is constant is compiled once; one that is not, for each row. Either way it takes at most
//! [`REGEX_BYTES_MAX`] bytes.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::function::{
    Body, Function, Group, RESULT_MAX, RowFunction, Type, call, text, texts, whole,
};
use crate::error::RowCause;
use crate::value::Value;

const S: Type = Type::String;
const N: Type = Type::Int;

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
    Group::Text.row(
        "REGEXP_EXTRACT",
        "The first part of the second text that matches the pattern, or a group of it.",
        &[
            call(&[S, S], S, Body::Prepared(regexp_extract)),
            call(&[S, S, N], S, Body::Prepared(regexp_extract)),
        ],
        &[
            ("REGEXP_EXTRACT('([a-z]+)-([0-9]+)', 'x ab-12', 2)", "12"),
            ("REGEXP_EXTRACT('z', 'abc')", "null"),
        ],
    ),
    Group::Text.row(
        "REGEXP_EXTRACT_ALL",
        "All parts of the second text that match the pattern, or a group of it.",
        &[
            call(&[S, S], Type::Array(&S), Body::Prepared(regexp_extract_all)),
            call(&[S, S, N], Type::Array(&S), Body::Prepared(regexp_extract_all)),
        ],
        &[("REGEXP_EXTRACT_ALL('[0-9]+', 'a1b22')", "[1, 22]")],
    ),
    Group::Text.row(
        "REGEXP_REPLACE",
        "The text with each match of the pattern replaced; $1 stands for the first group.",
        &[call(&[S, S, S], S, Body::Prepared(regexp_replace))],
        &[("REGEXP_REPLACE('2024-02', '([0-9]+)-([0-9]+)', '$2/$1')", "02/2024")],
    ),
    Group::Text.row(
        "REGEXP_SPLIT_TO_ARRAY",
        "The parts of a text between matches of the pattern.",
        &[call(&[S, S], Type::Array(&S), Body::Prepared(regexp_split))],
        &[("REGEXP_SPLIT_TO_ARRAY('a1b22c', '[0-9]+')", "[a, b, c]")],
    ),
];

/// The most memory that a compiled regular expression takes, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// The pattern at an index of the arguments: compiled once when it is constant.
#[derive(Clone)]
struct Pattern {
    constant: Option<Regex>,
    index: usize,
}

impl Pattern {
    fn prepare(arguments: &[Option<Value>], index: usize) -> Result<Self, RowCause> {
        let constant = match &arguments[index] {
            Some(Value::String(pattern)) => Some(Self::compile(pattern)?),
            _ => None,
        };
        Ok(Self { constant, index })
    }

    fn compile(pattern: &str) -> Result<Regex, RowCause> {
        let compiled = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
        compiled.map_err(|_| RowCause::argument(pattern, "a regular expression of a moderate size"))
    }

    fn of(&self, row: &[Value]) -> Result<Regex, RowCause> {
        match &self.constant {
            Some(regex) => Ok(regex.clone()),
            None => Self::compile(text(row, self.index)),
        }
    }
}

fn group(row: &[Value]) -> usize {
    if row.len() > 2 { usize::try_from(whole(row, 2)).unwrap_or(usize::MAX) } else { 0 }
}

fn regexp_extract(arguments: &[Option<Value>]) -> Result<RowFunction, RowCause> {
    let pattern = Pattern::prepare(arguments, 0)?;
    Ok(Arc::new(move |row| {
        let found = pattern.of(row)?.captures(text(row, 1)).and_then(|all| all.get(group(row)));
        Ok(found.map_or(Value::Null, |found| Value::String(found.as_str().to_owned())))
    }))
}

fn regexp_extract_all(arguments: &[Option<Value>]) -> Result<RowFunction, RowCause> {
    let pattern = Pattern::prepare(arguments, 0)?;
    Ok(Arc::new(move |row| {
        let regex = pattern.of(row)?;
        let found = regex.captures_iter(text(row, 1)).filter_map(|all| all.get(group(row)));
        Ok(texts(found.map(|found| found.as_str())))
    }))
}

fn regexp_replace(arguments: &[Option<Value>]) -> Result<RowFunction, RowCause> {
    let pattern = Pattern::prepare(arguments, 1)?;
    Ok(Arc::new(move |row| {
        let (input, new) = (text(row, 0), text(row, 2));
        let groups = new.matches('$').count();
        let (mut replaced, mut done) = (String::new(), 0);
        for captures in pattern.of(row)?.captures_iter(input) {
            let Some(whole) = captures.get(0) else { continue };
            // No group is longer than the whole match.
            let added = new.len() + groups.saturating_mul(whole.len()) + whole.start() - done;
            if replaced.len().saturating_add(added) > RESULT_MAX.max(input.len()) {
                return Err(RowCause::TooLarge { what: "bytes", limit: RESULT_MAX });
            }
            replaced.push_str(&input[done..whole.start()]);
            captures.expand(new, &mut replaced);
            done = whole.end();
        }
        replaced.push_str(&input[done..]);
        Ok(Value::String(replaced))
    }))
}

fn regexp_split(arguments: &[Option<Value>]) -> Result<RowFunction, RowCause> {
    let pattern = Pattern::prepare(arguments, 1)?;
    Ok(Arc::new(move |row| Ok(texts(pattern.of(row)?.split(text(row, 0))))))
}
