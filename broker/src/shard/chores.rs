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
    /// Partitions whose chore is done.
    done: UnboundedReceiver<Slot>,
    /// Where that is said.
    finished: UnboundedSender<Slot>,
}

#[derive(Debug)]
enum Hands {
    Thread {
        /// At most one chore for each partition of the shard.
        chores: mpsc::Sender<(Slot, Chore)>,
        thread: JoinHandle<()>,
    },
    /// Tasks of the runtime that the shard itself is a task of.
    Tasks,
}

impl Helper {
    /// Starts what does the chores. A thread ends with [`Self::stop`].
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
            Threads::Callers => Hands::Tasks,
            Threads::Own => {
                let (chores, waiting) = mpsc::channel::<(Slot, Chore)>();
                let (finished, metrics) = (finished.clone(), metrics.clone());
                let work = move || {
                    for (slot, chore) in waiting {
                        sync(&chore, &metrics);
                        chore.run();
                        told(slot, &finished);
                    }
                };
                let name = format!("chores-{number}");
                let thread = std::thread::Builder::new().name(name).spawn(work)?;
                Hands::Thread { chores, thread }
            }
        };
        Ok(Self { hands, metrics, done, finished })
    }

    /// Hands a chore on.
    pub(crate) fn send(&self, slot: Slot, chore: Chore) {
        match &self.hands {
            Hands::Thread { chores, .. } => {
                // Were the thread gone, the log would do the chore itself when it must.
                let _ = chores.send((slot, chore));
            }
            Hands::Tasks => {
                let (finished, metrics) = (self.finished.clone(), self.metrics.clone());
                tokio::spawn(async move {
                    // As a thread would, it lets the shard go on between the halves of a chore, and before it is told.
                    sync(&chore, &metrics);
                    tokio::task::yield_now().await;
                    chore.run();
                    tokio::task::yield_now().await;
                    told(slot, &finished);
                });
            }
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
        if let Hands::Thread { chores, thread } = self.hands {
            drop(chores);
            if thread.join().is_err() {
                tracing::error!("the thread that does a shard's chores has panicked");
            }
        }
    }
}

fn sync(chore: &Chore, metrics: &Metrics) {
    let start = Instant::now();
    if chore.sync() {
        metrics.sync_seconds.observe(start.elapsed().as_secs_f64());
    }
}

fn told(slot: Slot, finished: &UnboundedSender<Slot>) {
    // Else the shard has ended; the log has seen for itself.
    let _ = finished.send(slot);
}
