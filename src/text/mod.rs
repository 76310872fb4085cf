//! How things are written as text: flag values, format strings, JSON lines, statements, numbers. Pure: nothing here
//! reads or prints.

mod base64;
mod flag_values;
mod format_string;
mod json_scan;
mod numbers;
mod record_json;
mod rows;
mod seen;
mod statements;
mod width;

pub(crate) use flag_values::{Moment, Rate, Setting, StartAt};
pub(crate) use format_string::{FormatString, unescape};
pub(crate) use json_scan::{FieldError, scalar_at};
pub(crate) use numbers::{bytes_size, count, counted, printable};
pub(crate) use record_json::{LineError, Parsed, parse_line, write_line};
pub(crate) use rows::{JsonRow, RowTable};
pub(crate) use seen::Seen;
pub(crate) use statements::{Statement, Statements, excerpt};
