//! What is wrong with a text, where it stands, and what to write instead.
//!
//! Errors of one row (a division by zero) are not here: see [`crate::evaluate::RowError`].

use std::fmt;

use crate::value::SqlType;

/// A place in a text: line and column, both counted from 1; columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
}

impl Place {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What the result of fallible functions on SQL text is.
pub type Result<T, E = SqlError> = std::result::Result<T, E>;

/// Something in a statement is wrong: the cause and the place. Nothing has been carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// Where the offending piece starts.
    pub place: Place,
    /// What is wrong with it.
    pub cause: Cause,
}

impl SqlError {
    /// An error at a place.
    pub fn new(place: Place, cause: Cause) -> Self {
        Self { place, cause }
    }

    /// What to do about it, where there is more to say than the error itself says.
    pub fn hint(&self) -> Option<String> {
        self.cause.hint()
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.cause)?;
        match self.hint() {
            Some(hint) => write!(f, ". {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SqlError {}

/// Why a text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// A piece that can't stand here.
    #[error("found {found}, expected {expected}")]
    Unexpected {
        /// The piece as written.
        found: String,
        /// What could stand here.
        expected: String,
    },
    /// The text ends in the middle of a statement.
    #[error("the statement ends too early, expected {expected}")]
    UnexpectedEnd {
        /// What could stand here.
        expected: String,
    },
    /// A quote, identifier or comment that is opened and never closed.
    #[error("this {what} is not closed")]
    Unclosed {
        /// What was opened.
        what: Opened,
    },
    /// A character that has no meaning outside quotes.
    #[error("the character {character:?} has no meaning here")]
    Character {
        /// The character.
        character: char,
    },
    /// A number that can't be read or does not fit.
    #[error("the number {text} is not valid: {expected}")]
    Number {
        /// The number as written, cut to 60 characters.
        text: String,
        /// The bound or form it must have.
        expected: &'static str,
    },
    /// Parentheses, or chains of operators, too deep.
    #[error("this is nested more than {limit} deep")]
    TooDeep {
        /// The largest depth.
        limit: usize,
    },
    /// The text is too long.
    #[error("the text has {bytes} bytes, at most {limit} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The largest length.
        limit: usize,
    },
    /// Too many of something in one text or list.
    #[error("there are more than {limit} {what} here")]
    TooMany {
        /// What is counted, in the plural.
        what: &'static str,
        /// The largest number.
        limit: usize,
    },
    /// `${name}` without a DEFINE for it.
    #[error("the variable {name} is not defined")]
    UnknownVariable {
        /// Its name.
        name: String,
    },
    /// A type name that is neither built in nor created.
    #[error("the type {name} does not exist")]
    UnknownType {
        /// Its name.
        name: String,
    },
    /// A type whose parameters are out of bounds.
    #[error("the type {text} is not valid: {expected}")]
    InvalidType {
        /// The type as written.
        text: String,
        /// The rule it breaks.
        expected: &'static str,
    },
    /// A column that the source does not have.
    #[error("the column {name} does not exist")]
    UnknownColumn {
        /// The name as looked up.
        name: String,
        /// A column with a name much like it.
        near: Option<String>,
    },
    /// A column name that several sources have.
    #[error("the column {name} is in more than one source: {sources}")]
    AmbiguousColumn {
        /// The name as looked up.
        name: String,
        /// The sources that have it.
        sources: String,
    },
    /// A struct without the field.
    #[error("{found} has no field {name}")]
    UnknownField {
        /// The field as looked up.
        name: String,
        /// The type that was searched.
        found: SqlType,
    },
    /// A function that does not exist.
    #[error("the function {name} does not exist")]
    UnknownFunction {
        /// Its name.
        name: String,
        /// A function with a name much like it.
        near: Option<String>,
    },
    /// An aggregate function where each row is looked at alone.
    #[error("{name} is an aggregate: it has no value for a single row")]
    Aggregate {
        /// Its name.
        name: String,
    },
    /// A function called with arguments it does not take.
    #[error("{name} can't be called with ({found})")]
    Arguments {
        /// The function.
        name: String,
        /// The types it was called with.
        found: String,
        /// The calls it takes.
        expected: String,
    },
    /// An operator between types that do not go together.
    #[error("{operator} can't be used with {found}")]
    Operands {
        /// The operator.
        operator: String,
        /// The types it was used with.
        found: String,
    },
    /// A piece of the wrong type.
    #[error("{what} must be {expected}, not {found}")]
    WrongType {
        /// What the piece is for.
        what: String,
        /// The type or types it may have.
        expected: String,
        /// The type it has.
        found: SqlType,
    },
    /// A CAST that no value survives.
    #[error("{from} can't be cast to {to}")]
    Cast {
        /// The type that was given.
        from: SqlType,
        /// The type that was asked for.
        to: SqlType,
    },
    /// A text literal that must be a time, a date or a pattern, and is none.
    #[error("{text:?} is not {expected}")]
    Literal {
        /// The literal, cut to 60 characters.
        text: String,
        /// What it must be.
        expected: String,
    },
    /// A clause that stands twice.
    #[error("{what} is given twice")]
    Twice {
        /// The clause or name.
        what: String,
    },
    /// Something that parses and can't be evaluated.
    #[error("{what} is not supported here")]
    Unsupported {
        /// What it is.
        what: &'static str,
    },
}

impl Cause {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unclosed { what: Opened::Text } => {
                Some("Close it with '; a quote inside a text is written twice: 'it''s'".into())
            }
            Self::Unclosed { what: Opened::Name } => {
                Some("Close the name with the quote that opened it".into())
            }
            Self::Unclosed { what: Opened::Comment } => Some("Close it with */".into()),
            Self::TooDeep { .. } => Some("Split it into several statements".into()),
            Self::TooLong { .. } => Some("Send it in several pieces".into()),
            Self::UnknownVariable { name } => {
                Some(format!("Write DEFINE {name} = 'value'; before it"))
            }
            Self::UnknownColumn { near: Some(near), .. } => {
                Some(format!("Did you mean {near}? DESCRIBE shows the columns of a source"))
            }
            Self::UnknownColumn { near: None, .. } => Some(
                "DESCRIBE shows the columns of a source; a text is written in single quotes".into(),
            ),
            Self::AmbiguousColumn { name, .. } => {
                Some(format!("Write the source before it: source.{name}"))
            }
            Self::UnknownFunction { near: Some(near), .. } => Some(format!("Did you mean {near}?")),
            Self::UnknownFunction { near: None, .. } => {
                Some("SHOW FUNCTIONS lists all of them".into())
            }
            Self::Aggregate { .. } => Some("Use it in the select list or in HAVING".into()),
            Self::Arguments { expected, .. } => Some(format!("Use {expected}")),
            Self::Operands { .. } | Self::WrongType { .. } => {
                Some("CAST(value AS type) makes another type of it".into())
            }
            Self::UnknownType { .. } => Some("SHOW TYPES lists the types that were created".into()),
            _ => None,
        }
    }
}

/// What can be opened and left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A text in single quotes.
    Text,
    /// A name in backticks or double quotes.
    Name,
    /// A comment between `/*` and `*/`.
    Comment,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Name => "quoted name",
            Self::Comment => "comment",
        })
    }
}

/// Why an expression has no value for one row: it is null there, and the row goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowCause {
    /// `/` or `%` by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// The result does not fit its type.
    #[error("the result of {operation} does not fit {sql_type}")]
    OutOfRange {
        /// What was computed.
        operation: String,
        /// The type it must fit.
        sql_type: SqlType,
    },
    /// A value that a CAST can't turn into another type.
    #[error("{value:?} can't be cast to {to}")]
    Cast {
        /// The value, cut to 60 characters.
        value: String,
        /// The type asked for.
        to: SqlType,
    },
    /// An argument that a function can't use.
    #[error("{value:?} is not {expected}")]
    Argument {
        /// The argument, cut to 60 characters.
        value: String,
        /// What it must be.
        expected: String,
    },
    /// A result that is larger than the limit.
    #[error("the result has more than {limit} {what}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The largest number.
        limit: usize,
    },
}

impl RowCause {
    /// [`RowCause::Argument`] with the argument cut.
    pub fn argument(value: impl fmt::Display, expected: impl Into<String>) -> Self {
        let value = value.to_string().chars().take(60).collect();
        Self::Argument { value, expected: expected.into() }
    }
}
