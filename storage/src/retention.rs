//! Which segments may go. Pure: facts and options in, a number out.

use protocol::id::Timestamp;

use crate::options::Options;
use crate::segment::Summary;

/// How many of the oldest segments may go now.
///
/// By age: segments go while their newest record is older than `retention_ms`. A segment whose records carry no
/// time counts from its last append. By size: the oldest goes while the others, the active one included, hold at
/// least `retention_bytes`.
pub(crate) fn removable(
    closed: &[Summary],
    active_bytes: u64,
    options: &Options,
    now: Timestamp,
) -> usize {
    let by_age = closed.iter().take_while(|summary| is_expired(summary, options, now)).count();
    let mut held = active_bytes + closed.iter().map(|summary| summary.bytes).sum::<u64>();
    let by_size = closed
        .iter()
        .take_while(|summary| {
            held -= summary.bytes;
            options.retention_bytes.is_some_and(|bytes| held >= bytes)
        })
        .count();
    by_age.max(by_size)
}

/// True when every record of the segment is older than the options allow.
pub(crate) fn is_expired(summary: &Summary, options: &Options, now: Timestamp) -> bool {
    let newest = if summary.time_max.0 < 0 { summary.last_append } else { summary.time_max };
    options.retention_ms.is_some_and(|retention| age_ms(newest, now) > retention)
}

/// Milliseconds from `since` to `now`; 0 when the clock went back.
pub(crate) fn age_ms(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::id::Offset;

    fn segments(times: &[i64]) -> Vec<Summary> {
        let segment = |(number, time): (usize, &i64)| Summary {
            base: Offset::ZERO.plus(number as u64 * 10),
            end: Offset::ZERO.plus(number as u64 * 10 + 10),
            bytes: 100,
            time_max: Timestamp(*time),
            last_append: Timestamp(500),
        };
        times.iter().enumerate().map(segment).collect()
    }

    fn options(retention_ms: Option<u64>, retention_bytes: Option<u64>) -> Options {
        Options { retention_ms, retention_bytes, ..Options::default() }
    }

    #[test]
    fn by_age_nothing_goes_behind_one_that_stays() {
        let closed = segments(&[100, 300, 200, 900]);
        let removable = |ms, now| removable(&closed, 0, &options(ms, None), Timestamp(now));
        assert_eq!(removable(Some(100), 250), 1);
        assert_eq!(removable(Some(100), 350), 1, "300 is 50 old, 200 behind it must stay");
        assert_eq!(removable(Some(100), 401), 3);
        assert_eq!(removable(None, i64::MAX), 0);
        assert_eq!(removable(Some(100), i64::MIN), 0, "a clock that went back removes nothing");
    }

    #[test]
    fn records_without_time_age_from_their_append() {
        let closed = segments(&[-1, i64::MIN]);
        assert_eq!(removable(&closed, 0, &options(Some(100), None), Timestamp(600)), 0);
        assert_eq!(removable(&closed, 0, &options(Some(100), None), Timestamp(601)), 2);
    }

    proptest! {
        #[test]
        fn by_size_what_stays_holds_the_bound_and_would_not_without_its_oldest(
            count in 0..20usize, active in 0..500u64, bound in 0..3000u64,
        ) {
            let closed = segments(&vec![0; count]);
            let gone = removable(&closed, active, &options(None, Some(bound)), Timestamp(0));
            let held = |from: usize| active + (count - from) as u64 * 100;
            prop_assert!(gone == 0 || held(gone) >= bound);
            prop_assert!(gone == count || held(gone + 1) < bound);
        }
    }
}
