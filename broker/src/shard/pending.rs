//! Answers that wait for durability. **The only place that may say yes to a producer.**
//!
//! A [`Ticket`] is the producer's end of the line. Anybody may refuse it; only [`Pending::confirm`] can turn it into a
//! success, and only from a durable end that covers it. Answers leave in the order of the appends.

use std::collections::VecDeque;

use protocol::id::Offset;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::Appended;
use tokio::sync::oneshot;

use crate::admission::Permit;
use crate::error;

/// A producer's claim to exactly one answer. Dropping it unanswered answers that the outcome is unknown.
#[derive(Debug)]
pub(crate) struct Ticket {
    answer: oneshot::Sender<Result<Appended, Refusal>>,
    /// The batch's bytes, given back with the answer.
    _permit: Permit,
}

/// The answer to come.
#[derive(Debug)]
pub(crate) struct Answer(oneshot::Receiver<Result<Appended, Refusal>>);

impl Ticket {
    /// A ticket and the answer it will give.
    pub(crate) fn new(permit: Permit) -> (Self, Answer) {
        let (answer, receiver) = oneshot::channel();
        (Self { answer, _permit: permit }, Answer(receiver))
    }

    /// Says no. A producer that no longer listens does not hear it.
    pub(crate) fn refuse(self, refusal: Refusal) {
        let _ = self.answer.send(Err(refusal));
    }

    /// Says yes.
    fn confirm(self, appended: Appended) {
        let _ = self.answer.send(Ok(appended));
    }
}

impl Answer {
    /// Waits for the answer. May be cancelled: the append goes on, only its answer is lost.
    pub(crate) async fn wait(self) -> Result<Appended, Refusal> {
        self.0.await.unwrap_or_else(|_| {
            // The shard ended between taking the batch and answering it.
            let Refusal { message, .. } = error::stopping();
            Err(Refusal::new(Outcome::StorageFailed, message))
        })
    }
}

/// What one confirmation has acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) batches: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) repeated: u64,
}

/// The tickets of one partition, in the order of their appends.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// The answer is yes when `..durable_end` covers `..end`.
    end: Offset,
    appended: Appended,
    records: u64,
    bytes: u64,
    ticket: Ticket,
}

impl Pending {
    /// Puts a ticket at the end of the line. It waits for `..end` to be durable.
    pub(crate) fn wait(
        &mut self,
        ticket: Ticket,
        end: Offset,
        appended: Appended,
        size: (u64, u64),
    ) {
        let (records, bytes) = size;
        self.waiting.push_back(Waiting { end, appended, records, bytes, ticket });
    }

    /// Says yes to everybody at the head of the line whose records lie in `..durable_end`.
    pub(crate) fn confirm(&mut self, durable_end: Offset) -> Confirmed {
        let mut confirmed = Confirmed::default();
        while let Some(first) = self.waiting.pop_front_if(|first| first.end <= durable_end) {
            if first.appended.repeated {
                confirmed.repeated += 1;
            } else {
                confirmed.batches += 1;
                confirmed.records += first.records;
                confirmed.bytes += first.bytes;
            }
            first.ticket.confirm(first.appended);
        }
        confirmed
    }

    /// Says no to everybody whose records lie at or behind `written_end`: they are not in the log.
    pub(crate) fn refuse_from(&mut self, written_end: Offset, refusal: &Refusal) -> u64 {
        let mut refused = 0;
        let mut kept = VecDeque::with_capacity(self.waiting.len());
        for waiting in self.waiting.drain(..) {
            if waiting.end <= written_end {
                kept.push_back(waiting);
            } else {
                refused += 1;
                waiting.ticket.refuse(refusal.clone());
            }
        }
        self.waiting = kept;
        refused
    }

    /// Says no to everybody.
    pub(crate) fn refuse_all(&mut self, refusal: &Refusal) -> u64 {
        self.refuse_from(Offset::ZERO, refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admission;

    async fn line(ends: &[i64]) -> (Pending, Vec<Answer>) {
        let admission = Admission::new(1 << 20, 1 << 20);
        let mut pending = Pending::default();
        let mut answers = Vec::new();
        for end in ends {
            let (ticket, answer) = Ticket::new(admission.request(1).write(1).await.unwrap());
            let end = Offset::new(*end).unwrap();
            let appended = Appended { base_offset: end, append_time: None, repeated: false };
            pending.wait(ticket, end, appended, (1, 10));
            answers.push(answer);
        }
        (pending, answers)
    }

    #[tokio::test]
    async fn only_what_is_durable_is_confirmed_and_in_order() {
        let (mut pending, mut answers) = line(&[3, 5, 9]).await;
        let confirmed = pending.confirm(Offset::new(8).unwrap());
        assert_eq!((confirmed.batches, confirmed.records, confirmed.bytes), (2, 2, 20));
        let last = answers.pop().unwrap();
        for answer in answers {
            assert!(answer.wait().await.is_ok());
        }
        drop(pending);
        let lost = last.wait().await.unwrap_err();
        assert!(
            lost.outcome.may_have_happened(),
            "a lost ticket must not claim that nothing happened"
        );
    }

    #[tokio::test]
    async fn a_repeat_waits_behind_those_before_it() {
        // A repeat of an old batch needs only an old end, but answers keep the order of requests.
        let (mut pending, answers) = line(&[9, 3]).await;
        assert_eq!(pending.confirm(Offset::new(5).unwrap()), Confirmed::default());
        assert_eq!(pending.confirm(Offset::new(9).unwrap()).batches, 2);
        drop(answers);
    }

    #[tokio::test]
    async fn what_was_not_written_is_refused_and_the_rest_still_waits() {
        let (mut pending, mut answers) = line(&[3, 5]).await;
        let full = Refusal::new(Outcome::DiskFull, "full");
        assert_eq!(pending.refuse_from(Offset::new(3).unwrap(), &full), 1);
        assert_eq!(answers.pop().unwrap().wait().await, Err(full));
        pending.confirm(Offset::new(3).unwrap());
        assert!(answers.pop().unwrap().wait().await.is_ok());
    }
}
