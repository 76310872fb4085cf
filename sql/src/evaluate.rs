//! A compiled expression over rows: column by column with Arrow's kernels, row by row where there is none.
//!
//! An error in one row makes the expression null there and is reported with the row; the others are not touched.
//! Errors in what a CASE, AND or OR did not need for a row are not reported.

mod arithmetic;
mod error;
mod held;
mod kernels;
mod node;
mod row_errors;
mod run;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray};
use arrow_schema::ArrowError;

pub use self::error::EvaluateError;
use self::error::Result;
use self::kernels::null_is_false;
pub(crate) use self::node::{Node, Operation};
pub use self::row_errors::RowError;
use self::run::column_of;
pub(crate) use self::run::{LIKE_BYTES_MAX, constant_value};
use crate::error::RowCause;
use crate::rows::Rows;
use crate::schema::ColumnRef;
use crate::value::{SqlType, Value};

/// An expression with names bound and types checked; see [`crate::compile`]. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub(crate) node: Arc<Node>,
    pub(crate) text: Arc<str>,
}

/// The values of an expression for a batch.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// One value a row.
    pub column: ArrayRef,
    /// Rows that have no value because something went wrong, in order, each at most once.
    pub errors: Vec<RowError>,
}

impl Compiled {
    /// The type of its values. A bare NULL is a STRING.
    pub fn sql_type(&self) -> &SqlType {
        &self.node.sql_type
    }

    /// Its values for all rows of a batch.
    ///
    /// # Errors
    /// [`EvaluateError`] when the batch is not of the schema it was compiled for.
    pub fn evaluate(&self, rows: &Rows) -> Result<Evaluated> {
        let (column, errors) = column_of(&self.node, rows)?;
        Ok(Evaluated { column, errors })
    }

    /// Its values as a mask: true where it is true, false where it is false or null.
    ///
    /// # Errors
    /// As [`Compiled::evaluate`], and [`EvaluateError::Arrow`] when it is not a condition.
    pub fn evaluate_mask(&self, rows: &Rows) -> Result<(BooleanArray, Vec<RowError>)> {
        let Evaluated { column, errors } = self.evaluate(rows)?;
        let Some(mask) = column.as_boolean_opt() else {
            let refused = format!("a condition must be BOOLEAN, not {}", self.sql_type());
            return Err(ArrowError::InvalidArgumentError(refused).into());
        };
        Ok((null_is_false(mask), errors))
    }

    /// Its value, when it has no columns.
    pub fn constant(&self) -> Option<std::result::Result<Value, RowCause>> {
        self.columns().is_empty().then(|| constant_value(&self.node))
    }

    /// The columns it reads, each once, in order of first use.
    pub fn columns(&self) -> Vec<ColumnRef> {
        let mut columns = Vec::new();
        gather_columns(&self.node, &mut columns);
        columns
    }

    /// As SQL: the text of the expression it was compiled from.
    pub fn to_text(&self) -> String {
        self.text.to_string()
    }
}

fn gather_columns(node: &Node, columns: &mut Vec<ColumnRef>) {
    if let Operation::Column(place) = node.operation
        && !columns.contains(&place)
    {
        columns.push(place);
    }
    node.operands.iter().for_each(|operand| gather_columns(operand, columns));
}
