//! SQL text cut into statements at the semicolons that end them, as it comes in line by line.
//!
//! Knows just enough of SQL not to be fooled: quotes, quoted names and comments. Whether a statement is valid is for
//! the engine to say.

use super::width::character_width;

/// A statement and where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Its text, with the semicolon.
    pub(crate) text: String,
    /// The line of its first character in the whole text, from 1.
    pub(crate) first_line: u64,
    /// And its column there, in characters, from 1.
    pub(crate) first_column: usize,
}

/// Where the scan stands.
///
/// ```text
///            ' or " or `                  the same again (doubled: in and out at once)
///   Plain ----------------> Quoted(c) -------------------------------> Plain
///   Plain -- "--" --> LineComment -- line end --> Plain
///   Plain -- "/*" --> BlockComment -- "*/" --> Plain
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Plain,
    Quoted(char),
    LineComment,
    BlockComment,
}

/// Takes text in pieces, gives statements. Each character is looked at once.
#[derive(Debug)]
pub(crate) struct Statements {
    state: State,
    /// The statement so far; leading white space is left out.
    text: String,
    /// True once `text` holds something beside comments and white space.
    has_words: bool,
    /// The character before, where it may begin a sign of two.
    previous: Option<char>,
    /// Where the next character stands, from 1.
    line: u64,
    column: usize,
    first_line: u64,
    first_column: usize,
}

impl Statements {
    /// Nothing read yet.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Plain,
            text: String::new(),
            has_words: false,
            previous: None,
            line: 1,
            column: 1,
            first_line: 1,
            first_column: 1,
        }
    }

    /// Bytes of the statement that has begun and not ended.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.text.len()
    }

    /// Takes a piece of text and gives the statements that end in it.
    pub(crate) fn push(&mut self, piece: &str) -> Vec<Statement> {
        let mut complete = Vec::new();
        for character in piece.chars() {
            if self.text.is_empty() {
                (self.first_line, self.first_column) = (self.line, self.column);
            }
            (self.line, self.column) = match character {
                '\n' => (self.line + 1, 1),
                _ => (self.line, self.column + 1),
            };
            if !(self.text.is_empty() && character.is_whitespace()) {
                self.text.push(character);
            }
            if self.step(character) {
                let text = std::mem::take(&mut self.text);
                if std::mem::take(&mut self.has_words) {
                    complete.push(self.statement(text));
                }
            }
        }
        complete
    }

    /// What is left at the end of the text: a last statement without its semicolon, which is added. A comment that is
    /// not closed may hide statements, so it is none of what says nothing: the engine tells where it begins.
    pub(crate) fn finish(mut self) -> Option<Statement> {
        // Behind a line comment the semicolon needs a line of its own.
        let end = if self.state == State::LineComment { "\n;" } else { ";" };
        self.text.push_str(end);
        let says_something = self.has_words || self.state == State::BlockComment;
        let text = std::mem::take(&mut self.text);
        says_something.then(|| self.statement(text))
    }

    fn statement(&self, text: String) -> Statement {
        Statement { text, first_line: self.first_line, first_column: self.first_column }
    }

    /// True when nothing but white space and comments is waiting for its end.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_words && matches!(self.state, State::Plain | State::LineComment)
    }

    /// Looks at the next character; true when it ends a statement.
    fn step(&mut self, character: char) -> bool {
        let pair = (self.previous.take(), character);
        match (self.state, pair) {
            (State::Plain, (Some('-'), '-')) => self.state = State::LineComment,
            (State::Plain, (Some('/'), '*')) => self.state = State::BlockComment,
            (State::Plain, (before, _)) => {
                // A single - or / was a word of the statement after all.
                self.has_words |= before.is_some();
                match character {
                    ';' => return true,
                    '-' | '/' => self.previous = Some(character),
                    '\'' | '"' | '`' => {
                        self.has_words = true;
                        self.state = State::Quoted(character);
                    }
                    other => self.has_words |= !other.is_whitespace(),
                }
            }
            (State::Quoted(quote), _) if character == quote => self.state = State::Plain,
            (State::LineComment, (_, '\n')) => self.state = State::Plain,
            (State::BlockComment, (Some('*'), '/')) => self.state = State::Plain,
            (State::BlockComment, _) => self.previous = Some(character),
            (State::Quoted(_) | State::LineComment, _) => {}
        }
        false
    }
}

/// A line and a column of a text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// From 1.
    line: u64,
    /// In characters, from 1.
    column: usize,
}

/// The line that an error message means, with a caret under the place, as people know it from compilers. `None` when
/// the message names no place in the statement. `source` is where the statement stood.
pub(crate) fn excerpt(statement: &Statement, source: &str, message: &str) -> Option<String> {
    /// Characters of a long line that are shown before and behind the place.
    const AROUND: usize = 60;
    let place = place_in(message)?;
    let index = usize::try_from(place.line - 1).ok()?;
    let line = statement.text.lines().nth(index)?;
    let from = place.column.saturating_sub(AROUND + 1);
    // A tab has no width of its own: shown as one blank, the caret stands where it should.
    let visible = |character: char| if character.is_control() { ' ' } else { character };
    let shown: String = line.chars().skip(from).take(2 * AROUND).map(visible).collect();
    let number = statement.first_line.saturating_add(place.line - 1);
    let margin = " ".repeat(number.to_string().len());
    let before = shown.chars().take(place.column - 1 - from);
    let indent = " ".repeat(before.map(character_width).sum());
    let before_statement = if place.line == 1 { statement.first_column - 1 } else { 0 };
    let column = before_statement + place.column;
    Some(format!(
        "{margin} --> {source}:{number}:{column}\n{margin} |\n{number} | {shown}\n{margin} | {indent}^"
    ))
}

/// The first "line N" with its "column M" in an error message, for drawing a caret: nothing is decided by it.
fn place_in(message: &str) -> Option<Place> {
    let lower = message.to_ascii_lowercase();
    let mut rest = lower.as_str();
    while let Some(at) = rest.find("line") {
        let behind = rest.get(at + "line".len()..)?;
        rest = behind;
        let found = leading_number(behind).and_then(|(line, behind)| {
            let between = behind.trim_start_matches([' ', ',', ':']);
            let (column, _) = leading_number(between.strip_prefix("column")?)?;
            Some(Place { line, column: usize::try_from(column).ok()? })
        });
        if found.is_some_and(|place| place.line > 0 && place.column > 0) {
            return found;
        }
    }
    None
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start_matches([' ', ':']);
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, behind) = text.split_at(end);
    Some((digits.parse().ok()?, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<String> {
        let mut statements = Statements::new();
        let mut found = statements.push(text);
        found.extend(statements.finish());
        found.into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn semicolons_end_statements_where_they_mean_it() {
        assert_eq!(split("SELECT 1; SELECT 2;"), ["SELECT 1;", "SELECT 2;"]);
        assert_eq!(split("SELECT ';' ;x;"), ["SELECT ';' ;", "x;"]);
        assert_eq!(split("SELECT 'it''s;' ;"), ["SELECT 'it''s;' ;"]);
        assert_eq!(split("SELECT \";\", `;`;"), ["SELECT \";\", `;`;"]);
        assert_eq!(split("-- a; b\nSELECT 1;"), ["-- a; b\nSELECT 1;"]);
        assert_eq!(split("SELECT /* ; */ 1 - 2 / 3;"), ["SELECT /* ; */ 1 - 2 / 3;"]);
        assert_eq!(split("SELECT /* -- ' */ 1; y;"), ["SELECT /* -- ' */ 1;", "y;"]);
    }

    #[test]
    fn what_says_nothing_is_no_statement() {
        assert_eq!(split(" ;; \n -- only a comment\n ; /* ; */ "), [""; 0]);
        assert_eq!(split("SELECT 1; /* open\n DROP x;"), ["SELECT 1;", "/* open\n DROP x;;"]);
        assert_eq!(split("SELECT 1"), ["SELECT 1;"]);
        assert_eq!(split("SELECT 1 -- last"), ["SELECT 1 -- last\n;"]);
    }

    #[test]
    fn the_first_line_is_counted_over_the_whole_text() {
        let mut statements = Statements::new();
        let mut found = statements.push("a;\n\n  b\n");
        found.extend(statements.push("c; d;"));
        let lines: Vec<_> = found
            .iter()
            .map(|found| (found.text.as_str(), found.first_line, found.first_column))
            .collect();
        assert_eq!(lines, [("a;", 1, 1), ("b\nc;", 3, 3), ("d;", 4, 4)]);
        assert!(statements.is_empty());
    }

    #[test]
    fn an_open_quote_or_comment_waits() {
        for open in ["SELECT '", "x", "/* no end", "\"a;"] {
            let mut statements = Statements::new();
            assert!(statements.push(open).is_empty());
            assert!(!statements.is_empty(), "{open}");
        }
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let statement =
            Statement { text: "SELECT *\n\tFORM x;".to_owned(), first_line: 11, first_column: 5 };
        let shown = excerpt(&statement, "q.sql", "line 2, column 2: FROM is expected").unwrap();
        assert_eq!(shown, "   --> q.sql:12:2\n   |\n12 |  FORM x;\n   |  ^");
        let shown = excerpt(&statement, "q.sql", "line 1, column 3: no").unwrap();
        assert!(shown.starts_with("   --> q.sql:11:7\n"), "{shown}");
        let wide = Statement {
            text: "SELECT\t'日本🎉', e\u{301}x FORM;".to_owned(),
            first_line: 1,
            first_column: 1,
        };
        let shown = excerpt(&wide, "q", "line 1, column 19: FROM is expected").unwrap();
        let [.., line, caret] = &shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
        let column = line.find("FORM").unwrap();
        assert_eq!(super::super::width::width(&line[..column]), caret.len() - 1, "{shown}");
        let end = Statement { text: "SELECT * FROM;".to_owned(), first_line: 1, first_column: 1 };
        let shown = excerpt(&end, "q", "line 1, column 14: too early").unwrap();
        assert!(shown.ends_with("SELECT * FROM;\n  |              ^"), "{shown}");
        assert_eq!(excerpt(&statement, "q.sql", "line 3, column 1: no"), None);
        assert_eq!(excerpt(&statement, "q.sql", "no place"), None);
        let long = Statement { text: "x".repeat(500), first_line: 1, first_column: 1 };
        let shown = excerpt(&long, "q", "line 1, column 300").unwrap();
        assert!(shown.lines().all(|line| line.len() < 140) && shown.ends_with('^'));
    }

    #[test]
    fn places_are_found_in_messages() {
        let place = |line, column| Some(Place { line, column });
        assert_eq!(place_in("expected FROM at line 2, column 14: found `FORM`"), place(2, 14));
        assert_eq!(place_in("Line: 1, Column: 8"), place(1, 8));
        assert_eq!(place_in("a line is missing; line 3 column 4"), place(3, 4));
        for none in ["no place", "line 4", "line 0, column 1", "line x column 2", "column 3"] {
            assert_eq!(place_in(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[a;'\"`/*\n -]{0,30}", cut in 0_usize..30) {
            let cut = cut.min(text.len());
            let mut statements = Statements::new();
            let mut found = statements.push(&text[..cut]);
            found.extend(statements.push(&text[cut..]));
            found.extend(statements.finish());
            let whole: Vec<_> = found.into_iter().map(|statement| statement.text).collect();
            prop_assert_eq!(whole, split(&text));
        }
    }
}
