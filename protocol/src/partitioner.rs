//! Which partition a key belongs to: Kafka's default rule, so that producers of every kind agree.
//!
//! The rule is `(murmur2(key) & 0x7fffffff) % partitions`, as in Kafka's `BuiltInPartitioner`. Records without a key
//! belong to no partition; whoever sends them chooses.

use crate::id::Partition;

/// The partition of `key` in a topic of `count` partitions. A topic without partitions has only the first.
///
/// ```
/// use thalweg_protocol::partitioner::partition_of_key;
/// // Kafka's own clients put this key into partition 1 of 5.
/// assert_eq!(partition_of_key(b"foobar", 5).get(), 1);
/// ```
pub fn partition_of_key(key: &[u8], count: u32) -> Partition {
    let number = (murmur2(key) & 0x7fff_ffff) % count.max(1);
    Partition::new(number.into()).unwrap_or_default()
}

/// MurmurHash2, 32 bits, with Kafka's seed.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;

    // Keys are shorter than 2^32; Kafka's own length is an i32.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        // Java reads these four bytes from the least significant up: the one place with that order in the house.
        let [a, b, c, d] = *word;
        let mut part = u32::from_be_bytes([d, c, b, a]).wrapping_mul(MULTIPLIER);
        part = (part ^ (part >> SHIFT)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ part;
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_kafkas() {
        // The vectors of Kafka's own UtilsTest.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_key_has_one_place_and_all_places_are_used() {
        for count in [1, 2, 7] {
            let mut used = vec![false; count as usize];
            for key in 0..200_u32 {
                used[partition_of_key(&key.to_be_bytes(), count).get() as usize] = true;
            }
            assert!(used.into_iter().all(|used| used));
        }
        assert_eq!(partition_of_key(b"x", 0), Partition::ZERO);
    }
}
