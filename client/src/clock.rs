//! The client's one look at the clock on the wall, for the timestamps of records that have none.

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::id::Timestamp;

/// The time now; a clock that stands before 1970 counts as 1970.
#[expect(clippy::disallowed_methods, reason = "this file is the client's clock")]
pub(crate) fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}
