//! INSERT INTO name VALUES: expressions without columns to rows of a stream, checked against its types.

use std::sync::Arc;

use protocol::id::Timestamp;
use protocol::record::Record;
use sql::ast::{Expr, InsertValues};
use sql::compile::compile_as;
use sql::schema::{ColumnRef, Pseudo, Schema};
use sql::value::{SqlType, Value};
use sql::{Change, Place, Row, Rows, RowsBuilder};

use crate::error::{Error, Result};
use crate::format::rows::RowsWriter;
use crate::plan::declare::Stream;

/// The records that the statement makes.
///
/// # Errors
/// When a column is unknown, a value does not fit, or their numbers differ.
pub fn records_of(insert: &InsertValues, stream: &Stream, now: Timestamp) -> Result<Vec<Record>> {
    let schema = &stream.layout.schema;
    let columns = named_columns(insert, schema)?;
    let mut builder = RowsBuilder::new(Arc::clone(schema), insert.rows.len());
    for values in &insert.rows {
        let place = values.first().map_or(Place::START, Expr::place);
        if values.len() != columns.len() {
            let (expected, found) = (columns.len(), values.len());
            return Err(Error::ValueCount { place, expected, found });
        }
        let mut row = Row {
            key: vec![Value::Null; schema.key().len()],
            value: vec![Value::Null; schema.value().len()],
            time: now.0,
            partition: None,
            offset: None,
            change: Change::Insert,
        };
        for ((column, name), expr) in columns.iter().zip(values) {
            let slot = match column {
                ColumnRef::Key(index) => row.key.get_mut(*index),
                ColumnRef::Value(index) => row.value.get_mut(*index),
                ColumnRef::Pseudo(Pseudo::Rowtime) => {
                    row.time = row_time(expr)?;
                    continue;
                }
                ColumnRef::Pseudo(_) => {
                    let what = format!("a value for {name}, which the topic decides");
                    return Err(Error::Unsupported { place: expr.place(), what });
                }
            };
            let sql_type = schema.type_of(*column);
            if let (Some(slot), Some(sql_type)) = (slot, sql_type) {
                *slot = constant(expr, name, &sql_type)?;
            }
        }
        builder.push(&row).map_err(|error| Error::Internal(error.to_string()))?;
    }
    let rows = builder.finish();
    let records = RowsWriter::new(&stream.layout).write(&rows);
    Ok((0..rows.len()).map(|row| records.get(row)).collect())
}

fn named_columns(insert: &InsertValues, schema: &Schema) -> Result<Vec<(ColumnRef, String)>> {
    if insert.columns.is_empty() {
        return Ok(schema.columns().map(|(place, column)| (place, column.name.clone())).collect());
    }
    let mut columns: Vec<(ColumnRef, String)> = Vec::new();
    for name in &insert.columns {
        // ROWKEY is what the key was called in 2019.
        let found = match name.as_str() {
            "ROWKEY" if schema.key().len() == 1 => Ok(ColumnRef::Key(0)),
            name => schema.find(None, name),
        };
        let column = found.map_err(|error| Error::Internal(error.to_string())).or_else(|_| {
            let expr = sql::ast::Expr::new(
                sql::ast::ExprKind::Column { source: None, name: name.clone() },
                Place::START,
            );
            // Compiling it gives the error with its advice.
            match sql::compile::compile(&expr, schema) {
                Err(error) => Err(Error::from(error)),
                Ok(_) => Err(Error::Internal(format!("the column {name} was not found"))),
            }
        })?;
        if columns.iter().any(|(known, _)| *known == column) {
            let cause = sql::Cause::Twice { what: format!("the column {name}") };
            return Err(sql::SqlError::new(Place::START, cause).into());
        }
        columns.push((column, name.to_string()));
    }
    Ok(columns)
}

/// Milliseconds since 1970, or a text of a moment.
fn row_time(expr: &Expr) -> Result<i64> {
    let name = Pseudo::Rowtime.name();
    let as_number = constant(expr, name, &SqlType::Bigint);
    match as_number.or_else(|error| constant(expr, name, &SqlType::Timestamp).map_err(|_| error))? {
        Value::Bigint(ms) | Value::Timestamp(ms) => Ok(ms),
        _ => Err(Error::Value {
            place: expr.place(),
            column: name.to_owned(),
            sql_type: SqlType::Bigint,
            cause: "it is null".to_owned(),
        }),
    }
}

fn constant(expr: &Expr, column: &str, sql_type: &SqlType) -> Result<Value> {
    let nothing = Arc::new(Schema::default());
    let compiled = compile_as(expr, &nothing, sql_type)?;
    let failed = |cause: String| Error::Value {
        place: expr.place(),
        column: column.to_owned(),
        sql_type: sql_type.clone(),
        cause,
    };
    let mut one = RowsBuilder::new(nothing, 1);
    let row = Row {
        key: vec![],
        value: vec![],
        time: 0,
        partition: None,
        offset: None,
        change: Change::Insert,
    };
    one.push(&row).map_err(|error| failed(error.to_string()))?;
    let one: Rows = one.finish();
    let evaluated = compiled.evaluate(&one).map_err(|error| failed(error.to_string()))?;
    match evaluated.errors.first() {
        Some(error) => Err(failed(error.cause.to_string())),
        None => Ok(Value::read(&evaluated.column, 0)),
    }
}
