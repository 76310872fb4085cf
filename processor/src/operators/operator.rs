//! The contract of an operator: what it is given, what it gives, what each side may assume.
//!
//! **Rows in.** An operator has one owner, a task, and is called by it alone, one call after the other. Rows come batch
//! by batch, each batch of one input and one source partition, in the order of their offsets; rows of several inputs
//! come in the order of their times as far as the task knows them. A batch has the schema that the plan gave the
//! operator, is never empty, and holds inserts and deletes: an operator must not take a delete for an insert.
//!
//! **Rows out.** What an operator gives is a function of what it was given since it was made or restored: no clock, no
//! dice, no order of a hash map. The exactness of a query rests on this (see `flow/checkpoint.rs`). Each row out keeps
//! partition and offset of the row in that caused it, and rows out follow the order of rows in.
//!
//! **Faults.** A row that cannot be computed does not stop a query: the expression is null for the row, and the fault is
//! reported with the row's place. An `Err` is a contradiction inside the plan, which stops the task.
//!
//! **Frontier.** After each batch the task tells how far stream time has come. It never goes back. Operators that wait
//! for a time (windows) emit then; others need not care.
//!
//! **State.** An operator that remembers rows keeps them in a store that is part of the task's checkpoint, never in
//! fields of its own: after a restart it is made anew, over the store as it was at the checkpoint. The operators here
//! so far remember nothing.

use std::fmt;

use protocol::id::{Offset, Partition};
use sql::evaluate::RowError;
use sql::{Rows, RowsError};

use crate::frontier::Frontier;
use crate::processing_log::{Fault, Step};

/// A step that rows go through; see the head of this file.
pub trait Operator: fmt::Debug + Send {
    /// Takes rows, gives what follows from them.
    ///
    /// # Errors
    /// When the rows do not fit the plan.
    fn take(&mut self, rows: Rows, output: &mut Output) -> Result<(), OperatorError>;

    /// Stream time has come so far.
    ///
    /// # Errors
    /// When what was waiting for it does not fit the plan.
    fn advance(&mut self, frontier: Frontier, output: &mut Output) -> Result<(), OperatorError> {
        let _ = (frontier, output);
        Ok(())
    }
}

/// What an operator gives.
#[derive(Debug, Default)]
pub struct Output {
    /// Rows for the next step, batch by batch.
    pub rows: Vec<Rows>,
    /// What could not be computed.
    pub faults: Vec<Fault>,
}

impl Output {
    /// Rows for the next step; an empty batch is not passed on.
    pub fn push(&mut self, rows: Rows) {
        if !rows.is_empty() {
            self.rows.push(rows);
        }
    }

    /// Expressions of these rows that could not be computed. `what` names the expression.
    pub fn fault(&mut self, rows: &Rows, what: &str, errors: impl IntoIterator<Item = RowError>) {
        for error in errors {
            let place = rows.row(error.row);
            self.faults.push(Fault {
                partition: Partition::new(place.partition.unwrap_or(0).into()).unwrap_or_default(),
                offset: Offset::new(place.offset.unwrap_or(0)).unwrap_or_default(),
                step: Step::Compute,
                cause: format!("{what}: {}", error.cause),
            });
        }
    }
}

/// A contradiction inside a plan.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Rows do not have the columns that the plan says.
    #[error("rows do not fit the plan: {0}")]
    Rows(#[from] RowsError),
    /// An expression does not fit the rows.
    #[error("an expression does not fit the rows: {0}")]
    Evaluate(#[from] sql::evaluate::EvaluateError),
}
