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
use protocol::limits::BATCH_BYTES_MAX;
use protocol::outcome::{Outcome, Refusal};
use protocol::partitioner::partition_of_key;
use protocol::record::encoded_bytes_max;
use protocol::verbs::{Appended, ProduceEntry};

use crate::service::TopicShape;

/// The batches of one friendly entry, and where each record has gone.
#[derive(Debug)]
pub(crate) struct Batches {
    /// To be appended, in this order.
    pub(crate) entries: Vec<ProduceEntry>,
    /// For each record of the entry: which of the batches, and its place in it.
    places: Vec<(usize, u64)>,
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

/// Builds the batches of one entry. Records are timed `now` where they have no time.
///
/// # Errors
/// When a single record is larger than any batch may be.
pub(crate) fn build(
    incoming: IncomingRecords,
    shape: TopicShape,
    spread: &Spread,
    now: Timestamp,
) -> Result<Batches, Refusal> {
    let IncomingRecords { topic, partition, records, compression } = incoming;
    let largest = records.iter().map(encoded_bytes_max).max().unwrap_or(0);
    if largest > BATCH_BYTES_MAX - HEADER_BYTES {
        return Err(Refusal::new(
            Outcome::BatchTooLarge,
            format!(
                "{topic}: a record takes {largest} bytes; no batch may have more than {BATCH_BYTES_MAX}"
            ),
        ));
    }
    let keyless = spread.next(shape.partitions);
    let mut batches = Batches { entries: Vec::new(), places: Vec::with_capacity(records.len()) };
    // Which batch each partition fills now: its builder, and its number among the entries to come.
    let mut open: BTreeMap<Partition, (usize, Builder)> = BTreeMap::new();
    let mut closed: Vec<(usize, Partition, Builder)> = Vec::new();
    let mut count = 0;
    for record in &records {
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
        batches.places.push((*number, builder.record_count() as u64));
        builder.push(record, now);
    }
    closed.extend(open.into_iter().map(|(target, (number, builder))| (number, target, builder)));
    closed.sort_by_key(|(number, _, _)| *number);
    let entry =
        |(_, partition, builder): (usize, Partition, Builder)| entry(&topic, partition, builder);
    batches.entries = closed.into_iter().map(entry).collect();
    Ok(batches)
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
        let place = |(number, index): &(usize, u64)| {
            let partition = partitions.get(*number).copied().unwrap_or_default();
            let offset = match results.get(*number) {
                Some(Ok(appended)) => appended.base_offset.plus(*index).get(),
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
    use protocol::compression::Compression;
    use protocol::id::Offset;
    use protocol::record::Record;

    use super::*;

    fn incoming(records: Vec<Record>) -> IncomingRecords {
        IncomingRecords {
            topic: "t".parse().unwrap(),
            partition: None,
            records,
            compression: Compression::None,
        }
    }

    #[test]
    fn every_record_has_one_place_in_the_order_of_the_request() {
        let records: Vec<_> =
            (0..100).map(|n: u32| Record::new(format!("key-{}", n % 7), vec![0; 100])).collect();
        let shape = TopicShape { partitions: 3, batch_bytes_max: 1_500 };
        let batches =
            build(incoming(records.clone()), shape, &Spread::default(), Timestamp(1)).unwrap();
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
        let batches = build(incoming(records), shape, &Spread::default(), Timestamp(1)).unwrap();
        assert_eq!(batches.entries.len(), 2);
        let appended = Appended { base_offset: Offset::ZERO, append_time: None, repeated: false };
        let results = [Ok(appended), Err(Refusal::new(Outcome::DiskFull, "full"))];
        let answer = batches.answer(&batches.partitions(), &results);
        assert_eq!(answer.places.iter().map(|place| place.offset).collect::<Vec<_>>(), [0, -1]);
        assert_eq!(answer.problem.unwrap().outcome, "DISK_FULL");
    }
}
