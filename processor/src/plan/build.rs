//! SELECT to plan: names looked up, the select list spelled out, the key found.
//!
//! What is known and cannot be carried out yet is refused here, by name and place.

use std::sync::Arc;

use sql::ast::{Emit, Expr, ExprKind, Literal, Name, Query, SelectItem};
use sql::compile::{compile, compile_as, condition};
use sql::evaluate::Compiled;
use sql::schema::{Column, ColumnRef, Schema};
use sql::value::SqlType;
use sql::{Cause, Place, SqlError};

use super::declare::Stream;
use super::logical::{Plan, Scan};
use crate::error::{Error, Result};

/// A SELECT as it will be carried out.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The steps.
    pub plan: Plan,
    /// What the caller should be told.
    pub notices: Vec<String>,
}

/// One column of the result, before it is known where it goes.
#[derive(Clone, Debug)]
struct Item {
    name: String,
    expr: Expr,
    /// The column of the source that it is, when it is nothing but a column.
    column: Option<ColumnRef>,
}

/// Plans a SELECT whose rows are shown: columns in the order of the select list.
///
/// # Errors
/// When a name or type does not fit, or a clause is not supported.
pub fn plan_rows(query: &Query, source: &Stream) -> Result<Selected> {
    let input = plan_input(query, source)?;
    let schema = input.schema();
    if let Some(expr) = query.partition_by.first() {
        return Err(unsupported(expr.place(), "PARTITION BY in a SELECT whose rows are shown"));
    }
    let items = select_items(query, schema)?;
    let value = items.iter().map(|item| compile_item(&item.expr, schema));
    let value = value.collect::<Result<Vec<_>>>()?;
    let plan = project(input, &[], &items, vec![], value)?;
    Ok(Selected { plan, notices: Vec::new() })
}

/// Plans a SELECT whose rows become records: key columns and value columns apart.
///
/// # Errors
/// When a name or type does not fit, the key is not selected, or a clause is not supported.
pub fn plan_records(query: &Query, source: &Stream) -> Result<Selected> {
    let input = plan_input(query, source)?;
    if query.limit.is_some() {
        return Err(unsupported(query.place.0, "LIMIT in a query that runs on"));
    }
    let schema = input.schema();
    let mut items = select_items(query, schema)?;
    let keys = find_keys(query, schema, &mut items)?;
    let mut notices = Vec::new();
    if keys.is_empty() && query.partition_by.is_empty() && !schema.key().is_empty() {
        let names: Vec<_> = schema.key().iter().map(|column| column.name.as_str()).collect();
        notices.push(format!(
            "the key {} is not selected: the new records have no key",
            names.join(", ")
        ));
    }
    let (key, value): (Vec<_>, Vec<_>) =
        items.into_iter().enumerate().partition(|(index, _)| keys.contains(index));
    // Key columns in the order of the key, not of the select list.
    let mut key = key;
    key.sort_by_key(|(index, _)| keys.iter().position(|at| at == index));
    let strip = |items: Vec<(usize, Item)>| items.into_iter().map(|(_, item)| item).collect();
    let (key, value): (Vec<Item>, Vec<Item>) = (strip(key), strip(value));
    let compiled = |items: &[Item]| {
        items.iter().map(|item| compile_item(&item.expr, schema)).collect::<Result<Vec<_>>>()
    };
    let (key_columns, value_columns) = (compiled(&key)?, compiled(&value)?);
    let plan = project(input, &key, &value, key_columns, value_columns)?;
    Ok(Selected { plan, notices })
}

/// Plans a SELECT whose rows go into a stream that exists: columns by name where all names agree, else by place.
///
/// # Errors
/// As [`plan_records`], and when columns and stream do not fit each other.
pub fn plan_insert(query: &Query, source: &Stream, target: &Stream) -> Result<Selected> {
    let input = plan_input(query, source)?;
    if query.limit.is_some() {
        return Err(unsupported(query.place.0, "LIMIT in a query that runs on"));
    }
    if let Some(expr) = query.partition_by.first() {
        return Err(unsupported(
            expr.place(),
            "PARTITION BY in INSERT INTO: the key is that of the stream",
        ));
    }
    let schema = input.schema();
    let items = select_items(query, schema)?;
    let wanted = &target.layout.schema;
    let columns: Vec<&Column> = wanted.columns().map(|(_, column)| column).collect();
    let named = |column: &&Column| items.iter().find(|item| item.name == column.name);
    let by_name: Option<Vec<&Item>> = columns.iter().map(named).collect();
    let matched = match by_name {
        Some(matched) if items.len() == columns.len() => matched,
        _ if items.len() == columns.len() => items.iter().collect(),
        _ => {
            let names: Vec<_> = items.iter().map(|item| item.name.as_str()).collect();
            return Err(Error::SinkColumns {
                place: query.place.0,
                target: target.name.clone(),
                expected: wanted.to_string(),
                found: names.join(", "),
            });
        }
    };
    let compiled = matched.iter().zip(&columns);
    let compiled =
        compiled.map(|(item, column)| Ok(compile_as(&item.expr, schema, &column.sql_type)?));
    let mut key = compiled.collect::<Result<Vec<_>>>()?;
    let value = key.split_off(wanted.key().len());
    let plan = Plan::Project { schema: Arc::clone(wanted), key, value, input: Box::new(input) };
    Ok(Selected { plan, notices: Vec::new() })
}

fn unsupported(place: Place, what: impl Into<String>) -> Error {
    Error::Unsupported { place, what: what.into() }
}

/// FROM and WHERE.
fn plan_input(query: &Query, source: &Stream) -> Result<Plan> {
    refuse_clauses(query)?;
    let mut layout = source.layout.clone();
    let called = query.from.called().as_str();
    layout.schema = Arc::new(Schema::clone(&layout.schema).with_source(called));
    let scan =
        Plan::Scan(Scan { source: source.name.clone(), topic: source.topic.clone(), layout });
    let Some(filter) = &query.filter else { return Ok(scan) };
    refuse_aggregates(filter)?;
    let condition = condition(filter, scan.schema())?;
    Ok(Plan::Filter { input: Box::new(scan), condition })
}

fn refuse_clauses(query: &Query) -> Result<()> {
    let place = query.place.0;
    let refuse = |given: bool, place: Place, what: &str| match given {
        true => Err(unsupported(place, what)),
        false => Ok(()),
    };
    if let Some(join) = query.joins.first() {
        return Err(unsupported(join.source.place.0, "JOIN"));
    }
    refuse(query.window.is_some(), place, "WINDOW")?;
    refuse(query.distinct, place, "SELECT DISTINCT")?;
    refuse(query.emit == Some(Emit::Final), place, "EMIT FINAL")?;
    if let Some(expr) = query.group_by.first() {
        return Err(unsupported(expr.place(), "GROUP BY"));
    }
    if let Some(expr) = &query.having {
        return Err(unsupported(expr.place(), "HAVING"));
    }
    if let Some((expr, _)) = query.order_by.first() {
        return Err(unsupported(expr.place(), "ORDER BY"));
    }
    Ok(())
}

fn refuse_aggregates(expr: &Expr) -> Result<()> {
    let mut found = None;
    expr.visit(&mut |part| {
        if let ExprKind::Call { name, .. } = &part.kind
            && sql::functions::table::is_aggregate(name)
        {
            found.get_or_insert_with(|| (part.place(), format!("the aggregate {name}")));
        }
    });
    match found {
        Some((place, what)) => Err(unsupported(place, what)),
        None => Ok(()),
    }
}

/// The select list, with stars spelled out.
fn select_items(query: &Query, schema: &Schema) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut unnamed = 0;
    for selected in &query.select {
        match selected {
            SelectItem::All { source, place } => {
                if let Some(source) = source
                    && source != query.from.called()
                {
                    let name = source.to_string();
                    return Err(Error::UnknownSource {
                        name,
                        near: Some(query.from.called().to_string()),
                    });
                }
                items.extend(schema.columns().map(|(column, named)| Item {
                    name: named.name.clone(),
                    expr: column_expr(named, place.0),
                    column: Some(column),
                }));
            }
            SelectItem::Fields(of) => {
                let SqlType::Struct(fields) = compile_item(of, schema)?.sql_type().clone() else {
                    let found = compile_item(of, schema)?.sql_type().clone();
                    let (what, expected) = ("what stands before ->*".into(), "a STRUCT".into());
                    let cause = Cause::WrongType { what, expected, found };
                    return Err(SqlError::new(of.place(), cause).into());
                };
                items.extend(fields.into_iter().map(|field| {
                    let name = Name(field.name.clone());
                    let kind = ExprKind::Field { expr: Box::new(of.clone()), name };
                    Item { name: field.name, expr: Expr::new(kind, of.place()), column: None }
                }));
            }
            SelectItem::Expression { expr, alias } => {
                refuse_aggregates(expr)?;
                let written = match (&expr.kind, alias) {
                    (_, Some(alias)) => Some(alias),
                    (ExprKind::Column { name, .. } | ExprKind::Field { name, .. }, None) => {
                        Some(name)
                    }
                    _ => None,
                };
                let name = written.map(|name| name.as_str().to_owned()).unwrap_or_else(|| {
                    unnamed += 1;
                    unnamed_column(unnamed - 1)
                });
                items.push(Item { name, column: column_of(expr, schema), expr: expr.clone() });
            }
        }
    }
    Ok(items)
}

/// ksqlDB's name for a column without one.
fn unnamed_column(number: usize) -> String {
    format!("KSQL_COL_{number}")
}

fn column_expr(column: &Column, place: Place) -> Expr {
    let source = column.source.clone().map(Name);
    Expr::new(ExprKind::Column { source, name: Name(column.name.clone()) }, place)
}

fn column_of(expr: &Expr, schema: &Schema) -> Option<ColumnRef> {
    let ExprKind::Column { source, name } = &expr.kind else { return None };
    schema.find(source.as_ref().map(Name::as_str), name.as_str()).ok()
}

/// Which items are the key, in the order of the key. May add an item for a key that `*` stands for.
fn find_keys(query: &Query, schema: &Schema, items: &mut Vec<Item>) -> Result<Vec<usize>> {
    if query.partition_by.is_empty() {
        let place = |index| {
            let key = Some(ColumnRef::Key(index));
            items.iter().position(|item| item.column == key)
        };
        return Ok((0..schema.key().len()).filter_map(place).collect());
    }
    let star = query.select.iter().any(|item| matches!(item, SelectItem::All { .. }));
    let mut keys = Vec::new();
    for expr in &query.partition_by {
        if expr.kind == ExprKind::Literal(Literal::Null) {
            continue;
        }
        refuse_aggregates(expr)?;
        let column = column_of(expr, schema);
        let same = |item: &Item| match column {
            Some(column) => item.column == Some(column),
            None => item.expr == *expr,
        };
        // A name that the source does not have may be that of a selected column.
        let alias = |item: &Item| match &expr.kind {
            ExprKind::Column { source: None, name } if column.is_none() => item.name == name.0,
            _ => false,
        };
        let found = items.iter().position(same).or_else(|| items.iter().position(alias));
        keys.push(match found {
            Some(found) => found,
            None if star => {
                // Names and types are checked when the item is compiled.
                let name = unnamed_column(keys.len());
                items.push(Item { name, expr: expr.clone(), column });
                items.len() - 1
            }
            None => {
                compile_item(expr, schema)?;
                let (place, expression) = (expr.place(), expr.to_string());
                return Err(Error::KeyNotSelected { place, expression });
            }
        });
    }
    Ok(keys)
}

fn compile_item(expr: &Expr, schema: &Schema) -> Result<Compiled> {
    Ok(compile(expr, schema)?)
}

fn project(
    input: Plan,
    key_items: &[Item],
    value_items: &[Item],
    key: Vec<Compiled>,
    value: Vec<Compiled>,
) -> Result<Plan> {
    let columns = |items: &[Item], compiled: &[Compiled]| {
        let pairs = items.iter().zip(compiled);
        pairs.map(|(item, compiled)| Column::new(&item.name, compiled.sql_type().clone())).collect()
    };
    let schema = Schema::new(columns(key_items, &key), columns(value_items, &value))?;
    Ok(Plan::Project { input: Box::new(input), schema: Arc::new(schema), key, value })
}
