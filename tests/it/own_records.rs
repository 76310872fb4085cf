//! Damage in the topics that the SQL engine keeps for itself: topics are served all the same, nothing is guessed, and there
//! is a way out.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cli::{json_lines, succeed, thalweg};
use crate::support::{BrokerProcess, DEADLINE};

const CATALOG: &str = "_thalweg_sql_catalog";
const CHECKPOINTS: &str = "_thalweg_sql_checkpoints";

/// A query that copies the topic `from` into the topic `to`; `from` is made with it.
fn copy(broker: &BrokerProcess, from: &str, to: &str) {
    let statements = format!(
        "CREATE STREAM IF NOT EXISTS {from} (N BIGINT) WITH (kafka_topic='{from}', value_format='JSON', partitions=1);
         CREATE STREAM {to} AS SELECT N FROM {from};"
    );
    succeed(broker, &["sql", "-e", &statements], "");
}

fn feed(broker: &BrokerProcess, topic: &str, numbers: std::ops::Range<u32>) {
    let lines: String = numbers.map(|n| format!("{{\"N\":{n}}}\n")).collect();
    succeed(broker, &["produce", topic], &lines);
}

/// Waits until a topic has so many records and gives them.
fn records(broker: &BrokerProcess, topic: &str, count: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let found = succeed(broker, &["consume", topic, "-e", "-o", "%s\\n"], "");
        let found: Vec<_> = found.lines().map(str::to_owned).collect();
        if found.len() >= count {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "{topic} has {found:?} only");
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("{{\"N\":{n}}}")).collect()
}

/// State and cause of the query that writes a stream.
fn state(broker: &BrokerProcess, sink: &str) -> (String, String) {
    let queries =
        json_lines(&succeed(broker, &["--output", "json", "sql", "-e", "SHOW QUERIES;"], ""));
    let query = queries.iter().find(|query| query["ID"].as_str().unwrap().contains(sink)).unwrap();
    let text = |name: &str| query[name].as_str().unwrap_or_default().to_owned();
    (text("STATE"), text("CAUSE"))
}

/// What a statement that must be refused wrote to standard error, and its exit code.
fn refused(broker: &BrokerProcess, statement: &str) -> (String, i32) {
    let output = thalweg(broker, &["sql", "-e", statement], "");
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

fn ready(broker: &BrokerProcess) -> String {
    let mut stream = TcpStream::connect(&broker.http).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn stop(broker: &mut BrokerProcess) {
    broker.signal("TERM");
    let begun = Instant::now();
    while broker.ended().is_none() {
        assert!(begun.elapsed() < DEADLINE, "the broker does not stop");
        std::thread::yield_now();
    }
}

/// The folder of the only partition of a topic.
fn partition(data: &Path, topic: &str) -> PathBuf {
    let lives = data.join("topics").join(topic);
    let life = std::fs::read_dir(lives).unwrap().next().unwrap().unwrap();
    life.path().join("0")
}

/// Flips a bit in the last place of a topic's first segment where this text stands.
fn flip_at(data: &Path, topic: &str, text: &str) {
    let segment = partition(data, topic).join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let place = bytes.windows(text.len()).rposition(|window| window == text.as_bytes());
    bytes[place.unwrap()] ^= 0x10;
    std::fs::write(&segment, &bytes).unwrap();
}

#[test]
fn a_damaged_catalogue_keeps_no_topic_down_and_no_statement_guesses() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut broker = BrokerProcess::start(&data, &[]);
    copy(&broker, "A", "B");
    // A checkpoint at each stop: they count up.
    for n in 0..3 {
        feed(&broker, "A", n..n + 1);
        assert_eq!(records(&broker, "B", n as usize + 1), numbers(0..n + 1));
        stop(&mut broker);
        if n < 2 {
            broker.restart();
        }
    }
    flip_at(&data, CATALOG, "stream/B");
    broker.restart();

    feed(&broker, "A", 3..5);
    assert_eq!(records(&broker, "A", 5), numbers(0..5));
    let (told, code) = refused(&broker, "SHOW STREAMS;");
    assert_eq!(code, 7, "{told}");
    for part in [CATALOG, "00000000000000000000.log", "offset 1", "next:", "Beginning anew"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(ready(&broker).contains("200 OK"));
    assert!(ready(&broker).contains(CATALOG), "{}", ready(&broker));
    let is_told = |line: &String| line.contains("ERROR") && line.contains(CATALOG);
    assert!(broker.complaints().iter().any(is_told), "{:?}", broker.complaints());

    // The way out: the partition is taken away, then the topic, which is sound no more, may be deleted.
    let code = thalweg(&broker, &["topic", "delete", CATALOG, "-y"], "").status.code();
    assert_eq!(code, Some(5), "as long as it can be read, it is kept");
    stop(&mut broker);
    std::fs::rename(partition(&data, CATALOG), folder.path().join("kept")).unwrap();
    broker.restart();
    assert_eq!(refused(&broker, "SHOW STREAMS;").1, 7);
    succeed(&broker, &["topic", "delete", CATALOG, "-y"], "");
    stop(&mut broker);
    broker.restart();
    assert!(!ready(&broker).contains("but"), "{}", ready(&broker));
    assert!(
        json_lines(&succeed(&broker, &["--output", "json", "sql", "-e", "SHOW STREAMS;"], ""))
            .is_empty()
    );
    // The new query has the id of the lost one, and nothing else of it.
    succeed(&broker, &["topic", "delete", "B", "-y"], "");
    copy(&broker, "A", "B");
    assert_eq!(records(&broker, "B", 5), numbers(0..5));
    stop(&mut broker);
    broker.restart();
    feed(&broker, "A", 5..6);
    assert_eq!(records(&broker, "B", 6), numbers(0..6));
}

#[test]
fn damage_among_checkpoints_stops_the_queries_whose_newest_it_may_be_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut broker = BrokerProcess::start(&data, &[]);
    copy(&broker, "A", "B");
    feed(&broker, "A", 0..3);
    assert_eq!(records(&broker, "B", 3), numbers(0..3));
    stop(&mut broker);
    broker.restart();
    copy(&broker, "C", "D");
    feed(&broker, "C", 0..3);
    assert_eq!(records(&broker, "D", 3), numbers(0..3));
    stop(&mut broker);
    flip_at(&data, CHECKPOINTS, "CSAS_B");
    broker.restart();

    feed(&broker, "A", 3..5);
    feed(&broker, "C", 3..5);
    assert_eq!(records(&broker, "D", 5), numbers(0..5), "its checkpoint lies behind the damage");
    assert_eq!(state(&broker, "D").0, "RUNNING");
    let (state_of_b, cause) = state(&broker, "B");
    assert_eq!(state_of_b, "ERROR");
    for part in ["TERMINATE CSAS_B", "00000000000000000000.log", "offset"] {
        assert!(cause.contains(part), "{part} is not in {cause}");
    }
    assert_eq!(records(&broker, "B", 3), numbers(0..3), "nothing is repeated");
    let is_told = |line: &String| line.contains("ERROR") && line.contains(CHECKPOINTS);
    assert!(broker.complaints().iter().any(is_told), "{:?}", broker.complaints());

    copy(&broker, "A", "E");
    succeed(&broker, &["sql", "-e", "TERMINATE ALL;"], "");
    assert_eq!(records(&broker, "E", 5), numbers(0..5));
}

#[test]
fn lost_checkpoints_stop_queries_until_they_are_back_or_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut broker = BrokerProcess::start(&data, &[]);
    copy(&broker, "A", "B");
    feed(&broker, "A", 0..3);
    assert_eq!(records(&broker, "B", 3), numbers(0..3));
    stop(&mut broker);
    let (there, kept) = (partition(&data, CHECKPOINTS), folder.path().join("kept"));
    std::fs::rename(&there, &kept).unwrap();
    broker.restart();
    feed(&broker, "A", 3..5);
    let (state_of_b, cause) = state(&broker, "B");
    assert!(state_of_b == "ERROR" && cause.contains(CHECKPOINTS), "{cause}");
    stop(&mut broker);

    std::fs::rename(&kept, &there).unwrap();
    broker.restart();
    assert_eq!(records(&broker, "B", 5), numbers(0..5), "back, and nothing is repeated");
    stop(&mut broker);

    std::fs::rename(&there, &kept).unwrap();
    broker.restart();
    succeed(&broker, &["topic", "delete", CHECKPOINTS, "-y"], "");
    stop(&mut broker);
    broker.restart();
    let (state_of_b, cause) = state(&broker, "B");
    assert!(state_of_b == "ERROR" && cause.contains("TERMINATE CSAS_B"), "{cause}");
    succeed(&broker, &["sql", "-e", "TERMINATE ALL;"], "");
    copy(&broker, "A", "E");
    assert_eq!(records(&broker, "E", 5), numbers(0..5));
    assert_eq!(records(&broker, "B", 5), numbers(0..5), "nothing is repeated");
}
