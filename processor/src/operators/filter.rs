//! Keeps the rows for which a condition is true. Null is not true.

use sql::Rows;
use sql::evaluate::Compiled;

use super::operator::{Operator, OperatorError, Output};

/// WHERE; of a stream, so there is nothing to take back when a row does not match.
#[derive(Debug)]
pub struct Filter {
    condition: Compiled,
    what: String,
}

impl Filter {
    /// A filter by a BOOLEAN expression.
    pub fn new(condition: Compiled) -> Self {
        Self { what: condition.to_text(), condition }
    }
}

impl Operator for Filter {
    fn take(&mut self, rows: Rows, output: &mut Output) -> Result<(), OperatorError> {
        let (mask, errors) = self.condition.evaluate_mask(&rows)?;
        output.fault(&rows, &self.what, errors);
        output.push(if mask.true_count() == rows.len() { rows } else { rows.filter(&mask)? });
        Ok(())
    }
}
