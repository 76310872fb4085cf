//! One partition as its shard owns it: the log, how durable its topic is, who waits, and what readers see.
//!
//! Here an append becomes durable, visible and answered, in this order. When which partition has its turn is decided in
//! `core.rs`.

use std::time::Instant;

use protocol::id::Offset;
use protocol::outcome::{Outcome, Refusal};
use storage::{Log, Options, StorageError, View};
use tokio::sync::watch;

use crate::error::{self, Place};
use crate::metrics::Metrics;
use crate::shard::command::DurabilityRule;
use crate::shard::pending::Pending;
use crate::time::Clock;
use crate::topics::settings::Durability;

/// A partition and those who wait for it.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) place: Place,
    pub(super) log: Log,
    pub(super) rule: DurabilityRule,
    pub(super) pending: Pending,
    /// Readers watch this.
    pub(super) view: watch::Sender<View>,
    /// True while the partition stands in `Core::touched`.
    pub(super) is_touched: bool,
    /// True once its log takes no more writes, and that was told.
    pub(super) is_failed: bool,
    /// True while its last write found no room, and that was told.
    pub(super) is_full: bool,
    /// When its oldest unsynced bytes were written, on the monotonic clock. `None`: all is synced.
    pub(super) unsynced_since_ms: Option<u64>,
    /// Syncs of its log that are in the metrics.
    pub(super) syncs_counted: u64,
}

impl Owned {
    /// Follows changed settings. What is written already comes under the new rule at once: a stricter one must not wait
    /// for the next append.
    pub(super) fn alter(&mut self, options: Options, rule: DurabilityRule, metrics: &Metrics) {
        self.log.set_options(options);
        self.rule = rule;
        let is_due = self.rule.durability == Durability::Sync || self.is_past_unsynced_max();
        if is_due && !self.is_failed {
            self.sync(metrics);
        }
    }

    pub(super) fn settle(&mut self, clock: &Clock, metrics: &Metrics) {
        if let Err(error) = self.log.write(clock.wall()) {
            if self.log.is_failed() {
                return self.fail(&error, metrics);
            }
            // What did not fit was cut off again: nothing happened, and the log goes on.
            if error.is_full() {
                metrics.disk_full.inc();
                if !std::mem::replace(&mut self.is_full, true) {
                    tracing::warn!(partition = %self.place, "writes are refused until there is room: {error}");
                }
            }
            let refusal = error::not_written(&self.place, &error);
            metrics
                .batches_refused
                .inc_by(self.pending.refuse_from(self.log.written_end(), &refusal));
        } else if std::mem::take(&mut self.is_full) {
            tracing::info!(partition = %self.place, "there is room again, writes are taken");
        }
        if self.log.written_end() > self.log.synced_end() {
            self.unsynced_since_ms.get_or_insert(clock.monotonic_ms());
        }
        if self.rule.durability == Durability::Sync || self.is_past_unsynced_max() {
            self.sync(metrics);
        } else {
            self.publish(self.log.written_end(), metrics);
        }
    }

    pub(super) fn is_past_unsynced_max(&self) -> bool {
        let unsynced = self.log.written_end().since(self.log.synced_end());
        self.rule.unsynced_records_max.is_some_and(|max| unsynced >= max)
    }

    /// When what is written must be synced at the latest; the end of time when there is nothing to sync.
    pub(super) fn sync_due_ms(&self) -> u64 {
        match (self.rule.durability, self.unsynced_since_ms) {
            (Durability::Interval { ms }, Some(since)) => since.saturating_add(ms),
            // Sync: never left unsynced by a turn or a change of settings. Os: never ours to sync.
            (Durability::Interval { .. }, None) | (Durability::Sync | Durability::Os, _) => {
                u64::MAX
            }
        }
    }

    pub(super) fn sync(&mut self, metrics: &Metrics) {
        if self.log.written_end() > self.log.synced_end() {
            let start = Instant::now();
            let synced = self.log.sync();
            self.count_syncs(metrics);
            metrics.sync_seconds.observe(start.elapsed().as_secs_f64());
            if let Err(error) = synced {
                return self.fail(&error, metrics);
            }
        }
        self.unsynced_since_ms = None;
        self.publish(self.log.synced_end(), metrics);
    }

    /// Lets the log give its files back, for one that needs them more.
    pub(super) fn park(&mut self, metrics: &Metrics) {
        if self.is_failed {
            return;
        }
        let parked = self.log.park();
        self.count_syncs(metrics);
        match parked {
            Ok(()) => {
                metrics.logs_parked.inc();
                self.unsynced_since_ms = None;
                self.publish(self.log.synced_end(), metrics);
            }
            Err(error) => self.fail(&error, metrics),
        }
    }

    pub(super) fn settle_chores(&mut self, metrics: &Metrics) {
        let settled = self.log.settle_chores();
        self.count_syncs(metrics);
        if let Err(error) = settled
            && !self.is_failed
        {
            self.fail(&error, metrics);
        }
    }

    pub(super) fn count_syncs(&mut self, metrics: &Metrics) {
        let syncs = self.log.sync_count();
        metrics.syncs.inc_by(syncs - std::mem::replace(&mut self.syncs_counted, syncs));
    }

    /// Lets readers see `..durable_end`, then answers those who waited for it.
    pub(super) fn publish(&mut self, durable_end: Offset, metrics: &Metrics) {
        let seen = self.view.borrow().end();
        if durable_end > seen {
            self.view.send_replace(self.log.expose(durable_end));
        }
        let confirmed = self.pending.confirm(durable_end);
        metrics.batches_appended.inc_by(confirmed.batches);
        metrics.records_appended.inc_by(confirmed.records);
        metrics.bytes_appended.inc_by(confirmed.bytes);
        metrics.batches_repeated.inc_by(confirmed.repeated);
    }

    /// The log takes no more writes. Whoever waits is told that the outcome is unknown.
    pub(super) fn fail(&mut self, error: &StorageError, metrics: &Metrics) {
        tracing::error!(partition = %self.place, "the partition takes no more writes: {error}");
        self.is_failed = true;
        metrics.partitions_failed.inc();
        self.unsynced_since_ms = None;
        // Also when a sync failed for want of room: what was written may be there after a restart.
        let refusal = Refusal::new(Outcome::StorageFailed, format!("{}: {error}", self.place));
        let refused = self.pending.refuse_all(&refusal);
        metrics.batches_refused.inc_by(refused);
    }

    pub(super) fn retain(&mut self, clock: &Clock, metrics: &Metrics) {
        let repaired = self.log.repair();
        match repaired.and_then(|_| self.log.retain(clock.wall())) {
            Ok(trimmed) if trimmed.segments > 0 => {
                tracing::info!(
                    partition = %self.place,
                    "{} segments of {} bytes were past their retention; the partition now starts at {}",
                    trimmed.segments, trimmed.bytes, trimmed.start,
                );
                metrics.segments_deleted.inc_by(u64::try_from(trimmed.segments).unwrap_or(0));
                self.view.send_replace(self.log.view());
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(partition = %self.place, "retention stopped: {error}"),
        }
    }
}
