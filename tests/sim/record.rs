//! Records that can be told apart, and of which every byte is known: whoever reads one can say whether it is as it was
//! sent.

use bytes::Bytes;
use protocol::batch::{Batch, Builder, ProducerStamp};
use protocol::compression::Compression;
use protocol::id::{ProducerEpoch, ProducerId, Sequence, Timestamp};
use protocol::record::{Record, RecordView};

/// The record of this number from this producer, of this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordId {
    pub(crate) producer: u64,
    pub(crate) number: u64,
}

/// Records in the largest batch.
pub(crate) const BATCH_RECORDS_MAX: u64 = 6;

/// Where a simulation stands in time when it begins; times of records follow from it.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);

/// All of a record follows from its id.
fn record(id: RecordId) -> Record {
    let RecordId { producer, number } = id;
    let mut state = (producer << 32 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let length = 20 + (state >> 40) % if number.is_multiple_of(17) { 1_500 } else { 120 };
    let mut value = format!("{producer} {number} ").into_bytes();
    value.extend((0..length).map(|_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    }));
    let time = START.0 + i64::try_from(number % 1_000).unwrap();
    let record = Record::new(producer.to_be_bytes().to_vec(), value).at(Timestamp(time));
    if number.is_multiple_of(3) { record.header("number", number.to_string()) } else { record }
}

/// The batch of `count` records from `first` on.
pub(crate) fn batch(first: RecordId, count: u64, identity: ProducerId) -> Batch {
    let codecs = [Compression::None, Compression::None, Compression::Lz4, Compression::Snappy];
    let codec = codecs[usize::try_from(first.number % 4).unwrap()];
    let mut builder = Builder::new(codec);
    for number in first.number..first.number + count {
        builder.push(&record(RecordId { number, ..first }), START);
    }
    builder.finish(Some(ProducerStamp {
        id: identity,
        epoch: ProducerEpoch(0),
        base_sequence: Sequence::new(i32::try_from(first.number).unwrap()).unwrap(),
    }))
}

/// Which record this is. `Err` when it is none that anybody sends, byte for byte.
pub(crate) fn identify(found: &RecordView<'_>, has_append_time: bool) -> Result<RecordId, String> {
    let damaged = || format!("offset {}: bytes that nobody sent: {found:?}", found.offset);
    let text = String::from_utf8_lossy(found.value.ok_or_else(damaged)?).into_owned();
    let mut words = text.splitn(3, ' ').map(|word| word.parse::<u64>());
    let (Some(Ok(producer)), Some(Ok(number))) = (words.next(), words.next()) else {
        return Err(damaged());
    };
    let id = RecordId { producer, number };
    let sent = record(id);
    let mut whole = found.to_record(&Bytes::new());
    if has_append_time {
        whole.timestamp = sent.timestamp;
    }
    if whole == sent { Ok(id) } else { Err(damaged()) }
}
