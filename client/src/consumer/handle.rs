//! Consumer: assign, seek, next.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use protocol::batch::Batch;
use protocol::id::{Offset, Partition, Timestamp, TopicName};
use protocol::outcome::Outcome;
use protocol::record::Header;
use protocol::verbs::{Position, PositionEntry, PositionFound};
use tokio::task::JoinHandle;

use super::fetcher::{self, Shelf};
use super::positions::{Content, Place, damaged};
use crate::config::ConsumerConfig;
use crate::error::{Error, Result};
use crate::retry::persist;
use crate::transport::Transport;

/// A record with its place. Its bytes are shared with the batch it came in, if that was not compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: Partition,
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time: the producer's or, where the topic says so, the broker's.
    pub timestamp: Timestamp,
    /// The key, or null.
    pub key: Option<Bytes>,
    /// The value, or null.
    pub value: Option<Bytes>,
    /// Named extras, in order.
    pub headers: Vec<Header>,
}

/// Reads partitions that its owner assigns to it, reading ahead in the background.
///
/// Records of one partition come in the order of their offsets. The position in a partition moves when a record is
/// taken, never before: what was read ahead and not taken is read again after a restart from [`Self::position`].
///
/// A broker that cannot be reached is tried again for ever, or until [`ConsumerConfig::give_up`].
#[derive(Debug)]
pub struct Consumer {
    transport: Arc<dyn Transport>,
    config: ConsumerConfig,
    shelf: Arc<Shelf>,
    /// Started with the first assignment, ended with the consumer.
    fetcher: Option<AbortOnDrop>,
    /// The batch whose turn it is.
    open: Option<OpenBatch>,
    /// Memory for unfolding, re-used from batch to batch.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A batch that is being handed out.
#[derive(Debug)]
struct OpenBatch {
    place: Place,
    records: VecDeque<ConsumedRecord>,
    /// Where the partition stands when the last of them is taken.
    end: Offset,
}

impl Consumer {
    /// A consumer over this transport, without a partition yet.
    pub fn new(transport: Arc<dyn Transport>, config: ConsumerConfig) -> Self {
        let shelf = Arc::new(Shelf::new(&config));
        Self { transport, config, shelf, fetcher: None, open: None, scratch: Vec::new() }
    }

    /// Reads a partition too, or with `None` all partitions that the topic has now, from this position on. A partition
    /// that is assigned already is sought.
    ///
    /// May be cancelled: nothing was assigned then. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the topic or partition does not exist. Nothing was assigned then.
    pub async fn assign(
        &mut self,
        topic: &TopicName,
        partition: Option<Partition>,
        at: Position,
    ) -> Result<()> {
        let partitions = match partition {
            Some(partition) => vec![partition],
            None => {
                let ConsumerConfig { backoff, give_up, .. } = self.config;
                let transport = &self.transport;
                let describe = || transport.describe_topic(topic.clone());
                let found = persist(backoff, give_up, describe).await?;
                found.partitions.into_iter().map(|it| it.partition).collect()
            }
        };
        let places = partitions
            .into_iter()
            .map(|partition| Place { topic: topic.clone(), partition })
            .collect();
        self.seek_all(places, at).await
    }

    /// Goes on at another position of an assigned partition. What was read ahead there is thrown away.
    ///
    /// May be cancelled: nothing was sought then.
    ///
    /// # Errors
    /// When the partition is not assigned, or the position cannot be found. Nothing was sought then.
    pub async fn seek(
        &mut self,
        topic: &TopicName,
        partition: Partition,
        at: Position,
    ) -> Result<()> {
        if self.position(topic, partition).is_none() {
            return Err(Error::new(
                Outcome::InvalidRequest,
                format!("topic {topic}, partition {partition} is not assigned: assign it first"),
            ));
        }
        self.seek_all(vec![Place { topic: topic.clone(), partition }], at).await
    }

    /// Reads a partition, or with `None` all of the topic, no longer.
    pub fn unassign(&mut self, topic: &TopicName, partition: Option<Partition>) {
        let is_meant = |place: &Place| {
            place.topic == *topic && partition.is_none_or(|meant| place.partition == meant)
        };
        let mut state = self.shelf.state.lock();
        let places: Vec<_> =
            state.positions.places().filter(|place| is_meant(place)).cloned().collect();
        for place in &places {
            state.positions.release(place);
        }
        drop(state);
        self.open.take_if(|open| is_meant(&open.place));
        self.shelf.restart.notify_one();
    }

    /// The next record; waits for one for ever.
    ///
    /// May be cancelled: no record is lost, and the position has not moved.
    ///
    /// # Errors
    /// [`Outcome::DamagedData`] and [`Outcome::OffsetOutOfRange`] where reading cannot go on without a decision:
    /// [`Error::resume_at`] says where it could. [`Outcome::UnknownTopic`] when the topic was deleted. An error is met
    /// again until its partition is sought or unassigned. A broker that refuses to answer at all, or could not be
    /// reached in [`ConsumerConfig::give_up`]: asking again goes on trying.
    pub async fn next(&mut self) -> Result<ConsumedRecord> {
        let mut open = self.fill().await?;
        let record = open.records.pop_front();
        let (place, end) = (open.place.clone(), open.end);
        let taken_to = match (&record, open.records.is_empty()) {
            (Some(record), false) => record.offset.plus(1),
            (Some(_), true) | (None, _) => end,
        };
        self.open = (!open.records.is_empty()).then_some(open);
        self.shelf.state.lock().positions.advance(&place, taken_to);
        record.ok_or_else(|| Error::new(Outcome::Internal, "an opened batch had no record"))
    }

    /// The next records, at least one: what is left of a batch. Waits for ever.
    ///
    /// May be cancelled, as [`Self::next`].
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_batch(&mut self) -> Result<Vec<ConsumedRecord>> {
        let open = self.fill().await?;
        self.shelf.state.lock().positions.advance(&open.place, open.end);
        Ok(open.records.into())
    }

    /// The offset behind the last record taken from a partition; `None` when it is not assigned.
    pub fn position(&self, topic: &TopicName, partition: Partition) -> Option<Offset> {
        let place = Place { topic: topic.clone(), partition };
        self.shelf.state.lock().positions.position(&place)
    }

    /// The ends of all assigned partitions as they are now, `..end`. Who has taken everything before them was at the
    /// end for a moment. May be cancelled.
    ///
    /// # Errors
    /// When a topic was deleted, or the broker could not be reached in time.
    pub async fn ends(&self) -> Result<Vec<(TopicName, Partition, Offset)>> {
        let places: Vec<_> = self.shelf.state.lock().positions.places().cloned().collect();
        let found = self.find(&places, Position::Latest).await?;
        let end = |(place, offset): (Place, Offset)| (place.topic, place.partition, offset);
        Ok(places.into_iter().zip(found).map(end).collect())
    }

    /// Bytes read ahead.
    #[cfg(test)]
    pub(super) fn shelf_bytes(&self) -> usize {
        self.shelf.state.lock().positions.shelf_bytes()
    }

    async fn seek_all(&mut self, places: Vec<Place>, at: Position) -> Result<()> {
        let offsets = match at {
            Position::Offset(offset) => vec![offset; places.len()],
            Position::Earliest | Position::Latest | Position::Time(_) => {
                self.find(&places, at).await?
            }
        };
        {
            let mut state = self.shelf.state.lock();
            for (place, offset) in places.iter().zip(offsets) {
                state.positions.seek(place, offset);
            }
        }
        self.open.take_if(|open| places.contains(&open.place));
        self.shelf.restart.notify_one();
        if self.fetcher.is_none() {
            let shelf = Arc::clone(&self.shelf);
            let fetch = fetcher::run(shelf, Arc::clone(&self.transport), self.config.clone());
            self.fetcher = Some(AbortOnDrop(tokio::spawn(fetch)));
        }
        Ok(())
    }

    async fn find(&self, places: &[Place], at: Position) -> Result<Vec<Offset>> {
        let entries: Vec<_> = places
            .iter()
            .map(|Place { topic, partition }| PositionEntry {
                topic: topic.clone(),
                partition: *partition,
                at,
            })
            .collect();
        let find = || async {
            let found = self.transport.find_positions(entries.clone()).await?;
            found.into_iter().collect::<Result<Vec<PositionFound>>>()
        };
        let found = persist(self.config.backoff, self.config.give_up, find).await?;
        if found.len() != places.len() {
            let message =
                format!("{} positions were found for {} partitions", found.len(), places.len());
            return Err(Error::new(Outcome::Internal, message));
        }
        Ok(found.into_iter().map(|found| found.offset).collect())
    }

    /// The batch whose turn it is, with at least one record; it is put back by who does not take all of it. Nothing
    /// is taken out before the last await, so that cancelling loses nothing.
    async fn fill(&mut self) -> Result<OpenBatch> {
        loop {
            if let Some(open) = self.open.take() {
                return Ok(open);
            }
            // Made before looking, so that nothing that arrives in between is missed.
            let shelf = Arc::clone(&self.shelf);
            let arrived = shelf.arrived.notified();
            if self.open_next()? {
                continue;
            }
            let trouble = {
                let state = shelf.state.lock();
                if state.positions.places().next().is_none() {
                    let message = "no partition is assigned: call `assign` first";
                    return Err(Error::new(Outcome::InvalidRequest, message));
                }
                state.trouble.clone()
            };
            let give_up_at = match trouble {
                Some(trouble) if !trouble.error.may_retry() => return Err(trouble.error),
                Some(trouble) => self.config.give_up.map(|limit| (trouble.since + limit, trouble)),
                None => None,
            };
            match give_up_at {
                None => arrived.await,
                Some((at, trouble)) => {
                    if tokio::time::timeout_at(at, arrived).await.is_err() {
                        return Err(trouble.error);
                    }
                }
            }
        }
    }

    /// Looks at the front of the shelf. True when that led on, false when it is empty.
    fn open_next(&mut self) -> Result<bool> {
        let chunk = self.shelf.state.lock().positions.front().cloned();
        let Some(chunk) = chunk else { return Ok(false) };
        let batch = match chunk.content {
            Content::Batch(batch) => batch,
            // Left where it is: met again until the partition is sought.
            Content::Failure(error) => return Err(error),
        };
        let place = chunk.place;
        let position = self.position(&place.topic, place.partition).unwrap_or(Offset::ZERO);
        let (open, damage) = open_batch(&mut self.scratch, place, &batch, position);
        let mut state = self.shelf.state.lock();
        let made_room = state.positions.pop_front();
        if let Some(error) = damage {
            state.positions.fail_front(open.place.clone(), error);
        }
        if open.records.is_empty() {
            // Markers, or records before the position: nothing for the caller, and nothing to wait for.
            state.positions.advance(&open.place, open.end.max(position));
        } else {
            self.open = Some(open);
        }
        drop(state);
        if made_room {
            self.shelf.room.notify_one();
        }
        Ok(true)
    }
}

/// Opens a batch: its records from `position` on, and what is wrong with the first that is not sound.
fn open_batch(
    scratch: &mut Vec<u8>,
    place: Place,
    batch: &Batch,
    position: Offset,
) -> (OpenBatch, Option<Error>) {
    let end = batch.header().end_offset();
    let mut open = OpenBatch { place, records: VecDeque::new(), end };
    // The markers of transactions are not for readers.
    if batch.header().control {
        return (open, None);
    }
    let mut next = position.max(batch.header().base_offset);
    let fault = match batch.records(scratch) {
        Err(error) => Some(error),
        Ok(records) => {
            let mut fault = None;
            for view in records {
                match view {
                    Ok(view) if view.offset < position => {}
                    Ok(view) => {
                        next = view.offset.plus(1);
                        let record = view.to_record(batch.bytes());
                        open.records.push_back(ConsumedRecord {
                            topic: open.place.topic.clone(),
                            partition: open.place.partition,
                            offset: view.offset,
                            timestamp: view.timestamp,
                            key: record.key,
                            value: record.value,
                            headers: record.headers,
                        });
                    }
                    Err(error) => fault = Some(error),
                }
            }
            fault
        }
    };
    let damage = fault.map(|fault| {
        open.end = next;
        damaged(&open.place, next, &fault, Some(end))
    });
    (open, damage)
}
