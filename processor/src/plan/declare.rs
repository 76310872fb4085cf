//! CREATE STREAM (columns) WITH (...): what the properties say, and the stream that they declare.
//!
//! Pure: whether the topic is there is asked elsewhere. A declared stream prints as a statement with every choice
//! written out, which declares the same stream again whatever the session of that day says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use protocol::id::TopicName;
use protocol::limits::PARTITIONS_PER_TOPIC_MAX;
use sql::ast::{ColumnRole, CreateSource, Properties, Property, SourceKind};
use sql::schema::{Column, Schema, nearest};
use sql::words::{quoted, text_literal};

use crate::error::{Error, Result};
use crate::format::rows::{Layout, RowTime};
use crate::format::table::{Codec, Format, Part, delimiter_of};

/// A stream: columns over a topic.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Its topic.
    pub topic: TopicName,
    /// How records are rows.
    pub layout: Layout,
    /// The column that ROWTIME comes from, and the pattern of its text.
    pub timestamp: Option<(String, Option<String>)>,
}

/// What WITH says; what it does not say is `None`.
#[derive(Clone, Debug, Default)]
pub struct SourceProperties {
    /// KAFKA_TOPIC.
    pub topic: Option<TopicName>,
    /// KEY_FORMAT, or FORMAT.
    pub key_format: Option<Format>,
    /// VALUE_FORMAT, or FORMAT.
    pub value_format: Option<Format>,
    /// PARTITIONS: how many to create the topic with.
    pub partitions: Option<u32>,
    /// RETENTION_MS: how long a topic that is created keeps records.
    pub retention_ms: Option<i64>,
    /// TIMESTAMP and TIMESTAMP_FORMAT.
    pub timestamp: Option<(String, Option<String>)>,
    /// KEY_DELIMITER.
    pub key_delimiter: Option<u8>,
    /// VALUE_DELIMITER.
    pub value_delimiter: Option<u8>,
    /// WRAP_SINGLE_VALUE.
    pub wrapped: Option<bool>,
    /// KEY of 2019: a value column that has the same content as the key.
    pub key_copy: Option<String>,
    /// QUERY_ID.
    pub query_id: Option<String>,
}

/// Formats for what WITH leaves open.
#[derive(Clone, Copy, Debug)]
pub struct DefaultFormats {
    /// Of keys.
    pub key: Codec,
    /// Of values.
    pub value: Option<Codec>,
}

const NAMES: [&str; 14] = [
    "KAFKA_TOPIC",
    "FORMAT",
    "KEY_FORMAT",
    "VALUE_FORMAT",
    "PARTITIONS",
    "REPLICAS",
    "RETENTION_MS",
    "TIMESTAMP",
    "TIMESTAMP_FORMAT",
    "KEY_DELIMITER",
    "VALUE_DELIMITER",
    "WRAP_SINGLE_VALUE",
    "KEY",
    "QUERY_ID",
];

/// Properties of ksqlDB that come with tables, windows and the registry.
const NAMES_LATER: [&str; 6] = [
    "WINDOW_TYPE",
    "WINDOW_SIZE",
    "KEY_SCHEMA_ID",
    "VALUE_SCHEMA_ID",
    "KEY_SCHEMA_FULL_NAME",
    "VALUE_SCHEMA_FULL_NAME",
];

impl SourceProperties {
    /// Reads WITH.
    ///
    /// # Errors
    /// The first name or value that is not taken.
    pub fn read(with: &Properties) -> Result<Self> {
        let mut read = Self::default();
        let mut both = None;
        let mut pattern = None;
        for property in with.iter() {
            let text = property.value.to_text();
            let name = property.name.to_uppercase();
            match name.as_str() {
                "KAFKA_TOPIC" => {
                    let topic =
                        text.parse().map_err(|_| invalid(property, "the name of a topic"))?;
                    read.topic = Some(topic);
                }
                "FORMAT" => both = Some(Format::of_name(&text)?),
                "KEY_FORMAT" => read.key_format = Some(Format::of_name(&text)?),
                "VALUE_FORMAT" => read.value_format = Some(Format::of_name(&text)?),
                "PARTITIONS" => {
                    read.partitions =
                        Some(number(property, 1, i64::from(PARTITIONS_PER_TOPIC_MAX))?);
                }
                // There is one node: every topic has one replica, whatever was asked for.
                "REPLICAS" => {
                    number::<u32>(property, 1, i64::from(i16::MAX))?;
                }
                "RETENTION_MS" => read.retention_ms = Some(number(property, -1, i64::MAX)?),
                "TIMESTAMP" => read.timestamp = Some((column_name(&text), None)),
                "TIMESTAMP_FORMAT" => pattern = Some((property, text)),
                "KEY_DELIMITER" => read.key_delimiter = Some(delimiter_of(&text)?),
                "VALUE_DELIMITER" => read.value_delimiter = Some(delimiter_of(&text)?),
                "WRAP_SINGLE_VALUE" => {
                    let truth = text.to_lowercase().parse();
                    read.wrapped = Some(truth.map_err(|_| invalid(property, "true or false"))?);
                }
                "KEY" => read.key_copy = Some(column_name(&text)),
                "QUERY_ID" => read.query_id = Some(query_id(property, &text)?),
                later if NAMES_LATER.contains(&later) => {
                    let what = format!("the property {later}");
                    return Err(Error::Unsupported { place: property.place.0, what });
                }
                unknown => {
                    let near = nearest(unknown, NAMES.into_iter()).map(str::to_owned);
                    let name = property.name.clone();
                    return Err(Error::UnknownProperty { place: property.place.0, name, near });
                }
            }
        }
        match (&mut read.timestamp, pattern) {
            (Some((_, format)), Some((_, text))) => *format = Some(text),
            (None, Some((property, _))) => {
                return Err(invalid(property, "it together with TIMESTAMP"));
            }
            (_, None) => {}
        }
        read.key_format = read.key_format.or(both);
        read.value_format = read.value_format.or(both);
        Ok(read)
    }

    /// The settings of a topic that is created.
    pub fn topic_settings(&self) -> BTreeMap<String, String> {
        let retention = self.retention_ms.map(|ms| ("retention.ms".to_owned(), ms.to_string()));
        retention.into_iter().collect()
    }

    /// The stream that these properties declare over these columns.
    ///
    /// # Errors
    /// When a format is missing or cannot hold the columns, or the time column is none.
    pub fn declare(&self, name: &str, schema: Schema, defaults: DefaultFormats) -> Result<Stream> {
        let (keys, values) = (schema.key().len(), schema.value().len());
        let mut key = match self.key_format {
            Some(format) => Codec::new(format, Part::Key, keys),
            // Without key columns the bytes of the key are nobody's.
            None if keys == 0 => Codec::new(Format::None, Part::Key, keys),
            None => defaults.key,
        };
        if keys == 0 && key.format == Format::Kafka {
            key.format = Format::None;
        }
        let mut value = match (self.value_format, defaults.value) {
            (Some(format), _) => Codec::new(format, Part::Value, values),
            (None, Some(default)) => default,
            (None, None) => {
                return Err(Error::MissingProperty {
                    name: "VALUE_FORMAT",
                    advice: "say VALUE_FORMAT='JSON', 'DELIMITED', 'KAFKA' or 'NONE', or SET 'ksql.persistence.default.format.value'",
                });
            }
        };
        key.delimiter = self.key_delimiter.unwrap_or(key.delimiter);
        value.delimiter = self.value_delimiter.unwrap_or(value.delimiter);
        value.wrapped = self.wrapped.unwrap_or(value.wrapped);
        key.check(Part::Key, schema.key())?;
        value.check(Part::Value, schema.value())?;
        if let Some(column) = &self.key_copy {
            check_column(column, &schema)?;
        }
        let time = match &self.timestamp {
            Some((column, pattern)) => Some(RowTime::new(column, pattern.as_deref(), &schema)?),
            None => None,
        };
        let topic = match &self.topic {
            Some(topic) => topic.clone(),
            None => name.parse().map_err(|_| Error::MissingProperty {
                name: "KAFKA_TOPIC",
                advice: "the name of the stream is not a valid name of a topic, so say KAFKA_TOPIC='...'",
            })?,
        };
        Ok(Stream {
            name: name.to_owned(),
            topic,
            layout: Layout { schema: Arc::new(schema), key, value, time },
            timestamp: self.timestamp.clone(),
        })
    }
}

/// KEY='column' of 2019 only promises that a column equals the key; that it is there is all that is checked.
fn check_column(column: &str, schema: &Schema) -> Result<()> {
    sql::compile::compile(&sql::parse::expression(&quoted(column).to_string())?, schema)?;
    Ok(())
}

impl Stream {
    /// The stream of a CREATE STREAM with columns.
    ///
    /// # Errors
    /// What the statement lacks, or what is not supported in it.
    pub fn declared_by(
        create: &CreateSource,
        properties: &SourceProperties,
        defaults: DefaultFormats,
    ) -> Result<Self> {
        let start = sql::Place::START;
        let unsupported = |place, what: &str| Error::Unsupported { place, what: what.to_owned() };
        if create.kind == SourceKind::Table {
            return Err(unsupported(start, "CREATE TABLE"));
        }
        if create.read_only {
            return Err(unsupported(start, "CREATE SOURCE STREAM"));
        }
        if create.columns.is_empty() {
            let what = "columns from a schema registry: write them in parentheses behind the name";
            return Err(unsupported(start, what));
        }
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for column in &create.columns {
            let sql_type = column.type_name.resolve(&|_| None)?;
            let declared = Column::new(column.name.as_str(), sql_type);
            match &column.role {
                ColumnRole::Value => value.push(declared),
                ColumnRole::Key => key.push(declared),
                ColumnRole::PrimaryKey => {
                    let what = "PRIMARY KEY, which tables have: write KEY for the key of a stream";
                    return Err(unsupported(column.place.0, what));
                }
                ColumnRole::Headers | ColumnRole::Header(_) => {
                    return Err(unsupported(column.place.0, "columns of HEADERS"));
                }
            }
        }
        properties.declare(create.name.as_str(), Schema::new(key, value)?, defaults)
    }

    /// The statement that declares it, with every choice written out.
    pub fn statement(&self) -> String {
        let Layout { schema, key, value, .. } = &self.layout;
        let mut with = format!(
            "KAFKA_TOPIC = {}, KEY_FORMAT = '{}', VALUE_FORMAT = '{}', KEY_DELIMITER = {}, VALUE_DELIMITER = {}",
            text_literal(self.topic.as_str()),
            key.format,
            value.format,
            delimiter_text(key.delimiter),
            delimiter_text(value.delimiter),
        );
        if !value.wrapped {
            with.push_str(", WRAP_SINGLE_VALUE = FALSE");
        }
        if let Some((column, pattern)) = &self.timestamp {
            // Writing to a String never fails.
            let _ = write!(with, ", TIMESTAMP = {}", text_literal(&quoted(column).to_string()));
            if let Some(pattern) = pattern {
                let _ = write!(with, ", TIMESTAMP_FORMAT = {}", text_literal(pattern));
            }
        }
        format!("CREATE STREAM {} {schema} WITH ({with})", quoted(&self.name))
    }
}

fn delimiter_text(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "'TAB'".to_owned(),
        b' ' => "'SPACE'".to_owned(),
        other => text_literal(&char::from(other).to_string()),
    }
}

fn invalid(property: &Property, expected: &str) -> Error {
    Error::Property {
        place: property.place.0,
        name: property.name.clone(),
        found: property.value.to_string(),
        expected: expected.to_owned(),
    }
}

fn number<T: TryFrom<i64>>(property: &Property, min: i64, max: i64) -> Result<T> {
    let parsed = property.value.to_text().parse::<i64>().ok();
    parsed
        .filter(|number| (min..=max).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| invalid(property, &format!("a whole number from {min} to {max}")))
}

/// The name of a column inside a text: upper case unless it is quoted there.
fn column_name(text: &str) -> String {
    match text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        Some(name) => name.replace("``", "`"),
        None => text.to_uppercase(),
    }
}

fn query_id(property: &Property, text: &str) -> Result<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.is_empty() || text.len() > 100 || !text.chars().all(allowed) {
        return Err(invalid(property, "1 to 100 letters, digits and _"));
    }
    Ok(text.to_uppercase())
}
