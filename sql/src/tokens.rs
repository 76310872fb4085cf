//! Text to tokens with their places; a script to its statements; `${variable}` to its value.
//!
//! Two generations of the dialect are folded into one here: a backslash at the end of a line is nothing, names in
//! backticks and in double quotes are the same. No grammar: see [`crate::parse`].

use crate::error::{Cause, Opened, Place, Result, SqlError};

/// The longest text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// The most statements one text may have.
pub const STATEMENTS_MAX: usize = 10_000;

/// The most words, names, literals and symbols one statement may have. What is made of a statement takes hundreds of bytes
/// for each of them.
pub const TOKENS_MAX: usize = 50_000;

/// Symbols, longer ones before their beginnings.
const SYMBOLS: [&str; 33] = [
    "->", "=>", ":=", "<=", ">=", "<>", "!=", "||", "(", ")", "[", "]", "{", "}", "<", ">", "=",
    "+", "-", "*", "/", "%", ",", ";", ".", ":", "$", "&", "|", "^", "?", "#", "~",
];

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A keyword or an unquoted name, in upper case.
    Word(String),
    /// A quoted name, as written between the quotes.
    Name(String),
    /// A text literal, its quotes taken off.
    Text(String),
    /// A number: digits, perhaps a point and an exponent.
    Number(String),
    /// One of the symbols.
    Symbol(&'static str),
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The token.
    pub token: Token,
    /// Its first character.
    pub place: Place,
    /// The first character behind it.
    pub behind: Place,
    /// Its bytes in the text: `start..end`.
    pub start: usize,
    /// See `start`.
    pub end: usize,
}

/// All tokens of a text whose first character stands at `from`.
///
/// # Errors
/// [`Cause::Unclosed`], [`Cause::Character`], [`Cause::TooLong`] or [`Cause::TooMany`].
pub fn tokens(text: &str, from: Place) -> Result<Vec<Piece>> {
    if text.len() > TEXT_BYTES_MAX {
        let cause = Cause::TooLong { bytes: text.len(), limit: TEXT_BYTES_MAX };
        return Err(SqlError::new(from, cause));
    }
    let mut scanner = Scanner { text, at: 0, place: from };
    let mut pieces = Vec::new();
    while scanner.skip_blanks()? {
        let (start, place) = (scanner.at, scanner.place);
        if pieces.len() == TOKENS_MAX {
            let what = "words, literals and symbols in one statement";
            return Err(SqlError::new(place, Cause::TooMany { what, limit: TOKENS_MAX }));
        }
        let token = scanner.token()?;
        pieces.push(Piece { token, place, behind: scanner.place, start, end: scanner.at });
    }
    Ok(pieces)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    place: Place,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        if next == '\n' {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        Some(next)
    }

    fn bump_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&keep) {
            self.bump();
        }
        &self.text[start..self.at]
    }

    fn bump_by(&mut self, characters: usize) {
        for _ in 0..characters {
            self.bump();
        }
    }

    /// Goes to the next token; false at the end of the text.
    fn skip_blanks(&mut self) -> Result<bool> {
        loop {
            self.bump_while(char::is_whitespace);
            let rest = self.rest();
            if rest.starts_with("--") {
                self.bump_while(|c| c != '\n');
            } else if rest.starts_with("/*") {
                self.skip_comment()?;
            } else if rest.starts_with('\\') && ends_line(&rest[1..]) {
                self.bump();
            } else {
                return Ok(!rest.is_empty());
            }
        }
    }

    fn skip_comment(&mut self) -> Result<()> {
        let open = self.place;
        while !self.rest().starts_with("*/") {
            if self.bump().is_none() {
                return Err(SqlError::new(open, Cause::Unclosed { what: Opened::Comment }));
            }
        }
        self.bump();
        self.bump();
        Ok(())
    }

    fn token(&mut self) -> Result<Token> {
        let place = self.place;
        let next = self.peek().unwrap_or('\0');
        if next.is_alphabetic() || next == '_' {
            let in_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '@');
            return Ok(Token::Word(self.bump_while(in_word).to_uppercase()));
        }
        if next.is_ascii_digit() {
            return Ok(Token::Number(self.number()));
        }
        match next {
            '\'' => return self.quoted(Opened::Text).map(Token::Text),
            '`' | '"' => return self.quoted_name().map(Token::Name),
            _ => {}
        }
        let rest = self.rest();
        match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) => {
                self.bump_by(symbol.len());
                Ok(Token::Symbol(symbol))
            }
            None => Err(SqlError::new(place, Cause::Character { character: next })),
        }
    }

    fn number(&mut self) -> String {
        let start = self.at;
        let digit = |c: char| c.is_ascii_digit();
        self.bump_while(digit);
        let mut rest = self.rest().chars();
        if rest.next() == Some('.') && rest.next().is_some_and(digit) {
            self.bump();
            self.bump_while(digit);
        }
        let exponent = self.rest().strip_prefix(['e', 'E']).map(|rest| {
            let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            (rest.len() - digits.len(), digits.starts_with(digit))
        });
        if let Some((sign, true)) = exponent {
            self.bump_by(1 + sign);
            self.bump_while(digit);
        }
        self.text[start..self.at].to_owned()
    }

    /// Reads to the closing quote; a doubled quote is one of the characters.
    fn quoted_name(&mut self) -> Result<String> {
        let place = self.place;
        let name = self.quoted(Opened::Name)?;
        if name.is_empty() {
            let (found, expected) = ("two quotes".into(), "a name between them".into());
            return Err(SqlError::new(place, Cause::Unexpected { found, expected }));
        }
        Ok(name)
    }

    fn quoted(&mut self, what: Opened) -> Result<String> {
        let open = self.place;
        let quote = self.bump();
        let mut content = String::new();
        while let Some(next) = self.bump() {
            if Some(next) != quote {
                content.push(next);
            } else if self.peek() == quote {
                content.push(next);
                self.bump();
            } else {
                return Ok(content);
            }
        }
        Err(SqlError::new(open, Cause::Unclosed { what }))
    }
}

fn ends_line(rest: &str) -> bool {
    rest.trim_start_matches([' ', '\t', '\r']).is_empty()
        || rest.trim_start_matches([' ', '\t', '\r']).starts_with('\n')
}

/// One statement of a script, not yet parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementText {
    /// Its text without the semicolon.
    pub text: String,
    /// Where its first token stands in the script.
    pub place: Place,
    /// Whether a semicolon ended it; only the last of a script can lack one.
    pub terminated: bool,
}

/// Cuts a script into statements at its semicolons; empty ones are left out.
///
/// It is cut before variables are replaced, so a DEFINE can act on the statements after it.
///
/// ```
/// let script = "SHOW TOPICS; -- all; of them\nSELECT 'a;b' FROM x";
/// let statements = thalweg_sql::tokens::split(script).unwrap();
/// assert_eq!(statements[1].text, "SELECT 'a;b' FROM x");
/// assert_eq!(statements[1].place.line, 2);
/// ```
///
/// # Errors
/// As [`tokens`], and [`Cause::TooMany`].
pub fn split(script: &str) -> Result<Vec<StatementText>> {
    let mut statements = Vec::new();
    for pieces in tokens(script, Place::START)?.split_inclusive(is_semicolon) {
        let terminated = pieces.last().is_some_and(is_semicolon);
        let body = &pieces[..pieces.len() - usize::from(terminated)];
        let ([first, ..], Some(last)) = (body, body.last()) else { continue };
        if statements.len() == STATEMENTS_MAX {
            let cause = Cause::TooMany { what: "statements", limit: STATEMENTS_MAX };
            return Err(SqlError::new(first.place, cause));
        }
        let text = script[first.start..last.end].to_owned();
        statements.push(StatementText { text, place: first.place, terminated });
    }
    Ok(statements)
}

fn is_semicolon(piece: &Piece) -> bool {
    piece.token == Token::Symbol(";")
}

/// What a shell that reads line by line has so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Nothing but blanks and comments.
    Empty,
    /// The last statement has no semicolon yet, or a quote or comment is open.
    Partial,
    /// Every statement has its semicolon, or the text can never become right: parse it.
    Complete,
}

/// Whether the text so far is ready to be parsed.
pub fn completeness(text: &str) -> Completeness {
    match tokens(text, Place::START) {
        Ok(pieces) => match pieces.last() {
            None => Completeness::Empty,
            Some(last) if is_semicolon(last) => Completeness::Complete,
            Some(_) => Completeness::Partial,
        },
        Err(SqlError { cause: Cause::Unclosed { .. }, .. }) => Completeness::Partial,
        Err(_) => Completeness::Complete,
    }
}

/// Puts values in place of `${name}`, also inside quotes; `$${name}` becomes `${name}`.
///
/// # Errors
/// [`Cause::UnknownVariable`] when a name has no value, [`Cause::TooLong`] when the text grows too long.
pub fn substitute<'v>(
    statement: &StatementText,
    value_of: impl Fn(&str) -> Option<&'v str>,
) -> Result<StatementText> {
    let mut text = String::with_capacity(statement.text.len());
    let mut rest = statement.text.as_str();
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        let Some((name, behind)) = after.split_once('}') else { break };
        if let Some(before) = before.strip_suffix('$') {
            text.push_str(before);
            text.push_str(&rest[at..at + 3 + name.len()]);
        } else {
            let unknown = || Cause::UnknownVariable { name: name.chars().take(60).collect() };
            let value = value_of(name).ok_or_else(|| SqlError::new(statement.place, unknown()))?;
            text.push_str(before);
            text.push_str(value);
        }
        rest = behind;
        if text.len() > TEXT_BYTES_MAX {
            let cause = Cause::TooLong { bytes: text.len(), limit: TEXT_BYTES_MAX };
            return Err(SqlError::new(statement.place, cause));
        }
    }
    text.push_str(rest);
    Ok(StatementText { text, ..*statement })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::words::quoted;

    #[test]
    fn both_generations_read_the_same() {
        let old = tokens("select \"a b\" \\\n from `x`", Place::START).unwrap();
        let new = tokens("SELECT `a b` FROM `x`", Place::START).unwrap();
        let only = |pieces: Vec<Piece>| pieces.into_iter().map(|p| p.token).collect::<Vec<_>>();
        assert_eq!(only(old), only(new));
    }

    #[test]
    fn numbers_end_where_they_end() {
        let found = tokens("1.5e-3 1.x 2e", Place::START).unwrap();
        let number = |text: &str| Token::Number(text.into());
        assert_eq!(found[0].token, number("1.5e-3"));
        assert_eq!(found[1].token, number("1"));
        assert_eq!(found[2].token, Token::Symbol("."));
        assert_eq!(found[4].token, number("2"));
    }

    #[test]
    fn a_shell_waits_for_the_semicolon() {
        assert_eq!(completeness(" -- nothing"), Completeness::Empty);
        assert_eq!(completeness("SHOW TOPICS"), Completeness::Partial);
        assert_eq!(completeness("SELECT ';"), Completeness::Partial);
        assert_eq!(completeness("SHOW TOPICS; -- done"), Completeness::Complete);
        assert_eq!(completeness("SHOW \u{1};"), Completeness::Complete);
    }

    #[test]
    fn variables_are_replaced_and_may_be_escaped() {
        let statement =
            |text: &str| StatementText { text: text.into(), place: Place::START, terminated: true };
        let values = |name: &str| (name == "t").then_some("ratings");
        let found = substitute(&statement("PRINT '${t}' $${t}"), values).unwrap();
        assert_eq!(found.text, "PRINT 'ratings' ${t}");
        let refused = substitute(&statement("${u}"), values).unwrap_err();
        assert_eq!(refused.cause, Cause::UnknownVariable { name: "u".into() });
    }

    #[test]
    fn a_name_has_a_character_at_least() {
        for empty in ["SELECT ``", "SELECT \"\""] {
            let refused = tokens(empty, Place::START).unwrap_err();
            assert_eq!((refused.place.column, refused.to_string().contains("a name")), (8, true));
        }
        assert_eq!(tokens("````", Place::START).unwrap()[0].token, Token::Name("`".into()));
    }

    #[test]
    fn limits_hold() {
        let wide = format!("1{}", ",1".repeat(TOKENS_MAX / 2));
        let start = Place::START;
        let error = tokens(&wide, start).unwrap_err();
        assert!(matches!(error.cause, Cause::TooMany { limit: TOKENS_MAX, .. }), "{error}");
        assert_eq!(tokens(&wide[2..], start).unwrap().len(), TOKENS_MAX - 1);
        let many = split(&"a;".repeat(STATEMENTS_MAX + 1)).unwrap_err();
        assert!(matches!(many.cause, Cause::TooMany { .. }));
        let long = split(&" ".repeat(TEXT_BYTES_MAX + 1)).unwrap_err();
        assert!(matches!(long.cause, Cause::TooLong { .. }));
    }

    proptest! {
        #[test]
        fn any_text_is_cut_or_refused(text in "\\PC{0,80}|[a-z'`\"$;{}/*\\\\ \n-]{0,80}") {
            let _ = split(&text);
            let _ = completeness(&text);
        }

        #[test]
        fn a_quoted_name_reads_back(name in "\\PC{1,12}") {
            let found = tokens(&quoted(&name).to_string(), Place::START).unwrap();
            prop_assert_eq!(found.len(), 1);
            match &found[0].token {
                Token::Word(found) | Token::Name(found) => prop_assert_eq!(found, &name),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
