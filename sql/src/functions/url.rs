//! Functions on URLs and their parameters.
//!
//! A URL is cut at its delimiters, whatever else it holds: nothing is checked, decoded or made canonical.

use super::encoding::from_hex;
use super::function::{Body, Function, Group, RowResult, Type, call, text};
use crate::error::RowCause;
use crate::value::Value;

const S: Type = Type::String;
const N: Type = Type::Int;

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
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
