//! How many partitions a topic has: asked once, remembered, asked again now and then; never guessed.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::id::TopicName;
use protocol::limits::TOPICS_MAX;
use protocol::outcome::Outcome;
use tokio::time::Instant;

use crate::config::BackoffConfig;
use crate::error::{Error, Result};
use crate::retry::persist;
use crate::transport::Transport;

/// A count older than this is asked for again: topics may have been given more partitions.
const AGE_MAX: Duration = Duration::from_secs(60);

/// The partition counts of topics.
pub(crate) struct Metadata {
    transport: Arc<dyn Transport>,
    backoff: BackoffConfig,
    give_up: Duration,
    /// Guards the map only; never held across an await. At most [`TOPICS_MAX`] topics.
    counts: Mutex<HashMap<TopicName, Count>>,
    /// Held by the one who asks the broker, so that many senders ask once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    partitions: u32,
    learned: Instant,
}

impl Metadata {
    /// Nothing is known yet. A topic that cannot be asked for within `give_up` is an error.
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        backoff: BackoffConfig,
        give_up: Duration,
    ) -> Self {
        Self { transport, backoff, give_up, counts: Mutex::default(), asking: Default::default() }
    }

    /// The number of partitions, at least 1.
    ///
    /// # Errors
    /// When the topic does not exist, or the broker could not be reached in time. May be cancelled.
    pub(crate) async fn partition_count(&self, topic: &TopicName) -> Result<u32> {
        match self.remembered(topic) {
            Some(count) if count.learned.elapsed() < AGE_MAX => Ok(count.partitions),
            // An old count is good enough while another asks, or while the broker is away.
            Some(count) => Ok(match self.asking.try_lock() {
                Ok(_asking) => self.ask(topic).await.unwrap_or(count.partitions),
                Err(_) => count.partitions,
            }),
            None => {
                let _asking = self.asking.lock().await;
                match self.remembered(topic) {
                    Some(count) => Ok(count.partitions),
                    None => persist(self.backoff, Some(self.give_up), || self.ask(topic)).await,
                }
            }
        }
    }

    /// What was known of the topic turned out wrong: the next caller asks again.
    pub(crate) fn forget(&self, topic: &TopicName) {
        self.counts.lock().remove(topic);
    }

    fn remembered(&self, topic: &TopicName) -> Option<Count> {
        self.counts.lock().get(topic).copied()
    }

    async fn ask(&self, topic: &TopicName) -> Result<u32> {
        let found = self.transport.describe_topic(topic.clone()).await?;
        let partitions = u32::try_from(found.partitions.len()).unwrap_or(0);
        if partitions == 0 {
            return Err(Error::new(
                Outcome::Internal,
                format!("the broker describes topic {topic} without a partition"),
            ));
        }
        let mut counts = self.counts.lock();
        if counts.len() >= TOPICS_MAX {
            counts.clear();
        }
        counts.insert(topic.clone(), Count { partitions, learned: Instant::now() });
        Ok(partitions)
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").field("counts", &self.counts).finish_non_exhaustive()
    }
}
