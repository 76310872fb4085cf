//! Answers to fetches as they go on the wire, without a copy of the batches.
//!
//! An encoder that writes into one buffer copies every batch into it, and the buffer grows by doubling while it does.
//! Here only what stands around the batches is encoded; a large batch is a piece of its own, the very bytes that were
//! read or received. Put together the pieces are byte for byte what prost makes of the same message, behind gRPC's
//! prefix.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;

use super::v1;

/// A gRPC message begins with one byte of compression (0: none) and four of length.
pub const PREFIX_BYTES: usize = 5;

/// Smaller batches are copied next to their neighbours: a piece of its own costs frames on both sides.
const PIECE_BYTES_MIN: usize = 16 * 1024;

/// The field `FetchResponse.results`, with a length.
const RESULTS: u8 = 1 << 3 | 2;

/// The field `FetchResult.batches`, with a length.
const BATCHES: u8 = 4 << 3 | 2;

/// One gRPC message that holds `response`, uncompressed. `None` when it is larger than its prefix can say.
pub fn message_pieces(response: v1::FetchResponse) -> Option<Vec<Bytes>> {
    let results: Vec<_> = response.results.into_iter().map(Split::of).collect();
    let message_bytes: usize = results.iter().map(|result| field_bytes(result.bytes())).sum();
    let mut pieces = Pieces::default();
    pieces.open.put_u8(0);
    pieces.open.put_u32(u32::try_from(message_bytes).ok()?);
    for result in results {
        pieces.field(RESULTS, result.bytes());
        pieces.message(&result.before);
        for batch in result.batches {
            pieces.field(BATCHES, batch.len());
            pieces.batch(batch);
        }
        pieces.message(&result.behind);
    }
    Some(pieces.finish())
}

/// A result cut where its batches are: fields are written in the order of their numbers.
struct Split {
    /// The fields with smaller numbers.
    before: v1::FetchResult,
    batches: Vec<Bytes>,
    /// The fields with larger numbers.
    behind: v1::FetchResult,
}

impl Split {
    fn of(result: v1::FetchResult) -> Self {
        let v1::FetchResult { topic, partition, problem, batches, .. } = result;
        let behind = v1::FetchResult {
            topic: String::new(),
            partition: 0,
            problem: None,
            batches: Vec::new(),
            ..result
        };
        let before = v1::FetchResult { topic, partition, problem, ..Default::default() };
        Self { before, batches, behind }
    }

    fn bytes(&self) -> usize {
        let batches: usize = self.batches.iter().map(|batch| field_bytes(batch.len())).sum();
        self.before.encoded_len() + batches + self.behind.encoded_len()
    }
}

/// A field of `length` bytes with its one byte of key and its length.
fn field_bytes(length: usize) -> usize {
    1 + prost::length_delimiter_len(length) + length
}

#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    open: BytesMut,
}

impl Pieces {
    fn field(&mut self, key: u8, length: usize) {
        self.open.put_u8(key);
        prost::encode_length_delimiter(length, &mut self.open).expect("the buffer grows");
    }

    fn message(&mut self, message: &v1::FetchResult) {
        self.open.reserve(message.encoded_len());
        message.encode(&mut self.open).expect("the buffer grows");
    }

    fn batch(&mut self, batch: Bytes) {
        if batch.len() < PIECE_BYTES_MIN {
            self.open.put(batch);
        } else {
            self.close();
            self.done.push(batch);
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(self.open.split().freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch() -> impl Strategy<Value = Bytes> {
        let length = prop_oneof![0_usize..300, PIECE_BYTES_MIN - 2..PIECE_BYTES_MIN + 2];
        (any::<u8>(), length).prop_map(|(byte, length)| Bytes::from(vec![byte; length]))
    }

    prop_compose! {
        fn result()(
            topic in "[a-z]{0,200}",
            numbers in any::<(i32, i64, i64, i64)>(),
            outcome in proptest::option::of("[A-Z]{0,200}"),
            batches in proptest::collection::vec(batch(), 0..5),
            keys in proptest::collection::vec(any::<Option<u64>>(), 0..3),
        ) -> v1::FetchResult {
            let (partition, start_offset, end_offset, next_offset) = numbers;
            let problem = outcome.map(|outcome| v1::Problem { outcome, ..Default::default() });
            let key = |key: u64| Bytes::from(key.to_be_bytes().to_vec());
            let record = |it: Option<u64>| v1::Record { key: it.map(key), ..Default::default() };
            let records = keys.into_iter().map(record).collect();
            v1::FetchResult {
                topic, partition, problem, batches, records, start_offset, end_offset, next_offset,
            }
        }
    }

    proptest! {
        #[test]
        fn together_the_pieces_are_what_prost_writes(
            results in proptest::collection::vec(result(), 0..4)
        ) {
            let response = v1::FetchResponse { results };
            let joined = message_pieces(response.clone()).unwrap().concat();
            let (prefix, message) = joined.split_at(PREFIX_BYTES);
            prop_assert_eq!(message, response.encode_to_vec());
            prop_assert_eq!(prefix[0], 0);
            prop_assert_eq!(prefix[1..].to_vec(), (message.len() as u32).to_be_bytes().to_vec());
        }
    }

    #[test]
    fn a_large_batch_is_not_copied() {
        let large = Bytes::from(vec![7; PIECE_BYTES_MIN]);
        let small = Bytes::from(vec![8; 100]);
        let batches = vec![small.clone(), large.clone(), small.clone(), small];
        let result = v1::FetchResult { batches, ..Default::default() };
        let pieces = message_pieces(v1::FetchResponse { results: vec![result] }).unwrap();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[1].as_ptr(), large.as_ptr());
    }
}
