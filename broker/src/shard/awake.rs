//! Which logs of a shard hold files open for writing: bounded in number, the one written to least lately goes first.
//!
//! Only says which log is to be parked; parking it is for the owner.

use std::collections::{BTreeMap, BTreeSet};

use crate::shard::command::Slot;

/// Logs that hold files open, in the order in which they were last written to.
#[derive(Debug)]
pub(crate) struct Awake {
    logs_max: usize,
    /// Counts uses.
    uses: u64,
    last_use: BTreeMap<Slot, u64>,
    by_use: BTreeSet<(u64, Slot)>,
}

impl Awake {
    /// At most so many logs, but at least one.
    pub(crate) fn new(logs_max: usize) -> Self {
        Self {
            logs_max: logs_max.max(1),
            uses: 0,
            last_use: BTreeMap::new(),
            by_use: BTreeSet::new(),
        }
    }

    /// This log holds files open, and was used just now.
    pub(crate) fn used(&mut self, slot: Slot) {
        if self.by_use.last().is_some_and(|(_, last)| *last == slot) {
            return;
        }
        self.gone(slot);
        self.uses += 1;
        self.last_use.insert(slot, self.uses);
        self.by_use.insert((self.uses, slot));
    }

    /// This log holds none any more.
    pub(crate) fn gone(&mut self, slot: Slot) {
        if let Some(last_use) = self.last_use.remove(&slot) {
            self.by_use.remove(&(last_use, slot));
        }
    }

    /// True for a log that holds files open.
    pub(crate) fn contains(&self, slot: Slot) -> bool {
        self.last_use.contains_key(&slot)
    }

    /// The log that must be parked before this one may open its files; `None` when there is room, or it has them open.
    pub(crate) fn in_the_way_of(&self, slot: Slot) -> Option<Slot> {
        if self.by_use.len() < self.logs_max || self.contains(slot) {
            return None;
        }
        self.by_use.first().map(|(_, slot)| *slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_least_lately_is_in_the_way() {
        let mut awake = Awake::new(2);
        let [a, b, c] = [Slot(1), Slot(2), Slot(3)];
        awake.used(a);
        assert_eq!(awake.in_the_way_of(b), None);
        awake.used(b);
        awake.used(a);
        assert_eq!((awake.in_the_way_of(a), awake.in_the_way_of(c)), (None, Some(b)));
        awake.gone(b);
        assert_eq!(awake.in_the_way_of(c), None);
        awake.used(c);
        assert_eq!(awake.in_the_way_of(b), Some(a));
    }

    #[test]
    fn one_log_may_always_be_awake() {
        let mut awake = Awake::new(0);
        assert_eq!(awake.in_the_way_of(Slot(1)), None);
        awake.used(Slot(1));
        assert_eq!(awake.in_the_way_of(Slot(2)), Some(Slot(1)));
    }
}
