//! What operands come to: a column, or one value for all rows.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Datum, UInt32Array};
use arrow_select::take::take;

use super::error::Result;
use crate::value::Value;

/// The values of an operand: one a row, or one for all of them.
pub(crate) enum Held {
    Column(ArrayRef),
    Same(ArrayRef),
}

impl Held {
    /// Its values: one where they are all the same.
    pub(super) fn array(&self) -> &ArrayRef {
        match self {
            Self::Column(array) | Self::Same(array) => array,
        }
    }

    pub(super) fn is_same(&self) -> bool {
        matches!(self, Self::Same(_))
    }

    /// The value for a row.
    pub(super) fn value(&self, row: usize) -> Value {
        Value::read(self.array(), if self.is_same() { 0 } else { row })
    }

    /// One a row; compiling has seen to it that this is a condition.
    pub(super) fn booleans(&self, rows: usize) -> Result<BooleanArray> {
        Ok(match self {
            Self::Column(array) => array.as_boolean().clone(),
            Self::Same(array) => {
                take(array, &UInt32Array::from(vec![0; rows]), None)?.as_boolean().clone()
            }
        })
    }
}

impl Datum for Held {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array(), self.is_same())
    }
}
