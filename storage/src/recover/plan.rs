//! What is to be scanned, from where on, and what is known of it before: from the checkpoint, the indexes, the mark.

use std::sync::Arc;

use protocol::id::{Offset, Timestamp};

use super::Recovery;
use crate::error::StorageError;
use crate::index::{Index, NO_TIME, Place};
use crate::report::Note;
use crate::segment::{Segment, Summary};

/// A segment that is to be scanned.
pub(super) struct Plan {
    pub(super) segment: Arc<Segment>,
    /// Known to be sound up to here.
    pub(super) from: Place,
    pub(super) time_max: Timestamp,
    /// The index up to `from`.
    pub(super) index: Index,
    /// Bytes that are known to have been synced.
    pub(super) sealed_bytes: u64,
    /// The offset that follows those that are known to have been given away.
    pub(super) sealed_end: Offset,
    /// Where the next segment begins; `None` for the last one.
    pub(super) next_base: Option<Offset>,
}

impl Recovery<'_> {
    /// Plans to scan whole segments. An index is only ever written of what is synced, and in the order of the
    /// segments: so it tells what of its segment was synced, and that those in front of it were, to their ends.
    pub(super) fn plans(&self, bases: &[Offset]) -> Result<Vec<Plan>, StorageError> {
        let mut plans = Vec::with_capacity(bases.len());
        let mut next_base = None;
        let mut is_sealed = false;
        for base in bases.iter().rev().copied() {
            let segment = self.segment(base);
            let indexed = segment.load_index(self.disk)?.map_or(0, |index| index.covered());
            let sealed_end = next_base.filter(|_| is_sealed).unwrap_or(base);
            plans.push(Plan {
                from: Place { offset: base, position: 0 },
                time_max: NO_TIME,
                index: Index::new(base, self.options.index_interval_bytes),
                sealed_bytes: if is_sealed { u64::MAX } else { indexed },
                sealed_end,
                next_base,
                segment,
            });
            is_sealed |= indexed > 0;
            next_base = Some(base);
        }
        plans.reverse();
        Ok(plans)
    }

    /// Plans to scan what lies behind the recovery point, or all of the segment where its index or its bytes up to
    /// there are not what they were.
    pub(super) fn plan_active(
        &mut self,
        active: &Summary,
        bytes: u64,
        next: Option<&Plan>,
    ) -> Result<Plan, StorageError> {
        let segment = self.segment(active.base);
        let index = segment.load_index(self.disk)?;
        let indexed = index.as_ref().map_or(0, Index::covered);
        let is_sealed = next.is_some_and(|next| next.sealed_bytes > 0);
        let mut plan = Plan {
            from: Place { offset: active.base, position: 0 },
            time_max: NO_TIME,
            index: Index::new(active.base, self.options.index_interval_bytes),
            sealed_bytes: if is_sealed { u64::MAX } else { active.bytes.max(indexed) },
            sealed_end: active.end,
            next_base: next.map(|next| next.segment.base),
            segment,
        };
        if active.bytes == 0 || bytes < active.bytes {
            return Ok(plan);
        }
        match index.filter(|index| index.covered() >= active.bytes) {
            Some(mut index) => {
                index.cut(active.bytes);
                plan.index = index;
                plan.from = Place { offset: active.end, position: active.bytes };
                plan.time_max = active.time_max;
            }
            None => self.note(Note::IndexRebuilt { file: plan.segment.index_path() }),
        }
        Ok(plan)
    }

    /// The plan with what the mark says of its segment.
    pub(super) fn marked(&self, plan: Plan) -> Plan {
        let base = plan.segment.base;
        match self.mark {
            Some(mark) if mark.base == base => Plan {
                sealed_bytes: plan.sealed_bytes.max(mark.bytes),
                sealed_end: plan.sealed_end.max(mark.end),
                ..plan
            },
            Some(mark) if mark.base > base => Plan {
                sealed_bytes: u64::MAX,
                // The segment of the mark may be gone, and what was in it.
                sealed_end: if plan.next_base.is_none() { mark.end } else { plan.sealed_end },
                ..plan
            },
            Some(_) | None => plan,
        }
    }
}
