//! Partitions of a topic, read in order: what is fetched, where it goes on, what is missing.
//!
//! Fetched bytes become checked batches here; the rows in them are the formats' business.

use std::sync::Arc;
use std::time::Duration;

use client::transport::Transport;
use futures_util::future::BoxFuture;
use protocol::batch::{self, Batch};
use protocol::id::{Offset, Partition, TopicName};
use protocol::limits::MIB;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{FetchEntry, FetchReply, FetchRequest, Position, PositionEntry};

/// Bytes that one fetch asks for, from all partitions together.
const FETCH_BYTES: u32 = MIB as u32;

/// How long a fetch waits for something to read, in milliseconds.
pub const FETCH_WAIT_MS: u32 = 500;

/// How often readers of all partitions of a topic look for new ones.
pub const PARTITIONS_INTERVAL: Duration = Duration::from_secs(2);

/// A reader of some partitions of one topic.
#[derive(Debug)]
pub struct Source {
    transport: Arc<dyn Transport>,
    topic: TopicName,
    places: Vec<Place>,
}

/// Where a partition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition.
    pub partition: Partition,
    /// The next offset wanted.
    pub next: Offset,
    /// Nothing at this offset or behind it is wanted: `next..until`.
    pub until: Option<Offset>,
}

impl Place {
    fn is_done(&self) -> bool {
        self.until.is_some_and(|until| self.next >= until)
    }
}

/// What a fetch has brought, in the order of each partition.
#[derive(Debug)]
pub enum Arrival {
    /// A batch whose records `from..until` are wanted.
    Batch {
        /// Its partition.
        partition: Partition,
        /// The batch; it may begin earlier.
        batch: Batch,
        /// The first offset wanted.
        from: Offset,
        /// The first offset not wanted.
        until: Option<Offset>,
    },
    /// Records that cannot be read any more; the source goes on behind them.
    Gap {
        /// Their partition.
        partition: Partition,
        /// The first one missing.
        from: Offset,
        /// The first one that may be there.
        to: Offset,
        /// Damaged, or out of range.
        cause: Refusal,
    },
    /// The place lies outside the partition and nobody said where to go on: [`Source::seek_earliest`].
    Lost {
        /// The partition.
        partition: Partition,
        /// What the broker said.
        cause: Refusal,
    },
    /// The partition could not be read this time.
    Failed(Refusal),
}

impl Source {
    /// A reader at these places.
    pub fn new(transport: Arc<dyn Transport>, topic: TopicName, places: Vec<Place>) -> Self {
        Self { transport, topic, places }
    }

    /// The topic.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// Where each partition stands.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// True when nothing more is wanted.
    pub fn is_done(&self) -> bool {
        self.places.iter().all(Place::is_done)
    }

    /// Asks for what follows, waiting at most so long for something to read. The answer goes to [`Self::take`];
    /// dropping the future gives the fetch up.
    pub fn fetch(
        &mut self,
        wait_ms_max: u32,
    ) -> BoxFuture<'static, client::error::Result<FetchReply>> {
        // A partition with much to read must not keep the others waiting: each is first in its turn.
        if let Some(middle) = self.places.len().checked_sub(1).map(|last| last.min(1)) {
            self.places.rotate_left(middle);
        }
        let entries = self.places.iter().filter(|place| !place.is_done()).map(|place| FetchEntry {
            topic: self.topic.clone(),
            partition: place.partition,
            offset: place.next,
            bytes_max: FETCH_BYTES,
        });
        let request = FetchRequest {
            entries: entries.collect(),
            bytes_min: 1,
            wait_ms_max,
            bytes_max: FETCH_BYTES,
        };
        let transport = Arc::clone(&self.transport);
        Box::pin(async move { transport.fetch(request).await })
    }

    /// Takes the answer to the last [`Self::fetch`] and moves on.
    pub fn take(&mut self, reply: FetchReply) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        let asked = self.places.iter_mut().filter(|place| !place.is_done());
        for (place, answer) in asked.zip(reply.entries) {
            match answer {
                Ok(fetched) => {
                    for piece in fetched.batches {
                        take_batches(place, piece, &mut arrivals);
                    }
                }
                Err(cause) => take_refusal(place, cause, &mut arrivals),
            }
        }
        arrivals
    }

    /// Adds the partitions that the topic has got since, from their first records on.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    ///
    /// # After an error
    /// The places are as they were.
    pub async fn add_new_partitions(&mut self) -> client::error::Result<()> {
        let described = self.transport.describe_topic(self.topic.clone()).await?;
        for found in described.partitions {
            if self.places.iter().all(|place| place.partition != found.partition) {
                self.places.push(Place {
                    partition: found.partition,
                    next: found.start,
                    until: None,
                });
            }
        }
        Ok(())
    }

    /// Goes on at the first record that a partition still has. Gives where that is.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    ///
    /// # After an error
    /// The place is as it was.
    pub async fn seek_earliest(&mut self, partition: Partition) -> client::error::Result<Offset> {
        let earliest =
            find_position(&*self.transport, &self.topic, partition, Position::Earliest).await?;
        for place in self.places.iter_mut().filter(|place| place.partition == partition) {
            place.next = earliest;
        }
        Ok(earliest)
    }
}

/// Where a position of one partition lies now.
///
/// # Errors
/// What the broker says, or that it cannot be asked.
pub async fn find_position(
    transport: &dyn Transport,
    topic: &TopicName,
    partition: Partition,
    at: Position,
) -> client::error::Result<Offset> {
    let entry = PositionEntry { topic: topic.clone(), partition, at };
    let found = transport.find_positions(vec![entry]).await?.into_iter().next();
    found.unwrap_or_else(|| Err(unanswered())).map(|found| found.offset)
}

/// Where a position lies in each of the first partitions of a topic.
///
/// # Errors
/// What the broker says, or that it cannot be asked.
pub async fn find_positions(
    transport: &dyn Transport,
    topic: &TopicName,
    partitions: u32,
    at: Position,
) -> client::error::Result<Vec<Offset>> {
    let entry = |partition| PositionEntry { topic: topic.clone(), partition, at };
    let found = transport.find_positions(Partition::all(partitions).map(entry).collect()).await?;
    let offsets = found.into_iter().map(|found| found.map(|found| found.offset));
    let offsets = offsets.collect::<client::error::Result<Vec<_>>>()?;
    if offsets.len() == partitions as usize { Ok(offsets) } else { Err(unanswered()) }
}

fn unanswered() -> client::error::Error {
    client::error::Error::new(
        Outcome::Internal,
        "the broker did not answer every position asked for",
    )
}

fn take_batches(place: &mut Place, piece: bytes::Bytes, arrivals: &mut Vec<Arrival>) {
    for batch in batch::split(piece) {
        let batch = match batch {
            Ok(batch) => batch,
            // Damaged on the way: the broker checks what it reads. Fetched again from the same place.
            Err(error) => {
                let message =
                    format!("partition {} at offset {}: {error}", place.partition, place.next);
                arrivals.push(Arrival::Failed(Refusal::new(Outcome::CorruptBatch, message)));
                return;
            }
        };
        let header = batch.header();
        let (from, end) = (place.next, header.end_offset());
        if end <= from || place.is_done() {
            continue;
        }
        place.next = end;
        if !header.control {
            let (partition, until) = (place.partition, place.until);
            arrivals.push(Arrival::Batch { partition, batch, from, until });
        }
    }
}

fn take_refusal(place: &mut Place, cause: Refusal, arrivals: &mut Vec<Arrival>) {
    let (partition, from) = (place.partition, place.next);
    arrivals.push(match (cause.outcome, cause.resume_at) {
        (Outcome::DamagedData | Outcome::OffsetOutOfRange, Some(to)) if to > from => {
            place.next = to;
            Arrival::Gap { partition, from, to, cause }
        }
        (Outcome::OffsetOutOfRange, _) => Arrival::Lost { partition, cause },
        _ => Arrival::Failed(cause),
    });
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may fail")]
mod tests {
    use protocol::batch::{Builder, Stamp};
    use protocol::compression::Compression;
    use protocol::id::{LeaderEpoch, Timestamp};
    use protocol::record::Record;

    use super::*;

    fn place() -> Place {
        Place { partition: Partition::ZERO, next: Offset::new(5).unwrap(), until: None }
    }

    fn stored(base_offset: i64, records: usize) -> bytes::Bytes {
        let mut builder = Builder::new(Compression::None);
        for _ in 0..records {
            builder.push(&Record::of_value("x"), Timestamp(0));
        }
        let stamp = Stamp {
            base_offset: Offset::new(base_offset).unwrap(),
            leader_epoch: LeaderEpoch(0),
            append_time: None,
        };
        builder.finish(None).stamp(stamp).into_bytes()
    }

    #[test]
    fn batches_before_the_place_are_skipped_and_it_moves_behind_the_last() {
        let mut place = place();
        let mut arrivals = Vec::new();
        let piece = [stored(0, 5), stored(5, 2), stored(9, 1)].concat();
        take_batches(&mut place, piece.into(), &mut arrivals);
        assert_eq!(arrivals.len(), 2);
        assert_eq!(place.next.get(), 10);
        place.until = Some(Offset::new(10).unwrap());
        take_batches(&mut place, stored(10, 1), &mut arrivals);
        assert_eq!(arrivals.len(), 2, "what lies behind the end is not wanted");
    }

    #[test]
    fn bytes_damaged_on_the_way_are_fetched_again() {
        let mut place = place();
        let mut arrivals = Vec::new();
        let mut piece = stored(5, 2).to_vec();
        let last = piece.len() - 1;
        piece[last] ^= 1;
        take_batches(&mut place, piece.into(), &mut arrivals);
        assert!(
            matches!(&arrivals[..], [Arrival::Failed(refusal)] if refusal.outcome == Outcome::CorruptBatch)
        );
        assert_eq!(place.next.get(), 5);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_or_told() {
        let damaged = Refusal::new(Outcome::DamagedData, "x");
        let range = Refusal::new(Outcome::OffsetOutOfRange, "x");
        let at = |offset| Offset::new(offset).unwrap();
        for (cause, expected, next) in [
            (damaged.clone().resume_at(at(8)), "Gap", 8),
            (damaged, "Failed", 5),
            (range.clone().resume_at(at(9)), "Gap", 9),
            (range.clone().resume_at(at(3)), "Lost", 5),
            (range, "Lost", 5),
            (Refusal::new(Outcome::Unavailable, "x"), "Failed", 5),
        ] {
            let (mut place, mut arrivals) = (place(), Vec::new());
            take_refusal(&mut place, cause, &mut arrivals);
            assert!(format!("{:?}", arrivals[0]).starts_with(expected), "{arrivals:?}");
            assert_eq!(place.next.get(), next);
        }
    }
}
