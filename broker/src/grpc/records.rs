//! Produce, fetch, subscribe over gRPC: translation only.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use protocol::grpc::fetch::{IncomingFetch, IncomingSubscription, fetch_result};
use protocol::grpc::position::position_entries;
use protocol::grpc::produce::{self, Incoming, IncomingRecords};
use protocol::grpc::v1;
use protocol::id::{Offset, Partition};
use protocol::limits::{ENTRIES_PER_REQUEST_MAX, FETCH_BYTES_MAX};
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{FetchEntry, FetchRequest, PositionEntry, ProduceRequest};
use tonic::{Request, Response, Status, Streaming};

use crate::admission::{Allowance, Permit};
use crate::fetch::Answered;
use crate::grpc::friendly::{self, Batches, Spread};
use crate::grpc::held::{ANSWER_TIME_MAX, Held, SUBSCRIBER_TIME_MAX};
use crate::grpc::messages::Messages;
use crate::produce::Submitted;
use crate::service::Service;

/// Requests of one produce stream that may wait for their answers; the stream is read no further meanwhile.
const PRODUCE_STREAM_PENDING_MAX: usize = 64;

/// What the result of an entry takes: a refusal with its words, twice.
const RESULT_BYTES: usize = 512;

/// What the place of a record takes: until it is known, in the answer, and encoded.
const PLACE_BYTES: usize = 40;

/// How long a subscription waits for news before it looks whether the reader is still there.
const SUBSCRIBE_WAIT_MS: u32 = 30_000;

/// Problems of entries and the broker's own errors end a call in the same way.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// The service `thalweg.v1.Log`.
#[derive(Clone, Debug)]
pub(crate) struct LogService {
    service: Service,
    spread: Arc<Spread>,
}

impl LogService {
    pub(crate) fn new(service: Service) -> Self {
        Self { service, spread: Arc::default() }
    }

    /// Gives every batch of the request its place in line, once there is room for its answer.
    async fn submit(&self, message: Bytes, own: &Allowance) -> Result<PendingResponse, Status> {
        let incoming = produce::incoming(&message)?;
        drop(message);
        let permit = self.service.room_for_answer(own, answer_bytes(&incoming)).await?;
        let mut plan = Vec::with_capacity(incoming.len());
        let mut entries = Vec::with_capacity(incoming.len());
        for incoming in incoming {
            plan.push(match incoming {
                Err(refusal) => Planned::Refused(refusal),
                Ok(Incoming::Batch(entry)) => {
                    entries.push(entry);
                    Planned::Batch
                }
                Ok(Incoming::Records(records)) => match self.build(records, entries.len()) {
                    Err(refusal) => Planned::Refused(refusal),
                    Ok(mut batches) => {
                        let partitions = batches.partitions();
                        entries.append(&mut batches.entries);
                        Planned::Records { batches, partitions }
                    }
                },
            });
        }
        let submitted = self.service.produce(ProduceRequest { entries }).await;
        Ok(PendingResponse { plan, submitted, permit })
    }

    /// Appends what one message holds. The answer comes with the permit to hold it until it is on its way.
    pub(crate) async fn append(
        &self,
        message: Bytes,
    ) -> Result<(v1::ProduceResponse, Permit), Status> {
        Ok(self.submit(message, &Allowance::default()).await?.wait().await)
    }

    /// The answers to a stream of requests, and what is held for the one that came out last.
    pub(crate) fn append_all(&self, requests: Messages) -> (Answers<v1::ProduceResponse>, Held) {
        let (this, own) = (self.clone(), Allowance::default());
        let requests = stream::try_unfold(requests, |mut requests| async {
            Ok::<_, Status>(requests.next().await?.map(|request| (request, requests)))
        });
        // `then` submits one request after the other, which is the order; `buffered` lets them wait together and
        // answers in that order. A request that is refused as a whole ends the stream, behind the earlier answers.
        // No further request is read once the broker is leaving.
        let leaving = self.service.drain().clone();
        let mut answers = Box::pin(
            requests
                .take_until(async move { leaving.leaving().await })
                .then(move |request| {
                    let (this, own) = (this.clone(), own.clone());
                    async move { this.submit(request?, &own).await }
                })
                .map(|pending| async { Ok::<_, Status>(pending?.wait().await) })
                .buffered(PRODUCE_STREAM_PENDING_MAX),
        );
        let held = Held::new(None, ANSWER_TIME_MAX);
        let for_last = held.clone();
        let answers = stream::poll_fn(move |context| {
            // The bytes of the last answer keep its permit themselves.
            for_last.replace(None);
            let answer = std::task::ready!(answers.poll_next_unpin(context));
            Poll::Ready(answer.map(|answer| {
                answer.map(|(answer, permit)| {
                    for_last.replace(Some(permit));
                    answer
                })
            }))
        });
        (Box::pin(answers), held)
    }

    /// Answers a fetch, with the permit to hold its bytes until they are on their way.
    pub(crate) async fn answer(
        &self,
        request: v1::FetchRequest,
    ) -> Result<(v1::FetchResponse, Permit), Refusal> {
        let IncomingFetch { request, form } = request.try_into()?;
        let entries = request.entries.clone();
        let Answered { reply, permit } = self.service.fetch(request).await?;
        let mut unfolded_left = FETCH_BYTES_MAX;
        let results = entries
            .iter()
            .zip(reply.entries)
            .map(|(entry, result)| fetch_result(entry, result, form, &mut unfolded_left))
            .collect();
        Ok((v1::FetchResponse { results }, permit))
    }

    /// Builds batches beside the `entries` that the request has already.
    fn build(&self, records: IncomingRecords, entries: usize) -> Result<Batches, Refusal> {
        let shape = self.service.topic_shape(&records.topic)?;
        let batches_max = ENTRIES_PER_REQUEST_MAX.saturating_sub(entries);
        friendly::build(records, shape, batches_max, &self.spread, self.service.now())
    }
}

/// What the answer to a request takes at most, in memory and encoded, about.
fn answer_bytes(incoming: &[Result<Incoming, Refusal>]) -> usize {
    let records = |incoming: &Result<Incoming, Refusal>| match incoming {
        Ok(Incoming::Records(records)) => records.records.count(),
        Ok(Incoming::Batch(_)) | Err(_) => 0,
    };
    let records: usize = incoming.iter().map(records).sum();
    incoming.len() * RESULT_BYTES + records * PLACE_BYTES
}

/// What became of an entry on its way in.
enum Planned {
    Refused(Refusal),
    /// The next answer is its answer.
    Batch,
    /// The next so many answers are its answer.
    Records {
        batches: Batches,
        partitions: Vec<Partition>,
    },
}

/// A produce request that has its place in line.
struct PendingResponse {
    plan: Vec<Planned>,
    submitted: Submitted,
    /// For the answer.
    permit: Permit,
}

impl PendingResponse {
    async fn wait(self) -> (v1::ProduceResponse, Permit) {
        let mut answers = self.submitted.reply().await.entries.into_iter();
        let results = self.plan.into_iter().map(|planned| match planned {
            Planned::Refused(refusal) => Err(refusal).into(),
            Planned::Batch => answers.next().map_or_else(v1::ProduceResult::default, Into::into),
            Planned::Records { batches, partitions } => {
                let answers: Vec<_> = answers.by_ref().take(partitions.len()).collect();
                batches.answer(&partitions, &answers)
            }
        });
        (v1::ProduceResponse { results: results.collect() }, self.permit)
    }
}

/// Calls to produce come in by [`LogService::append`] and [`LogService::append_all`], unless they are compressed; those
/// are refused before they are decoded.
fn not_compressed() -> Status {
    Status::unimplemented(
        "requests to produce are not taken compressed: compress the batches in them",
    )
}

#[tonic::async_trait]
impl v1::log_server::Log for LogService {
    async fn produce(
        &self,
        _: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        Err(not_compressed())
    }

    type ProduceStreamStream = Answers<v1::ProduceResponse>;

    async fn produce_stream(
        &self,
        _: Request<Streaming<v1::ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        Err(not_compressed())
    }

    async fn fetch(
        &self,
        request: Request<v1::FetchRequest>,
    ) -> Result<Response<v1::FetchResponse>, Status> {
        let (answer, permit) = self.answer(request.into_inner()).await?;
        Ok(Held::new(Some(permit), ANSWER_TIME_MAX).with(answer))
    }

    type SubscribeStream = Answers<v1::FetchResponse>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let subscription =
            Subscription::start(&self.service, request.into_inner().try_into()?).await?;
        let held = subscription.held.clone();
        let answers = stream::try_unfold(subscription, |mut subscription| async {
            let answer = subscription.next().await?;
            Ok(answer.map(|answer| (answer, subscription)))
        });
        let answers: Self::SubscribeStream = Box::pin(answers);
        Ok(held.with(answers))
    }

    async fn init_producer(
        &self,
        _: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        Ok(Response::new(self.service.init_producer().await?.into()))
    }

    async fn find_positions(
        &self,
        request: Request<v1::FindPositionsRequest>,
    ) -> Result<Response<v1::FindPositionsResponse>, Status> {
        let found = self.service.find_positions(position_entries(request.into_inner())?).await?;
        let results = found.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::FindPositionsResponse { results }))
    }
}

/// One reader that follows partitions. Nothing is read ahead: the next answer is made when the stream asks for it, that
/// is, when the reader's HTTP/2 windows have room.
struct Subscription {
    service: Service,
    entries: Vec<FetchEntry>,
    form: v1::Form,
    bytes_max: u32,
    /// The permit of the answer that was made last.
    held: Held,
    /// A partition had a problem: it was told, and the subscription is over.
    is_over: bool,
}

impl Subscription {
    /// Finds every starting place.
    async fn start(service: &Service, incoming: IncomingSubscription) -> Result<Self, Refusal> {
        let mut wanted = Vec::new();
        for entry in incoming.entries {
            let partitions = match entry.partition {
                Some(partition) => vec![partition],
                None => Partition::all(service.topic_shape(&entry.topic)?.partitions).collect(),
            };
            let at = entry.from;
            wanted.extend(partitions.into_iter().map(|partition| PositionEntry {
                topic: entry.topic.clone(),
                partition,
                at,
            }));
            // A short request must not name more than any request may.
            if wanted.len() > ENTRIES_PER_REQUEST_MAX {
                return Err(Refusal::new(
                    Outcome::InvalidRequest,
                    format!(
                        "the subscription names more than {ENTRIES_PER_REQUEST_MAX} partitions"
                    ),
                ));
            }
        }
        let found = service.find_positions(wanted.clone()).await?;
        let bytes_max = incoming.bytes_max;
        let entries: Result<_, Refusal> = wanted
            .into_iter()
            .zip(found)
            .map(|(PositionEntry { topic, partition, .. }, found)| {
                Ok(FetchEntry { topic, partition, offset: found?.offset, bytes_max })
            })
            .collect();
        let form = incoming.form;
        Ok(Self {
            service: service.clone(),
            entries: entries?,
            form,
            bytes_max,
            held: Held::new(None, SUBSCRIBER_TIME_MAX),
            is_over: false,
        })
    }

    /// The next answer that holds something; `None` when the subscription is over or the broker is stopping.
    async fn next(&mut self) -> Result<Option<v1::FetchResponse>, Refusal> {
        // The bytes of the last answer keep its permit themselves.
        self.held.replace(None);
        while !self.is_over && !self.service.drain().is_leaving() {
            let request = FetchRequest {
                entries: self.entries.clone(),
                bytes_min: 1,
                wait_ms_max: SUBSCRIBE_WAIT_MS,
                bytes_max: self.bytes_max,
            };
            let answered = self.service.fetch(request).await?;
            let mut unfolded_left = (self.bytes_max as usize).max(1);
            let results: Vec<_> = self
                .entries
                .iter_mut()
                .zip(answered.reply.entries)
                .filter(|(_, result)| result.as_ref().map_or(true, |fetched| fetched.bytes() > 0))
                .map(|(entry, result)| {
                    let result = fetch_result(entry, result, self.form, &mut unfolded_left);
                    entry.offset = Offset::new(result.next_offset).unwrap_or(entry.offset);
                    result
                })
                .collect();
            // Whoever came first comes last next time: no partition starves the others.
            if self.entries.len() > 1 {
                self.entries.rotate_left(1);
            }
            if !results.is_empty() {
                self.is_over = results.iter().any(|result| result.problem.is_some());
                self.held.replace(Some(answered.permit));
                return Ok(Some(v1::FetchResponse { results }));
            }
        }
        Ok(None)
    }
}
