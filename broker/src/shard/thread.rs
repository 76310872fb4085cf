//! The loop that owns a core, on one OS thread (or, in a simulated world, as one task).
//!
//! Disk calls block this thread and nobody else. Commands that arrive meanwhile wait in the queue and are taken
//! together by the next turn: the slower the disk, the more producers share a sync. What nobody waits for is handed to
//! a second thread (`chores.rs`).

use std::time::Duration;

use protocol::limits::{SHARD_QUEUE_COMMANDS_MAX, SHARD_TURN_COMMANDS_MAX};
use tokio::sync::mpsc;

use crate::shard::chores::Helper;
use crate::shard::command::Command;
use crate::shard::core::Core;
use crate::shard::handle::ShardHandle;
use crate::time::Clock;
use crate::world::Threads;

/// What runs a shard.
#[derive(Debug)]
pub(crate) enum Worker {
    /// A thread of its own.
    Thread(std::thread::JoinHandle<()>),
    /// A task of the runtime of whoever opened the broker.
    Task(tokio::task::JoinHandle<()>),
}

impl Worker {
    /// Done when it has ended. A panic in it was reported where it happened.
    pub(crate) async fn ended(self) {
        match self {
            Self::Thread(thread) => {
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
            Self::Task(task) => {
                let _ = task.await;
            }
        }
    }
}

/// Starts a shard. It ends after [`Command::Stop`], or when every handle is gone.
///
/// # Errors
/// When the operating system gives no thread.
pub(crate) fn start(
    number: usize,
    core: Core,
    clock: Clock,
    threads: Threads,
) -> std::io::Result<(ShardHandle, Worker)> {
    let (sender, commands) = mpsc::channel(SHARD_QUEUE_COMMANDS_MAX);
    let helper = Helper::start(number, core.metrics().clone(), threads)?;
    let worker = match threads {
        Threads::Own => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            let thread = std::thread::Builder::new()
                .name(format!("shard-{number}"))
                .spawn(move || runtime.block_on(run(core, clock, commands, helper)))?;
            Worker::Thread(thread)
        }
        Threads::Callers => Worker::Task(tokio::spawn(run(core, clock, commands, helper))),
    };
    Ok((ShardHandle::new(sender), worker))
}

async fn run(mut core: Core, clock: Clock, mut queue: mpsc::Receiver<Command>, mut helper: Helper) {
    let mut commands = Vec::with_capacity(SHARD_TURN_COMMANDS_MAX);
    loop {
        let wait_ms = core.tick_due_ms().saturating_sub(clock.monotonic_ms());
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut commands, SHARD_TURN_COMMANDS_MAX) => {
                if taken == 0 {
                    // Every handle is gone: close as if told to.
                    let (answer, _) = tokio::sync::oneshot::channel();
                    commands.push(Command::Stop { answer });
                }
            }
            Some(slot) = helper.done() => core.settle_chores(slot),
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        }
        if core.turn(&mut commands) {
            helper.stop();
            return;
        }
        core.tick();
        while let Some(slot) = helper.done_now() {
            core.settle_chores(slot);
        }
        for (slot, chore) in core.take_chores() {
            helper.send(slot, chore);
        }
    }
}
