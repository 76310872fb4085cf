//! The gRPC door and peers that do not do their part.

use std::path::Path;
use std::time::{Duration, Instant};

use protocol::grpc::v1;
use protocol::id::{Offset, Partition};
use protocol::verbs::{FetchEntry, FetchRequest, ProduceRequest};
use thalweg_broker::config::DurabilityMode;
use thalweg_broker::time::Clock;
use thalweg_broker::{Broker, Config, Service};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

use crate::support::{batch_of, entry, spec, topic};

const SHUTDOWN_MS_MAX: u64 = 1_000;

const MIB: usize = 1024 * 1024;

const TOPIC: &str = "large";

/// A broker with open doors and one topic, in which there are 8 MiB.
async fn open(folder: &Path, read_bytes_in_flight_max: usize) -> (Broker, Channel) {
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        data_dir: folder.to_owned(),
        durability: DurabilityMode::Os,
        grpc_listen: anywhere,
        http_listen: anywhere,
        read_bytes_in_flight_max,
        shutdown_ms_max: SHUTDOWN_MS_MAX,
        ..Config::default()
    };
    let broker = Broker::open(config).await.unwrap();
    broker.service().create_topic(spec(TOPIC, 1, &[])).await.unwrap();
    let batch = batch_of(vec![7; MIB - 1_000], Clock::real().wall());
    let request = ProduceRequest { entries: (0..8).map(|_| entry(TOPIC, batch.clone())).collect() };
    let reply = broker.service().produce(request).await.reply().await;
    assert!(reply.entries.iter().all(Result::is_ok));
    let doors = broker.listen(tonic::service::Routes::default()).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", doors.grpc)).unwrap();
    let channel = endpoint.initial_stream_window_size(65_535).connect().await.unwrap();
    (broker, channel)
}

/// Asks for records and leaves the answer lying, but for its head.
async fn ask_and_leave_lying(
    channel: &Channel,
    bytes_max: usize,
) -> tonic::Streaming<v1::FetchResponse> {
    let entry = v1::FetchEntry { topic: TOPIC.to_owned(), ..v1::FetchEntry::default() };
    let request = v1::FetchRequest {
        entries: vec![entry],
        bytes_max: u32::try_from(bytes_max).unwrap(),
        ..v1::FetchRequest::default()
    };
    let mut client =
        tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::FetchRequest, v1::FetchResponse>::default();
    let path = PathAndQuery::from_static("/thalweg.v1.Log/Fetch");
    client.server_streaming(tonic::Request::new(request), path, codec).await.unwrap().into_inner()
}

/// How many bytes somebody else gets who asks for all.
async fn others_get(service: &Service) -> usize {
    let entry = FetchEntry {
        topic: topic(TOPIC),
        partition: Partition::ZERO,
        offset: Offset::ZERO,
        bytes_max: 0,
    };
    let request = FetchRequest {
        entries: vec![entry],
        bytes_max: u32::try_from(3 * MIB).unwrap(),
        ..FetchRequest::default()
    };
    let answered = service.fetch(request).await.unwrap();
    answered.reply.entries[0].as_ref().unwrap().bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_hold_their_share_of_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, channel) = open(folder.path(), 8 * MIB).await;
    let service = broker.service();
    assert!(others_get(service).await > 2 * MIB);
    let mut lying = Vec::new();
    for _ in 0..2 {
        lying.push(ask_and_leave_lying(&channel, 4 * MIB).await);
    }
    // Six MiB lie there: three more MiB do not fit, but one large batch always comes.
    assert!(others_get(service).await <= MIB, "the budget has forgotten what lies there");
    // What is read has left.
    for mut answer in lying {
        answer.message().await.unwrap().unwrap();
    }
    let start = Instant::now();
    while others_get(service).await <= MIB {
        assert!(start.elapsed() < Duration::from_secs(30), "what was read still holds its share");
        tokio::task::yield_now().await;
    }
    drop(channel);
    broker.close().await;
}

/// Follows the topic and reads nothing of it.
async fn subscribe_and_leave_lying(channel: &Channel) -> tonic::Streaming<v1::FetchResponse> {
    let entry = v1::SubscribeEntry { topic: TOPIC.to_owned(), ..v1::SubscribeEntry::default() };
    let request = v1::SubscribeRequest { entries: vec![entry], ..v1::SubscribeRequest::default() };
    let mut client = v1::log_client::LogClient::new(channel.clone());
    client.subscribe(request).await.unwrap().into_inner()
}

/// Waits for records that never come.
async fn poll_long(channel: Channel, end: i64) -> Result<(), tonic::Status> {
    let mut entry = v1::FetchEntry { topic: TOPIC.to_owned(), ..v1::FetchEntry::default() };
    entry.offset = end;
    let request = v1::FetchRequest {
        entries: vec![entry],
        wait_ms_max: 60_000,
        ..v1::FetchRequest::default()
    };
    v1::log_client::LogClient::new(channel).fetch(request).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_broker_ends_in_time_whatever_its_peers_do() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, channel) = open(folder.path(), 64 * MIB).await;
    let polls: Vec<_> = (0..50).map(|_| tokio::spawn(poll_long(channel.clone(), 8))).collect();
    let mut lying = Vec::new();
    for _ in 0..10 {
        lying.push(ask_and_leave_lying(&channel, 4 * MIB).await);
        lying.push(subscribe_and_leave_lying(&channel).await);
    }
    let (service, reads) = (broker.service().clone(), std::sync::atomic::AtomicU64::new(0));
    let busy = async {
        loop {
            others_get(&service).await;
            reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    };
    // Everything is under way: the polls have reached the broker when the stream behind them has.
    tokio::select! {
        () = busy => {}
        () = async {
            while reads.load(std::sync::atomic::Ordering::Relaxed) < 5 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    let start = Instant::now();
    broker.close().await;
    let took = start.elapsed();
    assert!(took < Duration::from_millis(SHUTDOWN_MS_MAX) + Duration::from_secs(10), "{took:?}");
    for poll in polls {
        let ended = tokio::time::timeout(Duration::from_secs(20), poll).await.unwrap().unwrap();
        let refused =
            ended.expect_err("nothing came, and it must not look as if nothing were wrong");
        assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    }
    drop(lying);
    // The next start is clean.
    let config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
    let broker = Broker::open(config).await.unwrap();
    assert_eq!(others_get(broker.service()).await / MIB, 2);
    broker.close().await;
}
