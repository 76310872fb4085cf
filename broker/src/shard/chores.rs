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
use crate::world::Threads;

/// A shard's way to its second thread.
#[derive(Debug)]
pub(crate) struct Helper {
    hands: Hands,
    metrics: Metrics,
    finished: UnboundedSender<Slot>,
    /// Partitions whose chore is done.
    done: UnboundedReceiver<Slot>,
}

#[derive(Debug)]
enum Hands {
    Thread {
        /// At most one chore for each partition of the shard.
        chores: mpsc::Sender<(Slot, Chore)>,
        thread: JoinHandle<()>,
    },
    /// In a world without threads of our own, chores are done where they are handed out.
    Here,
}

impl Helper {
    /// Starts the thread, where there are threads. It ends with [`Self::stop`].
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn start(
        number: usize,
        metrics: Metrics,
        threads: Threads,
    ) -> std::io::Result<Self> {
        let (finished, done) = unbounded_channel();
        let hands = match threads {
            Threads::Own => {
                let (chores, waiting) = mpsc::channel::<(Slot, Chore)>();
                let (metrics, finished) = (metrics.clone(), finished.clone());
                let run = move || {
                    for (slot, chore) in waiting {
                        run(slot, &chore, &metrics, &finished);
                    }
                };
                let name = format!("chores-{number}");
                Hands::Thread { chores, thread: std::thread::Builder::new().name(name).spawn(run)? }
            }
            Threads::Callers => Hands::Here,
        };
        Ok(Self { hands, metrics, finished, done })
    }

    /// Hands a chore on.
    pub(crate) fn send(&self, slot: Slot, chore: Chore) {
        match &self.hands {
            // Were the thread gone, the log would do the chore itself when it must.
            Hands::Thread { chores, .. } => {
                let _ = chores.send((slot, chore));
            }
            Hands::Here => run(slot, &chore, &self.metrics, &self.finished),
        }
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
        let Hands::Thread { chores, thread } = self.hands else { return };
        drop(chores);
        if thread.join().is_err() {
            tracing::error!("the thread that does a shard's chores has panicked");
        }
    }
}

fn run(slot: Slot, chore: &Chore, metrics: &Metrics, finished: &UnboundedSender<Slot>) {
    let start = Instant::now();
    if chore.sync() {
        metrics.sync_seconds.observe(start.elapsed().as_secs_f64());
    }
    chore.run();
    // When the shard has ended, the log has seen for itself.
    let _ = finished.send(slot);
}
