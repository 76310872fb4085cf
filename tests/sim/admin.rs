//! Somebody who creates, changes and deletes topics all the time. A change that was confirmed is there in every later
//! life; one that was refused may have happened or not, and is looked up after the next start.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::Service;
use protocol::id::TopicName;
use protocol::outcome::Outcome;
use protocol::verbs::{TopicChange, TopicSpec};

use crate::life::Life;
use crate::random::Random;

/// What is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Topic {
    Absent,
    Present {
        partitions: usize,
        retention: String,
    },
    /// A change was refused: as before, or changed.
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Admin {
    topics: BTreeMap<TopicName, Topic>,
    random: Random,
}

fn look(service: &Service, name: &TopicName) -> Topic {
    match service.describe_topic(name) {
        Ok(topic) => {
            let retention =
                topic.settings.into_iter().find(|setting| setting.name == "retention.ms");
            let retention = retention.unwrap().value;
            Topic::Present { partitions: topic.partitions.len(), retention }
        }
        Err(refusal) => {
            assert_eq!(refusal.outcome, Outcome::UnknownTopic);
            Topic::Absent
        }
    }
}

impl Admin {
    pub(crate) fn new(random: Random) -> Self {
        let topics = (0..4).map(|n| (format!("extra-{n}").parse().unwrap(), Topic::Absent));
        Self { topics: topics.collect(), random }
    }

    /// The broker has started: what was confirmed is there.
    pub(crate) fn meet(&mut self, service: &Service) {
        for (name, known) in &mut self.topics {
            let there = look(service, name);
            assert!(
                *known == Topic::Unknown || *known == there,
                "{name}: {known:?} was confirmed, there is {there:?}"
            );
            *known = there;
        }
    }

    pub(crate) async fn run(&mut self, life: &Life<'_>) {
        while !life.is_ending() {
            let index = usize::try_from(self.random.below(self.topics.len() as u64)).unwrap();
            let name = self.topics.keys().nth(index).unwrap().clone();
            let known = self.topics[&name].clone();
            // Whoever is killed in the middle does not know.
            self.topics.insert(name.clone(), Topic::Unknown);
            let now = self.change(life, &name, known).await;
            life.trace(&format!("{name}: {now:?}"));
            self.topics.insert(name, now);
            tokio::time::sleep(Duration::from_millis(self.random.between(5, 120))).await;
        }
    }

    async fn change(&mut self, life: &Life<'_>, name: &TopicName, known: Topic) -> Topic {
        let retention = self.random.between(1_000, 9_000_000).to_string();
        let settings = BTreeMap::from([("retention.ms".to_owned(), retention.clone())]);
        let (changed, wanted) = match known {
            Topic::Absent => {
                let partitions = u32::try_from(self.random.between(1, 3)).unwrap();
                let spec = TopicSpec { name: name.clone(), partitions: Some(partitions), settings };
                let wanted = Topic::Present { partitions: partitions as usize, retention };
                (life.service.create_topic(spec).await.map(|_| ()), wanted)
            }
            Topic::Present { .. } if self.random.one_in(2) => {
                (life.service.delete_topic(name).await, Topic::Absent)
            }
            Topic::Present { partitions, .. } => {
                let partitions = partitions + usize::from(self.random.one_in(2));
                let change = TopicChange {
                    partitions: u32::try_from(partitions).ok(),
                    settings: settings
                        .into_iter()
                        .map(|(name, value)| (name, Some(value)))
                        .collect(),
                };
                let wanted = Topic::Present { partitions, retention };
                (life.service.alter_topic(name, change).await.map(|_| ()), wanted)
            }
            Topic::Unknown => return Topic::Unknown,
        };
        match changed {
            Ok(()) => {
                assert_eq!(look(life.service, name), wanted, "{name}: confirmed, and not in force");
                wanted
            }
            Err(refusal) => {
                life.allow(&refusal, &[]);
                Topic::Unknown
            }
        }
    }
}
