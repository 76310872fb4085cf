//! INSERT INTO name VALUES: expressions without columns to rows of a stream, checked against its types, and written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use client::partitioner::partition_for_key;
use client::transport::Transport;
use parking_lot::Mutex;
use protocol::id::{Partition, Timestamp, TopicName};
use protocol::record::Record;
use sql::ast::{Expr, ExprKind, InsertValues};
use sql::compile::{compile, compile_as};
use sql::schema::{ColumnRef, Pseudo, Schema};
use sql::value::{SqlType, Value};
use sql::{Change, Place, Row, Rows, RowsBuilder};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::format::rows::RowsWriter;
use crate::journal::Journal;
use crate::plan::declare::Stream;

/// Partitions that an inserter keeps a journal for; past that it starts anew.
const JOURNALS_MAX: usize = 1_000;

/// Texts and bytes that the rows of one INSERT may have together: functions make much of a short statement.
const INSERT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Writes the records of INSERT VALUES. One for the whole engine, so that what one caller writes stays in order.
#[derive(Debug)]
pub struct Inserter {
    transport: Arc<dyn Transport>,
    clock: Clock,
    /// Guards the map alone; held for a look or a change.
    journals: Mutex<HashMap<(TopicName, Partition), Journal>>,
    /// Records without a key take turns through the partitions, statement by statement.
    turn: AtomicU32,
}

impl Inserter {
    /// An inserter that has written nothing.
    pub fn new(transport: Arc<dyn Transport>, clock: Clock) -> Self {
        Self { transport, clock, journals: Mutex::default(), turn: AtomicU32::new(0) }
    }

    /// Writes records where their keys belong; waits until they are durable. Those of one partition are whole or not
    /// there.
    ///
    /// # Errors
    /// What the broker says.
    ///
    /// # After an error
    /// Records of other partitions may be there; the error says whether its own may be.
    pub async fn insert(&self, topic: &TopicName, records: Vec<Record>) -> Result<()> {
        let described = self.transport.describe_topic(topic.clone()).await?;
        let count = u32::try_from(described.partitions.len()).unwrap_or(u32::MAX);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(count).unwrap_or(0);
        let keyless = Partition::new(turn.into()).unwrap_or_default();
        let mut by_partition: BTreeMap<Partition, Vec<Record>> = BTreeMap::new();
        for record in records {
            let partition =
                record.key.as_ref().map_or(keyless, |key| partition_for_key(key, count));
            by_partition.entry(partition).or_default().push(record);
        }
        for (partition, records) in by_partition {
            self.journal(topic, partition).append(records).await?;
        }
        Ok(())
    }

    /// The topic is gone: whatever has its name next is another one.
    pub fn forget(&self, topic: &TopicName) {
        self.journals.lock().retain(|(known, _), _| known != topic);
    }

    fn journal(&self, topic: &TopicName, partition: Partition) -> Journal {
        let mut journals = self.journals.lock();
        if journals.len() >= JOURNALS_MAX {
            journals.clear();
        }
        let start = || {
            let transport = Arc::clone(&self.transport);
            Journal::start(transport, topic.clone(), partition, self.clock.clone())
        };
        journals.entry((topic.clone(), partition)).or_insert_with(start).clone()
    }
}

/// The records that the statement makes.
///
/// # Errors
/// When a column is unknown, a value does not fit, or their numbers differ.
pub fn records_of(insert: &InsertValues, stream: &Stream, now: Timestamp) -> Result<Vec<Record>> {
    let schema = &stream.layout.schema;
    let columns = named_columns(insert, schema)?;
    let mut builder = RowsBuilder::new(Arc::clone(schema), insert.rows.len());
    let mut bytes = 0;
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
        bytes += row.key.iter().chain(&row.value).map(Value::payload_bytes).sum::<usize>();
        if bytes > INSERT_BYTES_MAX {
            return Err(Error::InsertTooLarge { place, limit: INSERT_BYTES_MAX });
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
        let column = match name.as_str() {
            "ROWKEY" if schema.key().len() == 1 => ColumnRef::Key(0),
            plain => {
                // Compiled for its error, which has advice.
                let kind = ExprKind::Column { source: None, name: name.clone() };
                compile(&Expr::new(kind, Place::START), schema)?;
                schema.find(None, plain).map_err(|error| Error::Internal(error.to_string()))?
            }
        };
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
