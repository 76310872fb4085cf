//! The newest batches of a log in memory, bounded in bytes, so that those who read along never touch the disk.
//!
//! A memory aid: what is not here is in the files.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::batch::Batch;
use protocol::id::Offset;

/// Most batches that one read takes from the tail: bounds the time that the lock is held.
const BATCHES_PER_READ_MAX: usize = 1024;

/// Shared by the writer and the readers of one log.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Guards the line of batches and their sum; held for a push or for one read, never while anything waits.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Without a gap, in order.
    batches: VecDeque<Batch>,
    bytes: usize,
}

impl Tail {
    /// Adds batches that follow those that are here, and lets go of the oldest beyond `bytes_max`.
    pub(crate) fn push(&self, batches: impl Iterator<Item = Batch>, bytes_max: usize) {
        let mut held = self.held.lock();
        for batch in batches {
            held.bytes += batch.bytes().len();
            held.batches.push_back(batch);
            while held.bytes > bytes_max {
                let Some(oldest) = held.batches.pop_front() else { break };
                held.bytes -= oldest.bytes().len();
            }
        }
    }

    /// Lets go of everything, and of the memory of the line itself.
    pub(crate) fn clear(&self) {
        *self.held.lock() = Held::default();
    }

    /// Batches from the one that holds `offset` up to `..end`: at least one, else about `bytes_max` at most. `None`
    /// when the batch is not here.
    pub(crate) fn read(&self, offset: Offset, end: Offset, bytes_max: usize) -> Option<Vec<Bytes>> {
        let held = self.held.lock();
        let first = held.batches.partition_point(|batch| batch.header().end_offset() <= offset);
        held.batches.get(first).filter(|batch| batch.header().base_offset <= offset)?;
        let mut bytes = 0;
        let mut found = Vec::new();
        for batch in held.batches.range(first..).take(BATCHES_PER_READ_MAX) {
            bytes += batch.bytes().len();
            let fits = bytes <= bytes_max || found.is_empty();
            if !fits || batch.header().base_offset >= end {
                break;
            }
            found.push(batch.bytes().clone());
        }
        (!found.is_empty()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::batch::{Builder, Stamp};
    use protocol::compression::Compression;
    use protocol::id::{LeaderEpoch, Timestamp};
    use protocol::record::Record;

    fn batch(offset: u64, records: usize) -> Batch {
        let mut builder = Builder::new(Compression::None);
        for _ in 0..records {
            builder.push(&Record::new("k", "v"), Timestamp(1));
        }
        let base_offset = Offset::ZERO.plus(offset);
        builder.finish(None).stamp(Stamp {
            base_offset,
            leader_epoch: LeaderEpoch(0),
            append_time: None,
        })
    }

    fn at(offset: u64) -> Offset {
        Offset::ZERO.plus(offset)
    }

    #[test]
    fn the_oldest_go_first_and_the_end_is_never_passed() {
        let tail = Tail::default();
        let one = batch(0, 2).bytes().len();
        tail.push((0..10).map(|number| batch(number * 2, 2)), 4 * one);
        assert_eq!(tail.read(at(11), at(20), 9999), None);
        assert_eq!(tail.read(at(12), at(20), 9999).unwrap().len(), 4);
        assert_eq!(tail.read(at(13), at(20), 0).unwrap(), [batch(12, 2).into_bytes()]);
        assert_eq!(tail.read(at(13), at(16), 9999).unwrap().len(), 2);
        assert_eq!(tail.read(at(20), at(20), 9999), None);
        tail.clear();
        assert_eq!(tail.read(at(18), at(20), 9999), None);
    }

    #[test]
    fn a_batch_larger_than_the_bound_is_not_kept() {
        let tail = Tail::default();
        tail.push([batch(0, 5)].into_iter(), 10);
        assert_eq!(tail.read(at(0), at(5), 9999), None);
        assert_eq!(tail.held.lock().bytes, 0);
    }
}
