//! What should lie in a data folder: its mark, and the partitions of the topics that the catalogue names (for its
//! records see docs/format.md). Where the catalogue itself is damaged, nothing is said to be missing because of it.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use protocol::batch::Batch;
use protocol::id::{Partition, TopicId, TopicName};
use serde::Deserialize;
use storage::{Access, DataFolder, Disk, Found, SegmentScan};

use super::folder::{CATALOG, failed, find_logs, partition_folder, segments};
use crate::exit::Failure;

/// Keys of the records that tell of topics.
const TOPIC_PREFIX: &str = "topic/";

/// Something that should be there and is not, or not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// The topic and the partition; `None` for the folder itself.
    pub(super) partition: Option<(TopicName, Partition)>,
    pub(super) cause: String,
}

/// Every topic that there should be: this life of it, and how many partitions it has.
type Topics = BTreeMap<TopicName, (TopicId, u32)>;

/// A topic as the catalogue has it. What else is in the record is not looked at.
#[derive(Deserialize)]
struct TopicValue {
    id: String,
    partitions: u32,
}

/// All that is missing in a data folder; of `only` one topic where that was asked for.
pub(super) fn missing(
    disk: &dyn Disk,
    root: &Path,
    only: Option<&TopicName>,
) -> Result<Vec<Missing>, Failure> {
    let mut missing = Vec::new();
    let mut tell = |cause: String| missing.push(Missing { partition: None, cause });
    match DataFolder::look(disk, root) {
        Ok(Some(_)) => {}
        Ok(None) => tell(format!("there is no thalweg.folder in {}", root.display())),
        Err(error) => tell(error.to_string()),
    }
    let path = root.join(CATALOG);
    if !disk.list(root).map_err(failed)?.iter().any(|entry| entry.name == CATALOG) {
        tell(format!("the catalogue of topics is missing: there is no folder {}", path.display()));
        return Ok(missing);
    }
    let topics = read_topics(disk, &path)?.unwrap_or_default();
    // Looked for behind the catalogue: a broker at work makes the folders first.
    let logs = find_logs(disk, root, None)?;
    for (name, (id, partitions)) in topics {
        if only.is_some_and(|only| *only != name) {
            continue;
        }
        let is_there = |number: Partition| {
            let topic = Some((name.clone(), id));
            logs.iter().any(|log| log.partition == number && log.topic == topic)
        };
        let numbers = (0..partitions).filter_map(|number| Partition::new(number.into()).ok());
        for number in numbers.filter(|number| !is_there(*number)) {
            let folder = partition_folder(root, &name, id, number);
            let cause = format!(
                "topic {name}, partition {number}: the catalogue names it, and there is no folder {}",
                folder.display()
            );
            missing.push(Missing { partition: Some((name.clone(), number)), cause });
        }
    }
    Ok(missing)
}

/// The topics that there should be; `None` when a part of the catalogue cannot be read.
fn read_topics(disk: &dyn Disk, folder: &Path) -> Result<Option<Topics>, Failure> {
    let mut topics = Topics::new();
    for (base, file) in segments(disk.list(folder).map_err(failed)?) {
        let opened = disk.open(&folder.join(file), Access::Read).map_err(failed)?;
        let mut scan = SegmentScan::new(&*opened, base).map_err(failed)?;
        while let Some(found) = scan.step().map_err(failed)? {
            let (position, header) = match found {
                Found::Batch { position, header } => (position, header),
                Found::Damaged(damaged) if damaged.is_unfinished => continue,
                Found::Damaged(_) => return Ok(None),
            };
            let bytes = opened.read(header.total_bytes, position).map_err(failed)?;
            if take_batch(Bytes::from(bytes), &mut topics).is_none() {
                return Ok(None);
            }
        }
    }
    Ok(Some(topics))
}

/// Takes over what the records of a batch say of topics; `None` when they cannot be understood.
fn take_batch(bytes: Bytes, topics: &mut Topics) -> Option<()> {
    let batch = Batch::check(bytes).ok()?;
    let mut scratch = Vec::new();
    for record in batch.records(&mut scratch).ok()? {
        let record = record.ok()?.to_record(batch.bytes());
        let key = String::from_utf8(record.key.unwrap_or_default().to_vec()).ok()?;
        let Some(name) = key.strip_prefix(TOPIC_PREFIX) else { continue };
        let name = TopicName::new(name).ok()?;
        match record.value {
            Some(value) => {
                let value: TopicValue = serde_json::from_slice(&value).ok()?;
                topics.insert(name, (value.id.parse().ok()?, value.partitions));
            }
            None => drop(topics.remove(&name)),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use protocol::id::{Offset, Timestamp};
    use protocol::outcome::Outcome;
    use storage::RealDisk;
    use thalweg::{Config, Thalweg};

    use super::*;

    async fn made(root: &Path) {
        let config = Config { data_dir: root.to_owned(), ..Config::default() };
        let thalweg = Thalweg::open_with(config).await.unwrap();
        for (name, partitions) in [("a", 3), ("b", 1), ("gone", 1)] {
            thalweg.create_topic(name, partitions).await.unwrap();
        }
        thalweg.admin().delete_topic(&"gone".parse().unwrap()).await.unwrap();
        let deleted = thalweg.admin().describe_topic(&"gone".parse().unwrap()).await;
        assert_eq!(deleted.unwrap_err().outcome(), Outcome::UnknownTopic);
        thalweg.close().await;
    }

    fn causes(root: &Path, only: Option<&str>) -> Vec<String> {
        let disk = RealDisk::new();
        let only: Option<TopicName> = only.map(|name| name.parse().unwrap());
        let missing = missing(&disk, root, only.as_ref()).unwrap();
        missing.into_iter().map(|missing| missing.cause).collect()
    }

    #[tokio::test]
    async fn what_should_be_there_and_is_not_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        made(&root).await;
        assert_eq!(causes(&root, None), [""; 0]);

        let lives = fs::read_dir(root.join("topics/a")).unwrap();
        let life = lives.map(|life| life.unwrap().path()).next().unwrap();
        fs::remove_dir_all(life.join("2")).unwrap();
        let found = causes(&root, None);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("topic a, partition 2: the catalogue names it"), "{found:?}");
        assert_eq!(causes(&root, Some("a")), found);
        assert_eq!(causes(&root, Some("b")), [""; 0]);

        let mark = root.join("thalweg.folder");
        let mut bytes = fs::read(&mark).unwrap();
        bytes[24] ^= 1;
        fs::write(&mark, &bytes).unwrap();
        let found = causes(&root, Some("b"));
        assert!(found[0].contains("thalweg.folder"), "{found:?}");
        fs::remove_file(&mark).unwrap();
        assert!(causes(&root, Some("b"))[0].contains("thalweg.folder"));

        fs::remove_dir_all(root.join(CATALOG)).unwrap();
        let found = causes(&root, Some("b"));
        assert!(found[1].contains("the catalogue of topics is missing"), "{found:?}");
    }

    #[test]
    fn a_catalogue_that_cannot_be_read_says_nothing_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let mut builder = protocol::batch::Builder::new(protocol::compression::Compression::None);
        let record = protocol::record::Record::new("topic/a", "{}");
        builder.push(&record, Timestamp(1));
        let batch = builder.finish(None).into_bytes();
        fs::write(folder.path().join(format!("{:020}.log", Offset::default().get())), batch)
            .unwrap();
        assert_eq!(read_topics(&RealDisk::new(), folder.path()).unwrap(), None);
    }
}
