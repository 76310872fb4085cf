//! Any bytes on any port: no panic, no growth of memory, and nobody else is disturbed.
//!
//! A session of a real client is recorded byte by byte, then sent again and again with mutations: flipped bits, cut
//! tails, repeated and swapped pieces, changed lengths, plain noise. Half of the connections hang up at once, half wait
//! for what the broker says. Meanwhile a well-behaved client keeps producing and reading.
//!
//! `THALWEG_HOSTILE_SESSIONS` says how many sessions are sent to each port (1,500 unless told).

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{BrokerProcess, DEADLINE};
use client::admin::Admin;
use client::consumer::{Consumer, ConsumerConfig};
use client::grpc::GrpcTransport;
use client::producer::{Producer, ProducerConfig};
use parking_lot::Mutex;
use protocol::grpc::v1::{self, log_client::LogClient};
use protocol::id::TopicName;
use protocol::record::Record;
use protocol::verbs::{Position, TopicSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Memory that the broker may gain under attack, in bytes.
const GROWTH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A small generator of pseudo-random numbers (SplitMix64): the same seed attacks in the same way.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// One broken version of a session.
fn mutate(session: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = session.to_vec();
    // The connection preface stays whole most of the time: else nothing behind it would ever be reached.
    let start = if random.below(10) == 0 { 0 } else { 24.min(bytes.len() - 1) };
    for _ in 0..=random.below(6) {
        let place = start + random.below(bytes.len() - start);
        match random.below(7) {
            0 => bytes[place] ^= 1 << random.below(8),
            1 => bytes[place] = 0xff,
            2 => bytes.truncate(place.max(start + 1)),
            3 => {
                let end = (place + random.below(200)).min(bytes.len());
                let piece = bytes[place..end].to_vec();
                bytes.splice(place..place, piece);
            }
            4 => {
                let end = (place + 4).min(bytes.len());
                let number = random.next().to_be_bytes();
                for (byte, new) in bytes[place..end].iter_mut().zip(number) {
                    *byte = new;
                }
            }
            5 => {
                let noise: Vec<u8> =
                    (0..random.below(100)).map(|_| random.next().to_be_bytes()[0]).collect();
                bytes.splice(place..place, noise);
            }
            _ => {
                let end = (place + random.below(50)).min(bytes.len());
                bytes.drain(place..end);
            }
        }
        if bytes.len() <= start + 1 {
            return session[..start + 1].to_vec();
        }
    }
    bytes
}

/// Sends bytes and, sometimes, listens to what comes back.
fn attack(address: &str, bytes: &[u8], listens: bool) {
    // The broker may close at any moment: every error is fine here.
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
    let _ = stream.write_all(bytes);
    if listens {
        let mut answer = [0; 4096];
        let _ = stream.read(&mut answer);
    }
}

/// Resident memory of a process, in bytes: now (`VmRSS`) or at its peak (`VmHWM`).
fn resident_bytes(process: u32, when: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(when)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Records what a real client says on each of its connections: list, produce, find, fetch.
async fn record_sessions(broker: &BrokerProcess, topic: &TopicName) -> Vec<Vec<u8>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let recorded: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let (target, sessions) = (broker.grpc.clone(), recorded.clone());
    let proxy = tokio::spawn(async move {
        for number in 0.. {
            let (client, _) = listener.accept().await.unwrap();
            let server = tokio::net::TcpStream::connect(&target).await.unwrap();
            sessions.lock().push(Vec::new());
            tokio::spawn(pass_on(client, server, sessions.clone(), number));
        }
    });
    let transport = GrpcTransport::connect(&address).unwrap();
    use_broker(transport, topic, 20).await;
    proxy.abort();
    let sessions = recorded.lock().clone();
    let is_http2 = |session: &Vec<u8>| session.starts_with(b"PRI * HTTP/2.0");
    assert!(
        !sessions.is_empty() && sessions.iter().all(is_http2),
        "sessions begin with HTTP/2's preface"
    );
    sessions
}

/// Passes bytes both ways and keeps those of the client.
async fn pass_on(
    client: tokio::net::TcpStream,
    server: tokio::net::TcpStream,
    sessions: Arc<Mutex<Vec<Vec<u8>>>>,
    number: usize,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
        sessions.lock()[number].extend_from_slice(&buffer[..count]);
        if to_server.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    back.abort();
}

/// What a well-behaved client does; it must succeed at all times.
async fn use_broker(transport: Arc<GrpcTransport>, topic: &TopicName, records: usize) {
    Admin::new(transport.clone()).list_topics().await.unwrap();
    let producer = Producer::new(transport.clone(), ProducerConfig::default());
    let mut tickets = Vec::new();
    for number in 0..records {
        tickets.push(
            producer
                .send(topic, None, Record::new("key", format!("value {number}")))
                .await
                .unwrap(),
        );
    }
    let mut last = None;
    for ticket in tickets {
        last = Some(ticket.await.unwrap());
    }
    producer.close().await.unwrap();
    let mut consumer = Consumer::new(transport, ConsumerConfig::default());
    let last = last.unwrap();
    consumer.assign(topic, Some(last.partition), Position::Offset(last.offset)).await.unwrap();
    tokio::time::timeout(DEADLINE, consumer.next()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_harm_nobody() {
    let sessions =
        std::env::var("THALWEG_HOSTILE_SESSIONS").map_or(1_500, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(folder.path(), &["durability=os"]);
    let topic: TopicName = "victims".parse().unwrap();
    let transport = GrpcTransport::connect(&broker.grpc).unwrap();
    let spec = TopicSpec { name: topic.clone(), partitions: Some(1), settings: BTreeMap::new() };
    Admin::new(transport.clone()).create_topic(spec).await.unwrap();
    let recorded = record_sessions(&broker, &topic).await;
    let before = resident_bytes(broker.id(), "VmRSS");

    let mut random = Random(0x7468_616c_7765_6721);
    let http_session =
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    for number in 0..sessions {
        let session = &recorded[random.below(recorded.len())];
        let (grpc, http) = (mutate(session, &mut random), mutate(http_session, &mut random));
        let noise: Vec<u8> =
            (0..random.below(300)).map(|_| random.next().to_be_bytes()[0]).collect();
        let listens = number % 2 == 0;
        let (grpc_door, http_door) = (broker.grpc.clone(), broker.http.clone());
        tokio::task::spawn_blocking(move || {
            attack(&grpc_door, &grpc, listens);
            attack(&http_door, &http, listens);
            attack(if listens { &grpc_door } else { &http_door }, &noise, false);
        })
        .await
        .unwrap();
        if number % 250 == 0 {
            tokio::time::timeout(DEADLINE, use_broker(transport.clone(), &topic, 10))
                .await
                .unwrap_or_else(|_| {
                    panic!("a well-behaved client is stuck after {number} hostile sessions")
                });
        }
    }
    use_broker(transport, &topic, 100).await;
    // The allocator gives memory back late; wait for it with a deadline.
    let started = Instant::now();
    loop {
        let growth = resident_bytes(broker.id(), "VmRSS").saturating_sub(before);
        if growth <= GROWTH_BYTES_MAX {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the broker has grown by {growth} bytes"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(broker.panics(), Vec::<String>::new());
}

/// A million empty records are two megabytes of a request, and would be more than a hundred as structs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_not_unfolded_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(folder.path(), &["durability=os"]);
    let name: TopicName = "bombs".parse().unwrap();
    let spec = TopicSpec { name, partitions: Some(1), settings: BTreeMap::new() };
    Admin::new(GrpcTransport::connect(&broker.grpc).unwrap()).create_topic(spec).await.unwrap();
    let before = resident_bytes(broker.id(), "VmHWM");
    let list =
        v1::RecordList { records: vec![v1::Record::default(); 1_000_000], ..Default::default() };
    let payload = Some(v1::produce_entry::Payload::Records(list));
    let entry = v1::ProduceEntry { topic: "bombs".to_owned(), partition: None, payload };
    let log = LogClient::connect(format!("http://{}", broker.grpc)).await.unwrap();
    let answer = log
        .max_decoding_message_size(usize::MAX)
        .produce(v1::ProduceRequest { entries: vec![entry] })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.results[0].places.last().unwrap().offset, 999_999);
    let growth = resident_bytes(broker.id(), "VmHWM") - before;
    assert!(growth <= GROWTH_BYTES_MAX, "the broker has grown by {growth} bytes");
}
