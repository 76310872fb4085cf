//! The command line as people and scripts use it: a session by hand, exit codes, machine-readable output.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::BrokerProcess;

/// Runs a command against the broker, with `input` on standard input.
pub(crate) fn thalweg(broker: &BrokerProcess, arguments: &[&str], input: &str) -> Output {
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
pub(crate) fn succeed(broker: &BrokerProcess, arguments: &[&str], input: &str) -> String {
    let output = thalweg(broker, arguments, input);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn json_lines(text: &str) -> Vec<serde_json::Value> {
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
    assert_eq!(code(&["topic", "delete", "_thalweg_sql_catalog", "-y"]), 5);
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

/// Standard error of a command that must fail with this code.
fn fail(broker: &BrokerProcess, arguments: &[&str], code: i32) -> String {
    let output = thalweg(broker, arguments, "");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{errors}");
    errors
}

#[test]
fn what_is_no_broker_is_named_and_the_right_port_told() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(&folder.path().join("data"), &[]);
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = other.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = other.accept() {
            // The peer may be gone already.
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.7\r\n");
        }
    });
    for command in [&["topic", "list"][..], &["sql", "-e", "SHOW TOPICS;"], &["consume", "x"]] {
        let at = |server: &str| fail(&broker, &[&["--server", server], command].concat(), 6);
        let errors = at(&broker.http);
        assert!(errors.contains("is the HTTP port of a broker"), "{errors}");
        assert!(errors.contains("gRPC address"), "{errors}");
        let errors = at(&elsewhere);
        assert!(errors.contains("it answers \"SSH-2.0-OpenSSH_9.7\""), "{errors}");
    }
    let errors = fail(&broker, &["--server", "127.0.0.1:1", "sql", "-e", "SHOW TOPICS;"], 6);
    assert!(errors.contains("broker at 127.0.0.1:1"), "{errors}");
    // A broker stays a broker, whatever it refuses.
    let errors = fail(&broker, &["sql", "-e", "CREATE TYPE a AS INT;"], 2);
    assert!(errors.contains("UNSUPPORTED") && errors.contains("What runs today"), "{errors}");
}

#[test]
fn slips_of_the_keyboard_are_met_with_the_right_word() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(&folder.path().join("data"), &[]);
    let errors = fail(&broker, &["sql", "ratings.sql"], 2);
    assert!(errors.contains("-f FILE"), "{errors}");
    let errors = fail(&broker, &["sql", "-P", "auto.offset.rest=x", "-e", "SHOW TOPICS;"], 2);
    assert!(errors.contains("did you mean auto.offset.reset?"), "{errors}");
    let errors = fail(&broker, &["topic", "create", "t", "--partitions", "-1"], 2);
    assert!(errors.contains("-1 is not in 1..=10000"), "{errors}");

    succeed(&broker, &["topic", "create", "t"], "");
    let alter = ["topic", "alter", "t", "--set", "retention.ms=86400000"];
    assert!(succeed(&broker, &alter, "").contains("changed"));
    assert!(succeed(&broker, &alter, "").contains("is so already"));
    let names = |flags: &[&str]| -> Vec<String> {
        let list = [&["--output", "json", "topic", "list"][..], flags].concat();
        let topics = json_lines(&succeed(&broker, &list, ""));
        topics.iter().map(|topic| topic["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[]), ["t"]);
    assert!(names(&["--all"]).contains(&"_thalweg_sql_catalog".to_owned()));
    assert_eq!(names(&["--all"]), names(&["--internal"]));

    let output = thalweg(&broker, &["produce", "t"], "a\n\n \r\n\r\nb\n");
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.contains("3 records") && note.contains("2 empty lines left out"), "{note}");
    succeed(&broker, &["produce", "t", "--keep-empty"], "c\n\n");
    let read = succeed(&broker, &["consume", "t", "-e", "-o", "[%s]"], "");
    assert_eq!(read, "[a][ ][b][c][]");
}

#[cfg(target_os = "linux")]
#[test]
fn serve_takes_as_many_open_files_as_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = ["sh", "-c", "ulimit -Sn 200; exec \"$0\" \"$@\""].map(str::to_owned);
    let broker = BrokerProcess::start_by(&launcher, &folder.path().join("data"), &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.id())).unwrap();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let [soft, hard, ..] = limit.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{limit}");
    };
    assert_eq!(soft, hard, "{limit}");
}
