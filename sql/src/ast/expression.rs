//! Expressions and what they are made of: names, types, literals, spans of time.

use std::fmt;

use crate::error::{Cause, Place, Result, SqlError};
use crate::value::{SqlType, StructField};
use crate::words::quoted;

/// A name: upper case unless it was quoted. Prints as it must be written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub String);

impl Name {
    /// Its characters, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quoted(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number of units of time, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan {
    /// How many; `count × unit` fits an i64 of milliseconds.
    pub count: u64,
    /// Of what.
    pub unit: SpanUnit,
}

impl TimeSpan {
    /// Its length in milliseconds.
    pub fn ms(self) -> i64 {
        let ms = i128::from(self.count) * i128::from(self.unit.ms());
        i64::try_from(ms).unwrap_or(i64::MAX)
    }
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanUnit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
    /// Days of 24 hours.
    Days,
}

impl SpanUnit {
    pub(super) const ALL: [(Self, &str, i64); 5] = [
        (Self::Milliseconds, "MILLISECONDS", 1),
        (Self::Seconds, "SECONDS", 1_000),
        (Self::Minutes, "MINUTES", 60_000),
        (Self::Hours, "HOURS", 3_600_000),
        (Self::Days, "DAYS", 86_400_000),
    ];

    /// The unit of that name, in upper case, with or without the S.
    pub fn of_name(name: &str) -> Option<Self> {
        let matches = |full: &str| full == name || full.strip_suffix('S') == Some(name);
        Self::ALL.into_iter().find(|(_, full, _)| matches(full)).map(|(unit, ..)| unit)
    }

    /// Its length in milliseconds.
    pub fn ms(self) -> i64 {
        Self::ALL.into_iter().find(|(unit, ..)| *unit == self).map_or(1, |(.., ms)| ms)
    }
}

/// A type as written: it may name one that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeName {
    /// A scalar type.
    Scalar(SqlType),
    /// ARRAY of another.
    Array(Box<TypeName>),
    /// MAP from one to another.
    Map(Box<TypeName>, Box<TypeName>),
    /// STRUCT of fields.
    Struct(Vec<(Name, TypeName)>),
    /// A type that was created.
    Created(Name, Written),
}

impl TypeName {
    /// The type, with created ones looked up.
    ///
    /// # Errors
    /// [`Cause::UnknownType`] when `created` does not know a name.
    pub fn resolve(&self, created: &dyn Fn(&str) -> Option<SqlType>) -> Result<SqlType> {
        Ok(match self {
            Self::Scalar(scalar) => scalar.clone(),
            Self::Array(item) => SqlType::Array(Box::new(item.resolve(created)?)),
            Self::Map(key, value) => {
                SqlType::Map(Box::new(key.resolve(created)?), Box::new(value.resolve(created)?))
            }
            Self::Struct(fields) => {
                let field = |(name, type_name): &(Name, Self)| {
                    let sql_type = type_name.resolve(created)?;
                    Ok(StructField { name: name.0.clone(), sql_type })
                };
                SqlType::Struct(fields.iter().map(field).collect::<Result<_>>()?)
            }
            Self::Created(name, at) => created(name.as_str()).ok_or_else(|| {
                SqlError::new(at.0, Cause::UnknownType { name: name.to_string() })
            })?,
        })
    }
}

/// Where something was written. It is no part of what was said: any two are equal.
#[derive(Clone, Copy, Debug)]
pub struct Written(pub Place);

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

/// An expression and where it starts; operators start where their name or sign stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands. Two expressions are equal wherever they stand.
    pub place: Written,
}

impl Expr {
    /// An expression at a place.
    pub fn new(kind: ExprKind, place: Place) -> Self {
        Self { kind, place: Written(place) }
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place.0
    }

    /// The expressions it is made of.
    pub fn children(&self) -> Vec<&Self> {
        match &self.kind {
            ExprKind::Literal(_) | ExprKind::Column { .. } => Vec::new(),
            ExprKind::Not(expr)
            | ExprKind::Negate(expr)
            | ExprKind::IsNull { expr, .. }
            | ExprKind::Cast { expr, .. }
            | ExprKind::Field { expr, .. }
            | ExprKind::Lambda { body: expr, .. } => vec![expr],
            ExprKind::Binary { left, right, .. } => vec![left, right],
            ExprKind::Like { expr, pattern, .. } => vec![expr, pattern],
            ExprKind::In { expr, list, .. } => std::iter::once(&**expr).chain(list).collect(),
            ExprKind::Between { expr, low, high, .. } => vec![expr, low, high],
            ExprKind::Case { operand, branches, otherwise } => {
                let branches = branches.iter().flat_map(|(when, then)| [when, then]);
                operand.as_deref().into_iter().chain(branches).chain(otherwise.as_deref()).collect()
            }
            ExprKind::Call { arguments, .. } => arguments.iter().collect(),
            ExprKind::Index { expr, index } => vec![expr, index],
            ExprKind::Array(items) => items.iter().collect(),
            ExprKind::Map(entries) => entries.iter().flat_map(|(k, v)| [k, v]).collect(),
            ExprKind::Struct(fields) => fields.iter().map(|(_, value)| value).collect(),
        }
    }

    /// Calls `visit` with this expression and all inside it, parents first.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        self.children().into_iter().for_each(|child| child.visit(visit));
    }
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A constant.
    Literal(Literal),
    /// `[source.]name`.
    Column {
        /// The source it is looked for in.
        source: Option<Name>,
        /// Its name.
        name: Name,
    },
    /// `NOT expr`.
    Not(Box<Expr>),
    /// `-expr`.
    Negate(Box<Expr>),
    /// `left operator right`.
    Binary {
        /// The operator.
        operator: BinaryOperator,
        /// Before it.
        left: Box<Expr>,
        /// After it.
        right: Box<Expr>,
    },
    /// `expr IS [NOT] NULL`.
    IsNull {
        /// What is tested.
        expr: Box<Expr>,
        /// With NOT.
        negated: bool,
    },
    /// `expr [NOT] LIKE pattern [ESCAPE 'c']`.
    Like {
        /// What is tested.
        expr: Box<Expr>,
        /// `%` is any text, `_` any character.
        pattern: Box<Expr>,
        /// The character that takes the meaning off the next one.
        escape: Option<char>,
        /// With NOT.
        negated: bool,
    },
    /// `expr [NOT] IN (list)`.
    In {
        /// What is tested.
        expr: Box<Expr>,
        /// At least one.
        list: Vec<Expr>,
        /// With NOT.
        negated: bool,
    },
    /// `expr [NOT] BETWEEN low AND high`.
    Between {
        /// What is tested.
        expr: Box<Expr>,
        /// The least value.
        low: Box<Expr>,
        /// The greatest value.
        high: Box<Expr>,
        /// With NOT.
        negated: bool,
    },
    /// `CASE [operand] WHEN ... THEN ... [ELSE ...] END`.
    Case {
        /// What WHEN is compared with; without it WHEN is a condition.
        operand: Option<Box<Expr>>,
        /// WHEN and THEN, at least one.
        branches: Vec<(Expr, Expr)>,
        /// ELSE.
        otherwise: Option<Box<Expr>>,
    },
    /// `CAST(expr AS type)`.
    Cast {
        /// What is cast.
        expr: Box<Expr>,
        /// To what.
        to: TypeName,
    },
    /// `name(arguments)`; `COUNT(*)` is a call with `star` and no arguments.
    Call {
        /// The function, upper case.
        name: String,
        /// What it is called with.
        arguments: Vec<Expr>,
        /// DISTINCT before the arguments.
        distinct: bool,
        /// `*` instead of arguments.
        star: bool,
    },
    /// `expr->name`.
    Field {
        /// A struct.
        expr: Box<Expr>,
        /// Its field.
        name: Name,
    },
    /// `expr[index]`.
    Index {
        /// An array or map.
        expr: Box<Expr>,
        /// Position from 1 (from the end when negative), or a key.
        index: Box<Expr>,
    },
    /// `ARRAY[a, b]`.
    Array(Vec<Expr>),
    /// `MAP(key := value, ...)`.
    Map(Vec<(Expr, Expr)>),
    /// `STRUCT(name := value, ...)`.
    Struct(Vec<(Name, Expr)>),
    /// `x => body` or `(x, y) => body`.
    Lambda {
        /// Names of its parameters, at least one.
        parameters: Vec<Name>,
        /// What it computes.
        body: Box<Expr>,
    },
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// NULL.
    Null,
    /// TRUE or FALSE.
    Boolean(bool),
    /// A whole number: INT where it fits, else BIGINT.
    Integer(i64),
    /// A number with a point, or a whole one beyond BIGINT: exact.
    Decimal(crate::value::Decimal),
    /// A number with an exponent.
    Double(f64),
    /// A text.
    String(String),
}

impl Literal {
    /// As properties take it: a text without its quotes, anything else as printed.
    pub fn to_text(&self) -> String {
        match self {
            Self::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOperator {
    /// OR.
    Or,
    /// AND.
    And,
    /// =
    Equal,
    /// <> or !=
    NotEqual,
    /// <
    Less,
    /// <=
    LessOrEqual,
    /// >
    Greater,
    /// >=
    GreaterOrEqual,
    /// IS DISTINCT FROM: as <>, but null is a value like others.
    Distinct,
    /// IS NOT DISTINCT FROM.
    NotDistinct,
    /// + of numbers, or of texts end to end.
    Add,
    /// -
    Subtract,
    /// *
    Multiply,
    /// /
    Divide,
    /// %
    Modulo,
    /// || of texts end to end, as + does.
    Concatenate,
}

impl BinaryOperator {
    /// As written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Or => "OR",
            Self::And => "AND",
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Distinct => "IS DISTINCT FROM",
            Self::NotDistinct => "IS NOT DISTINCT FROM",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Concatenate => "||",
        }
    }

    /// Whether it is one of `= <> < <= > >=` or IS \[NOT\] DISTINCT FROM.
    pub fn is_comparison(self) -> bool {
        !matches!(self, Self::Or | Self::And) && !self.is_arithmetic()
    }

    /// Whether it is one of `+ - * / % ||`.
    pub fn is_arithmetic(self) -> bool {
        matches!(
            self,
            Self::Add
                | Self::Subtract
                | Self::Multiply
                | Self::Divide
                | Self::Modulo
                | Self::Concatenate
        )
    }
}
