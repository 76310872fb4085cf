//! Every metric of the broker, once: its name, its unit, its meaning.
//!
//! Counters are plain atomics that hot paths bump without a lock; the text form is made when somebody asks.
//! [`NAMES`] is the table that `docs/settings.md` shows.

use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The broker's metrics. Cloning is cheap and shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Batches acknowledged.
    pub batches_appended: Counter,
    /// Records acknowledged.
    pub records_appended: Counter,
    /// Bytes of batches acknowledged, as stored.
    pub bytes_appended: Counter,
    /// Batches that an idempotent producer sent again.
    pub batches_repeated: Counter,
    /// Batches refused, for whatever reason.
    pub batches_refused: Counter,
    /// Bytes answered to readers.
    pub bytes_fetched: Counter,
    /// Answers to readers that had to read a file.
    pub fetches_from_files: Counter,
    /// Places of damage met by readers.
    pub damage_met: Counter,
    /// Syncs of a log.
    pub syncs: Counter,
    /// Time of each sync, in seconds.
    pub sync_seconds: Histogram,
    /// Records that one sync made durable: how well producers share it.
    pub turn_batches: Histogram,
    /// Partitions that take no writes because their disk failed.
    pub partitions_failed: Gauge,
    /// Writes refused because the disk was full.
    pub disk_full: Counter,
    /// Logs that gave their files back to others that needed them.
    pub logs_parked: Counter,
    /// Topics.
    pub topics: Gauge,
    /// Partitions.
    pub partitions: Gauge,
    /// Open gRPC connections.
    pub connections: Gauge,
    /// Connections closed because there were too many.
    pub connections_refused: Counter,
    /// Bytes that producers have under way.
    pub write_bytes_in_flight: Gauge<i64>,
    /// Segments deleted by retention.
    pub segments_deleted: Counter,
    registry: std::sync::Arc<Mutex<Registry>>,
}

/// Name, unit and meaning of every metric, as `/metrics` shows them.
pub const NAMES: [(&str, &str, &str); 20] = [
    ("thalweg_batches_appended_total", "batches", "Batches acknowledged"),
    ("thalweg_records_appended_total", "records", "Records acknowledged"),
    ("thalweg_appended_bytes_total", "bytes", "Bytes of batches acknowledged, as stored"),
    ("thalweg_batches_repeated_total", "batches", "Batches that an idempotent producer sent again"),
    ("thalweg_batches_refused_total", "batches", "Batches refused, for whatever reason"),
    ("thalweg_fetched_bytes_total", "bytes", "Bytes answered to readers"),
    ("thalweg_fetches_from_files_total", "fetches", "Answers to readers that had to read a file"),
    ("thalweg_damage_met_total", "places", "Places of damage met by readers"),
    ("thalweg_syncs_total", "syncs", "Syncs of a log, those of full segments included"),
    ("thalweg_sync_seconds", "seconds", "Time of each sync (histogram)"),
    (
        "thalweg_turn_batches",
        "batches",
        "Batches that one turn of a shard took together (histogram)",
    ),
    (
        "thalweg_partitions_failed",
        "partitions",
        "Partitions that take no writes because their disk failed",
    ),
    ("thalweg_disk_full_total", "writes", "Writes refused because the disk was full"),
    ("thalweg_topics", "topics", "Topics"),
    ("thalweg_partitions", "partitions", "Partitions"),
    ("thalweg_connections", "connections", "Open gRPC connections"),
    (
        "thalweg_connections_refused_total",
        "connections",
        "Connections closed because there were too many",
    ),
    ("thalweg_write_bytes_in_flight", "bytes", "Bytes that producers have under way"),
    ("thalweg_segments_deleted_total", "segments", "Segments deleted by retention"),
    (
        "thalweg_logs_parked_total",
        "logs",
        "Logs that closed their files because others needed them (`open_files_max`)",
    ),
];

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let metrics = Self {
            batches_appended: Counter::<u64, AtomicU64>::default(),
            records_appended: Counter::default(),
            bytes_appended: Counter::default(),
            batches_repeated: Counter::default(),
            batches_refused: Counter::default(),
            bytes_fetched: Counter::default(),
            fetches_from_files: Counter::default(),
            damage_met: Counter::default(),
            syncs: Counter::default(),
            // 50 microseconds to about 1.6 seconds.
            sync_seconds: Histogram::new(exponential_buckets(50e-6, 2.0, 16)),
            turn_batches: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            partitions_failed: Gauge::default(),
            disk_full: Counter::default(),
            logs_parked: Counter::default(),
            topics: Gauge::default(),
            partitions: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            write_bytes_in_flight: Gauge::default(),
            segments_deleted: Counter::default(),
            registry: std::sync::Arc::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = Registry::with_prefix("thalweg");
        // The registry adds the unit and `_total` to the names below; the test compares the result with NAMES.
        registry.register("batches_appended", NAMES[0].2, self.batches_appended.clone());
        registry.register("records_appended", NAMES[1].2, self.records_appended.clone());
        registry.register_with_unit(
            "appended",
            NAMES[2].2,
            Unit::Bytes,
            self.bytes_appended.clone(),
        );
        registry.register("batches_repeated", NAMES[3].2, self.batches_repeated.clone());
        registry.register("batches_refused", NAMES[4].2, self.batches_refused.clone());
        registry.register_with_unit("fetched", NAMES[5].2, Unit::Bytes, self.bytes_fetched.clone());
        registry.register("fetches_from_files", NAMES[6].2, self.fetches_from_files.clone());
        registry.register("damage_met", NAMES[7].2, self.damage_met.clone());
        registry.register("syncs", NAMES[8].2, self.syncs.clone());
        registry.register_with_unit("sync", NAMES[9].2, Unit::Seconds, self.sync_seconds.clone());
        registry.register("turn_batches", NAMES[10].2, self.turn_batches.clone());
        registry.register("partitions_failed", NAMES[11].2, self.partitions_failed.clone());
        registry.register("disk_full", NAMES[12].2, self.disk_full.clone());
        registry.register("topics", NAMES[13].2, self.topics.clone());
        registry.register("partitions", NAMES[14].2, self.partitions.clone());
        registry.register("connections", NAMES[15].2, self.connections.clone());
        registry.register("connections_refused", NAMES[16].2, self.connections_refused.clone());
        registry.register("write_bytes_in_flight", NAMES[17].2, self.write_bytes_in_flight.clone());
        registry.register("segments_deleted", NAMES[18].2, self.segments_deleted.clone());
        registry.register("logs_parked", NAMES[19].2, self.logs_parked.clone());
        *self.registry.lock() = registry;
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; should it ever, what is there is still true.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_what_is_rendered() {
        let metrics = Metrics::new();
        metrics.sync_seconds.observe(0.001);
        metrics.turn_batches.observe(1.0);
        let text = metrics.render();
        for (name, _, meaning) in NAMES {
            let there = text.lines().any(|line| {
                line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}_count "))
            });
            assert!(there, "{name} is not in:\n{text}");
            assert!(text.contains(meaning), "{name}: {meaning}");
        }
        let families = text.lines().filter(|line| line.starts_with("# TYPE")).count();
        assert_eq!(families, NAMES.len());
    }
}
