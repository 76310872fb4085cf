//! An idempotent producer of the simulation: a window of at most five batches, sent again in order until each is
//! answered, through all lives of the broker.

use std::collections::VecDeque;
use std::time::Duration;

use broker::produce::Submitted;
use protocol::batch::Batch;
use protocol::id::{Partition, ProducerId};
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{Appended, ProduceEntry, ProduceRequest};

use crate::life::Life;
use crate::oracle::{Oracle, Place};
use crate::random::Random;
use crate::reading::number;
use crate::record::{BATCH_RECORDS_MAX, RecordId, batch};

/// Batches without an answer: as many as a log remembers of each producer.
const WINDOW: usize = 5;

#[derive(Debug)]
pub(crate) struct Producer {
    id: u64,
    place: Place,
    identity: Option<ProducerId>,
    next: u64,
    /// Sent, or to be sent, and not answered with success: in order.
    open: VecDeque<Open>,
    random: Random,
}

#[derive(Clone, Debug)]
struct Open {
    first: RecordId,
    count: u64,
    batch: Batch,
}

impl Producer {
    pub(crate) fn new(id: u64, place: Place, random: Random) -> Self {
        Self { id, place, identity: None, next: 0, open: VecDeque::new(), random }
    }

    /// The broker has started, and was held against the oracle. What it lost rightly is written anew; all else that has
    /// no answer is sent again as it was.
    pub(crate) fn meet(&mut self, oracle: &Oracle, may_have_lost: bool) {
        let there = oracle.count_of(self.place, self.id);
        if may_have_lost {
            self.open.clear();
            self.next = there;
            return;
        }
        let mut boundaries = self.open.iter().map(|open| open.first.number).chain([self.next]);
        assert!(boundaries.any(|end| end == there), "half a batch: {there} records of {self:?}");
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Produces until the life ends, and then until everything is answered.
    pub(crate) async fn run(&mut self, life: &Life<'_>) {
        while life.knows(self.place) {
            if life.is_ending() && self.open.is_empty() {
                return;
            }
            let went_well = self.round(life).await;
            let pause = if went_well { self.random.below(30) } else { self.random.between(5, 40) };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn round(&mut self, life: &Life<'_>) -> bool {
        let Some(identity) = self.identify(life).await else { return false };
        if !life.is_ending() {
            let wanted = usize::try_from(self.random.between(1, WINDOW as u64 + 1)).unwrap();
            while self.open.len() < wanted {
                let first = RecordId { producer: self.id, number: self.next };
                let count = self.random.between(1, BATCH_RECORDS_MAX + 1);
                self.open.push_back(Open { first, count, batch: batch(first, count, identity) });
                self.next += count;
            }
        }
        let submitted = self.submit(life).await;
        let mut answers = Vec::new();
        for submitted in submitted {
            answers.extend(submitted.reply().await.entries);
        }
        self.settle(life, answers)
    }

    async fn identify(&mut self, life: &Life<'_>) -> Option<ProducerId> {
        if self.identity.is_none() {
            match life.service.init_producer().await {
                Ok(identity) => {
                    life.trace(&format!("producer {} is {}", self.id, identity.id));
                    life.oracle().identity(identity.id);
                    self.identity = Some(identity.id);
                }
                Err(refusal) => life.allow(&refusal, &[]),
            }
        }
        self.identity
    }

    /// Gives everything open its place in line, in order, in requests of some batches.
    async fn submit(&mut self, life: &Life<'_>) -> Vec<Submitted> {
        let entries: Vec<_> = self.open.iter().map(|open| self.entry(life, open)).collect();
        let mut submitted = Vec::new();
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let size = usize::try_from(self.random.between(1, 4)).unwrap();
            let request = ProduceRequest { entries: entries.by_ref().take(size).collect() };
            submitted.push(life.service.produce(request).await);
            if self.random.one_in(4) {
                let pause = Duration::from_millis(self.random.below(4));
                tokio::time::sleep(pause).await;
            }
        }
        submitted
    }

    fn entry(&self, life: &Life<'_>, open: &Open) -> ProduceEntry {
        ProduceEntry {
            topic: life.plan.topics[self.place.topic].name.clone(),
            partition: Partition::new(self.place.partition.into()).unwrap(),
            batch: open.batch.clone(),
        }
    }

    /// Takes the answers, which stand for what is open, in order. True: all were successes.
    fn settle(&mut self, life: &Life<'_>, answers: Vec<Result<Appended, Refusal>>) -> bool {
        assert_eq!(answers.len(), self.open.len(), "one answer for each batch");
        let mut first_refusal: Option<Refusal> = None;
        for answer in answers {
            match (answer, &first_refusal) {
                (Ok(appended), None) => {
                    let open = self.open.pop_front().unwrap();
                    let base = number(appended.base_offset);
                    let (first, count) = (open.first, open.count);
                    life.trace(&format!(
                        "{:?} acknowledges {first:?} and {count} in all at {base}, repeated: {}",
                        self.place, appended.repeated
                    ));
                    life.oracle().acknowledged(self.place, base, (first, count), life.now_ms());
                }
                (Ok(appended), Some(refusal)) => {
                    panic!("{:?}: {appended:?} behind a batch refused by {refusal}", self.place)
                }
                (Err(refusal), None) => {
                    life.trace(&format!("{:?} refuses {}: {refusal}", self.place, self.id));
                    life.allow(&refusal, &[]);
                    first_refusal = Some(refusal);
                }
                (Err(refusal), Some(_)) => life.allow(&refusal, &[Outcome::OutOfOrderSequence]),
            }
        }
        first_refusal.is_none()
    }
}
