//! Where the logs of a data folder lie, and the segments of each.

use std::path::{Path, PathBuf};

use protocol::id::{Offset, Partition, TopicId, TopicName};
use storage::{Disk, Entry, StorageError};

use crate::exit::Failure;

/// The folder of the broker's own log of topics.
pub(super) const CATALOG: &str = "catalog";
/// The folder under which `NAME/ID/PARTITION` lie.
const TOPICS: &str = "topics";

/// The folder of one partition's log, or of the catalogue's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogFolder {
    /// `None` for the catalogue.
    pub(super) topic: Option<(TopicName, TopicId)>,
    pub(super) partition: Partition,
    pub(super) path: PathBuf,
}

impl LogFolder {
    /// As people read it.
    pub(super) fn title(&self) -> String {
        match &self.topic {
            Some((name, id)) => format!("topic {name}, partition {} (id {id})", self.partition),
            None => "the broker's catalogue of topics".to_owned(),
        }
    }

    /// The name of its topic; `None` for the catalogue.
    pub(super) fn topic_name(&self) -> Option<&str> {
        self.topic.as_ref().map(|(name, _)| name.as_str())
    }
}

/// A failure of the disk as the program's.
pub(super) fn failed(error: StorageError) -> Failure {
    match error {
        StorageError::Disk { action, file, cause, .. } => {
            let doing = format!("read the data folder ({action} {})", file.display());
            let cause =
                cause.errno.map_or_else(|| cause.kind.into(), std::io::Error::from_raw_os_error);
            Failure::Io { doing, cause }
        }
        other => Failure::Io {
            doing: "read the data folder".to_owned(),
            cause: std::io::Error::other(other),
        },
    }
}

/// Every log in the folder, or those of one topic, in order. Folders with other names are passed over.
pub(super) fn find_logs(
    disk: &dyn Disk,
    root: &Path,
    only: Option<&TopicName>,
) -> Result<Vec<LogFolder>, Failure> {
    let in_root = folders(disk, root)?;
    let mut logs = Vec::new();
    if only.is_none() && in_root.iter().any(|name| name == CATALOG) {
        let path = root.join(CATALOG);
        logs.push(LogFolder { topic: None, partition: Partition::ZERO, path });
    }
    let topics = root.join(TOPICS);
    let names =
        if in_root.iter().any(|name| name == TOPICS) { folders(disk, &topics)? } else { vec![] };
    for name in names.iter().filter_map(|name| TopicName::new(name).ok()) {
        if only.is_some_and(|only| *only != name) {
            continue;
        }
        let lives = topics.join(name.as_str());
        for id in folders(disk, &lives)?.iter().filter_map(|id| id.parse::<TopicId>().ok()) {
            let life = lives.join(id.to_string());
            for number in folders(disk, &life)? {
                let partition = number.parse().ok().and_then(|number| Partition::new(number).ok());
                let Some(partition) = partition else { continue };
                let topic = Some((name.clone(), id));
                logs.push(LogFolder { topic, partition, path: life.join(number) });
            }
        }
    }
    logs.sort();
    let nothing = |message| Failure::Usage {
        message,
        advice: "name the folder that was given to `thalweg serve --data-dir`, and a topic in it",
    };
    let root = root.display();
    match only {
        Some(only) if logs.is_empty() => {
            Err(nothing(format!("there is no topic {only} in {root}")))
        }
        None if logs.is_empty() && !in_root.iter().any(|name| name == TOPICS) => Err(nothing(
            format!("{root} is not a data folder: it holds neither topics nor a catalogue"),
        )),
        _ => Ok(logs),
    }
}

/// Where a partition lies.
pub(super) fn partition_folder(
    root: &Path,
    name: &TopicName,
    id: TopicId,
    partition: Partition,
) -> PathBuf {
    root.join(TOPICS).join(name.as_str()).join(id.to_string()).join(partition.to_string())
}

fn folders(disk: &dyn Disk, path: &Path) -> Result<Vec<String>, Failure> {
    let entries = disk.list(path).map_err(failed)?;
    Ok(entries.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name).collect())
}

/// The segments of a log: the files `OFFSET.log`, where OFFSET has 20 digits.
pub(super) fn segments(entries: Vec<Entry>) -> Vec<(Offset, String)> {
    let mut found: Vec<_> = entries
        .into_iter()
        .filter(|entry| !entry.is_folder)
        .filter_map(|entry| {
            let digits = entry.name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
            let base = digits.parse().ok().and_then(|base| Offset::new(base).ok())?;
            Some((base, entry.name))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use storage::RealDisk;

    use super::*;

    const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad90";

    fn titles(root: &Path, only: Option<&str>) -> Result<Vec<String>, Failure> {
        let only = only.map(|name| name.parse().unwrap());
        let logs = find_logs(&RealDisk::new(), root, only.as_ref())?;
        Ok(logs
            .iter()
            .map(|log| log.path.strip_prefix(root).unwrap().display().to_string())
            .collect())
    }

    #[test]
    fn logs_are_found_in_order_and_strangers_passed_over() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["catalog", "lost+found"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        for partition in ["10", "2", "x"] {
            fs::create_dir_all(root.path().join(format!("topics/b/{ID}/{partition}"))).unwrap();
        }
        fs::create_dir_all(root.path().join(format!("topics/a/{ID}/0"))).unwrap();
        fs::create_dir_all(root.path().join("topics/a/no-uuid/0")).unwrap();
        let a = format!("topics/a/{ID}/0");
        let b = [format!("topics/b/{ID}/2"), format!("topics/b/{ID}/10")];
        let all = ["catalog".to_owned(), a.clone(), b[0].clone(), b[1].clone()];
        assert_eq!(titles(root.path(), None).unwrap(), all);
        assert_eq!(titles(root.path(), Some("a")).unwrap(), [a]);
        assert!(matches!(titles(root.path(), Some("c")), Err(Failure::Usage { .. })));
    }

    #[test]
    fn what_is_no_data_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(titles(root.path(), None), Err(Failure::Usage { .. })));
        let missing = titles(&root.path().join("missing"), None).unwrap_err();
        assert!(missing.to_string().contains("missing"));
        fs::create_dir(root.path().join("topics")).unwrap();
        assert!(titles(root.path(), None).unwrap().is_empty());
    }

    #[test]
    fn segments_are_the_files_with_an_offset_for_a_name() {
        let entry = |name: &str, is_folder| Entry { name: name.to_owned(), is_folder, bytes: 0 };
        let found = segments(vec![
            entry("00000000000000000200.log", false),
            entry("00000000000000000000.log", false),
            entry("00000000000000000000.index", false),
            entry("00000000000000000300.log", true),
            entry("5.log", false),
            entry("checkpoint", false),
        ]);
        let bases: Vec<_> = found.iter().map(|(base, _)| base.get()).collect();
        assert_eq!(bases, [0, 200]);
    }
}
