//! Producer: reserve room, find the partition, add to a batch; flush and close.

use std::sync::Arc;

use parking_lot::MutexGuard;
use protocol::compression::Compression;
use protocol::id::{Partition, TopicName};
use protocol::limits::{BATCH_BYTES_MAX, HEADERS_PER_RECORD_MAX};
use protocol::outcome::Outcome;
use protocol::record::{Record, encoded_bytes_max};
use tokio::sync::{SemaphorePermit, TryAcquireError};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::accumulator::{Pushed, Weighed};
use super::sender::Sender;
use super::shared::{Shared, State};
use super::ticket::{Ticket, Tickets};
use crate::clock;
use crate::config::{BUFFER_BYTES_MIN, ProducerConfig};
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::transport::Transport;

/// Largest record, in bytes as encoded: the largest batch, with room for its header and for what a codec adds to bytes
/// that do not shrink (a sixth at most).
const RECORD_BYTES_MAX: usize = BATCH_BYTES_MAX / 4 * 3;

/// Many records are handed over in pieces of so many at most: one look at the clock, one lock.
const CHUNK_RECORDS: usize = 256;

/// And of so many bytes at most, but for a single record: no more than the smallest buffer.
const CHUNK_BYTES: usize = BUFFER_BYTES_MIN;

/// Sends records. Cloning it is cheap; all clones are one producer.
///
/// A record is acknowledged when it is as durable as its topic asks. Records handed over one after the other to one
/// partition are stored in that order, each once, however often they have to be sent ([`ProducerConfig::idempotent`]).
/// A batch that fails for good (refused, or not acknowledged in time) fails its records only: those behind it go on,
/// under a new identity, in their order. So after a failure the log may hold later records without the failed ones;
/// who cannot bear that awaits each ticket before the next record.
///
/// When the last clone is dropped, what was handed over is still sent, for as long as the runtime lives.
#[derive(Clone, Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    _last: Arc<CloseOnDrop>,
}

#[derive(Debug)]
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Producer {
    /// A producer over this transport. Nothing is asked of the broker yet.
    ///
    /// # Panics
    /// Outside of a tokio runtime, which its sender needs.
    pub fn new(transport: Arc<dyn Transport>, config: ProducerConfig) -> Self {
        let metadata =
            Metadata::new(Arc::clone(&transport), config.backoff, config.delivery_timeout);
        let shared = Arc::new(Shared::new(config, metadata));
        tokio::spawn(Sender::new(Arc::clone(&shared), transport).run());
        Self { _last: Arc::new(CloseOnDrop(Arc::clone(&shared))), shared }
    }

    /// Hands a record over: to this partition, or without one to where its key belongs; records without a key go
    /// together, to another partition with each batch.
    ///
    /// Waits for room in the buffer, and for the number of partitions of a topic that is new to the producer; not for
    /// the broker to store the record: that is what the ticket is for. May be cancelled: nothing was handed over then.
    ///
    /// # Errors
    /// When the record cannot be sent at all (too large, too many headers, no such topic), or the producer is closed.
    ///
    /// # After an error
    /// The record was not handed over and will not be written.
    pub async fn send(
        &self,
        topic: &TopicName,
        partition: Option<Partition>,
        record: Record,
    ) -> Result<Ticket> {
        // A task that only sends gives way to others now and then, also where the sender has no thread of its own.
        consume_budget().await;
        let charge = self.weigh(topic, &record)?;
        loop {
            let room = self.room(charge).await?;
            let time = record.timestamp.unwrap_or_else(clock::now);
            let pushed = self.open_state()?.accumulator.push(
                topic,
                partition,
                &record,
                charge,
                time,
                Instant::now,
            );
            let Some(Pushed { ticket, wake }) = pushed else {
                drop(room);
                self.learn(topic).await?;
                continue;
            };
            // Given back when the batch is settled.
            room.forget();
            if wake {
                self.shared.wake.notify_one();
            }
            return Ok(ticket);
        }
    }

    /// Hands many records over, each as [`Self::send`] does, in their order: much cheaper where there are many small
    /// ones. Those that have no time get the same one, a few hundred at a time.
    ///
    /// Waits as [`Self::send`] does. May be cancelled: some of the first records may have been handed over then, and
    /// no other.
    ///
    /// ```
    /// use protocol::record::Record;
    /// use thalweg_client::fake::FakeBroker;
    /// use thalweg_client::producer::{Producer, ProducerConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = FakeBroker::with_topic("ratings", 3);
    /// let producer = Producer::new(broker.clone(), ProducerConfig::default());
    /// let topic = "ratings".parse()?;
    /// let ratings = (0..1000).map(|user| Record::new(format!("user {user}"), "5 stars"));
    /// producer.send_all(&topic, None, ratings).await?.await?;
    /// assert_eq!(broker.records(&topic).len(), 1000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::send`].
    ///
    /// # After an error
    /// It was met by one record, which was not handed over, nor was any behind it. Of those before it the first ones
    /// may have been: [`Self::flush`] waits for them and tells what became of them.
    pub async fn send_all(
        &self,
        topic: &TopicName,
        partition: Option<Partition>,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Tickets> {
        let mut records = records.into_iter();
        let mut tickets = Tickets::default();
        let mut chunk = Vec::new();
        // The first record that the last chunk had no room for.
        let mut next = None;
        loop {
            let mut bytes = 0;
            while chunk.len() < CHUNK_RECORDS
                && let Some(record) = next.take().or_else(|| records.next())
            {
                let charge = self.weigh(topic, &record)?;
                if bytes > 0 && bytes + charge > CHUNK_BYTES {
                    next = Some(record);
                    break;
                }
                bytes += charge;
                chunk.push(Weighed { record, charge });
            }
            if chunk.is_empty() {
                return Ok(tickets);
            }
            consume_budget().await;
            self.push_all(topic, partition, &chunk, bytes, &mut tickets).await?;
            chunk.clear();
        }
    }

    /// Sends what is gathered without waiting for its linger, and waits until everything handed over before is settled.
    /// May be cancelled; sending goes on.
    ///
    /// # Errors
    /// The first failure of any record since the last flush, also of those whose tickets were dropped.
    pub async fn flush(&self) -> Result<()> {
        let behind = {
            let mut state = self.shared.state.lock();
            state.accumulator.expedite();
            state.accumulator.next_serial()
        };
        self.shared.wake.notify_one();
        let mut settled = self.shared.settled.subscribe();
        let waited = settled.wait_for(|below| *below >= behind).await.map(drop);
        // The sender of the watch lives in `shared`, which we hold, so waiting cannot fail.
        debug_assert!(waited.is_ok());
        match self.shared.state.lock().failure.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Takes no further record, and flushes. May be cancelled; sending goes on. Closing twice does no harm.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub async fn close(&self) -> Result<()> {
        self.shared.close();
        self.flush().await
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn push_all(
        &self,
        topic: &TopicName,
        partition: Option<Partition>,
        records: &[Weighed],
        bytes: usize,
        tickets: &mut Tickets,
    ) -> Result<()> {
        loop {
            let room = self.room(bytes).await?;
            let time = clock::now();
            let pushed = self.open_state()?.accumulator.push_all(
                topic,
                partition,
                records,
                time,
                Instant::now,
                tickets,
            );
            let Some(wake) = pushed else {
                drop(room);
                self.learn(topic).await?;
                continue;
            };
            room.forget();
            if wake {
                self.shared.wake.notify_one();
            }
            return Ok(());
        }
    }

    /// The state, as long as the producer takes records.
    fn open_state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.shared.state.lock();
        if state.closed { Err(closed()) } else { Ok(state) }
    }

    /// The bytes of the buffer that a record takes.
    fn weigh(&self, topic: &TopicName, record: &Record) -> Result<usize> {
        let headers = record.headers.len();
        if headers > HEADERS_PER_RECORD_MAX {
            return Err(Error::new(
                Outcome::InvalidRecord,
                format!(
                    "a record for topic {topic} has {headers} headers; at most {HEADERS_PER_RECORD_MAX} are allowed"
                ),
            ));
        }
        let bytes = encoded_bytes_max(record);
        let most = match self.shared.config.compression {
            Compression::None => BATCH_BYTES_MAX - protocol::batch::HEADER_BYTES,
            Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
                RECORD_BYTES_MAX
            }
        };
        let most = most.min(self.shared.config.buffer_bytes);
        if bytes > most {
            return Err(Error::new(
                Outcome::BatchTooLarge,
                format!(
                    "a record for topic {topic} takes {bytes} bytes; the producer's buffer and the largest batch allow {most}"
                ),
            ));
        }
        Ok(bytes)
    }

    /// Room in the buffer for so many bytes. Nobody overtakes those who wait.
    async fn room(&self, bytes: usize) -> Result<SemaphorePermit<'_>> {
        // Records and chunks are no larger than the buffer, whose bounds are far below that.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.shared.memory.try_acquire_many(bytes) {
            Ok(room) => Ok(room),
            Err(TryAcquireError::Closed) => Err(closed()),
            Err(TryAcquireError::NoPermits) => {
                let _hungry = Hungry::new(&self.shared);
                self.shared.memory.acquire_many(bytes).await.map_err(|_| closed())
            }
        }
    }

    /// Asks how many partitions a topic has, unless another has done so meanwhile.
    async fn learn(&self, topic: &TopicName) -> Result<()> {
        let _asking = self.shared.asking.lock().await;
        if self.shared.state.lock().accumulator.topics_mut().is_known(topic) {
            return Ok(());
        }
        let partitions = self.shared.metadata.partition_count(topic).await?;
        let mut state = self.shared.state.lock();
        state.accumulator.topics_mut().learn(topic, partitions, Instant::now());
        Ok(())
    }
}

/// Somebody who waits for room, for as long as this lives: what is gathered is then sent without its linger.
struct Hungry<'a>(&'a Shared);

impl<'a> Hungry<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.state.lock().accumulator.hungry();
        shared.wake.notify_one();
        Self(shared)
    }
}

impl Drop for Hungry<'_> {
    fn drop(&mut self) {
        self.0.state.lock().accumulator.fed();
    }
}

fn closed() -> Error {
    Error::new(Outcome::InvalidRequest, "the producer is closed and takes no further record")
}
