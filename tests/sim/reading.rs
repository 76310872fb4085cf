//! Reading as the simulation does it: through the broker's one way in, every byte looked at.

use broker::Service;
use protocol::batch::split;
use protocol::id::{Offset, Partition};
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{FetchEntry, FetchRequest, Fetched};

use crate::oracle::{Found, Place};
use crate::plan::TopicPlan;
use crate::record::{RecordId, identify};

pub(crate) fn offset(offset: u64) -> Offset {
    Offset::ZERO.plus(offset)
}

pub(crate) fn number(offset: Offset) -> u64 {
    offset.since(Offset::ZERO)
}

pub(crate) fn entry(topics: &[TopicPlan], place: Place, from: u64, bytes_max: u32) -> FetchEntry {
    FetchEntry {
        topic: topics[place.topic].name.clone(),
        partition: Partition::new(place.partition.into()).unwrap(),
        offset: offset(from),
        bytes_max,
    }
}

/// The records of an answer from `from` on. The first batch may begin earlier; then every offset follows the one before.
pub(crate) fn records(topic: &TopicPlan, from: u64, fetched: &Fetched) -> Vec<(u64, RecordId)> {
    let has_append_time = topic.settings.iter().any(|(_, value)| value == "LogAppendTime");
    let mut found = Vec::new();
    let mut scratch = Vec::new();
    for batch in fetched.batches.iter().cloned().flat_map(split) {
        let batch = batch.expect("a served batch is whole and has its checksum");
        for record in batch.records(&mut scratch).unwrap() {
            let record = record.unwrap();
            let id = identify(&record, has_append_time).unwrap_or_else(|problem| {
                panic!("{}: {problem}", topic.name);
            });
            let offset = number(record.offset);
            if offset >= from {
                let wanted = from + found.len() as u64;
                assert_eq!(offset, wanted, "{}: the answer has a gap", topic.name);
                assert!(offset < number(fetched.end), "{}: behind the end", topic.name);
                found.push((offset, id));
            }
        }
    }
    found
}

/// Reads a whole partition, around damage. `Err` when it cannot be read for another reason.
pub(crate) async fn read_all(
    service: &Service,
    topics: &[TopicPlan],
    place: Place,
) -> Result<Found, Refusal> {
    let mut found = Found::default();
    let mut from = None;
    loop {
        let position = from.unwrap_or(found.start);
        let entries = vec![entry(topics, place, position, 3_000)];
        let request = FetchRequest { entries, bytes_min: 0, wait_ms_max: 0, bytes_max: 0 };
        let answered = service.fetch(request).await?;
        match answered.reply.entries.into_iter().next().unwrap() {
            Ok(fetched) => {
                (found.start, found.end) = (number(fetched.start), number(fetched.end));
                let records = records(&topics[place.topic], position, &fetched);
                if records.is_empty() {
                    assert_eq!(position, found.end, "{place:?}: an answer without records");
                    return Ok(found);
                }
                from = Some(position + records.len() as u64);
                found.records.extend(records);
            }
            Err(refusal) => match (refusal.outcome, refusal.resume_at) {
                // The partition begins later.
                (Outcome::OffsetOutOfRange, Some(start)) if from.is_none() && position == 0 => {
                    found.start = number(start);
                    from = Some(found.start);
                }
                (Outcome::DamagedData, Some(resume)) if number(resume) > position => {
                    found.holes.push(position..number(resume));
                    from = Some(number(resume));
                }
                _ => return Err(refusal),
            },
        }
    }
}
