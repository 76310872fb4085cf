//! Rows made one by one.

use std::sync::Arc;

use super::error::{RowsError, check_values};
use super::{Change, Row, Rows};
use crate::schema::{Column, Schema};
use crate::value::ColumnBuilder;

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
