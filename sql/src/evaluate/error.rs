//! Why an expression could not be evaluated at all.

use arrow_schema::ArrowError;

use crate::schema::ColumnRef;
use crate::value::ValueError;

/// Why an expression could not be evaluated at all. A batch with the schema that the expression was compiled for has
/// none of these.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The batch has no such column.
    #[error("the batch has no column at {place:?}")]
    Column {
        /// Where the column should be.
        place: ColumnRef,
    },
    /// The values would fill the memory.
    #[error(
        "the expression could not be evaluated: its values take more than {BATCH_BYTES_MAX} bytes for {rows} rows; make its texts and arrays shorter"
    )]
    TooLarge {
        /// Rows of the batch.
        rows: usize,
    },
    /// A kernel refused.
    #[error("the expression could not be evaluated: {0}")]
    Arrow(#[from] ArrowError),
    /// A value is not of the type it was checked to have.
    #[error("the expression could not be evaluated: {0}")]
    Value(#[from] ValueError),
}

/// The most bytes of texts and items that an expression may make for a batch, all of its operations together; rows
/// beyond it have no value.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 28;

/// What evaluating gives.
pub(crate) type Result<T> = std::result::Result<T, EvaluateError>;
