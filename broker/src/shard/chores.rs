//! The thread that does the chores of a shard's logs, so that a full segment on its way to the disk holds up nobody.
//!
//! What a chore is and what is claimed of it is for `storage`; this is only another pair of hands. Nothing here waits
//! without a bound: a log hands out one chore at a time.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use storage::Chore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::metrics::Metrics;
use crate::shard::command::Slot;

/// A shard's way to its second thread.
#[derive(Debug)]
pub(crate) struct Helper {
    /// At most one chore for each partition of the shard.
    chores: mpsc::Sender<(Slot, Chore)>,
    /// Partitions whose chore is done.
    done: UnboundedReceiver<Slot>,
    thread: JoinHandle<()>,
}

impl Helper {
    /// Starts the thread. It ends with [`Self::stop`].
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn start(number: usize, metrics: Metrics) -> std::io::Result<Self> {
        let (chores, waiting) = mpsc::channel();
        let (finished, done) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name(format!("chores-{number}"))
            .spawn(move || run(&waiting, &finished, &metrics))?;
        Ok(Self { chores, done, thread })
    }

    /// Hands a chore on.
    pub(crate) fn send(&self, slot: Slot, chore: Chore) {
        // Were the thread gone, the log would do the chore itself when it must.
        let _ = self.chores.send((slot, chore));
    }

    /// The next partition whose chore is done. May be cancelled: nothing is lost.
    pub(crate) async fn done(&mut self) -> Option<Slot> {
        self.done.recv().await
    }

    /// The same, without waiting.
    pub(crate) fn done_now(&mut self) -> Option<Slot> {
        self.done.try_recv().ok()
    }

    /// Ends the thread. Its logs are closed, and have called off what had not begun.
    pub(crate) fn stop(self) {
        drop(self.chores);
        if self.thread.join().is_err() {
            tracing::error!("the thread that does a shard's chores has panicked");
        }
    }
}

fn run(waiting: &mpsc::Receiver<(Slot, Chore)>, done: &UnboundedSender<Slot>, metrics: &Metrics) {
    for (slot, chore) in waiting {
        let start = Instant::now();
        if chore.sync() {
            metrics.sync_seconds.observe(start.elapsed().as_secs_f64());
        }
        chore.run();
        // The shard has ended; the log has seen for itself.
        let _ = done.send(slot);
    }
}
