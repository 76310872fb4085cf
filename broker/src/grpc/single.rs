//! Calls that take one message: it is whole and looked through before the call begins, and counted until it is over.
//!
//! The generated servers unfold a message before anybody can look at it, and then wait for the end of the request with
//! the message in their hands: a peer that opens many calls, sends each its message and never ends it would hold them all.
//! A fetch or a query that waits holds what it was asked, too. So here the one message is gathered and its fields are
//! counted; the service gets a body that ends behind it; and what is beyond [`FREE_BYTES`] holds a share of a budget until
//! the answer has been taken up by the transport. What a peer sends behind its message is not read.
//!
//! Calls with a stream of requests pass, and so do those to produce, which `log.rs` takes.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use protocol::grpc::pieces::PREFIX_BYTES;
use protocol::grpc::wire::count_fields;
use protocol::limits::SMALL_REQUEST_BYTES_MAX;
use protocol::outcome::{Outcome, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};

use crate::grpc::inflow::MESSAGE_TIME_MAX;
use crate::grpc::messages::Messages;

/// What the message of a call may take without a share: all calls of a connection together 1 MiB.
const FREE_BYTES: usize = 4 * 1024;

/// What a field takes at most beside its bytes: an entry of a fetch, with all that is made of it while it waits.
const FIELD_BYTES: usize = 400;

/// Calls that take more than one message, or one to produce.
const OTHER_CALLS: [&str; 4] = [
    "/thalweg.v1.Log/Produce",
    "/thalweg.v1.Log/ProduceStream",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Whether the messages of a request are not compressed. What is compressed is refused before its body is read.
pub(crate) fn is_plain<B>(request: &Request<B>) -> bool {
    request.headers().get("grpc-encoding").is_none_or(|encoding| encoding == "identity")
}

/// Bytes of the messages of all calls that are under way; cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    budget: Arc<Semaphore>,
    bytes_max: u32,
}

impl Calls {
    /// A budget of `bytes_max`, at most 4 GiB.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        Self { budget: Arc::new(Semaphore::new(bytes_max as usize)), bytes_max }
    }

    /// `inner` with the calls of one message inside the budget.
    pub(crate) fn wrap<S>(&self, inner: S) -> Single<S> {
        Single { inner, calls: self.clone() }
    }

    /// What a message may hold on to while its call is under way, once it has been looked through. Nobody waits for it:
    /// who waits would hold the message. One that is larger than the whole budget takes all of it.
    fn share(&self, message: &Bytes) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        let bytes = message.len() + count_fields(message)? * FIELD_BYTES;
        if bytes <= FREE_BYTES {
            return Ok(None);
        }
        let share = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max);
        let share = Arc::clone(&self.budget).try_acquire_many_owned(share);
        share.map(Some).map_err(|_| {
            let message = format!(
                "no room for a request that takes {bytes} bytes: requests that are under way have all of the {} bytes \
                 that read_bytes_in_flight_max allows; send smaller ones, or fewer at a time",
                self.bytes_max
            );
            Refusal::new(Outcome::Busy, message)
        })
    }
}

/// A service whose calls of one message are inside the budget.
#[derive(Clone, Debug)]
pub(crate) struct Single<S> {
    inner: S,
    calls: Calls,
}

impl<S> Service<Request<Body>> for Single<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Send,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if OTHER_CALLS.contains(&request.uri().path()) || !is_plain(&request) {
            return Box::pin(self.inner.call(request));
        }
        let (mut inner, calls) = (self.inner.clone(), self.calls.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let taken = match only(body).await {
                Ok(message) => {
                    calls.share(&message).map(|share| (message, share)).map_err(Into::into)
                }
                Err(status) => Err(status),
            };
            let (message, share) = match taken {
                Ok(taken) => taken,
                Err(status) => return Ok(status.into_http()),
            };
            let request = Request::from_parts(parts, Body::new(Whole::new(message)));
            poll_fn(|context| inner.poll_ready(context)).await?;
            let response = inner.call(request).await?;
            Ok(match share {
                None => response,
                Some(share) => response.map(|inner| Body::new(Sharing { inner, _share: share })),
            })
        })
    }
}

/// The one message of a request, in time. Then the body is gone, and what the peer still sends with it.
async fn only(body: Body) -> Result<Bytes, Status> {
    let mut messages = Messages::new(body, SMALL_REQUEST_BYTES_MAX);
    let message = tokio::time::timeout(MESSAGE_TIME_MAX, messages.next()).await.map_err(|_| {
        let seconds = MESSAGE_TIME_MAX.as_secs();
        Status::deadline_exceeded(format!("the call had no whole message after {seconds} s"))
    })?;
    message?.ok_or_else(|| Status::internal("the request has no message"))
}

/// The body of a request that is whole: the prefix of its message, and the message.
struct Whole(std::array::IntoIter<Bytes, 2>);

impl Whole {
    fn new(message: Bytes) -> Self {
        let mut prefix = [0; PREFIX_BYTES];
        // A message that was received has its length in as many bytes.
        let bytes = u32::try_from(message.len()).unwrap_or(u32::MAX);
        prefix[1..].copy_from_slice(&bytes.to_be_bytes());
        Self([Bytes::copy_from_slice(&prefix), message].into_iter())
    }
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.len() == 0
    }
}

/// The body of a response, with the share of the message that it answers.
struct Sharing {
    inner: Body,
    _share: OwnedSemaphorePermit,
}

impl http_body::Body for Sharing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        http_body::Body::poll_frame(Pin::new(&mut self.get_mut().inner), context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{self, StreamExt as _};
    use tonic::Code;

    use super::*;
    use crate::grpc::testing;

    /// Answers with the body that it is given, however long that takes.
    #[derive(Clone)]
    struct Echo;

    impl Service<Request<Body>> for Echo {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            std::future::ready(Ok(Response::new(request.into_body())))
        }
    }

    async fn call(calls: &Calls, path: &str, body: Body) -> Response<Body> {
        let request = Request::builder().uri(path).body(body).unwrap();
        calls.wrap(Echo).call(request).await.unwrap()
    }

    /// A message of one field of so many bytes, behind its prefix.
    fn message(bytes: usize) -> Vec<u8> {
        let field =
            protocol::grpc::v1::ExecuteRequest { sql: "x".repeat(bytes), ..Default::default() };
        let mut message = vec![0; PREFIX_BYTES];
        prost::Message::encode(&field, &mut message).unwrap();
        let length = u32::try_from(message.len() - PREFIX_BYTES).unwrap();
        message[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        message
    }

    /// A body of these pieces that does not end.
    fn unended(pieces: Vec<Vec<u8>>) -> Body {
        testing::streamed(stream::iter(pieces).chain(stream::pending()))
    }

    async fn all_of(mut body: Body) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(frame) =
            poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context)).await
        {
            bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        bytes
    }

    fn code(response: &Response<Body>) -> Option<Code> {
        Status::from_header_map(response.headers()).map(|status| status.code())
    }

    const PATH: &str = "/thalweg.v1.Query/Execute";

    #[tokio::test]
    async fn a_body_ends_behind_its_one_message() {
        let calls = Calls::new(1 << 20);
        for bytes in [0, 1, 10_000] {
            let mut sent = message(bytes);
            let whole = sent.clone();
            sent.extend(message(5));
            let pieces = sent.chunks(7).map(<[u8]>::to_vec).collect();
            let answer = call(&calls, PATH, unended(pieces)).await;
            assert_eq!(all_of(answer.into_body()).await, whole);
        }
        // Where there may be more, the body is as it was.
        let two = [message(5), message(6)];
        let answer = call(&calls, OTHER_CALLS[1], testing::body(two.clone())).await;
        assert_eq!(all_of(answer.into_body()).await, two.concat());
    }

    #[tokio::test]
    async fn large_messages_share_a_budget_until_their_answer_has_gone() {
        let calls = Calls::new(100_000);
        let large = || unended(vec![message(60_000)]);
        let first = call(&calls, PATH, large()).await;
        assert_eq!(code(&first), None);
        assert_eq!(code(&call(&calls, PATH, large()).await), Some(Code::ResourceExhausted));
        let small = call(&calls, PATH, unended(vec![message(3_000)])).await;
        assert_eq!(code(&small), None, "small ones have no part in it");
        drop(first);
        assert_eq!(code(&call(&calls, PATH, large()).await), None);
        assert_eq!(calls.budget.available_permits(), 100_000);
        let all = call(&calls, PATH, unended(vec![message(1_000_000)])).await;
        assert_eq!(code(&all), None, "larger than the budget, and alone");
        assert_eq!(calls.budget.available_permits(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_one_sound_message_in_time_begins_no_call() {
        let calls = Calls::new(1 << 20);
        let refused = async |body| code(&call(&calls, PATH, body).await).unwrap();
        assert_eq!(refused(unended(vec![])).await, Code::DeadlineExceeded);
        assert_eq!(refused(unended(vec![message(9)[..8].to_vec()])).await, Code::DeadlineExceeded);
        assert_eq!(refused(Body::empty()).await, Code::Internal);
        let group = unended(vec![vec![0, 0, 0, 0, 2, 0x0b, 0x0c]]);
        assert_eq!(refused(group).await, Code::InvalidArgument);
        let large = unended(vec![message(SMALL_REQUEST_BYTES_MAX)]);
        assert_eq!(refused(large).await, Code::OutOfRange);
        let many: Vec<u8> = [0x12, 0].repeat(20_000);
        let mut bomb = vec![0, 0, 0];
        bomb.extend(u16::try_from(many.len()).unwrap().to_be_bytes());
        bomb.extend(many);
        assert_eq!(refused(unended(vec![bomb])).await, Code::InvalidArgument);
    }
}
