//! What became of the calls to the broker, seen from where they leave: so that a command that waits can say why, and
//! when to give up. Retries and their pauses are the client's; this only looks on.
//!
//! ```text
//!   a call leaves --------> under way since then
//!   it succeeds ----------> the wait begins anew; it is over where nothing else is under way
//!   it may be repeated ---> the wait goes on, and its error is what the last attempt said
//!   it fails for good ----> as if it had succeeded: whoever made it is told
//! ```

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::error::{Error, Result};
use client::transport::{PendingReply, Transport};
use futures_util::future::BoxFuture;
use protocol::id::TopicName;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{
    BrokerDescription, FetchReply, FetchRequest, PositionEntry, PositionFound, ProduceReply,
    ProduceRequest, ProducerIdentity, TopicChange, TopicDescription, TopicSpec,
};
use tokio::time::Instant;

use crate::exit::Failure;

/// A wait this long is told.
const TOLD_AFTER: Duration = Duration::from_secs(3);
/// And again each time when so much more has passed.
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// How often is looked whether a wait has become long.
const LOOK: Duration = Duration::from_millis(250);

/// What is known of the calls of one transport.
#[derive(Debug, Default)]
struct State {
    /// Calls that have no answer yet; those that wait at the broker for something to read are left out.
    under_way: u64,
    /// Since when nothing has succeeded although something was wanted.
    waiting_since: Option<Instant>,
    /// What the last attempt said; `None` since the last success.
    last: Option<Refusal>,
    /// True when an attempt since the last success may have taken effect.
    uncertain: bool,
    /// How long the wait was when it was last told; `None` as long as it was not.
    told_at: Option<Duration>,
}

/// The work's end. Where it takes long, that is told once through `say`.
pub(crate) async fn patiently<T>(say: impl FnOnce(&str), work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        end = &mut work => return end,
        () = tokio::time::sleep(TOLD_AFTER) => {}
    }
    say(&format!("no answer for {} s; waiting on", TOLD_AFTER.as_secs()));
    work.await
}

impl State {
    fn succeed(&mut self, now: Instant) {
        self.waiting_since = (self.under_way > 0).then_some(now);
        self.last = None;
        self.uncertain = false;
    }

    fn fail(&mut self, error: Refusal, now: Instant) {
        if !error.outcome.may_retry() {
            return self.succeed(now);
        }
        self.waiting_since.get_or_insert(now);
        self.uncertain |= error.outcome.may_have_happened();
        self.last = Some(error);
    }
}

/// The calls of a [`Watched`] transport. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<Mutex<State>>);

impl Attempts {
    /// The same way to the broker, looked at from now on.
    pub(crate) fn watch(transport: Arc<dyn Transport>) -> (Self, Arc<dyn Transport>) {
        let attempts = Self::default();
        (attempts.clone(), Arc::new(Watched { transport, attempts }))
    }

    /// Tells through `say` when nothing has succeeded for some seconds, and gives back after `limit` what to tell of
    /// that; for ever without a limit. May be cancelled.
    pub(crate) async fn run_out(&self, limit: Option<Duration>, say: impl Fn(&str)) -> Refusal {
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            let (waited, last, uncertain, told_at) = {
                let state = self.state();
                let waited = state.waiting_since.map_or(Duration::ZERO, |since| since.elapsed());
                let uncertain = state.uncertain || state.last.is_none();
                (waited, state.last.clone(), uncertain, state.told_at)
            };
            let said = match &last {
                Some(refusal) => format!("the last attempt: {}", refusal.message),
                None => "the broker has not answered".to_owned(),
            };
            if let Some(limit) = limit.filter(|limit| waited >= *limit) {
                let message =
                    format!("nothing acknowledged within {} ms; {said}", limit.as_millis());
                let outcome = last.filter(|_| !uncertain).map(|refusal| refusal.outcome);
                return Refusal::new(outcome.unwrap_or(Outcome::TimedOut), message);
            }
            if waited < TOLD_AFTER {
                if told_at.is_some() {
                    self.state().told_at = None;
                    say("the broker answers again");
                }
            } else if told_at.is_none_or(|told_at| waited >= told_at + TOLD_EVERY) {
                self.state().told_at = Some(waited);
                let doing = if last.is_some() { "trying on" } else { "waiting on" };
                let goes_on = match limit {
                    Some(limit) => format!("{doing}, for {} s at most", limit.as_secs_f64()),
                    None => doing.to_owned(),
                };
                say(&format!("no success for {} s; {said}; {goes_on}", waited.as_secs()));
            }
        }
    }

    /// The work's end, or what to tell when there was no success for `limit`.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        say: impl Fn(&str),
        work: impl Future<Output = T>,
    ) -> std::result::Result<T, Refusal> {
        tokio::select! {
            biased;
            end = work => Ok(end),
            refusal = self.run_out(Some(limit), say) => Err(refusal),
        }
    }

    /// The work's end; its own calls bound it.
    pub(crate) async fn told<T>(
        &self,
        say: impl Fn(&str),
        work: impl Future<Output = std::result::Result<T, Failure>>,
    ) -> std::result::Result<T, Failure> {
        tokio::select! {
            biased;
            end = work => end,
            refusal = self.run_out(None, say) => Err(refusal.into()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each step leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call whose answer is due at once.
    fn begin(&self) -> UnderWay {
        let mut state = self.state();
        state.under_way += 1;
        state.waiting_since.get_or_insert_with(Instant::now);
        UnderWay(self.clone())
    }

    fn note<T>(&self, result: &Result<T>) {
        let now = Instant::now();
        match result {
            Ok(_) => self.state().succeed(now),
            Err(error) => self.state().fail(error.clone().into(), now),
        }
    }
}

/// A call on its way. One that is dropped without an answer counts no longer.
struct UnderWay(Attempts);

impl UnderWay {
    fn end<T>(self, result: Result<T>) -> Result<T> {
        let attempts = self.0.clone();
        drop(self);
        attempts.note(&result);
        result
    }

    /// One batch that was taken is progress; else the first refusal stands for all.
    fn end_produce(self, reply: Result<ProduceReply>) -> Result<ProduceReply> {
        let attempts = self.0.clone();
        drop(self);
        match &reply {
            Ok(reply) if reply.entries.iter().all(|entry| entry.is_err()) => {
                let refused = reply.entries.iter().find_map(|entry| entry.as_ref().err());
                let result = refused.map_or(Ok(()), |refusal| Err(Error::from(refusal.clone())));
                attempts.note(&result);
            }
            reply => attempts.note(reply),
        }
        reply
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way = state.under_way.saturating_sub(1);
        if state.under_way == 0 && state.last.is_none() {
            state.waiting_since = None;
        }
    }
}

/// A transport whose calls are looked at.
struct Watched {
    transport: Arc<dyn Transport>,
    attempts: Attempts,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transport.fmt(f)
    }
}

impl Watched {
    fn look<'a, T: Send + 'a>(&self, call: BoxFuture<'a, Result<T>>) -> BoxFuture<'a, Result<T>> {
        let under_way = self.attempts.begin();
        Box::pin(async move { under_way.end(call.await) })
    }
}

impl Transport for Watched {
    fn produce(&self, request: ProduceRequest) -> BoxFuture<'_, Result<PendingReply>> {
        let under_way = self.attempts.begin();
        Box::pin(async move {
            match self.transport.produce(request).await {
                Ok(reply) => {
                    let reply: PendingReply =
                        Box::pin(async move { under_way.end_produce(reply.await) });
                    Ok(reply)
                }
                Err(error) => under_way.end(Err(error)),
            }
        })
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchReply>> {
        // It may wait at the broker, so only what comes of it counts.
        Box::pin(async move {
            let reply = self.transport.fetch(request).await;
            self.attempts.note(&reply);
            reply
        })
    }

    fn find_positions(
        &self,
        entries: Vec<PositionEntry>,
    ) -> BoxFuture<'_, Result<Vec<std::result::Result<PositionFound, Error>>>> {
        self.look(self.transport.find_positions(entries))
    }

    fn init_producer(&self) -> BoxFuture<'_, Result<ProducerIdentity>> {
        self.look(self.transport.init_producer())
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<TopicDescription>> {
        self.look(self.transport.create_topic(spec))
    }

    fn describe_topic(&self, name: TopicName) -> BoxFuture<'_, Result<TopicDescription>> {
        self.look(self.transport.describe_topic(name))
    }

    fn list_topics(&self) -> BoxFuture<'_, Result<Vec<TopicDescription>>> {
        self.look(self.transport.list_topics())
    }

    fn alter_topic(
        &self,
        name: TopicName,
        change: TopicChange,
    ) -> BoxFuture<'_, Result<TopicDescription>> {
        self.look(self.transport.alter_topic(name, change))
    }

    fn delete_topic(&self, name: TopicName) -> BoxFuture<'_, Result<()>> {
        self.look(self.transport.delete_topic(name))
    }

    fn describe_broker(&self) -> BoxFuture<'_, Result<BrokerDescription>> {
        self.look(self.transport.describe_broker())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use client::fake::{Call, FakeBroker, Fault};
    use client::producer::{Producer, ProducerConfig};
    use protocol::record::Record;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(40);

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_told_with_its_cause_and_ends_at_the_limit() {
        let broker = FakeBroker::with_topic("t", 1);
        broker.fail(Call::Produce, Fault::Refuse(Outcome::DiskFull), 10_000);
        let (attempts, transport) = Attempts::watch(broker);
        let producer = Producer::new(transport, ProducerConfig::default());
        let topic = "t".parse().unwrap();
        let ticket = producer.send(&topic, None, Record::of_value("v")).await.unwrap();
        let told = RefCell::new(Vec::new());
        let begun = Instant::now();
        let say = |text: &str| told.borrow_mut().push((begun.elapsed().as_secs(), text.to_owned()));
        let end = attempts.within(LIMIT, say, ticket).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), 40);
        assert_eq!(end.outcome, Outcome::DiskFull);
        assert!(end.message.contains("within 40000 ms; the last attempt: "), "{}", end.message);
        let told = told.into_inner();
        let times: Vec<_> = told.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [3, 33], "{told:?}");
        assert!(told[0].1.contains("no success for 3 s; the last attempt: "), "{told:?}");
        assert!(told[0].1.contains("trying on, for 40 s at most"), "{told:?}");
        // The next step of the same command does not begin anew.
        let say = |text: &str| panic!("told again: {text}");
        attempts.within(LIMIT, say, std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_says_nothing_is_told_too_and_what_it_did_is_not_known() {
        let broker = FakeBroker::with_topic("t", 1);
        broker.hold_answers(true);
        let (attempts, transport) = Attempts::watch(broker);
        let producer = Producer::new(transport, ProducerConfig::default());
        let topic = "t".parse().unwrap();
        let ticket = producer.send(&topic, None, Record::of_value("v")).await.unwrap();
        let told = RefCell::new(Vec::new());
        let say = |text: &str| told.borrow_mut().push(text.to_owned());
        let end = attempts.within(LIMIT, say, ticket).await.unwrap_err();
        assert!(told.borrow()[0].ends_with("waiting on, for 40 s at most"), "{told:?}");
        assert_eq!(end.outcome, Outcome::TimedOut);
        assert!(end.message.ends_with("the broker has not answered"), "{}", end.message);
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_told_once() {
        let told = RefCell::new(0);
        for (seconds, times) in [(2, 0), (100, 1)] {
            let work = tokio::time::sleep(Duration::from_secs(seconds));
            patiently(|_| *told.borrow_mut() += 1, work).await;
            assert_eq!(*told.borrow(), times, "{seconds} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn success_ends_the_wait_and_an_idle_input_is_none() {
        let broker = FakeBroker::with_topic("t", 1);
        let (attempts, transport) = Attempts::watch(broker.clone());
        let producer = Producer::new(transport.clone(), ProducerConfig::default());
        let topic: TopicName = "t".parse().unwrap();
        let ticket = producer.send(&topic, None, Record::of_value("v")).await.unwrap();
        ticket.await.unwrap();
        let idle = tokio::time::sleep(2 * LIMIT);
        let told = RefCell::new(0);
        attempts.within(LIMIT, |_| *told.borrow_mut() += 1, idle).await.unwrap();
        // What fails for good is for whoever asked, and no reason to wait.
        transport.describe_topic("nowhere".parse().unwrap()).await.unwrap_err();
        let idle = tokio::time::sleep(2 * LIMIT);
        attempts.within(LIMIT, |_| *told.borrow_mut() += 1, idle).await.unwrap();
        assert_eq!(told.into_inner(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_long_wait_is_told() {
        let broker = FakeBroker::with_topic("t", 1);
        broker.fail(Call::Admin, Fault::Refuse(Outcome::Unavailable), 1);
        let (attempts, transport) = Attempts::watch(broker);
        let topic: TopicName = "t".parse().unwrap();
        let told = RefCell::new(Vec::new());
        let work = async {
            transport.describe_topic(topic.clone()).await.unwrap_err();
            tokio::time::sleep(Duration::from_secs(5)).await;
            transport.describe_topic(topic.clone()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        };
        attempts.within(LIMIT, |text| told.borrow_mut().push(text.to_owned()), work).await.unwrap();
        let told = told.into_inner();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], "the broker answers again");
    }
}
