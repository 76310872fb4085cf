//! Named columns, key columns apart from value columns, and the search for a column by its name.
//!
//! Which columns a record's bytes become is the formats' business, not known here.

use std::fmt;

use crate::value::{SqlType, StructField};
use crate::words::quoted;

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The source it comes from, by alias; `None` where a row has one source only.
    pub source: Option<String>,
    /// Its name, upper case unless it was quoted.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
}

impl Column {
    /// A column of no particular source.
    pub fn new(name: impl Into<String>, sql_type: SqlType) -> Self {
        Self { source: None, name: name.into(), sql_type }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", quoted(&self.name), self.sql_type)
    }
}

/// A column that every row has without declaring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pseudo {
    /// ROWTIME: the row's time, BIGINT, milliseconds since 1970.
    Rowtime,
    /// ROWPARTITION: the partition it was read from, INT.
    Rowpartition,
    /// ROWOFFSET: the offset it was read from, BIGINT.
    Rowoffset,
}

impl Pseudo {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rowtime, Self::Rowpartition, Self::Rowoffset];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rowtime => "ROWTIME",
            Self::Rowpartition => "ROWPARTITION",
            Self::Rowoffset => "ROWOFFSET",
        }
    }

    /// Its type.
    pub fn sql_type(self) -> SqlType {
        match self {
            Self::Rowtime | Self::Rowoffset => SqlType::Bigint,
            Self::Rowpartition => SqlType::Int,
        }
    }

    /// The one of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pseudo| pseudo.name() == name)
    }
}

/// Where a column is in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnRef {
    /// In the key, by index.
    Key(usize),
    /// In the value, by index.
    Value(usize),
    /// Beside both.
    Pseudo(Pseudo),
}

/// Why a name names no column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No column of that name.
    #[error("the column {name} does not exist")]
    Unknown {
        /// The name as looked up, with its source.
        name: String,
        /// A column with a name much like it.
        near: Option<String>,
    },
    /// Several.
    #[error("the column {name} is in more than one source")]
    Ambiguous {
        /// The name as looked up.
        name: String,
        /// The sources that have it.
        sources: Vec<String>,
    },
}

/// Two columns of one source with the same name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the column {name} is there twice: rename one with AS")]
pub struct DuplicateColumn {
    /// The name.
    pub name: String,
}

/// The columns of a row: key columns, then value columns. No two have the same source and name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Schema {
    key: Vec<Column>,
    value: Vec<Column>,
}

impl Schema {
    /// A schema of these columns.
    ///
    /// # Errors
    /// [`DuplicateColumn`] when two columns have the same source and name.
    pub fn new(key: Vec<Column>, value: Vec<Column>) -> Result<Self, DuplicateColumn> {
        let mut seen = std::collections::HashSet::new();
        for column in key.iter().chain(&value) {
            if !seen.insert((column.source.as_deref(), column.name.as_str())) {
                return Err(DuplicateColumn { name: column.name.clone() });
            }
        }
        Ok(Self { key, value })
    }

    /// The key columns.
    pub fn key(&self) -> &[Column] {
        &self.key
    }

    /// The value columns.
    pub fn value(&self) -> &[Column] {
        &self.value
    }

    /// All columns in the order of `SELECT *`: key, then value.
    pub fn columns(&self) -> impl Iterator<Item = (ColumnRef, &Column)> {
        let key = self.key.iter().enumerate().map(|(i, column)| (ColumnRef::Key(i), column));
        let value = self.value.iter().enumerate().map(|(i, column)| (ColumnRef::Value(i), column));
        key.chain(value)
    }

    /// The same columns, all of them belonging to one source. Names that were distinct only by source stay as they are
    /// written, so use it on the schema of a single source.
    #[must_use]
    pub fn with_source(mut self, source: &str) -> Self {
        for column in self.key.iter_mut().chain(&mut self.value) {
            column.source = Some(source.to_owned());
        }
        self
    }

    /// The sources that have columns here, in order of first appearance.
    pub fn sources(&self) -> Vec<&str> {
        let mut sources: Vec<&str> = Vec::new();
        for (_, column) in self.columns() {
            if let Some(source) = &column.source
                && !sources.contains(&source.as_str())
            {
                sources.push(source);
            }
        }
        sources
    }

    /// Finds a column by the name of its source, where given, and its own. Declared columns go before pseudo-columns
    /// of the same name.
    ///
    /// # Errors
    /// [`LookupError`] when there is none, or several.
    pub fn find(&self, source: Option<&str>, name: &str) -> Result<ColumnRef, LookupError> {
        let matches = |column: &Column| {
            column.name == name && (source.is_none() || column.source.as_deref() == source)
        };
        let mut found = self.columns().filter(|(_, column)| matches(column));
        match (found.next(), found.next()) {
            (Some((place, _)), None) => Ok(place),
            (Some((_, first)), Some((_, second))) => {
                let more = found.map(|(_, column)| column);
                let all = [first, second].into_iter().chain(more);
                let sources = all.filter_map(|column| column.source.clone()).collect();
                Err(LookupError::Ambiguous { name: name.to_owned(), sources })
            }
            (None, _) => {
                let known = source.is_none_or(|source| self.sources().contains(&source));
                match Pseudo::of_name(name) {
                    Some(pseudo) if known => Ok(ColumnRef::Pseudo(pseudo)),
                    _ => Err(self.unknown(source, name)),
                }
            }
        }
    }

    /// The column there; `None` for pseudo-columns and for places that this schema does not have.
    pub fn column(&self, place: ColumnRef) -> Option<&Column> {
        match place {
            ColumnRef::Key(index) => self.key.get(index),
            ColumnRef::Value(index) => self.value.get(index),
            ColumnRef::Pseudo(_) => None,
        }
    }

    /// The type of the column there; `None` for places that this schema does not have.
    pub fn type_of(&self, place: ColumnRef) -> Option<SqlType> {
        match place {
            ColumnRef::Pseudo(pseudo) => Some(pseudo.sql_type()),
            _ => self.column(place).map(|column| column.sql_type.clone()),
        }
    }

    /// The value columns as the fields of a STRUCT.
    pub fn value_fields(&self) -> Vec<StructField> {
        let field = |c: &Column| StructField { name: c.name.clone(), sql_type: c.sql_type.clone() };
        self.value.iter().map(field).collect()
    }

    fn unknown(&self, source: Option<&str>, name: &str) -> LookupError {
        let near = nearest(name, self.columns().map(|(_, column)| column.name.as_str()));
        let name = match source {
            Some(source) => format!("{}.{}", quoted(source), quoted(name)),
            None => quoted(name).to_string(),
        };
        LookupError::Unknown { name, near: near.map(|near| quoted(near).to_string()) }
    }
}

/// As in CREATE: `(ID STRING KEY, STARS INT)`.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, (place, column)) in self.columns().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let key = if matches!(place, ColumnRef::Key(_)) { " KEY" } else { "" };
            write!(f, "{comma}{column}{key}")?;
        }
        f.write_str(")")
    }
}

/// The name most like the one looked for: the same but for case, or within two edits of it.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const EDITS_MAX: usize = 2;
    /// Nobody mistypes a longer one, and comparing takes time with the square of the length.
    const CHARACTERS_MAX: usize = 100;
    if name.chars().count() > CHARACTERS_MAX {
        return None;
    }
    let wanted = name.to_uppercase();
    let is_short = |name: &&str| name.chars().count() <= CHARACTERS_MAX;
    names
        .filter(is_short)
        .map(|candidate| (edits(&wanted, &candidate.to_uppercase()), candidate))
        .filter(|(edits, _)| *edits <= EDITS_MAX && *edits < wanted.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters must be put in, left out or replaced to make one text the other.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, l) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
