//! The topics of streams: found, or made as WITH says, or not there, with the name that was perhaps meant.

use client::transport::Transport;
use protocol::id::TopicName;
use protocol::outcome::Outcome;
use protocol::verbs::{TopicDescription, TopicSpec};
use sql::schema::nearest;

use crate::error::{Error, Result};
use crate::launch::partition_count;
use crate::plan::declare::SourceProperties;

/// That a statement may write to a topic, or delete it. The broker would refuse it as well, but only once a part of the
/// statement is carried out.
///
/// # Errors
/// [`Error::InternalTopic`].
pub fn check_not_internal(topic: &TopicName) -> Result<()> {
    match topic.is_internal() {
        true => Err(Error::InternalTopic { topic: topic.to_string() }),
        false => Ok(()),
    }
}

/// Finds the topic of a stream that is declared, or makes it when WITH says how many partitions it shall have.
///
/// # Errors
/// [`Error::UnknownTopic`], [`Error::Partitions`], or what the broker says.
pub async fn find_or_create(
    transport: &dyn Transport,
    name: &TopicName,
    properties: &SourceProperties,
    partitions_default: Option<u32>,
) -> Result<TopicDescription> {
    match transport.describe_topic(name.clone()).await {
        Ok(found) => match properties.partitions {
            Some(expected) if partition_count(&found) != expected => Err(Error::Partitions {
                topic: name.to_string(),
                expected,
                found: found.partitions.len(),
            }),
            _ => Ok(found),
        },
        Err(error) if error.outcome() == Outcome::UnknownTopic => {
            let Some(partitions) = properties.partitions.or(partitions_default) else {
                return Err(unknown(transport, name.as_str()).await);
            };
            let settings = properties.topic_settings();
            let spec = TopicSpec { name: name.clone(), partitions: Some(partitions), settings };
            Ok(transport.create_topic(spec).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The error for a topic that is not there, with the name that was perhaps meant.
pub async fn unknown(transport: &dyn Transport, name: &str) -> Error {
    let topics = transport.list_topics().await.unwrap_or_default();
    let names = || topics.iter().map(|topic| topic.name.as_str());
    let same = names().find(|known| known.eq_ignore_ascii_case(name));
    let near = same.or_else(|| nearest(name, names())).map(str::to_owned);
    Error::UnknownTopic { topic: name.to_owned(), near }
}
