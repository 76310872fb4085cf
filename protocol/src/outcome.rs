//! The one table of outcomes: every way in which a request can end, for every door, with what it means.
//!
//! A row says the Kafka error code, the gRPC status, whether the request may be sent again, whether it may already
//! have happened, the exit code of the command line, and what to do next. Doors, client and command line read the
//! row; nobody decides anything by reading a message.

use std::fmt;

use crate::id::Offset;

/// gRPC status codes, by their numbers in the gRPC specification, so that this crate needs no gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are those of the gRPC specification")]
pub enum GrpcStatus {
    Ok = 0,
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
}

/// May the same request be sent again, unchanged, with hope?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It will fail in the same way: something must change first.
    Never,
    /// The cause may pass: wait a little, then send it again.
    Later,
}

/// When a request was not answered with success: may it have taken effect all the same?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing happened.
    None,
    /// It may have happened. Only an idempotent producer may send it again without risking a repeat.
    Unknown,
}

/// One row of the table; see [`Outcome::row`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name that programs compare: stable, in the gRPC error details and in JSON output.
    pub name: &'static str,
    /// Kafka's error code.
    pub kafka_code: i16,
    /// The gRPC status.
    pub grpc: GrpcStatus,
    /// May it be sent again?
    pub retry: Retry,
    /// May it have happened?
    pub effect: Effect,
    /// Exit code of the command line.
    pub exit_code: u8,
    /// What a person can do next.
    pub advice: &'static str,
}

macro_rules! outcomes {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $name:literal, $kafka:literal, $grpc:ident, $retry:ident, $effect:ident, $exit:literal, $advice:literal; )+) => {
        /// How a request ended when it did not succeed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Outcome {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl Outcome {
            /// Every outcome, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// What this outcome means at every door.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        name: $name,
                        kafka_code: $kafka,
                        grpc: GrpcStatus::$grpc,
                        retry: Retry::$retry,
                        effect: Effect::$effect,
                        exit_code: $exit,
                        advice: $advice,
                    },)+
                }
            }
        }
    };
}

outcomes! {
    /// The topic does not exist.
    UnknownTopic = "UNKNOWN_TOPIC", 3, NotFound, Never, None, 3,
        "create the topic first, or check its spelling: names are case-sensitive (`thalweg topic list`)";
    /// The topic exists, the partition does not.
    UnknownPartition = "UNKNOWN_PARTITION", 3, NotFound, Never, None, 3,
        "partitions are numbered from 0: `thalweg topic describe` shows how many there are";
    /// The offset lies before the start or after the end of the partition.
    OffsetOutOfRange = "OFFSET_OUT_OF_RANGE", 1, OutOfRange, Never, None, 3,
        "start from `earliest`, `latest` or an offset between the two (`thalweg topic describe`)";
    /// A topic of this name exists already.
    TopicExists = "TOPIC_EXISTS", 36, AlreadyExists, Never, None, 4,
        "use another name, or go on with the topic that is there";
    /// The name is not valid for a topic.
    InvalidTopicName = "INVALID_TOPIC_NAME", 17, InvalidArgument, Never, None, 2,
        "use 1 to 249 of the characters a-z A-Z 0-9 . _ -";
    /// The number of partitions is not valid.
    InvalidPartitions = "INVALID_PARTITIONS", 37, InvalidArgument, Never, None, 2,
        "ask for 1 or more partitions, within the limits of the message";
    /// A setting is unknown or its value is not valid.
    InvalidSetting = "INVALID_SETTING", 40, InvalidArgument, Never, None, 2,
        "docs/settings.md lists every setting with its unit and bounds";
    /// The request contradicts itself or breaks the protocol.
    InvalidRequest = "INVALID_REQUEST", 42, InvalidArgument, Never, None, 2,
        "correct the request; the message says which part is wrong";
    /// A statement is not valid SQL here.
    InvalidStatement = "INVALID_STATEMENT", 42, InvalidArgument, Never, None, 2,
        "correct the statement at the line and column given; docs/sql.md shows every form";
    /// A named thing other than a topic (a stream, a query) does not exist.
    NotFound = "NOT_FOUND", 42, NotFound, Never, None, 3,
        "check the spelling; SHOW STREAMS and SHOW QUERIES list what is there";
    /// A named thing other than a topic exists already.
    AlreadyExists = "ALREADY_EXISTS", 42, AlreadyExists, Never, None, 4,
        "use another name, IF NOT EXISTS, or drop the old one first";
    /// The thing is still used by another.
    InUse = "IN_USE", 42, FailedPrecondition, Never, None, 4,
        "end what uses it first; the message names it";
    /// A limit of the broker would be passed.
    LimitReached = "LIMIT_REACHED", 44, FailedPrecondition, Never, None, 5,
        "remove what is not needed or raise the limit named in the message";
    /// The batch is larger than the topic allows.
    BatchTooLarge = "BATCH_TOO_LARGE", 10, InvalidArgument, Never, None, 5,
        "send smaller batches or raise max.message.bytes of the topic";
    /// What was sent is not a record batch, or its checksum does not match.
    CorruptBatch = "CORRUPT_BATCH", 2, InvalidArgument, Never, None, 5,
        "the bytes were damaged on the way or never were a batch: encode and send them again";
    /// The batch is whole, but a record in it breaks a rule.
    InvalidRecord = "INVALID_RECORD", 87, InvalidArgument, Never, None, 5,
        "correct the record; the message says which rule it breaks";
    /// A record's timestamp is too far from the broker's clock.
    InvalidTimestamp = "INVALID_TIMESTAMP", 32, InvalidArgument, Never, None, 5,
        "correct the clock of the producer or the limit message.timestamp.after.max.ms of the topic";
    /// The compression is unknown here.
    UnsupportedCompression = "UNSUPPORTED_COMPRESSION", 76, InvalidArgument, Never, None, 5,
        "use none, gzip, snappy, lz4 or zstd";
    /// Stored bytes do not match their checksum. They are not served; the reader may go on behind them.
    DamagedData = "DAMAGED_DATA", 2, DataLoss, Never, None, 7,
        "the records behind the damage are readable: go on at the offset given; `thalweg inspect` shows the place";
    /// The sequence does not follow the last one of this producer.
    OutOfOrderSequence = "OUT_OF_ORDER_SEQUENCE", 45, FailedPrecondition, Never, None, 5,
        "an earlier batch of this producer is missing: start a new producer";
    /// A newer life of this producer id has taken over.
    ProducerFenced = "PRODUCER_FENCED", 47, FailedPrecondition, Never, None, 5,
        "stop this producer: another one has taken its place";
    /// The disk has no room. Reads go on; writes are taken again when there is room.
    DiskFull = "DISK_FULL", 56, ResourceExhausted, Later, None, 8,
        "free space on the file system of the data folder: the broker takes writes again by itself";
    /// A write or sync of this partition failed. It takes no more writes until the broker is restarted.
    StorageFailed = "STORAGE_FAILED", 56, Unavailable, Later, Unknown, 8,
        "look at the disk and the broker's log, then restart the broker: it recovers what was acknowledged";
    /// Too many bytes or requests are under way.
    Busy = "BUSY", 89, ResourceExhausted, Later, None, 6,
        "send again a little later, or with fewer requests at once";
    /// The broker is stopping or not ready yet.
    Unavailable = "UNAVAILABLE", 8, Unavailable, Later, None, 6,
        "try again when the broker is up: `thalweg serve` prints a line when it is ready";
    /// The connection broke before the answer came.
    Disconnected = "DISCONNECTED", 13, Unavailable, Later, Unknown, 6,
        "check that the broker runs and that --server or THALWEG_SERVER names it";
    /// The answer did not come in time.
    TimedOut = "TIMED_OUT", 7, DeadlineExceeded, Later, Unknown, 6,
        "try again, with a longer time limit if the broker is busy";
    /// The caller gave up.
    Cancelled = "CANCELLED", 7, Cancelled, Never, Unknown, 130,
        "nothing to do";
    /// The broker does not know this call.
    Unsupported = "UNSUPPORTED", 35, Unimplemented, Never, None, 2,
        "use a client of the broker's version";
    /// The caller may not do this.
    Denied = "DENIED", 29, PermissionDenied, Never, None, 5,
        "the message says who may do it, and what to do instead";
    /// The SQL engine cannot read its own records and carries out nothing. Topics are served.
    SqlNotStarted = "SQL_NOT_STARTED", 56, FailedPrecondition, Never, None, 7,
        "topics are served; restore the topic that the message names from a backup, or begin anew: docs/operating.md, \"Beginning anew\"";
    /// A bug of ours: something happened that the program holds to be impossible.
    Internal = "INTERNAL", -1, Internal, Never, Unknown, 70,
        "this is a fault of the program: please report it with the broker's log";
}

impl Outcome {
    /// The outcome of this name, as in [`Row::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|outcome| outcome.row().name == name)
    }

    /// May the request be sent again, unchanged?
    pub const fn may_retry(self) -> bool {
        matches!(self.row().retry, Retry::Later)
    }

    /// May the request have taken effect all the same?
    pub const fn may_have_happened(self) -> bool {
        matches!(self.row().effect, Effect::Unknown)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

/// A refusal as it crosses a door: the outcome decides, the message is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({outcome}): {}", outcome.row().advice)]
pub struct Refusal {
    /// What happened; everything that a program decides, it decides by this.
    pub outcome: Outcome,
    /// The thing, the place, what was expected and what was found, in words.
    pub message: String,
    /// For [`Outcome::DamagedData`] and [`Outcome::OffsetOutOfRange`]: the nearest offset at which a reader can go on.
    pub resume_at: Option<Offset>,
}

impl Refusal {
    /// A refusal without a place to go on at.
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), resume_at: None }
    }

    /// Adds the offset at which a reader can go on.
    #[must_use]
    pub fn resume_at(mut self, offset: Offset) -> Self {
        self.resume_at = Some(offset);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_complete_and_every_name_unique() {
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            let row = outcome.row();
            assert!(!row.name.is_empty() && !row.advice.is_empty());
            assert_ne!(row.kafka_code, 0, "{outcome}: 0 means success");
            assert_ne!(row.exit_code, 0, "{outcome}: 0 means success");
            assert_eq!(Outcome::from_name(row.name), Some(*outcome));
            assert!(!Outcome::ALL[..index].iter().any(|other| other.row().name == row.name));
        }
    }
}
