//! Computes the columns of the next step from those of the last.

use std::sync::Arc;

use arrow_array::ArrayRef;
use sql::Rows;
use sql::evaluate::Compiled;
use sql::schema::Schema;

use super::operator::{Operator, OperatorError, Output};

/// A select list, and what the key is made of.
#[derive(Debug)]
pub struct Project {
    schema: Arc<Schema>,
    key: Vec<Compiled>,
    value: Vec<Compiled>,
}

impl Project {
    /// One expression for each column of `schema`.
    pub fn new(schema: Arc<Schema>, key: Vec<Compiled>, value: Vec<Compiled>) -> Self {
        Self { schema, key, value }
    }

    fn compute(
        expressions: &[Compiled],
        rows: &Rows,
        output: &mut Output,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let column = |expression: &Compiled| {
            let evaluated = expression.evaluate(rows)?;
            if !evaluated.errors.is_empty() {
                output.fault(rows, &expression.to_text(), evaluated.errors);
            }
            Ok(evaluated.column)
        };
        expressions.iter().map(column).collect()
    }
}

impl Operator for Project {
    fn take(&mut self, rows: Rows, output: &mut Output) -> Result<(), OperatorError> {
        let key = Self::compute(&self.key, &rows, output)?;
        let value = Self::compute(&self.value, &rows, output)?;
        output.push(rows.with_columns(Arc::clone(&self.schema), key, value)?);
        Ok(())
    }
}
