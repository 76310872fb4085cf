//! No query feeds itself: from the topic that it writes, no way leads through persistent queries to the one it reads.
//!
//! In such a circle each row would come round again as a new one until the disk is full. Paused queries count, and
//! streams do not: two streams over one topic are the same topic.

use std::collections::{BTreeMap, VecDeque};

use protocol::id::TopicName;

use crate::catalog::Catalog;
use crate::error::{Error, Result};

/// That a new query from one topic to another closes no circle.
///
/// # Errors
/// [`Error::Circle`], with the shortest one.
pub fn check_circle(catalog: &Catalog, source: &TopicName, sink: &TopicName) -> Result<()> {
    // From where, and by which query, each topic was reached.
    let mut reached: BTreeMap<&TopicName, Option<(&TopicName, &str)>> = BTreeMap::new();
    let mut next = VecDeque::from([sink]);
    reached.insert(sink, None);
    while let Some(topic) = next.pop_front() {
        if topic == source {
            return Err(circle(source, &reached));
        }
        for (from, to, query) in edges(catalog).filter(|(from, ..)| *from == topic) {
            reached.entry(to).or_insert_with(|| {
                next.push_back(to);
                Some((from, query))
            });
        }
    }
    Ok(())
}

/// What each query reads and writes.
fn edges(catalog: &Catalog) -> impl Iterator<Item = (&TopicName, &TopicName, &str)> {
    let topic = |stream: &str| catalog.find_stream(stream).map(|stream| &stream.topic);
    catalog.queries().flat_map(move |query| {
        let sources = query.sources.iter().filter_map(move |source| topic(source));
        let edge = move |source| topic(&query.sink).map(|sink| (source, sink, query.id.as_str()));
        sources.filter_map(edge)
    })
}

/// The circle that ends at `source`, told from there on.
fn circle(source: &TopicName, reached: &BTreeMap<&TopicName, Option<(&TopicName, &str)>>) -> Error {
    let (mut topics, mut queries) = (vec![source.to_string()], Vec::new());
    let mut at = source;
    while let Some(Some((from, query))) = reached.get(at) {
        topics.push(from.to_string());
        queries.push((*query).to_owned());
        at = from;
    }
    topics.push(source.to_string());
    topics.reverse();
    queries.reverse();
    Error::Circle { topics, queries }
}
