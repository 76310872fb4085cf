//! Records on their way in: produce requests, their answers, the identity of a producer.
//!
//! The friendly form stays a list of records here: where each of them goes is the broker's business.

use super::position::{check_entry_count, check_result_count};
use super::record::compression;
use super::refusal::{refuse_batch, refuse_id, refuse_request, wrong_answer};
use super::v1;
use crate::batch::Batch;
use crate::compression::Compression;
use crate::id::{Offset, Partition, ProducerEpoch, ProducerId, Timestamp, TopicName};
use crate::limits::RECORDS_PER_BATCH_MAX;
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
    /// At least one, at most [`RECORDS_PER_BATCH_MAX`], in order.
    pub records: Vec<Record>,
    /// How to store them.
    pub compression: Compression,
}

/// Reads a produce request; each of its entries is sound or refused by itself.
///
/// # Errors
/// When there are too many entries.
pub fn incoming(request: v1::ProduceRequest) -> Result<Vec<Result<Incoming, Refusal>>, Refusal> {
    check_entry_count(request.entries.len())?;
    Ok(request.entries.into_iter().map(Incoming::try_from).collect())
}

impl TryFrom<v1::ProduceEntry> for Incoming {
    type Error = Refusal;

    fn try_from(entry: v1::ProduceEntry) -> Result<Self, Refusal> {
        let topic = TopicName::new(&entry.topic).map_err(|error| refuse_id(&error))?;
        let partition = entry
            .partition
            .map(|partition| Partition::new(partition.into()))
            .transpose()
            .map_err(|error| refuse_id(&error))?;
        match entry.payload {
            Some(v1::produce_entry::Payload::Batch(bytes)) => {
                let partition = partition.ok_or_else(|| {
                    refuse_request("a batch needs a partition; only `records` may go without")
                })?;
                let batch = Batch::check(bytes).map_err(|error| refuse_batch(&error))?;
                Ok(Self::Batch(ProduceEntry { topic, partition, batch }))
            }
            Some(v1::produce_entry::Payload::Records(list)) => {
                let count = list.records.len();
                if count == 0 || count > RECORDS_PER_BATCH_MAX {
                    return Err(refuse_request(format!(
                        "an entry has {count} records; 1 to {RECORDS_PER_BATCH_MAX} are allowed"
                    )));
                }
                let records: Result<_, _> =
                    list.records.into_iter().map(Record::try_from).collect();
                Ok(Self::Records(IncomingRecords {
                    topic,
                    partition,
                    records: records?,
                    compression: compression(list.compression)?,
                }))
            }
            None => Err(refuse_request("an entry has neither a batch nor records")),
        }
    }
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
    use bytes::Bytes;

    use super::*;
    use crate::batch::Builder;
    use crate::outcome::Outcome;

    fn batch() -> Batch {
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record::new("k", "v"), Timestamp(1));
        builder.finish(None)
    }

    fn refused(entry: v1::ProduceEntry) -> Outcome {
        Incoming::try_from(entry).unwrap_err().outcome
    }

    fn entry(payload: v1::produce_entry::Payload) -> v1::ProduceEntry {
        v1::ProduceEntry { topic: "t".to_owned(), partition: Some(0), payload: Some(payload) }
    }

    #[test]
    fn a_batch_crosses_without_a_copy() {
        let batch = batch();
        let place = batch.bytes().as_ptr();
        let entry = ProduceEntry {
            topic: "t".parse().unwrap(),
            partition: Partition::new(2).unwrap(),
            batch,
        };
        let there = v1::ProduceRequest::from(ProduceRequest { entries: vec![entry.clone()] });
        let back = incoming(there).unwrap().remove(0).unwrap();
        let Incoming::Batch(back) = back else { panic!("a batch was sent") };
        assert_eq!(back.batch, entry.batch);
        assert_eq!(back.partition, entry.partition);
        assert_eq!(back.batch.bytes().as_ptr(), place);
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
        let Incoming::Records(records) = Incoming::try_from(open).unwrap() else {
            panic!("records were sent")
        };
        assert_eq!((records.partition, records.compression), (None, Compression::Lz4));
        assert_eq!(records.records, [Record::default()]);
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
