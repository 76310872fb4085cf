//! Records on their way out: fetch and subscribe, in both forms.

use bytes::Bytes;

use super::position::{check_entry_count, check_result_count, place, position};
use super::record::{append_records, form};
use super::refusal::{refuse_id, wrong_answer};
use super::v1;
use crate::batch::{Batch, BatchError, Header};
use crate::id::{Offset, Partition, TopicName};
use crate::limits::{FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX, MIB};
use crate::outcome::{Outcome, Refusal};
use crate::verbs::{FetchEntry, FetchReply, FetchRequest, Fetched, Position};

/// Bytes of one answer of a subscription that asks for no number.
const SUBSCRIBE_BYTES_DEFAULT: u32 = on_the_wire(MIB);

/// [`FETCH_BYTES_MAX`] as the wire counts.
const FETCH_BYTES: u32 = on_the_wire(FETCH_BYTES_MAX);

const fn on_the_wire(bytes: usize) -> u32 {
    assert!(bytes <= u32::MAX as usize);
    bytes as u32
}

/// A fetch as it came in: what to read, and in which form to answer.
#[derive(Clone, Debug)]
pub struct IncomingFetch {
    /// What to read. Limits that the caller left open are filled in, those that are too high are lowered.
    pub request: FetchRequest,
    /// In which form to answer.
    pub form: v1::Form,
}

impl TryFrom<v1::FetchRequest> for IncomingFetch {
    type Error = Refusal;

    fn try_from(request: v1::FetchRequest) -> Result<Self, Refusal> {
        check_entry_count(request.entries.len())?;
        let entry = |entry: v1::FetchEntry| {
            let (topic, partition) = place(&entry.topic, entry.partition)?;
            let offset = Offset::new(entry.offset).map_err(|error| refuse_id(&error))?;
            let bytes_max = limit_or(entry.bytes_max, FETCH_BYTES);
            Ok(FetchEntry { topic, partition, offset, bytes_max })
        };
        let entries: Result<_, Refusal> = request.entries.into_iter().map(entry).collect();
        Ok(Self {
            request: FetchRequest {
                entries: entries?,
                bytes_min: request.bytes_min,
                wait_ms_max: request.wait_ms_max.min(FETCH_WAIT_MS_MAX),
                bytes_max: limit_or(request.bytes_max, FETCH_BYTES),
            },
            form: form(request.form)?,
        })
    }
}

/// 0 on the wire means "the broker's limit".
fn limit_or(asked: u32, default: u32) -> u32 {
    if asked == 0 { default } else { asked.min(FETCH_BYTES) }
}

impl From<FetchRequest> for v1::FetchRequest {
    /// Asks for batches, the form that the Rust client reads.
    fn from(request: FetchRequest) -> Self {
        let entry = |entry: FetchEntry| v1::FetchEntry {
            topic: entry.topic.to_string(),
            partition: entry.partition.to_i32(),
            offset: entry.offset.get(),
            bytes_max: entry.bytes_max,
        };
        Self {
            entries: request.entries.into_iter().map(entry).collect(),
            bytes_min: request.bytes_min,
            wait_ms_max: request.wait_ms_max,
            bytes_max: request.bytes_max,
            form: v1::Form::Batches.into(),
        }
    }
}

/// The answer to one entry of a fetch, in the form asked for; a subscription answers in the same way.
///
/// `unfolded_left` is what the single records of the whole answer may still take, in bytes: a few compressed bytes can
/// unfold to very many. Once it is used up, what follows is left for the reader's next call.
pub fn fetch_result(
    entry: &FetchEntry,
    result: Result<Fetched, Refusal>,
    form: v1::Form,
    unfolded_left: &mut usize,
) -> v1::FetchResult {
    let mut answer = v1::FetchResult {
        topic: entry.topic.to_string(),
        partition: entry.partition.to_i32(),
        next_offset: entry.offset.get(),
        ..v1::FetchResult::default()
    };
    let fetched = match result {
        Ok(fetched) => fetched,
        Err(refusal) => {
            answer.problem = Some(refusal.into());
            return answer;
        }
    };
    answer.start_offset = fetched.start.get();
    answer.end_offset = fetched.end.get();
    match form {
        v1::Form::Batches => {
            answer.next_offset = end_of(&fetched.batches).unwrap_or(entry.offset).get();
            answer.batches = fetched.batches;
        }
        v1::Form::Records => open_into(&mut answer, entry, fetched.batches, unfolded_left),
    }
    answer
}

/// Behind the last whole batch; headers only are read.
fn end_of(pieces: &[Bytes]) -> Option<Offset> {
    let mut end = None;
    let mut rest = pieces.last()?.as_ref();
    while let Ok(header) = Header::read(rest) {
        let Some(behind) = rest.get(header.total_bytes..) else { break };
        end = Some(header.end_offset());
        rest = behind;
    }
    end
}

/// Opens batches into single records. What stands before a damaged place is answered; at the place itself, the
/// problem is.
fn open_into(
    answer: &mut v1::FetchResult,
    entry: &FetchEntry,
    pieces: Vec<Bytes>,
    unfolded_left: &mut usize,
) {
    let mut scratch = Vec::new();
    for mut rest in pieces {
        // A batch that is cut short ends the piece.
        while let Some(header) = Header::read(&rest).ok().filter(|it| it.total_bytes <= rest.len())
        {
            if *unfolded_left == 0 {
                return;
            }
            let bytes = rest.split_to(header.total_bytes);
            let before = answer.records.len();
            if let Err(error) = open_batch(bytes, entry.offset, &mut scratch, &mut answer.records) {
                match answer.records.last() {
                    // Told when the reader comes back for it.
                    Some(last) => answer.next_offset = last.offset.saturating_add(1),
                    None => answer.problem = Some(damage(entry, &header, &error).into()),
                }
                return;
            }
            answer.next_offset = answer.next_offset.max(header.end_offset().get());
            let opened: usize = answer.records.iter().skip(before).map(record_bytes).sum();
            *unfolded_left = unfolded_left.saturating_sub(opened);
        }
    }
}

/// About what a record takes in an answer.
fn record_bytes(record: &v1::Record) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter().map(|header| header.name.len() + length(&header.value));
    size_of::<v1::Record>() + length(&record.key) + length(&record.value) + headers.sum::<usize>()
}

fn open_batch(
    bytes: Bytes,
    from: Offset,
    scratch: &mut Vec<u8>,
    output: &mut Vec<v1::Record>,
) -> Result<(), BatchError> {
    let batch = Batch::check(bytes)?;
    // The markers of transactions are not for readers.
    if batch.header().control { Ok(()) } else { append_records(&batch, from, scratch, output) }
}

fn damage(entry: &FetchEntry, header: &Header, error: &BatchError) -> Refusal {
    let FetchEntry { topic, partition, .. } = entry;
    let place = header.base_offset;
    Refusal::new(
        Outcome::DamagedData,
        format!("topic {topic}, partition {partition}, batch at offset {place}: {error}"),
    )
    .resume_at(header.end_offset().max(entry.offset.plus(1)))
}

/// Reads the answer to a fetch of `entries`.
///
/// # Errors
/// When it does not answer that request.
pub fn fetch_reply(
    response: v1::FetchResponse,
    entries: &[FetchEntry],
) -> Result<FetchReply, Refusal> {
    check_result_count(response.results.len(), entries.len())?;
    let result = |(result, entry): (v1::FetchResult, &FetchEntry)| {
        if result.topic != entry.topic.as_str() || result.partition != entry.partition.to_i32() {
            return Err(wrong_answer(format_args!(
                "a result for {}/{} where {}/{} was asked for",
                result.topic, result.partition, entry.topic, entry.partition
            )));
        }
        if let Some(problem) = result.problem {
            return Ok(Err(Refusal::from(problem)));
        }
        Ok(Ok(Fetched {
            batches: result.batches,
            start: Offset::new(result.start_offset).map_err(wrong_answer)?,
            end: Offset::new(result.end_offset).map_err(wrong_answer)?,
        }))
    };
    let entries: Result<_, Refusal> =
        response.results.into_iter().zip(entries).map(result).collect();
    Ok(FetchReply { entries: entries? })
}

/// A subscription as it came in.
#[derive(Clone, Debug)]
pub struct IncomingSubscription {
    /// What to follow.
    pub entries: Vec<SubscriptionEntry>,
    /// In which form to answer.
    pub form: v1::Form,
    /// About how many bytes one answer holds at most.
    pub bytes_max: u32,
}

/// One thing to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionEntry {
    /// The topic.
    pub topic: TopicName,
    /// `None`: every partition of it.
    pub partition: Option<Partition>,
    /// Where to begin.
    pub from: Position,
}

impl TryFrom<v1::SubscribeRequest> for IncomingSubscription {
    type Error = Refusal;

    fn try_from(request: v1::SubscribeRequest) -> Result<Self, Refusal> {
        check_entry_count(request.entries.len())?;
        let entry = |entry: v1::SubscribeEntry| {
            // The partition number is checked even where none was given: 0 always passes.
            let (topic, partition) = place(&entry.topic, entry.partition.unwrap_or(0))?;
            let partition = entry.partition.map(|_| partition);
            Ok(SubscriptionEntry { topic, partition, from: position(entry.from)? })
        };
        let entries: Result<_, Refusal> = request.entries.into_iter().map(entry).collect();
        Ok(Self {
            entries: entries?,
            form: form(request.form)?,
            bytes_max: limit_or(request.bytes_max, SUBSCRIBE_BYTES_DEFAULT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Builder, Stamp};
    use crate::compression::Compression;
    use crate::id::{LeaderEpoch, Timestamp};
    use crate::record::Record;

    fn entry(offset: i64) -> FetchEntry {
        FetchEntry {
            topic: "t".parse().unwrap(),
            partition: Partition::new(1).unwrap(),
            offset: Offset::new(offset).unwrap(),
            bytes_max: 100,
        }
    }

    /// Two batches of three records in one piece: offsets 0..6.
    fn two_batches(compression: Compression) -> Bytes {
        let mut bytes = Vec::new();
        for base in [0, 3] {
            let mut builder = Builder::new(compression);
            for value in ["a", "b", "c"] {
                builder.push(&Record::of_value(value), Timestamp(1));
            }
            let base_offset = Offset::new(base).unwrap();
            let stamp = Stamp { base_offset, leader_epoch: LeaderEpoch(0), append_time: None };
            bytes.extend_from_slice(builder.finish(None).stamp(stamp).bytes());
        }
        bytes.into()
    }

    fn fetched(bytes: Bytes) -> Fetched {
        Fetched { batches: vec![bytes], start: Offset::ZERO, end: Offset::new(6).unwrap() }
    }

    #[test]
    fn requests_cross_and_open_limits_are_filled_in() {
        let request = FetchRequest {
            entries: vec![entry(4)],
            bytes_min: 1,
            wait_ms_max: 500,
            bytes_max: 1000,
        };
        let there = v1::FetchRequest::from(request.clone());
        let back = IncomingFetch::try_from(there).unwrap();
        assert_eq!(back.request.entries, request.entries);
        assert_eq!((back.request.bytes_max, back.request.wait_ms_max), (1000, 500));
        assert_eq!(back.form, v1::Form::Batches);

        let open = v1::FetchRequest {
            entries: vec![v1::FetchEntry { topic: "t".to_owned(), ..Default::default() }],
            wait_ms_max: u32::MAX,
            ..Default::default()
        };
        let open = IncomingFetch::try_from(open).unwrap().request;
        assert_eq!((open.bytes_max, open.entries[0].bytes_max), (FETCH_BYTES, FETCH_BYTES));
        assert_eq!(open.wait_ms_max, FETCH_WAIT_MS_MAX);
    }

    #[test]
    fn batches_cross_as_they_lie_and_say_where_to_go_on() {
        let bytes = two_batches(Compression::None);
        let result = fetch_result(
            &entry(1),
            Ok(fetched(bytes.clone())),
            v1::Form::Batches,
            &mut MIB.clone(),
        );
        assert_eq!(result.next_offset, 6);
        let response = v1::FetchResponse { results: vec![result] };
        let reply = fetch_reply(response.clone(), &[entry(1)]).unwrap();
        assert_eq!(reply.entries, [Ok(fetched(bytes.clone()))]);
        let back = &reply.entries[0].as_ref().unwrap().batches[0];
        assert_eq!(back.as_ptr(), bytes.as_ptr());
        assert_eq!(fetch_reply(response, &[]).unwrap_err().outcome, Outcome::Internal);
    }

    #[test]
    fn records_begin_where_they_were_asked_for() {
        for compression in Compression::ALL {
            let result = fetch_result(
                &entry(4),
                Ok(fetched(two_batches(compression))),
                v1::Form::Records,
                &mut MIB.clone(),
            );
            let offsets: Vec<_> = result.records.iter().map(|record| record.offset).collect();
            assert_eq!((offsets, result.next_offset), (vec![4, 5], 6));
        }
    }

    #[test]
    fn damage_is_told_only_after_what_stands_before_it() {
        let mut bytes = two_batches(Compression::None).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let bytes = Bytes::from(bytes);
        let before = fetch_result(
            &entry(0),
            Ok(fetched(bytes.clone())),
            v1::Form::Records,
            &mut MIB.clone(),
        );
        assert_eq!((before.records.len(), before.next_offset), (3, 3));
        assert_eq!(before.problem, None);
        let half = bytes.slice(bytes.len() / 2..);
        let there = fetch_result(
            &entry(3),
            Ok(fetched(half)),
            v1::Form::Records,
            &mut FETCH_BYTES_MAX.clone(),
        );
        let problem = Refusal::from(there.problem.unwrap());
        assert_eq!(problem.outcome, Outcome::DamagedData);
        assert_eq!(problem.resume_at, Some(Offset::new(6).unwrap()));
    }

    #[test]
    fn a_result_for_another_partition_is_a_wrong_answer() {
        let result = fetch_result(
            &entry(0),
            Ok(Fetched::default()),
            v1::Form::Batches,
            &mut FETCH_BYTES_MAX.clone(),
        );
        let other = FetchEntry { partition: Partition::ZERO, ..entry(0) };
        let response = v1::FetchResponse { results: vec![result] };
        assert_eq!(fetch_reply(response, &[other]).unwrap_err().outcome, Outcome::Internal);
    }

    #[test]
    fn subscriptions_are_checked() {
        let follow = v1::SubscribeEntry { topic: "t".to_owned(), ..Default::default() };
        let request = v1::SubscribeRequest { entries: vec![follow], ..Default::default() };
        let incoming = IncomingSubscription::try_from(request).unwrap();
        assert_eq!(incoming.bytes_max, SUBSCRIBE_BYTES_DEFAULT);
        let expected = SubscriptionEntry {
            topic: "t".parse().unwrap(),
            partition: None,
            from: Position::Earliest,
        };
        assert_eq!(incoming.entries, [expected]);
        let wrong = v1::SubscribeRequest { form: 7, ..Default::default() };
        let refusal = IncomingSubscription::try_from(wrong).unwrap_err();
        assert_eq!(refusal.outcome, Outcome::InvalidRequest);
    }

    #[test]
    fn what_unfolds_to_too_much_is_left_for_the_next_call() {
        let bytes = two_batches(Compression::Gzip);
        let mut left = 1;
        let first =
            fetch_result(&entry(0), Ok(fetched(bytes.clone())), v1::Form::Records, &mut left);
        assert_eq!((first.records.len(), first.next_offset, left), (3, 3, 0));
        let none = fetch_result(&entry(3), Ok(fetched(bytes)), v1::Form::Records, &mut left);
        assert_eq!((none.records.len(), none.next_offset), (0, 3));
    }
}
