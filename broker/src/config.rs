//! The broker's settings: plain values, each with unit, default and bounds. No component lives here.
//!
//! Layers are the caller's: it applies the file first, then the environment, then flags, each through [`Config::set`]
//! or [`Config::read_toml`]. Unknown names are errors. Settings of topics may be given as `topic.NAME`: they are the
//! defaults of every topic that does not set them itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use protocol::limits::{
    MIB, PARTITIONS_MAX, PARTITIONS_PER_TOPIC_MAX, REQUEST_BYTES_MAX, TOPICS_MAX,
};

use crate::setting::{self, Expected, Row, SettingError, number};
use crate::topics::settings::{self as topic_settings, Durability, TopicSettings};

/// Every setting of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Folder of all data.
    pub data_dir: PathBuf,
    /// Where gRPC listens; port 0 takes a free one.
    pub grpc_listen: SocketAddr,
    /// Where HTTP (health, metrics) listens; port 0 takes a free one.
    pub http_listen: SocketAddr,
    /// What an acknowledgement means where the topic does not say.
    pub durability: DurabilityMode,
    /// Longest time between write and sync in the mode `interval`, in milliseconds.
    pub durability_interval_ms: u64,
    /// Threads that own logs; 0 for one a core.
    pub shards: usize,
    /// Partitions of a topic that is created without a number.
    pub default_partitions: u32,
    /// Bytes of batches between arrival and acknowledgement, all producers together.
    pub write_bytes_in_flight_max: usize,
    /// Bytes of answers on their way, all readers together.
    pub read_bytes_in_flight_max: usize,
    /// Newest bytes of each partition kept in memory.
    pub tail_bytes_max: usize,
    /// Largest request that is read.
    pub request_bytes_max: usize,
    /// Open connections.
    pub connections_max: usize,
    /// Topics.
    pub topics_max: usize,
    /// Partitions, all topics together.
    pub partitions_max: usize,
    /// How often old segments are looked for, in milliseconds.
    pub retention_check_ms: u64,
    /// How long a stopping broker waits for what is under way, in milliseconds.
    pub shutdown_ms_max: u64,
    /// Threads that serve connections; 0 for one a core. Read by `thalweg serve`: whoever brings a runtime of their own
    /// has chosen already.
    pub workers: usize,
    /// Files of data that are open at a time; 0 for half of what the process may open.
    pub open_files_max: usize,
    /// Defaults of all topics.
    pub topic: TopicSettings,
}

/// The modes of `durability`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurabilityMode {
    /// Acknowledged means synced.
    Sync,
    /// Synced every `durability_interval_ms`.
    Interval,
    /// Synced when the operating system likes.
    Os,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            data_dir: PathBuf::from("thalweg-data"),
            grpc_listen: loopback(9093),
            http_listen: loopback(9094),
            durability: DurabilityMode::Sync,
            durability_interval_ms: 100,
            shards: 0,
            default_partitions: 1,
            write_bytes_in_flight_max: 128 * MIB,
            read_bytes_in_flight_max: 64 * MIB,
            tail_bytes_max: MIB,
            request_bytes_max: REQUEST_BYTES_MAX,
            connections_max: 1_000,
            topics_max: 10_000,
            partitions_max: 20_000,
            retention_check_ms: 60_000,
            shutdown_ms_max: 5_000,
            workers: 0,
            open_files_max: 0,
            topic: TopicSettings::default(),
        }
    }
}

/// Every setting of the broker but those of topics.
pub static ROWS: [Row<Config>; 18] = [
    Row {
        name: "connections_max",
        unit: "connections",
        bounds: "1 to 1000000",
        live: false,
        doc: "Open connections; a further one is closed at once",
        set: |target, text| number(text, 1..=1_000_000).map(|count| target.connections_max = count),
        get: |target| target.connections_max.to_string(),
    },
    Row {
        name: "data_dir",
        unit: "path",
        bounds: "a folder that no other broker uses",
        live: false,
        doc: "Folder of all data; made when it is missing",
        set: |target, text| {
            if text.is_empty() {
                return Err(Expected("the path of a folder is expected".into()));
            }
            target.data_dir = PathBuf::from(text);
            Ok(())
        },
        get: |target| target.data_dir.display().to_string(),
    },
    Row {
        name: "default_partitions",
        unit: "partitions",
        bounds: "1 to 10000",
        live: false,
        doc: "Partitions of a topic that is created without a number",
        set: |target, text| {
            number(text, 1..=PARTITIONS_PER_TOPIC_MAX)
                .map(|count| target.default_partitions = count)
        },
        get: |target| target.default_partitions.to_string(),
    },
    Row {
        name: "durability",
        unit: "word",
        bounds: "`sync`, `interval`, `os`",
        live: false,
        doc: "What an acknowledgement means: `sync` after the record was synced to disk, `interval` after it was written (synced every `durability_interval_ms`), `os` after it was written",
        set: |target, text| {
            target.durability = match text {
                "sync" => DurabilityMode::Sync,
                "interval" => DurabilityMode::Interval,
                "os" => DurabilityMode::Os,
                _ => return Err(Expected("sync, interval or os is expected".into())),
            };
            Ok(())
        },
        get: |target| match target.durability {
            DurabilityMode::Sync => "sync".into(),
            DurabilityMode::Interval => "interval".into(),
            DurabilityMode::Os => "os".into(),
        },
    },
    Row {
        name: "durability_interval_ms",
        unit: "ms",
        bounds: "1 to 60000",
        live: false,
        doc: "Longest time between write and sync where durability is `interval`: what a power cut can cost",
        set: |target, text| number(text, 1..=60_000).map(|ms| target.durability_interval_ms = ms),
        get: |target| target.durability_interval_ms.to_string(),
    },
    Row {
        name: "grpc_listen",
        unit: "address",
        bounds: "IP:PORT; port 0 takes a free one",
        live: false,
        doc: "Where gRPC listens",
        set: |target, text| address(text).map(|address| target.grpc_listen = address),
        get: |target| target.grpc_listen.to_string(),
    },
    Row {
        name: "http_listen",
        unit: "address",
        bounds: "IP:PORT; port 0 takes a free one",
        live: false,
        doc: "Where HTTP listens: /healthz, /readyz, /metrics",
        set: |target, text| address(text).map(|address| target.http_listen = address),
        get: |target| target.http_listen.to_string(),
    },
    Row {
        name: "open_files_max",
        unit: "files",
        bounds: "16 to 10000000, or 0 or `auto` (half of what the process may open)",
        live: false,
        doc: "Files of data that are open at a time. Half are for partitions that are written to, two each; beyond that the one written to least lately is synced and its files are closed, which costs some syncs each time. Half are for readers of older records; beyond that each reader opens what it needs",
        set: |target, text| {
            target.open_files_max = match text {
                "auto" | "0" => 0,
                text => number(text, 16..=10_000_000)?,
            };
            Ok(())
        },
        get: |target| target.open_files_max.to_string(),
    },
    Row {
        name: "partitions_max",
        unit: "partitions",
        bounds: "1 to 200000",
        live: false,
        doc: "Partitions of all topics together",
        set: |target, text| {
            number(text, 1..=PARTITIONS_MAX).map(|count| target.partitions_max = count)
        },
        get: |target| target.partitions_max.to_string(),
    },
    Row {
        name: "read_bytes_in_flight_max",
        unit: "bytes",
        bounds: "1048576 to 2^40",
        live: false,
        doc: "Answers on their way, all readers together; beyond it answers shrink to 64 KiB each. As much again: requests under way that are not to produce; beyond it those above 4 KiB are refused as busy",
        set: |target, text| bytes(text).map(|bytes| target.read_bytes_in_flight_max = bytes),
        get: |target| target.read_bytes_in_flight_max.to_string(),
    },
    Row {
        name: "request_bytes_max",
        unit: "bytes",
        bounds: "1048576 to 68157440",
        live: false,
        doc: "Largest gRPC request that is read",
        set: |target, text| {
            number(text, MIB..=REQUEST_BYTES_MAX).map(|bytes| target.request_bytes_max = bytes)
        },
        get: |target| target.request_bytes_max.to_string(),
    },
    Row {
        name: "retention_check_ms",
        unit: "ms",
        bounds: "100 to 86400000",
        live: false,
        doc: "How often segments past their retention are looked for",
        set: |target, text| number(text, 100..=86_400_000).map(|ms| target.retention_check_ms = ms),
        get: |target| target.retention_check_ms.to_string(),
    },
    Row {
        name: "shards",
        unit: "threads",
        bounds: "0 (one a core) to 256",
        live: false,
        doc: "Threads that own the logs; each partition belongs to one of them",
        set: |target, text| number(text, 0..=256).map(|count| target.shards = count),
        get: |target| target.shards.to_string(),
    },
    Row {
        name: "shutdown_ms_max",
        unit: "ms",
        bounds: "0 to 600000",
        live: false,
        doc: "How long a stopping broker waits for requests under way before it ends them; syncing is never cut short",
        set: |target, text| number(text, 0..=600_000).map(|ms| target.shutdown_ms_max = ms),
        get: |target| target.shutdown_ms_max.to_string(),
    },
    Row {
        name: "tail_bytes_max",
        unit: "bytes",
        bounds: "0 to 1073741824",
        live: false,
        doc: "Newest bytes of each partition that are kept in memory for its readers",
        set: |target, text| number(text, 0..=1024 * MIB).map(|bytes| target.tail_bytes_max = bytes),
        get: |target| target.tail_bytes_max.to_string(),
    },
    Row {
        name: "topics_max",
        unit: "topics",
        bounds: "1 to 100000",
        live: false,
        doc: "Topics of the broker",
        set: |target, text| number(text, 1..=TOPICS_MAX).map(|count| target.topics_max = count),
        get: |target| target.topics_max.to_string(),
    },
    Row {
        name: "workers",
        unit: "threads",
        bounds: "1 to 256, or 0 or `auto` (one a core)",
        live: false,
        doc: "Threads of `thalweg serve` that serve connections and queries; logs have their own (`shards`)",
        set: |target, text| {
            target.workers = match text {
                "auto" => 0,
                text => number(text, 0..=256)?,
            };
            Ok(())
        },
        get: |target| target.workers.to_string(),
    },
    Row {
        name: "write_bytes_in_flight_max",
        unit: "bytes",
        bounds: "1048576 to 2^40",
        live: false,
        doc: "Batches between arrival and acknowledgement, all producers together; beyond it producers wait up to 10 s and are then refused as busy, at once where half as many bytes wait already",
        set: |target, text| bytes(text).map(|bytes| target.write_bytes_in_flight_max = bytes),
        get: |target| target.write_bytes_in_flight_max.to_string(),
    },
];

fn address(text: &str) -> Result<SocketAddr, Expected> {
    text.parse().map_err(|_| Expected("an address like 127.0.0.1:9093 is expected".into()))
}

fn bytes(text: &str) -> Result<usize, Expected> {
    number(text, MIB..=1 << 40)
}

/// Why a configuration file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is not TOML.
    #[error("the configuration is not valid TOML: {cause}")]
    Syntax {
        /// Where and why, in the words of the TOML reader.
        cause: String,
    },
    /// A value is a table or list where a text, number or truth value is expected.
    #[error("the setting {name:?} holds a list or table; a text or a number is expected")]
    Kind {
        /// Which setting.
        name: String,
    },
    /// A setting was refused.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// Prefix of the defaults of topics among the broker's settings.
const TOPIC_PREFIX: &str = "topic.";

impl Config {
    /// Changes one setting: `durability`, or `topic.retention.ms` for the default of all topics.
    ///
    /// # Errors
    /// For an unknown name or a value that is not valid; nothing has then changed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        match name.strip_prefix(TOPIC_PREFIX) {
            Some(name) => setting::set(&topic_settings::ROWS, &mut self.topic, name, value),
            None => setting::set(&ROWS, self, name, value),
        }
    }

    /// Changes what a configuration file names: settings at the top, defaults of topics in `[topic]`, either quoted
    /// (`"retention.ms" = 60000`) or dotted.
    ///
    /// # Errors
    /// The first thing that is wrong; the settings before it have then been changed.
    pub fn read_toml(&mut self, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::Syntax { cause: error.to_string() })?;
        self.read_table("", &table)
    }

    fn read_table(&mut self, prefix: &str, table: &toml::Table) -> Result<(), ConfigError> {
        for (name, value) in table {
            let name = format!("{prefix}{name}");
            match value {
                toml::Value::String(text) => self.set(&name, text)?,
                toml::Value::Integer(number) => self.set(&name, &number.to_string())?,
                toml::Value::Boolean(truth) => self.set(&name, &truth.to_string())?,
                toml::Value::Table(inner) if format!("{name}.").starts_with(TOPIC_PREFIX) => {
                    self.read_table(&format!("{name}."), inner)?;
                }
                toml::Value::Table(_)
                | toml::Value::Array(_)
                | toml::Value::Float(_)
                | toml::Value::Datetime(_) => {
                    setting::find(&ROWS, &name)?;
                    return Err(ConfigError::Kind { name });
                }
            }
        }
        Ok(())
    }

    /// The names of all settings, as [`Self::set`] takes them.
    pub fn names() -> impl Iterator<Item = String> {
        let own = ROWS.iter().map(|row| row.name.to_owned());
        own.chain(topic_settings::ROWS.iter().map(|row| format!("{TOPIC_PREFIX}{}", row.name)))
    }

    /// What an acknowledgement means where a topic does not say.
    pub fn durability(&self) -> Durability {
        match self.durability {
            DurabilityMode::Sync => Durability::Sync,
            DurabilityMode::Interval => Durability::Interval { ms: self.durability_interval_ms },
            DurabilityMode::Os => Durability::Os,
        }
    }

    /// Both tables in Markdown, as `docs/settings.md` shows them.
    pub fn render_tables() -> (String, String) {
        let defaults = Self::default();
        (setting::render(&ROWS, &defaults), setting::render(&topic_settings::ROWS, &defaults.topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_what_its_own_row_reads() {
        let defaults = Config::default();
        for row in &ROWS {
            let mut config = defaults.clone();
            (row.set)(&mut config, &(row.get)(&defaults)).unwrap();
            assert_eq!(config, defaults, "{}", row.name);
        }
        assert!(ROWS.is_sorted_by_key(|row| row.name));
    }

    #[test]
    fn a_file_sets_the_broker_and_the_defaults_of_topics() {
        let mut config = Config::default();
        let text = "durability = \"os\"\nshards = 3\n[topic]\n\"retention.ms\" = 60000\nsegment.bytes = 8192\n";
        config.read_toml(text).unwrap();
        assert_eq!((config.durability, config.shards), (DurabilityMode::Os, 3));
        assert_eq!(config.topic.retention_ms, Some(60_000));
        assert_eq!(config.topic.segment_bytes, 8192);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        let refused = |text: &str| Config::default().read_toml(text).unwrap_err();
        assert!(matches!(refused("durability = "), ConfigError::Syntax { .. }));
        assert!(matches!(
            refused("durabilty = \"os\""),
            ConfigError::Setting(SettingError::Unknown { nearest: Some("durability"), .. })
        ));
        assert!(matches!(refused("shards = [1]"), ConfigError::Kind { .. }));
        assert!(matches!(
            refused("[topics]\nx = 1"),
            ConfigError::Setting(SettingError::Unknown { .. })
        ));
        assert!(matches!(
            refused("shards = 99999"),
            ConfigError::Setting(SettingError::Value { .. })
        ));
    }
}
