//! A columnar batch of rows: key and value columns, the time of each row, where it was read, and what it changes.
//!
//! This is the unit that flows between operators. It has no operators itself beyond choosing, joining end to end and
//! renaming; computing columns is [`crate::evaluate`]'s.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, UInt32Array};
use arrow_schema::ArrowError;
use arrow_select::{concat::concat, filter::FilterBuilder, take::take};

use crate::schema::{Column, ColumnRef, Pseudo, Schema};
use crate::value::{ColumnBuilder, Value, ValueError};

/// What a row does to the collection it flows into.
///
/// A stream has only inserts. In a table an insert takes the place of the row with the same key. Updates that carry
/// the old row beside the new one will be further variants: match with a fallback only where that is right for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// The row is there from now on.
    Insert,
    /// The row with this key is gone; only its key columns count.
    Delete,
}

/// Why columns do not make rows.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// Another number of columns than the schema says.
    #[error("the schema has {expected} {part} columns, {found} were given")]
    ColumnCount {
        /// Key or value.
        part: &'static str,
        /// As the schema says.
        expected: usize,
        /// As given.
        found: usize,
    },
    /// A column of another type than the schema says.
    #[error("the column {name} must be {expected}, the array given for it is {found}")]
    ColumnType {
        /// The column.
        name: String,
        /// The Arrow type the schema asks for.
        expected: String,
        /// The Arrow type given.
        found: String,
    },
    /// Columns of different lengths.
    #[error("the column {name} has {found} rows, there are {expected}")]
    ColumnLength {
        /// The column.
        name: String,
        /// Rows there are.
        expected: usize,
        /// Rows the column has.
        found: usize,
    },
    /// Batches of different schemas can't be one.
    #[error("the batches have different columns: {expected} and {found}")]
    Schemas {
        /// Of the first batch.
        expected: String,
        /// Of the one that differs.
        found: String,
    },
    /// A value of another type than its column.
    #[error("column {name}: {source}")]
    Value {
        /// The column.
        name: String,
        /// What is wrong with the value.
        source: ValueError,
    },
    /// A kernel refused.
    #[error("a column could not be built: {0}")]
    Arrow(#[from] ArrowError),
}

/// What [`Rows`] are made of; all columns have the same length.
#[derive(Clone, Debug)]
pub struct RowsParts {
    /// One array for each key column.
    pub key: Vec<ArrayRef>,
    /// One array for each value column.
    pub value: Vec<ArrayRef>,
    /// ROWTIME in milliseconds since 1970; no nulls.
    pub times: Int64Array,
    /// ROWPARTITION; null for rows that no topic has.
    pub partitions: Int32Array,
    /// ROWOFFSET; null for rows that no topic has.
    pub offsets: Int64Array,
    /// What each row changes.
    pub changes: Vec<Change>,
}

/// Rows of one schema, column by column. Cloning shares the columns.
#[derive(Clone, Debug)]
pub struct Rows {
    schema: Arc<Schema>,
    key: Vec<ArrayRef>,
    value: Vec<ArrayRef>,
    times: Int64Array,
    partitions: Int32Array,
    offsets: Int64Array,
    changes: Arc<[Change]>,
}

impl Rows {
    /// Takes columns that fit the schema.
    ///
    /// # Errors
    /// [`RowsError`] when their number, types or lengths do not agree.
    pub fn new(schema: Arc<Schema>, parts: RowsParts) -> Result<Self, RowsError> {
        let rows = parts.changes.len();
        check_columns("key", schema.key(), &parts.key, rows)?;
        check_columns("value", schema.value(), &parts.value, rows)?;
        check_length(Pseudo::Rowtime.name(), parts.times.len(), rows)?;
        check_length(Pseudo::Rowpartition.name(), parts.partitions.len(), rows)?;
        check_length(Pseudo::Rowoffset.name(), parts.offsets.len(), rows)?;
        let RowsParts { key, value, times, partitions, offsets, changes } = parts;
        Ok(Self { schema, key, value, times, partitions, offsets, changes: changes.into() })
    }

    /// No rows.
    pub fn empty(schema: Arc<Schema>) -> Self {
        RowsBuilder::new(schema, 0).finish()
    }

    /// The columns there are.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The key columns.
    pub fn key(&self) -> &[ArrayRef] {
        &self.key
    }

    /// The value columns.
    pub fn value(&self) -> &[ArrayRef] {
        &self.value
    }

    /// The times of the rows, in milliseconds since 1970; no nulls.
    pub fn times(&self) -> &Int64Array {
        &self.times
    }

    /// The partitions the rows were read from.
    pub fn partitions(&self) -> &Int32Array {
        &self.partitions
    }

    /// The offsets the rows were read from.
    pub fn offsets(&self) -> &Int64Array {
        &self.offsets
    }

    /// What each row changes.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// A column by its place; `None` when the schema has no such place.
    pub fn column(&self, place: ColumnRef) -> Option<ArrayRef> {
        match place {
            ColumnRef::Key(index) => self.key.get(index).cloned(),
            ColumnRef::Value(index) => self.value.get(index).cloned(),
            ColumnRef::Pseudo(Pseudo::Rowtime) => Some(Arc::new(self.times.clone())),
            ColumnRef::Pseudo(Pseudo::Rowpartition) => Some(Arc::new(self.partitions.clone())),
            ColumnRef::Pseudo(Pseudo::Rowoffset) => Some(Arc::new(self.offsets.clone())),
        }
    }

    /// The key of one row.
    ///
    /// # Panics
    /// When `row` is not below [`Rows::len`]; so do the next two.
    pub fn key_values(&self, row: usize) -> Vec<Value> {
        self.key.iter().map(|column| Value::read(column, row)).collect()
    }

    /// The value of one row.
    pub fn row_values(&self, row: usize) -> Vec<Value> {
        self.value.iter().map(|column| Value::read(column, row)).collect()
    }

    /// One row, key and value, with the rest of it.
    pub fn row(&self, row: usize) -> Row {
        let optional = |valid: bool, value: i64| valid.then_some(value);
        Row {
            key: self.key_values(row),
            value: self.row_values(row),
            time: self.times.value(row),
            partition: self.partitions.is_valid(row).then(|| self.partitions.value(row)),
            offset: optional(self.offsets.is_valid(row), self.offsets.value(row)),
            change: self.changes[row],
        }
    }

    /// How many bytes of memory the columns hold, shared ones counted in full.
    pub fn bytes(&self) -> usize {
        let columns = self.key.iter().chain(&self.value).map(|c| c.get_array_memory_size());
        let fixed = self.len() * (size_of::<i64>() * 2 + size_of::<i32>() + size_of::<Change>());
        columns.sum::<usize>() + fixed
    }

    /// The rows where the mask is true; null counts as false.
    ///
    /// # Errors
    /// [`RowsError::ColumnLength`] when the mask has another length.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self, RowsError> {
        check_length("mask", mask.len(), self.len())?;
        let filter = FilterBuilder::new(mask).optimize().build();
        let chosen = |row: &usize| mask.is_valid(*row) && mask.value(*row);
        let changes = (0..self.len()).filter(chosen).map(|row| self.changes[row]).collect();
        self.rebuild(changes, |column| filter.filter(column))
    }

    /// The rows with these numbers, in this order; a number may stand several times.
    ///
    /// # Errors
    /// [`RowsError::Arrow`] when a number is not below [`Rows::len`].
    pub fn take(&self, rows: &[u32]) -> Result<Self, RowsError> {
        let beyond = || ArrowError::InvalidArgumentError("row number beyond the batch".into());
        let change = |row: &u32| self.changes.get(*row as usize).copied().ok_or_else(beyond);
        let changes = rows.iter().map(change).collect::<Result<_, _>>()?;
        let indices = UInt32Array::from(rows.to_vec());
        self.rebuild(changes, |column| take(column, &indices, None))
    }

    /// The rows `start..start + rows`, without copying; both are cut to what there is.
    #[must_use]
    pub fn slice(&self, start: usize, rows: usize) -> Self {
        let start = start.min(self.len());
        let rows = rows.min(self.len() - start);
        let cut = |columns: &[ArrayRef]| columns.iter().map(|c| c.slice(start, rows)).collect();
        Self {
            schema: Arc::clone(&self.schema),
            key: cut(&self.key),
            value: cut(&self.value),
            times: self.times.slice(start, rows),
            partitions: self.partitions.slice(start, rows),
            offsets: self.offsets.slice(start, rows),
            changes: self.changes[start..start + rows].into(),
        }
    }

    /// The rows of all batches, one after the other. `None` when there is no batch.
    ///
    /// # Errors
    /// [`RowsError::Schemas`] when the batches have different columns.
    pub fn concat(batches: &[Self]) -> Result<Option<Self>, RowsError> {
        let Some(first) = batches.first() else { return Ok(None) };
        if let Some(other) = batches.iter().find(|other| other.schema != first.schema) {
            let (expected, found) = (first.schema.to_string(), other.schema.to_string());
            return Err(RowsError::Schemas { expected, found });
        }
        let join = |of: &dyn Fn(&Self) -> ArrayRef| {
            let parts: Vec<ArrayRef> = batches.iter().map(of).collect();
            concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())
        };
        let times = join(&|rows| Arc::new(rows.times.clone()))?;
        let partitions = join(&|rows| Arc::new(rows.partitions.clone()))?;
        let offsets = join(&|rows| Arc::new(rows.offsets.clone()))?;
        let key = (0..first.key.len()).map(|i| join(&|rows| Arc::clone(&rows.key[i])));
        let value = (0..first.value.len()).map(|i| join(&|rows| Arc::clone(&rows.value[i])));
        Ok(Some(Self {
            schema: Arc::clone(&first.schema),
            key: key.collect::<Result<_, _>>()?,
            value: value.collect::<Result<_, _>>()?,
            times: Int64Array::from(times.to_data()),
            partitions: Int32Array::from(partitions.to_data()),
            offsets: Int64Array::from(offsets.to_data()),
            changes: batches.iter().flat_map(|rows| rows.changes.iter().copied()).collect(),
        }))
    }

    /// The same rows, times, places and changes with other columns: what a projection makes.
    ///
    /// # Errors
    /// [`RowsError`] when the columns do not fit the schema or have another length.
    pub fn with_columns(
        &self,
        schema: Arc<Schema>,
        key: Vec<ArrayRef>,
        value: Vec<ArrayRef>,
    ) -> Result<Self, RowsError> {
        check_columns("key", schema.key(), &key, self.len())?;
        check_columns("value", schema.value(), &value, self.len())?;
        Ok(Self { schema, key, value, ..self.clone() })
    }

    /// The same rows with other times.
    ///
    /// # Errors
    /// [`RowsError::ColumnLength`] when there is not one time for each row.
    pub fn with_times(&self, times: Int64Array) -> Result<Self, RowsError> {
        check_length(Pseudo::Rowtime.name(), times.len(), self.len())?;
        Ok(Self { times, ..self.clone() })
    }

    /// The same rows with other changes.
    ///
    /// # Errors
    /// [`RowsError::ColumnLength`] when there is not one change for each row.
    pub fn with_changes(&self, changes: Vec<Change>) -> Result<Self, RowsError> {
        check_length("change", changes.len(), self.len())?;
        Ok(Self { changes: changes.into(), ..self.clone() })
    }

    /// The same rows under a schema with the same types: columns renamed, or given a source.
    ///
    /// # Errors
    /// [`RowsError`] when the types differ.
    pub fn with_schema(&self, schema: Arc<Schema>) -> Result<Self, RowsError> {
        self.with_columns(schema, self.key.clone(), self.value.clone())
    }

    fn rebuild(
        &self,
        changes: Arc<[Change]>,
        choose: impl Fn(&dyn Array) -> Result<ArrayRef, ArrowError>,
    ) -> Result<Self, RowsError> {
        let each =
            |columns: &[ArrayRef]| columns.iter().map(|c| choose(c)).collect::<Result<_, _>>();
        Ok(Self {
            schema: Arc::clone(&self.schema),
            key: each(&self.key)?,
            value: each(&self.value)?,
            times: Int64Array::from(choose(&self.times)?.to_data()),
            partitions: Int32Array::from(choose(&self.partitions)?.to_data()),
            offsets: Int64Array::from(choose(&self.offsets)?.to_data()),
            changes,
        })
    }
}

/// One row by value; see [`Rows::row`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// One value for each key column.
    pub key: Vec<Value>,
    /// One value for each value column.
    pub value: Vec<Value>,
    /// ROWTIME in milliseconds since 1970.
    pub time: i64,
    /// ROWPARTITION, for a row read from a topic.
    pub partition: Option<i32>,
    /// ROWOFFSET, for a row read from a topic.
    pub offset: Option<i64>,
    /// What it changes.
    pub change: Change,
}

/// Collects rows one by one.
#[derive(Debug)]
pub struct RowsBuilder {
    schema: Arc<Schema>,
    key: Vec<ColumnBuilder>,
    value: Vec<ColumnBuilder>,
    times: Vec<i64>,
    partitions: Vec<Option<i32>>,
    offsets: Vec<Option<i64>>,
    changes: Vec<Change>,
}

impl RowsBuilder {
    /// An empty batch with room for `capacity` rows.
    pub fn new(schema: Arc<Schema>, capacity: usize) -> Self {
        let builders = |columns: &[Column]| {
            columns.iter().map(|c| ColumnBuilder::new(&c.sql_type, capacity)).collect()
        };
        Self {
            key: builders(schema.key()),
            value: builders(schema.value()),
            schema,
            times: Vec::with_capacity(capacity),
            partitions: Vec::with_capacity(capacity),
            offsets: Vec::with_capacity(capacity),
            changes: Vec::with_capacity(capacity),
        }
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`RowsError::ColumnCount`] or [`RowsError::Value`] when the row does not fit the schema.
    ///
    /// # After an error
    /// The batch is as it was.
    pub fn push(&mut self, row: &Row) -> Result<(), RowsError> {
        check_values("key", self.schema.key(), &row.key)?;
        check_values("value", self.schema.value(), &row.value)?;
        let builders = self.key.iter_mut().chain(&mut self.value);
        let columns = self.schema.columns().map(|(_, column)| column);
        for ((builder, value), column) in
            builders.zip(row.key.iter().chain(&row.value)).zip(columns)
        {
            builder
                .push(value)
                .map_err(|source| RowsError::Value { name: column.name.clone(), source })?;
        }
        self.times.push(row.time);
        self.partitions.push(row.partition);
        self.offsets.push(row.offset);
        self.changes.push(row.change);
        Ok(())
    }

    /// The rows; the builder is empty again.
    pub fn finish(&mut self) -> Rows {
        let changes: Vec<Change> = std::mem::take(&mut self.changes);
        Rows {
            schema: Arc::clone(&self.schema),
            key: self.key.iter_mut().map(ColumnBuilder::finish).collect(),
            value: self.value.iter_mut().map(ColumnBuilder::finish).collect(),
            times: std::mem::take(&mut self.times).into(),
            partitions: std::mem::take(&mut self.partitions).into(),
            offsets: std::mem::take(&mut self.offsets).into(),
            changes: changes.into(),
        }
    }
}

fn check_values(part: &'static str, columns: &[Column], values: &[Value]) -> Result<(), RowsError> {
    if columns.len() != values.len() {
        let (expected, found) = (columns.len(), values.len());
        return Err(RowsError::ColumnCount { part, expected, found });
    }
    match columns.iter().zip(values).find(|(column, value)| !value.is_of(&column.sql_type)) {
        None => Ok(()),
        Some((column, value)) => Err(RowsError::Value {
            name: column.name.clone(),
            source: ValueError::WrongType {
                expected: column.sql_type.clone(),
                found: value.to_string().chars().take(60).collect(),
            },
        }),
    }
}

fn check_columns(
    part: &'static str,
    columns: &[Column],
    arrays: &[ArrayRef],
    rows: usize,
) -> Result<(), RowsError> {
    if columns.len() != arrays.len() {
        let (expected, found) = (columns.len(), arrays.len());
        return Err(RowsError::ColumnCount { part, expected, found });
    }
    for (column, array) in columns.iter().zip(arrays) {
        let expected = column.sql_type.to_arrow();
        if *array.data_type() != expected {
            return Err(RowsError::ColumnType {
                name: column.name.clone(),
                expected: expected.to_string(),
                found: array.data_type().to_string(),
            });
        }
        check_length(&column.name, array.len(), rows)?;
    }
    Ok(())
}

fn check_length(name: &str, found: usize, expected: usize) -> Result<(), RowsError> {
    if found == expected {
        return Ok(());
    }
    Err(RowsError::ColumnLength { name: name.to_owned(), expected, found })
}
