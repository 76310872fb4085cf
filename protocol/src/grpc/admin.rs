//! Topics, their settings, and the broker's description.

use std::collections::BTreeMap;

use super::refusal::{refuse_id, refuse_request, wrong_answer};
use super::v1;
use crate::id::{Offset, Partition, TopicName};
use crate::limits::{PARTITIONS_PER_TOPIC_MAX, SETTING_VALUE_BYTES_MAX, SETTINGS_PER_TOPIC_MAX};
use crate::outcome::{Outcome, Refusal};
use crate::verbs::{
    BrokerDescription, PartitionDescription, SettingDescription, TopicChange, TopicDescription,
    TopicSpec,
};

/// Reads the name of a topic.
///
/// # Errors
/// [`Outcome::InvalidTopicName`].
pub fn topic_name(name: &str) -> Result<TopicName, Refusal> {
    TopicName::new(name).map_err(|error| refuse_id(&error))
}

impl TryFrom<v1::CreateTopicRequest> for TopicSpec {
    type Error = Refusal;

    fn try_from(request: v1::CreateTopicRequest) -> Result<Self, Refusal> {
        check_settings(request.settings.len(), request.settings.values())?;
        Ok(Self {
            name: topic_name(&request.name)?,
            partitions: request.partitions,
            settings: request.settings.into_iter().collect(),
        })
    }
}

impl From<TopicSpec> for v1::CreateTopicRequest {
    fn from(spec: TopicSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            partitions: spec.partitions,
            settings: spec.settings.into_iter().collect(),
        }
    }
}

/// A change as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingChange {
    /// The topic to change.
    pub name: TopicName,
    /// What to change.
    pub change: TopicChange,
}

impl TryFrom<v1::AlterTopicRequest> for IncomingChange {
    type Error = Refusal;

    fn try_from(request: v1::AlterTopicRequest) -> Result<Self, Refusal> {
        let count = request.settings.len() + request.reset_settings.len();
        check_settings(count, request.settings.values())?;
        let set = request.settings.into_iter().map(|(name, value)| (name, Some(value)));
        let mut settings: BTreeMap<_, _> = set.collect();
        for name in request.reset_settings {
            if let Some(Some(value)) = settings.insert(name.clone(), None) {
                return Err(refuse_request(format!(
                    "setting {name} is both set, to {value:?}, and reset"
                )));
            }
        }
        let change = TopicChange { partitions: request.partitions, settings };
        Ok(Self { name: topic_name(&request.name)?, change })
    }
}

impl From<IncomingChange> for v1::AlterTopicRequest {
    fn from(IncomingChange { name, change }: IncomingChange) -> Self {
        let mut request =
            Self { name: name.to_string(), partitions: change.partitions, ..Self::default() };
        for (name, value) in change.settings {
            match value {
                Some(value) => drop(request.settings.insert(name, value)),
                None => request.reset_settings.push(name),
            }
        }
        request
    }
}

fn check_settings<'a>(
    count: usize,
    mut values: impl Iterator<Item = &'a String>,
) -> Result<(), Refusal> {
    if count > SETTINGS_PER_TOPIC_MAX {
        return Err(refuse_request(format!(
            "{count} settings are given; at most {SETTINGS_PER_TOPIC_MAX} are allowed"
        )));
    }
    if let Some(long) = values.find(|value| value.len() > SETTING_VALUE_BYTES_MAX) {
        return Err(Refusal::new(
            Outcome::InvalidSetting,
            format!(
                "the value of a setting has {} bytes; at most {SETTING_VALUE_BYTES_MAX} are allowed",
                long.len()
            ),
        ));
    }
    Ok(())
}

impl From<TopicDescription> for v1::Topic {
    fn from(topic: TopicDescription) -> Self {
        let partition = |partition: PartitionDescription| v1::PartitionInfo {
            partition: partition.partition.to_i32(),
            start_offset: partition.start.get(),
            end_offset: partition.end.get(),
            bytes: partition.bytes,
            failure: partition.failure,
        };
        let setting = |setting: SettingDescription| v1::Setting {
            name: setting.name,
            value: setting.value,
            is_default: setting.is_default,
        };
        Self {
            name: topic.name.to_string(),
            id: topic.id.to_string(),
            partitions: topic.partitions.into_iter().map(partition).collect(),
            settings: topic.settings.into_iter().map(setting).collect(),
        }
    }
}

/// Reads the description of a topic out of an answer.
///
/// # Errors
/// When it is absent or contradicts itself.
pub fn topic_description(topic: Option<v1::Topic>) -> Result<TopicDescription, Refusal> {
    let topic = topic.ok_or_else(|| wrong_answer("the description of the topic is absent"))?;
    let count = topic.partitions.len();
    if u32::try_from(count).map_or(true, |count| count > PARTITIONS_PER_TOPIC_MAX) {
        return Err(wrong_answer(format_args!("{count} partitions of one topic")));
    }
    let partition = |info: v1::PartitionInfo| {
        Ok(PartitionDescription {
            partition: Partition::new(info.partition.into()).map_err(wrong_answer)?,
            start: Offset::new(info.start_offset).map_err(wrong_answer)?,
            end: Offset::new(info.end_offset).map_err(wrong_answer)?,
            bytes: info.bytes,
            failure: info.failure,
        })
    };
    let partitions: Result<_, Refusal> = topic.partitions.into_iter().map(partition).collect();
    let setting = |setting: v1::Setting| SettingDescription {
        name: setting.name,
        value: setting.value,
        is_default: setting.is_default,
    };
    Ok(TopicDescription {
        name: TopicName::new(&topic.name).map_err(wrong_answer)?,
        id: topic.id.parse().map_err(wrong_answer)?,
        partitions: partitions?,
        settings: topic.settings.into_iter().map(setting).collect(),
    })
}

/// Reads a list of topics out of an answer.
///
/// # Errors
/// When one of them contradicts itself.
pub fn topic_descriptions(
    response: v1::ListTopicsResponse,
) -> Result<Vec<TopicDescription>, Refusal> {
    response.topics.into_iter().map(|topic| topic_description(Some(topic))).collect()
}

impl From<BrokerDescription> for v1::DescribeBrokerResponse {
    fn from(broker: BrokerDescription) -> Self {
        let BrokerDescription { version, cluster_id, durability, topics, partitions } = broker;
        Self { version, cluster_id, durability, topics, partitions }
    }
}

impl From<v1::DescribeBrokerResponse> for BrokerDescription {
    fn from(response: v1::DescribeBrokerResponse) -> Self {
        let v1::DescribeBrokerResponse { version, cluster_id, durability, topics, partitions } =
            response;
        Self { version, cluster_id, durability, topics, partitions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TopicId;

    #[test]
    fn specs_and_changes_cross() {
        let spec = TopicSpec {
            name: "t".parse().unwrap(),
            partitions: Some(3),
            settings: BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]),
        };
        let there = v1::CreateTopicRequest::from(spec.clone());
        assert_eq!(TopicSpec::try_from(there).unwrap(), spec);

        let settings = BTreeMap::from([
            ("retention.ms".to_owned(), Some("1".to_owned())),
            ("cleanup.policy".to_owned(), None),
        ]);
        let change = TopicChange { partitions: None, settings };
        let change = IncomingChange { name: "t".parse().unwrap(), change };
        let there = v1::AlterTopicRequest::from(change.clone());
        assert_eq!(IncomingChange::try_from(there).unwrap(), change);
    }

    #[test]
    fn a_setting_that_is_set_and_reset_is_refused() {
        let request = v1::AlterTopicRequest {
            name: "t".to_owned(),
            settings: [("a".to_owned(), "1".to_owned())].into(),
            reset_settings: vec!["a".to_owned()],
            ..Default::default()
        };
        let refusal = IncomingChange::try_from(request).unwrap_err();
        assert_eq!(refusal.outcome, Outcome::InvalidRequest);
    }

    #[test]
    fn settings_past_the_limits_are_refused() {
        let request = |count: usize, bytes: usize| v1::CreateTopicRequest {
            name: "t".to_owned(),
            settings: (0..count).map(|n| (n.to_string(), "x".repeat(bytes))).collect(),
            ..Default::default()
        };
        let refused =
            |request: v1::CreateTopicRequest| TopicSpec::try_from(request).unwrap_err().outcome;
        assert_eq!(refused(request(SETTINGS_PER_TOPIC_MAX + 1, 1)), Outcome::InvalidRequest);
        assert_eq!(refused(request(1, SETTING_VALUE_BYTES_MAX + 1)), Outcome::InvalidSetting);
    }

    #[test]
    fn descriptions_cross() {
        let topic = TopicDescription {
            name: "t".parse().unwrap(),
            id: TopicId(uuid::Uuid::from_u128(7)),
            partitions: vec![PartitionDescription {
                partition: Partition::ZERO,
                start: Offset::new(1).unwrap(),
                end: Offset::new(2).unwrap(),
                bytes: 3,
                failure: Some("disk".to_owned()),
            }],
            settings: vec![SettingDescription {
                name: "a".to_owned(),
                value: "b".to_owned(),
                is_default: true,
            }],
        };
        assert_eq!(topic_description(Some(topic.clone().into())).unwrap(), topic);
        assert_eq!(topic_description(None).unwrap_err().outcome, Outcome::Internal);
        let wrong = v1::Topic { id: "no uuid".to_owned(), ..topic.into() };
        assert_eq!(topic_description(Some(wrong)).unwrap_err().outcome, Outcome::Internal);

        let broker = BrokerDescription {
            version: "0.1.0".to_owned(),
            cluster_id: "c".to_owned(),
            durability: "sync".to_owned(),
            topics: 1,
            partitions: 2,
        };
        let there = v1::DescribeBrokerResponse::from(broker.clone());
        assert_eq!(BrokerDescription::from(there), broker);
    }
}
