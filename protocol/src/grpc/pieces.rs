//! Messages that carry batches as they go on the wire, without a copy of the batches.
//!
//! An encoder that writes into one buffer copies every batch into it. Here only what stands around the batches is
//! encoded; a large batch is a piece of its own, the very bytes that were read or received. Put together the pieces are
//! byte for byte what prost makes of the same messages, each behind gRPC's prefix.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;

use super::v1;

/// A gRPC message begins with one byte of compression (0: none) and four of length.
pub const PREFIX_BYTES: usize = 5;

/// Smaller batches are copied next to their neighbours: a piece of its own costs frames on both sides.
const PIECE_BYTES_MIN: usize = 16 * 1024;

/// Small messages are gathered up to this size.
const GATHERED_BYTES: usize = 32 * 1024;

/// The field of a message that holds its repeated parts: `FetchResponse.results`, `ProduceRequest.entries`.
const PARTS: u8 = key(1);

/// The key of a field with a length.
const fn key(number: u8) -> u8 {
    number << 3 | 2
}

/// The message is larger than its prefix can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Encoded messages, to be taken piece by piece.
#[derive(Debug, Default)]
pub struct Pieces {
    whole: VecDeque<Bytes>,
    open: BytesMut,
}

impl Pieces {
    /// Adds an answer to a fetch.
    ///
    /// # Errors
    /// Nothing was added when it is larger than 4 GiB.
    pub fn push_fetched(&mut self, response: v1::FetchResponse) -> Result<(), TooLarge> {
        self.push(response.results.into_iter().map(Part::of_result).collect())
    }

    /// Adds a request to produce.
    ///
    /// # Errors
    /// Nothing was added when it is larger than 4 GiB.
    pub fn push_produce(&mut self, request: v1::ProduceRequest) -> Result<(), TooLarge> {
        self.push(request.entries.into_iter().map(Part::of_entry).collect())
    }

    /// The next piece that is as large as it should be. What is smaller stays, to be joined by the next message.
    pub fn next_large(&mut self) -> Option<Bytes> {
        if self.whole.is_empty() && self.open.len() >= GATHERED_BYTES {
            self.close();
        }
        self.whole.pop_front()
    }

    /// The next piece, of any size; `None` when everything was taken.
    pub fn next_piece(&mut self) -> Option<Bytes> {
        if self.whole.is_empty() {
            self.close();
        }
        self.whole.pop_front()
    }

    fn push<M: Message>(&mut self, parts: Vec<Part<M>>) -> Result<(), TooLarge> {
        let bytes: usize = parts.iter().map(|part| field_bytes(part.bytes())).sum();
        let bytes = u32::try_from(bytes).map_err(|_| TooLarge)?;
        self.open.put_u8(0);
        self.open.put_u32(bytes);
        for part in parts {
            self.field(PARTS, part.bytes());
            self.message(&part.before);
            for batch in part.batches {
                self.field(part.key, batch.len());
                self.batch(batch);
            }
            self.message(&part.behind);
        }
        Ok(())
    }

    fn field(&mut self, key: u8, length: usize) {
        self.open.put_u8(key);
        prost::encode_length_delimiter(length, &mut self.open).expect("the buffer grows");
    }

    fn message(&mut self, message: &impl Message) {
        self.open.reserve(message.encoded_len());
        message.encode(&mut self.open).expect("the buffer grows");
    }

    fn batch(&mut self, batch: Bytes) {
        if batch.len() < PIECE_BYTES_MIN {
            self.open.put(batch);
        } else {
            self.close();
            self.whole.push_back(batch);
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.whole.push_back(self.open.split().freeze());
        }
    }
}

/// A part of a message, cut where its batches are: fields are written in the order of their numbers.
struct Part<M> {
    /// The fields with smaller numbers.
    before: M,
    /// What stands in front of each batch.
    key: u8,
    batches: Vec<Bytes>,
    /// The fields with larger numbers.
    behind: M,
}

impl Part<v1::FetchResult> {
    fn of_result(result: v1::FetchResult) -> Self {
        let v1::FetchResult { topic, partition, problem, batches, .. } = result;
        let behind = v1::FetchResult {
            topic: String::new(),
            partition: 0,
            problem: None,
            batches: Vec::new(),
            ..result
        };
        let before = v1::FetchResult { topic, partition, problem, ..Default::default() };
        Self { before, key: key(4), batches, behind }
    }
}

impl Part<v1::ProduceEntry> {
    fn of_entry(mut entry: v1::ProduceEntry) -> Self {
        let batches = match entry.payload.take() {
            Some(v1::produce_entry::Payload::Batch(batch)) => vec![batch],
            friendly => {
                entry.payload = friendly;
                Vec::new()
            }
        };
        Self { before: entry, key: key(3), batches, behind: v1::ProduceEntry::default() }
    }
}

impl<M: Message> Part<M> {
    fn bytes(&self) -> usize {
        let batches: usize = self.batches.iter().map(|batch| field_bytes(batch.len())).sum();
        self.before.encoded_len() + batches + self.behind.encoded_len()
    }
}

/// A field of `length` bytes with its one byte of key and its length.
fn field_bytes(length: usize) -> usize {
    1 + prost::length_delimiter_len(length) + length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch() -> impl Strategy<Value = Bytes> {
        let length = prop_oneof![0_usize..300, PIECE_BYTES_MIN - 2..PIECE_BYTES_MIN + 2];
        (any::<u8>(), length).prop_map(|(byte, length)| Bytes::from(vec![byte; length]))
    }

    fn record(key: Option<u64>) -> v1::Record {
        let key = key.map(|key| Bytes::from(key.to_be_bytes().to_vec()));
        v1::Record { key, ..Default::default() }
    }

    fn records() -> impl Strategy<Value = Vec<v1::Record>> {
        proptest::collection::vec(any::<Option<u64>>().prop_map(record), 0..3)
    }

    prop_compose! {
        fn result()(
            topic in "[a-z]{0,200}",
            numbers in any::<(i32, i64, i64, i64)>(),
            outcome in proptest::option::of("[A-Z]{0,200}"),
            batches in proptest::collection::vec(batch(), 0..5),
            records in records(),
        ) -> v1::FetchResult {
            let (partition, start_offset, end_offset, next_offset) = numbers;
            let problem = outcome.map(|outcome| v1::Problem { outcome, ..Default::default() });
            v1::FetchResult {
                topic, partition, problem, batches, records, start_offset, end_offset, next_offset,
            }
        }
    }

    prop_compose! {
        fn entry()(
            topic in "[a-z]{0,200}",
            partition in any::<Option<i32>>(),
            batch in proptest::option::of(batch()),
            list in proptest::option::of(records()),
        ) -> v1::ProduceEntry {
            let friendly = |records| v1::RecordList { records, ..Default::default() };
            let payload = match (batch, list) {
                (Some(batch), _) => Some(v1::produce_entry::Payload::Batch(batch)),
                (None, list) => list.map(|it| v1::produce_entry::Payload::Records(friendly(it))),
            };
            v1::ProduceEntry { topic, partition, payload }
        }
    }

    fn joined(mut pieces: Pieces) -> Vec<u8> {
        std::iter::from_fn(|| pieces.next_piece()).collect::<Vec<_>>().concat()
    }

    fn written_by_prost(messages: &[impl Message]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.put_u8(0);
            bytes.put_u32(message.encoded_len() as u32);
            message.encode(&mut bytes).unwrap();
        }
        bytes
    }

    proptest! {
        #[test]
        fn together_the_pieces_are_what_prost_writes(
            results in proptest::collection::vec(proptest::collection::vec(result(), 0..4), 0..3),
            entries in proptest::collection::vec(proptest::collection::vec(entry(), 0..4), 0..3),
        ) {
            let responses: Vec<_> =
                results.into_iter().map(|results| v1::FetchResponse { results }).collect();
            let mut pieces = Pieces::default();
            for response in &responses {
                pieces.push_fetched(response.clone()).unwrap();
            }
            prop_assert_eq!(joined(pieces), written_by_prost(&responses));
            let requests: Vec<_> =
                entries.into_iter().map(|entries| v1::ProduceRequest { entries }).collect();
            let mut pieces = Pieces::default();
            for request in &requests {
                pieces.push_produce(request.clone()).unwrap();
            }
            prop_assert_eq!(joined(pieces), written_by_prost(&requests));
        }
    }

    #[test]
    fn a_large_batch_is_not_copied_and_small_messages_wait_for_the_next() {
        let large = Bytes::from(vec![7; PIECE_BYTES_MIN]);
        let small = Bytes::from(vec![8; 100]);
        let batches = vec![small.clone(), large.clone(), small.clone(), small];
        let result = v1::FetchResult { batches, ..Default::default() };
        let mut pieces = Pieces::default();
        pieces.push_fetched(v1::FetchResponse { results: vec![result] }).unwrap();
        assert!(pieces.next_large().is_some_and(|piece| piece.len() < 200));
        assert_eq!(pieces.next_large().unwrap().as_ptr(), large.as_ptr());
        assert_eq!(pieces.next_large(), None);
        pieces.push_fetched(v1::FetchResponse::default()).unwrap();
        assert_eq!(pieces.next_large(), None);
        assert!(pieces.next_piece().is_some_and(|piece| piece.len() > 200));
        assert_eq!(pieces.next_piece(), None);
    }
}
