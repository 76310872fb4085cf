//! Bits that change on a disk at rest, while the broker is stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use storage::Disk as _;
use storage::sim::SimDisk;

use crate::oracle::Place;
use crate::plan::{FOLDER, TopicPlan};
use crate::random::Random;

/// Changes some bits in segments of the topics of the plan, and says how many in each partition.
pub(crate) fn flip(
    disk: &SimDisk,
    topics: &[TopicPlan],
    random: &mut Random,
) -> BTreeMap<Place, usize> {
    let mut segments = Vec::new();
    for topic in topics {
        let folder = Path::new(FOLDER).join("topics").join(topic.name.as_str());
        find_segments(disk, &folder, &mut segments);
    }
    let mut hits = BTreeMap::new();
    for _ in 0..random.below(4) {
        let (path, bytes) = random.pick(&segments);
        let (byte, bit) = (random.below(*bytes), u8::try_from(random.below(8)).unwrap());
        disk.flip(path, byte, bit);
        *hits.entry(place_of(topics, path)).or_default() += 1;
    }
    hits
}

/// Whose segment this is: `.../NAME/ID/PARTITION/FILE`.
fn place_of(topics: &[TopicPlan], segment: &Path) -> Place {
    let names: Vec<_> = segment.iter().rev().map(|name| name.to_str().unwrap()).collect();
    let topic = topics.iter().position(|topic| topic.name.as_str() == names[3]).unwrap();
    Place { topic, partition: names[1].parse().unwrap() }
}

fn find_segments(disk: &SimDisk, folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
    for entry in disk.list(folder).unwrap() {
        let path = folder.join(&entry.name);
        if entry.is_folder {
            find_segments(disk, &path, found);
        } else if entry.name.ends_with(".log") && entry.bytes > 0 {
            found.push((path, entry.bytes));
        }
    }
}
