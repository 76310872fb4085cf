//! The names and numbers that both ends exchange, each a type of its own.
//!
//! They are parsed once, at the door; a bad one cannot be built. Raw integers appear only in codecs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::{PARTITIONS_PER_TOPIC_MAX, TOPIC_NAME_BYTES_MAX};

/// Why something is not a valid identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The name of a topic is empty, too long, `.` or `..`, or has a character outside `a-z A-Z 0-9 . _ -`.
    #[error(
        "topic name {name:?} is not valid: use 1 to {TOPIC_NAME_BYTES_MAX} of the characters a-z A-Z 0-9 . _ - (but not \".\" or \"..\")"
    )]
    TopicName {
        /// The name as given, cut to 260 characters.
        name: String,
    },
    /// A partition outside `0..PARTITIONS_PER_TOPIC_MAX`.
    #[error("partition {given} is not valid: partitions are numbered from 0 to {}", PARTITIONS_PER_TOPIC_MAX - 1)]
    Partition {
        /// The number as given.
        given: i64,
    },
    /// An offset below zero.
    #[error("offset {given} is not valid: offsets start at 0")]
    Offset {
        /// The number as given.
        given: i64,
    },
    /// A topic id that is not a UUID.
    #[error("topic id {given:?} is not a UUID")]
    TopicId {
        /// The text as given, cut to 260 characters.
        given: String,
    },
}

/// The name of a topic: 1 to 249 characters of `a-z A-Z 0-9 . _ -`, neither `.` nor `..` (Kafka's rule).
///
/// So a name is always a safe file name. Cloning shares the text.
///
/// ```
/// use thalweg_protocol::id::TopicName;
/// let name: TopicName = "ratings-enriched".parse().unwrap();
/// assert_eq!(name.as_str(), "ratings-enriched");
/// assert!("../etc/passwd".parse::<TopicName>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Names of topics that the broker's own parts keep for themselves begin so.
    pub const INTERNAL_PREFIX: &str = "_thalweg_";

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`IdError::TopicName`] when the rule above does not hold.
    pub fn new(name: &str) -> Result<Self, IdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty()
            || name.len() > TOPIC_NAME_BYTES_MAX
            || matches!(name, "." | "..")
            || !name.bytes().all(allowed)
        {
            return Err(IdError::TopicName { name: name.chars().take(260).collect() });
        }
        Ok(Self(name.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for a topic that a part of the broker keeps for itself: all may read it, nobody else may change it.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with(Self::INTERNAL_PREFIX)
    }
}

impl FromStr for TopicName {
    type Err = IdError;

    fn from_str(name: &str) -> Result<Self, IdError> {
        Self::new(name)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One life of a topic: a topic that is deleted and created again under its name has another id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub uuid::Uuid);

impl FromStr for TopicId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        uuid::Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| IdError::TopicId { given: text.chars().take(260).collect() })
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number of a partition inside its topic, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u32);

impl Partition {
    /// The first partition, which every topic has.
    pub const ZERO: Self = Self(0);

    /// Checks a number from the wire.
    ///
    /// # Errors
    /// [`IdError::Partition`] below 0 or at [`PARTITIONS_PER_TOPIC_MAX`] and above.
    pub fn new(number: i64) -> Result<Self, IdError> {
        u32::try_from(number)
            .ok()
            .filter(|number| *number < PARTITIONS_PER_TOPIC_MAX)
            .map(Self)
            .ok_or(IdError::Partition { given: number })
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The number as the wire has it.
    pub fn to_i32(self) -> i32 {
        // Below PARTITIONS_PER_TOPIC_MAX by construction.
        self.0.cast_signed()
    }

    /// The partitions of a topic with `count` of them, in order.
    pub fn all(count: u32) -> impl DoubleEndedIterator<Item = Self> + Clone {
        (0..count.min(PARTITIONS_PER_TOPIC_MAX)).map(Self)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The place of a record in its partition, from 0. As an end it is exclusive: `..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(i64);

impl Offset {
    /// Where every partition starts.
    pub const ZERO: Self = Self(0);

    /// Checks a number from the wire.
    ///
    /// # Errors
    /// [`IdError::Offset`] below 0.
    pub fn new(offset: i64) -> Result<Self, IdError> {
        if offset < 0 { Err(IdError::Offset { given: offset }) } else { Ok(Self(offset)) }
    }

    /// The number, never negative.
    pub fn get(self) -> i64 {
        self.0
    }

    /// The offset `count` records later. Stops at the largest offset, 2^63 - 1, which no log reaches.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add_unsigned(count))
    }

    /// Records between `earlier` and this offset; 0 when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Milliseconds since the start of 1970 in UTC. Kafka's "none" is [`Timestamp::NONE`], -1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// No time is known.
    pub const NONE: Self = Self(-1);
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How often the leader of a partition has changed; on one node it counts the openings of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

/// An idempotent producer, numbered by the broker from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One life of a producer id: a higher epoch fences all lower ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(pub i16);

/// The number of a record among those of one producer in one partition: 0 to 2^31 - 1, then 0 again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(i32);

impl Sequence {
    /// The first record of a producer.
    pub const ZERO: Self = Self(0);

    /// Takes a number from the wire; a negative one is `None`.
    pub fn new(number: i32) -> Option<Self> {
        (number >= 0).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> i32 {
        self.0
    }

    /// The sequence `count` records later, wrapping from 2^31 - 1 to 0 (KAFKA-7692 is what happens otherwise).
    ///
    /// ```
    /// use thalweg_protocol::id::Sequence;
    /// let last = Sequence::new(i32::MAX).unwrap();
    /// assert_eq!(last.plus(1), Sequence::ZERO);
    /// ```
    #[must_use]
    pub fn plus(self, count: u32) -> Self {
        let sum = (i64::from(self.0) + i64::from(count)) % (i64::from(i32::MAX) + 1);
        Self(i32::try_from(sum).unwrap_or(0))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_safe_as_file_names_are_refused() {
        for bad in ["", ".", "..", "a/b", "../x", "a b", "nul\0", "ü", &"x".repeat(250)] {
            assert!(TopicName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "asgard.demo.CUSTOMERS", "ratings-enriched", "_x", &"x".repeat(249)] {
            assert_eq!(TopicName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn numbers_from_the_wire_are_checked() {
        assert!(Partition::new(-1).is_err());
        assert!(Partition::new(i64::from(PARTITIONS_PER_TOPIC_MAX)).is_err());
        assert!(Offset::new(-1).is_err());
        assert_eq!(Offset::new(i64::MAX).unwrap().plus(9), Offset::new(i64::MAX).unwrap());
        assert!("no-uuid".parse::<TopicId>().is_err());
    }
}
