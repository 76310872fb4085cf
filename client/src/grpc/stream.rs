//! The stream of produce requests as HTTP/2 sees it: batches leave as they were built.
//!
//! The generated client would copy every batch into one buffer. Here the body is made by hand; what comes back is read
//! by tonic.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future;
use futures_util::stream::Stream;
use http_body::Frame;
use prost::Message as _;
use protocol::grpc::pieces::Pieces;
use protocol::grpc::v1;
use protocol::limits::REQUEST_BYTES_MAX;
use tonic::body::Body;
use tonic::codegen::{Service as _, http};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstDecoder;

const PRODUCE_STREAM: &str = "/thalweg.v1.Log/ProduceStream";

/// Opens a stream on which `requests` are sent, and gives the stream of their answers. May be cancelled: whether
/// anything was sent is then unknown.
pub(super) async fn open(
    mut channel: Channel,
    requests: impl Stream<Item = v1::ProduceRequest> + Send + Unpin + 'static,
) -> Result<Streaming<v1::ProduceResponse>, Status> {
    let body = Body::new(Outgoing { requests, pieces: Pieces::default(), is_over: false });
    let mut request = http::Request::new(body);
    *request.method_mut() = http::Method::POST;
    // The channel puts its server in front.
    *request.uri_mut() = http::Uri::from_static(PRODUCE_STREAM);
    *request.version_mut() = http::Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(http::header::TE, http::HeaderValue::from_static("trailers"));
    let grpc = http::HeaderValue::from_static("application/grpc");
    headers.insert(http::header::CONTENT_TYPE, grpc);

    let failed = |error| Status::from_error(Box::new(error));
    future::poll_fn(|context| channel.poll_ready(context)).await.map_err(failed)?;
    let response = channel.call(request).await.map_err(failed)?;
    // A call that is refused at once has its status in the headers.
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => return Err(status),
        Some(_) | None => {}
    }
    let (decoder, code) = (ProstDecoder::default(), response.status());
    Ok(Streaming::new_response(decoder, response.into_body(), code, None, None))
}

/// The body of the call.
struct Outgoing<S> {
    requests: S,
    pieces: Pieces,
    is_over: bool,
}

impl<S: Stream<Item = v1::ProduceRequest> + Unpin> http_body::Body for Outgoing<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = |piece| Some(Ok(Frame::data(piece)));
        loop {
            if let Some(piece) = this.pieces.next_large() {
                return Poll::Ready(frame(piece));
            }
            // Small requests that are there together leave together.
            let next = if this.is_over {
                Poll::Ready(None)
            } else {
                Pin::new(&mut this.requests).poll_next(context)
            };
            match next {
                Poll::Ready(Some(request)) => {
                    let bytes = request.encoded_len();
                    if bytes > REQUEST_BYTES_MAX || this.pieces.push_produce(request).is_err() {
                        return Poll::Ready(Some(Err(Status::out_of_range(format!(
                            "a request has {bytes} bytes; {REQUEST_BYTES_MAX} are allowed"
                        )))));
                    }
                }
                Poll::Ready(None) => {
                    this.is_over = true;
                    return Poll::Ready(this.pieces.next_piece().and_then(frame));
                }
                Poll::Pending => {
                    return this
                        .pieces
                        .next_piece()
                        .map_or(Poll::Pending, |it| Poll::Ready(frame(it)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};

    use super::*;

    fn request(batch: Bytes) -> v1::ProduceRequest {
        let payload = Some(v1::produce_entry::Payload::Batch(batch));
        let entry = v1::ProduceEntry { topic: "t".to_owned(), partition: Some(0), payload };
        v1::ProduceRequest { entries: vec![entry] }
    }

    /// The frames until nothing more comes.
    fn frames(requests: Vec<v1::ProduceRequest>) -> Vec<Result<Bytes, Code>> {
        let requests = stream::iter(requests).chain(stream::pending());
        let mut body = Outgoing { requests, pieces: Pieces::default(), is_over: false };
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut next = || match http_body::Body::poll_frame(Pin::new(&mut body), &mut context) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok().map(Ok),
            Poll::Ready(Some(Err(status))) => Some(Err(status.code())),
            Poll::Ready(None) | Poll::Pending => None,
        };
        std::iter::from_fn(&mut next).collect()
    }

    #[test]
    fn small_requests_leave_together_and_a_large_batch_as_it_is() {
        let (small, large) = (Bytes::from(vec![1; 100]), Bytes::from(vec![2; 100_000]));
        let requests = [small.clone(), small.clone(), large.clone(), small];
        let sent = frames(requests.into_iter().map(request).collect());
        let [Ok(before), Ok(batch), Ok(behind)] = &*sent else { panic!("{sent:?}") };
        assert!((200..400).contains(&before.len()) && (100..200).contains(&behind.len()));
        assert_eq!(batch.as_ptr(), large.as_ptr());
    }

    #[test]
    fn a_request_that_no_broker_takes_is_not_sent() {
        let sent = frames(vec![request(vec![0; REQUEST_BYTES_MAX].into())]);
        assert_eq!(sent, [Err(Code::OutOfRange)]);
    }
}
