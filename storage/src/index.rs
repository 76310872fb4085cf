//! Where the batches of one segment lie: sparse, by offset and by time in one.
//!
//! An entry says where a batch begins, which offset it has, and the largest timestamp in front of it, so that one
//! search serves both questions. An index is a memory aid: readers check the batch that they find, and an index can
//! always be rebuilt from its segment.
//!
//! Constraints: at most [`ENTRIES_MAX`] entries, so at most 64 KiB in memory and on disk. Where a segment would need
//! more, every second one is dropped and the interval doubled: 1 GiB has one every 256 KiB or so, which a reader
//! passes over in some tens of microseconds.

use bytes::BufMut;
use protocol::id::{Offset, Timestamp};

use crate::format::{Fields, INDEX_ENTRY, INDEX_HEAD, put_count};

/// Most entries of one index.
pub(crate) const ENTRIES_MAX: usize = 4096;

/// "No timestamp yet": earlier than every other.
pub(crate) const NO_TIME: Timestamp = Timestamp(i64::MIN);

/// A batch from which a reader can walk on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The batch's base offset.
    pub(crate) offset: Offset,
    /// Where it begins in the segment's file, in bytes.
    pub(crate) position: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    offset_delta: u32,
    position: u32,
    /// Largest timestamp in front of the batch.
    time_before: Timestamp,
}

/// The index of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    base: Offset,
    /// Bytes of the segment that are covered.
    covered: u64,
    interval: u32,
    entries: Vec<Entry>,
}

impl Index {
    /// The index of an empty segment.
    pub(crate) fn new(base: Offset, interval: u32) -> Self {
        Self { base, covered: 0, interval, entries: Vec::new() }
    }

    /// Bytes of the segment that are covered.
    pub(crate) fn covered(&self) -> u64 {
        self.covered
    }

    /// Takes note of a batch at the end of what is covered. Batches come in order, each once.
    pub(crate) fn note(&mut self, place: Place, bytes: u64, time_before: Timestamp) {
        let last = self.entries.last().map_or(0, |entry| u64::from(entry.position));
        self.covered = place.position + bytes;
        if place.position.saturating_sub(last) < u64::from(self.interval) {
            return;
        }
        // Segments are rolled before either passes 32 bits; without an entry a reader only walks further.
        let (Ok(offset_delta), Ok(position)) =
            (u32::try_from(place.offset.since(self.base)), u32::try_from(place.position))
        else {
            return;
        };
        if self.entries.len() >= ENTRIES_MAX {
            let mut index = 0;
            self.entries.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.interval = self.interval.saturating_mul(2);
        }
        self.entries.push(Entry { offset_delta, position, time_before });
    }

    /// Says that the index covers `bytes` of the segment, of which those that were not noted hold no sound batch.
    pub(crate) fn cover(&mut self, bytes: u64) {
        self.covered = bytes;
    }

    /// Forgets what lies at or behind `position`.
    pub(crate) fn cut(&mut self, position: u64) {
        self.covered = self.covered.min(position);
        self.entries.retain(|entry| u64::from(entry.position) < position);
    }

    fn place(&self, entry: Option<&Entry>) -> Place {
        entry.map_or(Place { offset: self.base, position: 0 }, |entry| Place {
            offset: self.base.plus(u64::from(entry.offset_delta)),
            position: u64::from(entry.position),
        })
    }

    /// The last known batch at or before `offset`.
    pub(crate) fn before_offset(&self, offset: Offset) -> Place {
        let delta = offset.since(self.base);
        let behind = self.entries.partition_point(|entry| u64::from(entry.offset_delta) <= delta);
        self.place(behind.checked_sub(1).and_then(|last| self.entries.get(last)))
    }

    /// The last known batch in front of which every timestamp is earlier than `time`.
    pub(crate) fn before_time(&self, time: Timestamp) -> Place {
        let behind = self.entries.partition_point(|entry| entry.time_before < time);
        self.place(behind.checked_sub(1).and_then(|last| self.entries.get(last)))
    }

    /// The body of its file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body =
            Vec::with_capacity(INDEX_HEAD.bytes() + self.entries.len() * INDEX_ENTRY.bytes());
        body.put_i64(self.base.get());
        body.put_u64(self.covered);
        body.put_u32(self.interval);
        put_count(&mut body, self.entries.len());
        for entry in &self.entries {
            body.put_u32(entry.offset_delta);
            body.put_u32(entry.position);
            body.put_i64(entry.time_before.0);
        }
        body
    }

    /// Reads the body of its file. `Err` names the field that is not valid.
    pub(crate) fn decode(base: Offset, body: &[u8]) -> Result<Self, &'static str> {
        let mut fields = Fields(body);
        fields.offset().filter(|found| *found == base).ok_or("baseOffset")?;
        let covered = fields.u64().ok_or("position")?;
        let interval = fields.u32().filter(|interval| *interval > 0).ok_or("interval")?;
        let count = fields
            .count(INDEX_ENTRY.bytes())
            .filter(|count| *count <= ENTRIES_MAX)
            .ok_or("entries")?;
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = Entry {
                offset_delta: fields.u32().ok_or("offsetDelta")?,
                position: fields.u32().ok_or("position")?,
                time_before: Timestamp(fields.i64().ok_or("maxTimestamp")?),
            };
            let in_order = entries.last().is_none_or(|last| {
                last.offset_delta < entry.offset_delta
                    && last.position < entry.position
                    && last.time_before <= entry.time_before
            });
            if !in_order || u64::from(entry.position) >= covered {
                return Err("position");
            }
            entries.push(entry);
        }
        if fields.0.is_empty() {
            Ok(Self { base, covered, interval, entries })
        } else {
            Err("entries")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// (records, bytes, largest timestamp) of each batch.
    fn batches() -> impl Strategy<Value = Vec<(u64, u64, i64)>> {
        prop::collection::vec((1..20u64, 61..900u64, -1..1000i64), 0..200)
    }

    fn filled(batches: &[(u64, u64, i64)]) -> (Index, Vec<(Place, Timestamp)>) {
        let base = Offset::new(100).unwrap();
        let mut index = Index::new(base, 256);
        let (mut place, mut before) = (Place { offset: base, position: 0 }, NO_TIME);
        let mut truth = Vec::new();
        for (records, bytes, time) in batches {
            index.note(place, *bytes, before);
            truth.push((place, before));
            before = before.max(Timestamp(*time));
            place = Place { offset: place.offset.plus(*records), position: place.position + bytes };
        }
        (index, truth)
    }

    proptest! {
        #[test]
        fn a_place_found_is_a_batch_at_or_before_and_at_most_an_interval_back(
            batches in batches(), offset in 100..4000i64, time in -5..1100i64,
        ) {
            let (index, truth) = filled(&batches);
            let offset = Offset::new(offset).unwrap();
            let found = index.before_offset(offset);
            prop_assert!(found.offset <= offset);
            if let Some((wanted, _)) = truth.iter().rev().find(|(place, _)| place.offset <= offset) {
                prop_assert!(truth.iter().any(|(place, _)| *place == found));
                prop_assert!(wanted.position - found.position < 256 + 900);
            }
            let found = index.before_time(Timestamp(time));
            let before = truth.iter().find(|(place, _)| *place == found).map_or(NO_TIME, |(_, t)| *t);
            prop_assert!(before < Timestamp(time));
        }

        #[test]
        fn what_is_encoded_is_decoded(batches in batches()) {
            let (index, _) = filled(&batches);
            let body = index.encode();
            prop_assert_eq!(body.len(), INDEX_HEAD.bytes() + index.entries.len() * INDEX_ENTRY.bytes());
            prop_assert_eq!(Index::decode(index.base, &body), Ok(index.clone()));
            prop_assert!(Index::decode(Offset::ZERO, &body).is_err());
            for cut in 0..body.len() {
                prop_assert!(Index::decode(index.base, &body[..cut]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_an_index_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Index::decode(Offset::ZERO, &body);
        }
    }

    #[test]
    fn an_index_never_grows_past_its_bound() {
        let mut index = Index::new(Offset::ZERO, 1);
        for number in 0..20_000u64 {
            let offset = Offset::ZERO.plus(number);
            index.note(Place { offset, position: number * 100 }, 100, Timestamp(number as i64));
            assert!(index.entries.len() <= ENTRIES_MAX);
        }
        let found = index.before_offset(Offset::ZERO.plus(19_999));
        assert!(found.offset >= Offset::ZERO.plus(19_900), "{found:?}");
        assert_eq!(Index::decode(Offset::ZERO, &index.encode()), Ok(index));
    }
}
