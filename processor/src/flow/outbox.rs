//! Batches on their way to the sink: what is sent, what is answered, what is settled.
//!
//! Pure: the task around it carries requests out and answers in. Requests are sent in order and several are under way
//! at once; when one fails, nothing more is sent until all answers are in, then all that is unanswered is sent again,
//! unchanged and in order, so that the broker finds each batch either new or known.
//!
//! ```text
//!   push --> [ unsent ] --next_request--> [ under way ] --answered--> settled, from the front, whole requests only
//!                 ^                              |
//!                 '---------- rewind ------------'   after a failure, when no answer is awaited any more
//! ```

use std::collections::VecDeque;

use protocol::batch::Batch;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::Appended;

use super::checkpoint::{Lane, Mark};

/// Requests that may be unsettled at once. With one batch for each lane in a request this stays inside the five
/// batches that a broker remembers of a producer; where a request has more, a lost answer may cost a scan, no row.
pub const REQUESTS_MAX: usize = 4;

/// Batches on their way; see the head of this file.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Request>,
    failure: Option<Refusal>,
    mark: Mark,
    lanes: Vec<Lane>,
    /// Rows settled since they were last asked for.
    rows: u64,
}

/// A batch for a lane.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where to.
    pub lane: usize,
    /// One checked batch with the sequences of the lane.
    pub batch: Batch,
}

#[derive(Debug)]
struct Request {
    /// Batches, and what the broker said of each.
    entries: Vec<(Entry, Option<Appended>)>,
    stage: Stage,
    /// Where the source stands when all of them are in the sink.
    mark: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unsent,
    UnderWay,
    /// Perhaps not with success: what is unanswered then waits for a rewind.
    Answered,
}

/// What an answer means for the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// All entries are in the sink.
    Fine,
    /// Something failed that may be sent again: wait for the other answers, then [`Outbox::rewind`].
    Failed,
    /// The broker's count differs from ours: only a scan of the sink can tell.
    Disagreed(Refusal),
    /// The topic does not take what the batch holds: its settings are others now, or its clock. Make it again.
    Unfit(Refusal),
}

impl Outbox {
    /// An empty outbox of a task that stands at `mark`, with its lanes filled so far.
    pub fn new(mark: Mark, lanes: Vec<Lane>) -> Self {
        Self { queue: VecDeque::new(), failure: None, mark, lanes, rows: 0 }
    }

    /// May another request be pushed?
    pub fn has_room(&self) -> bool {
        self.queue.len() < REQUESTS_MAX
    }

    /// True when everything pushed is settled.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds what belongs to a stretch of the source that ends at `mark`; perhaps nothing.
    pub fn push(&mut self, entries: Vec<Entry>, mark: Mark) {
        let entries = entries.into_iter().map(|entry| (entry, None)).collect();
        self.queue.push_back(Request { entries, stage: Stage::Unsent, mark });
        self.settle();
    }

    /// The next request to send: its entries in order. `None` when there is none, or a failure is being waited out.
    pub fn next_request(&mut self) -> Option<Vec<Entry>> {
        if self.failure.is_some() {
            return None;
        }
        let to_send = |request: &&mut Request| {
            request.stage == Stage::Unsent && request.unanswered().next().is_some()
        };
        let request = self.queue.iter_mut().find(to_send)?;
        request.stage = Stage::UnderWay;
        Some(request.unanswered().cloned().collect())
    }

    /// Takes the answer to the oldest request under way: one for each entry, or the failure of the whole.
    pub fn answered(
        &mut self,
        answer: Result<Vec<Result<Appended, Refusal>>, Refusal>,
    ) -> Answered {
        let under_way = |request: &Request| request.stage == Stage::UnderWay;
        let at = self.queue.iter().position(under_way).unwrap_or(self.queue.len());
        let Some(request) = self.queue.get_mut(at) else { return Answered::Fine };
        request.stage = Stage::Answered;
        let open = request.entries.iter_mut().filter(|(_, appended)| appended.is_none());
        let mut first_failure = None;
        match answer {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for (entry, appended) in open {
                    let missing = || Refusal::new(Outcome::Internal, "an entry was not answered");
                    match answers.next().unwrap_or_else(|| Err(missing())) {
                        Ok(placed) => *appended = Some(placed),
                        Err(refusal) => {
                            first_failure.get_or_insert((entry.lane, refusal));
                        }
                    }
                }
            }
            Err(refusal) => {
                let lane = open.map(|(entry, _)| entry.lane).next();
                first_failure = lane.map(|lane| (lane, refusal));
            }
        }
        let Some((lane, refusal)) = first_failure else {
            self.settle();
            return Answered::Fine;
        };
        // A batch is out of order as a matter of course when one before it in its lane has failed.
        let follows = self
            .queue
            .iter()
            .take(at)
            .any(|request| request.unanswered().any(|entry| entry.lane == lane));
        if disagrees(refusal.outcome) && !follows {
            return Answered::Disagreed(refusal);
        }
        if matches!(refusal.outcome, Outcome::InvalidTimestamp | Outcome::BatchTooLarge) {
            return Answered::Unfit(refusal);
        }
        self.failure.get_or_insert(refusal);
        Answered::Failed
    }

    /// After a failure, when no answer is awaited any more: everything unanswered will be sent again. Gives the failure.
    pub fn rewind(&mut self) -> Option<Refusal> {
        if self.queue.iter().any(|request| request.stage == Stage::UnderWay) {
            return None;
        }
        let failure = self.failure.take()?;
        for request in &mut self.queue {
            request.stage = Stage::Unsent;
        }
        Some(failure)
    }

    /// How far everything is settled: what a checkpoint may say.
    pub fn settled(&self) -> (&Mark, &[Lane]) {
        (&self.mark, &self.lanes)
    }

    /// Rows that were settled since the last call.
    pub fn take_rows_settled(&mut self) -> u64 {
        std::mem::take(&mut self.rows)
    }

    fn settle(&mut self) {
        while self.queue.front().is_some_and(|request| request.unanswered().next().is_none()) {
            let Some(request) = self.queue.pop_front() else { return };
            self.mark = request.mark;
            for (entry, appended) in request.entries {
                let header = entry.batch.header();
                self.rows += u64::from(header.offset_count());
                if let (Some(lane), Some(producer), Some(appended)) =
                    (self.lanes.get_mut(entry.lane), header.producer, appended)
                {
                    lane.next_sequence = producer.base_sequence.plus(header.offset_count());
                    lane.sink_end = appended.base_offset.plus(header.offset_count().into());
                }
            }
        }
    }
}

impl Request {
    fn unanswered(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|(_, appended)| appended.is_none()).map(|(entry, _)| entry)
    }
}

/// Outcomes by which a broker says that its count of our rows is another one.
fn disagrees(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::OutOfOrderSequence | Outcome::ProducerFenced)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::batch::{Builder, ProducerStamp};
    use protocol::compression::Compression;
    use protocol::id::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
    use protocol::record::Record;

    use super::*;
    use crate::frontier::Frontier;

    fn mark(source_next: i64) -> Mark {
        Mark {
            source_next: Offset::new(source_next).unwrap(),
            frontier: Frontier::START,
            already: vec![0, 0],
        }
    }

    fn entry(lane: usize, sequence: i32, rows: usize) -> Entry {
        let mut builder = Builder::new(Compression::None);
        for _ in 0..rows {
            builder.push(&Record::of_value("x"), Timestamp(0));
        }
        let base_sequence = Sequence::new(sequence).unwrap();
        let producer = ProducerStamp { id: ProducerId(1), epoch: ProducerEpoch(0), base_sequence };
        Entry { lane, batch: builder.finish(Some(producer)) }
    }

    fn outbox() -> Outbox {
        let lane = Lane { next_sequence: Sequence::ZERO, sink_end: Offset::ZERO };
        Outbox::new(mark(0), vec![lane; 2])
    }

    fn appended(base_offset: i64) -> Result<Appended, Refusal> {
        let base_offset = Offset::new(base_offset).unwrap();
        Ok(Appended { base_offset, append_time: None, repeated: false })
    }

    fn refused(outcome: Outcome) -> Result<Appended, Refusal> {
        Err(Refusal::new(outcome, "as the test asks"))
    }

    #[test]
    fn a_request_is_settled_whole_and_in_order() {
        let mut outbox = outbox();
        outbox.push(vec![entry(0, 0, 2), entry(1, 0, 1)], mark(10));
        outbox.push(vec![entry(0, 2, 3)], mark(20));
        assert_eq!(outbox.next_request().unwrap().len(), 2);
        assert_eq!(outbox.next_request().unwrap().len(), 1);
        assert!(outbox.next_request().is_none());
        assert_eq!(
            outbox.answered(Ok(vec![appended(5), refused(Outcome::Busy)])),
            Answered::Failed
        );
        assert_eq!(outbox.answered(Ok(vec![appended(7)])), Answered::Fine);
        assert_eq!(outbox.settled().0, &mark(0), "lane 1 is not there yet");
        assert_eq!(outbox.rewind().unwrap().outcome, Outcome::Busy);
        let again = outbox.next_request().unwrap();
        assert_eq!(again.iter().map(|entry| entry.lane).collect::<Vec<_>>(), [1]);
        assert_eq!(outbox.answered(Ok(vec![appended(0)])), Answered::Fine);
        let (settled, lanes) = outbox.settled();
        assert_eq!(settled, &mark(20));
        let ends = lanes.iter().map(|lane| (lane.next_sequence.get(), lane.sink_end.get()));
        assert_eq!(ends.collect::<Vec<_>>(), [(5, 10), (1, 1)]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_stretch_without_rows_is_settled_at_once() {
        let mut outbox = outbox();
        outbox.push(vec![], mark(10));
        assert_eq!(outbox.settled().0, &mark(10));
        outbox.push(vec![entry(0, 0, 1)], mark(20));
        outbox.push(vec![], mark(30));
        assert_eq!(outbox.settled().0, &mark(10));
        outbox.next_request().unwrap();
        outbox.answered(Ok(vec![appended(0)]));
        assert_eq!(outbox.settled().0, &mark(30));
    }

    #[test]
    fn out_of_order_behind_a_failure_is_no_disagreement() {
        let mut outbox = outbox();
        outbox.push(vec![entry(0, 0, 1)], mark(10));
        outbox.push(vec![entry(0, 1, 1)], mark(20));
        outbox.next_request().unwrap();
        outbox.next_request().unwrap();
        let lost = Refusal::new(Outcome::Disconnected, "lost");
        assert_eq!(outbox.answered(Err(lost.clone())), Answered::Failed);
        assert!(outbox.rewind().is_none(), "an answer is still awaited");
        let order = refused(Outcome::OutOfOrderSequence);
        assert_eq!(outbox.answered(Ok(vec![order])), Answered::Failed);
        assert_eq!(outbox.rewind(), Some(lost));
        outbox.next_request().unwrap();
        let order = refused(Outcome::OutOfOrderSequence);
        assert!(matches!(outbox.answered(Ok(vec![order])), Answered::Disagreed(_)));
    }

    #[test]
    fn what_the_topic_does_not_take_is_to_be_made_again() {
        for outcome in [Outcome::InvalidTimestamp, Outcome::BatchTooLarge] {
            let mut outbox = outbox();
            outbox.push(vec![entry(0, 0, 1)], mark(10));
            outbox.next_request().unwrap();
            assert!(matches!(outbox.answered(Ok(vec![refused(outcome)])), Answered::Unfit(_)));
            assert_eq!(outbox.settled().0, &mark(0));
        }
    }

    proptest! {
        /// Whatever fails, in the end all is settled, each batch was taken once, and in the order of its lane.
        #[test]
        fn every_batch_arrives_once_and_in_order(
            requests in prop::collection::vec(prop::collection::vec((0_usize..2, 1_usize..4), 0..3), 0..10),
            faults in prop::collection::vec(0_u8..4, 0..40),
        ) {
            let mut faults = faults.into_iter();
            let mut outbox = outbox();
            let mut made = [0_i32; 2];
            // The broker: the next sequence of each lane, and a memory of what it has taken.
            let mut taken = [0_i32; 2];
            let mut pending = VecDeque::new();
            let mut requests = requests.into_iter().enumerate().peekable();
            while requests.peek().is_some() || !outbox.is_empty() {
                while outbox.has_room() && let Some((index, entries)) = requests.next() {
                    let entries = entries.into_iter().map(|(lane, rows)| {
                        let entry = entry(lane, made[lane], rows);
                        made[lane] += i32::try_from(rows).unwrap();
                        entry
                    });
                    let entries = entries.collect();
                    outbox.push(entries, mark(i64::try_from(index).unwrap() + 1));
                }
                while let Some(entries) = outbox.next_request() {
                    let fault = faults.next();
                    let lost_before = fault == Some(0);
                    let answers: Vec<_> = entries.iter().map(|entry| {
                        if lost_before {
                            return refused(Outcome::Disconnected);
                        }
                        let header = entry.batch.header();
                        let sequence = header.producer.unwrap().base_sequence.get();
                        let taken = &mut taken[entry.lane];
                        if sequence > *taken {
                            refused(Outcome::OutOfOrderSequence)
                        } else {
                            *taken = (*taken).max(sequence + header.record_count);
                            appended(sequence.into())
                        }
                    }).collect();
                    let lost_after = fault == Some(1);
                    pending.push_back(if lost_before || lost_after {
                        Err(Refusal::new(Outcome::Disconnected, "lost"))
                    } else {
                        Ok(answers)
                    });
                }
                while let Some(answer) = pending.pop_front() {
                    prop_assert!(!matches!(outbox.answered(answer), Answered::Disagreed(_)));
                }
                outbox.rewind();
            }
            prop_assert_eq!(taken, made);
            let (_, lanes) = outbox.settled();
            let sequences: Vec<_> = lanes.iter().map(|lane| lane.next_sequence.get()).collect();
            prop_assert_eq!(&sequences[..], &made[..]);
        }
    }
}
