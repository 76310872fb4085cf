//! The one trait through which everything leaves the client: over gRPC, or straight into a broker of the same process.
//!
//! A transport carries; it never retries, never batches and never waits longer than the call says. What a broken
//! connection means for a call is in the error's outcome.

use std::fmt;

use futures_util::future::BoxFuture;
use protocol::id::TopicName;
use protocol::verbs::{
    BrokerDescription, FetchReply, FetchRequest, PositionEntry, PositionFound, ProduceReply,
    ProduceRequest, ProducerIdentity, TopicChange, TopicDescription, TopicSpec,
};

use crate::error::{Error, Result};

/// The answer to a produce request that has its place in line.
pub type PendingReply = BoxFuture<'static, Result<ProduceReply>>;

/// A way to a broker.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Hands a request over. When the outer future is done, the request has its place: requests handed over one
    /// after the other are applied in that order. The inner future is the answer.
    ///
    /// The inner futures may be awaited together or in any order; dropping one gives up the answer, not the request.
    ///
    /// # Errors
    /// From the outer future: nothing was sent. From the inner one: the outcome says whether it may have happened.
    fn produce(&self, request: ProduceRequest) -> BoxFuture<'_, Result<PendingReply>>;

    /// Reads; waits as long as the request says for something to read. Dropping the future ends the wait.
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchReply>>;

    /// Finds offsets, each entry by itself, in order.
    fn find_positions(
        &self,
        entries: Vec<PositionEntry>,
    ) -> BoxFuture<'_, Result<Vec<std::result::Result<PositionFound, Error>>>>;

    /// A new identity for an idempotent producer.
    fn init_producer(&self) -> BoxFuture<'_, Result<ProducerIdentity>>;

    /// Creates a topic; when it returns the topic takes records and survives a crash.
    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<TopicDescription>>;

    /// Describes one topic.
    fn describe_topic(&self, name: TopicName) -> BoxFuture<'_, Result<TopicDescription>>;

    /// All topics, in the order of their names.
    fn list_topics(&self) -> BoxFuture<'_, Result<Vec<TopicDescription>>>;

    /// Changes a topic.
    fn alter_topic(
        &self,
        name: TopicName,
        change: TopicChange,
    ) -> BoxFuture<'_, Result<TopicDescription>>;

    /// Deletes a topic with its records.
    fn delete_topic(&self, name: TopicName) -> BoxFuture<'_, Result<()>>;

    /// Tells about the broker.
    fn describe_broker(&self) -> BoxFuture<'_, Result<BrokerDescription>>;
}
