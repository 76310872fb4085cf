//! Source rows that the sink did not take, so that each row is judged once.
//!
//! Whether a topic takes a time depends on a clock and on settings, hence a row that was passed over may be taken when
//! it is made again after a crash; then it would stand for another one (see `flow/checkpoint.rs`). So it is written
//! down before any row behind it is sent, and stays passed over until the source is done with it.
//!
//! Stored as runs of hexadecimal digits, four rows to a digit, the first row in its lowest bit: a fetch of the smallest
//! rows, each second one passed over, stays far below the largest record.

use std::collections::BTreeSet;

use protocol::id::Offset;
use serde::{Deserialize, Serialize};

/// Rows so far apart are kept in runs of their own.
const RUN_DISTANCE: u64 = 128;

/// The offsets of source rows that were passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver(BTreeSet<Offset>);

/// Some of them, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRun {
    from: i64,
    rows: String,
}

impl PassedOver {
    /// The row at this offset is passed over.
    pub fn add(&mut self, offset: Offset) {
        self.0.insert(offset);
    }

    /// Was the row at this offset passed over?
    pub fn has(&self, offset: Offset) -> bool {
        self.0.contains(&offset)
    }

    /// Those that the source is not done with: `source_next..`.
    #[must_use]
    pub fn from(&self, source_next: Offset) -> Self {
        Self(self.0.range(source_next..).copied().collect())
    }

    /// Those before an offset: `..end`.
    #[must_use]
    pub fn until(&self, end: Offset) -> Self {
        Self(self.0.range(..end).copied().collect())
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<StoredRun> {
        let mut runs: Vec<(Offset, Vec<u8>)> = Vec::new();
        let mut last = Offset::ZERO;
        for offset in &self.0 {
            if runs.is_empty() || offset.since(last) > RUN_DISTANCE {
                runs.push((*offset, Vec::new()));
            }
            last = *offset;
            if let Some((from, digits)) = runs.last_mut() {
                let row = offset.since(*from);
                let place = usize::try_from(row / 4).unwrap_or(usize::MAX);
                digits.resize(digits.len().max(place + 1), 0);
                if let Some(digit) = digits.get_mut(place) {
                    *digit |= 1 << (row % 4);
                }
            }
        }
        let text = |digit: u8| char::from_digit(digit.into(), 16).unwrap_or('0');
        let run = |(from, digits): (Offset, Vec<u8>)| StoredRun {
            from: from.get(),
            rows: digits.into_iter().map(text).collect(),
        };
        runs.into_iter().map(run).collect()
    }

    /// Reads the stored form. `None` when it is none.
    pub fn decode(runs: &[StoredRun]) -> Option<Self> {
        let mut rows = BTreeSet::new();
        for run in runs {
            let mut offset = Offset::new(run.from).ok()?;
            for digit in run.rows.chars() {
                let bits = digit.to_digit(16)?;
                for bit in 0..4 {
                    if bits & (1 << bit) != 0 {
                        rows.insert(offset);
                    }
                    offset = offset.plus(1);
                }
            }
        }
        Some(Self(rows))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_stored_is_read(near in prop::collection::btree_set(0_i64..2_000, 0..200), far: u32) {
            let offset = |offset| Offset::new(offset).unwrap();
            let mut passed = PassedOver::default();
            for row in near.iter().copied().chain([2_000 + i64::from(far) * 1_000]) {
                passed.add(offset(row));
            }
            prop_assert_eq!(PassedOver::decode(&passed.encode()), Some(passed.clone()));
            let left = passed.from(offset(1_000));
            prop_assert!((0..2_000).all(|row| left.has(offset(row)) == (row >= 1_000 && near.contains(&row))));
        }
    }

    #[test]
    fn each_second_of_many_rows_stays_small_and_nonsense_is_refused() {
        let mut passed = PassedOver::default();
        (0..1_000_000).step_by(2).for_each(|row| passed.add(Offset::new(row).unwrap()));
        let bytes: usize = passed.encode().iter().map(|run| run.rows.len() + 30).sum();
        assert!(bytes < 300_000, "{bytes}");
        let run = |from, rows: &str| [StoredRun { from, rows: rows.to_owned() }];
        assert_eq!(PassedOver::decode(&run(-1, "1")), None);
        assert_eq!(PassedOver::decode(&run(0, "x")), None);
    }
}
