//! Whole batches of records to rows, and rows to records: the formats of key and value side by side.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, BooleanArray, Int64Array};
use protocol::batch::{Batch, BatchError};
use protocol::id::{Offset, Partition, Timestamp};
use protocol::record::{Record, RecordView};
use sql::compile::compile;
use sql::evaluate::Compiled;
use sql::schema::Schema;
use sql::value::{SqlType, Value};
use sql::words::{quoted, text_literal};
use sql::{Change, Row, Rows, RowsBuilder, SqlError};

use super::codec::{Decode, Encode, Malformed, Payloads};
use super::table::{Codec, Part};

/// How the records of a topic become rows of a schema, and back.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The columns.
    pub schema: Arc<Schema>,
    /// The format of the key.
    pub key: Codec,
    /// The format of the value.
    pub value: Codec,
    /// Where ROWTIME comes from, if not from the record.
    pub time: Option<RowTime>,
}

/// A column that stands in for the record's timestamp.
#[derive(Clone, Debug)]
pub struct RowTime {
    time: Compiled,
}

impl RowTime {
    /// ROWTIME from a column of a schema: BIGINT milliseconds, a TIMESTAMP, or a STRING in this pattern.
    ///
    /// # Errors
    /// When there is no such column, or its type does not go with the pattern.
    pub fn new(column: &str, pattern: Option<&str>, schema: &Schema) -> Result<Self, SqlError> {
        let text = match pattern {
            Some(pattern) => {
                format!("STRINGTOTIMESTAMP({}, {})", quoted(column), text_literal(pattern))
            }
            None => quoted(column).to_string(),
        };
        let time = compile(&sql::parse::expression(&text)?, schema)?;
        match time.sql_type() {
            SqlType::Bigint | SqlType::Timestamp => Ok(Self { time }),
            found => Err(SqlError::new(
                sql::Place::START,
                sql::Cause::WrongType {
                    what: format!("the TIMESTAMP column {}", quoted(column)),
                    expected: "BIGINT, TIMESTAMP, or STRING with TIMESTAMP_FORMAT".to_owned(),
                    found: found.clone(),
                },
            )),
        }
    }

    /// The time of each row; null where it has none. The second: what is wrong with rows, by their number.
    fn of(&self, rows: &Rows) -> (Int64Array, Vec<(usize, String)>) {
        match self.time.evaluate(rows) {
            Ok(evaluated) => {
                let column = &evaluated.column;
                let times = match column.as_primitive_opt::<Int64Type>() {
                    Some(times) => times.clone(),
                    None => match column.as_primitive_opt::<TimestampMillisecondType>() {
                        Some(times) => {
                            Int64Array::new(times.values().clone(), times.nulls().cloned())
                        }
                        None => Int64Array::new_null(rows.len()),
                    },
                };
                let errors = evaluated.errors.into_iter();
                (times, errors.map(|error| (error.row, error.cause.to_string())).collect())
            }
            Err(error) => (Int64Array::new_null(rows.len()), vec![(0, error.to_string())]),
        }
    }
}

/// A record that did not become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Where it lies.
    pub offset: Offset,
    /// Why.
    pub cause: BadCause,
}

/// Why a record did not become a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCause {
    /// Key or value do not fit the columns.
    #[error("{part}: {cause}")]
    Malformed {
        /// Key or value.
        part: Part,
        /// What does not fit.
        cause: Malformed,
    },
    /// The batch around it cannot be opened.
    #[error("{0}")]
    Batch(#[from] BatchError),
    /// The column that ROWTIME comes from gives none.
    #[error("it has no time: {cause}")]
    Time {
        /// Why.
        cause: String,
    },
    /// The columns do not make a batch of rows.
    #[error("{cause}")]
    Rows {
        /// Why.
        cause: String,
    },
}

/// What a batch of records holds.
#[derive(Debug)]
pub struct Reading {
    /// Its rows.
    pub rows: Rows,
    /// Records that did not become rows.
    pub bad: Vec<BadRecord>,
    /// Records there were, inside the range asked for.
    pub records: u64,
}

/// Reads the records of a topic as rows.
pub struct RowsReader {
    layout: Layout,
    key: Box<dyn Decode>,
    value: Box<dyn Decode>,
    row: Row,
    scratch: Vec<u8>,
}

impl RowsReader {
    /// A reader; the layout's formats have been checked against its columns.
    pub fn new(layout: Layout) -> Self {
        let (key, value) = (layout.schema.key(), layout.schema.value());
        Self {
            key: layout.key.decoder(key),
            value: layout.value.decoder(value),
            row: Row {
                key: vec![Value::Null; key.len()],
                value: vec![Value::Null; value.len()],
                time: 0,
                partition: None,
                offset: None,
                change: Change::Insert,
            },
            scratch: Vec::new(),
            layout,
        }
    }

    /// Reads the records of a batch at the offsets `from..until`.
    ///
    /// A record with a null value is no row of a stream and no error.
    pub fn read(
        &mut self,
        partition: Partition,
        batch: &Batch,
        from: Offset,
        until: Option<Offset>,
    ) -> Reading {
        let capacity = usize::try_from(batch.header().record_count).unwrap_or(0);
        let mut builder = RowsBuilder::new(Arc::clone(&self.layout.schema), capacity);
        let mut bad = Vec::new();
        let mut records = 0;
        let mut scratch = std::mem::take(&mut self.scratch);
        self.row.partition = Some(partition.to_i32());
        match batch.records(&mut scratch) {
            Ok(views) => {
                let mut next = batch.header().base_offset;
                for view in views {
                    let offset = view.as_ref().map_or(next, |view| view.offset);
                    next = offset.plus(1);
                    if offset < from || until.is_some_and(|until| offset >= until) {
                        continue;
                    }
                    records += 1;
                    let read = view.map_err(BadCause::Batch);
                    if let Err(cause) = read.and_then(|view| self.push(&view, &mut builder)) {
                        bad.push(BadRecord { offset, cause });
                    }
                }
            }
            Err(error) => {
                bad.push(BadRecord { offset: batch.header().base_offset, cause: error.into() });
            }
        }
        self.scratch = scratch;
        let rows = self.timed(builder.finish(), &mut bad);
        Reading { rows, bad, records }
    }

    fn push(&mut self, view: &RecordView<'_>, builder: &mut RowsBuilder) -> Result<(), BadCause> {
        if view.value.is_none() && !self.row.value.is_empty() {
            return Ok(());
        }
        let key = decode(&mut *self.key, view.key, &mut self.row.key);
        key.map_err(|cause| BadCause::Malformed { part: Part::Key, cause })?;
        let value = decode(&mut *self.value, view.value, &mut self.row.value);
        value.map_err(|cause| BadCause::Malformed { part: Part::Value, cause })?;
        self.row.time = view.timestamp.0;
        self.row.offset = Some(view.offset.get());
        builder.push(&self.row).map_err(|error| BadCause::Rows { cause: error.to_string() })
    }

    /// Puts the time of a column in the place of the record's; rows without one are bad.
    fn timed(&self, rows: Rows, bad: &mut Vec<BadRecord>) -> Rows {
        let Some(time) = &self.layout.time else { return rows };
        if rows.is_empty() {
            return rows;
        }
        let (times, causes) = time.of(&rows);
        let mut causes = causes.into_iter().peekable();
        for row in (0..times.len()).filter(|row| times.is_null(*row)) {
            while causes.next_if(|(at, _)| *at < row).is_some() {}
            let cause = match causes.next_if(|(at, _)| *at == row) {
                Some((_, cause)) => cause,
                None => "the column is null".to_owned(),
            };
            let offset = Offset::new(rows.offsets().value(row)).unwrap_or_default();
            bad.push(BadRecord { offset, cause: BadCause::Time { cause } });
        }
        let mask: BooleanArray = (0..times.len()).map(|row| Some(times.is_valid(row))).collect();
        let whole: Int64Array = (0..times.len()).map(|row| Some(times.value(row))).collect();
        let timed = rows.with_times(whole).and_then(|rows| rows.filter(&mask));
        timed.unwrap_or_else(|_| Rows::empty(Arc::clone(&self.layout.schema)))
    }
}

impl std::fmt::Debug for RowsReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowsReader").field("layout", &self.layout).finish_non_exhaustive()
    }
}

fn decode(
    decoder: &mut dyn Decode,
    payload: Option<&[u8]>,
    slots: &mut [Value],
) -> Result<(), Malformed> {
    match payload {
        Some(payload) => decoder.decode(payload, slots),
        None => {
            slots.fill(Value::Null);
            Ok(())
        }
    }
}

/// Writes rows as records of a topic.
pub struct RowsWriter {
    key: Box<dyn Encode>,
    value: Box<dyn Encode>,
    time: Option<RowTime>,
}

impl std::fmt::Debug for RowsWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowsWriter").field("time", &self.time).finish_non_exhaustive()
    }
}

impl RowsWriter {
    /// A writer; the layout's formats have been checked against its columns.
    pub fn new(layout: &Layout) -> Self {
        Self {
            key: layout.key.encoder(layout.schema.key()),
            value: layout.value.encoder(layout.schema.value()),
            time: layout.time.clone(),
        }
    }

    /// The records of rows of the layout's schema.
    pub fn write(&self, rows: &Rows) -> Records {
        let times = match &self.time {
            Some(time) => time.of(rows).0,
            None => rows.times().clone(),
        };
        Records {
            keys: Payloads::encode(&*self.key, rows.key(), rows.len()),
            values: Payloads::encode(&*self.value, rows.value(), rows.len()),
            changes: rows.changes().to_vec(),
            times,
            row_times: rows.times().clone(),
        }
    }
}

/// Rows as records, in shared memory.
#[derive(Debug)]
pub struct Records {
    keys: Payloads,
    values: Payloads,
    changes: Vec<Change>,
    times: Int64Array,
    /// Where the time column is null, the row's own time stays.
    row_times: Int64Array,
}

impl Records {
    /// The record of a row below the number of rows.
    pub fn get(&self, row: usize) -> Record {
        let times = if self.times.is_valid(row) { &self.times } else { &self.row_times };
        let value = match self.changes.get(row) {
            Some(Change::Delete) => None,
            _ => self.values.get(row),
        };
        Record {
            key: self.keys.get(row),
            value,
            headers: Vec::new(),
            timestamp: Some(Timestamp(times.value(row))),
        }
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may fail")]
mod tests {
    use protocol::batch::Builder;
    use protocol::compression::Compression;

    use super::*;
    use crate::format::table::Format;
    use crate::format::testing::columns;

    fn layout(time: Option<(&str, Option<&str>)>) -> Layout {
        let schema = Schema::new(
            columns(&[("ID", "BIGINT")]),
            columns(&[("NAME", "STRING"), ("AT", "BIGINT"), ("WHEN_", "STRING")]),
        );
        let schema = Arc::new(schema.unwrap());
        Layout {
            key: Codec::new(Format::Kafka, Part::Key, 1),
            value: Codec::new(Format::Json, Part::Value, 3),
            time: time.map(|(column, pattern)| RowTime::new(column, pattern, &schema).unwrap()),
            schema,
        }
    }

    fn batch(records: &[(Option<i64>, Option<&str>)]) -> Batch {
        let mut builder = Builder::new(Compression::Lz4);
        for (key, value) in records {
            let record = Record {
                key: key.map(|key| key.to_be_bytes().to_vec().into()),
                value: value.map(|value| value.to_owned().into()),
                headers: vec![],
                timestamp: Some(Timestamp(1000)),
            };
            builder.push(&record, Timestamp(0));
        }
        builder.finish(None)
    }

    fn offset(offset: i64) -> Offset {
        Offset::new(offset).unwrap()
    }

    #[test]
    fn records_become_rows_and_bad_ones_are_told() {
        let mut reader = RowsReader::new(layout(None));
        let batch = batch(&[
            (Some(1), Some(r#"{"NAME":"a"}"#)),
            (None, Some(r#"{"NAME":"b"}"#)),
            (Some(3), None),
            (Some(4), Some("no json")),
            (Some(5), Some(r#"{"NAME":"e"}"#)),
            (Some(6), Some(r#"{"NAME":"f"}"#)),
        ]);
        let reading = reader.read(Partition::ZERO, &batch, offset(1), Some(offset(5)));
        assert_eq!(reading.records, 4);
        assert_eq!(reading.rows.len(), 2);
        assert_eq!(reading.rows.row(0).key, [Value::Null]);
        assert_eq!(reading.rows.row(0).offset, Some(1));
        assert_eq!(reading.rows.row(1).key, [Value::Bigint(5)]);
        assert_eq!(reading.bad.len(), 1);
        assert_eq!(reading.bad[0].offset, offset(3));
        assert!(matches!(reading.bad[0].cause, BadCause::Malformed { part: Part::Value, .. }));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut reader = RowsReader::new(layout(None));
        let records = [(Some(1), Some(r#"{"NAME":"a","AT":7,"WHEN_":null}"#)), (None, Some("{}"))];
        let rows = reader.read(Partition::ZERO, &batch(&records), Offset::ZERO, None).rows;
        let written = RowsWriter::new(&layout(None)).write(&rows);
        let mut builder = Builder::new(Compression::None);
        (0..rows.len()).for_each(|row| builder.push(&written.get(row), Timestamp(0)));
        let again = reader.read(Partition::ZERO, &builder.finish(None), Offset::ZERO, None).rows;
        assert_eq!(again.len(), rows.len());
        for row in 0..rows.len() {
            assert_eq!(again.row(row), rows.row(row));
        }
        let deleted = rows.with_changes(vec![Change::Delete; 2]).unwrap();
        assert_eq!(RowsWriter::new(&layout(None)).write(&deleted).get(0).value, None);
    }

    #[test]
    fn the_time_comes_from_a_column() {
        let mut reader = RowsReader::new(layout(Some(("AT", None))));
        let batch_ = batch(&[(None, Some(r#"{"AT":77}"#)), (None, Some("{}"))]);
        let reading = reader.read(Partition::ZERO, &batch_, Offset::ZERO, None);
        assert_eq!(reading.rows.row(0).time, 77);
        assert!(matches!(reading.bad[..], [BadRecord { cause: BadCause::Time { .. }, .. }]));

        let mut reader = RowsReader::new(layout(Some(("WHEN_", Some("yyyy-MM-dd HH:mm:ss")))));
        let batch = batch(&[
            (None, Some(r#"{"WHEN_":"1970-01-01 00:00:02"}"#)),
            (None, Some(r#"{"WHEN_":"yesterday"}"#)),
        ]);
        let reading = reader.read(Partition::ZERO, &batch, Offset::ZERO, None);
        assert_eq!(reading.rows.len(), 1);
        assert_eq!(reading.rows.row(0).time, 2000);
        assert_eq!(reading.bad[0].offset, offset(1));
        assert!(RowTime::new("NAME", None, &layout(None).schema).is_err());
    }
}
