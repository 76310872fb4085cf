//! The service `thalweg.v1.Log` as it is put on the port: with bodies of its own for Fetch and Subscribe.
//!
//! The messages are those of `records.rs`; only how they become bytes is done here. tonic writes a message into one
//! buffer, so each batch would be copied once more for each reader. Here a large batch goes into HTTP/2 as it was read
//! from the file or received from its producer. All other calls, and requests that are compressed, go to the generated
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
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Status, Streaming};
use tonic_prost::ProstDecoder;

use crate::admission::Permit;
use crate::grpc::records::LogService;

const FETCH: &str = "/thalweg.v1.Log/Fetch";
const SUBSCRIBE: &str = "/thalweg.v1.Log/Subscribe";

/// The log service as it is put on the port.
#[derive(Clone, Debug)]
pub(crate) struct LogDoor {
    log: LogService,
    /// For all other calls.
    others: LogServer<LogService>,
    request_bytes_max: usize,
}

impl LogDoor {
    /// Takes requests of up to `request_bytes_max`.
    pub(crate) fn new(log: LogService, request_bytes_max: usize) -> Self {
        let others = LogServer::new(log.clone())
            .max_decoding_message_size(request_bytes_max)
            .max_encoding_message_size(usize::MAX);
        Self { log, others, request_bytes_max }
    }

    async fn fetch(self, body: Body) -> Result<http::Response<Body>, Status> {
        let (answer, permit) = self.log.answer(self.only_message(body).await?).await?;
        Ok(response(Outflow::new(stream::iter([Ok(answer)]), Some(permit))))
    }

    async fn subscribe(self, body: Body) -> Result<http::Response<Body>, Status> {
        let request = tonic::Request::new(self.only_message(body).await?);
        let answers = self.log.subscribe(request).await?.into_inner();
        Ok(response(Outflow::new(answers, None)))
    }

    /// The one message of a request.
    async fn only_message<T: prost::Message + Default + 'static>(
        &self,
        body: Body,
    ) -> Result<T, Status> {
        let (decoder, limit) = (ProstDecoder::<T>::default(), Some(self.request_bytes_max));
        let mut messages = Streaming::new_request(decoder, body, None, limit);
        messages.message().await?.ok_or_else(|| Status::internal("the request has no message"))
    }
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
        let encoding = request.headers().get("grpc-encoding");
        let is_plain = encoding.is_none_or(|encoding| encoding == "identity");
        match request.uri().path() {
            FETCH if is_plain => Box::pin(ended(self.clone().fetch(request.into_body()))),
            SUBSCRIBE if is_plain => Box::pin(ended(self.clone().subscribe(request.into_body()))),
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
) -> http::Response<Body> {
    let mut response = http::Response::new(Body::new(body));
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    response
}

/// The body of a response: the messages of a stream, then how the call has ended.
#[derive(Debug)]
struct Outflow<S> {
    answers: S,
    /// What is left of the message on its way.
    pieces: Pieces,
    is_over: bool,
    /// Held until everything was handed to HTTP/2.
    _permit: Option<Permit>,
}

impl<S> Outflow<S> {
    fn new(answers: S, permit: Option<Permit>) -> Self {
        Self { answers, pieces: Pieces::default(), is_over: false, _permit: permit }
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
    use crate::admission::{Admission, READ_BYTES_FLOOR};

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
    fn an_answer_keeps_its_permit_until_all_of_it_has_left() {
        let admission = Admission::new(1, 2 * READ_BYTES_FLOOR);
        let wanted = 2 * READ_BYTES_FLOOR;
        let (_, permit) = admission.read(wanted);
        let mut outflow = Outflow::new(stream::iter([Ok(answer())]), Some(permit));
        let mut bytes = 0;
        while let Some(data) = frame(&mut outflow).and_then(|frame| frame.into_data().ok()) {
            bytes += data.len();
            assert_eq!(admission.read(wanted).0, READ_BYTES_FLOOR);
        }
        assert!(bytes > 200_000);
        drop(outflow);
        assert_eq!(admission.read(wanted).0, wanted);
    }

    #[test]
    fn what_goes_wrong_behind_an_answer_is_told_behind_it() {
        let answers = [Ok(answer()), Err(Status::aborted("so far"))];
        let mut outflow = Outflow::new(stream::iter(answers), None);
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
