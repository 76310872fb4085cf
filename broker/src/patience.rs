//! What a peer must have done by some time, else its connection is ended.
//!
//! An answer that its peer does not take stays in memory, and whoever made it is not asked again: no code of that call
//! runs until the peer moves, so none of it could notice the time. The connection can: its task runs whenever a timer of
//! its own rings. So whatever hands bytes to a peer leaves an [`Expectation`] with the connection, and takes it back when
//! the bytes have gone. Ending the connection frees everything that hangs on it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

/// While anything is expected, the time is looked at so often: an end may come so much late.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The end that stands with those who serve a connection's requests; cloning gives the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Held for a look or a change, never across a wait.
    expected: Mutex<Expected>,
    /// The task of the connection.
    connection: AtomicWaker,
}

#[derive(Debug, Default)]
struct Expected {
    /// By number; a few for each call under way.
    due: Vec<(u64, Instant)>,
    next: u64,
    /// True while the connection has a timer that will make it look here.
    is_watched: bool,
}

/// Something that must be over by its time. Dropping it says that it is.
#[derive(Debug)]
pub(crate) struct Expectation {
    shared: Arc<Shared>,
    number: u64,
}

impl Patience {
    /// Ends the connection at `due`, unless what is returned is dropped before.
    pub(crate) fn expect(&self, due: Instant) -> Expectation {
        let mut expected = self.0.expected.lock();
        let number = expected.next;
        expected.next += 1;
        expected.due.push((number, due));
        let is_watched = expected.is_watched;
        drop(expected);
        if !is_watched {
            self.0.connection.wake();
        }
        Expectation { shared: Arc::clone(&self.0), number }
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        let mut expected = self.shared.expected.lock();
        if let Some(place) = expected.due.iter().position(|(number, _)| *number == self.number) {
            expected.due.swap_remove(place);
        }
    }
}

/// The connection's end.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    patience: Patience,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    /// The other end.
    pub(crate) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    /// Ready when something is overdue. To be polled whenever the connection's task runs.
    pub(crate) fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Shared { expected, connection } = &*self.patience.0;
        connection.register(context.waker());
        loop {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(context));
                self.timer = None;
            }
            let mut expected = expected.lock();
            let earliest = expected.due.iter().map(|(_, due)| *due).min();
            expected.is_watched = earliest.is_some();
            let Some(earliest) = earliest else { return Poll::Pending };
            let now = Instant::now();
            if earliest <= now {
                return Poll::Ready(());
            }
            let look = earliest.min(now + LOOK_INTERVAL);
            self.timer = Some(Box::pin(tokio::time::sleep_until(look)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_back_in_time_is_overdue() {
        let mut watch = Watch::default();
        let patience = watch.patience();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let taken_back = patience.expect(after(20));
        let waiting = tokio::spawn(async move {
            poll_fn(|context| watch.poll_overdue(context)).await;
            Instant::now()
        });
        tokio::time::sleep_until(after(10)).await;
        drop(taken_back);
        tokio::time::sleep_until(after(100)).await;
        assert!(!waiting.is_finished(), "nothing was expected");
        // The connection sleeps without a timer now: it must be woken.
        let _late = patience.expect(after(500));
        let _first = patience.expect(after(160));
        let ended = waiting.await.unwrap();
        assert!(ended >= after(160) && ended <= after(166), "{:?}", ended - start);
    }
}
