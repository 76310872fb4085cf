//! Topics, their settings, and the broker: asked once, answered once, never repeated behind the caller's back.

use std::sync::Arc;

use protocol::id::TopicName;
use protocol::verbs::{
    BrokerDescription, PositionEntry, PositionFound, TopicChange, TopicDescription, TopicSpec,
};

use crate::error::Result;
use crate::transport::Transport;

/// Administers a broker.
///
/// All calls may be cancelled by dropping them; whether a change then happened is not known.
///
/// ```
/// use thalweg_client::admin::Admin;
/// use thalweg_client::fake::FakeBroker;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let admin = Admin::new(FakeBroker::with_topic("ratings", 3));
/// let topic = admin.describe_topic(&"ratings".parse()?).await?;
/// assert_eq!(topic.partitions.len(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    transport: Arc<dyn Transport>,
}

impl Admin {
    /// Administers the broker behind this transport.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }

    /// Creates a topic; when it returns the topic takes records and survives a crash.
    ///
    /// # Errors
    /// The broker's refusal, for example that there is such a topic, or a broken connection.
    ///
    /// # After an error
    /// The outcome says whether the topic may exist all the same.
    pub async fn create_topic(&self, spec: TopicSpec) -> Result<TopicDescription> {
        self.transport.create_topic(spec).await
    }

    /// Describes one topic.
    ///
    /// # Errors
    /// When there is no such topic, or a broken connection.
    pub async fn describe_topic(&self, name: &TopicName) -> Result<TopicDescription> {
        self.transport.describe_topic(name.clone()).await
    }

    /// All topics, in the order of their names.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn list_topics(&self) -> Result<Vec<TopicDescription>> {
        self.transport.list_topics().await
    }

    /// Changes settings or adds partitions.
    ///
    /// # Errors
    /// The broker's refusal, or a broken connection.
    ///
    /// # After an error
    /// The outcome says whether the change may have been made all the same. Making it again does no harm.
    pub async fn alter_topic(
        &self,
        name: &TopicName,
        change: TopicChange,
    ) -> Result<TopicDescription> {
        self.transport.alter_topic(name.clone(), change).await
    }

    /// Deletes a topic with its records. This cannot be undone.
    ///
    /// # Errors
    /// When there is no such topic, or a broken connection.
    ///
    /// # After an error
    /// The outcome says whether the topic may be gone all the same.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<()> {
        self.transport.delete_topic(name.clone()).await
    }

    /// Tells about the broker.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn describe_broker(&self) -> Result<BrokerDescription> {
        self.transport.describe_broker().await
    }

    /// Finds offsets, each entry by itself, in order.
    ///
    /// # Errors
    /// From the call: a broken connection. From an entry: the broker's refusal.
    pub async fn find_positions(
        &self,
        entries: Vec<PositionEntry>,
    ) -> Result<Vec<Result<PositionFound>>> {
        self.transport.find_positions(entries).await
    }
}
