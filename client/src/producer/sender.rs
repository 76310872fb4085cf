//! The one task that owns what is under way: it moves batches into the windows of their partitions, sends what they
//! say, and settles what comes back. It decides nothing itself; the rules stand in `window` and `accumulator`.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::{self, BoxFuture};
use futures_util::stream::FuturesUnordered;
use protocol::id::TopicName;
use protocol::limits::{ENTRIES_PER_REQUEST_MAX, MIB};
use protocol::outcome::Outcome;
use protocol::verbs::{ProduceReply, ProduceRequest, ProducerIdentity};
use tokio::time::Instant;

use super::accumulator::Serial;
use super::shared::Shared;
use super::topics::LaneId;
use super::window::{Failure, RequestId, Window};
use crate::error::{Error, Result};
use crate::retry::Backoff;
use crate::transport::{PendingReply, Transport};

/// A request takes batches until it has this many bytes; a single batch may be larger.
const REQUEST_BYTES: usize = 8 * MIB;

/// A request on its way, with the batches that it holds.
#[derive(Debug)]
struct Sent {
    request: RequestId,
    /// In the order of the request's entries.
    batches: Vec<(LaneId, Serial)>,
}

/// The owner of all windows. See the head of the file.
pub(super) struct Sender {
    shared: Arc<Shared>,
    transport: Arc<dyn Transport>,
    /// By lane.
    windows: Vec<Window>,
    /// Lanes that have something to send now.
    sendable: BTreeSet<LaneId>,
    /// The lane behind the last one that was served, so that all have their turn.
    turn: LaneId,
    /// Lanes that need an identity to go on.
    nameless: BTreeSet<LaneId>,
    /// At most one for each lane: when it wants to be looked at.
    alarms: BTreeSet<(Instant, LaneId)>,
    alarm_of: Vec<Option<Instant>>,
    gather_at: Option<Instant>,
    handing_over: Option<BoxFuture<'static, (Sent, Result<PendingReply>)>>,
    under_way: FuturesUnordered<BoxFuture<'static, (Sent, Result<ProduceReply>)>>,
    identity: Option<ProducerIdentity>,
    asking_identity: Option<BoxFuture<'static, Result<ProducerIdentity>>>,
    /// After whole requests have failed: nothing is sent before.
    pause_until: Option<Instant>,
    backoff: Backoff,
    next_request: RequestId,
    /// All batches with a smaller serial are settled...
    settled_below: Serial,
    /// ...and these, out of order between partitions.
    settled_above: BTreeSet<Serial>,
    finished: bool,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, transport: Arc<dyn Transport>) -> Self {
        let backoff = Backoff::new(shared.config.backoff);
        Self {
            shared,
            transport,
            windows: Vec::new(),
            sendable: BTreeSet::new(),
            turn: 0,
            nameless: BTreeSet::new(),
            alarms: BTreeSet::new(),
            alarm_of: Vec::new(),
            gather_at: None,
            handing_over: None,
            under_way: FuturesUnordered::new(),
            identity: None,
            asking_identity: None,
            pause_until: None,
            backoff,
            next_request: 0,
            settled_below: 0,
            settled_above: BTreeSet::new(),
            finished: false,
        }
    }

    /// Runs until the producer is closed and every batch is settled.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.ring(now);
            self.gather(now);
            self.name(now);
            self.hand_over(now);
            if self.finished {
                return;
            }
            let alarm = self.next_alarm(now);
            tokio::select! {
                biased;
                Some((sent, reply)) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.on_reply(sent, reply);
                }
                (sent, handed) = or_never(&mut self.handing_over) => {
                    self.handing_over = None;
                    self.on_handed_over(sent, handed);
                }
                identity = or_never(&mut self.asking_identity) => {
                    self.asking_identity = None;
                    self.on_identity(identity);
                }
                () = self.shared.wake.notified() => {}
                () = until(alarm) => {}
            }
        }
    }

    /// Looks at the lanes whose time has come.
    fn ring(&mut self, now: Instant) {
        while let Some(&(at, lane)) = self.alarms.first()
            && at <= now
        {
            self.alarms.pop_first();
            self.alarm_of[lane] = None;
            self.windows[lane].expire(now);
            self.touch(lane, now);
        }
    }

    /// Moves batches that are due into windows that have room.
    fn gather(&mut self, now: Instant) {
        let mut touched = BTreeSet::new();
        let aged = {
            let mut state = self.shared.state.lock();
            let windows = &mut self.windows;
            while let Some((lane, gathered)) =
                state.accumulator.take(now, |lane| windows.get(lane).is_none_or(Window::has_room))
            {
                while windows.len() <= lane {
                    let place = state.accumulator.place(windows.len()).clone();
                    windows.push(Window::new(place, &self.shared.config));
                    self.alarm_of.push(None);
                }
                windows[lane].admit(gathered);
                touched.insert(lane);
            }
            self.gather_at = state.accumulator.alarm();
            self.finished = state.closed && state.accumulator.next_serial() == self.settled_below;
            state.accumulator.take_aged()
        };
        for topic in aged {
            tokio::spawn(ask_again(Arc::clone(&self.shared), topic));
        }
        for lane in touched {
            self.touch(lane, now);
        }
    }

    /// Gives an identity to the lanes that need one, and asks for one where none will do.
    fn name(&mut self, now: Instant) {
        if let Some(identity) = self.identity {
            for lane in self.nameless.clone() {
                if self.windows[lane].accepts(identity) {
                    self.windows[lane].identify(identity);
                    self.touch(lane, now);
                }
            }
        }
        let may_ask = self.asking_identity.is_none() && self.pause_until.is_none_or(|at| at <= now);
        if !self.nameless.is_empty() && may_ask {
            let transport = Arc::clone(&self.transport);
            self.asking_identity = Some(Box::pin(async move { transport.init_producer().await }));
        }
    }

    /// Makes a request of what can be sent. Only one is being handed over at a time, so that requests keep their order.
    fn hand_over(&mut self, now: Instant) {
        if self.handing_over.is_some() || self.pause_until.is_some_and(|at| at > now) {
            return;
        }
        let mut request = ProduceRequest::default();
        let mut sent = Sent { request: self.next_request, batches: Vec::new() };
        while let Some(lane) = self.next_sendable() {
            let window = &mut self.windows[lane];
            let serials = window.send(sent.request, now, REQUEST_BYTES, &mut request.entries);
            sent.batches.extend(serials.into_iter().map(|serial| (lane, serial)));
            if window.has_sendable(now) || request.entries.len() >= ENTRIES_PER_REQUEST_MAX / 2 {
                // The request is full; the rest of this lane goes with the next one.
                self.touch(lane, now);
                break;
            }
            self.turn = lane + 1;
            self.touch(lane, now);
        }
        if sent.batches.is_empty() {
            return;
        }
        self.next_request += 1;
        let transport = Arc::clone(&self.transport);
        self.handing_over = Some(Box::pin(async move { (sent, transport.produce(request).await) }));
    }

    fn next_sendable(&self) -> Option<LaneId> {
        self.sendable.range(self.turn..).next().or_else(|| self.sendable.first()).copied()
    }

    fn on_handed_over(&mut self, sent: Sent, handed: Result<PendingReply>) {
        match handed {
            Ok(reply) => self.under_way.push(Box::pin(async move { (sent, reply.await) })),
            Err(error) => self.on_request_failed(&sent, &error, false),
        }
    }

    fn on_reply(&mut self, sent: Sent, reply: Result<ProduceReply>) {
        let now = Instant::now();
        let entries = match reply {
            Ok(reply) if reply.entries.len() == sent.batches.len() => reply.entries,
            Ok(reply) => {
                let message = format!(
                    "{} results to {} batches in a produce request",
                    reply.entries.len(),
                    sent.batches.len()
                );
                return self.on_request_failed(
                    &sent,
                    &Error::new(Outcome::Internal, message),
                    true,
                );
            }
            Err(error) => return self.on_request_failed(&sent, &error, true),
        };
        self.backoff.succeed();
        self.pause_until = None;
        for ((lane, serial), result) in sent.batches.into_iter().zip(entries) {
            let answer = result.map_err(|refusal| Failure {
                error: refusal.into(),
                sent: true,
                retry_at: None,
            });
            self.windows[lane].answer(serial, sent.request, answer, now);
            self.touch(lane, now);
        }
    }

    fn on_request_failed(&mut self, sent: &Sent, error: &Error, left: bool) {
        let now = Instant::now();
        let retry_at = self.pause(error, now);
        for &(lane, serial) in &sent.batches {
            let failure = Failure { error: error.clone(), sent: left, retry_at };
            self.windows[lane].answer(serial, sent.request, Err(failure), now);
            self.touch(lane, now);
        }
    }

    fn on_identity(&mut self, identity: Result<ProducerIdentity>) {
        let now = Instant::now();
        match identity {
            Ok(identity) => self.identity = Some(identity),
            Err(error) if error.may_retry() => {
                self.pause(&error, now);
            }
            Err(error) => {
                for lane in std::mem::take(&mut self.nameless) {
                    self.windows[lane].refuse_identity(&error);
                    self.touch(lane, now);
                }
            }
        }
    }

    /// Requests that fail together are one failure, with one pause.
    fn pause(&mut self, error: &Error, now: Instant) -> Option<Instant> {
        if error.may_retry() && self.pause_until.is_none_or(|at| at <= now) {
            self.pause_until = Some(now + self.backoff.fail());
        }
        self.pause_until.filter(|at| *at > now)
    }

    /// Settles what a lane has settled, and notes what it wants next.
    fn touch(&mut self, lane: LaneId, now: Instant) {
        let settled_any = self.settle(lane);
        let window = &self.windows[lane];
        if settled_any && window.has_room() {
            // What it has gathered meanwhile is taken in the next round, before anybody sleeps.
            self.shared.state.lock().accumulator.unpark(lane);
        }
        note(&mut self.sendable, lane, window.has_sendable(now));
        note(&mut self.nameless, lane, window.lacks_identity());
        let alarm = window.alarm(now);
        if self.alarm_of[lane] != alarm {
            if let Some(old) = std::mem::replace(&mut self.alarm_of[lane], alarm) {
                self.alarms.remove(&(old, lane));
            }
            if let Some(at) = alarm {
                self.alarms.insert((at, lane));
            }
        }
    }

    /// Tells the fate of the batches of a lane, in order. True when there was one.
    fn settle(&mut self, lane: LaneId) -> bool {
        let mut any = false;
        while let Some(settled) = self.windows[lane].pop_settled() {
            any = true;
            if let Err(error) = &settled.delivery {
                tracing::warn!(%error, "a batch was given up");
                let mut state = self.shared.state.lock();
                if matches!(error.outcome(), Outcome::UnknownTopic | Outcome::UnknownPartition) {
                    state.accumulator.forget_topic(lane);
                }
                state.failure.get_or_insert_with(|| error.clone());
            }
            // Nobody may wait for it: records can be sent without looking at their tickets.
            drop(settled.complete.send(settled.delivery));
            self.shared.memory.add_permits(settled.charge);
            self.settled_above.insert(settled.serial);
        }
        if any {
            while self.settled_above.remove(&self.settled_below) {
                self.settled_below += 1;
            }
            self.shared.settled.send_replace(self.settled_below);
        }
        any
    }

    fn next_alarm(&self, now: Instant) -> Option<Instant> {
        let lanes = self.alarms.first().map(|(at, _)| *at);
        let work = !self.sendable.is_empty() || !self.nameless.is_empty();
        let pause = self.pause_until.filter(|at| work && *at > now);
        lanes.into_iter().chain(self.gather_at).chain(pause).min()
    }
}

/// Learns anew how many partitions a topic has. While the broker is away the old number is good enough.
async fn ask_again(shared: Arc<Shared>, topic: TopicName) {
    if let Ok(partitions) = shared.metadata.ask_once(&topic).await {
        let mut state = shared.state.lock();
        state.accumulator.topics_mut().learn(&topic, partitions, Instant::now());
    }
}

fn note(set: &mut BTreeSet<LaneId>, lane: LaneId, present: bool) {
    if present {
        set.insert(lane);
    } else {
        set.remove(&lane);
    }
}

async fn or_never<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => future::pending().await,
    }
}

async fn until(alarm: Option<Instant>) {
    match alarm {
        Some(at) => tokio::time::sleep_until(at).await,
        None => future::pending().await,
    }
}
