//! Bytes of requests that have not wholly arrived, bounded over all connections.
//!
//! The gRPC server gathers a message in memory until it is whole. Each stream may announce up to `request_bytes_max`,
//! each connection has many streams, and there are many connections: their product must not be what the broker can
//! hold. So every data frame passes here first and takes its bytes from one budget; whoever finds it used up is read
//! no further until there is room, which HTTP/2 turns into back-pressure for that sender alone.
//!
//! Half-arrived messages could fill the budget together, each waiting for the rest of the others' share. So one message
//! at a time may go on without a share: it becomes whole, gives back what it holds, and the next one follows.
//!
//! A message must be whole within [`MESSAGE_TIME_MAX`] of its first byte: a sender that drips, or that has gone, must not
//! keep its share for ever. Memory grows with bytes received, never with bytes announced.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::future::{Either, select};
use http_body::{Frame, SizeHint};
use protocol::grpc::pieces::PREFIX_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::codegen::{Service, http::Request};
use tonic::{Code, Status};

/// Longest time from the first byte of a message to its last.
pub(crate) const MESSAGE_TIME_MAX: Duration = Duration::from_secs(60);

/// The budget; cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Inflow {
    budget: Arc<Semaphore>,
    bytes_max: u32,
    /// One permit: for the message that may go on when the budget is used up.
    overdraft: Arc<Semaphore>,
}

impl Inflow {
    /// A budget of `bytes_max`, at most 4 GiB.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        let budget = Arc::new(Semaphore::new(bytes_max as usize));
        Self { budget, bytes_max, overdraft: Arc::new(Semaphore::new(1)) }
    }

    /// A share of `bytes` now, if there is room.
    fn try_share(&self, bytes: u32) -> Option<Share> {
        let budget = Arc::clone(&self.budget);
        budget.try_acquire_many_owned(bytes).ok().map(Share::Budget)
    }

    /// Waits for room, or for the right to go on without. The budget is never closed.
    async fn share(self, bytes: u32) -> Option<Share> {
        let budget = std::pin::pin!(self.budget.acquire_many_owned(bytes));
        let overdraft = std::pin::pin!(self.overdraft.acquire_owned());
        match select(budget, overdraft).await {
            Either::Left((share, _)) => share.ok().map(Share::Budget),
            Either::Right((right, _)) => right.ok().map(Share::Overdraft),
        }
    }

    /// `inner` with every request's body inside the budget.
    pub(crate) fn wrap<S>(&self, inner: S) -> Bounded<S> {
        Bounded { inner, inflow: self.clone() }
    }
}

/// A service whose requests' bodies are inside the budget.
#[derive(Clone, Debug)]
pub(crate) struct Bounded<S> {
    inner: S,
    inflow: Inflow,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Bounded<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let inflow = self.inflow.clone();
        self.inner.call(request.map(|body| Body::new(BoundedBody::new(body, inflow))))
    }
}

/// What lets a frame pass.
enum Share {
    /// Its bytes, out of the budget.
    Budget(OwnedSemaphorePermit),
    /// The right to go on without, until the message is whole.
    Overdraft(OwnedSemaphorePermit),
}

/// Waiting for a share.
type Acquire = Pin<Box<dyn Future<Output = Option<Share>> + Send>>;

/// A request's body whose bytes hold their share of the budget until their message is whole.
struct BoundedBody {
    inner: Body,
    inflow: Inflow,
    cutter: Cutter,
    /// The share of the message that is arriving.
    held: Option<OwnedSemaphorePermit>,
    /// The right to go on without further shares, while the message is incomplete.
    overdraft: Option<OwnedSemaphorePermit>,
    /// Bytes of it that are still needed, once what was passed on has been taken up.
    needed: usize,
    /// True when the last frame has ended a message.
    has_ended: bool,
    /// A frame that waits for its share.
    waiting: Option<(Bytes, Acquire)>,
    /// Runs while a message is incomplete.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl BoundedBody {
    fn new(inner: Body, inflow: Inflow) -> Self {
        Self {
            inner,
            inflow,
            cutter: Cutter::default(),
            held: None,
            overdraft: None,
            needed: 0,
            has_ended: false,
            waiting: None,
            deadline: None,
        }
    }

    /// Passes a frame on that has its share.
    fn pass(&mut self, data: Bytes, share: Option<Share>) -> Frame<Bytes> {
        match (share, &mut self.held) {
            (Some(Share::Budget(share)), Some(held)) => held.merge(share),
            (Some(Share::Budget(share)), held @ None) => *held = Some(share),
            (Some(Share::Overdraft(right)), _) => self.overdraft = Some(right),
            (None, _) => {}
        }
        let whole = self.cutter.whole;
        self.needed = self.cutter.take(&data);
        // Each message has its own time, also where one frame ends one and begins the next, again and again.
        self.has_ended = self.needed == 0 || self.cutter.whole != whole;
        if self.has_ended {
            self.deadline = None;
        }
        if self.needed > 0 && self.deadline.is_none() {
            self.deadline = Some(Box::pin(tokio::time::sleep(MESSAGE_TIME_MAX)));
        }
        Frame::data(data)
    }

    /// The server asks for more: whole messages have been taken up, their share goes back.
    fn give_back(&mut self) {
        if self.has_ended {
            self.overdraft = None;
        }
        if self.needed == 0 {
            self.held = None;
        } else if let Some(held) = &mut self.held {
            let surplus = held.num_permits().saturating_sub(self.needed);
            drop(held.split(surplus));
        }
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        match &mut self.deadline {
            None => Poll::Pending,
            Some(deadline) => deadline.as_mut().poll(context).map(|()| {
                let seconds = MESSAGE_TIME_MAX.as_secs();
                Status::new(
                    Code::DeadlineExceeded,
                    format!("a message was not whole after {seconds} s"),
                )
            }),
        }
    }
}

impl http_body::Body for BoundedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some((data, mut acquire)) = this.waiting.take() {
                match acquire.as_mut().poll(context) {
                    Poll::Ready(share) => return Poll::Ready(Some(Ok(this.pass(data, share)))),
                    Poll::Pending => {
                        this.waiting = Some((data, acquire));
                        return this.poll_deadline(context).map(|late| Some(Err(late)));
                    }
                }
            }
            this.give_back();
            let frame = match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return this.poll_deadline(context).map(|late| Some(Err(late))),
            };
            let data = match frame.transpose()?.map(Frame::into_data) {
                None => return Poll::Ready(None),
                Some(Err(other)) => {
                    // Trailers carry no message.
                    let trailers = other.into_trailers().map(Frame::trailers);
                    return Poll::Ready(trailers.ok().map(Ok));
                }
                Some(Ok(data)) => data,
            };
            let share = u32::try_from(data.len()).unwrap_or(u32::MAX).min(this.inflow.bytes_max);
            if this.overdraft.is_some() {
                return Poll::Ready(Some(Ok(this.pass(data, None))));
            }
            if let Some(share) = this.inflow.try_share(share) {
                return Poll::Ready(Some(Ok(this.pass(data, Some(share)))));
            }
            if this.deadline.is_none() {
                this.deadline = Some(Box::pin(tokio::time::sleep(MESSAGE_TIME_MAX)));
            }
            this.waiting = Some((data, Box::pin(this.inflow.clone().share(share))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Follows the borders of messages in a stream of bytes.
#[derive(Debug, Default)]
struct Cutter {
    /// The prefix of the message that is arriving, as far as it is there.
    prefix: Vec<u8>,
    /// Bytes of that message that are still to come, once the prefix is whole.
    missing: usize,
    /// Bytes of that message that have come.
    arrived: usize,
    /// Messages that have become whole.
    whole: u64,
}

impl Cutter {
    /// Takes bytes; says how many bytes of an incomplete message there are now.
    fn take(&mut self, mut data: &[u8]) -> usize {
        while !data.is_empty() {
            if self.prefix.len() < PREFIX_BYTES {
                let count = data.len().min(PREFIX_BYTES - self.prefix.len());
                let (head, rest) = data.split_at(count);
                self.prefix.extend_from_slice(head);
                self.arrived += count;
                data = rest;
                if self.prefix.len() == PREFIX_BYTES {
                    let mut length = self.prefix.as_slice();
                    length.advance(1);
                    self.missing = length.get_u32() as usize;
                }
            } else {
                let count = data.len().min(self.missing);
                self.missing -= count;
                self.arrived += count;
                data = data.split_at(count).1;
            }
            if self.prefix.len() == PREFIX_BYTES && self.missing == 0 {
                self.prefix.clear();
                self.arrived = 0;
                self.whole += 1;
            }
        }
        self.arrived
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use futures_util::future::poll_fn;
    use futures_util::stream;

    use super::*;
    use crate::grpc::testing::{self, message};

    #[test]
    fn borders_are_found_however_the_bytes_are_cut() {
        let stream: Vec<u8> = [10, 0, 300, 1].into_iter().flat_map(message).collect();
        for piece in 1..stream.len() {
            let mut cutter = Cutter::default();
            let mut end = 0;
            for chunk in stream.chunks(piece) {
                end += chunk.len();
                let open = cutter.take(chunk);
                // The borders of the four messages.
                let begun = [0, 15, 20, 325, 331]
                    .into_iter()
                    .filter(|border| *border <= end)
                    .max()
                    .unwrap();
                assert_eq!(open, end - begun, "cut every {piece} bytes, at {end}");
            }
        }
    }

    fn body(chunks: Vec<Vec<u8>>, inflow: &Inflow, then_hangs: bool) -> BoundedBody {
        let body = if then_hangs {
            testing::streamed(stream::iter(chunks).chain(stream::pending()))
        } else {
            testing::body(chunks)
        };
        BoundedBody::new(body, inflow.clone())
    }

    async fn next(body: &mut BoundedBody) -> Option<Result<Frame<Bytes>, Status>> {
        poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut *body), context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_incomplete_message_holds_its_bytes_and_only_for_a_time() {
        let inflow = Inflow::new(1_000);
        let half = |bytes: usize| message(900)[..bytes].to_vec();
        // The first fills the budget, the second goes on without a share, the third has to wait for either.
        let mut first = body(vec![half(800)], &inflow, true);
        next(&mut first).await.unwrap().unwrap();
        assert_eq!(inflow.budget.available_permits(), 200);
        let mut second = body(vec![half(400)], &inflow, true);
        next(&mut second).await.unwrap().unwrap();
        assert_eq!(inflow.overdraft.available_permits(), 0);
        let mut third = body(vec![message(400)], &inflow, false);
        let waited = tokio::time::timeout(Duration::from_secs(1), next(&mut third)).await;
        assert!(waited.is_err());
        let late = next(&mut first).await.unwrap().unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
        drop(first);
        assert!(next(&mut third).await.unwrap().is_ok());
        assert!(next(&mut third).await.is_none());
        drop((second, third));
        assert_eq!(inflow.budget.available_permits(), 1_000);
        assert_eq!(inflow.overdraft.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_fill_the_budget_together_all_become_whole() {
        let inflow = Inflow::new(1_000);
        let pieces = || message(600).chunks(100).map(<[u8]>::to_vec).collect();
        let mut bodies: Vec<_> = (0..5).map(|_| body(pieces(), &inflow, false)).collect();
        let all = bodies.iter_mut().map(|body| async {
            let mut bytes = 0;
            while let Some(frame) = next(body).await {
                bytes += frame.unwrap().into_data().unwrap().len();
                // Let the others fill the budget in between.
                tokio::task::yield_now().await;
            }
            bytes
        });
        let bytes = futures_util::future::join_all(all).await;
        assert_eq!(bytes, [600 + PREFIX_BYTES; 5]);
        drop(bodies);
        assert_eq!(inflow.budget.available_permits(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_frames_always_end_inside_a_message_is_not_late() {
        let inflow = Inflow::new(1_000);
        let stream: Vec<u8> = (0..100).flat_map(|_| message(60)).collect();
        let pieces = [stream[..30].to_vec()];
        let pieces = pieces.into_iter().chain(stream[30..6_465].chunks(65).map(<[u8]>::to_vec));
        let slowly = stream::iter(pieces.collect::<Vec<_>>()).then(|piece| async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            piece
        });
        let mut many = BoundedBody::new(testing::streamed(slowly), inflow);
        while let Some(frame) = next(&mut many).await {
            frame.unwrap();
        }
        assert_eq!(many.cutter.whole, 99);
    }

    #[tokio::test(start_paused = true)]
    async fn whole_messages_give_their_bytes_back() {
        let inflow = Inflow::new(100);
        let mut many = body((0..50).map(|_| message(60)).collect(), &inflow, true);
        for _ in 0..50 {
            next(&mut many).await.unwrap().unwrap();
        }
        drop(many);
        assert_eq!(inflow.budget.available_permits(), 100);
    }
}
