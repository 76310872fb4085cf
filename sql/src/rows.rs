//! A columnar batch of rows: key and value columns, the time of each row, where it was read, and what it changes.
//!
//! This is the unit that flows between operators. It has no operators itself beyond choosing, joining end to end and
//! renaming; computing columns is [`crate::evaluate`]'s.

mod builder;
mod error;

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, UInt32Array, new_empty_array,
};
use arrow_schema::ArrowError;
use arrow_select::{concat::concat, filter::FilterBuilder, take::take};

pub use self::builder::RowsBuilder;
pub use self::error::RowsError;
use self::error::{check_columns, check_length};
use crate::schema::{Column, ColumnRef, Pseudo, Schema};
use crate::value::Value;

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
        let columns = |columns: &[Column]| {
            columns.iter().map(|column| new_empty_array(&column.sql_type.to_arrow())).collect()
        };
        Self {
            key: columns(schema.key()),
            value: columns(schema.value()),
            schema,
            times: Vec::<i64>::new().into(),
            partitions: Vec::<i32>::new().into(),
            offsets: Vec::<i64>::new().into(),
            changes: Arc::default(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::SqlType;

    #[test]
    fn no_rows_are_rows_of_any_schema() {
        let types = [SqlType::Decimal { precision: 6, scale: 2 }, SqlType::Timestamp];
        let nested = SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::Int));
        let column = |(name, sql_type)| Column::new(name, sql_type);
        let key = vec![column(("K", SqlType::Array(Box::new(nested))))];
        let value = ["A", "B"].into_iter().zip(types).map(column).collect();
        let schema = Arc::new(Schema::new(key, value).unwrap());
        let (none, made) = (Rows::empty(Arc::clone(&schema)), RowsBuilder::new(schema, 0).finish());
        let parts = RowsParts {
            key: none.key().to_vec(),
            value: none.value().to_vec(),
            times: none.times().clone(),
            partitions: none.partitions().clone(),
            offsets: none.offsets().clone(),
            changes: none.changes().to_vec(),
        };
        assert!(Rows::new(Arc::clone(none.schema()), parts).is_ok());
        assert!(Rows::concat(&[none, made]).unwrap().unwrap().is_empty());
    }
}
