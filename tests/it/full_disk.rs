//! A file system without room: writes are refused and say why, reads go on, writes go on by themselves when there is room,
//! and kill -9 costs nothing that was acknowledged. A broker starts there too, or says what it lacks.
//!
//! The file system is a tmpfs of a few MiB in a mount namespace of its own, which needs no rights where user namespaces are
//! allowed. Where they are not, a limit on the size of files stands in for it: the system then refuses the same writes
//! with EFBIG, which is another way to have no room. The test says which of the two it had.

#![expect(clippy::print_stdout, reason = "the test says how it was done")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::admin::Admin;
use client::consumer::{Consumer, ConsumerConfig};
use client::grpc::GrpcTransport;
use client::transport::Transport as _;
use protocol::batch::Builder;
use protocol::compression::Compression;
use protocol::id::{Partition, Timestamp, TopicName};
use protocol::outcome::{Outcome, Refusal};
use protocol::record::Record;
use protocol::verbs::{Position, ProduceEntry, ProduceRequest, TopicSpec};

use crate::cli::succeed;
use crate::support::{BrokerProcess, DEADLINE};

/// A place with little room.
enum SmallDisk {
    /// A tmpfs; the child holds the namespace that it is mounted in.
    Tmpfs { holder: Child },
    /// Files of the broker may only grow so far.
    FileLimit,
}

fn words(text: &[&str]) -> Vec<String> {
    text.iter().map(|word| (*word).to_owned()).collect()
}

impl SmallDisk {
    fn make(folder: &Path) -> Self {
        let script = r#"mount -t tmpfs -o size=4m tmpfs "$1" && echo mounted && exec sleep 3600"#;
        let holder = Command::new("unshare")
            .args(["-Urm", "sh", "-c", script, "sh"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        if let Ok(mut holder) = holder {
            let mut line = String::new();
            BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
            if line == "mounted\n" {
                println!("a tmpfs of 4 MiB");
                return Self::Tmpfs { holder };
            }
            holder.wait().unwrap();
        }
        println!("no namespaces here: files limited to 2 MiB");
        Self::FileLimit
    }

    /// What puts a program on it.
    fn launcher(&self) -> Vec<String> {
        match self {
            Self::Tmpfs { holder } => {
                let target = holder.id().to_string();
                words(&["nsenter", "-t", &target, "-U", "-m", "--preserve-credentials", "--"])
            }
            // In blocks of 512 bytes. Without the trap the signal would end the process.
            Self::FileLimit => {
                words(&["sh", "-c", r#"trap "" XFSZ; ulimit -S -f 4096; exec "$@""#, "sh"])
            }
        }
    }

    /// The same, where not one byte more can be written.
    fn launcher_to_no_room(&self, folder: &Path) -> Vec<String> {
        match self {
            Self::Tmpfs { .. } => {
                let fill = r#"head -c 64m /dev/zero > "$0/fill"; exec "$@""#;
                [self.launcher(), words(&["sh", "-c", fill, folder.to_str().unwrap()])].concat()
            }
            Self::FileLimit => {
                words(&["sh", "-c", r#"trap "" XFSZ; ulimit -S -f 0; exec "$@""#, "sh"])
            }
        }
    }

    /// Runs a command on it.
    fn run(&self, command: &[&str]) {
        let words = [self.launcher(), words(command)].concat();
        let status = Command::new(&words[0]).args(&words[1..]).status().unwrap();
        assert!(status.success(), "{words:?}: {status}");
    }

    fn make_room(&self, folder: &Path, broker: &BrokerProcess) {
        match self {
            Self::Tmpfs { .. } => {
                self.run(&["mount", "-o", "remount,size=64m", folder.to_str().unwrap()]);
            }
            Self::FileLimit => {
                self.run(&["prlimit", "--pid", &broker.id().to_string(), "--fsize=unlimited"]);
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Self::Tmpfs { holder } = self {
            // It may have ended already.
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// Writes a record of 20 KiB that begins with its number, and gives its offset.
async fn write(transport: &GrpcTransport, topic: &TopicName, number: u64) -> Result<i64, Refusal> {
    let mut builder = Builder::new(Compression::None);
    let value = format!("{number} {}", "x".repeat(20_000));
    builder.push(&Record::of_value(value), Timestamp(1));
    let (topic, partition, batch) = (topic.clone(), Partition::ZERO, builder.finish(None));
    let entries = vec![ProduceEntry { topic, partition, batch }];
    let pending = transport.produce(ProduceRequest { entries }).await.unwrap();
    let reply = tokio::time::timeout(DEADLINE, pending).await.unwrap().unwrap();
    reply.entries.into_iter().next().unwrap().map(|appended| appended.base_offset.get())
}

/// Offset and number of every record.
async fn read_all(transport: Arc<GrpcTransport>, topic: &TopicName) -> Vec<(i64, u64)> {
    let mut consumer = Consumer::new(transport, ConsumerConfig::default());
    consumer.assign(topic, None, Position::Earliest).await.unwrap();
    let end = consumer.ends().await.unwrap()[0].2.get();
    let mut found = Vec::new();
    while found.len() < usize::try_from(end).unwrap() {
        let record = tokio::time::timeout(DEADLINE, consumer.next()).await.unwrap().unwrap();
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let number = value.split(' ').next().unwrap().parse().unwrap();
        found.push((record.offset.get(), number));
    }
    found
}

/// Writes numbered records until one is refused for want of room, and gives the refusal.
async fn fill(
    transport: &GrpcTransport,
    topic: &TopicName,
    acknowledged: &mut Vec<(i64, u64)>,
) -> Refusal {
    for number in 0..1_000 {
        match write(transport, topic, number).await {
            Ok(offset) => acknowledged.push((offset, number)),
            Err(refusal) => return refusal,
        }
    }
    panic!("the disk never gets full");
}

/// Writes one record as soon as there is room.
async fn write_with_room(
    transport: &GrpcTransport,
    topic: &TopicName,
    acknowledged: &mut Vec<(i64, u64)>,
) {
    let started = Instant::now();
    for number in 30_000.. {
        match write(transport, topic, number).await {
            Ok(offset) => return acknowledged.push((offset, number)),
            Err(refusal) => assert!(started.elapsed() < DEADLINE, "with room: {refusal}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_writes_are_refused_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::make(folder.path());
    let data = folder.path().join("data");
    let settings = ["durability=sync", "tail_bytes_max=0"];
    let mut broker = BrokerProcess::start_by(&disk.launcher(), &data, &settings);
    let transport = GrpcTransport::connect(&broker.grpc).unwrap();
    let topic: TopicName = "filled".parse().unwrap();
    let spec = TopicSpec { name: topic.clone(), partitions: Some(1), settings: BTreeMap::new() };
    Admin::new(transport.clone()).create_topic(spec).await.unwrap();

    let mut acknowledged = Vec::new();
    let refusal = fill(&transport, &topic, &mut acknowledged).await;
    assert_eq!(refusal.outcome, Outcome::DiskFull, "{refusal}");
    assert!(refusal.message.contains("0.log at byte"), "{refusal}");
    assert!(refusal.message.contains("failed for want of room"), "{refusal}");
    for again in 0..5 {
        let refusal = write(&transport, &topic, 10_000 + again).await.unwrap_err();
        assert_eq!(refusal.outcome, Outcome::DiskFull, "{refusal}");
    }
    assert!(acknowledged.len() > 50);
    assert_eq!(read_all(transport.clone(), &topic).await, acknowledged, "reads go on");

    disk.make_room(folder.path(), &broker);
    write_with_room(&transport, &topic, &mut acknowledged).await;
    for number in 20_000..20_010 {
        acknowledged.push((write(&transport, &topic, number).await.unwrap(), number));
    }

    broker.kill();
    broker.restart();
    let transport = GrpcTransport::connect(&broker.grpc).unwrap();
    assert_eq!(read_all(transport, &topic).await, acknowledged, "after kill -9");
    assert_eq!(broker.panics(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_starts_without_room_serves_reads_and_goes_on_when_there_is_some() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::make(folder.path());
    let data = folder.path().join("data");
    let mut broker = BrokerProcess::start_by(&disk.launcher(), &data, &["tail_bytes_max=0"]);
    let transport = GrpcTransport::connect(&broker.grpc).unwrap();
    let [topic, copies] = ["filled", "COPIES"].map(|name| name.parse::<TopicName>().unwrap());
    let spec = TopicSpec { name: topic.clone(), partitions: Some(1), settings: BTreeMap::new() };
    Admin::new(transport.clone()).create_topic(spec).await.unwrap();
    let statements =
        "CREATE STREAM filled (text STRING) WITH (kafka_topic='filled', value_format='KAFKA');
         CREATE STREAM copies AS SELECT text FROM filled;";
    succeed(&broker, &["sql", "-e", statements], "");
    let mut acknowledged = Vec::new();
    fill(&transport, &topic, &mut acknowledged).await;
    broker.signal("TERM");
    let status = broker.ends_within(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{status}");

    broker.restart();
    let transport = GrpcTransport::connect(&broker.grpc).unwrap();
    assert_eq!(read_all(transport.clone(), &topic).await, acknowledged);
    let refusal = loop {
        // The start may have given back some of what the life before had reserved or left over.
        match write(&transport, &topic, 10_000).await {
            Ok(offset) => acknowledged.push((offset, 10_000)),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.outcome, Outcome::DiskFull, "{refusal}");

    disk.make_room(folder.path(), &broker);
    write_with_room(&transport, &topic, &mut acknowledged).await;
    // The query goes on by itself too, and has lost and repeated nothing.
    let started = Instant::now();
    loop {
        let copied = read_all(transport.clone(), &copies).await;
        if copied.len() >= acknowledged.len() {
            break assert_eq!(copied, acknowledged);
        }
        assert!(started.elapsed() < DEADLINE, "the query does not go on: {}", copied.len());
    }
    assert_eq!(broker.panics(), Vec::<String>::new());
}

#[test]
fn a_broker_that_cannot_start_for_want_of_room_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::make(folder.path());
    let data = folder.path().join("data");
    let words = disk.launcher_to_no_room(folder.path());
    let output = Command::new(&words[0])
        .args(&words[1..])
        .arg(env!("CARGO_BIN_EXE_thalweg"))
        .args(["serve", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(&data)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(8), "{errors}");
    assert!(errors.contains(data.to_str().unwrap()), "{errors}");
    assert!(errors.contains("failed for want of room"), "{errors}");
    assert!(errors.contains("free space") && errors.contains("start the broker again"), "{errors}");
    assert!(output.stdout.is_empty(), "not ready");

    // What the failed start has left is no hindrance.
    if let SmallDisk::Tmpfs { .. } = disk {
        disk.run(&["rm", folder.path().join("fill").to_str().unwrap()]);
    }
    let broker = BrokerProcess::start_by(&disk.launcher(), &data, &[]);
    succeed(&broker, &["topic", "create", "t"], "");
}
