//! What must be true, kept apart from the broker: which record stands at which offset, who was told so and when, and
//! what may be lost.
//!
//! | event | what must hold |
//! |---|---|
//! | a batch is acknowledged | no record has a second offset, no offset a second record |
//! | a record is read | the same; and every byte is as it was sent |
//! | the broker has started | all that is found is contiguous, of each producer in order, once, without a gap |
//! | - in a synced topic | all that was ever acknowledged *or read* is there |
//! | - in any topic, after kill -9 or a stop in order | the same |
//! | - `Within(ms)`, after a power cut | at most the newest are gone, none acknowledged earlier than `ms` before |
//! | - `Written`, after a power cut | at most the newest are gone |
//! | - not synced, after a failed sync | at most the newest are gone |
//! | bits have changed | what is not there is named, and it is no more than the batches that were hit |

use std::collections::{BTreeMap, BTreeSet};

use protocol::id::ProducerId;

use crate::plan::{Promise, TopicPlan};
use crate::record::{BATCH_RECORDS_MAX, RecordId};

/// A partition of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Number of the topic in the plan.
    pub(crate) topic: usize,
    pub(crate) partition: u32,
}

/// What may have gone since a partition was last found whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Threat {
    /// Nothing.
    None,
    /// The power went at this moment, in milliseconds.
    PowerCut { at_ms: u64 },
    /// The disk has refused something: what was not synced may be gone, however old.
    DiskFailed,
}

/// A record that somebody was told of.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: RecordId,
    /// When its producer was told, if it was.
    acknowledged_ms: Option<u64>,
}

#[derive(Debug)]
struct Partition {
    promise: Promise,
    is_trimmed: bool,
    /// Bits that were flipped in it.
    hits: usize,
    known: BTreeMap<u64, Known>,
    offsets: BTreeMap<RecordId, u64>,
    threat: Threat,
}

/// What was found in a partition by reading all of it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// In the order in which they were read.
    pub(crate) records: Vec<(u64, RecordId)>,
    /// Offsets that were named as damaged.
    pub(crate) holes: Vec<std::ops::Range<u64>>,
}

/// A sync takes no time here; timers are exact to a millisecond.
const SLACK_MS: u64 = 2;

/// All that is known.
#[derive(Debug)]
pub(crate) struct Oracle {
    partitions: BTreeMap<Place, Partition>,
    identities: BTreeSet<ProducerId>,
}

impl Oracle {
    pub(crate) fn new(topics: &[TopicPlan]) -> Self {
        let mut partitions = BTreeMap::new();
        for (number, topic) in topics.iter().enumerate() {
            for partition in 0..topic.partitions {
                let model = Partition {
                    promise: topic.promise,
                    is_trimmed: topic.is_trimmed,
                    hits: 0,
                    known: BTreeMap::new(),
                    offsets: BTreeMap::new(),
                    threat: Threat::None,
                };
                partitions.insert(Place { topic: number, partition }, model);
            }
        }
        Self { partitions, identities: BTreeSet::new() }
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        self.partitions.keys().copied().collect()
    }

    /// A producer got an identity.
    pub(crate) fn identity(&mut self, id: ProducerId) {
        assert!(self.identities.insert(id), "the producer id {id} was given out twice");
    }

    /// A batch was acknowledged.
    pub(crate) fn acknowledged(
        &mut self,
        place: Place,
        base: u64,
        (first, count): (RecordId, u64),
        now_ms: u64,
    ) {
        for index in 0..count {
            let id = RecordId { number: first.number + index, ..first };
            self.learn(place, base + index, id, Some(now_ms));
        }
    }

    /// Somebody was shown a record.
    pub(crate) fn read(&mut self, place: Place, offset: u64, id: RecordId) {
        self.learn(place, offset, id, None);
    }

    fn learn(&mut self, place: Place, offset: u64, id: RecordId, acknowledged_ms: Option<u64>) {
        let partition = self.partitions.get_mut(&place).unwrap();
        let known = partition.known.entry(offset).or_insert(Known { id, acknowledged_ms });
        assert_eq!(known.id, id, "{place:?}: offset {offset} has two values");
        known.acknowledged_ms = known.acknowledged_ms.or(acknowledged_ms);
        let other = *partition.offsets.entry(id).or_insert(offset);
        assert_eq!(other, offset, "{place:?}: {id:?} is there twice");
    }

    /// Something happened that may cost the newest records where the promise allows it.
    pub(crate) fn threaten(&mut self, threat: Threat) {
        for partition in self.partitions.values_mut() {
            partition.threat = match (partition.threat, threat) {
                // What the first one took was gone before the second.
                (first @ Threat::PowerCut { .. }, Threat::PowerCut { .. }) => first,
                (before, now) => before.max(now),
            };
        }
    }

    /// Bits were flipped.
    pub(crate) fn hit(&mut self, hits: &BTreeMap<Place, usize>) {
        for (place, hits) in hits {
            self.partitions.get_mut(place).unwrap().hits += hits;
        }
    }

    /// True when damage may be met.
    pub(crate) fn is_hit(&self, place: Place) -> bool {
        self.partitions[&place].hits > 0
    }

    /// True when records that were not synced may be gone.
    pub(crate) fn may_have_lost(&self, place: Place) -> bool {
        let partition = &self.partitions[&place];
        partition.promise != Promise::Synced && partition.threat != Threat::None
    }

    /// Holds all that was found in a partition against what is known, and forgets what was lost rightly.
    pub(crate) fn audit(&mut self, place: Place, found: &Found) {
        let partition = self.partitions.get_mut(&place).unwrap();
        assert!(partition.is_trimmed || found.start == 0, "{place:?}: its start was trimmed");
        check_order(place, found);
        let at: BTreeMap<u64, RecordId> = found.records.iter().copied().collect();
        let is_named = |offset: &u64| found.holes.iter().any(|hole| hole.contains(offset));
        for (offset, known) in partition.known.range(found.start..found.end) {
            let there = at.get(offset);
            assert!(
                there == Some(&known.id) || (there.is_none() && is_named(offset)),
                "{place:?}: at {offset} was {known:?}, there is {there:?}; damage: {:?}",
                found.holes
            );
        }
        let named: u64 = found.holes.iter().map(|hole| hole.end - hole.start).sum();
        assert!(
            named <= partition.hits as u64 * BATCH_RECORDS_MAX,
            "{place:?}: {} bits were flipped, named are {:?}",
            partition.hits,
            found.holes
        );
        let lost = partition.known.split_off(&found.end);
        if let Some((offset, first)) = lost.first_key_value() {
            let (promise, threat) = (partition.promise, partition.threat);
            let story = format!(
                "{place:?} ({promise:?}, {threat:?}): {} records from {offset} on are lost, the first {first:?}",
                lost.len()
            );
            assert!(promise != Promise::Synced && threat != Threat::None, "{story}");
            if let (Promise::Within(ms), Threat::PowerCut { at_ms }) = (promise, threat) {
                let oldest = lost.values().filter_map(|known| known.acknowledged_ms).min();
                assert!(oldest.is_none_or(|oldest| oldest + ms + SLACK_MS >= at_ms), "{story}");
            }
            for known in lost.values() {
                partition.offsets.remove(&known.id);
            }
        }
        partition.threat = Threat::None;
        for (offset, id) in &found.records {
            self.learn(place, *offset, *id, None);
        }
    }

    /// How many records of a producer a partition holds, or has held before its start.
    pub(crate) fn count_of(&self, place: Place, producer: u64) -> u64 {
        let all = RecordId { producer, number: 0 }..=RecordId { producer, number: u64::MAX };
        let last = self.partitions[&place].offsets.range(all).next_back();
        last.map_or(0, |(id, _)| id.number + 1)
    }

    /// Records that somebody was told of.
    pub(crate) fn known(&self) -> usize {
        self.partitions.values().map(|partition| partition.known.len()).sum()
    }
}

/// Offsets count up by one, and so do the numbers of each producer, but for what is named as damaged.
fn check_order(place: Place, found: &Found) {
    let mut next_offset = found.start;
    let mut next_numbers: BTreeMap<u64, u64> = BTreeMap::new();
    let mut holes = found.holes.iter();
    let mut is_behind_hole = false;
    for (offset, id) in &found.records {
        while *offset != next_offset {
            let hole = holes.next();
            let hole = hole.unwrap_or_else(|| panic!("{place:?}: {offset} after {next_offset}"));
            assert_eq!(hole.start, next_offset, "{place:?}: {offset} behind {hole:?}");
            next_offset = hole.end;
            is_behind_hole = true;
        }
        next_offset += 1;
        // In front of the start of the partition there may have been others.
        let first = if found.start == 0 && !is_behind_hole { 0 } else { id.number };
        let next = next_numbers.entry(id.producer).or_insert(first);
        assert!(
            id.number == *next || (is_behind_hole && id.number > *next),
            "{place:?}: {id:?} where number {next} follows"
        );
        *next = id.number + 1;
    }
    let named: u64 = holes.map(|hole| hole.end - hole.start).sum();
    assert_eq!(next_offset + named, found.end, "{place:?}: the end");
}
