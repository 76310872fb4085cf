//! What a caller has SET and DEFINEd: plain text that travels with each request.

use std::collections::BTreeMap;

use protocol::verbs::Position;
use sql::schema::nearest;

use crate::error::{Error, Result};
use crate::format::table::{Codec, Format, Part};
use crate::plan::declare::DefaultFormats;

/// Where queries start that nothing else tells where to start.
pub const OFFSET_RESET: &str = "auto.offset.reset";
/// The format of keys that WITH does not name.
pub const KEY_FORMAT: &str = "ksql.persistence.default.format.key";
/// The format of values that WITH does not name.
pub const VALUE_FORMAT: &str = "ksql.persistence.default.format.value";

/// Every property that has an effect, with what it does.
pub const PROPERTIES: [(&str, &str, &str); 3] = [
    (
        OFFSET_RESET,
        "earliest for persistent queries, latest for push queries",
        "where a new query starts: earliest or latest",
    ),
    (KEY_FORMAT, "KAFKA", "the format of keys that WITH does not name"),
    (VALUE_FORMAT, "", "the format of values that WITH does not name"),
];

/// Properties of ksqlDB and Kafka Streams that scripts written for them SET. They have no effect here, and say so.
const WITHOUT_EFFECT: [&str; 24] = [
    "auto.commit.interval.ms",
    "cache.max.bytes.buffering",
    "commit.interval.ms",
    "default.deserialization.exception.handler",
    "enable.auto.commit",
    "ksql.extension.dir",
    "ksql.fail.on.deserialization.error",
    "ksql.fail.on.production.error",
    "ksql.insert.into.values.enabled",
    "ksql.output.topic.name.prefix",
    "ksql.query.pull.table.scan.enabled",
    "ksql.query.push.v2.enabled",
    "ksql.schema.registry.url",
    "ksql.sink.partitions",
    "ksql.sink.replicas",
    "ksql.suppress.enabled",
    "ksql.timestamp.throw.on.invalid",
    "max.task.idle.ms",
    "num.standby.replicas",
    "num.stream.threads",
    "processing.guarantee",
    "statestore.cache.max.bytes",
    "topology.optimization",
    "windowstore.changelog.additional.retention.ms",
];

/// Variables travel among the properties under this prefix.
const VARIABLE_PREFIX: &str = "variable.";

/// What ksqlDB's users put before properties of the layer below.
const STREAMS_PREFIX: &str = "ksql.streams.";

/// The properties and variables of one caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    properties: BTreeMap<String, String>,
}

impl Session {
    /// The session of these properties and variables, which come from outside.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn of(properties: BTreeMap<String, String>) -> Result<Self> {
        let mut session = Self::default();
        for (name, value) in properties {
            match name.strip_prefix(VARIABLE_PREFIX) {
                Some(variable) => session.define(variable, &value),
                None => drop(session.set(&name, &value)?),
            }
        }
        Ok(session)
    }

    /// All properties, to be sent with the next request.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// SET. False: the property is kept and has no effect here.
    ///
    /// # Errors
    /// [`Error::UnknownSetting`]; [`Error::Setting`] when the property is known and does not take the value.
    ///
    /// # After an error
    /// The session is as it was.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        let name = name.strip_prefix(STREAMS_PREFIX).unwrap_or(name).to_lowercase();
        let names = || PROPERTIES.iter().map(|(name, ..)| *name);
        let has_effect = names().any(|known| known == name);
        if !has_effect && !WITHOUT_EFFECT.contains(&name.as_str()) {
            // A name that does something is rather meant than one that does nothing.
            let near =
                nearest(&name, names()).or_else(|| nearest(&name, WITHOUT_EFFECT.into_iter()));
            let near = near.map(str::to_owned);
            return Err(Error::UnknownSetting { name, near });
        }
        let mut changed = self.clone();
        changed.properties.insert(name.clone(), value.to_owned());
        changed.start(Position::Latest)?;
        changed.default_formats(0, 0)?;
        *self = changed;
        Ok(has_effect)
    }

    /// UNSET; without a name, all properties.
    pub fn unset(&mut self, name: Option<&str>) {
        match name {
            Some(name) => {
                let name = name.strip_prefix(STREAMS_PREFIX).unwrap_or(name).to_lowercase();
                self.properties.remove(&name);
            }
            None => self.properties.retain(|name, _| name.starts_with(VARIABLE_PREFIX)),
        }
    }

    /// DEFINE.
    pub fn define(&mut self, name: &str, value: &str) {
        self.properties.insert(format!("{VARIABLE_PREFIX}{name}"), value.to_owned());
    }

    /// UNDEFINE.
    pub fn undefine(&mut self, name: &str) {
        self.properties.remove(&format!("{VARIABLE_PREFIX}{name}"));
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.properties.get(&format!("{VARIABLE_PREFIX}{name}")).map(String::as_str)
    }

    /// All variables.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(VARIABLE_PREFIX)?, value.as_str())))
    }

    /// What was SET to a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// Where a new query starts.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn start(&self, default: Position) -> Result<Position> {
        match self.property(OFFSET_RESET) {
            None => Ok(default),
            Some(value) if value.eq_ignore_ascii_case("earliest") => Ok(Position::Earliest),
            Some(value) if value.eq_ignore_ascii_case("latest") => Ok(Position::Latest),
            Some(value) => Err(Error::Setting {
                name: OFFSET_RESET.to_owned(),
                found: value.to_owned(),
                expected: "earliest or latest",
            }),
        }
    }

    /// The formats of what WITH does not name, for so many columns.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn default_formats(&self, keys: usize, values: usize) -> Result<DefaultFormats> {
        let format = |name: &str| match self.property(name) {
            None => Ok(None),
            Some(value) => Format::of_name(value).map(Some).map_err(|_| Error::Setting {
                name: name.to_owned(),
                found: value.to_owned(),
                expected: "JSON, DELIMITED, KAFKA or NONE",
            }),
        };
        let key = format(KEY_FORMAT)?.unwrap_or(Format::Kafka);
        let value = format(VALUE_FORMAT)?;
        Ok(DefaultFormats {
            key: Codec::new(key, Part::Key, keys),
            value: value.map(|format| Codec::new(format, Part::Value, values)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_checked_when_set() {
        let mut session = Session::default();
        assert_eq!(session.start(Position::Latest).unwrap(), Position::Latest);
        assert!(session.set("ksql.streams.auto.offset.reset", "Earliest").unwrap());
        assert_eq!(session.start(Position::Latest).unwrap(), Position::Earliest);
        assert!(matches!(session.set(OFFSET_RESET, "noon"), Err(Error::Setting { .. })));
        assert!(matches!(session.set(VALUE_FORMAT, "XML"), Err(Error::Setting { .. })));
        assert_eq!(session.property(OFFSET_RESET), Some("Earliest"), "as it was");
        assert!(!session.set("processing.guarantee", "exactly_once_v2").unwrap());
        for (name, meant) in [
            ("auto.offset.rest", Some(OFFSET_RESET)),
            ("ksql.streams.auto.offset.rst", Some(OFFSET_RESET)),
            ("num.stream.thread", Some("num.stream.threads")),
            ("colour", None),
        ] {
            match session.set(name, "earliest") {
                Err(Error::UnknownSetting { near, .. }) => assert_eq!(near.as_deref(), meant),
                other => panic!("{name}: {other:?}"),
            }
        }
        session.define("topic", "ratings");
        let again = Session::of(session.properties().clone()).unwrap();
        assert_eq!(again, session, "what travels comes back the same");
        let sent = |name: &str| Session::of([(name.to_owned(), "latest".to_owned())].into());
        assert!(matches!(sent("auto.offset.rest"), Err(Error::UnknownSetting { .. })));
        assert_eq!(sent("AUTO.OFFSET.RESET").unwrap().property(OFFSET_RESET), Some("latest"));
        session.unset(None);
        assert_eq!(session.start(Position::Latest).unwrap(), Position::Latest);
        assert_eq!(session.variable("topic"), Some("ratings"));
        assert_eq!(session.variables().collect::<Vec<_>>(), [("topic", "ratings")]);
        session.undefine("topic");
        assert_eq!(session, Session::default());
    }
}
