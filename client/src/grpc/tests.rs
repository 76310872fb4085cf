//! The transport against a server of this crate's own: the door of a broker in memory, as small as it can be. What is
//! tested is the client's side of the wire: order on the stream, what a break means, and connecting again.

use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use prost::Message as _;
use protocol::compression::Compression;
use protocol::grpc::v1::log_server::{Log, LogServer};
use protocol::id::Partition;
use protocol::outcome::Outcome;
use protocol::record::Record;
use protocol::verbs::Position;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::consumer::{Consumer, ConsumerConfig};
use crate::fake::{Call, FakeBroker, Fault};
use crate::producer::{BackoffConfig, Producer, ProducerConfig};

/// Translates the calls of the log service into a broker in memory. The admin service is left out: a call to it shows
/// what an unknown call looks like.
#[derive(Clone)]
struct Door(Arc<FakeBroker>);

type Answers<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;
type Answered<T> = std::result::Result<Response<T>, Status>;

fn status(error: Error) -> Status {
    Refusal::from(error).into()
}

#[tonic::async_trait]
impl Log for Door {
    type ProduceStreamStream = Answers<v1::ProduceResponse>;
    type SubscribeStream = Answers<v1::FetchResponse>;

    async fn produce(&self, request: Request<v1::ProduceRequest>) -> Answered<v1::ProduceResponse> {
        let mut entries = Vec::new();
        for entry in produce::incoming(&request.into_inner().encode_to_vec().into())? {
            let produce::Incoming::Batch(entry) = entry? else {
                return Err(Status::unimplemented("the friendly form"));
            };
            entries.push(entry);
        }
        let handed = self.0.produce(ProduceRequest { entries }).await.map_err(status)?;
        let reply = handed.await.map_err(status)?;
        let results = reply.entries.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ProduceResponse { results }))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceRequest>>,
    ) -> Answered<Self::ProduceStreamStream> {
        let door = self.clone();
        let answers = request.into_inner().then(move |request| {
            let door = door.clone();
            async move { Ok(door.produce(Request::new(request?)).await?.into_inner()) }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Answered<v1::FetchResponse> {
        let fetch::IncomingFetch { request, form } = request.into_inner().try_into()?;
        let reply = self.0.fetch(request.clone()).await.map_err(status)?;
        let pairs = request.entries.iter().zip(reply.entries);
        let results = pairs.map(|(entry, result)| {
            fetch::fetch_result(entry, result, form, &mut usize::MAX.clone())
        });
        Ok(Response::new(v1::FetchResponse { results: results.collect() }))
    }

    async fn subscribe(
        &self,
        _request: Request<v1::SubscribeRequest>,
    ) -> Answered<Self::SubscribeStream> {
        Err(Status::unimplemented("subscribe"))
    }

    async fn init_producer(
        &self,
        _request: Request<v1::InitProducerRequest>,
    ) -> Answered<v1::InitProducerResponse> {
        Ok(Response::new(self.0.init_producer().await.map_err(status)?.into()))
    }

    async fn find_positions(
        &self,
        request: Request<v1::FindPositionsRequest>,
    ) -> Answered<v1::FindPositionsResponse> {
        let entries = position::position_entries(request.into_inner())?;
        let found = self.0.find_positions(entries).await.map_err(status)?;
        let results = found.into_iter().map(|found| found.map_err(Refusal::from).into());
        Ok(Response::new(v1::FindPositionsResponse { results: results.collect() }))
    }
}

/// A server on a runtime of its own: dropping it cuts every connection, as a crash does.
struct Server {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The port of a server that has just stopped may be taken for a moment: then it is tried again.
async fn serve(broker: &Arc<FakeBroker>, address: Option<SocketAddr>) -> Server {
    let wanted = address.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let listener = loop {
        match std::net::TcpListener::bind(wanted) {
            Ok(listener) => break listener,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{wanted}: {error}"),
        }
        tokio::task::yield_now().await;
    };
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door(broker.clone());
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let log = LogServer::new(door).max_decoding_message_size(REQUEST_BYTES_MAX);
        let incoming = TcpListenerStream::new(listener);
        tonic::transport::Server::builder().add_service(log).serve_with_incoming(incoming).await
    });
    Server { address, runtime: Some(runtime) }
}

fn topic() -> TopicName {
    "t".parse().unwrap()
}

fn entry(value: impl ToString) -> ProduceRequest {
    let mut builder = protocol::batch::Builder::new(Compression::None);
    builder.push(&Record::of_value(value.to_string()), protocol::id::Timestamp(1));
    let batch = builder.finish(None);
    let partition = Partition::ZERO;
    ProduceRequest {
        entries: vec![protocol::verbs::ProduceEntry { topic: topic(), partition, batch }],
    }
}

#[tokio::test]
async fn records_go_in_and_come_out() {
    let broker = FakeBroker::with_topic("t", 1);
    let server = serve(&broker, None).await;
    let transport = GrpcTransport::connect(&server.address.to_string()).unwrap();
    let producer = Producer::new(transport.clone(), ProducerConfig::default());
    let value = Bytes::from(vec![7; 3 * MIB]);
    let record = Record::new("k", value.clone()).header("h", "1");
    let partition = Some(Partition::ZERO);
    let placed = producer.send(&topic(), partition, record).await.unwrap().await.unwrap();
    let mut consumer = Consumer::new(transport, ConsumerConfig::default());
    consumer.assign(&topic(), partition, Position::Earliest).await.unwrap();
    let read = consumer.next().await.unwrap();
    assert_eq!((read.offset, read.value), (placed.offset, Some(value)));
    assert_eq!(read.headers[0].name_text(), "h");
}

#[tokio::test]
async fn many_requests_are_under_way_and_answered_in_order() {
    let broker = FakeBroker::with_topic("t", 1);
    let server = serve(&broker, None).await;
    let transport = GrpcTransport::connect(&server.address.to_string()).unwrap();
    let mut replies = Vec::new();
    for value in 0..50 {
        replies.push(transport.produce(entry(value)).await.unwrap());
    }
    for (index, reply) in replies.into_iter().enumerate() {
        let appended = reply.await.unwrap().entries[0].clone().unwrap();
        assert_eq!(appended.base_offset.get(), index as i64);
    }
}

#[tokio::test]
async fn refusals_cross_with_their_outcome() {
    let broker = FakeBroker::with_topic("t", 1);
    let server = serve(&broker, None).await;
    let transport = GrpcTransport::connect(&server.address.to_string()).unwrap();
    broker.fail(Call::Produce, Fault::Refuse(Outcome::DiskFull), 1);
    let reply = transport.produce(entry("x")).await.unwrap().await.unwrap();
    assert_eq!(reply.entries[0].as_ref().unwrap_err().outcome, Outcome::DiskFull);
    broker.fail(Call::InitProducer, Fault::Refuse(Outcome::Busy), 1);
    assert_eq!(transport.init_producer().await.unwrap_err().outcome(), Outcome::Busy);
    let unknown = transport.describe_broker().await.unwrap_err();
    assert_eq!(unknown.outcome(), Outcome::Unsupported, "{unknown}");
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let broker = FakeBroker::with_topic("t", 1);
    let server = serve(&broker, None).await;
    let address = server.address;
    let transport = GrpcTransport::connect(&address.to_string()).unwrap();
    let backoff = BackoffConfig::default().first(Duration::from_millis(1));
    let config = ProducerConfig::default().backoff(backoff);
    let producer = Producer::new(transport.clone(), config);
    let partition = Some(Partition::ZERO);
    let topic = topic();
    let send = |value| producer.send(&topic, partition, Record::of_value(value));
    send("before").await.unwrap().await.unwrap();
    broker.hold_answers(true);
    let during = send("during").await.unwrap();
    while broker.calls(Call::Produce) < 2 {
        tokio::task::yield_now().await;
    }
    drop(server);
    broker.hold_answers(false);
    let after = send("after").await.unwrap();
    let _server = serve(&broker, Some(address)).await;
    assert_eq!(during.await.unwrap().offset.get(), 1);
    assert_eq!(after.await.unwrap().offset.get(), 2);
    assert_eq!(broker.records(&topic).len(), 3, "each once");
}

async fn submit(pipeline: &Pipeline) -> oneshot::Receiver<Answer> {
    pipeline.submit(v1::ProduceRequest::default()).await.unwrap()
}

fn outcome(answer: std::result::Result<Answer, oneshot::error::RecvError>) -> Outcome {
    answer.unwrap().unwrap_err().outcome
}

#[tokio::test]
async fn addresses_are_checked() {
    for good in ["127.0.0.1:9093", "http://localhost:9093", "[::1]:9093"] {
        assert!(GrpcTransport::connect(good).is_ok(), "{good}");
    }
    for bad in ["", "localhost", "https://localhost:9093", "a b:1"] {
        let error = GrpcTransport::connect(bad).unwrap_err();
        assert_eq!(error.outcome(), Outcome::InvalidRequest, "{bad}");
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_has_done_nothing() {
    // Bound and dropped: nobody listens there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let transport = GrpcTransport::connect(&address.to_string()).unwrap();
    let asked = transport.describe_broker().await.unwrap_err();
    assert_eq!(asked.outcome(), Outcome::Unavailable, "{asked}");
    assert!(asked.message().contains(&address.to_string()));
    let handed = transport.produce(ProduceRequest::default()).await;
    let error = match handed {
        Ok(reply) => reply.await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.outcome(), Outcome::Unavailable, "{error}");
}

#[tokio::test]
async fn answers_find_their_callers_in_order() {
    let (pipeline, _outgoing) = Pipeline::new();
    let (first, second) = (submit(&pipeline).await, submit(&pipeline).await);
    let answer = |repeated_batch| v1::ProduceResponse {
        results: vec![v1::ProduceResult { repeated_batch, ..Default::default() }],
    };
    assert!(pipeline.answer(answer(false)) && pipeline.answer(answer(true)));
    assert!(!pipeline.answer(answer(true)), "nobody waits");
    assert!(!first.await.unwrap().unwrap().results[0].repeated_batch);
    assert!(second.await.unwrap().unwrap().results[0].repeated_batch);
}

#[tokio::test]
async fn a_break_tells_apart_what_was_sent_from_what_was_not() {
    let (pipeline, mut outgoing) = Pipeline::new();
    let (sent, held) = (submit(&pipeline).await, submit(&pipeline).await);
    assert!(outgoing.recv().await.unwrap().slip.claim());
    pipeline.fail(Refusal::new(Outcome::Disconnected, "cut"));
    assert_eq!(outcome(sent.await), Outcome::Disconnected);
    assert_eq!(outcome(held.await), Outcome::Unavailable);
    assert!(!outgoing.recv().await.unwrap().slip.claim(), "withdrawn");
    let refused = pipeline.submit(v1::ProduceRequest::default()).await.unwrap_err();
    assert_eq!(refused.outcome, Outcome::Unavailable);
}

#[tokio::test]
async fn a_stream_ended_for_good_is_the_first_callers_fault_only() {
    let (pipeline, mut outgoing) = Pipeline::new();
    let (first, second) = (submit(&pipeline).await, submit(&pipeline).await);
    for _ in 0..2 {
        assert!(outgoing.recv().await.unwrap().slip.claim());
    }
    pipeline.fail(Refusal::new(Outcome::InvalidRequest, "too many entries"));
    assert_eq!(outcome(first.await), Outcome::InvalidRequest);
    assert_eq!(outcome(second.await), Outcome::Disconnected);
}

#[tokio::test]
async fn requests_under_way_are_bounded() {
    let (pipeline, _outgoing) = Pipeline::new();
    let mut answers = Vec::new();
    for _ in 0..PIPELINE_REQUESTS_MAX {
        answers.push(submit(&pipeline).await);
    }
    let mut one_more = std::pin::pin!(pipeline.submit(v1::ProduceRequest::default()));
    assert!(futures_util::poll!(&mut one_more).is_pending());
    pipeline.answer(v1::ProduceResponse::default());
    assert!(futures_util::poll!(&mut one_more).is_ready());
}
