//! Functions between texts, bytes and Unicode numbers: hex, utf8, ascii, base64.

use super::function::{Body, Function, Group, RowResult, Type, call, text, whole};
use crate::error::RowCause;
use crate::value::Value;

const S: Type = Type::String;
const N: Type = Type::Int;

const ENCODINGS: &str = "one of hex, utf8, ascii, base64";

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
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
];

fn encode(row: &[Value]) -> RowResult {
    encoded(&decoded(text(row, 0), text(row, 1))?, text(row, 2)).map(Value::String)
}

fn from_bytes(row: &[Value]) -> RowResult {
    match &row[0] {
        Value::Bytes(bytes) => encoded(bytes, text(row, 1)).map(Value::String),
        _ => Ok(Value::Null),
    }
}

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

pub(super) fn from_hex(input: &str) -> Option<Vec<u8>> {
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

fn chr(row: &[Value]) -> RowResult {
    let character = u32::try_from(whole(row, 0)).ok().and_then(char::from_u32);
    Ok(character.map_or(Value::Null, |character| Value::String(character.into())))
}
