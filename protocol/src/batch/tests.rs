//! Laws of the layout: what is built is read, what is damaged is noticed, what is hostile is refused.

#![expect(clippy::indexing_slicing, reason = "tests may fail")]

use std::ops::Range;

use proptest::prelude::*;

use super::layout::*;
use super::*;
use crate::record::Header as RecordHeader;

/// Where a stamped batch lies, if it was handed in as these bytes of a buffer.
fn stamped_place(buffer: Vec<u8>, range: Range<usize>) -> (*const u8, *const u8) {
    let buffer = Bytes::from(buffer);
    let bytes = buffer.slice(range);
    drop(buffer);
    let before = bytes.as_ptr();
    let stamp =
        Stamp { base_offset: Offset::ZERO, leader_epoch: LeaderEpoch(1), append_time: None };
    (before, Batch::check(bytes).unwrap().stamp(stamp).bytes().as_ptr())
}

#[test]
fn a_stamped_batch_holds_on_to_little_more_than_itself() {
    let batch = |bytes| {
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record::of_value(vec![7; bytes]), Timestamp(1));
        builder.finish(None).into_bytes().to_vec()
    };
    let large = batch(STAMPED_IN_PLACE_BYTES_MIN);
    let (before, after) = stamped_place(large.clone(), 0..large.len());
    assert_eq!(before, after, "a large batch that lies alone is stamped in place");
    let roomy = [&large[..], &vec![0; 2 * large.len()]].concat();
    let (before, after) = stamped_place(roomy, 0..large.len());
    assert_ne!(before, after, "a request three times as large is let go");
    let small = batch(100);
    let request = [&vec![0; 1 << 20], &small[..]].concat();
    let (before, after) = stamped_place(request, (1 << 20)..(1 << 20) + small.len());
    assert_ne!(before, after, "a small batch gets memory of its own");
}

fn any_bytes() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from))
}

fn any_record() -> impl Strategy<Value = Record> {
    let header = (prop::collection::vec(any::<u8>(), 0..8), any_bytes())
        .prop_map(|(name, value)| RecordHeader { name: name.into(), value });
    (any_bytes(), any_bytes(), prop::collection::vec(header, 0..4), any::<i64>()).prop_map(
        |(key, value, headers, time)| Record {
            key,
            value,
            headers,
            timestamp: Some(Timestamp(time)),
        },
    )
}

fn any_batch() -> impl Strategy<Value = (Vec<Record>, Batch)> {
    let records = prop::collection::vec(any_record(), 1..20);
    (records, prop::sample::select(&Compression::ALL[..])).prop_map(|(records, codec)| {
        let mut builder = Builder::new(codec);
        for record in &records {
            builder.push(record, Timestamp(0));
        }
        let batch = builder.finish(None);
        (records, batch)
    })
}

proptest! {
    #[test]
    fn what_is_built_is_read((records, batch) in any_batch(), base in 0_i64..1 << 60) {
        let base_offset = Offset::new(base).unwrap();
        let stamp = Stamp { base_offset, leader_epoch: LeaderEpoch(7), append_time: None };
        let stamped = Batch::check(batch.stamp(stamp).into_bytes()).unwrap();
        let mut scratch = Vec::new();
        stamped.check_records(1024, &mut scratch).unwrap();
        let read: Vec<_> = stamped.records(&mut scratch).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), records.len());
        for (index, (view, record)) in read.iter().zip(&records).enumerate() {
            prop_assert_eq!(view.offset, base_offset.plus(index as u64));
            prop_assert_eq!(&view.to_record(stamped.bytes()), record);
        }
    }

    #[test]
    fn one_flipped_bit_is_noticed((_, batch) in any_batch(), place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = batch.bytes().to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let stamped_later = (BASE_OFFSET..LENGTH).contains(&place) || (LEADER_EPOCH..MAGIC).contains(&place);
        prop_assert_eq!(Batch::check(bytes.into()).is_ok() , stamped_later && bytes_are_sound(place, bit));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Batch::check(bytes.clone().into()).is_err());
        prop_assert!(split(bytes.into()).count() <= 1);
    }

    #[test]
    fn damaged_records_behind_a_right_checksum_are_refused_or_read(
        (_, batch) in any_batch(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = BytesMut::from(&batch.bytes()[..]);
        let place = ATTRIBUTES + place.index(bytes.len() - ATTRIBUTES);
        bytes[place] = byte;
        let checksum = checksum_of(&bytes);
        put(&mut bytes, CHECKSUM, &checksum.to_be_bytes());
        if let Ok(batch) = Batch::check(bytes.freeze()) {
            let mut scratch = Vec::new();
            let _ = batch.check_records(1024, &mut scratch);
            if let Ok(records) = batch.records(&mut scratch) {
                prop_assert!(records.count() <= RECORDS_PER_BATCH_MAX);
            }
        }
    }
}

/// The sign bit of the base offset makes it negative; a top bit may push its end past 2^63.
fn bytes_are_sound(place: usize, bit: u8) -> bool {
    !(place == BASE_OFFSET && bit == 7)
}

#[test]
fn the_layout_has_no_gap() {
    let mut end = 0;
    for field in LAYOUT {
        assert_eq!(field.bytes.start, end, "{}", field.name);
        end = field.bytes.end;
    }
    assert_eq!(end, HEADER_BYTES);
}

#[test]
fn append_time_is_the_time_of_every_record() {
    let mut builder = Builder::new(Compression::Lz4);
    builder.push(&Record::new("a", "1"), Timestamp(5));
    builder.push(&Record::new("b", "2"), Timestamp(9));
    let stamped = builder.finish(None).stamp(Stamp {
        base_offset: Offset::ZERO,
        leader_epoch: LeaderEpoch(0),
        append_time: Some(Timestamp(1234)),
    });
    let stamped = Batch::check(stamped.into_bytes()).unwrap();
    let mut scratch = Vec::new();
    let times: Vec<_> =
        stamped.records(&mut scratch).unwrap().map(|record| record.unwrap().timestamp.0).collect();
    assert_eq!(times, [1234, 1234]);
}

#[test]
fn stamping_bytes_of_ones_own_copies_nothing() {
    let bytes = STAMPED_IN_PLACE_BYTES_MIN;
    let mut builder = Builder::with_capacity(Compression::None, bytes + 1024);
    builder.push(&Record::of_value(vec![1; bytes]), Timestamp(5));
    let batch = builder.finish(None);
    let before = batch.bytes().as_ptr();
    let stamp =
        Stamp { base_offset: Offset::ZERO, leader_epoch: LeaderEpoch(0), append_time: None };
    assert_eq!(batch.stamp(stamp).bytes().as_ptr(), before);
}

#[test]
fn the_checksum_is_kafkas() {
    // CRC-32C of "123456789" is the check value of the algorithm's catalogue entry.
    let mut bytes = vec![0; ATTRIBUTES];
    bytes.extend(b"123456789");
    assert_eq!(checksum_of(&bytes), 0xe306_9283);
}

#[test]
fn counts_of_a_hostile_header_are_refused_before_anything_is_allocated() {
    let mut builder = Builder::new(Compression::None);
    builder.push(&Record::new("a", "1"), Timestamp(5));
    let mut bytes = BytesMut::from(&builder.finish(None).bytes()[..]);
    for (count, delta) in [(i32::MAX, i32::MAX - 1), (-1, 0), (2, 0), (1, i32::MAX)] {
        put(&mut bytes, RECORD_COUNT, &count.to_be_bytes());
        put(&mut bytes, LAST_OFFSET_DELTA, &delta.to_be_bytes());
        assert!(matches!(Header::read(&bytes), Err(BatchError::Counts { .. })));
    }
}
