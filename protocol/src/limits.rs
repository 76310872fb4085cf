//! Every bound of the system, once, with its unit in the name.
//!
//! What comes from outside is compared with one of these before anything is allocated for it. The relations that
//! the design needs are asserted at compile time below the constants. Values that an operator may choose are in the
//! settings; these are the ceilings that settings may not pass.

/// Longest topic name, in bytes (Kafka's own limit, so that every Kafka tool can name our topics).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Most partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 10_000;

/// Most topics of one broker.
pub const TOPICS_MAX: usize = 100_000;

/// Most partitions of one broker, all topics together.
pub const PARTITIONS_MAX: usize = 200_000;

/// Largest record batch that any setting may allow, in bytes as stored: header and (compressed) records.
pub const BATCH_BYTES_MAX: usize = 64 * MIB;

/// Largest record batch that a topic allows unless told otherwise (`max.message.bytes`), in bytes.
pub const BATCH_BYTES_DEFAULT: usize = MIB;

/// Most records in one batch. The wire allows 2^31 - 1; a batch of one-byte records could reach that.
pub const RECORDS_PER_BATCH_MAX: usize = 1_000_000;

/// Most headers on one record.
pub const HEADERS_PER_RECORD_MAX: usize = 1_000;

/// A compressed batch may unfold to this many times `max.message.bytes`, but at least to
/// [`DECOMPRESSED_BYTES_FLOOR`]. Beyond it the batch is refused and unfolding stops.
pub const DECOMPRESSED_RATIO_MAX: usize = 4;

/// Every topic allows a batch to unfold to this many bytes, however small its `max.message.bytes`.
pub const DECOMPRESSED_BYTES_FLOOR: usize = 4 * MIB;

/// Most bytes that any compressed batch may unfold to: what a reader must be ready for.
pub const DECOMPRESSED_BYTES_MAX: usize = DECOMPRESSED_RATIO_MAX * BATCH_BYTES_MAX;

/// Largest gRPC message that the broker reads, in bytes: one request of the largest batch, with room for names.
pub const REQUEST_BYTES_MAX: usize = BATCH_BYTES_MAX + MIB;

/// Largest gRPC message that calls other than those to produce read, in bytes: all the entries that a request may have,
/// each with the longest name.
pub const SMALL_REQUEST_BYTES_MAX: usize = 4 * MIB;

/// Largest gRPC message that the calls of administration read, in bytes: all the settings that a topic may have. What
/// it can unfold to is ten to twenty times as much.
pub const ADMIN_REQUEST_BYTES_MAX: usize = MIB;

/// Most records in the friendly form in one produce request, all its entries together. An empty one takes two bytes of
/// the request, and many times as many in its batch and in the answer.
pub const RECORDS_PER_REQUEST_MAX: usize = RECORDS_PER_BATCH_MAX;

/// Most entries (topic partitions) in one produce, fetch or position request.
pub const ENTRIES_PER_REQUEST_MAX: usize = 10_000;

/// Most bytes that one fetch answers with, whatever the reader asked for, unless a single batch is larger.
pub const FETCH_BYTES_MAX: usize = 50 * MIB;

/// Longest wait of one fetch, in milliseconds.
pub const FETCH_WAIT_MS_MAX: u32 = 60_000;

/// Batches of one producer and partition that are remembered, to answer a repeat (Kafka's number: a producer may
/// have five requests under way).
pub const PRODUCER_BATCHES_REMEMBERED: usize = 5;

/// Producers that one partition remembers; the one that has been silent longest is forgotten first.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 10_000;

/// Most settings given with one topic, and the longest value of one.
pub const SETTINGS_PER_TOPIC_MAX: usize = 100;
/// Longest value of one setting, in bytes.
pub const SETTING_VALUE_BYTES_MAX: usize = 4 * 1024;

/// Longest SQL text of one request, in bytes.
pub const SQL_BYTES_MAX: usize = MIB;

/// Commands that may wait in front of one shard. Senders wait for a place; bytes are bounded by admission.
pub const SHARD_QUEUE_COMMANDS_MAX: usize = 4_096;

/// Commands that a shard takes into one turn, hence answers with one sync per partition.
pub const SHARD_TURN_COMMANDS_MAX: usize = 1_024;

/// Bytes that a shard takes into one turn, unless a single batch is larger.
pub const SHARD_TURN_BYTES_MAX: usize = 16 * MIB;

/// One mebibyte.
pub const MIB: usize = 1024 * 1024;

const _: () = {
    assert!(BATCH_BYTES_DEFAULT <= BATCH_BYTES_MAX);
    // Lengths inside a batch are 32-bit signed on the wire.
    assert!(BATCH_BYTES_MAX < i32::MAX as usize);
    assert!(DECOMPRESSED_BYTES_MAX < i32::MAX as usize);
    assert!(RECORDS_PER_BATCH_MAX < i32::MAX as usize);
    // A fetch must be able to answer with the largest batch, and the largest answer must fit what a client reads.
    assert!(REQUEST_BYTES_MAX > BATCH_BYTES_MAX);
    assert!(SMALL_REQUEST_BYTES_MAX >= ENTRIES_PER_REQUEST_MAX * (TOPIC_NAME_BYTES_MAX + 50));
    assert!(
        ADMIN_REQUEST_BYTES_MAX >= 2 * SETTINGS_PER_TOPIC_MAX * (SETTING_VALUE_BYTES_MAX + 256)
    );
    // What fits a batch must fit a request.
    assert!(RECORDS_PER_REQUEST_MAX >= RECORDS_PER_BATCH_MAX);
    assert!(DECOMPRESSED_BYTES_FLOOR <= DECOMPRESSED_BYTES_MAX);
    assert!(SHARD_TURN_COMMANDS_MAX <= SHARD_QUEUE_COMMANDS_MAX);
};
