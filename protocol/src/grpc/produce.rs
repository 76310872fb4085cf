//! Records on their way in: produce requests, their answers, the identity of a producer.
//!
//! The friendly form stays a list of records here, folded as it came: where each of them goes is the broker's business.

use bytes::Bytes;
use prost::Message as _;

use super::position::check_result_count;
use super::record::{check_header_count, compression};
use super::refusal::{refuse_batch, refuse_id, refuse_request, wrong_answer};
use super::v1;
use super::wire::{self, Fields, Value};
use crate::batch::Batch;
use crate::compression::Compression;
use crate::id::{Offset, Partition, ProducerEpoch, ProducerId, Timestamp, TopicName};
use crate::limits::{ENTRIES_PER_REQUEST_MAX, HEADERS_PER_RECORD_MAX, RECORDS_PER_REQUEST_MAX};
use crate::outcome::Refusal;
use crate::record::Record;
use crate::verbs::{Appended, ProduceEntry, ProduceReply, ProduceRequest, ProducerIdentity};

/// One entry of a produce request as it came in, checked.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// The fast form: one batch, to be stored as it is.
    Batch(ProduceEntry),
    /// The friendly form.
    Records(IncomingRecords),
}

/// Records that the broker is to put into batches.
#[derive(Clone, Debug)]
pub struct IncomingRecords {
    /// Where to.
    pub topic: TopicName,
    /// Where to; `None`: each record where its key belongs.
    pub partition: Option<Partition>,
    /// The records, in order.
    pub records: FoldedRecords,
    /// How to store them.
    pub compression: Compression,
}

/// Records as they lie in their request. They are unfolded one at a time: as structs all together they would take up to
/// a hundred times as much memory.
#[derive(Clone, Debug)]
pub struct FoldedRecords {
    /// A whole `RecordList`.
    list: Bytes,
    count: usize,
}

impl FoldedRecords {
    /// How many: at least one, at most [`RECORDS_PER_REQUEST_MAX`].
    pub fn count(&self) -> usize {
        self.count
    }

    /// The records, in order. Keys and values are slices of the request.
    pub fn unfolded(&self) -> impl Iterator<Item = Result<Record, Refusal>> {
        Fields::of(self.list.clone()).filter_map(|field| match field {
            Ok((RECORDS, Value::Slice(record))) => Some(record_of(record)),
            Ok(_) => None,
            Err(refusal) => Some(Err(refusal)),
        })
    }
}

fn record_of(message: Bytes) -> Result<Record, Refusal> {
    check_header_count(wire::count_to(HEADERS_PER_RECORD_MAX + 1, &message, HEADERS)?)?;
    v1::Record::decode(message).map_err(|_| wire::malformed())?.try_into()
}

/// Reads a produce request from the bytes of its message; each of its entries is sound or refused by itself.
///
/// What is made of the message is bounded by its size: batches are slices of it, or copies where the message around
/// them is much larger, and records stay folded.
///
/// # Errors
/// When there are too many entries or records, or the bytes are not such a message.
pub fn incoming(message: &Bytes) -> Result<Vec<Result<Incoming, Refusal>>, Refusal> {
    if wire::count_to(ENTRIES_PER_REQUEST_MAX + 1, message, ENTRIES)? > ENTRIES_PER_REQUEST_MAX {
        let message = format!("the request has more than {ENTRIES_PER_REQUEST_MAX} entries");
        return Err(refuse_request(message));
    }
    let mut records_left = RECORDS_PER_REQUEST_MAX;
    let mut entries = Vec::new();
    for field in Fields::of(message.clone()) {
        let entry = match field? {
            (ENTRIES, Value::Slice(entry)) => FoldedEntry::read(entry)?,
            (ENTRIES, _) => return Err(wire::malformed()),
            _ => continue,
        };
        if let Some(Payload::Records { count, .. }) = &entry.payload {
            records_left = records_left.checked_sub(*count).ok_or_else(|| {
                refuse_request(format!(
                    "the request has more than {RECORDS_PER_REQUEST_MAX} records: send them in several requests"
                ))
            })?;
        }
        entries.push(entry.check(message.len()));
    }
    Ok(entries)
}

/// `ProduceRequest.entries`.
const ENTRIES: u64 = 1;
/// `RecordList.records`.
const RECORDS: u64 = 1;
/// `Record.headers`.
const HEADERS: u64 = 3;

/// A batch keeps the memory of the whole message around it; one that is less than this part of it is copied, so that a
/// small batch cannot hold a large message for as long as it is held itself.
const COPIED_PART: usize = 4;

/// A `ProduceEntry` whose payload is a slice of the request.
#[derive(Debug, Default)]
struct FoldedEntry {
    topic: Bytes,
    partition: Option<i32>,
    payload: Option<Payload>,
}

#[derive(Debug)]
enum Payload {
    Batch(Bytes),
    Records { list: Bytes, count: usize, compression: i32 },
}

impl FoldedEntry {
    /// As protobuf has it: of a field that stands there more than once the last one counts.
    fn read(message: Bytes) -> Result<Self, Refusal> {
        let mut entry = Self::default();
        for field in Fields::of(message) {
            match field? {
                (1, Value::Slice(topic)) => entry.topic = topic,
                (2, Value::Varint(partition)) => entry.partition = Some(int32(partition)),
                (3, Value::Slice(batch)) => entry.payload = Some(Payload::Batch(batch)),
                (4, Value::Slice(list)) => {
                    entry.payload = Some(Payload::of_list(list, entry.payload)?)
                }
                (1..=4, _) => return Err(wire::malformed()),
                _ => {}
            }
        }
        Ok(entry)
    }

    fn check(self, message_bytes: usize) -> Result<Incoming, Refusal> {
        let topic = std::str::from_utf8(&self.topic).map_err(|_| wire::malformed())?;
        let topic = TopicName::new(topic).map_err(|error| refuse_id(&error))?;
        let partition = self
            .partition
            .map(|partition| Partition::new(partition.into()))
            .transpose()
            .map_err(|error| refuse_id(&error))?;
        match self.payload {
            Some(Payload::Batch(bytes)) => {
                let partition = partition.ok_or_else(|| {
                    refuse_request("a batch needs a partition; only `records` may go without")
                })?;
                let is_small = bytes.len().saturating_mul(COPIED_PART) < message_bytes;
                let bytes = if is_small { Bytes::copy_from_slice(&bytes) } else { bytes };
                let batch = Batch::check(bytes).map_err(|error| refuse_batch(&error))?;
                Ok(Incoming::Batch(ProduceEntry { topic, partition, batch }))
            }
            Some(Payload::Records { count: 0, .. }) => {
                Err(refuse_request("an entry has a list of records with none in it"))
            }
            Some(Payload::Records { list, count, compression: codec }) => {
                let records = FoldedRecords { list, count };
                let compression = compression(codec)?;
                Ok(Incoming::Records(IncomingRecords { topic, partition, records, compression }))
            }
            None => Err(refuse_request("an entry has neither a batch nor records")),
        }
    }
}

impl Payload {
    /// Protobuf would join two lists into one; no encoder writes that, and joining has no bound.
    fn of_list(list: Bytes, before: Option<Self>) -> Result<Self, Refusal> {
        if matches!(before, Some(Self::Records { .. })) {
            return Err(refuse_request("an entry has two lists of records"));
        }
        let (mut count, mut compression) = (0, 0);
        for field in Fields::of(list.clone()) {
            match field? {
                // The request is refused: there is no need to go on to the end.
                (RECORDS, Value::Slice(_)) if count > RECORDS_PER_REQUEST_MAX => break,
                (RECORDS, Value::Slice(_)) => count += 1,
                (2, Value::Varint(codec)) => compression = int32(codec),
                (1..=2, _) => return Err(wire::malformed()),
                _ => {}
            }
        }
        Ok(Self::Records { list, count, compression })
    }
}

/// Protobuf sends an `int32` as 64 bits with its sign; only the lower half counts.
fn int32(varint: u64) -> i32 {
    let [.., a, b, c, d] = varint.to_be_bytes();
    i32::from_be_bytes([a, b, c, d])
}

impl From<ProduceRequest> for v1::ProduceRequest {
    fn from(request: ProduceRequest) -> Self {
        let entry = |entry: ProduceEntry| v1::ProduceEntry {
            topic: entry.topic.to_string(),
            partition: Some(entry.partition.to_i32()),
            payload: Some(v1::produce_entry::Payload::Batch(entry.batch.into_bytes())),
        };
        Self { entries: request.entries.into_iter().map(entry).collect() }
    }
}

impl From<Result<Appended, Refusal>> for v1::ProduceResult {
    fn from(result: Result<Appended, Refusal>) -> Self {
        match result {
            Ok(appended) => Self {
                problem: None,
                base_offset: appended.base_offset.get(),
                append_time_ms: appended.append_time.map(|time| time.0),
                repeated_batch: appended.repeated,
                places: Vec::new(),
            },
            Err(refusal) => Self { problem: Some(refusal.into()), ..Self::default() },
        }
    }
}

/// Reads the answer to a request of `entries` batches.
///
/// # Errors
/// When it does not answer that request.
pub fn produce_reply(
    response: v1::ProduceResponse,
    entries: usize,
) -> Result<ProduceReply, Refusal> {
    check_result_count(response.results.len(), entries)?;
    let result = |result: v1::ProduceResult| {
        if let Some(problem) = result.problem {
            return Err(Refusal::from(problem));
        }
        Ok(Appended {
            base_offset: Offset::new(result.base_offset).map_err(wrong_answer)?,
            append_time: result.append_time_ms.map(Timestamp),
            repeated: result.repeated_batch,
        })
    };
    Ok(ProduceReply { entries: response.results.into_iter().map(result).collect() })
}

impl From<ProducerIdentity> for v1::InitProducerResponse {
    fn from(identity: ProducerIdentity) -> Self {
        Self { producer_id: identity.id.0, producer_epoch: identity.epoch.0.into() }
    }
}

impl TryFrom<v1::InitProducerResponse> for ProducerIdentity {
    type Error = Refusal;

    fn try_from(response: v1::InitProducerResponse) -> Result<Self, Refusal> {
        let v1::InitProducerResponse { producer_id, producer_epoch } = response;
        let epoch = i16::try_from(producer_epoch).ok().filter(|epoch| *epoch >= 0);
        match (producer_id, epoch) {
            (0.., Some(epoch)) => {
                Ok(Self { id: ProducerId(producer_id), epoch: ProducerEpoch(epoch) })
            }
            _ => Err(wrong_answer(format_args!(
                "producer id {producer_id} with epoch {producer_epoch}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Builder;
    use crate::outcome::Outcome;

    fn batch() -> Batch {
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record::new("k", "v"), Timestamp(1));
        builder.finish(None)
    }

    fn message(entries: Vec<v1::ProduceEntry>) -> Bytes {
        v1::ProduceRequest { entries }.encode_to_vec().into()
    }

    fn came(entry: v1::ProduceEntry) -> Result<Incoming, Refusal> {
        incoming(&message(vec![entry])).unwrap().remove(0)
    }

    fn refused(entry: v1::ProduceEntry) -> Outcome {
        came(entry).unwrap_err().outcome
    }

    fn list(records: Vec<v1::Record>) -> v1::produce_entry::Payload {
        v1::produce_entry::Payload::Records(v1::RecordList { records, ..Default::default() })
    }

    fn entry(payload: v1::produce_entry::Payload) -> v1::ProduceEntry {
        v1::ProduceEntry { topic: "t".to_owned(), partition: Some(0), payload: Some(payload) }
    }

    #[test]
    fn a_batch_crosses_without_a_copy() {
        let batch = batch();
        let entry = ProduceEntry {
            topic: "t".parse().unwrap(),
            partition: Partition::new(2).unwrap(),
            batch,
        };
        let there = v1::ProduceRequest::from(ProduceRequest { entries: vec![entry.clone()] });
        let there = Bytes::from(there.encode_to_vec());
        let back = incoming(&there).unwrap().remove(0).unwrap();
        let Incoming::Batch(back) = back else { panic!("a batch was sent") };
        assert_eq!(back.batch, entry.batch);
        assert_eq!(back.partition, entry.partition);
        assert!(there.as_ptr_range().contains(&back.batch.bytes().as_ptr()));
    }

    #[test]
    fn a_small_batch_does_not_keep_a_large_message() {
        let small = entry(v1::produce_entry::Payload::Batch(batch().into_bytes()));
        let padding = entry(v1::produce_entry::Payload::Batch(vec![7; 10_000].into()));
        let message = message(vec![small, padding]);
        let mut entries = incoming(&message).unwrap();
        let Ok(Incoming::Batch(small)) = entries.remove(0) else { panic!("a batch was sent") };
        assert_eq!(small.batch, batch());
        drop(entries);
        assert!(message.is_unique(), "the batch has memory of its own");
    }

    #[test]
    fn records_are_unfolded_one_by_one_and_as_they_were() {
        let record = |n: u8| v1::Record {
            key: n.is_multiple_of(2).then(|| vec![n; 3].into()),
            value: Some(vec![n].into()),
            headers: vec![v1::Header { name: n.to_string(), value: None }; n.into()],
            timestamp_ms: Some(-5),
            offset: 9,
        };
        let sent: Vec<_> = (0..10).map(record).collect();
        let Ok(Incoming::Records(came)) = came(entry(list(sent.clone()))) else {
            panic!("records were sent")
        };
        assert_eq!(came.records.count(), sent.len());
        let unfolded: Result<Vec<_>, _> = came.records.unfolded().collect();
        let expected: Result<Vec<_>, _> = sent.into_iter().map(Record::try_from).collect();
        assert_eq!(unfolded.unwrap(), expected.unwrap());
    }

    #[test]
    fn what_would_unfold_without_a_bound_is_refused_folded() {
        let refused_whole =
            |entries| incoming(&message(entries)).map(|entries| entries.len()).unwrap_err().outcome;
        let half = || entry(list(vec![v1::Record::default(); RECORDS_PER_REQUEST_MAX / 2]));
        assert_eq!(incoming(&message(vec![half(), half()])).unwrap().len(), 2);
        let one = entry(list(vec![v1::Record::default()]));
        assert_eq!(refused_whole(vec![half(), half(), one]), Outcome::InvalidRequest);
        let nothing = vec![v1::ProduceEntry::default(); ENTRIES_PER_REQUEST_MAX + 1];
        assert_eq!(refused_whole(nothing), Outcome::InvalidRequest);
        // A record with too many headers is refused when its turn comes, before it is unfolded.
        let headers = vec![v1::Header::default(); HEADERS_PER_RECORD_MAX + 1];
        let bomb = v1::Record { headers, ..Default::default() };
        let Ok(Incoming::Records(came)) = came(entry(list(vec![bomb]))) else {
            panic!("records were sent")
        };
        let refused = came.records.unfolded().next().unwrap().unwrap_err();
        assert_eq!(refused.outcome, Outcome::InvalidRecord);
    }

    #[test]
    fn bytes_that_are_no_request_are_refused() {
        let refused =
            |bytes: &'static [u8]| incoming(&Bytes::from_static(bytes)).unwrap_err().outcome;
        // Cut short; an entry that is cut short; a partition that is text; two lists in one entry.
        assert_eq!(refused(&[0x0a]), Outcome::InvalidRequest);
        assert_eq!(refused(&[0x0a, 1, 0x0a]), Outcome::InvalidRequest);
        assert_eq!(refused(&[0x0a, 2, 0x12, 0]), Outcome::InvalidRequest);
        assert_eq!(refused(&[0x0a, 4, 0x22, 0, 0x22, 0]), Outcome::InvalidRequest);
        assert_eq!(int32(u64::MAX), -1);
    }

    #[test]
    fn what_is_not_one_whole_batch_is_refused() {
        let batch = |bytes: Vec<u8>| entry(v1::produce_entry::Payload::Batch(Bytes::from(bytes)));
        let whole = self::batch().into_bytes().to_vec();
        assert_eq!(refused(batch(whole.repeat(2))), Outcome::CorruptBatch);
        assert_eq!(refused(batch(whole[..whole.len() - 1].to_vec())), Outcome::CorruptBatch);
        let nowhere = v1::ProduceEntry { partition: None, ..batch(whole.clone()) };
        assert_eq!(refused(nowhere), Outcome::InvalidRequest);
        let outside = v1::ProduceEntry { partition: Some(-1), ..batch(whole.clone()) };
        assert_eq!(refused(outside), Outcome::UnknownPartition);
        let unnamed = v1::ProduceEntry { topic: "a/b".to_owned(), ..batch(whole) };
        assert_eq!(refused(unnamed), Outcome::InvalidTopicName);
    }

    #[test]
    fn the_friendly_form_may_leave_the_partition_open() {
        let list = v1::RecordList {
            records: vec![v1::Record::default()],
            compression: v1::Compression::Lz4.into(),
        };
        let payload = v1::produce_entry::Payload::Records(list);
        let open = v1::ProduceEntry { partition: None, ..entry(payload) };
        let Incoming::Records(records) = came(open).unwrap() else { panic!("records were sent") };
        assert_eq!((records.partition, records.compression), (None, Compression::Lz4));
        let unfolded: Result<Vec<_>, _> = records.records.unfolded().collect();
        assert_eq!(unfolded.unwrap(), [Record::default()]);
        let empty = v1::produce_entry::Payload::Records(v1::RecordList::default());
        assert_eq!(refused(entry(empty)), Outcome::InvalidRequest);
    }

    #[test]
    fn answers_cross_and_must_fit_their_request() {
        let reply = vec![
            Ok(Appended {
                base_offset: Offset::new(9).unwrap(),
                append_time: Some(Timestamp(4)),
                repeated: true,
            }),
            Err(Refusal::new(Outcome::DiskFull, "no room")),
        ];
        let results = reply.iter().cloned().map(Into::into).collect();
        let response = v1::ProduceResponse { results };
        assert_eq!(produce_reply(response.clone(), 2).unwrap().entries, reply);
        assert_eq!(produce_reply(response, 1).unwrap_err().outcome, Outcome::Internal);
        let identity = ProducerIdentity { id: ProducerId(3), epoch: ProducerEpoch(0) };
        let there = v1::InitProducerResponse::from(identity);
        assert_eq!(ProducerIdentity::try_from(there).unwrap(), identity);
        let wrong = v1::InitProducerResponse { producer_id: 1, producer_epoch: 1 << 20 };
        assert!(ProducerIdentity::try_from(wrong).is_err());
    }
}
