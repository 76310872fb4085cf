//! The verbs of the broker: **the only way in for a front door**, free of any protocol.
//!
//! Front doors translate, this hall decides, the cellar stores. Whatever one door can do the other can, because both
//! can do exactly this.

use std::sync::{Arc, OnceLock};

use protocol::id::{Timestamp, TopicName};
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{
    BrokerDescription, FetchRequest, PositionEntry, PositionFound, ProduceRequest,
    ProducerIdentity, TopicChange, TopicDescription, TopicSpec,
};

use crate::admission::{Admission, Allowance, Permit};
use crate::caller::Caller;
use crate::config::Config;
use crate::fetch::{self, Answered};
use crate::metrics::Metrics;
use crate::positions;
use crate::produce::{self, Submitted};
use crate::shutdown::Drain;
use crate::topics::catalog::Catalog;
use crate::topics::settings::Durability;
use crate::world::World;

/// A way in. Cloning is cheap; all clones are the same broker.
#[derive(Clone, Debug)]
pub struct Service {
    hall: Arc<Hall>,
    caller: Caller,
}

#[derive(Debug)]
pub(crate) struct Hall {
    pub(crate) catalog: Catalog,
    pub(crate) admission: Admission,
    pub(crate) metrics: Metrics,
    pub(crate) world: World,
    pub(crate) drain: Drain,
    pub(crate) config: Arc<Config>,
    /// The id of the data folder.
    pub(crate) cluster_id: String,
    /// What does not work though the broker does, for people. Set at most once, by whoever opened it.
    pub(crate) caveat: OnceLock<String>,
}

/// The shape of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicShape {
    /// How many partitions it has.
    pub partitions: u32,
    /// Largest batch that it takes, in bytes.
    pub batch_bytes_max: usize,
}

impl Service {
    /// The way in for everybody.
    pub(crate) fn new(hall: Hall) -> Self {
        Self { hall: Arc::new(hall), caller: Caller::Anybody }
    }

    /// The same broker for the SQL engine, which may change its own topics.
    pub(crate) fn for_engine(&self) -> Self {
        Self { caller: Caller::Engine, ..self.clone() }
    }

    /// Gives every batch its place in line, in order; await the result for the answers.
    ///
    /// Requests submitted one after the other are appended in that order. Waits while too many bytes are under way.
    /// May be cancelled: batches that had their place by then are appended all the same.
    pub async fn produce(&self, request: ProduceRequest) -> Submitted {
        let Hall { catalog, admission, metrics, world, .. } = &*self.hall;
        let (clock, caller) = (&world.clock, self.caller);
        let ground = produce::Ground { catalog, admission, metrics, clock, caller };
        produce::submit(ground, request).await
    }

    /// A permit for the answer to a produce request of a call that has this allowance. May be cancelled.
    ///
    /// # Errors
    /// [`Outcome::Busy`] when there was no room in time.
    pub(crate) async fn room_for_answer(
        &self,
        own: &Allowance,
        bytes: usize,
    ) -> Result<Permit, Refusal> {
        self.hall.admission.answer(own, bytes).await
    }

    /// Reads from many partitions, waiting as the request says. May be cancelled.
    ///
    /// # Errors
    /// When the request as a whole breaks a limit; each partition's own trouble is in its entry.
    pub async fn fetch(&self, request: FetchRequest) -> Result<Answered, Refusal> {
        let Hall { catalog, admission, metrics, drain, world, .. } = &*self.hall;
        let threads = world.threads;
        fetch::fetch(fetch::Ground { catalog, admission, metrics, drain, threads }, request).await
    }

    /// Finds offsets, each entry by itself, in order. May be cancelled.
    ///
    /// # Errors
    /// When the request as a whole breaks a limit.
    pub async fn find_positions(
        &self,
        entries: Vec<PositionEntry>,
    ) -> Result<Vec<Result<PositionFound, Refusal>>, Refusal> {
        positions::find(&self.hall.catalog, self.hall.world.threads, entries).await
    }

    /// A producer identity that was never given out before.
    ///
    /// # Errors
    /// When the reservation of ids cannot be made durable.
    pub async fn init_producer(&self) -> Result<ProducerIdentity, Refusal> {
        self.hall.catalog.init_producer().await
    }

    /// Creates a topic; when this is done it takes records and survives a crash.
    ///
    /// # Errors
    /// When it exists, its name, a limit or a setting forbids it, or the disk fails. There is then no such topic.
    pub async fn create_topic(&self, spec: TopicSpec) -> Result<TopicDescription, Refusal> {
        self.caller.check(&spec.name)?;
        self.to_the_end(|hall| async move { hall.catalog.create(spec).await }).await
    }

    /// Describes one topic.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn describe_topic(&self, name: &TopicName) -> Result<TopicDescription, Refusal> {
        self.hall.catalog.describe(name)
    }

    /// All topics in the order of their names.
    pub fn list_topics(&self) -> Vec<TopicDescription> {
        self.hall.catalog.list()
    }

    /// What a door needs to know of a topic to put records into batches for it.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn topic_shape(&self, name: &TopicName) -> Result<TopicShape, Refusal> {
        let topic = self.hall.catalog.topic(name)?;
        let partitions = topic.partition_count();
        Ok(TopicShape { partitions, batch_bytes_max: topic.settings.batch_bytes_max })
    }

    /// The broker's clock.
    pub fn now(&self) -> Timestamp {
        self.hall.world.clock.wall()
    }

    /// Changes settings or adds partitions.
    ///
    /// # Errors
    /// When there is no such topic, it is the engine's own, a value is not valid, or the disk fails. The topic is then as before.
    pub async fn alter_topic(
        &self,
        name: &TopicName,
        change: TopicChange,
    ) -> Result<TopicDescription, Refusal> {
        self.caller.check(name)?;
        let name = name.clone();
        self.to_the_end(|hall| async move { hall.catalog.alter(&name, change).await }).await
    }

    /// Deletes a topic and its records. One of the engine's own too, where a partition of it is offline: the engine
    /// cannot use it, and this is the way to begin anew.
    ///
    /// # Errors
    /// When there is none of this name, it is the engine's own, or the disk fails.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<(), Refusal> {
        let topic = self.hall.catalog.topic(name)?;
        if topic.partitions.iter().all(Result::is_ok) {
            self.caller.check(name)?;
        }
        let name = name.clone();
        self.to_the_end(|hall| async move { hall.catalog.delete(&name).await }).await
    }

    /// Tells about the broker.
    pub fn describe_broker(&self) -> BrokerDescription {
        let (topics, partitions) = self.hall.catalog.counts();
        BrokerDescription {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_id: self.hall.cluster_id.clone(),
            durability: match self.hall.config.durability() {
                Durability::Sync => "sync".to_owned(),
                Durability::Interval { ms } => format!("interval({ms} ms)"),
                Durability::Os => "os".to_owned(),
            },
            topics,
            partitions,
        }
    }

    /// The text that Prometheus reads.
    pub fn render_metrics(&self) -> String {
        let bytes = i64::try_from(self.hall.admission.write_bytes()).unwrap_or(i64::MAX);
        self.hall.metrics.write_bytes_in_flight.set(bytes);
        self.hall.metrics.render()
    }

    /// Carries a change out to its end, also when the caller gives up.
    ///
    /// A change is durable in the journal before it is in force. A caller that went away in between would leave, say, a
    /// topic that is deleted for the next start and goes on acknowledging until then.
    async fn to_the_end<T, C>(&self, change: impl FnOnce(Arc<Hall>) -> C) -> Result<T, Refusal>
    where
        T: Send + 'static,
        C: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let carried_out = tokio::spawn(change(Arc::clone(&self.hall))).await;
        carried_out.unwrap_or_else(|_| {
            Err(Refusal::new(
                Outcome::Internal,
                "the change ended in a panic; the broker's log has it",
            ))
        })
    }

    /// What does not work though the broker does.
    pub(crate) fn caveat(&self) -> Option<&str> {
        self.hall.caveat.get().map(String::as_str)
    }

    pub(crate) fn set_caveat(&self, caveat: String) {
        // The first one stays.
        let _ = self.hall.caveat.set(caveat);
    }

    /// To count what doors do.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.hall.metrics
    }

    /// To leave when the broker leaves.
    pub(crate) fn drain(&self) -> &Drain {
        &self.hall.drain
    }

    /// Closes the catalogue: no further changes.
    pub(crate) async fn close_catalog(&self) {
        self.hall.catalog.close().await;
    }
}
