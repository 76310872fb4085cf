//! From what went wrong below to a refusal: an outcome plus what the caller needs to act on it.
//!
//! The only file that knows both the errors of `storage` and the outcomes of `protocol`.

use protocol::batch::BatchError;
use protocol::id::{Partition, TopicName};
use protocol::outcome::{Outcome, Refusal};
use storage::{ReadError, StageError, StorageError};

use crate::setting::SettingError;

/// Where something happened, as refusals name it: `ratings-0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The topic.
    pub(crate) topic: TopicName,
    /// Its partition.
    pub(crate) partition: Partition,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// There is no topic of this name; `nearest` is one that differs only in case.
pub(crate) fn unknown_topic(topic: &TopicName, nearest: Option<&TopicName>) -> Refusal {
    let hint = nearest.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Refusal::new(Outcome::UnknownTopic, format!("there is no topic {topic}{hint}"))
}

/// The topic exists, the partition does not.
pub(crate) fn unknown_partition(place: &Place, partitions: usize) -> Refusal {
    Refusal::new(
        Outcome::UnknownPartition,
        format!(
            "there is no partition {} of topic {}: it has {partitions}",
            place.partition, place.topic
        ),
    )
}

/// The broker, or the thread that owns the partition, is leaving.
pub(crate) fn stopping() -> Refusal {
    Refusal::new(Outcome::Unavailable, "the broker is stopping")
}

/// The thread that owned a partition has ended, or has given it up a moment ago.
pub(crate) fn not_owned(place: &Place) -> Refusal {
    Refusal::new(Outcome::Unavailable, format!("{place} is not served at this moment"))
}

/// A write or sync went wrong.
pub(crate) fn storage(place: &Place, error: &StorageError) -> Refusal {
    let outcome = if error.is_full() { Outcome::DiskFull } else { Outcome::StorageFailed };
    Refusal::new(outcome, format!("{place}: {error}"))
}

/// A write went wrong and was undone: nothing happened, and the same batch may be sent again.
pub(crate) fn not_written(place: &Place, error: &StorageError) -> Refusal {
    let outcome = if error.is_full() { Outcome::DiskFull } else { Outcome::Unavailable };
    Refusal::new(outcome, format!("{place}: {error}"))
}

/// A batch from a producer was not taken into line.
pub(crate) fn stage(place: &Place, error: &StageError) -> Refusal {
    let outcome = match error {
        StageError::OutOfOrderSequence { .. } => Outcome::OutOfOrderSequence,
        StageError::Fenced { .. } => Outcome::ProducerFenced,
        StageError::Failed(_) => Outcome::StorageFailed,
        StageError::OffsetsExhausted { .. } => Outcome::LimitReached,
    };
    Refusal::new(outcome, format!("{place}: {error}"))
}

/// A reader asked for what is not there, or what is damaged.
pub(crate) fn read(place: &Place, error: &ReadError) -> Refusal {
    match error {
        ReadError::OutOfRange { offset, start, end } => {
            let nearest = if offset < start { *start } else { *end };
            Refusal::new(Outcome::OffsetOutOfRange, format!("{place}: {error}")).resume_at(nearest)
        }
        ReadError::Damaged { resume_at, .. } => {
            Refusal::new(Outcome::DamagedData, format!("{place}: {error}")).resume_at(*resume_at)
        }
        ReadError::Disk(_) => Refusal::new(Outcome::StorageFailed, format!("{place}: {error}")),
    }
}

/// What came is no batch that is taken.
pub(crate) fn batch(place: &Place, error: &BatchError) -> Refusal {
    Refusal::new(error.outcome(), format!("{place}: {error}"))
}

/// A setting is unknown or its value not valid.
pub(crate) fn setting(error: &SettingError) -> Refusal {
    Refusal::new(Outcome::InvalidSetting, error.to_string())
}
