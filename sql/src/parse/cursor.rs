//! A place in a list of tokens: looking ahead, taking what is expected, saying what is wrong.

use crate::ast::Name;
use crate::error::{Cause, Place, Result, SqlError};
use crate::tokens::{self, Piece, StatementText, Token};
use crate::words;

/// How deep parentheses, calls and types may be nested.
///
/// Reading them recurses, and a level takes up to 20 KB of stack in a build for debugging; a thread has 2 MB.
pub const NESTED_MAX: usize = 64;

/// How deep the tree of an expression may be; a chain of operators counts each of them.
///
/// Everything that walks a tree recurses as deep as the tree, so this bounds the stack of all later steps.
pub const DEPTH_MAX: usize = 128;

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    pieces: Vec<Piece>,
    at: usize,
    nested: usize,
    /// Where an empty text stands.
    from: Place,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(statement: &'a StatementText) -> Result<Self> {
        let (text, from) = (statement.text.as_str(), statement.place);
        Ok(Self { text, pieces: tokens::tokens(text, from)?, at: 0, nested: 0, from })
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<&Token> {
        self.pieces.get(self.at + ahead).map(|piece| &piece.token)
    }

    pub(super) fn advance(&mut self) {
        self.at = (self.at + 1).min(self.pieces.len());
    }

    /// Where the next token stands; at the end, where it would stand: behind the last one.
    pub(super) fn place(&self) -> Place {
        let next = self.pieces.get(self.at).map(|piece| piece.place);
        let behind = || self.pieces.last().map(|piece| piece.behind);
        next.or_else(behind).unwrap_or(self.from)
    }

    /// What is written up to the next blank or semicolon, quotes and all.
    pub(super) fn take_unbroken(&mut self) -> &'a str {
        let Some(start) = self.pieces.get(self.at).map(|piece| piece.start) else { return "" };
        let mut end = start;
        while let Some(piece) = self.pieces.get(self.at)
            && piece.start == end
            && piece.token != Token::Symbol(";")
        {
            end = piece.end;
            self.advance();
        }
        &self.text[start..end]
    }

    /// The next token as written.
    pub(super) fn take_word(&mut self) -> &'a str {
        let word = self.pieces.get(self.at).map_or("", |piece| &self.text[piece.start..piece.end]);
        self.advance();
        word
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    pub(super) fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Some(Token::Word(found)) if found == word)
    }

    pub(super) fn is_symbol_at(&self, ahead: usize, symbol: &str) -> bool {
        matches!(self.peek_at(ahead), Some(Token::Symbol(found)) if *found == symbol)
    }

    /// Takes all of the words or none.
    pub(super) fn eat(&mut self, words: &[&str]) -> bool {
        let all = words.iter().enumerate().all(|(ahead, word)| self.is_word_at(ahead, word));
        if all {
            self.at += words.len();
        }
        all
    }

    pub(super) fn expect(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.eat(&[word]) {
                return Err(self.unexpected(word));
            }
        }
        Ok(())
    }

    pub(super) fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol_at(0, symbol);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.eat_symbol(symbol) { Ok(()) } else { Err(self.unexpected(symbol)) }
    }

    /// A name: quoted, or a word that is not reserved. `what` says what it names.
    pub(super) fn name(&mut self, what: &str) -> Result<Name> {
        match self.name_ahead() {
            Some(name) => {
                self.advance();
                Ok(name)
            }
            None => Err(self.unexpected(what)),
        }
    }

    pub(super) fn name_ahead(&self) -> Option<Name> {
        match self.peek() {
            Some(Token::Word(word)) if !words::is_reserved(word) => Some(Name(word.clone())),
            Some(Token::Name(name)) => Some(Name(name.clone())),
            _ => None,
        }
    }

    /// A text literal.
    pub(super) fn text(&mut self, what: &str) -> Result<String> {
        match self.peek() {
            Some(Token::Text(text)) => {
                let text = text.clone();
                self.advance();
                Ok(text)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// A whole number.
    pub(super) fn count(&mut self, what: &str) -> Result<u64> {
        let Some(Token::Number(digits)) = self.peek() else { return Err(self.unexpected(what)) };
        let count = digits.parse::<u64>().ok().filter(|count| i64::try_from(*count).is_ok());
        let Some(count) = count else {
            let text = digits.chars().take(60).collect();
            let expected = "a whole number up to 9223372036854775807";
            return Err(self.error(Cause::Number { text, expected }));
        };
        self.advance();
        Ok(count)
    }

    /// `item (, item)*`.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// `( item (, item)* )`.
    pub(super) fn enclosed<T>(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.expect_symbol("(")?;
        let items = self.list(item)?;
        self.expect_symbol(")")?;
        Ok(items)
    }

    /// Does one step of a recursion.
    pub(super) fn nest<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nested == NESTED_MAX {
            return Err(self.error(Cause::TooDeep { limit: NESTED_MAX }));
        }
        self.nested += 1;
        let done = step(self);
        self.nested -= 1;
        done
    }

    /// That nothing is left but a semicolon.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.eat_symbol(";");
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end of the statement")),
        }
    }

    pub(super) fn unexpected(&self, expected: &str) -> SqlError {
        let expected = expected.to_owned();
        self.error(match self.pieces.get(self.at) {
            Some(piece) => {
                let found = self.text[piece.start..piece.end].chars().take(60).collect();
                Cause::Unexpected { found, expected }
            }
            None => Cause::UnexpectedEnd { expected },
        })
    }

    pub(super) fn error(&self, cause: Cause) -> SqlError {
        SqlError::new(self.place(), cause)
    }
}
