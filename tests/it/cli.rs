//! The command line as people and scripts use it: a session by hand, exit codes, machine-readable output.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::BrokerProcess;

/// Runs a command against the broker, with `input` on standard input.
fn thalweg(broker: &BrokerProcess, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .args(arguments)
        .env("THALWEG_SERVER", &broker.grpc)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What a command that must succeed wrote to standard output.
fn succeed(broker: &BrokerProcess, arguments: &[&str], input: &str) -> String {
    let output = thalweg(broker, arguments, input);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_first_session_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = BrokerProcess::start(&folder.path().join("data"), &[]);
    succeed(&broker, &["topic", "create", "ratings", "--partitions", "2"], "");
    succeed(&broker, &["datagen", "ratings", "--count", "1000", "--seed", "7"], "");
    let three = succeed(&broker, &["consume", "ratings", "--limit", "3"], "");
    assert_eq!(three.lines().count(), 3);
    succeed(
        &broker,
        &[
            "sql",
            "-e",
            "CREATE STREAM ratings (rating_id BIGINT, stars INT, channel STRING, message STRING)
             WITH (kafka_topic='ratings', value_format='JSON');
           CREATE STREAM poor_ratings AS SELECT rating_id, stars, message FROM ratings
             WHERE stars < 3 AND LCASE(channel) NOT LIKE '%test%';",
        ],
        "",
    );
    // The oracle: the same rule over what the topic holds.
    let all = json_lines(&succeed(&broker, &["consume", "ratings", "-e", "-o", "json"], ""));
    assert_eq!(all.len(), 1000);
    let rating = |record: &serde_json::Value| -> serde_json::Value {
        serde_json::from_str(record["value"].as_str().unwrap()).unwrap()
    };
    let is_poor = |rating: &serde_json::Value| {
        let channel = rating["channel"].as_str().unwrap().to_lowercase();
        rating["stars"].as_i64().unwrap() < 3 && !channel.contains("test")
    };
    let mut wanted: Vec<i64> = all
        .iter()
        .map(rating)
        .filter(is_poor)
        .map(|it| it["rating_id"].as_i64().unwrap())
        .collect();
    wanted.sort_unstable();

    broker.kill();
    broker.restart();
    let count = wanted.len().to_string();
    let poor = json_lines(&succeed(
        &broker,
        &["consume", "POOR_RATINGS", "--limit", &count, "-o", "json"],
        "",
    ));
    let mut found: Vec<i64> =
        poor.iter().map(|record| rating(record)["RATING_ID"].as_i64().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, wanted, "kill -9 in the middle loses and repeats nothing");
}

#[test]
fn lines_in_lines_out() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(&folder.path().join("data"), &["durability=os"]);
    succeed(&broker, &["topic", "create", "lines"], "");
    succeed(
        &broker,
        &["produce", "lines", "--key-separator", ":", "--compression", "zstd"],
        "a:1\nb:2:2\nc:\n",
    );
    let text = succeed(&broker, &["consume", "lines", "-e", "-o", "%o %k=%s\\n"], "");
    assert_eq!(text, "0 a=1\n1 b=2:2\n2 c=\n");
    // What is written as JSON lines is read back as the same records.
    let json = succeed(&broker, &["consume", "lines", "-e", "-o", "json"], "");
    succeed(&broker, &["topic", "create", "copy"], "");
    succeed(&broker, &["produce", "copy", "--format", "jsonl"], &json);
    let copy = succeed(&broker, &["consume", "copy", "-e", "-o", "json"], "");
    assert_eq!(copy.replace("copy", "lines"), json);
    let listed = json_lines(&succeed(&broker, &["topic", "list", "--output", "json"], ""));
    assert!(!listed.is_empty());
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = BrokerProcess::start(&folder.path().join("data"), &[]);
    succeed(&broker, &["topic", "create", "there"], "");
    let code = |arguments: &[&str]| {
        let output = thalweg(&broker, arguments, "");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("next:"), "{arguments:?} does not say what to do next:\n{errors}");
        output.status.code().unwrap()
    };
    assert_eq!(code(&["consume", "nowhere"]), 3);
    assert_eq!(code(&["topic", "create", "there"]), 4);
    assert_eq!(code(&["topic", "create", "x", "--set", "retention.md=1"]), 2);
    assert_eq!(code(&["sql", "-e", "SELEC 1;"]), 2);
    assert_eq!(code(&["--server", "127.0.0.1:1", "topic", "list"]), 6);
    let errors = thalweg(&broker, &["--output", "json", "consume", "nowhere"], "").stderr;
    let error: serde_json::Value = serde_json::from_slice(&errors).unwrap();
    assert_eq!(error["error"]["outcome"], "UNKNOWN_TOPIC");
    broker.kill();
}

#[test]
fn a_configuration_is_checked_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thalweg.toml");
    let check = |text: &str, environment: &[(&str, &str)]| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
        command.args(["serve", "--check", "--data-dir"]).arg(folder.path().join("data"));
        command.arg("--config").arg(&file).envs(environment.iter().copied());
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check("durability = \"os\"\n[topic]\n\"retention.ms\" = 5\n", &[]).0, 0);
    let (code, errors) = check("durabilty = \"os\"\n", &[]);
    assert_eq!(code, 2);
    assert!(errors.contains("did you mean \"durability\"?"), "{errors}");
    let (code, errors) = check("", &[("THALWEG_TOPIC_SEGMENT_BYTES", "tiny")]);
    assert_eq!(code, 2);
    assert!(errors.contains("THALWEG_TOPIC_SEGMENT_BYTES"), "{errors}");
    assert!(!folder.path().join("data").exists());
}
