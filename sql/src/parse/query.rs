//! SELECT with its clauses.

use super::cursor::Cursor;
use super::expression::{is_lambda, parse_expr, type_name};
use crate::ast::{
    Emit, Expr, Join, JoinKind, Name, Query, SelectItem, Source, SpanUnit, TimeSpan, TypeName,
    Window, WindowShape, Within, Written,
};
use crate::error::{Cause, Result};
use crate::tokens::Token;
use crate::words::is_quoted_when_printed;

pub(super) fn query(cursor: &mut Cursor<'_>) -> Result<Box<Query>> {
    let place = Written(cursor.place());
    cursor.expect(&["SELECT"])?;
    let distinct = cursor.eat(&["DISTINCT"]);
    let select = cursor.list(select_item)?;
    cursor.expect(&["FROM"])?;
    let from = source(cursor)?;
    let joins = joins(cursor)?;
    let window = if cursor.eat(&["WINDOW"]) { Some(window(cursor)?) } else { None };
    let filter = clause(cursor, &["WHERE"])?;
    let group_by = expressions(cursor, &["GROUP", "BY"])?;
    let partition_by = expressions(cursor, &["PARTITION", "BY"])?;
    let having = clause(cursor, &["HAVING"])?;
    let order_by = order_by(cursor)?;
    let emit = emit(cursor)?;
    let limit = match cursor.eat(&["LIMIT"]) {
        true => Some(cursor.count("a number of rows")?),
        false => None,
    };
    let query = Query {
        select,
        distinct,
        from,
        joins,
        window,
        filter,
        group_by,
        partition_by,
        having,
        order_by,
        emit,
        limit,
        place,
    };
    Ok(Box::new(query))
}

fn clause(cursor: &mut Cursor<'_>, words: &[&str]) -> Result<Option<Expr>> {
    if cursor.eat(words) { parse_expr(cursor).map(Some) } else { Ok(None) }
}

/// A list of expressions, perhaps in one pair of parentheses: `GROUP BY (a, b)`.
fn expressions(cursor: &mut Cursor<'_>, words: &[&str]) -> Result<Vec<Expr>> {
    if !cursor.eat(words) {
        return Ok(Vec::new());
    }
    if encloses_a_list(cursor) && !is_lambda(cursor) {
        cursor.enclosed(parse_expr)
    } else {
        cursor.list(parse_expr)
    }
}

/// Whether a parenthesis stands here that has a comma of its own inside.
fn encloses_a_list(cursor: &Cursor<'_>) -> bool {
    let mut open = 0_usize;
    for ahead in 0.. {
        match cursor.peek_at(ahead) {
            Some(Token::Symbol("(" | "[")) => open += 1,
            Some(Token::Symbol(")" | "]")) => open = open.saturating_sub(1),
            Some(Token::Symbol(",")) if open == 1 => return true,
            None => return false,
            Some(_) => {}
        }
        if open == 0 {
            return false;
        }
    }
    false
}

fn order_by(cursor: &mut Cursor<'_>) -> Result<Vec<(Expr, bool)>> {
    if !cursor.eat(&["ORDER", "BY"]) {
        return Ok(Vec::new());
    }
    cursor.list(|cursor| {
        let expr = parse_expr(cursor)?;
        let descending = !cursor.eat(&["ASC"]) && cursor.eat(&["DESC"]);
        Ok((expr, descending))
    })
}

fn emit(cursor: &mut Cursor<'_>) -> Result<Option<Emit>> {
    if !cursor.eat(&["EMIT"]) {
        return Ok(None);
    }
    if cursor.eat(&["CHANGES"]) {
        Ok(Some(Emit::Changes))
    } else if cursor.eat(&["FINAL"]) {
        Ok(Some(Emit::Final))
    } else {
        Err(cursor.unexpected("CHANGES or FINAL"))
    }
}

fn select_item(cursor: &mut Cursor<'_>) -> Result<SelectItem> {
    let place = Written(cursor.place());
    if cursor.eat_symbol("*") {
        return Ok(SelectItem::All { source: None, place });
    }
    if cursor.is_symbol_at(1, ".") && cursor.is_symbol_at(2, "*") {
        let source = Some(cursor.name("the name of a source")?);
        cursor.expect_symbol(".")?;
        cursor.expect_symbol("*")?;
        return Ok(SelectItem::All { source, place });
    }
    let expr = parse_expr(cursor)?;
    if cursor.is_symbol_at(0, "->") && cursor.is_symbol_at(1, "*") {
        cursor.expect_symbol("->")?;
        cursor.expect_symbol("*")?;
        return Ok(SelectItem::Fields(expr));
    }
    Ok(SelectItem::Expression { expr, alias: alias(cursor)? })
}

/// `AS name`, or a name that begins no clause.
fn alias(cursor: &mut Cursor<'_>) -> Result<Option<Name>> {
    if cursor.eat(&["AS"]) {
        return cursor.name("a name").map(Some);
    }
    let begins_clause =
        matches!(cursor.peek(), Some(Token::Word(word)) if is_quoted_when_printed(word));
    let name = cursor.name_ahead().filter(|_| !begins_clause);
    if name.is_some() {
        cursor.advance();
    }
    Ok(name)
}

fn source(cursor: &mut Cursor<'_>) -> Result<Source> {
    let place = Written(cursor.place());
    let name = cursor.name("the name of a stream or table")?;
    Ok(Source { name, alias: alias(cursor)?, place })
}

fn joins(cursor: &mut Cursor<'_>) -> Result<Vec<Join>> {
    let mut joins = Vec::new();
    while let Some(kind) = join_kind(cursor)? {
        let source = source(cursor)?;
        let within = if cursor.eat(&["WITHIN"]) { Some(within(cursor)?) } else { None };
        cursor.expect(&["ON"])?;
        joins.push(Join { kind, source, within, on: parse_expr(cursor)? });
    }
    Ok(joins)
}

fn join_kind(cursor: &mut Cursor<'_>) -> Result<Option<JoinKind>> {
    if cursor.eat(&["JOIN"]) {
        return Ok(Some(JoinKind::Inner));
    }
    let kinds = [
        ("INNER", JoinKind::Inner),
        ("LEFT", JoinKind::Left),
        ("RIGHT", JoinKind::Right),
        ("FULL", JoinKind::Full),
    ];
    let Some((_, kind)) = kinds.into_iter().find(|(word, _)| cursor.eat(&[word])) else {
        return Ok(None);
    };
    if kind != JoinKind::Inner {
        cursor.eat(&["OUTER"]);
    }
    cursor.expect(&["JOIN"])?;
    Ok(Some(kind))
}

fn within(cursor: &mut Cursor<'_>) -> Result<Within> {
    let (before, after) = if cursor.eat_symbol("(") {
        let before = time_span(cursor)?;
        cursor.expect_symbol(",")?;
        let after = time_span(cursor)?;
        cursor.expect_symbol(")")?;
        (before, after)
    } else {
        let both = time_span(cursor)?;
        (both, both)
    };
    let grace = optional_span(cursor, &["GRACE", "PERIOD"])?;
    Ok(Within { before, after, grace })
}

fn optional_span(cursor: &mut Cursor<'_>, words: &[&str]) -> Result<Option<TimeSpan>> {
    if cursor.eat(words) { time_span(cursor).map(Some) } else { Ok(None) }
}

pub(super) fn time_span(cursor: &mut Cursor<'_>) -> Result<TimeSpan> {
    const UNITS: &str = "MILLISECONDS, SECONDS, MINUTES, HOURS or DAYS";
    let place = cursor.place();
    let count = cursor.count("a length of time, such as 5 MINUTES")?;
    let unit = match cursor.peek() {
        Some(Token::Word(word)) => SpanUnit::of_name(word),
        _ => None,
    };
    let Some(unit) = unit else { return Err(cursor.unexpected(UNITS)) };
    let span = TimeSpan { count, unit };
    if i128::from(count) * i128::from(unit.ms()) > i128::from(i64::MAX) {
        let expected = "a length of time up to 9223372036854775807 milliseconds";
        let cause = Cause::Number { text: count.to_string(), expected };
        return Err(crate::error::SqlError::new(place, cause));
    }
    cursor.advance();
    Ok(span)
}

fn window(cursor: &mut Cursor<'_>) -> Result<Window> {
    // `WINDOW name TUMBLING (...)` is an older spelling with a name that nothing reads.
    let shape_words = ["TUMBLING", "HOPPING", "SESSION"];
    if !shape_words.iter().any(|word| cursor.is_word(word)) && cursor.name_ahead().is_some() {
        cursor.advance();
    }
    let Some(word) = shape_words.into_iter().find(|word| cursor.eat(&[word])) else {
        return Err(cursor.unexpected("TUMBLING, HOPPING or SESSION"));
    };
    cursor.expect_symbol("(")?;
    let shape = match word {
        "SESSION" => WindowShape::Session { gap: time_span(cursor)? },
        _ => {
            cursor.expect(&["SIZE"])?;
            let size = time_span(cursor)?;
            if word == "TUMBLING" {
                WindowShape::Tumbling { size }
            } else {
                cursor.expect_symbol(",")?;
                cursor.expect(&["ADVANCE", "BY"])?;
                WindowShape::Hopping { size, advance: time_span(cursor)? }
            }
        }
    };
    let mut window = Window { shape, retention: None, grace: None };
    while cursor.eat_symbol(",") {
        let place = cursor.place();
        let (slot, what, words): (_, _, &[&str]) = if cursor.is_word("RETENTION") {
            (&mut window.retention, "RETENTION", &["RETENTION"])
        } else {
            (&mut window.grace, "GRACE PERIOD", &["GRACE", "PERIOD"])
        };
        cursor.expect(words)?;
        if slot.replace(time_span(cursor)?).is_some() {
            let cause = Cause::Twice { what: what.to_owned() };
            return Err(crate::error::SqlError::new(place, cause));
        }
    }
    cursor.expect_symbol(")")?;
    Ok(window)
}

/// `name type`.
pub(super) fn named_type(cursor: &mut Cursor<'_>) -> Result<(Name, TypeName)> {
    Ok((cursor.name("the name of a column")?, type_name(cursor)?))
}
