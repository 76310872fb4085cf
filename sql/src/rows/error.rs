//! What makes columns rows: as many as the schema says, of its types, all of one length; and how it is told where not.

use arrow_array::ArrayRef;
use arrow_schema::ArrowError;

use crate::schema::Column;
use crate::value::{Value, ValueError};

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

/// Values of one row must be of their columns' types.
pub(super) fn check_values(
    part: &'static str,
    columns: &[Column],
    values: &[Value],
) -> Result<(), RowsError> {
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

/// Arrays must be of their columns' types and all of one length.
pub(super) fn check_columns(
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

/// One value a row.
pub(super) fn check_length(name: &str, found: usize, expected: usize) -> Result<(), RowsError> {
    if found == expected {
        return Ok(());
    }
    Err(RowsError::ColumnLength { name: name.to_owned(), expected, found })
}
