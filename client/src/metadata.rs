//! How many partitions a topic has: asked, never guessed. Who asks remembers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use protocol::id::TopicName;
use protocol::outcome::Outcome;

use crate::config::BackoffConfig;
use crate::error::{Error, Result};
use crate::retry::persist;
use crate::transport::Transport;

/// Asks for the partition counts of topics.
pub(crate) struct Metadata {
    transport: Arc<dyn Transport>,
    backoff: BackoffConfig,
    give_up: Duration,
}

impl Metadata {
    /// A topic that cannot be asked for within `give_up` is an error.
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        backoff: BackoffConfig,
        give_up: Duration,
    ) -> Self {
        Self { transport, backoff, give_up }
    }

    /// The number of partitions, at least 1; asked for again and again while the broker cannot be reached.
    ///
    /// # Errors
    /// When the topic does not exist, or the broker could not be reached in time. May be cancelled.
    pub(crate) async fn partition_count(&self, topic: &TopicName) -> Result<u32> {
        persist(self.backoff, Some(self.give_up), || self.ask_once(topic)).await
    }

    /// The number of partitions, at least 1; asked for once.
    ///
    /// # Errors
    /// As [`Self::partition_count`], but at once.
    pub(crate) async fn ask_once(&self, topic: &TopicName) -> Result<u32> {
        let found = self.transport.describe_topic(topic.clone()).await?;
        let partitions = u32::try_from(found.partitions.len()).unwrap_or(0);
        if partitions == 0 {
            return Err(Error::new(
                Outcome::Internal,
                format!("the broker describes topic {topic} without a partition"),
            ));
        }
        Ok(partitions)
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").finish_non_exhaustive()
    }
}
