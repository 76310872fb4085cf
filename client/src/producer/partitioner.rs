//! Which partition a record belongs to: by its key exactly as Kafka's default partitioner decides it, so that records
//! of one key meet in one partition whichever client wrote them. Records without a key stick to one partition for a
//! batch; that choice is made where batches are gathered.

use protocol::id::Partition;

/// The partition of a key in a topic with `partition_count` partitions: `toPositive(murmur2(key)) % count`.
///
/// A count of 0, which no topic has, counts as 1.
///
/// ```
/// use protocol::id::Partition;
/// use thalweg_client::partitioner::partition_for_key;
/// assert_eq!(partition_for_key(b"foobar", 5), Partition::new(1).unwrap());
/// ```
pub fn partition_for_key(key: &[u8], partition_count: u32) -> Partition {
    protocol::partitioner::partition_of_key(key, partition_count)
}

/// MurmurHash2, 32 bits, with the seed that Kafka uses, signed as Kafka has it.
pub fn murmur2(data: &[u8]) -> i32 {
    protocol::partitioner::murmur2(data).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hashes_are_kafkas() {
        // The vectors of Kafka's own UtilsTest.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    proptest! {
        #[test]
        fn every_key_has_one_partition_of_the_topic(
            key in prop::collection::vec(any::<u8>(), 0..40),
            count in 1_u32..10_000,
        ) {
            let partition = partition_for_key(&key, count);
            prop_assert!(partition.get() < count);
            prop_assert_eq!(partition, partition_for_key(&key, count));
        }
    }
}
