//! Functions on texts.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::function::{
    Body, Function, Group, RESULT_MAX, RowFunction, RowResult, Signature, Type, call, text, whole,
};
use super::nested::map_of;
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
    Group::Text.row(
        "ENCODE",
        "A text from one of hex, utf8, ascii, base64 to another.",
        &[call(&[S, S, S], S, Body::Row(encode))],
        &[("ENCODE('hi', 'utf8', 'base64')", "aGk="), ("ENCODE('6869', 'hex', 'ascii')", "hi")],
    ),
    Group::Text.row(
        "TO_BYTES",
        "The bytes that a text in hex, utf8, ascii or base64 stands for.",
        &[call(
            &[S, S],
            Type::Bytes,
            Body::Row(|row| decoded(text(row, 0), text(row, 1)).map(Value::Bytes)),
        )],
        &[("TO_BYTES('aGk=', 'base64')", "6869")],
    ),
    Group::Text.row(
        "FROM_BYTES",
        "Bytes as a text in hex, utf8, ascii or base64.",
        &[call(&[Type::Bytes, S], S, Body::Row(from_bytes))],
        &[("FROM_BYTES(TO_BYTES('hi', 'utf8'), 'hex')", "6869")],
    ),
    Group::Text.row(
        "CHR",
        "The character of a Unicode number.",
        &[call(&[N], S, Body::Row(chr))],
        &[("CHR(75)", "K")],
    ),
    Group::Text.row(
        "URL_ENCODE_PARAM",
        "The text as a parameter of a URL.",
        &[call(&[S], S, Body::Text(url_encode))],
        &[("URL_ENCODE_PARAM('a b&c')", "a+b%26c")],
    ),
    Group::Text.row(
        "URL_DECODE_PARAM",
        "The text that a parameter of a URL stands for.",
        &[call(&[S], S, Body::Row(url_decode))],
        &[("URL_DECODE_PARAM('a+b%26c')", "a b&c")],
    ),
    Group::Text.row(
        "URL_EXTRACT_PROTOCOL",
        "The protocol of a URL.",
        &[call(&[S], S, Body::Row(|row| part(row, |url| url.protocol)))],
        &[("URL_EXTRACT_PROTOCOL('https://x.org/a')", "https")],
    ),
    Group::Text.row(
        "URL_EXTRACT_HOST",
        "The host of a URL.",
        &[call(&[S], S, Body::Row(|row| part(row, |url| url.host)))],
        &[("URL_EXTRACT_HOST('https://u@x.org:8080/a')", "x.org")],
    ),
    Group::Text.row(
        "URL_EXTRACT_PORT",
        "The port of a URL.",
        &[call(&[S], N, Body::Row(url_port))],
        &[("URL_EXTRACT_PORT('https://x.org:8080/a')", "8080")],
    ),
    Group::Text.row(
        "URL_EXTRACT_PATH",
        "The path of a URL.",
        &[call(&[S], S, Body::Row(|row| part(row, |url| Some(url.path))))],
        &[("URL_EXTRACT_PATH('https://x.org/a/b?c=1')", "/a/b")],
    ),
    Group::Text.row(
        "URL_EXTRACT_QUERY",
        "The query of a URL.",
        &[call(&[S], S, Body::Row(|row| part(row, |url| url.query)))],
        &[("URL_EXTRACT_QUERY('https://x.org/a?c=1#d')", "c=1")],
    ),
    Group::Text.row(
        "URL_EXTRACT_FRAGMENT",
        "The fragment of a URL.",
        &[call(&[S], S, Body::Row(|row| part(row, |url| url.fragment)))],
        &[("URL_EXTRACT_FRAGMENT('https://x.org/a?c=1#d')", "d")],
    ),
    Group::Text.row(
        "URL_EXTRACT_PARAMETER",
        "One parameter of the query of a URL.",
        &[call(&[S, S], S, Body::Row(url_parameter))],
        &[("URL_EXTRACT_PARAMETER('https://x.org/?a=1&b=x+y', 'b')", "x y")],
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

fn texts<'t>(parts: impl Iterator<Item = &'t str>) -> Value {
    Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
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
    Ok(map_of(pairs.map(|(key, value)| (Value::String(key.into()), Value::String(value.into())))))
}

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

fn chr(row: &[Value]) -> RowResult {
    let character = u32::try_from(whole(row, 0)).ok().and_then(char::from_u32);
    Ok(character.map_or(Value::Null, |character| Value::String(character.into())))
}

const ENCODINGS: &str = "one of hex, utf8, ascii, base64";

fn decoded(input: &str, encoding: &str) -> Result<Vec<u8>, RowCause> {
    match encoding.to_ascii_lowercase().as_str() {
        "utf8" => Ok(input.as_bytes().to_vec()),
        "ascii" if input.is_ascii() => Ok(input.as_bytes().to_vec()),
        "ascii" => Err(RowCause::argument(input, "ASCII")),
        "hex" => from_hex(input).ok_or_else(|| RowCause::argument(input, "hexadecimal")),
        "base64" => from_base64(input).ok_or_else(|| RowCause::argument(input, "Base64")),
        _ => Err(RowCause::argument(encoding, ENCODINGS)),
    }
}

fn encoded(bytes: &[u8], encoding: &str) -> Result<String, RowCause> {
    match encoding.to_ascii_lowercase().as_str() {
        "utf8" => Ok(String::from_utf8_lossy(bytes).into_owned()),
        "ascii" => Ok(bytes.iter().map(|b| if b.is_ascii() { *b as char } else { '?' }).collect()),
        "hex" => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        "base64" => Ok(to_base64(bytes)),
        _ => Err(RowCause::argument(encoding, ENCODINGS)),
    }
}

fn encode(row: &[Value]) -> RowResult {
    encoded(&decoded(text(row, 0), text(row, 1))?, text(row, 2)).map(Value::String)
}

fn from_bytes(row: &[Value]) -> RowResult {
    match &row[0] {
        Value::Bytes(bytes) => encoded(bytes, text(row, 1)).map(Value::String),
        _ => Ok(Value::Null),
    }
}

fn from_hex(input: &str) -> Option<Vec<u8>> {
    let digits = input.strip_prefix("0x").unwrap_or(input).as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(pair).collect())?
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn to_base64(bytes: &[u8]) -> String {
    let mut result = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let character = BASE64[(bits >> (18 - 6 * digit) & 63) as usize] as char;
            result.push(if digit <= chunk.len() { character } else { '=' });
        }
    }
    result
}

fn from_base64(input: &str) -> Option<Vec<u8>> {
    let digits = input.trim_end_matches('=').as_bytes();
    let (mut bits, mut count) = (0_u32, 0_u32);
    let mut result = Vec::with_capacity(digits.len() * 3 / 4);
    for digit in digits {
        let value = BASE64.iter().position(|found| found == digit)? as u32;
        bits = (bits << 6 | value) & 0xFFFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            result.push((bits >> count & 0xFF) as u8);
        }
    }
    (digits.len() % 4 != 1).then_some(result)
}

fn url_encode(input: &str) -> String {
    let mut result = String::with_capacity(input.len());
    for byte in input.bytes() {
        match byte {
            b' ' => result.push('+'),
            b'.' | b'-' | b'*' | b'_' => result.push(byte as char),
            _ if byte.is_ascii_alphanumeric() => result.push(byte as char),
            _ => result.push_str(&format!("%{byte:02X}")),
        }
    }
    result
}

fn url_decoded(input: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(input.len());
    let mut rest = input.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let pair = [rest.next()?, rest.next()?];
                bytes.extend(from_hex(std::str::from_utf8(&pair).ok()?)?);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn url_decode(row: &[Value]) -> RowResult {
    let decoded = url_decoded(text(row, 0)).map(Value::String);
    decoded.ok_or_else(|| RowCause::argument(text(row, 0), "an encoded parameter of a URL"))
}

/// The parts of a URL, as written.
struct Url<'a> {
    protocol: Option<&'a str>,
    host: Option<&'a str>,
    port: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn read(url: &'a str) -> Self {
        let (url, fragment) = cut(url, '#');
        let (url, query) = cut(url, '?');
        let (protocol, rest) = match url.split_once("://") {
            Some((protocol, rest)) => (Some(protocol), Some(rest)),
            None => (None, None),
        };
        let (host, port, path) = match rest {
            None => (None, None, url),
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                let bracket = host.rfind(']').unwrap_or(0);
                match host[bracket..].rfind(':') {
                    Some(colon) => {
                        (Some(&host[..bracket + colon]), Some(&host[bracket + colon + 1..]), path)
                    }
                    None => (Some(host), None, path),
                }
            }
        };
        Self { protocol, host, port, path, query, fragment }
    }
}

fn cut(url: &str, at: char) -> (&str, Option<&str>) {
    url.split_once(at).map_or((url, None), |(before, after)| (before, Some(after)))
}

fn part(row: &[Value], of: for<'a> fn(Url<'a>) -> Option<&'a str>) -> RowResult {
    let part = of(Url::read(text(row, 0)));
    Ok(part.map_or(Value::Null, |part| Value::String(part.to_owned())))
}

fn url_port(row: &[Value]) -> RowResult {
    let port = Url::read(text(row, 0)).port.and_then(|port| port.parse().ok());
    Ok(port.map_or(Value::Null, Value::Int))
}

fn url_parameter(row: &[Value]) -> RowResult {
    let pairs = Url::read(text(row, 0)).query.unwrap_or_default().split('&');
    let mut found = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let value = found.find(|(name, _)| url_decoded(name).as_deref() == Some(text(row, 1)));
    Ok(value.and_then(|(_, value)| url_decoded(value)).map_or(Value::Null, Value::String))
}
