//! The gRPC door as any generated client sees it: whole messages and statuses, however their bytes are made.

use bytes::Bytes;
use futures_util::stream;
use protocol::grpc::v1::{self, log_client::LogClient};
use protocol::id::Timestamp;
use protocol::outcome::{Outcome, Refusal};
use tempfile::TempDir;
use thalweg_broker::config::DurabilityMode;
use thalweg_broker::{Broker, Config};
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::support::{batch_of, spec};

/// Values small and large: the batch of a large one leaves without a copy, those of small ones share a piece.
const VALUES_BYTES: [usize; 6] = [100, 200_000, 10, 20, 300_000, 5];

struct Door {
    broker: Broker,
    log: LogClient<Channel>,
    _folder: TempDir,
}

/// A broker with a topic "t" that has one batch for each of [`VALUES_BYTES`].
async fn open() -> Door {
    let folder = tempfile::tempdir().unwrap();
    let local = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        data_dir: folder.path().to_owned(),
        durability: DurabilityMode::Os,
        grpc_listen: local,
        http_listen: local,
        ..Config::default()
    };
    let broker = Broker::open(config).await.unwrap();
    let doors = broker.listen(tonic::service::Routes::default()).await.unwrap();
    broker.service().create_topic(spec("t", 1, &[])).await.unwrap();
    let mut log = LogClient::connect(format!("http://{}", doors.grpc)).await.unwrap();
    let entry = |bytes: usize| v1::ProduceEntry {
        topic: "t".to_owned(),
        partition: Some(0),
        payload: Some(v1::produce_entry::Payload::Batch(batch(bytes))),
    };
    let entries = VALUES_BYTES.into_iter().map(entry).collect();
    let answer = log.produce(v1::ProduceRequest { entries }).await.unwrap().into_inner();
    assert!(answer.results.iter().all(|result| result.problem.is_none()), "{answer:?}");
    Door { broker, log, _folder: folder }
}

fn batch(value_bytes: usize) -> Bytes {
    batch_of(vec![7; value_bytes], Timestamp::NONE).into_bytes()
}

fn fetch(topic: &str, form: v1::Form) -> v1::FetchRequest {
    let entry = v1::FetchEntry { topic: topic.to_owned(), ..Default::default() };
    v1::FetchRequest { entries: vec![entry], form: form.into(), ..Default::default() }
}

#[tokio::test]
async fn a_fetch_gives_every_batch_whole_in_both_forms() {
    let Door { broker, mut log, _folder } = open().await;
    let answer = log.fetch(fetch("t", v1::Form::Batches)).await.unwrap().into_inner();
    let [result] = &*answer.results else { panic!("{answer:?}") };
    assert_eq!((&*result.topic, result.partition, result.next_offset), ("t", 0, 6));
    let lengths: Vec<_> = result.batches.iter().map(Bytes::len).collect();
    assert_eq!(lengths.len(), VALUES_BYTES.len());
    for (length, value_bytes) in lengths.iter().zip(VALUES_BYTES) {
        assert_eq!(*length, batch(value_bytes).len());
    }
    let answer = log.fetch(fetch("t", v1::Form::Records)).await.unwrap().into_inner();
    let records = answer.results.into_iter().flat_map(|result| result.records);
    let lengths: Vec<_> = records.map(|record| record.value.unwrap().len()).collect();
    assert_eq!(lengths, VALUES_BYTES);
    broker.close().await;
}

#[tokio::test]
async fn what_is_refused_as_a_whole_is_a_status_with_its_outcome() {
    let Door { broker, mut log, _folder } = open().await;
    let wrong = v1::FetchRequest { form: 7, ..fetch("t", v1::Form::Batches) };
    let status = log.fetch(wrong).await.unwrap_err();
    assert_eq!(Refusal::from(status).outcome, Outcome::InvalidRequest);
    let nobody = v1::SubscribeEntry { topic: "nobody".to_owned(), ..Default::default() };
    let request = v1::SubscribeRequest { entries: vec![nobody], ..Default::default() };
    let status = log.subscribe(request).await.unwrap_err();
    assert_eq!(Refusal::from(status).outcome, Outcome::UnknownTopic);
    // In an answer, an entry is refused by itself.
    let answer = log.fetch(fetch("nobody", v1::Form::Batches)).await.unwrap().into_inner();
    let problem = answer.results.into_iter().next().unwrap().problem.unwrap();
    assert_eq!(Refusal::from(problem).outcome, Outcome::UnknownTopic);
    broker.close().await;
}

#[tokio::test]
async fn a_compressed_request_is_told_that_it_is_not_understood() {
    let Door { broker, mut log, _folder } = open().await;
    let mut request = Request::new(fetch("t", v1::Form::Batches));
    request.metadata_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    assert_eq!(log.fetch(request).await.unwrap_err().code(), Code::Unimplemented);
    let mut request = Request::new(fetch("t", v1::Form::Batches));
    request.metadata_mut().insert("grpc-encoding", "identity".parse().unwrap());
    assert_eq!(log.fetch(request).await.unwrap().into_inner().results.len(), 1);
    broker.close().await;
}

#[tokio::test]
async fn a_subscription_goes_on_message_by_message_until_the_broker_leaves() {
    let Door { broker, mut log, _folder } = open().await;
    let entry = v1::SubscribeEntry { topic: "t".to_owned(), ..Default::default() };
    let request =
        v1::SubscribeRequest { entries: vec![entry], bytes_max: 1000, ..Default::default() };
    let mut answers = log.subscribe(request).await.unwrap().into_inner();
    let (mut messages, mut next, mut batches) = (0, 0, 0);
    while next < 6 {
        let answer = answers.message().await.unwrap().unwrap();
        messages += 1;
        for result in answer.results {
            assert!(result.next_offset > next);
            next = result.next_offset;
            batches += result.batches.len();
        }
    }
    assert_eq!(batches, VALUES_BYTES.len());
    assert!(messages > 2, "a thousand bytes a message, or one batch");
    // What comes while the subscription waits.
    let entry = v1::ProduceEntry {
        topic: "t".to_owned(),
        partition: Some(0),
        payload: Some(v1::produce_entry::Payload::Batch(batch(50_000))),
    };
    log.produce(v1::ProduceRequest { entries: vec![entry] }).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().results[0].next_offset, 7);
    broker.close().await;
    match answers.message().await {
        Ok(None) => {}
        Ok(Some(answer)) => panic!("nothing came after that: {answer:?}"),
        // It was waiting.
        Err(status) => assert_eq!(Refusal::from(status).outcome, Outcome::Unavailable),
    }
}

/// A friendly request whose entries have so many records of two bytes each.
fn empty_records(entries: &[usize]) -> v1::ProduceRequest {
    let entry = |count: &usize| {
        let records = vec![v1::Record::default(); *count];
        let list = v1::RecordList { records, ..Default::default() };
        let payload = Some(v1::produce_entry::Payload::Records(list));
        v1::ProduceEntry { topic: "t".to_owned(), partition: None, payload }
    };
    v1::ProduceRequest { entries: entries.iter().map(entry).collect() }
}

#[tokio::test]
async fn a_request_that_would_unfold_beyond_all_bounds_is_refused() {
    let Door { broker, mut log, _folder } = open().await;
    let outcome = |status: tonic::Status| Refusal::from(status).outcome;
    let bomb = empty_records(&[600_000, 600_000]);
    assert_eq!(outcome(log.produce(bomb).await.unwrap_err()), Outcome::InvalidRequest);
    let entries = vec![v1::ProduceEntry::default(); 10_001];
    let bomb = v1::ProduceRequest { entries };
    let mut answers = log.produce_stream(stream::iter([bomb])).await.unwrap().into_inner();
    assert_eq!(outcome(answers.message().await.unwrap_err()), Outcome::InvalidRequest);
    // Of other calls the requests themselves are small.
    let topic = "t".repeat(200);
    let entries = vec![v1::FetchEntry { topic: topic.clone(), ..Default::default() }; 30_000];
    let bomb = v1::FetchRequest { entries, ..Default::default() };
    assert_eq!(log.fetch(bomb).await.unwrap_err().code(), Code::OutOfRange);
    let entries = vec![v1::FindPositionsEntry { topic, ..Default::default() }; 30_000];
    let bomb = v1::FindPositionsRequest { entries };
    assert_eq!(log.find_positions(bomb).await.unwrap_err().code(), Code::OutOfRange);
    broker.close().await;
}

#[tokio::test]
async fn the_friendly_form_is_answered_record_by_record_on_a_stream() {
    let Door { broker, mut log, _folder } = open().await;
    let requests = [empty_records(&[3, 2]), empty_records(&[0]), empty_records(&[5_000])];
    let mut answers = log.produce_stream(stream::iter(requests)).await.unwrap().into_inner();
    let mut offsets = Vec::new();
    let mut problems = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        for result in answer.results {
            problems += usize::from(result.problem.is_some());
            offsets.extend(result.places.into_iter().map(|place| place.offset));
        }
    }
    let first = i64::try_from(VALUES_BYTES.len()).unwrap();
    assert_eq!(offsets, (first..first + 5_005).collect::<Vec<_>>());
    assert_eq!(problems, 1, "a list without records");
    broker.close().await;
}
