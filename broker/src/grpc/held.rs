//! Bytes of answers until they have left, and peers that do not take them.
//!
//! The permit of an answer comes with it as an extension of the response ([`Held`]) and goes with its last bytes. When
//! that is, only the bytes know: the transport takes a body at once and keeps what the peer's HTTP/2 windows have no room
//! for. So every piece of a body is handed on as bytes with an owner, whose end is the end of the piece. A peer that
//! leaves a piece lying for too long loses its connection: the answer, its permit, and the share of the requests behind
//! it would else stay for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{
    Service,
    http::{Request, Response},
};

use crate::admission::Permit;
use crate::connection::Peer;
use crate::patience::{Expectation, Patience};

/// Beyond its time an answer may take a second for so many of its bytes: a slow line is not a stuck one.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// How long a peer may leave the answer of one call lying.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a subscriber may: it may have stopped reading for a while on purpose.
pub(crate) const SUBSCRIBER_TIME_MAX: Duration = Duration::from_secs(600);

/// What goes with a response to the transport.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// For the bytes that come out of the body next. Locked for a look or a change, never across a wait.
    permit: Arc<Mutex<Option<Arc<Permit>>>>,
    /// How long the peer may leave a piece of the response lying.
    time_max: Duration,
}

impl Held {
    pub(crate) fn new(permit: Option<Permit>, time_max: Duration) -> Self {
        Self { permit: Arc::new(Mutex::new(permit.map(Arc::new))), time_max }
    }

    /// The permit of the next answer of a stream; `None` while there is none. What has come out of the body before
    /// keeps its own.
    pub(crate) fn replace(&self, permit: Option<Permit>) {
        *self.permit.lock() = permit.map(Arc::new);
    }

    /// `response` with this going along.
    pub(crate) fn with<T>(self, message: T) -> tonic::Response<T> {
        let mut response = tonic::Response::new(message);
        response.extensions_mut().insert(self);
        response
    }
}

/// A service whose responses are watched until they have left.
#[derive(Clone, Debug)]
pub(crate) struct Watched<S> {
    inner: S,
}

impl<S> Watched<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Request<Body>> for Watched<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<WatchedBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let patience = request.extensions().get::<Peer>().map(|peer| peer.patience.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            // Whoever says nothing of it answers as a subscription does: SQL's queries.
            let held = response.extensions_mut().remove::<Held>();
            let held = held.unwrap_or_else(|| Held::new(None, SUBSCRIBER_TIME_MAX));
            Ok(response.map(|inner| WatchedBody { inner, held, patience }))
        })
    }
}

/// A response's body whose bytes are followed until they have left.
#[derive(Debug)]
pub(crate) struct WatchedBody {
    inner: Body,
    held: Held,
    patience: Option<Patience>,
}

/// Bytes on their way to the peer.
struct Lying {
    data: Bytes,
    _permit: Option<Arc<Permit>>,
    /// Taken back when the bytes have left.
    _expectation: Option<Expectation>,
}

impl AsRef<[u8]> for Lying {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl WatchedBody {
    fn follow(&self, data: Bytes) -> Bytes {
        let permit = self.held.permit.lock().clone();
        let more = Duration::from_secs(data.len() as u64 / SLOWEST_BYTES_PER_SECOND);
        let due = Instant::now() + self.held.time_max + more;
        let expectation = self.patience.as_ref().map(|patience| patience.expect(due));
        Bytes::from_owner(Lying { data, _permit: permit, _expectation: expectation })
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let polled = http_body::Body::poll_frame(Pin::new(&mut this.inner), context);
        polled.map_ok(|frame| match frame.into_data() {
            Ok(data) => Frame::data(this.follow(data)),
            Err(trailers) => trailers,
        })
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
    use std::future::poll_fn;

    use super::*;
    use crate::admission::Admission;
    use crate::grpc::testing;
    use crate::patience::Watch;

    async fn next(body: &mut WatchedBody) -> Bytes {
        let frame =
            poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut *body), context)).await;
        frame.unwrap().unwrap().into_data().unwrap()
    }

    fn body(pieces: &[usize], held: Held, watch: &Watch) -> WatchedBody {
        let inner = testing::body(pieces.iter().map(|bytes| vec![7; *bytes]));
        WatchedBody { inner, held, patience: Some(watch.patience()) }
    }

    async fn is_overdue_in(watch: &mut Watch, seconds: u64) -> bool {
        let overdue = poll_fn(|context| watch.poll_overdue(context));
        tokio::time::timeout(Duration::from_secs(seconds), overdue).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_its_permit_until_it_has_left_and_must_leave_in_time() {
        let admission = Admission::new(1 << 20, 1 << 20);
        let mut watch = Watch::default();
        let (_, permit) = admission.read(1 << 20);
        let mut answer = body(&[500, 400], Held::new(Some(permit), ANSWER_TIME_MAX), &watch);
        let first = next(&mut answer).await;
        assert!(!is_overdue_in(&mut watch, 50).await);
        let mut second = next(&mut answer).await;
        drop((first, answer));
        assert!(!is_overdue_in(&mut watch, 50).await, "the first has left in time");
        let rest = second.split_off(300);
        drop(second);
        assert!(admission.read(1 << 20).0 < 1 << 20, "some of its bytes are still here");
        assert_eq!(rest[..], [7; 100]);
        drop(rest);
        assert_eq!(admission.read(1 << 20).0, 1 << 20);
        assert!(!is_overdue_in(&mut watch, 1_000).await, "all has left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_overdue_the_later_the_more_it_was_given() {
        let mut watch = Watch::default();
        let small = next(&mut body(&[1], Held::new(None, ANSWER_TIME_MAX), &watch)).await;
        assert!(is_overdue_in(&mut watch, 66).await);
        drop(small);
        let large = next(&mut body(&[64 << 20], Held::new(None, ANSWER_TIME_MAX), &watch)).await;
        assert!(!is_overdue_in(&mut watch, 1_000).await);
        assert!(is_overdue_in(&mut watch, 100).await);
        drop(large);
    }

    /// A service that knows nothing of all this.
    struct Plain;

    impl Service<Request<Body>> for Plain {
        type Response = Response<Body>;
        type Error = Status;
        type Future = std::future::Ready<Result<Response<Body>, Status>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            std::future::ready(Ok(Response::new(testing::body([vec![7; 10]]))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_which_nothing_is_said_has_the_time_of_a_subscription() {
        let mut watch = Watch::default();
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(Peer { patience: watch.patience() });
        let mut response = Watched::new(Plain).call(request).await.unwrap();
        let answer = next(response.body_mut()).await;
        assert!(!is_overdue_in(&mut watch, 590).await);
        assert!(is_overdue_in(&mut watch, 20).await);
        drop(answer);
    }
}
