//! Which leader epoch was in force from which offset on.
//!
//! Two uses: a reader checks the epoch in each batch against it (a batch's own checksum leaves the epoch out), and
//! consumers ask where an epoch ended to notice that a log has lost an unsynced end.

use std::sync::Arc;

use protocol::id::{LeaderEpoch, Offset};

/// Most changes that are remembered; the oldest go first, and batches from before are not checked any more.
pub(crate) const EPOCHS_MAX: usize = 1024;

/// The first offset of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochStart {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) start: Offset,
}

/// The epochs of one log, rising in epoch and in offset. Cloning shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs(Arc<[EpochStart]>);

impl Epochs {
    /// Takes a list from a file. `None` when it does not rise.
    pub(crate) fn from_list(list: Vec<EpochStart>) -> Option<Self> {
        let rising =
            list.windows(2).all(|two| two[0].epoch < two[1].epoch && two[0].start < two[1].start);
        (rising && list.len() <= EPOCHS_MAX).then(|| Self(list.into()))
    }

    pub(crate) fn list(&self) -> &[EpochStart] {
        &self.0
    }

    /// The epoch of the last batch.
    pub(crate) fn last(&self) -> Option<LeaderEpoch> {
        self.0.last().map(|last| last.epoch)
    }

    /// The epoch in force at an offset; `None` where it is not remembered.
    pub(crate) fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let behind = self.0.partition_point(|entry| entry.start <= offset);
        behind.checked_sub(1).and_then(|last| self.0.get(last)).map(|entry| entry.epoch)
    }

    /// The largest epoch not above `epoch`, and where it ended. `end` is the end of the log.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let behind = self.0.partition_point(|entry| entry.epoch <= epoch);
        let found = behind.checked_sub(1).and_then(|last| self.0.get(last))?;
        Some((found.epoch, self.0.get(behind).map_or(end, |next| next.start.min(end))))
    }

    /// Takes note of a batch behind all others. True when a new epoch began with it.
    pub(crate) fn note(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.last().is_some_and(|last| last >= epoch) {
            return false;
        }
        let skip = (self.0.len() + 1).saturating_sub(EPOCHS_MAX);
        let kept = self.0.iter().skip(skip).filter(|entry| entry.start < start).copied();
        self.0 = kept.chain([EpochStart { epoch, start }]).collect();
        true
    }

    /// Forgets epochs that ended at or before `start`.
    pub(crate) fn trim(&mut self, start: Offset) {
        let gone = self.0.partition_point(|entry| entry.start <= start).saturating_sub(1);
        if gone > 0 {
            self.0 = self.0.iter().skip(gone).copied().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(number: i64) -> Offset {
        Offset::new(number).unwrap()
    }

    #[test]
    fn an_epoch_is_in_force_until_the_next_one_begins() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.at(offset(5)), None);
        for (epoch, start) in [(1, 0), (1, 5), (4, 10), (3, 12), (7, 20)] {
            epochs.note(LeaderEpoch(epoch), offset(start));
        }
        let at = |number| epochs.at(offset(number)).map(|epoch| epoch.0);
        assert_eq!(
            [at(0), at(9), at(10), at(19), at(20)],
            [Some(1), Some(1), Some(4), Some(4), Some(7)]
        );
        let end_of =
            |epoch| epochs.end_of(LeaderEpoch(epoch), offset(30)).map(|(e, o)| (e.0, o.get()));
        assert_eq!(
            [end_of(0), end_of(1), end_of(5), end_of(9)],
            [None, Some((1, 10)), Some((4, 20)), Some((7, 30))]
        );
        let mut trimmed = epochs.clone();
        trimmed.trim(offset(15));
        assert_eq!(trimmed.list().len(), 2);
    }

    #[test]
    fn epochs_are_bounded() {
        let mut epochs = Epochs::default();
        for number in 0..3000 {
            assert!(epochs.note(LeaderEpoch(number), offset(i64::from(number))));
        }
        assert_eq!(epochs.list().len(), EPOCHS_MAX);
        assert_eq!(epochs.last(), Some(LeaderEpoch(2999)));
        assert!(Epochs::from_list(epochs.list().to_vec()).is_some());
    }
}
