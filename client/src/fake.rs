//! A broker in memory, for your own tests: topics, idempotent appends, long fetches, and faults on demand.
//!
//! It keeps a real broker's promises (order, one copy of each batch of an idempotent producer, offsets without gaps) and
//! breaks a connection in the two ways that matter: before and after the work was done. Which faults are fair:
//!
//! | fault | what the caller sees | what happened |
//! |---|---|---|
//! | [`Fault::DropBefore`] | `DISCONNECTED`, for all that waits | nothing |
//! | [`Fault::DropAfter`] | `DISCONNECTED`, for all that waits | it was done |
//! | [`Fault::Refuse`] | this outcome | nothing |
//!
//! Left out: durability, settings (they are kept and shown, not obeyed), retention; [`FakeBroker::trim`],
//! [`FakeBroker::cut`] and [`FakeBroker::damage`] do by hand what time, a loss of power and disks do.
//!
//! ```
//! use protocol::outcome::Outcome;
//! use protocol::record::Record;
//! use thalweg_client::fake::{Call, FakeBroker, Fault};
//! use thalweg_client::producer::{Producer, ProducerConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = FakeBroker::with_topic("ratings", 1);
//! broker.fail(Call::Produce, Fault::DropAfter, 1);
//! broker.fail(Call::Produce, Fault::Refuse(Outcome::DiskFull), 2);
//!
//! let producer = Producer::new(broker.clone(), ProducerConfig::default());
//! let topic = "ratings".parse()?;
//! producer.send(&topic, None, Record::of_value("once")).await?.await?;
//! assert_eq!(broker.records(&topic).len(), 1);
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use protocol::batch::Batch;
use protocol::id::{Offset, Partition, ProducerEpoch, ProducerId, TopicName};
use protocol::outcome::{Outcome, Refusal};
use protocol::record::Record;
use protocol::verbs::{
    BrokerDescription, FetchReply, FetchRequest, Fetched, PositionEntry, PositionFound,
    ProduceReply, ProduceRequest, ProducerIdentity, TopicChange, TopicDescription, TopicSpec,
};
use tokio::sync::watch;
use tokio::time::Instant;

use self::log::Log;
pub use self::plan::{Call, Fault};
use self::state::{State, numbered, refused};
use crate::error::{Error, Result};
use crate::transport::{PendingReply, Transport};

mod log;
mod plan;
mod state;

/// A broker in memory. See the head of the file.
#[derive(Debug)]
pub struct FakeBroker {
    hub: Arc<Hub>,
}

/// What answers that are still to come share with the broker.
#[derive(Debug)]
struct Hub {
    /// Never held across an await.
    state: Mutex<State>,
    /// Counts changes that readers and waiting answers may wait for.
    changed: watch::Sender<u64>,
}

impl FakeBroker {
    /// A broker without topics.
    pub fn new() -> Arc<Self> {
        let changed = watch::Sender::new(0);
        Arc::new(Self { hub: Arc::new(Hub { state: Mutex::default(), changed }) })
    }

    /// A broker with one topic.
    ///
    /// # Panics
    /// When `topic` is not a valid name: this is for tests.
    pub fn with_topic(topic: &str, partitions: u32) -> Arc<Self> {
        let broker = Self::new();
        let name = topic.parse().expect("the caller gives a valid topic name");
        let spec = TopicSpec { name, partitions: Some(partitions), settings: BTreeMap::new() };
        broker.hub.state.lock().create(spec).expect("a new broker has no topic of this name");
        broker
    }

    /// Lets the next `times` calls of this kind fail so, behind the faults that are planned already.
    pub fn fail(&self, call: Call, fault: Fault, times: usize) {
        self.hub.state.lock().faults.entry(call).or_default().extend(vec![fault; times]);
    }

    /// Forgets all planned faults.
    pub fn heal(&self) {
        self.hub.state.lock().faults.clear();
    }

    /// Calls of this kind so far, failed ones included.
    pub fn calls(&self, call: Call) -> usize {
        self.hub.state.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// Keeps the answers to appends back (the appends are done), or lets them go.
    pub fn hold_answers(&self, hold: bool) {
        self.hub.state.lock().holds_answers = hold;
        self.hub.note_change();
    }

    /// All records of a topic: partition, offset, record; partition by partition, in order. Empty without the topic.
    pub fn records(&self, topic: &TopicName) -> Vec<(Partition, Offset, Record)> {
        let state = self.hub.state.lock();
        let Some(topic) = state.topics.get(topic) else { return Vec::new() };
        let mut records = Vec::new();
        let mut scratch = Vec::new();
        for (partition, log) in numbered(&topic.partitions) {
            for batch in &log.batches {
                let views = batch.records(&mut scratch).into_iter().flatten().flatten();
                let whole = views.filter(|view| view.offset >= log.start);
                records.extend(
                    whole.map(|view| (partition, view.offset, view.to_record(batch.bytes()))),
                );
            }
        }
        records
    }

    /// Record counts of the batches of a partition, in order.
    pub fn batch_sizes(&self, topic: &TopicName, partition: Partition) -> Vec<usize> {
        let state = self.hub.state.lock();
        let log = state.topics.get(topic).and_then(|topic| topic.log(partition));
        let count = |batch: &Batch| usize::try_from(batch.header().record_count).unwrap_or(0);
        log.map_or_else(Vec::new, |log| log.batches.iter().map(count).collect())
    }

    /// Removes the records before `start`, as retention does.
    pub fn trim(&self, topic: &TopicName, partition: Partition, start: Offset) {
        self.change_log(topic, partition, |log| log.trim(start));
    }

    /// Removes the batches that reach behind `end`, as a loss of power does to what was not synced.
    pub fn cut(&self, topic: &TopicName, partition: Partition, end: Offset) {
        self.change_log(topic, partition, |log| log.cut(end));
    }

    /// Flips a bit in the stored batch that holds `offset`, as a failing disk does; readers get the bytes so.
    pub fn damage(&self, topic: &TopicName, partition: Partition, offset: Offset) {
        self.change_log(topic, partition, |log| log.damage(offset));
    }

    /// Breaks the connection: what waits for an answer is told so.
    pub fn disconnect(&self) {
        self.hub.state.lock().connection += 1;
        self.hub.note_change();
    }

    fn change_log(&self, topic: &TopicName, partition: Partition, change: impl FnOnce(&mut Log)) {
        let mut state = self.hub.state.lock();
        let log = state.topics.get_mut(topic).and_then(|topic| topic.log_mut(partition));
        if let Some(log) = log {
            change(log);
        }
        drop(state);
        self.hub.note_change();
    }
}

impl Hub {
    fn note_change(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Counts a call, and carries it out unless a fault says otherwise.
    fn call<T>(&self, call: Call, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        let fault = state.begin(call);
        let done = match fault {
            Some(Fault::Refuse(outcome)) => Err(refused(outcome)),
            Some(Fault::DropBefore) => Err(dropped()),
            Some(Fault::DropAfter) => work(&mut state).and(Err(dropped())),
            None => work(&mut state),
        };
        if matches!(fault, Some(Fault::DropBefore | Fault::DropAfter)) {
            state.connection += 1;
        }
        drop(state);
        self.note_change();
        done
    }

    /// Waits until answers go out; an error when the connection breaks before.
    async fn answered(&self, connection: u64) -> Result<()> {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let state = self.state.lock();
                if state.connection != connection {
                    return Err(dropped());
                }
                if !state.holds_answers {
                    return Ok(());
                }
            }
            // The other end lives in self.
            drop(changed.changed().await);
        }
    }
}

fn dropped() -> Error {
    Error::new(Outcome::Disconnected, "fake broker: the connection was dropped on purpose")
}

impl Transport for FakeBroker {
    fn produce(&self, request: ProduceRequest) -> BoxFuture<'_, Result<PendingReply>> {
        let hub = Arc::clone(&self.hub);
        Box::pin(async move {
            let count = request.entries.len();
            let mut state = hub.state.lock();
            let connection = state.connection;
            let fault = state.begin(Call::Produce);
            let entries = match fault {
                Some(Fault::DropBefore) => Vec::new(),
                Some(Fault::Refuse(outcome)) => vec![Err(refused(outcome).into()); count],
                Some(Fault::DropAfter) | None => {
                    request.entries.into_iter().map(|entry| state.append(entry)).collect()
                }
            };
            if matches!(fault, Some(Fault::DropBefore | Fault::DropAfter)) {
                state.connection += 1;
            }
            drop(state);
            hub.note_change();
            let reply: PendingReply = Box::pin(async move {
                hub.answered(connection).await?;
                Ok(ProduceReply { entries })
            });
            Ok(reply)
        })
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchReply>> {
        Box::pin(async move {
            let deadline = Instant::now() + Duration::from_millis(request.wait_ms_max.into());
            let mut changed = self.hub.changed.subscribe();
            let connection = self.hub.state.lock().connection;
            self.hub.call(Call::Fetch, |_| Ok(()))?;
            loop {
                let reply = {
                    let mut state = self.hub.state.lock();
                    if state.connection != connection {
                        return Err(dropped());
                    }
                    state.read(&request)
                };
                let bytes = |entry: &std::result::Result<Fetched, Refusal>| {
                    entry.as_ref().map_or(usize::MAX, Fetched::bytes)
                };
                let found = reply.entries.iter().map(bytes).fold(0, usize::saturating_add);
                let enough = usize::try_from(request.bytes_min.max(1)).unwrap_or(usize::MAX);
                if found >= enough
                    || tokio::time::timeout_at(deadline, changed.changed()).await.is_err()
                {
                    return Ok(reply);
                }
            }
        })
    }

    fn find_positions(
        &self,
        entries: Vec<PositionEntry>,
    ) -> BoxFuture<'_, Result<Vec<Result<PositionFound>>>> {
        Box::pin(async move {
            self.hub.call(Call::FindPositions, |state| {
                let find = |entry: PositionEntry| {
                    Ok(state.log(&entry.topic, entry.partition)?.find(entry.at))
                };
                Ok(entries.into_iter().map(find).collect())
            })
        })
    }

    fn init_producer(&self) -> BoxFuture<'_, Result<ProducerIdentity>> {
        Box::pin(async move {
            self.hub.call(Call::InitProducer, |state| {
                let id = ProducerId(state.next_producer);
                state.next_producer += 1;
                Ok(ProducerIdentity { id, epoch: ProducerEpoch(0) })
            })
        })
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<TopicDescription>> {
        Box::pin(async move { self.hub.call(Call::Admin, |state| state.create(spec)) })
    }

    fn describe_topic(&self, name: TopicName) -> BoxFuture<'_, Result<TopicDescription>> {
        Box::pin(async move {
            self.hub.call(Call::Admin, |state| Ok(state.topic(&name)?.describe(&name)))
        })
    }

    fn list_topics(&self) -> BoxFuture<'_, Result<Vec<TopicDescription>>> {
        Box::pin(async move {
            self.hub.call(Call::Admin, |state| {
                Ok(state.topics.iter().map(|(name, topic)| topic.describe(name)).collect())
            })
        })
    }

    fn alter_topic(
        &self,
        name: TopicName,
        change: TopicChange,
    ) -> BoxFuture<'_, Result<TopicDescription>> {
        Box::pin(async move { self.hub.call(Call::Admin, |state| state.alter(&name, change)) })
    }

    fn delete_topic(&self, name: TopicName) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.hub.call(Call::Admin, |state| {
                state.topic(&name)?;
                state.topics.remove(&name);
                Ok(())
            })
        })
    }

    fn describe_broker(&self) -> BoxFuture<'_, Result<BrokerDescription>> {
        Box::pin(async move {
            self.hub.call(Call::Admin, |state| {
                let partitions = state.topics.values().map(|topic| topic.partitions.len() as u64);
                Ok(BrokerDescription {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    cluster_id: "fake".to_owned(),
                    durability: "os".to_owned(),
                    topics: state.topics.len() as u64,
                    partitions: partitions.sum(),
                })
            })
        })
    }
}
