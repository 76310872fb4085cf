//! Transport over gRPC: one connection for what is written and one for what is read, so that a large answer never
//! stands in the way of an acknowledgement. Plain HTTP/2, no TLS.
//!
//! Connections are made when first needed and made again by themselves. All produce requests go through one long-lived
//! stream; when it breaks, every call that waits for an answer is told so, and the next call opens a new one.

mod stream;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{self, BoxFuture};
use parking_lot::Mutex;
use protocol::grpc::v1::{self, admin_client::AdminClient, log_client::LogClient};
use protocol::grpc::{admin, fetch, position, produce};
use protocol::id::TopicName;
use protocol::limits::{FETCH_BYTES_MAX, MIB, REQUEST_BYTES_MAX};
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{
    BrokerDescription, FetchReply, FetchRequest, PositionEntry, PositionFound, ProduceRequest,
    ProducerIdentity, TopicChange, TopicDescription, TopicSpec,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::error::{Error, Result};
use crate::transport::{PendingReply, Transport};

/// HTTP/2 windows, in bytes: what may be under way to us on one stream and on one connection. The defaults of 64 KiB
/// would make each megabyte wait for sixteen round trips.
const STREAM_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 32 * 1024 * 1024;

/// Largest HTTP/2 frame that is taken, in bytes. By default 16 KiB: each would be a system call of the broker's and an
/// allocation of ours.
const FRAME_BYTES: u32 = 256 * 1024;

/// Largest answer that is read, in bytes: a full fetch, and behind it one batch of the largest size.
const ANSWER_BYTES_MAX: usize = FETCH_BYTES_MAX + REQUEST_BYTES_MAX;

/// Produce requests that may wait for their answers on the stream.
const PIPELINE_REQUESTS_MAX: usize = 64;

/// A peer that answers no ping within these times is gone, however quiet its network is about it.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for the answer to a call that does not wait at the broker; for a fetch, on top of its own wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A way to a broker over gRPC.
pub struct GrpcTransport {
    server: String,
    inward: Channel,
    log_out: LogClient<Channel>,
    admin: AdminClient<Channel>,
    /// The stream for produce requests, once there is one; replaced when it has broken. Never held across an await.
    pipeline: Mutex<Option<Arc<Pipeline>>>,
}

impl GrpcTransport {
    /// A transport to the broker at `server`: `host:port` or `http://host:port`. Connects when first used.
    ///
    /// # Errors
    /// [`Outcome::InvalidRequest`] when `server` is not an address, asks for TLS, or there is no tokio runtime here.
    pub fn connect(server: &str) -> Result<Arc<Self>> {
        let invalid = |why: &str| {
            Error::new(
                Outcome::InvalidRequest,
                format!("{server:?} is no address of a broker: {why}; use host:port"),
            )
        };
        let url = match server.split_once("://") {
            None => format!("http://{server}"),
            Some(("http", _)) => server.to_owned(),
            Some((scheme, _)) => return Err(invalid(&format!("{scheme} is not supported"))),
        };
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(invalid("a transport is made inside a tokio runtime"));
        }
        let endpoint = Endpoint::from_shared(url)
            .map_err(|error| invalid(&error.to_string()))?
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        if endpoint.uri().port().is_none() {
            return Err(invalid("the port is missing"));
        }
        let (inward, outward) = (endpoint.connect_lazy(), endpoint.connect_lazy());
        Ok(Arc::new(Self {
            server: server.to_owned(),
            inward,
            log_out: LogClient::new(outward.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            admin: AdminClient::new(outward).max_decoding_message_size(ANSWER_BYTES_MAX),
            pipeline: Mutex::new(None),
        }))
    }

    /// The stream that takes produce requests; a new one where there is none or it has broken.
    fn pipeline(&self) -> Arc<Pipeline> {
        let mut pipeline = self.pipeline.lock();
        match &*pipeline {
            Some(open) if !open.is_broken() => Arc::clone(open),
            Some(_) | None => {
                let (opened, outgoing) = Pipeline::new();
                let opened = Arc::new(opened);
                tokio::spawn(drive(Arc::clone(&opened), self.inward.clone(), outgoing));
                *pipeline = Some(Arc::clone(&opened));
                opened
            }
        }
    }

    fn error(&self, refusal: Refusal) -> Error {
        name_server(refusal, &self.server).into()
    }

    /// One call and its answer, or an error in time.
    async fn call<T>(
        &self,
        within: Duration,
        call: impl Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T> {
        match tokio::time::timeout(within, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.error(status.into())),
            Err(_) => Err(Error::new(
                Outcome::TimedOut,
                format!("the broker at {} did not answer in {} s", self.server, within.as_secs()),
            )),
        }
    }
}

/// Errors of a connection say which broker was meant; the broker's own refusals need no such help.
fn name_server(mut refusal: Refusal, server: &str) -> Refusal {
    if matches!(refusal.outcome, Outcome::Unavailable | Outcome::Disconnected) {
        refusal.message = format!("broker at {server}: {}", refusal.message);
    }
    refusal
}

impl fmt::Debug for GrpcTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcTransport").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Drop for GrpcTransport {
    fn drop(&mut self) {
        // The stream's task answers what is under way and ends.
        if let Some(pipeline) = self.pipeline.lock().take() {
            pipeline.finish();
        }
    }
}

impl Transport for GrpcTransport {
    fn produce(&self, request: ProduceRequest) -> BoxFuture<'_, Result<PendingReply>> {
        Box::pin(async move {
            let entries = request.entries.len();
            let request = v1::ProduceRequest::from(request);
            let answer =
                self.pipeline().submit(request).await.map_err(|refusal| self.error(refusal))?;
            let server = self.server.clone();
            let reply: PendingReply = Box::pin(async move {
                let answer =
                    answer.await.unwrap_or_else(|_| Err(lost("the task of the stream ended")));
                let reply = answer.and_then(|answer| produce::produce_reply(answer, entries));
                reply.map_err(|refusal| name_server(refusal, &server).into())
            });
            Ok(reply)
        })
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchReply>> {
        Box::pin(async move {
            let entries = request.entries.clone();
            let within = Duration::from_millis(request.wait_ms_max.into()) + ANSWER_TIMEOUT;
            let mut log = self.log_out.clone();
            let response = self.call(within, log.fetch(v1::FetchRequest::from(request))).await?;
            fetch::fetch_reply(response, &entries).map_err(|refusal| self.error(refusal))
        })
    }

    fn find_positions(
        &self,
        entries: Vec<PositionEntry>,
    ) -> BoxFuture<'_, Result<Vec<Result<PositionFound>>>> {
        Box::pin(async move {
            let count = entries.len();
            let request: v1::FindPositionsRequest = entries.into_iter().collect();
            let mut log = self.log_out.clone();
            let response = self.call(ANSWER_TIMEOUT, log.find_positions(request)).await?;
            let found = position::positions_found(response, count)
                .map_err(|refusal| self.error(refusal))?;
            Ok(found.into_iter().map(|found| found.map_err(Error::from)).collect())
        })
    }

    fn init_producer(&self) -> BoxFuture<'_, Result<ProducerIdentity>> {
        Box::pin(async move {
            let mut log = self.log_out.clone();
            let request = v1::InitProducerRequest {};
            let response = self.call(ANSWER_TIMEOUT, log.init_producer(request)).await?;
            ProducerIdentity::try_from(response).map_err(|refusal| self.error(refusal))
        })
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<TopicDescription>> {
        Box::pin(async move {
            let mut admin = self.admin.clone();
            let request = v1::CreateTopicRequest::from(spec);
            let response = self.call(ANSWER_TIMEOUT, admin.create_topic(request)).await?;
            admin::topic_description(response.topic).map_err(|refusal| self.error(refusal))
        })
    }

    fn describe_topic(&self, name: TopicName) -> BoxFuture<'_, Result<TopicDescription>> {
        Box::pin(async move {
            let mut admin = self.admin.clone();
            let request = v1::DescribeTopicRequest { name: name.to_string() };
            let response = self.call(ANSWER_TIMEOUT, admin.describe_topic(request)).await?;
            admin::topic_description(response.topic).map_err(|refusal| self.error(refusal))
        })
    }

    fn list_topics(&self) -> BoxFuture<'_, Result<Vec<TopicDescription>>> {
        Box::pin(async move {
            let mut admin = self.admin.clone();
            let request = v1::ListTopicsRequest {};
            let response = self.call(ANSWER_TIMEOUT, admin.list_topics(request)).await?;
            admin::topic_descriptions(response).map_err(|refusal| self.error(refusal))
        })
    }

    fn alter_topic(
        &self,
        name: TopicName,
        change: TopicChange,
    ) -> BoxFuture<'_, Result<TopicDescription>> {
        Box::pin(async move {
            let mut admin = self.admin.clone();
            let request = v1::AlterTopicRequest::from(admin::IncomingChange { name, change });
            let response = self.call(ANSWER_TIMEOUT, admin.alter_topic(request)).await?;
            admin::topic_description(response.topic).map_err(|refusal| self.error(refusal))
        })
    }

    fn delete_topic(&self, name: TopicName) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut admin = self.admin.clone();
            let request = v1::DeleteTopicRequest { name: name.to_string() };
            self.call(ANSWER_TIMEOUT, admin.delete_topic(request)).await.map(drop)
        })
    }

    fn describe_broker(&self) -> BoxFuture<'_, Result<BrokerDescription>> {
        Box::pin(async move {
            let mut admin = self.admin.clone();
            let request = v1::DescribeBrokerRequest {};
            self.call(ANSWER_TIMEOUT, admin.describe_broker(request)).await.map(Into::into)
        })
    }
}

type Answer = std::result::Result<v1::ProduceResponse, Refusal>;

/// One stream of produce requests: what was handed over and is not answered yet, in order.
struct Pipeline {
    /// Places for requests under way; closed when the stream has broken.
    places: Arc<Semaphore>,
    /// Never held across an await.
    state: Mutex<PipelineState>,
}

struct PipelineState {
    /// To the stream; `None` when nothing more is taken. Bounded by the places.
    outgoing: Option<mpsc::UnboundedSender<Outgoing>>,
    /// In the order of their requests, which is the order of the answers.
    waiting: VecDeque<Waiter>,
    /// Why the stream has broken.
    broken: Option<Refusal>,
}

struct Outgoing {
    request: v1::ProduceRequest,
    slip: Arc<Slip>,
}

struct Waiter {
    answer: oneshot::Sender<Answer>,
    slip: Arc<Slip>,
    _place: OwnedSemaphorePermit,
}

/// Decides, once, whether a request goes on the wire or is withdrawn: so a request that is withdrawn was never sent.
#[derive(Default)]
struct Slip(AtomicBool);

impl Slip {
    /// True for the first who claims it.
    fn claim(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Pipeline {
    fn new() -> (Self, mpsc::UnboundedReceiver<Outgoing>) {
        let (outgoing, stream) = mpsc::unbounded_channel();
        let state =
            PipelineState { outgoing: Some(outgoing), waiting: VecDeque::new(), broken: None };
        let places = Arc::new(Semaphore::new(PIPELINE_REQUESTS_MAX));
        (Self { places, state: Mutex::new(state) }, stream)
    }

    fn is_broken(&self) -> bool {
        self.places.is_closed()
    }

    /// Gives a request its place in line. An error means that it was not sent.
    async fn submit(
        &self,
        request: v1::ProduceRequest,
    ) -> std::result::Result<oneshot::Receiver<Answer>, Refusal> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let mut state = self.state.lock();
        let (Ok(place), Some(outgoing)) = (place, &state.outgoing) else {
            let why = state.broken.as_ref().map_or("closed", |refusal| &refusal.message);
            let message = format!("the stream broke before the request was sent: {why}");
            return Err(Refusal::new(Outcome::Unavailable, message));
        };
        let slip = Arc::new(Slip::default());
        // The receiver is dropped only when the stream ends; then the request is withdrawn with the others.
        drop(outgoing.send(Outgoing { request, slip: Arc::clone(&slip) }));
        let (answer, answered) = oneshot::channel();
        state.waiting.push_back(Waiter { answer, slip, _place: place });
        Ok(answered)
    }

    /// Hands an answer to the one who waits longest. False when nobody waits.
    fn answer(&self, response: v1::ProduceResponse) -> bool {
        let waiter = self.state.lock().waiting.pop_front();
        // Who gave up the answer needs none.
        waiter.map(|waiter| drop(waiter.answer.send(Ok(response)))).is_some()
    }

    /// Takes no further request.
    fn finish(&self) {
        self.state.lock().outgoing = None;
    }

    /// Tells all who wait that the stream has ended, each as much as is certain.
    fn fail(&self, end: Refusal) {
        let waiting = {
            let mut state = self.state.lock();
            self.places.close();
            state.outgoing = None;
            state.broken = Some(end.clone());
            std::mem::take(&mut state.waiting)
        };
        let certain = if end.outcome.may_have_happened() {
            Refusal { outcome: Outcome::Unavailable, ..end.clone() }
        } else {
            end.clone()
        };
        for (index, waiter) in waiting.into_iter().enumerate() {
            let refusal = if waiter.slip.claim() {
                // It never left this side.
                certain.clone()
            } else if index == 0 && !end.outcome.may_retry() {
                // All before it were answered: the stream ended because of this one.
                end.clone()
            } else {
                lost(&end.message)
            };
            drop(waiter.answer.send(Err(refusal)));
        }
    }
}

fn lost(why: &str) -> Refusal {
    Refusal::new(Outcome::Disconnected, format!("the stream broke before the answer came: {why}"))
}

/// Runs one stream from its first request to its end.
async fn drive(
    pipeline: Arc<Pipeline>,
    channel: Channel,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
) {
    let requests = UnboundedReceiverStream::new(outgoing)
        .filter_map(|outgoing| future::ready(outgoing.slip.claim().then_some(outgoing.request)));
    let end = match stream::open(channel, requests).await {
        Err(status) => Refusal::from(status),
        Ok(mut answers) => loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    if !pipeline.answer(answer) {
                        break lost("an answer came that nobody had asked for");
                    }
                }
                Ok(None) => break lost("the broker ended the stream"),
                Err(status) => break Refusal::from(status),
            }
        },
    };
    tracing::debug!(why = %end, "the produce stream ended");
    pipeline.fail(end);
}

const _: () = {
    // A stream's window is part of its connection's.
    assert!(STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES);
    assert!(REQUEST_BYTES_MAX > 8 * MIB);
};

#[cfg(test)]
mod tests;
