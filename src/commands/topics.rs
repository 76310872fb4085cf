//! `thalweg topic`: create, list, describe, alter, delete.

use std::collections::BTreeMap;

use client::admin::Admin;
use protocol::id::TopicName;
use protocol::outcome::Outcome;
use protocol::verbs::{TopicChange, TopicDescription, TopicSpec};
use serde::Serialize;

use crate::args::TopicCommand;
use crate::attempts::Attempts;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Output;
use crate::text::{Setting, bytes_size, count, counted};

/// Carries out one of the commands.
pub(crate) async fn run(command: TopicCommand, context: &Context) -> Result<(), Failure> {
    let (attempts, transport) = Attempts::watch(context.transport()?);
    let output = &context.output;
    attempts.told(|text| output.note(text), carry_out(command, Admin::new(transport), output)).await
}

async fn carry_out(command: TopicCommand, admin: Admin, output: &Output) -> Result<(), Failure> {
    match command {
        TopicCommand::Create { name, partitions, settings, if_not_exists } => {
            let spec = TopicSpec { name, partitions, settings: by_name(settings)? };
            create(&admin, output, spec, if_not_exists).await
        }
        TopicCommand::List { all } => list(&admin, output, all).await,
        TopicCommand::Describe { name } => {
            let topic = admin.describe_topic(&name).await?;
            if output.is_json() { output.json(&Topic::from(&topic)) } else { show(output, &topic) }
        }
        TopicCommand::Alter { name, partitions, settings, resets } => {
            let change = change(partitions, settings, resets)?;
            let before = admin.describe_topic(&name).await?;
            let topic = admin.alter_topic(&name, change).await?;
            let done = if is_as_before(&before, &topic) { "is so already" } else { "changed" };
            say(output, done, &topic)
        }
        TopicCommand::Delete { name, if_exists, yes } => {
            delete(&admin, output, &name, Deletion { if_exists, yes }).await
        }
    }
}

async fn create(
    admin: &Admin,
    output: &Output,
    spec: TopicSpec,
    if_not_exists: bool,
) -> Result<(), Failure> {
    let name = spec.name.clone();
    match admin.create_topic(spec).await {
        Ok(topic) => say(output, "created", &topic),
        Err(error) if if_not_exists && error.outcome() == Outcome::TopicExists => {
            say(output, "exists already", &admin.describe_topic(&name).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// What was asked for was in force already: partitions and settings are what they were.
fn is_as_before(before: &TopicDescription, after: &TopicDescription) -> bool {
    let settings = |topic: &TopicDescription| -> BTreeMap<_, _> {
        let settings = topic.settings.iter();
        settings.map(|it| (it.name.clone(), (it.value.clone(), it.is_default))).collect()
    };
    before.partitions.len() == after.partitions.len() && settings(before) == settings(after)
}

async fn list(admin: &Admin, output: &Output, all: bool) -> Result<(), Failure> {
    let mut topics = admin.list_topics().await?;
    topics.retain(|topic| all || !topic.name.is_internal());
    if output.is_json() {
        return topics.iter().try_for_each(|topic| output.json(&Topic::from(topic)));
    }
    if topics.is_empty() {
        output.note("no topics yet: `thalweg topic create NAME` makes one");
        return Ok(());
    }
    let rows = topics.iter().map(|topic| {
        [
            topic.name.to_string(),
            topic.partitions.len().to_string(),
            count(records(topic)),
            bytes_size(bytes(topic)),
            match topic.partitions.iter().filter(|one| one.failure.is_some()).count() {
                0 => "ok".to_owned(),
                failed => format!("{failed} of its partitions take no writes"),
            },
        ]
    });
    output.table(["TOPIC", "PARTITIONS", "RECORDS", "SIZE ON DISK", "STATE"], rows)
}

/// What a deletion may do.
#[derive(Clone, Copy)]
struct Deletion {
    if_exists: bool,
    yes: bool,
}

async fn delete(
    admin: &Admin,
    output: &Output,
    name: &TopicName,
    allowed: Deletion,
) -> Result<(), Failure> {
    let is_missing = |outcome| allowed.if_exists && outcome == Outcome::UnknownTopic;
    if !allowed.yes {
        let topic = match admin.describe_topic(name).await {
            Err(error) if is_missing(error.outcome()) => return say_deleted(output, name, false),
            topic => topic?,
        };
        let question = format!(
            "Delete topic {name} with {}, {}, {}? This cannot be undone.",
            counted(topic.partitions.len() as u64, "partition"),
            counted(records(&topic), "record"),
            bytes_size(bytes(&topic)),
        );
        let refused = |message: String| Failure::Usage {
            message,
            advice: "say yes, or give --yes to delete without being asked",
        };
        match output.confirm(&question)? {
            Some(true) => {}
            Some(false) => return Err(refused(format!("topic {name} was not deleted"))),
            None => {
                return Err(refused(format!(
                    "topic {name} was not deleted: there is no terminal to ask on"
                )));
            }
        }
    }
    match admin.delete_topic(name).await {
        Ok(()) => say_deleted(output, name, true),
        Err(error) if is_missing(error.outcome()) => say_deleted(output, name, false),
        Err(error) => Err(error.into()),
    }
}

fn say_deleted(output: &Output, name: &TopicName, deleted: bool) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&serde_json::json!({ "name": name.as_str(), "deleted": deleted }));
    }
    output.line(&if deleted {
        format!("topic {name}: deleted")
    } else {
        format!("topic {name}: was not there")
    })
}

/// Settings by their names; one that is given twice is a mistake, not a choice.
fn by_name(settings: Vec<Setting>) -> Result<BTreeMap<String, String>, Failure> {
    let mut by_name = BTreeMap::new();
    for setting in settings {
        if by_name.insert(setting.name.clone(), setting.value).is_some() {
            return Err(given_twice(&setting.name));
        }
    }
    Ok(by_name)
}

fn given_twice(name: &str) -> Failure {
    Failure::Usage {
        message: format!("the setting {name} is given twice"),
        advice: "give each setting once, with --set or with --reset",
    }
}

fn change(
    partitions: Option<u32>,
    settings: Vec<Setting>,
    resets: Vec<String>,
) -> Result<TopicChange, Failure> {
    let mut by_name: BTreeMap<String, Option<String>> =
        by_name(settings)?.into_iter().map(|(name, value)| (name, Some(value))).collect();
    for name in resets {
        if by_name.insert(name.clone(), None).is_some() {
            return Err(given_twice(&name));
        }
    }
    Ok(TopicChange { partitions, settings: by_name })
}

/// Offsets in use, over all partitions. After compaction there are fewer records than that.
fn records(topic: &TopicDescription) -> u64 {
    topic.partitions.iter().map(|partition| partition.end.since(partition.start)).sum()
}

fn bytes(topic: &TopicDescription) -> u64 {
    topic.partitions.iter().map(|partition| partition.bytes).sum()
}

/// One line about what was done.
fn say(output: &Output, done: &str, topic: &TopicDescription) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&Topic::from(topic));
    }
    let partitions = counted(topic.partitions.len() as u64, "partition");
    output.line(&format!("topic {}: {done}, {partitions}", topic.name))
}

fn show(output: &Output, topic: &TopicDescription) -> Result<(), Failure> {
    output.line(&format!("topic {}  (id {})\n", output.heading(topic.name.as_str()), topic.id))?;
    let partitions = topic.partitions.iter().map(|partition| {
        [
            partition.partition.to_string(),
            partition.start.to_string(),
            partition.end.to_string(),
            bytes_size(partition.bytes),
            partition.failure.clone().unwrap_or_else(|| "ok".to_owned()),
        ]
    });
    output
        .table(["PARTITION", "FIRST OFFSET", "NEXT OFFSET", "SIZE ON DISK", "STATE"], partitions)?;
    output.line("")?;
    let settings = topic.settings.iter().map(|setting| {
        let source = if setting.is_default { "broker's default" } else { "this topic" };
        [setting.name.clone(), setting.value.clone(), source.to_owned()]
    });
    output.table(["SETTING", "VALUE", "SET BY"], settings)
}

/// A topic as programs read it.
#[derive(Debug, Serialize)]
struct Topic<'a> {
    name: &'a str,
    id: String,
    partitions: Vec<PartitionRow<'a>>,
    settings: Vec<SettingRow<'a>>,
}

#[derive(Debug, Serialize)]
struct PartitionRow<'a> {
    partition: u32,
    start: i64,
    end: i64,
    bytes: u64,
    failure: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct SettingRow<'a> {
    name: &'a str,
    value: &'a str,
    is_default: bool,
}

impl<'a> From<&'a TopicDescription> for Topic<'a> {
    fn from(topic: &'a TopicDescription) -> Self {
        let partitions = topic.partitions.iter().map(|partition| PartitionRow {
            partition: partition.partition.get(),
            start: partition.start.get(),
            end: partition.end.get(),
            bytes: partition.bytes,
            failure: partition.failure.as_deref(),
        });
        let settings = topic.settings.iter().map(|setting| SettingRow {
            name: &setting.name,
            value: &setting.value,
            is_default: setting.is_default,
        });
        Self {
            name: topic.name.as_str(),
            id: topic.id.to_string(),
            partitions: partitions.collect(),
            settings: settings.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::id::{Offset, Partition};
    use protocol::verbs::{PartitionDescription, SettingDescription};

    use super::*;

    fn setting(text: &str) -> Setting {
        text.parse().unwrap()
    }

    #[test]
    fn a_setting_stands_for_itself_once() {
        let change = change(Some(3), vec![setting("a=1")], vec!["b".into()]).unwrap();
        assert_eq!(change.partitions, Some(3));
        assert_eq!(change.settings["a"].as_deref(), Some("1"));
        assert_eq!(change.settings["b"], None);
        assert!(by_name(vec![setting("a=1"), setting("a=2")]).is_err());
        assert!(super::change(None, vec![setting("a=1")], vec!["a".into()]).is_err());
    }

    fn described() -> TopicDescription {
        TopicDescription {
            name: "ratings".parse().unwrap(),
            id: "0190163d-8694-739b-aea5-966c26f8ad90".parse().unwrap(),
            partitions: vec![PartitionDescription {
                partition: Partition::ZERO,
                start: Offset::new(5).unwrap(),
                end: Offset::new(25).unwrap(),
                bytes: 4096,
                failure: Some("the disk failed".into()),
            }],
            settings: vec![SettingDescription {
                name: "retention.ms".into(),
                value: "-1".into(),
                is_default: false,
            }],
        }
    }

    #[test]
    fn a_change_to_what_is_so_already_is_no_change() {
        let before = described();
        let mut grown = described();
        grown.partitions[0].end = Offset::new(99).unwrap();
        assert!(is_as_before(&before, &grown), "records come at any time");
        let mut partitions = described();
        partitions.partitions.push(partitions.partitions[0].clone());
        let mut value = described();
        value.settings[0].value = "7".into();
        let mut source = described();
        source.settings[0].is_default = true;
        for changed in [partitions, value, source] {
            assert!(!is_as_before(&before, &changed));
        }
    }

    #[test]
    fn a_topic_in_json_has_all_it_has() {
        let topic = described();
        assert_eq!((records(&topic), bytes(&topic)), (20, 4096));
        let json = serde_json::to_value(Topic::from(&topic)).unwrap();
        assert_eq!(json["partitions"][0]["end"], 25);
        assert_eq!(json["partitions"][0]["failure"], "the disk failed");
        assert_eq!(json["settings"][0]["is_default"], false);
    }
}
