//! JSON taken apart without changing a byte of it: members and elements as the text they are.
//!
//! A value that is passed on must arrive as it was written: building a tree and writing it anew would sort fields
//! and round numbers. So a value's text is cut out at the place where the parser says it ends.

use serde::de::IgnoredAny;

/// White space as JSON defines it.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The members of an object, each name with the text of its value. `None` when the text is not one JSON object.
pub(super) fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let mut rest = text.trim_matches(SPACE).strip_prefix('{')?.trim_start_matches(SPACE);
    let mut members = Vec::new();
    if rest == "}" {
        return Some(members);
    }
    loop {
        let (name, behind) = split_value(rest)?;
        let name = serde_json::from_str(name).ok()?;
        let (value, behind) = split_value(behind.trim_start_matches(SPACE).strip_prefix(':')?)?;
        members.push((name, value));
        match behind.trim_start_matches(SPACE) {
            "}" => return Some(members),
            more => rest = more.strip_prefix(',')?,
        }
    }
}

/// The elements of an array, each as its text. `None` when the text is not one JSON array.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let mut rest = text.trim_matches(SPACE).strip_prefix('[')?.trim_start_matches(SPACE);
    let mut elements = Vec::new();
    if rest == "]" {
        return Some(elements);
    }
    loop {
        let (value, behind) = split_value(rest)?;
        elements.push(value);
        match behind.trim_start_matches(SPACE) {
            "]" => return Some(elements),
            more => rest = more.strip_prefix(',')?,
        }
    }
}

/// One value from the front of a text, and what follows it.
fn split_value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(SPACE);
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    text.split_at_checked(values.byte_offset())
}

/// What a scalar stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    /// `null`.
    Null,
    /// The content of a string.
    Text(String),
    /// Any other value, as its text.
    Other(&'a str),
}

/// The meaning of one JSON value. `None` for a string that stands for no text (a lone surrogate).
pub(super) fn scalar(text: &str) -> Option<Scalar<'_>> {
    match text {
        "null" => Some(Scalar::Null),
        string if string.starts_with('"') => serde_json::from_str(string).ok().map(Scalar::Text),
        other => Some(Scalar::Other(other)),
    }
}

/// Why a field of a JSON line does not give a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    /// The line, or what a step of the path leads to, is not an object.
    #[error("{place} is not a JSON object")]
    NotAnObject {
        /// "the line", or the path up to there.
        place: String,
    },
    /// There is no such field.
    #[error("the field {path} is missing")]
    Missing {
        /// The path up to the field that is missing.
        path: String,
    },
    /// The field is null, so it cannot be a key.
    #[error("the field {path} is null")]
    Null {
        /// The whole path.
        path: String,
    },
}

/// The bytes of the field at a path of names joined by dots: of a string its content, of anything else its JSON
/// text. Where a name occurs twice, the last one counts.
pub(crate) fn scalar_at(text: &str, path: &str) -> Result<Vec<u8>, FieldError> {
    let mut current = text;
    let mut walked = String::new();
    for name in path.split('.') {
        let found = members(current).ok_or_else(|| FieldError::NotAnObject {
            place: if walked.is_empty() { "the line".to_owned() } else { walked.clone() },
        })?;
        if !walked.is_empty() {
            walked.push('.');
        }
        walked.push_str(name);
        current = found
            .iter()
            .rfind(|(known, _)| known == name)
            .map(|(_, value)| *value)
            .ok_or_else(|| FieldError::Missing { path: walked.clone() })?;
    }
    match scalar(current) {
        Some(Scalar::Text(text)) => Ok(text.into_bytes()),
        Some(Scalar::Other(text)) => Ok(text.as_bytes().to_vec()),
        Some(Scalar::Null) | None => Err(FieldError::Null { path: walked }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_keep_their_text() {
        let text = r#" {"b": 1.00, "a":{"z":1,"y":[2 , 3]} ,"n":12345678901234567890123, "s":"\u00fc\"" } "#;
        let found = members(text).unwrap();
        let expected = [
            ("b", "1.00"),
            ("a", r#"{"z":1,"y":[2 , 3]}"#),
            ("n", "12345678901234567890123"),
            ("s", r#""\u00fc\"""#),
        ];
        assert_eq!(found.len(), expected.len());
        for ((name, value), (expected_name, expected_value)) in found.iter().zip(expected) {
            assert_eq!((name.as_str(), *value), (expected_name, expected_value));
        }
        assert_eq!(members("{ }"), Some(vec![]));
        assert_eq!(elements("[1, [2,3],\"x\"]"), Some(vec!["1", "[2,3]", "\"x\""]));
        assert_eq!(elements("[ ]"), Some(vec![]));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for bad in [
            "",
            "{",
            "}",
            "[]",
            "1",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1}x",
            "{\"a\":1} {}",
            "{1:2}",
            "{,}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":01}",
        ] {
            assert_eq!(members(bad), None, "{bad}");
        }
        for bad in ["", "[", "{}", "[1,]", "[1 2]", "[1]]", "[,]"] {
            assert_eq!(elements(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_is_found_along_its_path() {
        let line = r#"{"id":"c1","at":{"shop":{"no":17.50}},"none":null,"id":"c2"}"#;
        assert_eq!(scalar_at(line, "id"), Ok(b"c2".to_vec()));
        assert_eq!(scalar_at(line, "at.shop.no"), Ok(b"17.50".to_vec()));
        assert_eq!(scalar_at(line, "at.shop"), Ok(br#"{"no":17.50}"#.to_vec()));
        assert_eq!(scalar_at(line, "none"), Err(FieldError::Null { path: "none".into() }));
        assert_eq!(scalar_at(line, "at.town"), Err(FieldError::Missing { path: "at.town".into() }));
        assert_eq!(scalar_at(line, "id.x"), Err(FieldError::NotAnObject { place: "id".into() }));
        assert_eq!(
            scalar_at("[1]", "id"),
            Err(FieldError::NotAnObject { place: "the line".into() })
        );
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused(text in "[\\[\\]{}:,\"a1 \\\\]{0,20}") {
            let valid = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(members(&text).is_some(), valid.as_ref().is_ok_and(|value| value.is_object()));
            prop_assert_eq!(elements(&text).is_some(), valid.is_ok_and(|value| value.is_array()));
        }
    }
}
