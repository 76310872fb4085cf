//! Damage on disk in the middle of what a query reads: it is named, passed over, and nothing else is lost.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cli::{json_lines, succeed};
use crate::support::{BrokerProcess, DEADLINE};

const RECORDS: u64 = 600;

/// The first segment of a topic that has several, by the folder of its partition.
fn first_segment(folder: &Path) -> PathBuf {
    let mut segments: Vec<PathBuf> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                segments.push(path);
            }
        }
    }
    segments.sort();
    let siblings = |path: &Path| segments.iter().filter(|it| it.parent() == path.parent()).count();
    let first = segments.iter().find(|path| siblings(path) > 2);
    first.expect("the topic has several segments").clone()
}

#[test]
fn a_query_names_damage_in_its_source_and_goes_on_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut broker = BrokerProcess::start(&data, &[]);
    succeed(
        &broker,
        &["topic", "create", "numbers", "-p", "1", "--set", "segment.bytes=16384"],
        "",
    );
    let lines: String =
        (0..RECORDS).map(|n| format!("{{\"n\":{n},\"text\":\"{n:050}\"}}\n")).collect();
    succeed(&broker, &["produce", "numbers", "--batch-bytes", "1000", "--linger-ms", "50"], &lines);
    broker.kill();
    let segment = first_segment(&data);
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&segment, &bytes).unwrap();
    broker.restart();

    let statements =
        "CREATE STREAM numbers (n BIGINT) WITH (kafka_topic='numbers', value_format='JSON');
        CREATE STREAM copies AS SELECT n FROM numbers;";
    succeed(&broker, &["sql", "-e", statements], "");
    let numbers = || -> Vec<u64> {
        let records = json_lines(&succeed(&broker, &["consume", "COPIES", "-e", "-o", "json"], ""));
        let number = |record: &serde_json::Value| {
            let value: serde_json::Value =
                serde_json::from_str(record["value"].as_str().unwrap()).unwrap();
            value["N"].as_u64().unwrap()
        };
        records.iter().map(number).collect()
    };
    let begun = Instant::now();
    let found = loop {
        let found = numbers();
        if found.last() == Some(&(RECORDS - 1)) {
            break found;
        }
        assert!(begun.elapsed() < DEADLINE, "the query has come to {:?} only", found.last());
    };
    // One hole, as large as the batch that was hit; before and behind it everything once, in order.
    let hole: Vec<_> = found.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!((found[0], hole.len()), (0, 1), "{found:?}");
    assert!(hole[0][1] - hole[0][0] < 100, "{hole:?}");
    let (last_before, first_behind) = (hole[0][0], hole[0][1]);

    let queries =
        json_lines(&succeed(&broker, &["--output", "json", "sql", "-e", "SHOW QUERIES;"], ""));
    assert_eq!(queries[0]["STATE"], "RUNNING");
    let cause = queries[0]["CAUSE"].as_str().unwrap();
    let went_on = format!("went on at offset {first_behind} instead of {}", last_before + 1);
    assert!(cause.contains(&went_on), "{cause}");
    let begun = Instant::now();
    let log = loop {
        let log = ["consume", "_thalweg_processing_log", "-e"];
        let found = crate::cli::thalweg(&broker, &log, "");
        if found.status.success() && !found.stdout.is_empty() {
            break String::from_utf8(found.stdout).unwrap();
        }
        assert!(begun.elapsed() < DEADLINE, "the processing log tells nothing");
    };
    let entry = &json_lines(&log)[0];
    assert_eq!((&entry["step"], &entry["topic"]), (&"fetch".into(), &"numbers".into()));
    assert!(entry["cause"].as_str().unwrap().contains(&went_on), "{log}");
}
