//! A record as it is shown: what the ways of writing a record need, borrowed from wherever it lies.

use protocol::id::{Offset, Partition, Timestamp};
use protocol::record::Header;

/// A record with its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// The topic it lies in.
    pub(crate) topic: &'a str,
    /// The partition it lies in.
    pub(crate) partition: Partition,
    /// Its place in the partition.
    pub(crate) offset: Offset,
    /// Its time in epoch milliseconds, -1 for none.
    pub(crate) timestamp: Timestamp,
    /// The key, or null.
    pub(crate) key: Option<&'a [u8]>,
    /// The value, or null.
    pub(crate) value: Option<&'a [u8]>,
    /// The headers, in order.
    pub(crate) headers: &'a [Header],
}
