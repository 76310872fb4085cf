//! One topic's settings by Kafka's names: read, checked, with defaults.
//!
//! A topic stores only what was set on it; everything else follows the broker's defaults (`topic.*` in its
//! configuration), also when those change later.

use std::collections::BTreeMap;

use protocol::limits::{
    BATCH_BYTES_DEFAULT, BATCH_BYTES_MAX, SETTING_VALUE_BYTES_MAX, SETTINGS_PER_TOPIC_MAX,
};
use protocol::verbs::SettingDescription;

use crate::setting::{self, Expected, Row, SettingError, number};

/// When an acknowledged record is safe, in the words of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged after it was synced to the disk: survives power loss.
    Sync,
    /// Acknowledged after it was written; synced at least so often, in milliseconds: power loss costs that at most.
    Interval {
        /// Longest time between write and sync.
        ms: u64,
    },
    /// Acknowledged after it was written; the operating system syncs when it likes.
    Os,
}

/// Which clock a topic's timestamps come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// What happens to old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Whole segments go when they are past `retention.ms` or `retention.bytes`.
    Delete,
    /// Nothing goes by age or size.
    Compact,
    /// Both rules.
    CompactAndDelete,
}

/// Every setting of a topic with the value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// `cleanup.policy`.
    pub cleanup: Cleanup,
    /// `flush.messages`: sync after so many records. 1: before each acknowledgement.
    pub flush_records: Option<u64>,
    /// `flush.ms`: sync after so many milliseconds.
    pub flush_ms: Option<u64>,
    /// `max.message.bytes`: largest batch, as stored.
    pub batch_bytes_max: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.after.max.ms`: how far ahead of the broker's clock a record may be.
    pub timestamp_after_ms_max: u64,
    /// `message.timestamp.before.max.ms`: how far behind.
    pub timestamp_before_ms_max: u64,
    /// `retention.ms`; `None` for ever.
    pub retention_ms: Option<u64>,
    /// `retention.bytes` of each partition; `None` without bound.
    pub retention_bytes: Option<u64>,
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`.
    pub segment_ms: u64,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            cleanup: Cleanup::Delete,
            flush_records: None,
            flush_ms: None,
            batch_bytes_max: BATCH_BYTES_DEFAULT,
            timestamp_type: TimestampType::CreateTime,
            timestamp_after_ms_max: 3_600_000,
            timestamp_before_ms_max: NEVER,
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            segment_bytes: 256 * 1024 * 1024,
            segment_ms: 7 * 24 * 3_600_000,
        }
    }
}

/// Kafka's largest number, which stands for "never" in `flush.*` and "any" in `message.timestamp.*`.
const NEVER: u64 = i64::MAX.unsigned_abs();

/// Reads -1 as "without bound".
fn bound(text: &str) -> Result<Option<u64>, Expected> {
    match number::<i64>(text, -1..=i64::MAX)? {
        -1 => Ok(None),
        number => Ok(Some(number.unsigned_abs())),
    }
}

fn show_bound(bound: Option<u64>) -> String {
    bound.map_or_else(|| "-1".to_owned(), |bound| bound.to_string())
}

/// Reads Kafka's largest number as "not set".
fn unless_never(text: &str, least: u64) -> Result<Option<u64>, Expected> {
    let number = number(text, least..=NEVER)?;
    Ok((number != NEVER).then_some(number))
}

/// Every topic setting.
pub static ROWS: [Row<TopicSettings>; 12] = [
    Row {
        name: "cleanup.policy",
        unit: "word",
        bounds: "`delete`, `compact`, `compact,delete`",
        live: true,
        doc: "What happens to old records: `delete` lets whole segments go by `retention.*`; `compact` keeps all records by age and size (at least the newest of each key, today every one)",
        set: |target, text| {
            target.cleanup = match text.replace(' ', "").as_str() {
                "delete" => Cleanup::Delete,
                "compact" => Cleanup::Compact,
                "compact,delete" | "delete,compact" => Cleanup::CompactAndDelete,
                _ => return Err(Expected("delete, compact or compact,delete is expected".into())),
            };
            Ok(())
        },
        get: |target| match target.cleanup {
            Cleanup::Delete => "delete".into(),
            Cleanup::Compact => "compact".into(),
            Cleanup::CompactAndDelete => "compact,delete".into(),
        },
    },
    Row {
        name: "compression.type",
        unit: "word",
        bounds: "`producer`",
        live: true,
        doc: "Batches are stored as the producer compressed them; the broker never compresses again",
        set: |_, text| {
            match text {
            "producer" => Ok(()),
            _ => Err(Expected(
                "producer is expected: the broker stores batches as they came, so set the compression in the producer".into(),
            )),
        }
        },
        get: |_| "producer".into(),
    },
    Row {
        name: "flush.messages",
        unit: "records",
        bounds: "1 to 2^63 - 1 (never)",
        live: true,
        doc: "Sync after so many records. 1 acknowledges only what is synced, whatever the broker's `durability`. Not set: the broker's `durability` decides",
        set: |target, text| unless_never(text, 1).map(|records| target.flush_records = records),
        get: |target| target.flush_records.unwrap_or(NEVER).to_string(),
    },
    Row {
        name: "flush.ms",
        unit: "ms",
        bounds: "1 to 2^63 - 1 (never)",
        live: true,
        doc: "Sync at least so often, and acknowledge what is written. Not set: the broker's `durability` decides",
        set: |target, text| unless_never(text, 1).map(|ms| target.flush_ms = ms),
        get: |target| target.flush_ms.unwrap_or(NEVER).to_string(),
    },
    Row {
        name: "max.message.bytes",
        unit: "bytes",
        bounds: "1024 to 67108864",
        live: true,
        doc: "Largest batch that is taken, as stored. A compressed batch may unfold to 4 times this, at least to 4 MiB",
        set: |target, text| {
            number(text, 1024..=BATCH_BYTES_MAX).map(|bytes| target.batch_bytes_max = bytes)
        },
        get: |target| target.batch_bytes_max.to_string(),
    },
    Row {
        name: "message.timestamp.after.max.ms",
        unit: "ms",
        bounds: "0 to 2^63 - 1",
        live: true,
        doc: "How far ahead of the broker's clock a batch's newest timestamp may be; beyond it the batch is refused, so that one wrong clock cannot poison time",
        set: |target, text| number(text, 0..=NEVER).map(|ms| target.timestamp_after_ms_max = ms),
        get: |target| target.timestamp_after_ms_max.to_string(),
    },
    Row {
        name: "message.timestamp.before.max.ms",
        unit: "ms",
        bounds: "0 to 2^63 - 1",
        live: true,
        doc: "How far behind the broker's clock a batch's newest timestamp may be",
        set: |target, text| number(text, 0..=NEVER).map(|ms| target.timestamp_before_ms_max = ms),
        get: |target| target.timestamp_before_ms_max.to_string(),
    },
    Row {
        name: "message.timestamp.type",
        unit: "word",
        bounds: "`CreateTime`, `LogAppendTime`",
        live: true,
        doc: "Whose clock the timestamps are from: the producer's, or the broker's at the append",
        set: |target, text| {
            target.timestamp_type = match text {
                "CreateTime" => TimestampType::CreateTime,
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => return Err(Expected("CreateTime or LogAppendTime is expected".into())),
            };
            Ok(())
        },
        get: |target| match target.timestamp_type {
            TimestampType::CreateTime => "CreateTime".into(),
            TimestampType::LogAppendTime => "LogAppendTime".into(),
        },
    },
    Row {
        name: "retention.bytes",
        unit: "bytes",
        bounds: "-1 (no bound) to 2^63 - 1",
        live: true,
        doc: "Each partition keeps about so many bytes: whole closed segments go from the front",
        set: |target, text| bound(text).map(|bytes| target.retention_bytes = bytes),
        get: |target| show_bound(target.retention_bytes),
    },
    Row {
        name: "retention.ms",
        unit: "ms",
        bounds: "-1 (for ever) to 2^63 - 1",
        live: true,
        doc: "Records are kept at least so long: a segment goes when its newest record is older, also the last one of a topic that is not written to",
        set: |target, text| bound(text).map(|ms| target.retention_ms = ms),
        get: |target| show_bound(target.retention_ms),
    },
    Row {
        name: "segment.bytes",
        unit: "bytes",
        bounds: "4096 to 2147483647",
        live: true,
        doc: "A segment is closed before it would grow beyond this",
        set: |target, text| {
            number(text, 4096..=i32::MAX.unsigned_abs().into())
                .map(|bytes| target.segment_bytes = bytes)
        },
        get: |target| target.segment_bytes.to_string(),
    },
    Row {
        name: "segment.ms",
        unit: "ms",
        bounds: "1000 to 2^63 - 1",
        live: true,
        doc: "A segment is closed at the first append after it has grown this old",
        set: |target, text| number(text, 1000..=NEVER).map(|ms| target.segment_ms = ms),
        get: |target| target.segment_ms.to_string(),
    },
];

impl TopicSettings {
    /// These settings with `own` laid over them.
    ///
    /// # Errors
    /// For an unknown name, a value that is not valid, or too many settings.
    pub fn with(&self, own: &BTreeMap<String, String>) -> Result<Self, SettingError> {
        let mut settings = self.clone();
        for (name, value) in own {
            setting::set(&ROWS, &mut settings, name, value)?;
        }
        Ok(settings)
    }

    /// Every setting with its value in force.
    pub fn describe(&self, own: &BTreeMap<String, String>) -> Vec<SettingDescription> {
        ROWS.iter()
            .map(|row| SettingDescription {
                name: row.name.to_owned(),
                value: (row.get)(self),
                is_default: !own.contains_key(row.name),
            })
            .collect()
    }

    /// When a record of this topic is acknowledged, where the broker's word is `broker`.
    pub fn durability(&self, broker: Durability) -> Durability {
        match (self.flush_records, self.flush_ms) {
            (Some(1), _) => Durability::Sync,
            (_, Some(ms)) => Durability::Interval { ms },
            (Some(_), None) => Durability::Os,
            (None, None) => broker,
        }
    }
}

/// True when the settings of a request are within the bounds of any request.
pub(crate) fn are_bounded<'a>(mut values: impl ExactSizeIterator<Item = &'a str>) -> bool {
    values.len() <= SETTINGS_PER_TOPIC_MAX
        && values.all(|value| value.len() <= SETTING_VALUE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_what_its_own_row_reads() {
        let defaults = TopicSettings::default();
        for row in &ROWS {
            let mut settings = defaults.clone();
            (row.set)(&mut settings, &(row.get)(&defaults)).unwrap();
            assert_eq!(settings, defaults, "{}", row.name);
        }
        assert!(ROWS.is_sorted_by_key(|row| row.name));
    }

    #[test]
    fn kafkas_flush_settings_decide_the_durability() {
        let of = |pairs: &[(&str, &str)]| {
            let own = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            TopicSettings::default().with(&own).unwrap().durability(Durability::Os)
        };
        assert_eq!(of(&[]), Durability::Os);
        assert_eq!(of(&[("flush.messages", "1")]), Durability::Sync);
        assert_eq!(of(&[("flush.messages", "1"), ("flush.ms", "50")]), Durability::Sync);
        assert_eq!(of(&[("flush.ms", "50")]), Durability::Interval { ms: 50 });
        assert_eq!(of(&[("flush.ms", &NEVER.to_string())]), Durability::Os);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let refused = |name: &str, value: &str| {
            let own = [(name.to_owned(), value.to_owned())].into();
            TopicSettings::default().with(&own).unwrap_err()
        };
        assert!(matches!(refused("retention.md", "1"), SettingError::Unknown { .. }));
        for (name, value) in [
            ("retention.ms", "-2"),
            ("retention.ms", "soon"),
            ("segment.bytes", "10"),
            ("max.message.bytes", "99999999999"),
            ("cleanup.policy", "burn"),
            ("compression.type", "zstd"),
            ("message.timestamp.type", "createtime"),
            ("flush.messages", "0"),
        ] {
            assert!(matches!(refused(name, value), SettingError::Value { .. }), "{name}={value}");
        }
    }
}
