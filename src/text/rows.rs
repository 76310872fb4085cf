//! The rows of a query as text: aligned while they stream in, or as one JSON object a row.

use processor::answer::double_text;
use protocol::grpc::v1::{Column, Row, Value, value::Kind};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::base64;
use super::numbers::printable;
use super::record_json::Binary;
use super::width::width;

/// A column is padded to this many columns of the terminal at most; longer cells push the rest of their row aside.
const CELL_COLUMNS_MAX: usize = 60;

/// A table whose rows come one after the other, perhaps for ever. Column widths only grow, so rows stay aligned
/// once they have met their longest cell.
#[derive(Debug)]
pub(crate) struct RowTable {
    columns: Vec<TableColumn>,
}

#[derive(Debug)]
struct TableColumn {
    name: String,
    /// Of the terminal.
    columns: usize,
    /// Numbers stand on the right.
    is_number: bool,
    /// Room for what values of its type mostly take, in columns of the terminal.
    columns_expected: usize,
}

impl RowTable {
    /// A table of these columns, as wide as their names.
    pub(crate) fn new(columns: &[Column]) -> Self {
        let column = |column: &Column| {
            let name = printable(&column.name).into_owned();
            let (is_number, columns_expected) = match column.r#type.as_str() {
                "BOOLEAN" => (false, 5),
                "INT" | "INTEGER" => (true, 6),
                "BIGINT" | "DOUBLE" => (true, 10),
                "DATE" => (false, 10),
                "TIME" => (false, 12),
                "TIMESTAMP" => (false, 23),
                other => (other.starts_with("DECIMAL"), 16),
            };
            TableColumn { columns: width(&name), name, is_number, columns_expected }
        };
        Self { columns: columns.iter().map(column).collect() }
    }

    /// Makes room for rows of which none is known yet.
    pub(crate) fn expect_rows(&mut self) {
        for column in &mut self.columns {
            column.columns = column.columns.max(column.columns_expected);
        }
    }

    /// Makes room for these rows.
    pub(crate) fn fit(&mut self, rows: &[Row]) {
        for row in rows {
            for (column, value) in self.columns.iter_mut().zip(&row.values) {
                let columns = width(&cell(value)).min(CELL_COLUMNS_MAX);
                column.columns = column.columns.max(columns);
            }
        }
    }

    /// The names of the columns as a line without its end.
    pub(crate) fn header(&self) -> String {
        self.line(self.columns.iter().map(|column| column.name.clone()))
    }

    /// A row as a line without its end.
    pub(crate) fn row(&self, row: &Row) -> String {
        self.line(row.values.iter().map(cell))
    }

    fn line(&self, cells: impl Iterator<Item = String>) -> String {
        let mut line = String::new();
        for (column, cell) in self.columns.iter().zip(cells) {
            let padding = " ".repeat(column.columns.saturating_sub(width(&cell)));
            let (before, behind) =
                if column.is_number { (padding.as_str(), "") } else { ("", padding.as_str()) };
            line.extend([before, &cell, behind, "  "]);
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A value for a table.
fn cell(value: &Value) -> String {
    match &value.kind {
        None => "null".to_owned(),
        Some(Kind::Boolean(boolean)) => boolean.to_string(),
        Some(Kind::Integer(integer)) => integer.to_string(),
        Some(Kind::Number(number)) => double_text(*number),
        Some(Kind::Text(text) | Kind::Other(text)) => printable(text).into_owned(),
        Some(Kind::Binary(bytes)) => base64::encode(bytes),
    }
}

/// A row as a JSON object: its columns in their order.
#[derive(Debug)]
pub(crate) struct JsonRow<'a> {
    /// Names and types.
    pub(crate) columns: &'a [Column],
    /// As many values.
    pub(crate) row: &'a Row,
}

impl Serialize for JsonRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, value) in self.columns.iter().zip(&self.row.values) {
            map.serialize_entry(&column.name, &JsonValue { type_name: &column.r#type, value })?;
        }
        map.end()
    }
}

struct JsonValue<'a> {
    type_name: &'a str,
    value: &'a Value,
}

impl Serialize for JsonValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value.kind {
            None => serializer.serialize_none(),
            Some(Kind::Boolean(boolean)) => serializer.serialize_bool(*boolean),
            Some(Kind::Integer(integer)) => serializer.serialize_i64(*integer),
            Some(Kind::Number(number)) if number.is_finite() => serializer.serialize_f64(*number),
            // JSON has no number for these.
            Some(Kind::Number(number)) => serializer.serialize_str(&double_text(*number)),
            Some(Kind::Text(text)) => serializer.serialize_str(text),
            Some(Kind::Binary(bytes)) => Binary(bytes).serialize(serializer),
            Some(Kind::Other(text)) => {
                let is_nested =
                    ["ARRAY", "MAP", "STRUCT"].iter().any(|name| self.type_name.starts_with(name));
                match serde_json::from_str::<serde_json::Value>(text) {
                    Ok(nested) if is_nested => nested.serialize(serializer),
                    _ => serializer.serialize_str(text),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(columns: &[(&str, &str)]) -> Vec<Column> {
        columns
            .iter()
            .map(|(name, kind)| Column { name: (*name).to_owned(), r#type: (*kind).to_owned() })
            .collect()
    }

    fn row(kinds: impl IntoIterator<Item = Option<Kind>>) -> Row {
        Row { values: kinds.into_iter().map(|kind| Value { kind }).collect() }
    }

    fn text(text: &str) -> Option<Kind> {
        Some(Kind::Text(text.to_owned()))
    }

    #[test]
    fn numbers_are_written_as_the_language_writes_them() {
        let columns = columns(&[("N", "DOUBLE"), ("M", "DOUBLE"), ("I", "DOUBLE")]);
        let table = RowTable::new(&columns);
        let numbers = [1.0, 1e308, f64::NEG_INFINITY].map(|number| Some(Kind::Number(number)));
        assert_eq!(table.row(&row(numbers)), "1.0  1.0E308  -Infinity");
    }

    #[test]
    fn rows_are_aligned_and_columns_only_grow() {
        let columns = columns(&[("NAME", "STRING"), ("STARS", "INT"), ("OK", "BOOLEAN")]);
        let mut table = RowTable::new(&columns);
        let first = [
            row([text("Ada Birkhoff"), Some(Kind::Integer(4)), Some(Kind::Boolean(true))]),
            row([None, Some(Kind::Integer(-1)), None]),
        ];
        table.fit(&first);
        assert_eq!(table.header(), "NAME          STARS  OK");
        assert_eq!(table.row(&first[0]), "Ada Birkhoff      4  true");
        assert_eq!(table.row(&first[1]), "null             -1  null");
        let long = row([text(&"x".repeat(100)), Some(Kind::Integer(1)), None]);
        table.fit(std::slice::from_ref(&long));
        assert!(table.row(&long).starts_with(&format!("{}      1", "x".repeat(100))));
        assert_eq!(table.header().find("STARS"), Some(CELL_COLUMNS_MAX + 2));
    }

    #[test]
    fn wide_characters_do_not_break_the_alignment() {
        let mut table = RowTable::new(&columns(&[("A", "STRING"), ("B", "STRING")]));
        let rows = [row([text("日本"), text("x")]), row([text("abcde"), text("y")])];
        table.fit(&rows);
        assert_eq!(table.row(&rows[0]), "日本   x");
        assert_eq!(table.row(&rows[1]), "abcde  y");
    }

    #[test]
    fn a_header_without_rows_leaves_room_for_them() {
        let mut table = RowTable::new(&columns(&[("T", "TIMESTAMP"), ("N", "DOUBLE")]));
        table.expect_rows();
        assert_eq!(table.header(), format!("T{}  {}N", " ".repeat(22), " ".repeat(9)));
    }

    #[test]
    fn text_cannot_break_a_table() {
        let table = RowTable::new(&columns(&[("A", "STRING")]));
        assert_eq!(table.row(&row([text("a\n\x1b[1m")])), "a\\n\\u{1b}[1m");
    }

    #[test]
    fn a_row_in_json_keeps_order_and_types() {
        let columns = columns(&[
            ("Z", "BIGINT"),
            ("A", "STRING"),
            ("B", "BYTES"),
            ("L", "ARRAY<INT>"),
            ("D", "DECIMAL(4, 2)"),
            ("N", "DOUBLE"),
            ("I", "DOUBLE"),
            ("E", "STRING"),
        ]);
        let row = row([
            Some(Kind::Integer(i64::MAX)),
            text("x\"y"),
            Some(Kind::Binary(vec![0, 255].into())),
            Some(Kind::Other("[1,2]".to_owned())),
            Some(Kind::Other("1.50".to_owned())),
            Some(Kind::Number(0.5)),
            Some(Kind::Number(f64::INFINITY)),
            None,
        ]);
        let json = serde_json::to_string(&JsonRow { columns: &columns, row: &row }).unwrap();
        assert_eq!(
            json,
            r#"{"Z":9223372036854775807,"A":"x\"y","B":{"base64":"AP8="},"L":[1,2],"D":"1.50","N":0.5,"I":"Infinity","E":null}"#
        );
    }
}
