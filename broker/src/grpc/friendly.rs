//! The friendly form of producing: records with key, value and headers become batches at the door.
//!
//! Each record goes where its key belongs; those without a key go together to one partition, another one with each
//! request. The order of the records of a request is kept in every partition.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use protocol::batch::{Builder, HEADER_BYTES};
use protocol::grpc::produce::IncomingRecords;
use protocol::grpc::v1;
use protocol::id::{Partition, Timestamp, TopicName};
use protocol::limits::{BATCH_BYTES_MAX, ENTRIES_PER_REQUEST_MAX};
use protocol::outcome::{Outcome, Refusal};
use protocol::partitioner::partition_of_key;
use protocol::record::{Record, encoded_bytes_max};
use protocol::verbs::{Appended, ProduceEntry};

use crate::service::TopicShape;

/// The batches of one friendly entry, and where each record has gone.
#[derive(Debug)]
pub(crate) struct Batches {
    /// To be appended, in this order.
    pub(crate) entries: Vec<ProduceEntry>,
    /// For each record of the entry: which of the batches, and its place in it.
    places: Vec<(u32, u32)>,
}

/// Spreads keyless records over partitions, request by request.
#[derive(Debug, Default)]
pub(crate) struct Spread(AtomicU32);

impl Spread {
    fn next(&self, partitions: u32) -> Partition {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        Partition::new((turn % partitions.max(1)).into()).unwrap_or_default()
    }
}

/// Builds the batches of one entry, at most `batches_max`. Records are timed `now` where they have no time.
///
/// # Errors
/// When a record is not sound or larger than any batch may be, or the records would take too many batches.
pub(crate) fn build(
    incoming: IncomingRecords,
    shape: TopicShape,
    batches_max: usize,
    spread: &Spread,
    now: Timestamp,
) -> Result<Batches, Refusal> {
    let IncomingRecords { topic, partition, records, compression } = incoming;
    let keyless = spread.next(shape.partitions);
    let mut batches = Batches { entries: Vec::new(), places: Vec::with_capacity(records.count()) };
    // Which batch each partition fills now: its builder, and its number among the entries to come.
    let mut open: BTreeMap<Partition, (u32, Builder)> = BTreeMap::new();
    let mut closed: Vec<(u32, Partition, Builder)> = Vec::new();
    let mut count = 0;
    for record in records.unfolded() {
        let record = &record?;
        check_size(&topic, record)?;
        let target = partition.unwrap_or_else(|| {
            record.key.as_ref().map_or(keyless, |key| partition_of_key(key, shape.partitions))
        });
        if let Some((number, builder)) = open.remove(&target) {
            let is_full = builder.bytes() + encoded_bytes_max(record) > shape.batch_bytes_max;
            if is_full || builder.is_full() {
                closed.push((number, target, builder));
            } else {
                open.insert(target, (number, builder));
            }
        }
        let (number, builder) = open.entry(target).or_insert_with(|| {
            count += 1;
            (count - 1, Builder::new(compression))
        });
        if *number as usize >= batches_max {
            return Err(Refusal::new(
                Outcome::InvalidRequest,
                format!(
                    "{topic}: the records take more batches than the {ENTRIES_PER_REQUEST_MAX} that a request may have: send fewer records at once"
                ),
            ));
        }
        // No batch has more than 2^31 records.
        batches.places.push((*number, u32::try_from(builder.record_count()).unwrap_or(u32::MAX)));
        builder.push(record, now);
    }
    closed.extend(open.into_iter().map(|(target, (number, builder))| (number, target, builder)));
    closed.sort_by_key(|(number, _, _)| *number);
    let entry =
        |(_, partition, builder): (u32, Partition, Builder)| entry(&topic, partition, builder);
    batches.entries = closed.into_iter().map(entry).collect();
    Ok(batches)
}

fn check_size(topic: &TopicName, record: &Record) -> Result<(), Refusal> {
    let bytes = encoded_bytes_max(record);
    if bytes <= BATCH_BYTES_MAX - HEADER_BYTES {
        return Ok(());
    }
    Err(Refusal::new(
        Outcome::BatchTooLarge,
        format!(
            "{topic}: a record takes {bytes} bytes; no batch may have more than {BATCH_BYTES_MAX}"
        ),
    ))
}

fn entry(topic: &TopicName, partition: Partition, builder: Builder) -> ProduceEntry {
    ProduceEntry { topic: topic.clone(), partition, batch: builder.finish(None) }
}

/// Of several refusals the one that promises least: where anything may have happened, the answer says so.
fn weakest(results: &[Result<Appended, Refusal>]) -> Option<&Refusal> {
    let refusals = || results.iter().filter_map(|result| result.as_ref().err());
    let unsure = refusals().find(|refusal| refusal.outcome.may_have_happened());
    unsure.or_else(|| refusals().next())
}

impl Batches {
    /// The answer to the entry, from the answers to its batches.
    pub(crate) fn answer(
        &self,
        partitions: &[Partition],
        results: &[Result<Appended, Refusal>],
    ) -> v1::ProduceResult {
        let place = |(number, index): &(u32, u32)| {
            let partition = partitions.get(*number as usize).copied().unwrap_or_default();
            let offset = match results.get(*number as usize) {
                Some(Ok(appended)) => appended.base_offset.plus((*index).into()).get(),
                Some(Err(_)) | None => -1,
            };
            v1::RecordPlace { partition: partition.to_i32(), offset }
        };
        let appended = results.iter().flatten().next();
        v1::ProduceResult {
            problem: weakest(results).map(|refusal| refusal.clone().into()),
            base_offset: appended.map_or(0, |appended| appended.base_offset.get()),
            append_time_ms: appended.and_then(|appended| appended.append_time).map(|time| time.0),
            repeated_batch: false,
            places: self.places.iter().map(place).collect(),
        }
    }

    /// The partitions of the batches, in their order.
    pub(crate) fn partitions(&self) -> Vec<Partition> {
        self.entries.iter().map(|entry| entry.partition).collect()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use protocol::grpc::produce::{self, Incoming};
    use protocol::grpc::record::record_at;
    use protocol::id::Offset;

    use super::*;

    fn incoming(records: Vec<Record>) -> IncomingRecords {
        let records = records.into_iter().map(|record| record_at(Offset::ZERO, record)).collect();
        let list = v1::RecordList { records, ..Default::default() };
        let payload = Some(v1::produce_entry::Payload::Records(list));
        let entry = v1::ProduceEntry { topic: "t".to_owned(), partition: None, payload };
        let message = v1::ProduceRequest { entries: vec![entry] }.encode_to_vec();
        match produce::incoming(&message.into()).unwrap().remove(0).unwrap() {
            Incoming::Records(records) => records,
            Incoming::Batch(batch) => panic!("records came as {batch:?}"),
        }
    }

    fn built(records: Vec<Record>, shape: TopicShape) -> Result<Batches, Refusal> {
        build(incoming(records), shape, 1_000, &Spread::default(), Timestamp(1))
    }

    #[test]
    fn every_record_has_one_place_in_the_order_of_the_request() {
        let records: Vec<_> =
            (0..100).map(|n: u32| Record::new(format!("key-{}", n % 7), vec![0; 100])).collect();
        let shape = TopicShape { partitions: 3, batch_bytes_max: 1_500 };
        let batches = built(records.clone(), shape).unwrap();
        assert!(batches.entries.len() > 3, "several batches a partition");
        // Answer as a log would: offsets count up in each partition, batch by batch.
        let mut ends = [0_i64; 3];
        let results: Vec<_> = batches
            .entries
            .iter()
            .map(|entry| {
                let end = &mut ends[entry.partition.get() as usize];
                let base_offset = Offset::new(*end).unwrap();
                *end += i64::from(entry.batch.header().record_count);
                assert!(entry.batch.header().total_bytes <= 1_500);
                Ok(Appended { base_offset, append_time: None, repeated: false })
            })
            .collect();
        let answer = batches.answer(&batches.partitions(), &results);
        let mut next = [0_i64; 3];
        for (record, place) in records.iter().zip(&answer.places) {
            let partition = partition_of_key(record.key.as_ref().unwrap(), 3);
            assert_eq!(place.partition, partition.to_i32());
            let next = &mut next[partition.get() as usize];
            assert_eq!(place.offset, *next);
            *next += 1;
        }
    }

    #[test]
    fn what_was_refused_has_no_offset() {
        let shape = TopicShape { partitions: 1, batch_bytes_max: 100 };
        let records = vec![Record::of_value(vec![1; 60]), Record::of_value(vec![2; 60])];
        let batches = built(records, shape).unwrap();
        assert_eq!(batches.entries.len(), 2);
        let appended = Appended { base_offset: Offset::ZERO, append_time: None, repeated: false };
        let results = [Ok(appended), Err(Refusal::new(Outcome::DiskFull, "full"))];
        let answer = batches.answer(&batches.partitions(), &results);
        assert_eq!(answer.places.iter().map(|place| place.offset).collect::<Vec<_>>(), [0, -1]);
        assert_eq!(answer.problem.unwrap().outcome, "DISK_FULL");
    }

    #[test]
    fn records_that_would_take_too_many_batches_are_refused() {
        let shape = TopicShape { partitions: 1, batch_bytes_max: 100 };
        let records = |count| vec![Record::of_value(vec![1; 60]); count];
        assert_eq!(built(records(1_000), shape).unwrap().entries.len(), 1_000);
        let refused = built(records(1_001), shape).unwrap_err();
        assert_eq!(refused.outcome, Outcome::InvalidRequest);
    }
}
