//! The loop that owns a core, on one OS thread.
//!
//! Disk calls block this thread and nobody else. Commands that arrive meanwhile wait in the queue and are taken
//! together by the next turn: the slower the disk, the more producers share a sync. What nobody waits for is handed to
//! a second thread (`chores.rs`).

use std::thread::JoinHandle;
use std::time::Duration;

use protocol::limits::{SHARD_QUEUE_COMMANDS_MAX, SHARD_TURN_COMMANDS_MAX};
use tokio::sync::mpsc;

use crate::shard::chores::Helper;
use crate::shard::command::Command;
use crate::shard::core::Core;
use crate::shard::handle::ShardHandle;
use crate::time::Clock;

/// Starts a shard's thread. It ends after [`Command::Stop`], or when every handle is gone.
///
/// # Errors
/// When the operating system gives no thread.
pub(crate) fn start(
    number: usize,
    core: Core,
    clock: Clock,
) -> std::io::Result<(ShardHandle, JoinHandle<()>)> {
    let (sender, commands) = mpsc::channel(SHARD_QUEUE_COMMANDS_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut helper = Helper::start(number, core.metrics().clone())?;
    let thread = std::thread::Builder::new().name(format!("shard-{number}")).spawn(move || {
        runtime.block_on(run(core, clock, commands, &mut helper));
        helper.stop();
    })?;
    Ok((ShardHandle::new(sender), thread))
}

async fn run(
    mut core: Core,
    clock: Clock,
    mut queue: mpsc::Receiver<Command>,
    helper: &mut Helper,
) {
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
