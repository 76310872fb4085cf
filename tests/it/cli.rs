//! The command line as people and scripts use it: a session by hand, exit codes, machine-readable output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{BrokerProcess, DEADLINE};

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
    let (code, errors) = check("", &[("THALWEG_DURABILTY", "os")]);
    assert_eq!(code, 2);
    assert!(errors.contains("did you mean THALWEG_DURABILITY?"), "{errors}");
    let (code, errors) = check("", &[("THALWEG_TOPIC_RETENTION", "1")]);
    assert_eq!(code, 2);
    assert!(errors.contains("did you mean THALWEG_TOPIC_RETENTION_"), "{errors}");
    let of_clients = [("THALWEG_SERVER", "h:1"), ("THALWEG_LOG", "warn"), ("THALWEG_SLIP", "")];
    assert_eq!(check("", &[("THALWEG_SERVICE_HOST", "10.0.0.7")]).0, 0, "as Kubernetes names it");
    assert_eq!(check("", &of_clients).0, 0);
    assert!(!folder.path().join("data").exists());
}

/// Runs a command that needs no broker: its exit code, standard output and standard error.
fn alone(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_thalweg")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_data_folder_is_checked_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (file, below) = (file.display().to_string(), file.join("data").display().to_string());
    let other = folder.path().join("other");
    std::fs::create_dir_all(other.join("somebody's")).unwrap();
    for unusable in [&file, &below, &other.display().to_string()] {
        let (code, _, errors) = alone(&["serve", "--check", "--data-dir", unusable]);
        assert_eq!(code, 1, "{unusable}: {errors}");
        assert!(errors.contains(unusable.as_str()) && errors.contains("next:"), "{errors}");
    }
    if cfg!(target_os = "linux") {
        assert_eq!(alone(&["serve", "--check", "--data-dir", "/proc/nope"]).0, 1);
    }
    let missing = folder.path().join("a/b").display().to_string();
    let check = ["serve", "--check", "--output", "json", "--data-dir", &missing];
    let (code, output, errors) = alone(&check);
    assert_eq!(code, 0, "{errors}");
    let said: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!((&said["valid"], &said["data_dir"]), (&true.into(), &missing.into()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing was made");
    // A broker that is to start there says the same.
    let doors = ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    let serve = [&["serve", "--data-dir", &file][..], &doors].concat();
    let (code, _, errors) = alone(&serve);
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("as the data folder"), "{errors}");
}

#[test]
fn errors_of_the_command_line_itself_are_json_where_that_is_asked_for() {
    for arguments in [
        &["--output", "json", "topic", "lst"][..],
        &["topic", "create", "--output=json"],
        &["--output", "json", "sql", "-P", "x"],
    ] {
        let (code, _, errors) = alone(arguments);
        assert_eq!(code, 2, "{errors}");
        let said: serde_json::Value = serde_json::from_str(&errors).unwrap();
        assert_eq!(said["error"]["exit_code"], 2, "{errors}");
        assert!(!said["error"]["message"].as_str().unwrap().starts_with("error"), "{errors}");
    }
    assert!(alone(&["topic", "lst"]).2.starts_with("error:"));
    let (code, output, _) = alone(&["--output", "json", "--help"]);
    assert!(code == 0 && output.contains("First steps"), "{output}");
}

#[test]
fn a_comment_without_an_end_hides_no_statement() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(&folder.path().join("data"), &[]);
    let script = "SHOW TABLES; /* open\n DROP STREAM inf;";
    let output = thalweg(&broker, &["sql", "-f", "-"], script);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("comment is not closed"), "{errors}");
    let errors = fail(&broker, &["sql", "-e", "SHOW TABLES;\n  /* open"], 2);
    assert!(
        errors.contains("comment is not closed") && errors.contains("--execute:2:3"),
        "{errors}"
    );
    // A comment that ends, and nothing beside it.
    for nothing in ["-- only a comment", "/* nothing */", "-- a;\n;"] {
        assert_eq!(succeed(&broker, &["sql", "-e", nothing], ""), "", "{nothing}");
    }
    // A mark that some editors put in front.
    assert!(succeed(&broker, &["sql", "-f", "-"], "\u{feff}SHOW TABLES;\n").contains("NAME"));
    // Advice points to a place only where there is one.
    let unplaced =
        "CREATE STREAM a (x INT) WITH (kafka_topic='t', value_format='NOPE', partitions=1);";
    let errors = fail(&broker, &["sql", "-e", unplaced], 2);
    assert!(!errors.contains("line and column") && errors.contains("next:"), "{errors}");
}

#[test]
fn how_a_query_ended_is_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(&folder.path().join("data"), &[]);
    succeed(&broker, &["topic", "create", "t"], "");
    succeed(&broker, &["produce", "t"], "a\nb\n");
    let print = "PRINT 't' FROM BEGINNING LIMIT 1;";
    let output = thalweg(&broker, &["sql", "-e", print], "");
    let (rows, notes) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    let (rows, notes) = (rows.unwrap(), notes.unwrap());
    assert_eq!(rows.lines().count(), 2, "a header and a row: {rows}");
    assert!(notes.contains("Limit reached"), "{notes}");
    let output = thalweg(&broker, &["-q", "sql", "-e", print], "");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);
}

#[test]
fn a_line_with_a_time_that_the_topic_refuses_is_named_and_left_out_alone() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(&folder.path().join("data"), &[]);
    succeed(&broker, &["topic", "create", "t"], "");
    let input = "{\"value\":1}\n{\"value\":2,\"timestamp\":99999999999999}\n{\"value\":3}\n";
    let produce = ["produce", "t", "--format", "jsonl"];
    let output = thalweg(&broker, &produce, input);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("line 2: the timestamp 99999999999999"), "{errors}");
    succeed(&broker, &[&produce[..], &["--skip-bad"]].concat(), input);
    assert_eq!(succeed(&broker, &["consume", "t", "-e"], ""), "1\n1\n3\n");
    // What only the broker can know is told with the lines that it is about.
    let before = ["topic", "alter", "t", "--set", "message.timestamp.before.max.ms=1000"];
    succeed(&broker, &before, "");
    let output = thalweg(&broker, &produce, "\n{\"value\":1,\"timestamp\":5}\n");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{errors}");
    assert!(errors.contains("(line 2 of the input)"), "{errors}");
}

#[test]
fn a_record_may_be_as_large_as_its_topic_takes() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(&folder.path().join("data"), &["durability=os"]);
    succeed(&broker, &["topic", "create", "t", "--set", "max.message.bytes=67108864"], "");
    let line = "x".repeat(40 << 20);
    succeed(&broker, &["produce", "t"], &line);
    let length = succeed(&broker, &["consume", "t", "-e", "-o", "%S"], "");
    assert_eq!(length, line.len().to_string());
}

/// A command whose standard output and standard error are read while it runs.
fn start(broker: &BrokerProcess, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .args(arguments)
        .env("THALWEG_SERVER", &broker.grpc)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn who_waits_for_a_broker_is_told_why_and_has_one_limit() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = BrokerProcess::start(&folder.path().join("data"), &[]);
    succeed(&broker, &["topic", "create", "t", "--partitions", "2"], "");
    let mut reader = start(&broker, &["consume", "t"]);
    let mut writer = start(&broker, &["produce", "t", "--timeout-ms", "5000"]);
    let mut input = writer.stdin.take().unwrap();
    input.write_all(b"a\n").unwrap();
    let mut output = BufReader::new(reader.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "a\n");
    broker.kill();
    input.write_all(b"b\nc\n").unwrap();
    drop(input);
    let began = Instant::now();
    let ended = writer.wait_with_output().unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    // Far below two limits, one after the other.
    assert!(began.elapsed() < Duration::from_millis(9_000), "{:?}: {errors}", began.elapsed());
    assert_eq!(ended.status.code(), Some(6), "{errors}");
    assert_eq!(errors.matches("no success for 3 s; the last attempt: ").count(), 1, "{errors}");
    assert!(errors.contains("for 5 s at most"), "{errors}");
    assert!(errors.contains("2 of 3 records not acknowledged"), "{errors}");
    assert!(errors.contains("--timeout-ms"), "{errors}");
    let ended = reader.wait_with_output().unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert!(errors.contains("no success for 3 s; the last attempt: "), "{errors}");
    assert_eq!(ended.status.code(), Some(6), "{errors}");
}

#[test]
fn a_broker_that_stands_still_is_told_and_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(&folder.path().join("data"), &[]);
    succeed(&broker, &["topic", "create", "t"], "");
    broker.signal("STOP");
    let commands = [&["topic", "list"][..], &["sql", "-e", "SHOW TOPICS;"], &["produce", "t"]];
    let mut waiting = commands.map(|arguments| start(&broker, arguments));
    for (child, arguments) in waiting.iter_mut().zip(commands) {
        let mut note = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut note).unwrap();
        assert!(note.contains("waiting on"), "{arguments:?}: {note}");
    }
    broker.signal("CONT");
    for (child, arguments) in waiting.into_iter().zip(commands) {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{arguments:?}: {}", ended.status);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_has_gone_ends_what_waits_for_records() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(&folder.path().join("data"), &[]);
    succeed(&broker, &["topic", "create", "t"], "");
    succeed(&broker, &["produce", "t"], "a\n");
    for arguments in [&["consume", "t"][..], &["sql", "-e", "PRINT 't' FROM BEGINNING;"]] {
        let mut child = start(&broker, arguments);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        drop(output);
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < DEADLINE, "{arguments:?} waits for another record");
            std::thread::yield_now();
        };
        assert!(status.success(), "{arguments:?}: {status}");
    }
}

#[test]
fn what_is_missing_in_a_data_folder_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut broker = BrokerProcess::start(&data, &[]);
    succeed(&broker, &["topic", "create", "t", "--partitions", "2"], "");
    broker.kill();
    let inspect = |flags: &[&str]| alone(&[&["inspect", data.to_str().unwrap()], flags].concat());
    assert_eq!(inspect(&[]).0, 0);
    let mut lives = std::fs::read_dir(data.join("topics/t")).unwrap();
    std::fs::remove_dir_all(lives.next().unwrap().unwrap().path().join("1")).unwrap();
    let mark = data.join("thalweg.folder");
    let mut bytes = std::fs::read(&mark).unwrap();
    bytes[30] ^= 4;
    std::fs::write(&mark, bytes).unwrap();
    let (code, output, errors) = inspect(&[]);
    assert_eq!(code, 7, "{errors}");
    assert!(output.contains("thalweg.folder"), "{output}");
    assert!(output.contains("damaged: topic t, partition 1"), "{output}");
    assert!(errors.contains("2 places"), "{errors}");
    let (_, output, _) = inspect(&["--output", "json"]);
    let lines = json_lines(&output);
    let missing: Vec<_> = lines.iter().filter(|line| line["kind"] == "missing").collect();
    assert_eq!(missing.len(), 2, "{output}");
    assert_eq!((&missing[1]["topic"], &missing[1]["partition"]), (&"t".into(), &1.into()));
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
