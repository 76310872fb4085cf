//! Use case: where is the earliest record, the end, the first record at a time?

use protocol::limits::ENTRIES_PER_REQUEST_MAX;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{Position, PositionEntry, PositionFound};
use storage::View;

use crate::error::{self, Place};
use crate::topics::catalog::Catalog;
use crate::world::Threads;

/// Finds each position, by itself, in order. May be cancelled.
pub(crate) async fn find(
    catalog: &Catalog,
    threads: Threads,
    entries: Vec<PositionEntry>,
) -> Result<Vec<Result<PositionFound, Refusal>>, Refusal> {
    if entries.len() > ENTRIES_PER_REQUEST_MAX {
        return Err(Refusal::new(
            Outcome::InvalidRequest,
            format!(
                "{} entries in one request; {ENTRIES_PER_REQUEST_MAX} are allowed",
                entries.len()
            ),
        ));
    }
    let mut found = Vec::with_capacity(entries.len());
    for entry in entries {
        found.push(find_one(catalog, threads, entry).await);
    }
    Ok(found)
}

async fn find_one(
    catalog: &Catalog,
    threads: Threads,
    entry: PositionEntry,
) -> Result<PositionFound, Refusal> {
    let handle = catalog.partition(&entry.topic, entry.partition)?;
    let view = handle.view();
    let at = |offset| PositionFound { offset, timestamp: None };
    match entry.at {
        Position::Earliest => Ok(at(view.start())),
        Position::Latest => Ok(at(view.end())),
        Position::Offset(offset) if offset >= view.start() && offset <= view.end() => {
            Ok(at(offset))
        }
        Position::Offset(offset) => {
            let (start, end) = (view.start(), view.end());
            let cause = storage::ReadError::OutOfRange { offset, start, end };
            Err(error::read(handle.place(), &cause))
        }
        Position::Time(time) => by_time(threads, handle.place(), view, time).await,
    }
}

/// Looking for a time reads files: not on a thread that others need.
async fn by_time(
    threads: Threads,
    place: &Place,
    view: View,
    time: protocol::id::Timestamp,
) -> Result<PositionFound, Refusal> {
    let end = view.end();
    match threads.blocking(move || view.find_time(time)).await {
        Ok(Ok(Some(found))) => {
            Ok(PositionFound { offset: found.offset, timestamp: Some(found.timestamp) })
        }
        Ok(Ok(None)) => Ok(PositionFound { offset: end, timestamp: None }),
        Ok(Err(cause)) => Err(error::read(place, &cause)),
        Err(_) => Err(Refusal::new(
            Outcome::Internal,
            format!("{place}: looking for a time ended in a panic"),
        )),
    }
}
