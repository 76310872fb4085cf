//! What a function is: its calls with their types, its text, and the code that computes one row.

use std::fmt;
use std::sync::Arc;

use crate::coerce;
use crate::error::RowCause;
use crate::value::{SqlType, Value};

/// The value of a function for one row.
pub type RowResult = Result<Value, RowCause>;

/// A function with what is constant in its call prepared.
pub type RowFunction = Arc<dyn Fn(&[Value]) -> RowResult + Send + Sync>;

/// A function of the language.
#[derive(Debug)]
pub struct Function {
    /// Its name, upper case.
    pub name: &'static str,
    /// What it works on.
    pub group: Group,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// The ways to call it.
    pub signatures: &'static [Signature],
    /// Expressions and the texts of their values; each is a test.
    pub examples: &'static [(&'static str, &'static str)],
    /// Whether it sees null arguments. Other functions are null when any argument is.
    pub sees_nulls: bool,
}

/// What a function works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Texts.
    Text,
    /// Numbers.
    Number,
    /// Moments, days and times of day.
    Time,
    /// Arrays, maps, structs and JSON.
    Nested,
}

impl Group {
    /// A function of this group that is null when any argument is: a row of its table.
    pub(super) const fn row(
        self,
        name: &'static str,
        doc: &'static str,
        signatures: &'static [Signature],
        examples: &'static [(&'static str, &'static str)],
    ) -> Function {
        Function { name, group: self, doc, signatures, examples, sees_nulls: false }
    }
}

/// One way to call a function.
pub struct Signature {
    /// The types of its arguments.
    pub takes: &'static [Type],
    /// Whether the last argument may stand more than once.
    pub variadic: bool,
    /// The type of its result.
    pub gives: Type,
    /// What it computes.
    pub body: Body,
}

/// What computes a function, from the fastest form to the most general.
pub enum Body {
    /// From one text to another.
    Text(fn(&str) -> String),
    /// From the values of a row.
    Row(fn(&[Value]) -> RowResult),
    /// As `Row`; sees the arguments that are constant first, to prepare what is costly (a pattern, a zone).
    Prepared(fn(&[Option<Value>]) -> Result<RowFunction, RowCause>),
}

/// A type in a signature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// BOOLEAN
    Boolean,
    /// INT
    Int,
    /// BIGINT
    Bigint,
    /// DOUBLE
    Double,
    /// DECIMAL of any precision and scale; as a result, that of the first such argument.
    Decimal,
    /// STRING
    String,
    /// BYTES
    Bytes,
    /// DATE
    Date,
    /// TIME
    Time,
    /// TIMESTAMP
    Timestamp,
    /// A unit of time, written as a bare word: DAYS.
    Unit,
    /// Any type; the same letter stands for one type throughout a signature.
    Any(char),
    /// ARRAY of it.
    Array(&'static Type),
    /// MAP from it to it.
    Map(&'static Type, &'static Type),
}

impl Function {
    /// The ways to call it, as text: `SUBSTRING(STRING, INT, INT) -> STRING`.
    pub fn calls(&self) -> Vec<String> {
        self.signatures.iter().map(|signature| format!("{}{signature}", self.name)).collect()
    }

    /// The signature for arguments of these types (`None` is an untyped null), with the types the arguments must be
    /// widened to, and that of the result. One that takes them as they are goes before one that must widen them.
    pub(crate) fn choose(
        &self,
        found: &[Option<SqlType>],
    ) -> Option<(&'static Signature, Vec<SqlType>, SqlType)> {
        [true, false].into_iter().find_map(|exact| {
            self.signatures.iter().find_map(|signature| {
                let (takes, gives) = signature.bind(found, exact)?;
                Some((signature, takes, gives))
            })
        })
    }
}

impl Signature {
    fn bind(&self, found: &[Option<SqlType>], exact: bool) -> Option<(Vec<SqlType>, SqlType)> {
        let fits = match self.variadic {
            true => found.len() >= self.takes.len(),
            false => found.len() == self.takes.len(),
        };
        if !fits {
            return None;
        }
        let expected = |index: usize| self.takes.get(index).or(self.takes.last());
        let mut bound = Bindings::default();
        for (index, found) in found.iter().enumerate() {
            if let Some(found) = found {
                bound.take(*expected(index)?, found, exact)?;
            }
        }
        let takes = (0..found.len()).map(|index| bound.resolve(*expected(index)?));
        Some((takes.collect::<Option<_>>()?, bound.resolve(self.gives)?))
    }
}

/// What the letters of a signature, and DECIMAL, stand for.
#[derive(Default)]
struct Bindings(Vec<(Type, SqlType)>);

impl Bindings {
    fn take(&mut self, expected: Type, found: &SqlType, exact: bool) -> Option<()> {
        match (expected, found) {
            (Type::Array(expected), SqlType::Array(found)) => self.take(*expected, found, exact),
            (Type::Map(key, value), SqlType::Map(found_key, found_value)) => {
                self.take(*key, found_key, exact)?;
                self.take(*value, found_value, exact)
            }
            (Type::Any(_), _) | (Type::Decimal, SqlType::Decimal { .. }) => {
                match self.0.iter_mut().find(|(variable, _)| *variable == expected) {
                    Some((_, bound)) => *bound = coerce::common(bound, found)?,
                    None => self.0.push((expected, found.clone())),
                }
                Some(())
            }
            _ => {
                let expected = self.resolve(expected)?;
                let widens = !exact && coerce::widens(found, &expected);
                (*found == expected || widens).then_some(())
            }
        }
    }

    fn resolve(&self, expected: Type) -> Option<SqlType> {
        Some(match expected {
            Type::Boolean => SqlType::Boolean,
            Type::Int => SqlType::Int,
            Type::Bigint => SqlType::Bigint,
            Type::Double => SqlType::Double,
            Type::String | Type::Unit => SqlType::String,
            Type::Bytes => SqlType::Bytes,
            Type::Date => SqlType::Date,
            Type::Time => SqlType::Time,
            Type::Timestamp => SqlType::Timestamp,
            Type::Array(item) => SqlType::Array(Box::new(self.resolve(*item)?)),
            Type::Map(key, value) => {
                SqlType::Map(Box::new(self.resolve(*key)?), Box::new(self.resolve(*value)?))
            }
            Type::Any(_) => match self.0.iter().find(|(variable, _)| *variable == expected) {
                Some((_, bound)) => bound.clone(),
                // Only untyped nulls were given.
                None => SqlType::String,
            },
            Type::Decimal => self.0.iter().find(|(of, _)| *of == expected)?.1.clone(),
        })
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, taken) in self.takes.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{taken}")?;
        }
        let more = if self.variadic { ", ..." } else { "" };
        write!(f, "{more}) -> {}", self.gives)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Int => f.write_str("INT"),
            Self::Bigint => f.write_str("BIGINT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Decimal => f.write_str("DECIMAL"),
            Self::String => f.write_str("STRING"),
            Self::Bytes => f.write_str("BYTES"),
            Self::Date => f.write_str("DATE"),
            Self::Time => f.write_str("TIME"),
            Self::Timestamp => f.write_str("TIMESTAMP"),
            Self::Unit => f.write_str("unit"),
            Self::Any(letter) => write!(f, "{letter}"),
            Self::Array(item) => write!(f, "ARRAY<{item}>"),
            Self::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
        }
    }
}

/// A signature of a fixed number of arguments.
pub(super) const fn call(takes: &'static [Type], gives: Type, body: Body) -> Signature {
    Signature { takes, variadic: false, gives, body }
}

/// The text at an index; signatures have seen to it that it is one.
pub(super) fn text(arguments: &[Value], index: usize) -> &str {
    match arguments.get(index) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

/// The whole number at an index; signatures have seen to it that it is one.
pub(super) fn whole(arguments: &[Value], index: usize) -> i64 {
    match arguments.get(index) {
        Some(Value::Int(whole) | Value::Date(whole) | Value::Time(whole)) => i64::from(*whole),
        Some(Value::Bigint(whole) | Value::Timestamp(whole)) => *whole,
        _ => 0,
    }
}

/// The float at an index; signatures have seen to it that it is one.
pub(super) fn float(arguments: &[Value], index: usize) -> f64 {
    match arguments.get(index) {
        Some(Value::Double(float)) => *float,
        _ => f64::NAN,
    }
}

/// The items at an index; signatures have seen to it that it is an array.
pub(super) fn items(arguments: &[Value], index: usize) -> &[Value] {
    match arguments.get(index) {
        Some(Value::Array(items)) => items,
        _ => &[],
    }
}

/// An array of texts.
pub(super) fn texts<'t>(parts: impl Iterator<Item = &'t str>) -> Value {
    Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
}

/// The longest text or array a function makes: a short statement must not fill the memory.
pub(super) const RESULT_MAX: usize = 1 << 20;
