//! All functions in one table: what compiling looks up, SHOW FUNCTIONS lists and the documentation shows.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::OnceLock;

use super::function::{Function, Group};
use super::{encoding, json, mask, nested, number, regexp, text, time, url};

/// Functions over many rows. What they compute is the processor's; a name among these is no function of one row.
const AGGREGATES: [&str; 17] = [
    "AVG",
    "ATTR",
    "COLLECT_LIST",
    "COLLECT_SET",
    "CORRELATION",
    "COUNT",
    "COUNT_DISTINCT",
    "EARLIEST_BY_OFFSET",
    "HISTOGRAM",
    "LATEST_BY_OFFSET",
    "MAX",
    "MIN",
    "STDDEV_SAMP",
    "SUM",
    "TOPK",
    "TOPKDISTINCT",
    "STDDEV_SAMPLE",
];

/// All functions, by group and in the order of their tables.
pub fn all() -> impl Iterator<Item = &'static Function> {
    let tables = [
        text::FUNCTIONS,
        regexp::FUNCTIONS,
        mask::FUNCTIONS,
        encoding::FUNCTIONS,
        url::FUNCTIONS,
        number::FUNCTIONS,
        time::FUNCTIONS,
        json::FUNCTIONS,
        nested::FUNCTIONS,
    ];
    tables.into_iter().flatten()
}

/// The function of that name, in upper case.
pub fn find(name: &str) -> Option<&'static Function> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static Function>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| all().map(|function| (function.name, function)).collect());
    by_name.get(name).copied()
}

/// Whether the name, in upper case, is that of an aggregate.
pub fn is_aggregate(name: &str) -> bool {
    AGGREGATES.contains(&name)
}

/// The table of functions as Markdown, for the documentation.
pub fn markdown() -> String {
    let mut written = String::new();
    for (group, title) in [
        (Group::Text, "Text"),
        (Group::Number, "Numbers and choices"),
        (Group::Time, "Time"),
        (Group::Nested, "Arrays, maps and JSON"),
    ] {
        let head = "| call | what it gives | example |\n|---|---|---|";
        // Writing to a String can't fail.
        let _ = writeln!(written, "### {title}\n\n{head}");
        for function in all().filter(|function| function.group == group) {
            let calls: Vec<_> = function.calls().iter().map(|call| format!("`{call}`")).collect();
            let (expression, result) = function.examples.first().copied().unwrap_or_default();
            let (calls, doc) = (calls.join("<br>"), function.doc);
            let _ = writeln!(written, "| {calls} | {doc} | `{expression}` is `{result}` |");
        }
        let _ = writeln!(written);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::compile;
    use crate::schema::Schema;

    #[test]
    fn names_are_unique_and_explained() {
        let mut seen = std::collections::HashSet::new();
        for function in all() {
            assert!(seen.insert(function.name), "{} is there twice", function.name);
            assert!(!function.doc.is_empty() && !function.examples.is_empty());
            assert!(!is_aggregate(function.name));
            assert_eq!(find(function.name).map(|found| found.name), Some(function.name));
        }
    }

    #[test]
    fn every_example_gives_what_it_says() {
        for (expression, expected) in all().flat_map(|function| function.examples) {
            let parsed = crate::parse::expression(expression).unwrap();
            let compiled = compile(&parsed, &Schema::default())
                .unwrap_or_else(|error| panic!("{expression}: {error}"));
            let value = compiled.constant().unwrap_or_else(|| panic!("{expression} has columns"));
            let value = value.unwrap_or_else(|cause| panic!("{expression}: {cause}"));
            assert_eq!(value.to_string(), *expected, "{expression}");
            assert!(
                value.is_of(compiled.sql_type()),
                "{expression} is not {}",
                compiled.sql_type()
            );
        }
    }

    #[test]
    fn a_null_argument_is_refused_by_none() {
        for function in all() {
            for signature in function.signatures {
                let nulls = vec!["NULL"; signature.takes.len()].join(", ");
                let call = format!("{}({nulls})", function.name);
                let parsed = crate::parse::expression(&call).unwrap();
                if let Ok(compiled) = compile(&parsed, &Schema::default()) {
                    assert!(compiled.constant().unwrap().is_ok(), "{call}");
                }
            }
        }
    }
}
