//! The service `thalweg.v1.Log` as it is put on the port: with bodies of its own.
//!
//! The messages are those of `records.rs`; only how they become bytes, and come from them, is done here. tonic writes a
//! message into one buffer, so each batch would be copied once more for each reader. Here a large batch goes into HTTP/2
//! as it was read from the file or received from its producer. On the way in tonic unfolds a message at once; requests to
//! produce are looked through first, because a small message can unfold to a hundred times its size (`single.rs` does it
//! for the others). InitProducer, whose request has no fields, and requests that are compressed, go to the generated
//! server.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use http_body::{Frame, SizeHint};
use protocol::grpc::pieces::{Pieces, TooLarge};
use protocol::grpc::v1;
use protocol::grpc::v1::log_server::{Log as _, LogServer, SERVICE_NAME};
use protocol::limits::SMALL_REQUEST_BYTES_MAX;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{BufferSettings, EncodeBody};
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic_prost::ProstEncoder;

use crate::grpc::held::{ANSWER_TIME_MAX, Held};
use crate::grpc::messages::Messages;
use crate::grpc::records::LogService;
use crate::grpc::single::is_plain;

const FETCH: &str = "/thalweg.v1.Log/Fetch";
const SUBSCRIBE: &str = "/thalweg.v1.Log/Subscribe";
const PRODUCE: &str = "/thalweg.v1.Log/Produce";
const PRODUCE_STREAM: &str = "/thalweg.v1.Log/ProduceStream";
const FIND_POSITIONS: &str = "/thalweg.v1.Log/FindPositions";

/// The log service as it is put on the port.
#[derive(Clone, Debug)]
pub(crate) struct LogDoor {
    log: LogService,
    /// For all other calls.
    others: LogServer<LogService>,
    request_bytes_max: usize,
}

impl LogDoor {
    /// Takes requests to produce of up to `request_bytes_max`, others of up to [`SMALL_REQUEST_BYTES_MAX`].
    pub(crate) fn new(log: LogService, request_bytes_max: usize) -> Self {
        let others = LogServer::new(log.clone()).max_decoding_message_size(SMALL_REQUEST_BYTES_MAX);
        Self { log, others, request_bytes_max }
    }

    async fn produce(self, body: Body) -> Result<http::Response<Body>, Status> {
        // The body keeps the message's share of what may arrive until its batches have their permits.
        let mut messages = Messages::new(body, self.request_bytes_max);
        let (answer, permit) = self.log.append(only(&mut messages).await?).await?;
        let held = Held::new(Some(permit), ANSWER_TIME_MAX);
        Ok(response(encoded(stream::iter([Ok(answer)])), Some(held)))
    }

    fn produce_stream(self, body: Body) -> http::Response<Body> {
        let (answers, held) = self.log.append_all(Messages::new(body, self.request_bytes_max));
        response(encoded(answers), Some(held))
    }

    async fn fetch(self, body: Body) -> Result<http::Response<Body>, Status> {
        let (answer, permit) = self.log.answer(only_small(body).await?).await?;
        let held = Held::new(Some(permit), ANSWER_TIME_MAX);
        Ok(response(Outflow::new(stream::iter([Ok(answer)])), Some(held)))
    }

    async fn subscribe(self, body: Body) -> Result<http::Response<Body>, Status> {
        let request = tonic::Request::new(only_small(body).await?);
        let mut answers = self.log.subscribe(request).await?;
        let held = answers.extensions_mut().remove::<Held>();
        Ok(response(Outflow::new(answers.into_inner()), held))
    }

    async fn find_positions(self, body: Body) -> Result<http::Response<Body>, Status> {
        let request = tonic::Request::new(only_small(body).await?);
        let answer = self.log.find_positions(request).await?.into_inner();
        let held = Held::new(None, ANSWER_TIME_MAX);
        Ok(response(encoded(stream::iter([Ok(answer)])), Some(held)))
    }
}

/// The one message of a request.
async fn only(messages: &mut Messages) -> Result<Bytes, Status> {
    messages.next().await?.ok_or_else(|| Status::internal("the request has no message"))
}

/// The one message of a request that `single.rs` has looked through, decoded.
async fn only_small<T: prost::Message + Default>(body: Body) -> Result<T, Status> {
    let message = only(&mut Messages::new(body, SMALL_REQUEST_BYTES_MAX)).await?;
    T::decode(message).map_err(|error| Status::internal(error.to_string()))
}

/// Answers that have no batches, as tonic writes them.
fn encoded<T: prost::Message + 'static>(
    answers: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Body {
    let (encoder, as_call) = (ProstEncoder::new(BufferSettings::default()), Default::default());
    Body::new(EncodeBody::new_server(encoder, answers, None, as_call, Some(usize::MAX)))
}

impl NamedService for LogDoor {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for LogDoor {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let is_plain = is_plain(&request);
        match request.uri().path() {
            FETCH if is_plain => Box::pin(ended(self.clone().fetch(request.into_body()))),
            SUBSCRIBE if is_plain => Box::pin(ended(self.clone().subscribe(request.into_body()))),
            PRODUCE if is_plain => Box::pin(ended(self.clone().produce(request.into_body()))),
            PRODUCE_STREAM if is_plain => {
                let response = self.clone().produce_stream(request.into_body());
                Box::pin(std::future::ready(Ok(response)))
            }
            FIND_POSITIONS if is_plain => {
                Box::pin(ended(self.clone().find_positions(request.into_body())))
            }
            _ => self.others.call(request),
        }
    }
}

/// A refusal as a response.
async fn ended(
    answer: impl Future<Output = Result<http::Response<Body>, Status>>,
) -> Result<http::Response<Body>, Infallible> {
    Ok(answer.await.unwrap_or_else(Status::into_http))
}

fn response(
    body: impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
    held: Option<Held>,
) -> http::Response<Body> {
    let mut response = http::Response::new(Body::new(body));
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    if let Some(held) = held {
        response.extensions_mut().insert(held);
    }
    response
}

/// The body of a response: the messages of a stream, then how the call has ended.
#[derive(Debug)]
struct Outflow<S> {
    answers: S,
    /// What is left of the message on its way.
    pieces: Pieces,
    is_over: bool,
}

impl<S> Outflow<S> {
    fn new(answers: S) -> Self {
        Self { answers, pieces: Pieces::default(), is_over: false }
    }

    /// The last frame: the status of the call.
    fn end(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.is_over = true;
        let mut trailers = http::HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }
}

impl<S> http_body::Body for Outflow<S>
where
    S: Stream<Item = Result<v1::FetchResponse, Status>> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some(piece) = this.pieces.next_piece() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if this.is_over {
                return Poll::Ready(None);
            }
            let end = match ready!(Pin::new(&mut this.answers).poll_next(context)) {
                None => Status::ok(""),
                Some(Err(status)) => status,
                Some(Ok(answer)) => match this.pieces.push_fetched(answer) {
                    Ok(()) => continue,
                    Err(TooLarge) => Status::out_of_range("the answer has more than 4 GiB"),
                },
            };
            return Poll::Ready(Some(this.end(&end)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<S>(outflow: &mut Outflow<S>) -> Option<Frame<Bytes>>
    where
        S: Stream<Item = Result<v1::FetchResponse, Status>> + Unpin,
    {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match http_body::Body::poll_frame(Pin::new(outflow), &mut context) {
            Poll::Ready(frame) => frame.map(Result::unwrap),
            Poll::Pending => panic!("these answers are ready"),
        }
    }

    fn answer() -> v1::FetchResponse {
        let batches = vec![vec![7; 100_000].into(), vec![8; 100_000].into()];
        v1::FetchResponse { results: vec![v1::FetchResult { batches, ..Default::default() }] }
    }

    #[test]
    fn what_goes_wrong_behind_an_answer_is_told_behind_it() {
        let answers = [Ok(answer()), Err(Status::aborted("so far"))];
        let mut outflow = Outflow::new(stream::iter(answers));
        let mut data = Vec::new();
        let trailers = loop {
            match frame(&mut outflow).unwrap().into_data() {
                Ok(piece) => data.extend_from_slice(&piece),
                Err(frame) => break frame.into_trailers().unwrap(),
            }
        };
        let message: v1::FetchResponse = prost::Message::decode(&data[5..]).unwrap();
        assert_eq!(message, answer());
        assert_eq!(trailers["grpc-status"], "10");
        assert!(http_body::Body::is_end_stream(&outflow));
        assert!(frame(&mut outflow).is_none());
    }
}
