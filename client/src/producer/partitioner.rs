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
    let positive = murmur2(key).cast_unsigned() & 0x7fff_ffff;
    let index = positive.checked_rem(partition_count).unwrap_or(0);
    // Below the count of a topic, hence below the limit that Partition checks.
    Partition::new(index.into()).unwrap_or(Partition::ZERO)
}

/// MurmurHash2, 32 bits, with the seed that Kafka uses.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Kafka's lengths are 32 bits; no key comes near.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, tail) = data.as_chunks::<4>();
    for &[a, b, c, d] in words {
        // The hash is defined on words with the lowest byte first.
        let mut word = u32::from_be_bytes([d, c, b, a]);
        word = word.wrapping_mul(M);
        word ^= word >> R;
        word = word.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ word;
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash.cast_signed()
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
