//! Words of the language and how names and texts are written: which words are reserved, when a name needs quotes.
//!
//! Reading them is `tokens.rs`.

use std::fmt;

/// Words that are never a name unless quoted.
const RESERVED: [&str; 40] = [
    "AND", "AS", "BETWEEN", "BY", "CASE", "CAST", "CREATE", "DISTINCT", "ELSE", "EMIT", "END",
    "FALSE", "FROM", "FULL", "GROUP", "HAVING", "IN", "INNER", "INSERT", "INTO", "IS", "JOIN",
    "LEFT", "LIKE", "LIMIT", "NOT", "NULL", "ON", "OR", "ORDER", "OUTER", "RIGHT", "SELECT",
    "THEN", "TRUE", "WHEN", "WHERE", "WINDOW", "WITH", "WITHIN",
];

/// Words that are a name where nothing else can stand; they are written in quotes to be sure.
const QUOTED: [&str; 15] = [
    "ADVANCE",
    "ALL",
    "ARRAY",
    "CONNECTOR",
    "DESC",
    "ESCAPE",
    "EXISTS",
    "EXTENDED",
    "FUNCTION",
    "GRACE",
    "IF",
    "MAP",
    "PARTITION",
    "STRUCT",
    "VALUES",
];

/// Whether a word, in upper case, is never a name unless quoted.
pub fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word).is_ok()
}

/// Whether a word, in upper case, could be read as something else than a name somewhere.
pub fn is_quoted_when_printed(word: &str) -> bool {
    is_reserved(word) || QUOTED.binary_search(&word).is_ok()
}

/// A name as it must be written: in backticks where it would otherwise be read as something else.
pub fn quoted(name: &str) -> Quoted<'_> {
    Quoted(name)
}

/// Writes a name; see [`quoted`].
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let starts = self.0.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
        if starts && self.0.bytes().all(plain) && !is_quoted_when_printed(self.0) {
            f.write_str(self.0)
        } else {
            write!(f, "`{}`", self.0.replace('`', "``"))
        }
    }
}

/// A text as a SQL literal: in single quotes, inner ones doubled.
pub fn text_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_for_the_search() {
        assert!(RESERVED.is_sorted() && QUOTED.is_sorted());
    }
}
