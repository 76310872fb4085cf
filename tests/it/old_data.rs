//! Data folders of earlier versions, opened by this one. They are never regenerated: a version that cannot read them has
//! broken a promise.
//!
//! `tests/data/v1/` was written by version 0.1.0: topic `ratings` with two partitions, every compression, null keys and
//! values, headers, an idempotent producer; a stream and a persistent query over it.

use std::path::Path;

use thalweg::{Config, Position, Record, Thalweg, TopicName};

use crate::support::copy_folder;

/// Every record of a topic as `partition offset key value headers`, as `tests/data/v1.txt` has them.
async fn contents(thalweg: &Thalweg, topic: &str) -> String {
    let topic: TopicName = topic.parse().unwrap();
    let mut consumer = thalweg.consumer();
    consumer.assign(&topic, None, Position::Earliest).await.unwrap();
    let ends = consumer.ends().await.unwrap();
    let count: i64 = ends.iter().map(|(_, _, end)| end.get()).sum();
    let mut lines = Vec::new();
    for _ in 0..count {
        let record = consumer.next().await.unwrap();
        let text = |bytes: &Option<bytes::Bytes>| {
            bytes
                .as_ref()
                .map_or("null".to_owned(), |bytes| format!("{:?}", String::from_utf8_lossy(bytes)))
        };
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|header| format!("{}={}", header.name_text(), text(&header.value)))
            .collect();
        lines.push(format!(
            "{topic} {} {} {} {} {} {headers:?}",
            record.partition,
            record.offset,
            record.timestamp,
            text(&record.key),
            text(&record.value)
        ));
    }
    lines.sort();
    lines.join("\n") + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_version_0_1_0_is_read_and_written_on() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&data.join("v1"), folder.path());
    let config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
    let thalweg = Thalweg::open_with(config).await.unwrap();
    let found = contents(&thalweg, "ratings").await + &contents(&thalweg, "POOR").await;
    assert_eq!(found, std::fs::read_to_string(data.join("v1.txt")).unwrap());

    // And the query goes on where it stood.
    let producer = thalweg.producer();
    let rating = Record::new("new", r#"{"stars": 1, "message": "still here"}"#);
    producer.send(&"ratings".parse().unwrap(), None, rating).await.unwrap().await.unwrap();
    let mut consumer = thalweg.consumer();
    consumer.assign(&"POOR".parse().unwrap(), None, Position::Earliest).await.unwrap();
    loop {
        let record = consumer.next().await.unwrap();
        if record.value.as_deref() == Some(&br#"{"MESSAGE":"still here"}"#[..]) {
            break;
        }
    }
    thalweg.close().await;
}
