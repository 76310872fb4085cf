//! SQL types, single values, and the columns they make; to Arrow and back.
//!
//! Arithmetic and casts are not here: see [`crate::evaluate`].

mod column;
mod decimal;
mod single;
mod sql_type;

pub use column::{ColumnBuilder, ValueError};
pub use decimal::{DECIMAL_PRECISION_MAX, Decimal};
pub use single::{Value, date_text, double_text, time_text, timestamp_text};
pub use sql_type::{SqlType, StructField};
