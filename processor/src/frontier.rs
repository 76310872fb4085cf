//! How far time has come: the stream time of a task.
//!
//! Pure. Stream time is the largest row time that a task has seen; it never goes back, and no clock moves it. Windows
//! close and rows are late by it, so the same input gives the same output whenever it is read.

use protocol::id::Timestamp;

/// The largest row time seen so far.
///
/// ```
/// use protocol::id::Timestamp;
/// use thalweg_processor::frontier::Frontier;
/// let mut frontier = Frontier::START;
/// assert!(frontier.advance(Timestamp(20)));
/// assert!(!frontier.advance(Timestamp(10)));
/// assert_eq!(frontier.time(), Some(Timestamp(20)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frontier(Option<Timestamp>);

impl Frontier {
    /// Before the first row.
    pub const START: Self = Self(None);

    /// The frontier at a time, as a checkpoint has kept it.
    pub fn at(time: Option<Timestamp>) -> Self {
        Self(time)
    }

    /// Takes note of a row's time. True when the frontier has moved.
    pub fn advance(&mut self, time: Timestamp) -> bool {
        let moved = self.0.is_none_or(|seen| time > seen);
        if moved {
            self.0 = Some(time);
        }
        moved
    }

    /// The stream time; `None` before the first row.
    pub fn time(self) -> Option<Timestamp> {
        self.0
    }

    /// True when something that ended at `end` (exclusive) takes no more rows: stream time has reached it and the
    /// `grace_ms` after it.
    pub fn is_past(self, end: Timestamp, grace_ms: i64) -> bool {
        self.0.is_some_and(|time| time.0 >= end.0.saturating_add(grace_ms))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(times: &[i64]) -> Frontier {
        let mut frontier = Frontier::START;
        for time in times {
            frontier.advance(Timestamp(*time));
        }
        frontier
    }

    proptest! {
        #[test]
        fn it_is_the_largest_time_in_whatever_order(mut times in prop::collection::vec(any::<i64>(), 0..20)) {
            let forward = after(&times);
            prop_assert_eq!(forward.time().map(|time| time.0), times.iter().copied().max());
            times.reverse();
            prop_assert_eq!(after(&times), forward);
        }

        #[test]
        fn it_never_goes_back(times in prop::collection::vec(any::<i64>(), 1..20)) {
            let mut frontier = Frontier::START;
            for time in times {
                let before = frontier;
                let moved = frontier.advance(Timestamp(time));
                prop_assert!(frontier >= before);
                prop_assert_eq!(moved, frontier != before);
            }
        }

        #[test]
        fn what_is_past_stays_past(times in prop::collection::vec(any::<i64>(), 1..20), end: i64, grace in 0_i64..1000) {
            let mut frontier = Frontier::START;
            let mut past = false;
            for time in times {
                frontier.advance(Timestamp(time));
                let now = frontier.is_past(Timestamp(end), grace);
                prop_assert!(now || !past);
                past = now;
            }
        }
    }
}
