//! All formats in one table: their names, what they can hold, who reads and writes them.

use std::fmt;

use arrow_array::ArrayRef;
use sql::schema::Column;
use sql::value::{SqlType, Value};

use super::codec::{Decode, Encode, Malformed};
use super::delimited::{DelimitedDecoder, DelimitedEncoder};
use super::json::{JsonDecoder, JsonEncoder};
use super::kafka::{self, KafkaDecoder, KafkaEncoder};

/// How the bytes of a key or a value are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON objects or bare values.
    Json,
    /// Delimited lines.
    Delimited,
    /// Kafka's own serializers, for one column.
    Kafka,
    /// Nothing: there are no columns, what is there is not read.
    None,
}

impl Format {
    /// Every format, in the order in which they are told to people.
    pub const ALL: [Self; 4] = [Self::Json, Self::Delimited, Self::Kafka, Self::None];

    /// The name in WITH.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Delimited => "DELIMITED",
            Self::Kafka => "KAFKA",
            Self::None => "NONE",
        }
    }

    /// The format of that name, in any case.
    ///
    /// # Errors
    /// [`FormatError::Unknown`].
    pub fn of_name(name: &str) -> Result<Self, FormatError> {
        let found = Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| FormatError::Unknown { name: name.to_owned() })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Key or value of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Value => "value",
        })
    }
}

/// A format with its choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec {
    /// The layout.
    pub format: Format,
    /// What stands between the fields of [`Format::Delimited`]: one ASCII character.
    pub delimiter: u8,
    /// Whether [`Format::Json`] writes a single column as an object with one field.
    pub wrapped: bool,
}

impl Codec {
    /// A format with its usual choices: a comma, keys of one column bare, values as objects.
    pub fn new(format: Format, part: Part, columns: usize) -> Self {
        Self { format, delimiter: b',', wrapped: part == Part::Value || columns != 1 }
    }

    /// Can the format hold these columns?
    ///
    /// # Errors
    /// [`FormatError::Columns`] or [`FormatError::Type`].
    pub fn check(self, part: Part, columns: &[Column]) -> Result<(), FormatError> {
        let format = self.format;
        let refuse = |rule| Err(FormatError::Columns { format, part, found: columns.len(), rule });
        let holds: fn(&SqlType) -> bool = match format {
            Format::None if !columns.is_empty() => return refuse("it holds no columns"),
            Format::Kafka if columns.len() > 1 => return refuse("it holds one column"),
            Format::None | Format::Json => |_| true,
            Format::Delimited => |sql_type| !sql_type.is_nested(),
            Format::Kafka => kafka::supports,
        };
        match columns.iter().find(|column| !holds(&column.sql_type)) {
            None => Ok(()),
            Some(column) => Err(FormatError::Type {
                format,
                column: column.name.clone(),
                found: column.sql_type.clone(),
            }),
        }
    }

    /// What reads it. The columns have passed [`Self::check`].
    pub fn decoder(self, columns: &[Column]) -> Box<dyn Decode> {
        match (self.format, columns.first()) {
            (Format::None, _) | (_, None) => Box::new(Nothing),
            (Format::Json, _) => Box::new(JsonDecoder::new(columns, self.is_wrapped(columns))),
            (Format::Delimited, _) => Box::new(DelimitedDecoder::new(columns, self.delimiter)),
            (Format::Kafka, Some(column)) => Box::new(KafkaDecoder::new(column.clone())),
        }
    }

    /// What writes it. The columns have passed [`Self::check`].
    pub fn encoder(self, columns: &[Column]) -> Box<dyn Encode> {
        match self.format {
            Format::None => Box::new(Nothing),
            _ if columns.is_empty() => Box::new(Nothing),
            Format::Json => Box::new(JsonEncoder::new(columns, self.is_wrapped(columns))),
            Format::Delimited => Box::new(DelimitedEncoder::new(self.delimiter)),
            Format::Kafka => Box::new(KafkaEncoder),
        }
    }

    fn is_wrapped(self, columns: &[Column]) -> bool {
        self.wrapped || columns.len() != 1
    }
}

/// Reads `VALUE_DELIMITER`: one ASCII character, `TAB` or `SPACE`.
///
/// # Errors
/// [`FormatError::Delimiter`].
pub fn delimiter_of(text: &str) -> Result<u8, FormatError> {
    match text.as_bytes() {
        _ if text.eq_ignore_ascii_case("TAB") => Ok(b'\t'),
        _ if text.eq_ignore_ascii_case("SPACE") => Ok(b' '),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
        _ => Err(FormatError::Delimiter { found: text.chars().take(20).collect() }),
    }
}

/// No columns, no bytes.
struct Nothing;

impl Decode for Nothing {
    fn decode(&mut self, _: &[u8], _: &mut [Value]) -> Result<(), Malformed> {
        Ok(())
    }
}

impl Encode for Nothing {
    fn encode(&self, _: &[ArrayRef], _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// Why a format is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No format of that name.
    #[error(
        "the format {name:?} is not known, or not supported yet: use JSON, DELIMITED, KAFKA or NONE"
    )]
    Unknown {
        /// As given.
        name: String,
    },
    /// It cannot hold that many columns.
    #[error("{format} cannot be the format of a {part} of {found} columns: {rule}")]
    Columns {
        /// The format.
        format: Format,
        /// Key or value.
        part: Part,
        /// How many columns there are.
        found: usize,
        /// How many it holds.
        rule: &'static str,
    },
    /// It cannot hold a column of that type.
    #[error("{format} cannot hold the column {column} {found}: use JSON, or CAST the column")]
    Type {
        /// The format.
        format: Format,
        /// The column.
        column: String,
        /// Its type.
        found: SqlType,
    },
    /// Not a delimiter.
    #[error("{found:?} is no delimiter: use one ASCII character, 'TAB' or 'SPACE'")]
    Delimiter {
        /// As given, cut to 20 characters.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::columns;

    #[test]
    fn formats_are_known_by_name_in_any_case() {
        for format in Format::ALL {
            assert_eq!(Format::of_name(&format.name().to_lowercase()), Ok(format));
        }
        assert!(matches!(Format::of_name("XML"), Err(FormatError::Unknown { .. })));
    }

    #[test]
    fn a_format_refuses_what_it_cannot_hold() {
        let check = |format, declared: &[(&str, &str)]| {
            Codec::new(format, Part::Value, declared.len()).check(Part::Value, &columns(declared))
        };
        assert!(check(Format::Json, &[("A", "ARRAY<INT>"), ("B", "INT")]).is_ok());
        assert!(matches!(
            check(Format::Delimited, &[("A", "ARRAY<INT>")]),
            Err(FormatError::Type { .. })
        ));
        assert!(matches!(check(Format::Kafka, &[("A", "DATE")]), Err(FormatError::Type { .. })));
        let two = [("A", "INT"), ("B", "INT")];
        assert!(matches!(check(Format::Kafka, &two), Err(FormatError::Columns { .. })));
        assert!(matches!(check(Format::None, &two), Err(FormatError::Columns { .. })));
        assert!(check(Format::None, &[]).is_ok());
    }

    #[test]
    fn delimiters_have_names() {
        assert_eq!(delimiter_of("tab"), Ok(b'\t'));
        assert_eq!(delimiter_of("SPACE"), Ok(b' '));
        assert_eq!(delimiter_of("|"), Ok(b'|'));
        for wrong in ["", "ab", "\"", "ü"] {
            assert!(matches!(delimiter_of(wrong), Err(FormatError::Delimiter { .. })));
        }
    }
}
