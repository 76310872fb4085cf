//! Leaving in order: stop accepting, finish what is under way, sync, leave.
//!
//! A [`Drain`] is passed down to whoever has something to finish; [`Shutdown`] stays with the owner.

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// The owner's end: says when to leave, and waits until everybody has.
#[derive(Debug)]
pub struct Shutdown {
    leave: watch::Sender<bool>,
    tasks: TaskTracker,
}

/// A worker's end: hears when to leave. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    leave: watch::Receiver<bool>,
    tasks: TaskTracker,
}

impl Shutdown {
    /// A new pair of ends; [`Self::drain`] gives out the other one.
    pub fn new() -> Self {
        Self { leave: watch::Sender::new(false), tasks: TaskTracker::new() }
    }

    /// The end to pass down.
    pub fn drain(&self) -> Drain {
        Drain { leave: self.leave.subscribe(), tasks: self.tasks.clone() }
    }

    /// Tells everybody to leave and waits until all tasks spawned through [`Drain::spawn`] have ended.
    ///
    /// May be cancelled: the tasks go on leaving, only nobody waits for them.
    pub async fn leave(&self) {
        self.leave.send_replace(true);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// True once the owner has said to leave.
    pub fn is_leaving(&self) -> bool {
        *self.leave.borrow()
    }

    /// Done when the owner says to leave, or is gone. May be cancelled and called again.
    pub async fn leaving(&self) {
        let mut leave = self.leave.clone();
        // An error means that the owner is gone, which also means to leave.
        let _ = leave.wait_for(|leaving| *leaving).await;
    }

    /// Runs a task that the owner waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}
