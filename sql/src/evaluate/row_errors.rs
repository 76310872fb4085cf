//! What went wrong in single rows, while it is still open which of it counts.

use crate::error::RowCause;

/// What went wrong in one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// The row's number in the batch.
    pub row: usize,
    /// What it was.
    pub cause: RowCause,
}

/// Errors in the order in which they were found.
///
/// A place among them, from [`RowErrors::mark`], tells those of one operand from the ones before: what was not needed
/// for a row can be forgiven, and what one operand says of many rows takes no more room than one error a row.
pub(super) struct RowErrors {
    found: Vec<RowError>,
    /// How many rows there are.
    rows: usize,
}

impl RowErrors {
    pub(super) fn new(rows: usize) -> Self {
        Self { found: Vec::new(), rows }
    }

    /// Where the next errors begin.
    pub(super) fn mark(&self) -> usize {
        self.found.len()
    }

    pub(super) fn push(&mut self, row: usize, cause: RowCause) {
        self.found.push(RowError { row, cause });
    }

    /// What was computed once for all rows, and failed, has failed for each of them.
    pub(super) fn spread(&mut self, before: usize) {
        for RowError { cause, .. } in self.found.split_off(before) {
            let everywhere = (0..self.rows).map(|row| RowError { row, cause: cause.clone() });
            self.found.extend(everywhere);
        }
    }

    /// Keeps the first error of each row only, of those from `before` on, where they have become many. They must share
    /// one fate: none is forgiven without the others.
    pub(super) fn settle(&mut self, before: usize) {
        if self.found.len() - before > self.rows {
            let mut late = one_a_row(self.found.split_off(before));
            self.found.append(&mut late);
        }
    }

    /// Drops errors from `before` on, of rows that did not need what failed.
    pub(super) fn forgive(&mut self, before: usize, unneeded: impl Fn(usize) -> bool) {
        let late = self.found.split_off(before);
        self.found.extend(late.into_iter().filter(|error| !unneeded(error.row)));
    }

    /// The first error of each row, in the order of the rows.
    pub(super) fn finish(self) -> Vec<RowError> {
        one_a_row(self.found)
    }

    /// The first that was found.
    pub(super) fn first(self) -> Option<RowCause> {
        self.found.into_iter().next().map(|error| error.cause)
    }
}

fn one_a_row(mut errors: Vec<RowError>) -> Vec<RowError> {
    errors.sort_by_key(|error| error.row);
    errors.dedup_by_key(|error| error.row);
    errors
}
