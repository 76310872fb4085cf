//! SIGTERM and SIGINT under load: the broker leaves in order and in time, with the code that is documented, loses nothing
//! and has nothing to recover when it starts again. A second signal ends it at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::admin::Admin;
use client::grpc::GrpcTransport;
use protocol::grpc::v1::{self, log_client::LogClient};
use protocol::id::{LeaderEpoch, TopicName};
use protocol::verbs::TopicSpec;
use storage::{Log, Opening, Options, RealDisk};
use tonic::transport::{Channel, Endpoint};

use crate::cli::succeed;
use crate::load::{self, Load};
use crate::support::{BrokerProcess, DEADLINE, copy_folder};

/// Longer than anything in these tests: who is still under way then is waited for by mistake.
const SHUTDOWN_MS_MAX: &str = "shutdown_ms_max=600000";

/// How long a broker may take to leave when nobody holds it up: far less than a poll waits, far more than it needs.
const LEAVING_MAX: Duration = Duration::from_secs(30);

async fn channel(broker: &BrokerProcess) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", broker.grpc)).unwrap();
    // What nobody reads stays with the broker beyond this many bytes.
    endpoint.initial_stream_window_size(65_535).connect().await.unwrap()
}

/// Waits a minute for records that never come.
async fn poll_long(channel: Channel, topic: TopicName) -> Result<(), tonic::Status> {
    let entry = v1::FetchEntry { topic: topic.to_string(), ..v1::FetchEntry::default() };
    let request = v1::FetchRequest {
        entries: vec![entry],
        wait_ms_max: 60_000,
        ..v1::FetchRequest::default()
    };
    LogClient::new(channel).fetch(request).await.map(|_| ())
}

/// A query that follows a stream, and has begun to: it has given a row.
fn follow(broker: &BrokerProcess) -> Child {
    let mut query = Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .args(["--server", &broker.grpc, "sql", "-e"])
        .arg("SET 'auto.offset.reset'='earliest'; SELECT text FROM numbers EMIT CHANGES;")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut row = [0];
    query.stdout.as_mut().unwrap().read_exact(&mut row).unwrap();
    query
}

/// Every folder of a log in a data folder.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(logs(&path));
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(folder.to_owned());
        }
    }
    found.dedup();
    found
}

/// Opens every log of a copy of the data folder as a start would: nothing is scanned and nothing is noted.
fn assert_closed_cleanly(data: &Path) {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(data, copy.path());
    let folders = logs(copy.path());
    // The catalogue; the topics of the test; those of the engine.
    assert!(folders.len() > 4 + 4 + 1, "{folders:?}");
    for folder in folders {
        let opening = Opening { leader_epoch: LeaderEpoch(1), ..Opening::default() };
        let (_, recovered) =
            Log::open(Arc::new(RealDisk), &folder, Options::default(), opening).unwrap();
        let found = (recovered.scanned_bytes, recovered.notes);
        assert_eq!(found, (0, Vec::new()), "{}", folder.display());
    }
}

async fn leave_in_order(signal: &str, durability: &str) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let durability = format!("durability={durability}");
    let settings = [SHUTDOWN_MS_MAX, durability.as_str(), "topic.segment.bytes=65536"];
    let mut broker = BrokerProcess::start(&data, &settings);
    let [numbers, copies, quiet] =
        ["numbers", "COPIES", "quiet"].map(|name| name.parse::<TopicName>().unwrap());
    let load = Load::start(&broker.grpc, &numbers, 4).await;
    let statements =
        "CREATE STREAM numbers (text STRING) WITH (kafka_topic='numbers', value_format='KAFKA');
         CREATE STREAM copies AS SELECT text FROM numbers;";
    succeed(&broker, &["sql", "-e", statements], "");
    let spec = TopicSpec { name: quiet.clone(), partitions: Some(1), settings: Default::default() };
    Admin::new(GrpcTransport::connect(&broker.grpc).unwrap()).create_topic(spec).await.unwrap();
    let poll = tokio::spawn(poll_long(channel(&broker).await, quiet));
    let query = follow(&broker);
    load.acknowledges(500).await;

    broker.signal(signal);
    let status = broker.ends_within(LEAVING_MAX).await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert_closed_cleanly(&data);
    let polled = tokio::time::timeout(DEADLINE, poll).await.unwrap().unwrap();
    let refused = polled.expect_err("nothing came, and it must not look as if nothing were wrong");
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    let query = query.wait_with_output().unwrap();
    let errors = String::from_utf8(query.stderr).unwrap();
    assert_eq!(query.status.code(), Some(6), "{errors}");

    broker.restart();
    load.acknowledges(100).await;
    let acknowledged = load.stop().await;
    let transport = GrpcTransport::connect(&broker.grpc).unwrap();
    let count = load::assert_all_there(Arc::clone(&transport), &numbers, &acknowledged).await;
    load::assert_copied(transport, &copies, count).await;
    assert_eq!(broker.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_leaves_in_order_and_nothing_to_recover() {
    leave_in_order("TERM", "sync").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_under_load_leaves_in_order_and_nothing_to_recover() {
    leave_in_order("INT", "os").await;
}

/// True while `/readyz` says that the broker takes work.
fn is_ready(http: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(http) else { return false };
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

async fn leave_at_the_second(first: &str, second: &str) {
    let folder = tempfile::tempdir().unwrap();
    let settings = [SHUTDOWN_MS_MAX, "durability=os"];
    let mut broker = BrokerProcess::start(&folder.path().join("data"), &settings);
    let topic: TopicName = "numbers".parse().unwrap();
    let load = Load::start(&broker.grpc, &topic, 4).await;
    load.acknowledges(4_000).await;
    // A reader that does not read: the broker waits for it as long as it may.
    let entry = v1::SubscribeEntry { topic: topic.to_string(), ..v1::SubscribeEntry::default() };
    let request = v1::SubscribeRequest { entries: vec![entry], ..v1::SubscribeRequest::default() };
    let mut client = LogClient::new(channel(&broker).await);
    let lying = client.subscribe(request).await.unwrap().into_inner();
    load.acknowledges(500).await;

    broker.signal(first);
    let started = Instant::now();
    while is_ready(&broker.http) {
        assert!(started.elapsed() < DEADLINE, "the broker does not hear SIG{first}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(broker.ended(), None, "it waits for its reader");
    broker.signal(second);
    let status = broker.ends_within(LEAVING_MAX).await;
    assert_eq!(status.code(), Some(130), "{status}");
    drop(lying);

    broker.restart();
    load.acknowledges(100).await;
    let acknowledged = load.stop().await;
    let transport = GrpcTransport::connect(&broker.grpc).unwrap();
    load::assert_all_there(transport, &topic, &acknowledged).await;
    assert_eq!(broker.panics(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once_and_loses_nothing_acknowledged() {
    leave_at_the_second("TERM", "INT").await;
    leave_at_the_second("INT", "TERM").await;
}
