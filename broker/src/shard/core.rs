//! The decisions of a shard: commands in, appends, one sync, answers out.
//!
//! A *turn* takes all commands that wait together. Every partition touched by it is written once and, where an
//! acknowledgement means synced, synced once: that is the group commit. No clock is read but the one handed in, nothing
//! waits, so a turn can be replayed; the thread around it (`thread.rs`) has no rules of its own.
//!
//! Per partition a turn goes: stage -> write -> sync (if its durability asks) -> expose to readers -> answer. What is
//! acknowledged is therefore already readable.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::batch::Batch;
use protocol::id::LeaderEpoch;
use protocol::limits::SHARD_TURN_BYTES_MAX;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::Appended;
use storage::{Chore, Disk, Log, Opening, ReadFiles, StorageError};
use tokio::sync::watch;

use crate::error;
use crate::metrics::Metrics;
use crate::shard::awake::Awake;
use crate::shard::command::{Command, OpenPartition, Opened, Slot};
use crate::shard::owned::Owned;
use crate::shard::pending::{Pending, Ticket};
use crate::time::Clock;

/// Everything that one shard owns.
#[derive(Debug)]
pub(crate) struct Core {
    disk: Arc<dyn Disk>,
    clock: Clock,
    metrics: Metrics,
    leader_epoch: LeaderEpoch,
    read_files: ReadFiles,
    /// How often every log is asked what it may let go, in milliseconds.
    retention_check_ms: u64,
    /// In an order, so that the same calls give the same syncs.
    partitions: BTreeMap<Slot, Owned>,
    /// Those whose logs hold files open.
    awake: Awake,
    /// Partitions with staged batches in this turn, each once.
    touched: Vec<Slot>,
    /// What logs have handed out and the thread has not taken yet: at most one for each partition.
    chores: Vec<(Slot, Chore)>,
    /// Bytes staged in this turn, all partitions together.
    staged_bytes: usize,
    /// When the first partition must be synced, on the monotonic clock. May be too early, never too late.
    sync_due_ms: u64,
    /// When retention is looked at next, on the monotonic clock.
    retention_due_ms: u64,
}

/// What a shard stands on.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    /// The epoch that new batches carry.
    pub(crate) leader_epoch: LeaderEpoch,
    /// How often every log is asked what it may let go, in milliseconds.
    pub(crate) retention_check_ms: u64,
    pub(crate) files: OpenFiles,
}

/// How many files may be open at a time.
#[derive(Clone, Debug)]
pub(crate) struct OpenFiles {
    /// Logs of one shard that hold files open to be written to.
    pub(crate) logs_awake_max: usize,
    /// Files of all shards together that are open for readers.
    pub(crate) read: ReadFiles,
}

impl Core {
    pub(crate) fn new(ground: Ground) -> Self {
        let Ground { disk, clock, metrics, leader_epoch, retention_check_ms, files } = ground;
        let retention_due_ms = clock.monotonic_ms() + retention_check_ms;
        Self {
            disk,
            clock,
            metrics,
            leader_epoch,
            read_files: files.read,
            retention_check_ms,
            partitions: BTreeMap::new(),
            awake: Awake::new(files.logs_awake_max),
            touched: Vec::new(),
            chores: Vec::new(),
            staged_bytes: 0,
            sync_due_ms: u64::MAX,
            retention_due_ms,
        }
    }

    /// Carries out `commands` in their order. True: the shard was told to stop, and has closed its logs.
    pub(crate) fn turn(&mut self, commands: &mut Vec<Command>) -> bool {
        let mut appends = 0_u32;
        for command in commands.drain(..) {
            match command {
                Command::Append { slot, batch, ticket } => {
                    appends += 1;
                    self.stage(slot, batch, ticket);
                    if self.staged_bytes >= SHARD_TURN_BYTES_MAX {
                        self.settle();
                    }
                }
                // The others are rare. What was staged before them is settled first, so that order is kept.
                Command::Open { slot, partition, answer } => {
                    self.settle();
                    let opened = self.open(slot, *partition);
                    // Nobody waits any more: the broker is stopping and will close what it has.
                    let _ = answer.send(opened);
                }
                Command::Alter { slot, options, durability } => {
                    self.settle();
                    if let Some(owned) = self.partitions.get_mut(&slot) {
                        owned.alter(options, durability, &self.metrics);
                        self.sync_due_ms = self.sync_due_ms.min(owned.sync_due_ms());
                    }
                }
                Command::Close { slot, answer } => {
                    self.settle();
                    let _ = answer.send(self.close_one(slot));
                }
                Command::Delete { slot, answer } => {
                    self.settle();
                    let _ = answer.send(self.delete(slot));
                }
                Command::Stop { answer } => {
                    self.settle();
                    self.close();
                    let _ = answer.send(());
                    return true;
                }
            }
        }
        self.settle();
        if appends > 0 {
            self.metrics.turn_batches.observe(f64::from(appends));
        }
        false
    }

    /// Puts one batch in line, or says why not.
    fn stage(&mut self, slot: Slot, batch: Batch, ticket: Ticket) {
        let Some(owned) = self.partitions.get_mut(&slot) else {
            // Deleted after the batch was sent.
            let gone = Refusal::new(Outcome::UnknownTopic, "the topic has just been deleted");
            return ticket.refuse(gone);
        };
        let bytes = batch.bytes().len();
        let records = u64::from(batch.header().record_count.unsigned_abs());
        match owned.log.stage(batch, self.clock.wall()) {
            Ok(staged) => {
                let appended = Appended {
                    base_offset: staged.base_offset,
                    append_time: staged.append_time,
                    repeated: staged.repeated,
                };
                let size = (records, u64::try_from(bytes).unwrap_or(u64::MAX));
                owned.pending.wait(ticket, staged.end, appended, size);
                self.staged_bytes += bytes;
                if !owned.is_touched {
                    owned.is_touched = true;
                    self.touched.push(slot);
                }
            }
            Err(refused) => {
                self.metrics.batches_refused.inc();
                ticket.refuse(error::stage(&owned.place, &refused));
            }
        }
    }

    /// Writes, syncs, exposes and answers every partition touched since the last call.
    fn settle(&mut self) {
        self.staged_bytes = 0;
        let mut touched = std::mem::take(&mut self.touched);
        // Those that need no way made come first: no log with a batch in line is then in the way of the others.
        touched.sort_by_key(|slot| !self.awake.contains(*slot));
        for slot in touched {
            self.make_way(slot);
            if let Some(owned) = self.partitions.get_mut(&slot) {
                owned.is_touched = false;
                owned.settle(&self.clock, &self.metrics);
                self.chores.extend(owned.log.take_chore().map(|chore| (slot, chore)));
                self.sync_due_ms = self.sync_due_ms.min(owned.sync_due_ms());
                if owned.log.is_awake() {
                    self.awake.used(slot);
                }
            }
        }
    }

    /// Parks the logs that were written to least lately, until this one may open its files.
    fn make_way(&mut self, slot: Slot) {
        while let Some(parked) = self.awake.in_the_way_of(slot) {
            let Some(owned) = self.partitions.get_mut(&parked) else { return };
            owned.park(&self.metrics);
            if owned.log.is_awake() {
                // It has failed, or has no room to write down what it holds: another one is tried next time.
                return self.awake.used(parked);
            }
            self.awake.gone(parked);
        }
    }

    fn open(&mut self, slot: Slot, partition: OpenPartition) -> Result<Opened, Refusal> {
        let OpenPartition { place, folder, create, options, durability } = partition;
        let refuse = |error: &StorageError| error::storage(&place, error);
        if !create && self.disk.list(&folder).is_err_and(|error| error.is_missing()) {
            return Err(Refusal::new(
                Outcome::StorageFailed,
                format!(
                    "{place}: its folder {} is missing: put it back, or delete the topic",
                    folder.display()
                ),
            ));
        }
        let opening = Opening {
            leader_epoch: self.leader_epoch,
            now: self.clock.wall(),
            read_files: self.read_files.clone(),
        };
        self.make_way(slot);
        let (log, recovered) =
            Log::open(Arc::clone(&self.disk), &folder, options, opening).map_err(|e| refuse(&e))?;
        for note in &recovered.notes {
            if note.is_loss() {
                tracing::warn!(partition = %place, "{note}");
            } else {
                tracing::info!(partition = %place, "{note}");
            }
        }
        let (view, receiver) = watch::channel(log.view());
        let owned = Owned {
            place,
            log,
            rule: durability,
            pending: Pending::default(),
            view,
            is_touched: false,
            is_failed: false,
            is_full: false,
            unsynced_since_ms: None,
            syncs_counted: 0,
        };
        if owned.log.is_awake() {
            self.awake.used(slot);
        }
        self.partitions.insert(slot, owned);
        Ok(Opened { view: receiver })
    }

    fn delete(&mut self, slot: Slot) -> Result<(), Refusal> {
        self.awake.gone(slot);
        let Some(mut owned) = self.partitions.remove(&slot) else {
            return Ok(());
        };
        let gone = Refusal::new(Outcome::UnknownTopic, format!("{} is being deleted", owned.place));
        owned.pending.refuse_all(&gone);
        owned.log.delete().map_err(|error| error::storage(&owned.place, &error))
    }

    fn close_one(&mut self, slot: Slot) -> Result<(), Refusal> {
        self.awake.gone(slot);
        let Some(mut owned) = self.partitions.remove(&slot) else {
            return Ok(());
        };
        // A turn leaves nobody waiting but after a failure, which has told them; so this is for certainty.
        owned.pending.refuse_all(&Refusal::new(
            Outcome::StorageFailed,
            format!("{} is being closed", owned.place),
        ));
        owned.log.close().map_err(|error| error::storage(&owned.place, &error))
    }

    /// When [`Self::tick`] has something to do next, on the monotonic clock in milliseconds.
    pub(crate) fn tick_due_ms(&self) -> u64 {
        self.sync_due_ms.min(self.retention_due_ms)
    }

    /// Syncs that have come due; then, now and then, what old segments may go.
    pub(crate) fn tick(&mut self) {
        let now_ms = self.clock.monotonic_ms();
        if self.sync_due_ms <= now_ms {
            self.sync_due_ms = u64::MAX;
            for (slot, owned) in &mut self.partitions {
                if owned.sync_due_ms() <= now_ms {
                    owned.sync(&self.metrics);
                    self.chores.extend(owned.log.take_chore().map(|chore| (*slot, chore)));
                }
                self.sync_due_ms = self.sync_due_ms.min(owned.sync_due_ms());
            }
        }
        if self.retention_due_ms <= now_ms {
            self.retention_due_ms = now_ms + self.retention_check_ms;
            for (slot, owned) in &mut self.partitions {
                owned.retain(&self.clock, &self.metrics);
                self.chores.extend(owned.log.take_chore().map(|chore| (*slot, chore)));
                if !owned.log.is_awake() {
                    self.awake.gone(*slot);
                } else if !self.awake.contains(*slot) {
                    // It has begun a new segment.
                    self.awake.used(*slot);
                }
            }
        }
    }

    /// Chores to be done on another thread; then [`Self::settle_chores`].
    pub(crate) fn take_chores(&mut self) -> Vec<(Slot, Chore)> {
        std::mem::take(&mut self.chores)
    }

    /// A chore of this partition is done: takes note of it, and hands out the next.
    pub(crate) fn settle_chores(&mut self, slot: Slot) {
        // Else deleted meanwhile.
        if let Some(owned) = self.partitions.get_mut(&slot) {
            owned.settle_chores(&self.metrics);
            self.chores.extend(owned.log.take_chore().map(|chore| (slot, chore)));
        }
    }

    /// Counts for everything that this shard does.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Syncs and closes every log. Those who still wait are told that the broker is stopping.
    fn close(&mut self) {
        for (_, mut owned) in std::mem::take(&mut self.partitions) {
            owned.pending.refuse_all(&error::stopping());
            if let Err(error) = owned.log.close() {
                tracing::error!(partition = %owned.place, "closing the log failed: {error}");
            }
        }
    }
}
