//! Expressions and types.
//!
//! Operators bind, from loosest to tightest: OR · AND · NOT · comparisons, IS, LIKE, IN, BETWEEN · `+ -` · `* / %` ·
//! sign · `->` and `[ ]`. Those of one rank group from the left.

use std::str::FromStr;

use super::cursor::{Cursor, DEPTH_MAX};
use crate::ast::{BinaryOperator, Expr, ExprKind, Literal, Name, TypeName, Written, rank};
use crate::error::{Cause, Place, Result, SqlError};
use crate::tokens::{StatementText, Token};
use crate::value::{DECIMAL_PRECISION_MAX, Decimal, SqlType};

/// Parses a text that is one expression.
///
/// ```
/// let expr = thalweg_sql::parse::expression("address->city[1] + 'x'").unwrap();
/// assert_eq!(expr.to_string(), "ADDRESS->CITY[1] + 'x'");
/// ```
///
/// # Errors
/// Whatever is wrong with it.
pub fn expression(text: &str) -> Result<Expr> {
    whole(text, parse_expr)
}

/// Parses a text that is one type without created ones.
///
/// # Errors
/// Whatever is wrong with it.
pub fn sql_type(text: &str) -> Result<SqlType> {
    whole(text, type_name)?.resolve(&|_| None)
}

impl FromStr for SqlType {
    type Err = SqlError;

    fn from_str(text: &str) -> Result<Self> {
        sql_type(text)
    }
}

fn whole<T>(text: &str, parse: impl FnOnce(&mut Cursor<'_>) -> Result<T>) -> Result<T> {
    let statement = StatementText { text: text.into(), place: Place::START, terminated: false };
    let mut cursor = Cursor::new(&statement)?;
    let parsed = parse(&mut cursor)?;
    cursor.finish()?;
    Ok(parsed)
}

pub(super) fn parse_expr(cursor: &mut Cursor<'_>) -> Result<Expr> {
    Ok(ranked(cursor, rank::OR)?.expr)
}

/// An expression and how deep it is nested: chains of operators make deep trees without deep recursion here, and
/// later steps recurse over the tree.
struct Parsed {
    expr: Expr,
    depth: usize,
}

impl Parsed {
    fn leaf(kind: ExprKind, place: Place) -> Self {
        Self { expr: Expr::new(kind, place), depth: 1 }
    }

    /// A parent of expressions of which the deepest is `depth` deep.
    fn parent(depth: usize, kind: ExprKind, place: Place) -> Result<Self> {
        if depth >= DEPTH_MAX {
            return Err(SqlError::new(place, Cause::TooDeep { limit: DEPTH_MAX }));
        }
        Ok(Self { expr: Expr::new(kind, place), depth: depth + 1 })
    }

    fn boxed(self) -> Box<Expr> {
        Box::new(self.expr)
    }
}

/// Expressions in a row, and the depth of the deepest.
#[derive(Default)]
struct Gathered {
    depth: usize,
}

impl Gathered {
    fn take(&mut self, parsed: Parsed) -> Expr {
        self.depth = self.depth.max(parsed.depth);
        parsed.expr
    }

    fn next(&mut self, cursor: &mut Cursor<'_>) -> Result<Expr> {
        Ok(self.take(any(cursor)?))
    }
}

fn any(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    ranked(cursor, rank::OR)
}

/// An expression whose operators bind at least as tightly as `rank`.
fn ranked(cursor: &mut Cursor<'_>, rank: u8) -> Result<Parsed> {
    cursor.nest(|cursor| {
        let mut left = prefix(cursor, rank)?;
        while let Some((operator, operator_rank)) = infix_ahead(cursor)
            && operator_rank >= rank
        {
            left = infix(cursor, left, operator, operator_rank)?;
        }
        Ok(left)
    })
}

/// What can stand between two operands.
#[derive(Clone, Copy)]
enum Infix {
    Binary(BinaryOperator),
    Is,
    Like,
    In,
    Between,
}

fn infix_ahead(cursor: &Cursor<'_>) -> Option<(Infix, u8)> {
    use BinaryOperator as Op;
    let binary = |operator, rank| Some((Infix::Binary(operator), rank));
    match cursor.peek()? {
        Token::Symbol(symbol) => match *symbol {
            "=" => binary(Op::Equal, rank::COMPARE),
            "<>" | "!=" => binary(Op::NotEqual, rank::COMPARE),
            "<" => binary(Op::Less, rank::COMPARE),
            "<=" => binary(Op::LessOrEqual, rank::COMPARE),
            ">" => binary(Op::Greater, rank::COMPARE),
            ">=" => binary(Op::GreaterOrEqual, rank::COMPARE),
            "+" => binary(Op::Add, rank::ADD),
            "-" => binary(Op::Subtract, rank::ADD),
            "||" => binary(Op::Concatenate, rank::ADD),
            "*" => binary(Op::Multiply, rank::MULTIPLY),
            "/" => binary(Op::Divide, rank::MULTIPLY),
            "%" => binary(Op::Modulo, rank::MULTIPLY),
            _ => None,
        },
        Token::Word(word) => match word.as_str() {
            "OR" => binary(Op::Or, rank::OR),
            "AND" => binary(Op::And, rank::AND),
            "IS" => Some((Infix::Is, rank::COMPARE)),
            "LIKE" => Some((Infix::Like, rank::COMPARE)),
            "IN" => Some((Infix::In, rank::COMPARE)),
            "BETWEEN" => Some((Infix::Between, rank::COMPARE)),
            "NOT" if cursor.is_word_at(1, "LIKE") => Some((Infix::Like, rank::COMPARE)),
            "NOT" if cursor.is_word_at(1, "IN") => Some((Infix::In, rank::COMPARE)),
            "NOT" if cursor.is_word_at(1, "BETWEEN") => Some((Infix::Between, rank::COMPARE)),
            _ => None,
        },
        _ => None,
    }
}

fn infix(cursor: &mut Cursor<'_>, left: Parsed, operator: Infix, rank: u8) -> Result<Parsed> {
    let place = cursor.place();
    let negated = cursor.eat(&["NOT"]);
    cursor.advance();
    let mut depth = left.depth;
    let kind = match operator {
        Infix::Binary(operator) => {
            let right = ranked(cursor, rank + 1)?;
            depth = depth.max(right.depth);
            ExprKind::Binary { operator, left: left.boxed(), right: right.boxed() }
        }
        Infix::Is => {
            let negated = cursor.eat(&["NOT"]);
            if cursor.eat(&["NULL"]) {
                ExprKind::IsNull { expr: left.boxed(), negated }
            } else if cursor.eat(&["DISTINCT"]) {
                cursor.expect(&["FROM"])?;
                let right = ranked(cursor, rank + 1)?;
                depth = depth.max(right.depth);
                let distinct = [BinaryOperator::Distinct, BinaryOperator::NotDistinct];
                let operator = distinct[usize::from(negated)];
                ExprKind::Binary { operator, left: left.boxed(), right: right.boxed() }
            } else {
                return Err(cursor.unexpected("NULL or DISTINCT FROM"));
            }
        }
        Infix::Like => {
            let pattern = ranked(cursor, rank::ADD)?;
            depth = depth.max(pattern.depth);
            let escape = if cursor.eat(&["ESCAPE"]) { Some(escape(cursor)?) } else { None };
            ExprKind::Like { expr: left.boxed(), pattern: pattern.boxed(), escape, negated }
        }
        Infix::In => {
            let mut gathered = Gathered { depth };
            let list = cursor.enclosed(|cursor| gathered.next(cursor))?;
            depth = gathered.depth;
            ExprKind::In { expr: left.boxed(), list, negated }
        }
        Infix::Between => {
            let low = ranked(cursor, rank::ADD)?;
            cursor.expect(&["AND"])?;
            let high = ranked(cursor, rank::ADD)?;
            depth = depth.max(low.depth).max(high.depth);
            let (low, high) = (low.boxed(), high.boxed());
            ExprKind::Between { expr: left.boxed(), low, high, negated }
        }
    };
    Parsed::parent(depth, kind, place)
}

fn escape(cursor: &mut Cursor<'_>) -> Result<char> {
    let place = cursor.place();
    let text = cursor.text("one character in quotes")?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Ok(one),
        _ => {
            let expected = "one character".to_owned();
            let text = text.chars().take(60).collect();
            Err(SqlError::new(place, Cause::Literal { text, expected }))
        }
    }
}

fn prefix(cursor: &mut Cursor<'_>, rank: u8) -> Result<Parsed> {
    let place = cursor.place();
    if rank <= rank::NOT && cursor.eat(&["NOT"]) {
        let inner = ranked(cursor, rank::NOT)?;
        return Parsed::parent(inner.depth, ExprKind::Not(inner.boxed()), place);
    }
    if cursor.is_symbol_at(0, "-") && !matches!(cursor.peek_at(1), Some(Token::Number(_))) {
        cursor.advance();
        let inner = ranked(cursor, rank::SIGN)?;
        return Parsed::parent(inner.depth, ExprKind::Negate(inner.boxed()), place);
    }
    if cursor.eat_symbol("+") {
        return ranked(cursor, rank::SIGN);
    }
    let mut expr = primary(cursor)?;
    loop {
        let place = cursor.place();
        // `struct->*` is a form of the select list.
        let field = cursor.is_symbol_at(0, "->") && !cursor.is_symbol_at(1, "*");
        let mut depth = expr.depth;
        let kind = if field {
            cursor.advance();
            ExprKind::Field { name: cursor.name("the name of a field")?, expr: expr.boxed() }
        } else if cursor.eat_symbol("[") {
            let index = any(cursor)?;
            cursor.expect_symbol("]")?;
            depth = depth.max(index.depth);
            ExprKind::Index { expr: expr.boxed(), index: index.boxed() }
        } else {
            return Ok(expr);
        };
        expr = Parsed::parent(depth, kind, place)?;
    }
}

fn primary(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    const EXPECTED: &str = "an expression";
    let place = cursor.place();
    if let Some(literal) = literal(cursor)? {
        return Ok(Parsed::leaf(ExprKind::Literal(literal), place));
    }
    if cursor.is_symbol_at(0, "(") {
        return if is_lambda(cursor) { lambda(cursor) } else { parenthesised(cursor) };
    }
    match cursor.peek() {
        Some(Token::Word(word)) => match word.as_str() {
            "CASE" => case(cursor),
            "CAST" => cast(cursor),
            "ARRAY" if cursor.is_symbol_at(1, "[") => array(cursor),
            "MAP" if cursor.is_symbol_at(1, "(") => map(cursor),
            "STRUCT" if cursor.is_symbol_at(1, "(") => structure(cursor),
            _ if cursor.is_symbol_at(1, "=>") => lambda(cursor),
            _ => named(cursor),
        },
        Some(Token::Name(_)) if cursor.is_symbol_at(1, "=>") => lambda(cursor),
        Some(Token::Name(_)) => named(cursor),
        _ => Err(cursor.unexpected(EXPECTED)),
    }
}

fn parenthesised(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect_symbol("(")?;
    let inner = any(cursor)?;
    cursor.expect_symbol(")")?;
    Ok(inner)
}

/// A constant, if one stands here; a minus before a number belongs to it.
pub(super) fn literal(cursor: &mut Cursor<'_>) -> Result<Option<Literal>> {
    let negative = cursor.is_symbol_at(0, "-");
    let literal = match cursor.peek_at(usize::from(negative)) {
        Some(Token::Number(digits)) => number(cursor, digits, negative)?,
        _ if negative => return Ok(None),
        Some(Token::Text(text)) => Literal::String(text.clone()),
        Some(Token::Word(word)) => match word.as_str() {
            "NULL" => Literal::Null,
            "TRUE" => Literal::Boolean(true),
            "FALSE" => Literal::Boolean(false),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    (0..=usize::from(negative)).for_each(|_| cursor.advance());
    Ok(Some(literal))
}

fn number(cursor: &Cursor<'_>, digits: &str, negative: bool) -> Result<Literal> {
    let text = if negative { format!("-{digits}") } else { digits.to_owned() };
    let refused =
        |expected| cursor.error(Cause::Number { text: text.chars().take(60).collect(), expected });
    if digits.contains(['e', 'E']) {
        let float = text.parse::<f64>().ok().filter(|float| float.is_finite());
        return float.map(Literal::Double).ok_or_else(|| refused("at most 1.8E308"));
    }
    if let Ok(integer) = text.parse() {
        return Ok(Literal::Integer(integer));
    }
    let exact = Decimal::parse(&text).map(Literal::Decimal);
    exact.ok_or_else(|| refused("at most 38 digits; a larger one is written with an exponent"))
}

/// Whether `(a, b) =>` stands here.
pub(super) fn is_lambda(cursor: &Cursor<'_>) -> bool {
    let mut ahead = 1;
    loop {
        if !matches!(cursor.peek_at(ahead), Some(Token::Word(_) | Token::Name(_))) {
            return false;
        }
        if cursor.is_symbol_at(ahead + 1, ")") {
            return cursor.is_symbol_at(ahead + 2, "=>");
        }
        if !cursor.is_symbol_at(ahead + 1, ",") {
            return false;
        }
        ahead += 2;
    }
}

fn lambda(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let place = cursor.place();
    let parameter = |cursor: &mut Cursor<'_>| cursor.name("the name of a parameter");
    let parameters = if cursor.is_symbol_at(0, "(") {
        cursor.enclosed(parameter)?
    } else {
        vec![parameter(cursor)?]
    };
    cursor.expect_symbol("=>")?;
    let body = any(cursor)?;
    Parsed::parent(body.depth, ExprKind::Lambda { parameters, body: body.boxed() }, place)
}

fn case(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let place = cursor.place();
    cursor.expect(&["CASE"])?;
    let mut gathered = Gathered::default();
    let operand = match cursor.is_word("WHEN") {
        true => None,
        false => Some(Box::new(gathered.next(cursor)?)),
    };
    let mut branches = Vec::new();
    while branches.is_empty() || cursor.is_word("WHEN") {
        cursor.expect(&["WHEN"])?;
        let when = gathered.next(cursor)?;
        cursor.expect(&["THEN"])?;
        branches.push((when, gathered.next(cursor)?));
    }
    let otherwise = match cursor.eat(&["ELSE"]) {
        true => Some(Box::new(gathered.next(cursor)?)),
        false => None,
    };
    cursor.expect(&["END"])?;
    Parsed::parent(gathered.depth, ExprKind::Case { operand, branches, otherwise }, place)
}

fn cast(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let place = cursor.place();
    cursor.expect(&["CAST"])?;
    cursor.expect_symbol("(")?;
    let inner = any(cursor)?;
    cursor.expect(&["AS"])?;
    let to = type_name(cursor)?;
    cursor.expect_symbol(")")?;
    Parsed::parent(inner.depth, ExprKind::Cast { expr: inner.boxed(), to }, place)
}

fn array(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let place = cursor.place();
    cursor.expect(&["ARRAY"])?;
    cursor.expect_symbol("[")?;
    let mut gathered = Gathered::default();
    let items = match cursor.is_symbol_at(0, "]") {
        true => Vec::new(),
        false => cursor.list(|cursor| gathered.next(cursor))?,
    };
    cursor.expect_symbol("]")?;
    Parsed::parent(gathered.depth, ExprKind::Array(items), place)
}

fn map(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let place = cursor.place();
    cursor.expect(&["MAP"])?;
    let mut gathered = Gathered::default();
    let entries = call_list(cursor, |cursor| {
        let key = gathered.next(cursor)?;
        cursor.expect_symbol(":=")?;
        Ok((key, gathered.next(cursor)?))
    })?;
    Parsed::parent(gathered.depth, ExprKind::Map(entries), place)
}

fn structure(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let place = cursor.place();
    cursor.expect(&["STRUCT"])?;
    let mut gathered = Gathered::default();
    let fields = cursor.enclosed(|cursor| {
        let name = cursor.name("the name of a field")?;
        cursor.expect_symbol(":=")?;
        Ok((name, gathered.next(cursor)?))
    })?;
    Parsed::parent(gathered.depth, ExprKind::Struct(fields), place)
}

/// `( )` or `( item (, item)* )`.
fn call_list<T>(
    cursor: &mut Cursor<'_>,
    item: impl FnMut(&mut Cursor<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    if cursor.is_symbol_at(1, ")") {
        cursor.expect_symbol("(")?;
        cursor.expect_symbol(")")?;
        return Ok(Vec::new());
    }
    cursor.enclosed(item)
}

/// A call or a column.
fn named(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let place = cursor.place();
    let bounds = ["WINDOWSTART", "WINDOWEND"];
    let bound = bounds.into_iter().find(|word| cursor.is_word(word));
    let first = cursor.name("an expression")?;
    if cursor.is_symbol_at(0, "(") {
        // An older spelling: WindowStart() is the column WINDOWSTART.
        if bound.is_some() && cursor.is_symbol_at(1, ")") {
            cursor.expect_symbol("(")?;
            cursor.expect_symbol(")")?;
            return Ok(Parsed::leaf(ExprKind::Column { source: None, name: first }, place));
        }
        return call(cursor, &first, place);
    }
    if cursor.is_symbol_at(0, ".") && !cursor.is_symbol_at(1, "*") {
        cursor.expect_symbol(".")?;
        let name = cursor.name("the name of a column")?;
        return Ok(Parsed::leaf(ExprKind::Column { source: Some(first), name }, place));
    }
    Ok(Parsed::leaf(ExprKind::Column { source: None, name: first }, place))
}

fn call(cursor: &mut Cursor<'_>, function: &Name, place: Place) -> Result<Parsed> {
    let name = function.as_str().to_uppercase();
    if cursor.is_symbol_at(1, "*") && cursor.is_symbol_at(2, ")") {
        (0..3).for_each(|_| cursor.advance());
        let kind = ExprKind::Call { name, arguments: Vec::new(), distinct: false, star: true };
        return Ok(Parsed::leaf(kind, place));
    }
    let mut gathered = Gathered::default();
    let mut distinct = false;
    let arguments = call_list(cursor, |cursor| {
        distinct |= gathered.depth == 0 && cursor.eat(&["DISTINCT"]);
        gathered.next(cursor)
    })?;
    let kind = ExprKind::Call { name, arguments, distinct, star: false };
    Parsed::parent(gathered.depth, kind, place)
}

/// A type: built in, or any other name.
pub(super) fn type_name(cursor: &mut Cursor<'_>) -> Result<TypeName> {
    cursor.nest(|cursor| {
        let place = cursor.place();
        let name = cursor.name("a type")?;
        let scalar = match name.as_str() {
            "BOOLEAN" => SqlType::Boolean,
            "INT" | "INTEGER" => SqlType::Int,
            "BIGINT" => SqlType::Bigint,
            "DOUBLE" => SqlType::Double,
            "STRING" | "VARCHAR" => {
                // A length is read and not kept, as texts have none.
                if cursor.eat_symbol("(") {
                    cursor.count("a length")?;
                    cursor.expect_symbol(")")?;
                }
                SqlType::String
            }
            "BYTES" => SqlType::Bytes,
            "DATE" => SqlType::Date,
            "TIME" => SqlType::Time,
            "TIMESTAMP" => SqlType::Timestamp,
            "DECIMAL" | "DEC" => decimal_type(cursor, place)?,
            "ARRAY" => return in_brackets(cursor, type_name).map(|of| TypeName::Array(of.into())),
            "MAP" => {
                return in_brackets(cursor, |cursor| {
                    let key = type_name(cursor)?;
                    cursor.expect_symbol(",")?;
                    Ok(TypeName::Map(key.into(), type_name(cursor)?.into()))
                });
            }
            "STRUCT" => return in_brackets(cursor, struct_fields).map(TypeName::Struct),
            _ => return Ok(TypeName::Created(name, Written(place))),
        };
        Ok(TypeName::Scalar(scalar))
    })
}

fn in_brackets<T>(
    cursor: &mut Cursor<'_>,
    inside: impl FnOnce(&mut Cursor<'_>) -> Result<T>,
) -> Result<T> {
    cursor.expect_symbol("<")?;
    let found = inside(cursor)?;
    cursor.expect_symbol(">")?;
    Ok(found)
}

fn struct_fields(cursor: &mut Cursor<'_>) -> Result<Vec<(Name, TypeName)>> {
    let mut seen = std::collections::HashSet::new();
    cursor.list(|cursor| {
        let place = cursor.place();
        let name = cursor.name("the name of a field")?;
        if !seen.insert(name.clone()) {
            let what = format!("the field {name}");
            return Err(SqlError::new(place, Cause::Twice { what }));
        }
        Ok((name, type_name(cursor)?))
    })
}

fn decimal_type(cursor: &mut Cursor<'_>, place: Place) -> Result<SqlType> {
    let [mut precision, mut scale] = [u64::from(DECIMAL_PRECISION_MAX), 0];
    if cursor.eat_symbol("(") {
        precision = cursor.count("a precision")?;
        if cursor.eat_symbol(",") {
            scale = cursor.count("a scale")?;
        }
        cursor.expect_symbol(")")?;
    }
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=DECIMAL_PRECISION_MAX), Ok(scale)) if scale <= precision => {
            Ok(SqlType::Decimal { precision, scale })
        }
        _ => {
            let expected = "the precision is 1 to 38, the scale 0 to the precision";
            let text = format!("DECIMAL({precision}, {scale})");
            Err(SqlError::new(place, Cause::InvalidType { text, expected }))
        }
    }
}
