//! Calls of one message and peers that do not end their requests, or ask for very much with little.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use protocol::grpc::v1::{self, admin_client::AdminClient, log_client::LogClient};
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::TopicSpec;
use tempfile::TempDir;
use thalweg_broker::config::DurabilityMode;
use thalweg_broker::{Broker, Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

/// Stands in for the SQL engine: says how many properties it was given.
struct Counting;

#[tonic::async_trait]
impl v1::query_server::Query for Counting {
    type ExecuteStream = stream::Iter<std::array::IntoIter<Result<v1::ExecuteResponse, Status>, 1>>;

    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let done = request.into_inner().properties.len().to_string();
        let answer = Some(v1::execute_response::Answer::Done(done));
        Ok(Response::new(stream::iter([Ok(v1::ExecuteResponse { answer })])))
    }
}

/// A broker with a topic "t" and a service of somebody else.
async fn open(read_bytes_in_flight_max: usize) -> (Broker, Channel, TempDir) {
    let (broker, address, folder) = listen(read_bytes_in_flight_max).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    (broker, channel.connect().await.unwrap(), folder)
}

async fn listen(read_bytes_in_flight_max: usize) -> (Broker, SocketAddr, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let local = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        data_dir: folder.path().to_owned(),
        durability: DurabilityMode::Os,
        grpc_listen: local,
        http_listen: local,
        read_bytes_in_flight_max,
        shutdown_ms_max: 1_000,
        ..Config::default()
    };
    let broker = Broker::open(config).await.unwrap();
    let (name, settings) = ("t".parse().unwrap(), std::collections::BTreeMap::new());
    broker.service().create_topic(TopicSpec { name, partitions: Some(1), settings }).await.unwrap();
    let routes = Routes::new(v1::query_server::QueryServer::new(Counting));
    let doors = broker.listen(routes).await.unwrap();
    (broker, doors.grpc, folder)
}

/// Sends one message, does not end the request, and waits for the first message of the answer.
async fn ask_without_end<Q, A>(channel: &Channel, path: &'static str, message: Q) -> A
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<Q, A>::default();
    let requests = Request::new(stream::iter([message]).chain(stream::pending()));
    let answers = client.streaming(requests, PathAndQuery::from_static(path), codec);
    let mut answers: Streaming<A> =
        tokio::time::timeout(Duration::from_secs(30), answers).await.unwrap().unwrap().into_inner();
    answers.message().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_call_is_answered_though_its_request_does_not_end() {
    let (broker, channel, _folder) = open(1 << 20).await;
    let request = v1::DescribeBrokerRequest {};
    let path = "/thalweg.v1.Admin/DescribeBroker";
    let described: v1::DescribeBrokerResponse = ask_without_end(&channel, path, request).await;
    assert_eq!(described.topics, 1);
    let path = "/thalweg.v1.Log/InitProducer";
    let request = v1::InitProducerRequest {};
    let first: v1::InitProducerResponse = ask_without_end(&channel, path, request).await;
    let second: v1::InitProducerResponse = ask_without_end(&channel, path, request).await;
    assert_ne!(first.producer_id, second.producer_id);
    let path = "/thalweg.v1.Log/Fetch";
    let entry = v1::FetchEntry { topic: "t".to_owned(), ..Default::default() };
    let request = v1::FetchRequest { entries: vec![entry], ..Default::default() };
    let fetched: v1::FetchResponse = ask_without_end(&channel, path, request).await;
    assert_eq!(fetched.results.len(), 1);
    let path = "/thalweg.v1.Query/Execute";
    let request = v1::ExecuteRequest::default();
    let answer: v1::ExecuteResponse = ask_without_end(&channel, path, request).await;
    assert_eq!(answer.answer, Some(v1::execute_response::Answer::Done("0".to_owned())));
    drop(channel);
    broker.close().await;
}

fn outcome(status: Status) -> Outcome {
    Refusal::from(status).outcome
}

#[tokio::test]
async fn a_request_of_too_many_entries_is_not_unfolded_whatever_its_call() {
    let (broker, channel, _folder) = open(1 << 20).await;
    let properties = |count: usize| -> HashMap<_, _> {
        (0..count).map(|index| (index.to_string(), String::new())).collect()
    };
    let mut query = v1::query_client::QueryClient::new(channel.clone());
    let request = v1::ExecuteRequest { properties: properties(20_000), ..Default::default() };
    assert_eq!(outcome(query.execute(request).await.unwrap_err()), Outcome::InvalidRequest);
    let request = v1::ExecuteRequest { properties: properties(100), ..Default::default() };
    query.execute(request).await.unwrap();
    let mut admin = AdminClient::new(channel.clone());
    let reset_settings = vec![String::new(); 20_000];
    let request =
        v1::AlterTopicRequest { name: "t".to_owned(), reset_settings, ..Default::default() };
    assert_eq!(outcome(admin.alter_topic(request).await.unwrap_err()), Outcome::InvalidRequest);
    drop((query, admin, channel));
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_calls_that_last_share_a_budget() {
    let (broker, channel, _folder) = open(1 << 20).await;
    let subscription = |entries: usize| {
        let at = Some(v1::position::At::Edge(v1::Edge::Latest.into()));
        let from = Some(v1::Position { at });
        let entry = v1::SubscribeEntry { topic: "t".to_owned(), partition: Some(0), from };
        v1::SubscribeRequest { entries: vec![entry; entries], ..Default::default() }
    };
    let mut log = LogClient::new(channel.clone());
    let large = log.subscribe(subscription(2_000)).await.unwrap();
    let status = log.subscribe(subscription(2_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(outcome(status), Outcome::Busy);
    let small = log.subscribe(subscription(5)).await.unwrap();
    drop(large);
    let start = Instant::now();
    while let Err(status) = log.subscribe(subscription(2_000)).await {
        assert_eq!(outcome(status), Outcome::Busy);
        assert!(start.elapsed() < Duration::from_secs(30), "a call that is over holds its share");
        tokio::task::yield_now().await;
    }
    drop((small, log, channel));
    broker.close().await;
}

/// The windows that a new connection is given, by the frames of HTTP/2 themselves: of a call, and of the connection.
async fn windows(address: SocketAddr) -> (u32, u32) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    peer.write_all(&SETTINGS).await.unwrap();
    let (mut of_call, mut of_connection) = (None, None);
    loop {
        if let (Some(of_call), Some(of_connection)) = (of_call, of_connection) {
            return (of_call, of_connection);
        }
        let mut head = [0; 9];
        peer.read_exact(&mut head).await.unwrap();
        let bytes = usize::from(head[1]) * 256 + usize::from(head[2]);
        let mut payload = vec![0; bytes];
        peer.read_exact(&mut payload).await.unwrap();
        let number = |four: &[u8]| u32::from_be_bytes(four.try_into().unwrap());
        match head[3] {
            // Settings, or that ours are taken.
            4 => {
                let mut settings = payload.chunks_exact(6);
                let window = settings.find(|setting| setting[..2] == [0, 4]);
                of_call = of_call.or(window.map(|window| number(&window[2..])));
            }
            // Beyond what HTTP/2 gives a peer that is told nothing.
            8 => of_connection = Some(65_535 + number(&payload)),
            other => panic!("a frame of type {other}"),
        }
    }
}

#[tokio::test]
async fn a_peer_may_send_ahead_as_far_as_the_documents_say_and_no_further() {
    let (broker, address, _folder) = listen(1 << 20).await;
    let asked = tokio::time::timeout(Duration::from_secs(30), windows(address));
    assert_eq!(asked.await.unwrap(), (4 << 20, 8 << 20));
    broker.close().await;
}
