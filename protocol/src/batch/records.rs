//! The records of a batch, one after the other.

#![warn(clippy::indexing_slicing)]

use super::error::BatchError;
use super::header::Header;
use crate::id::Timestamp;
use crate::record::{self, RecordView};

/// The records of a batch, in order. Ends after the first record that breaks a rule.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: Header,
    index: i32,
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// The records of a batch with this header, unfolded.
    pub(super) fn new(header: Header, unfolded: &'a [u8]) -> Self {
        Self { header, index: 0, rest: unfolded }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.header.record_count {
            return None;
        }
        let index = self.index;
        self.index += 1;
        let parts = match record::read(&mut self.rest) {
            Ok(parts) => parts,
            Err(cause) => {
                self.index = self.header.record_count;
                return Some(Err(BatchError::Record { index, cause }));
            }
        };
        let timestamp = if self.header.append_time {
            self.header.max_timestamp
        } else {
            // As it was subtracted, so that every time comes back, however far two of a batch lie apart.
            Timestamp(self.header.base_timestamp.0.wrapping_add(parts.deltas.timestamp))
        };
        Some(Ok(RecordView {
            offset: self.header.base_offset.plus(u64::from(parts.deltas.offset.unsigned_abs())),
            timestamp,
            key: parts.key,
            value: parts.value,
            headers: parts.headers,
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.header.record_count - self.index).unwrap_or(0);
        (0, Some(left))
    }
}
