//! Which streams and queries there are. Every change is a record of a topic, durable there before it is applied here.
//!
//! The key of a record is `stream/NAME` or `query/ID`; its value is JSON with a version and the statement that makes the
//! thing; a null value takes it away. Applied in order from the first record to the last, the records give the
//! catalogue. Statements are kept as text: the text is the one form that every version of the program reads.

use std::collections::BTreeMap;

use protocol::id::Offset;
use protocol::record::Record;
use serde::{Deserialize, Serialize};
use sql::ast::Statement;
use sql::schema::nearest;

use crate::error::{Error, Result};
use crate::format::table::{Codec, Format, Part};
use crate::plan::declare::{DefaultFormats, SourceProperties, Stream};

/// The topic of the catalogue.
pub const CATALOG_TOPIC: &str = "_thalweg_sql_catalog";

/// The version of the stored form.
const VERSION: u32 = 1;

/// A query that runs until it is terminated.
#[derive(Clone, Debug)]
pub struct PersistentQuery {
    /// Its id.
    pub id: String,
    /// The statement that made it: CREATE STREAM AS SELECT, or INSERT INTO SELECT.
    pub statement: String,
    /// The stream that it writes.
    pub sink: String,
    /// The streams that it reads.
    pub sources: Vec<String>,
    /// Whether it was paused.
    pub paused: bool,
}

/// A change of the catalogue.
#[derive(Clone, Debug)]
pub enum Change {
    /// The stream is there, in the place of one of the same name.
    PutStream(Box<Stream>),
    /// The stream is gone.
    DropStream(String),
    /// The query is there, in the place of one of the same id.
    PutQuery(PersistentQuery),
    /// The query is gone.
    DropQuery(String),
}

/// Streams and queries by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    streams: BTreeMap<String, Stream>,
    queries: BTreeMap<String, PersistentQuery>,
    end: Offset,
}

#[derive(Serialize, Deserialize)]
struct StoredStream {
    version: u32,
    statement: String,
}

#[derive(Serialize, Deserialize)]
struct StoredQuery {
    version: u32,
    statement: String,
    sink: String,
    sources: Vec<String>,
    paused: bool,
}

const STREAM: &str = "stream/";
const QUERY: &str = "query/";

impl Change {
    /// The record that keeps it.
    pub fn to_record(&self) -> Record {
        match self {
            Self::PutStream(stream) => {
                let stored = StoredStream { version: VERSION, statement: stream.statement() };
                record(STREAM, &stream.name, Some(to_json(&stored)))
            }
            Self::DropStream(name) => record(STREAM, name, None),
            Self::PutQuery(query) => {
                let stored = StoredQuery {
                    version: VERSION,
                    statement: query.statement.clone(),
                    sink: query.sink.clone(),
                    sources: query.sources.clone(),
                    paused: query.paused,
                };
                record(QUERY, &query.id, Some(to_json(&stored)))
            }
            Self::DropQuery(id) => record(QUERY, id, None),
        }
    }

    /// Reads a record. `None`: a record of a kind that this version does not know.
    ///
    /// # Errors
    /// When a record of a known kind cannot be read, or comes from a newer version.
    pub fn from_record(stored: &Record) -> Result<Option<Self>> {
        let key = String::from_utf8_lossy(stored.key.as_deref().unwrap_or_default()).into_owned();
        let bad = |cause: String| Error::Stored { topic: CATALOG_TOPIC, key: key.clone(), cause };
        if let Some(name) = key.strip_prefix(STREAM) {
            let Some(value) = &stored.value else {
                return Ok(Some(Self::DropStream(name.to_owned())));
            };
            let stored: StoredStream =
                serde_json::from_slice(value).map_err(|error| bad(error.to_string()))?;
            check_version(stored.version).map_err(bad)?;
            let stream = read_stream(&stored.statement).map_err(|error| bad(error.to_string()))?;
            return Ok(Some(Self::PutStream(Box::new(stream))));
        }
        let Some(id) = key.strip_prefix(QUERY) else { return Ok(None) };
        let Some(value) = &stored.value else { return Ok(Some(Self::DropQuery(id.to_owned()))) };
        let stored: StoredQuery =
            serde_json::from_slice(value).map_err(|error| bad(error.to_string()))?;
        check_version(stored.version).map_err(bad)?;
        Ok(Some(Self::PutQuery(PersistentQuery {
            id: id.to_owned(),
            statement: stored.statement,
            sink: stored.sink,
            sources: stored.sources,
            paused: stored.paused,
        })))
    }
}

impl Catalog {
    /// Applies a change that is durable.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::PutStream(stream) => {
                self.streams.insert(stream.name.clone(), *stream);
            }
            Change::DropStream(name) => {
                self.streams.remove(&name);
            }
            Change::PutQuery(query) => {
                self.queries.insert(query.id.clone(), query);
            }
            Change::DropQuery(id) => {
                self.queries.remove(&id);
            }
        }
    }

    /// The query that may not run on as it does when a change is applied: it is gone, or another statement.
    pub fn query_ended_by(&self, change: &Change) -> Option<String> {
        match change {
            Change::DropQuery(id) => Some(id.clone()),
            Change::PutQuery(new) => {
                let old = self.queries.get(&new.id)?;
                (old.statement != new.statement).then(|| new.id.clone())
            }
            Change::PutStream(_) | Change::DropStream(_) => None,
        }
    }

    /// The records `..end` are applied.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The records `..end` are applied now.
    pub fn set_end(&mut self, end: Offset) {
        self.end = end;
    }

    /// All streams, by name.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.values()
    }

    /// All queries, by id.
    pub fn queries(&self) -> impl Iterator<Item = &PersistentQuery> {
        self.queries.values()
    }

    /// The stream of that name.
    pub fn find_stream(&self, name: &str) -> Option<&Stream> {
        self.streams.get(name)
    }

    /// The stream of that name.
    ///
    /// # Errors
    /// [`Error::UnknownSource`], with a name much like it.
    pub fn stream(&self, name: &str) -> Result<&Stream> {
        self.find_stream(name).ok_or_else(|| Error::UnknownSource {
            name: name.to_owned(),
            near: nearest(name, self.streams.keys().map(String::as_str)).map(str::to_owned),
        })
    }

    /// The query of that id.
    ///
    /// # Errors
    /// [`Error::UnknownQuery`], with an id much like it.
    pub fn query(&self, id: &str) -> Result<&PersistentQuery> {
        self.queries.get(id).ok_or_else(|| Error::UnknownQuery {
            id: id.to_owned(),
            near: nearest(id, self.queries.keys().map(String::as_str)).map(str::to_owned),
        })
    }

    /// The queries that read a stream.
    pub fn readers(&self, stream: &str) -> Vec<&PersistentQuery> {
        self.queries().filter(|query| query.sources.iter().any(|name| name == stream)).collect()
    }

    /// The queries that write a stream.
    pub fn writers(&self, stream: &str) -> Vec<&PersistentQuery> {
        self.queries().filter(|query| query.sink == stream).collect()
    }

    /// That nothing uses a stream.
    ///
    /// # Errors
    /// [`Error::InUse`], with the queries that do.
    pub fn check_unused(&self, name: &str) -> Result<()> {
        let used = [self.readers(name), self.writers(name)].concat();
        let mut queries: Vec<_> = used.into_iter().map(|query| query.id.clone()).collect();
        queries.sort();
        queries.dedup();
        if queries.is_empty() {
            return Ok(());
        }
        Err(Error::InUse { name: name.to_owned(), queries })
    }

    /// The id of a query that is made now: no other has it or had it, since the catalogue only grows.
    pub fn next_query_id(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.end)
    }
}

fn record(kind: &str, name: &str, value: Option<Vec<u8>>) -> Record {
    let key = Some(format!("{kind}{name}").into());
    Record { key, value: value.map(Into::into), ..Record::default() }
}

fn to_json(stored: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(stored).expect("plain text and flags always become JSON")
}

fn check_version(found: u32) -> Result<(), String> {
    match found {
        VERSION => Ok(()),
        _ => Err(format!(
            "it has version {found}, this program reads {VERSION}: use the newer program"
        )),
    }
}

fn read_stream(statement: &str) -> Result<Stream> {
    let Statement::CreateSource(create) = parse_one(statement)? else {
        return Err(Error::Internal("it is no CREATE STREAM".to_owned()));
    };
    let properties = SourceProperties::read(&create.with)?;
    // Every choice is written out, so the defaults are never asked.
    let key = Codec::new(Format::None, Part::Key, 0);
    Stream::declared_by(&create, &properties, DefaultFormats { key, value: None })
}

/// Parses a text of exactly one statement, as they are stored.
///
/// # Errors
/// When it is none, or several.
pub fn parse_one(text: &str) -> Result<Statement> {
    let mut statements = sql::parse::script(text)?;
    match (statements.pop(), statements.is_empty()) {
        (Some((_, statement)), true) => Ok(statement),
        _ => Err(Error::Internal("one statement was expected".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(statement: &str) -> Stream {
        read_stream(statement).unwrap()
    }

    fn query(id: &str, source: &str, sink: &str) -> PersistentQuery {
        PersistentQuery {
            id: id.into(),
            statement: format!("INSERT INTO {sink} SELECT * FROM {source}"),
            sink: sink.into(),
            sources: vec![source.into()],
            paused: false,
        }
    }

    #[test]
    fn a_stream_is_declared_again_by_its_own_statement() {
        for statement in [
            "CREATE STREAM A (ID STRING KEY, X INT, `odd name` ARRAY<STRUCT<F INT>>) WITH (KAFKA_TOPIC='a.b', FORMAT='JSON')",
            "CREATE STREAM `a-b` (X INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='DELIMITED', VALUE_DELIMITER='TAB')",
            "CREATE STREAM A (X STRING, K INT KEY) WITH (VALUE_FORMAT='KAFKA', KEY_FORMAT='KAFKA')",
            "CREATE STREAM A (X STRING) WITH (VALUE_FORMAT='JSON', WRAP_SINGLE_VALUE=false, TIMESTAMP='x', TIMESTAMP_FORMAT='yyyy-MM-dd')",
        ] {
            let declared = stream(statement);
            let again = stream(&declared.statement());
            assert_eq!(again.statement(), declared.statement());
            assert_eq!(again.layout.schema, declared.layout.schema);
            assert_eq!(again.layout.value, declared.layout.value);
            assert_eq!(again.layout.key, declared.layout.key);
            assert_eq!(again.layout.time.is_some(), declared.layout.time.is_some());
        }
    }

    #[test]
    fn records_give_the_catalogue_again() {
        let a = stream("CREATE STREAM A (X INT) WITH (VALUE_FORMAT='JSON')");
        let changes = [
            Change::PutStream(Box::new(a.clone())),
            Change::PutStream(Box::new(Stream { name: "B".into(), ..a.clone() })),
            Change::PutQuery(query("Q_1", "A", "B")),
            Change::PutQuery(query("Q_2", "B", "A")),
            Change::DropQuery("Q_2".into()),
            Change::PutStream(Box::new(Stream { name: "C".into(), ..a })),
            Change::DropStream("C".into()),
        ];
        let mut catalog = Catalog::default();
        for change in &changes {
            let read = Change::from_record(&change.to_record()).unwrap().unwrap();
            catalog.apply(read);
        }
        let names: Vec<_> = catalog.streams().map(|stream| stream.name.as_str()).collect();
        assert_eq!(names, ["A", "B"]);
        assert_eq!(catalog.query("Q_1").unwrap().statement, "INSERT INTO B SELECT * FROM A");
        assert!(
            matches!(catalog.query("Q_2"), Err(Error::UnknownQuery { near: Some(near), .. }) if near == "Q_1")
        );
        for used in ["A", "B"] {
            assert!(
                matches!(catalog.check_unused(used), Err(Error::InUse { queries, .. }) if queries == ["Q_1"])
            );
        }
        catalog.apply(Change::DropQuery("Q_1".into()));
        assert!(catalog.check_unused("A").is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_key() {
        let wrong = |key: &str, value: &str| {
            Change::from_record(&Record::new(key.to_owned(), value.to_owned()))
        };
        assert!(
            matches!(wrong("stream/A", "{}"), Err(Error::Stored { key, .. }) if key == "stream/A")
        );
        assert!(
            wrong(
                "query/A",
                r#"{"version":9,"statement":"","sink":"","sources":[],"paused":false}"#
            )
            .is_err()
        );
        assert!(wrong("stream/A", r#"{"version":1,"statement":"SHOW TOPICS"}"#).is_err());
        assert!(wrong("table/A", "{}").unwrap().is_none(), "a kind of a later version");
    }
}
