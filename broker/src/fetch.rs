//! Use case: read from many partitions within bytes and time.
//!
//! When a fetch is answered, in this order:
//!
//! | case | condition | answer |
//! |---|---|---|
//! | a | a partition refuses (unknown, out of range, damaged) | at once |
//! | b | `bytes_min` or more can be read | at once |
//! | - | less was read, but there is more, and the limits leave room for it | read on |
//! | b' | less was read, there is more, and a limit keeps it back: waiting brings no more | at once |
//! | c | `wait_ms_max` has passed since the request came | with what there is, perhaps nothing |
//! | d | the broker is stopping | with what there is; a refusal if that is nothing |
//! | - | else | wait for a newer view of any of the partitions, then look again |
//!
//! Newest records come from memory, without a system call. Older ones are read from files on a thread that may block.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{self, Either};
use futures_util::stream::{FuturesUnordered, StreamExt};
use protocol::batch::Header;
use protocol::id::Offset;
use protocol::limits::{ENTRIES_PER_REQUEST_MAX, FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX};
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{FetchEntry, FetchReply, FetchRequest, Fetched};
use storage::{Read, ReadError, View};
use tokio::time::Instant;

use crate::admission::{Admission, Permit};
use crate::error::{self, Place};
use crate::metrics::Metrics;
use crate::shard::handle::PartitionHandle;
use crate::shutdown::Drain;
use crate::topics::catalog::Catalog;
use crate::world::Threads;

/// An answer, and the permit to hold its bytes until they are on their way.
#[derive(Debug)]
pub struct Answered {
    /// What each partition has.
    pub reply: FetchReply,
    /// Dropped when the bytes have left.
    pub permit: Permit,
}

/// What this use case stands on.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) admission: &'a Admission,
    pub(crate) metrics: &'a Metrics,
    pub(crate) drain: &'a Drain,
    pub(crate) threads: Threads,
}

/// Answers a fetch; see the table above. May be cancelled at any time.
pub(crate) async fn fetch(ground: Ground<'_>, request: FetchRequest) -> Result<Answered, Refusal> {
    if request.entries.len() > ENTRIES_PER_REQUEST_MAX {
        return Err(Refusal::new(
            Outcome::InvalidRequest,
            format!(
                "{} entries in one request; {ENTRIES_PER_REQUEST_MAX} are allowed",
                request.entries.len()
            ),
        ));
    }
    let wait = Duration::from_millis(request.wait_ms_max.min(FETCH_WAIT_MS_MAX).into());
    let deadline = Instant::now() + wait;
    let bytes_wanted = match request.bytes_max as usize {
        0 => FETCH_BYTES_MAX,
        bytes => bytes.min(FETCH_BYTES_MAX),
    };
    // A reader that wants more than it may get at once must not wait for it.
    let bytes_min = (request.bytes_min as usize).clamp(1, bytes_wanted);
    loop {
        let (bytes_max, mut permit) = ground.admission.read(bytes_wanted);
        let mut places = resolve(ground.catalog, &request.entries);
        let bytes_min = bytes_min.min(bytes_max);
        let Gathered { entries, bytes, is_cut } =
            gather(&ground, &mut places, bytes_min, bytes_max).await;
        let is_refused = entries.iter().any(Result::is_err);
        let is_enough = bytes >= bytes_min || is_cut;
        let is_leaving = ground.drain.is_leaving();
        if is_leaving && bytes == 0 && !is_refused {
            // Not an empty answer: a reader that asks again at once would spin until the broker is gone.
            return Err(error::stopping());
        }
        if is_refused || is_enough || is_leaving || Instant::now() >= deadline {
            ground.metrics.bytes_fetched.inc_by(bytes as u64);
            permit.shrink_to(bytes);
            return Ok(Answered { reply: FetchReply { entries }, permit });
        }
        // The bytes that were too few are given back while we wait.
        drop((permit, entries));
        wait_for_news(places, deadline, ground.drain).await;
    }
}

/// A place to read from, found.
struct Found {
    entry: FetchEntry,
    handle: PartitionHandle,
    /// Taken before the view is read: a view published later is news.
    news: tokio::sync::watch::Receiver<View>,
}

fn resolve(catalog: &Catalog, entries: &[FetchEntry]) -> Vec<Result<Found, Refusal>> {
    let found = entries.iter().map(|entry| {
        let handle = catalog.partition(&entry.topic, entry.partition)?;
        let news = handle.watch();
        Ok(Found { entry: entry.clone(), handle, news })
    });
    found.collect()
}

/// What all places have together.
struct Gathered {
    entries: Vec<Result<Fetched, Refusal>>,
    bytes: usize,
    /// True when a limit has kept back records that are there.
    is_cut: bool,
}

/// Reads from every place in turn, as far as the bytes go.
async fn gather(
    ground: &Ground<'_>,
    places: &mut [Result<Found, Refusal>],
    bytes_min: usize,
    bytes_max: usize,
) -> Gathered {
    let entries = Vec::with_capacity(places.len());
    let mut gathered = Gathered { entries, bytes: 0, is_cut: false };
    let mut left = bytes_max;
    for place in places {
        let room = Room {
            wanted: bytes_min.saturating_sub(gathered.bytes),
            left,
            is_untouched: gathered.bytes == 0,
        };
        let mut cut = Cut::None;
        let fetched = match place {
            Ok(found) => read(ground, found, &room, &mut cut).await,
            Err(refusal) => Err(refusal.clone()),
        };
        let bytes = fetched.as_ref().map_or(0, Fetched::bytes);
        gathered.is_cut |= cut != Cut::None;
        gathered.bytes += bytes;
        // A batch did not fit: the answer is full. Else each of ten thousand entries might read one in vain.
        left = if cut == Cut::Full { 0 } else { left.saturating_sub(bytes) };
        gathered.entries.push(fetched);
    }
    gathered
}

/// What has kept back records of one place that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    None,
    /// The limit of the place, or something wrong behind what was read.
    Place,
    /// The limit of the answer.
    Full,
}

/// What one place may add to an answer.
struct Room {
    /// Bytes that the answer still needs to be enough.
    wanted: usize,
    /// Bytes that it may still grow by.
    left: usize,
    /// True while nothing is in the answer.
    is_untouched: bool,
}

/// Reads from one place, and reads on while the answer is not enough: one read ends where a segment ends, or after so
/// many batches. Only the first place that has anything may pass the limit, by one large batch, so that such a batch can
/// never block its reader.
async fn read(
    ground: &Ground<'_>,
    found: &mut Found,
    room: &Room,
    cut: &mut Cut,
) -> Result<Fetched, Refusal> {
    let FetchEntry { mut offset, bytes_max, .. } = found.entry;
    let view = found.news.borrow_and_update().clone();
    if found.news.has_changed().is_err() {
        // Nobody owns it any more: waiting for news of it would never end, or never begin. It is withdrawn from the
        // catalogue before its owner gives it up, so the catalogue knows why.
        let gone = ground.catalog.partition(&found.entry.topic, found.entry.partition);
        return Err(gone.err().unwrap_or_else(|| error::not_owned(found.handle.place())));
    }
    let (start, end) = (view.start(), view.end());
    let place = found.handle.place();
    if offset < start || offset > end {
        return Err(error::read(place, &ReadError::OutOfRange { offset, start, end }));
    }
    let limit = match bytes_max as usize {
        0 => room.left,
        bytes => bytes.min(room.left),
    };
    let mut fetched = Fetched { batches: Vec::new(), start, end };
    let mut bytes = 0;
    while offset < end && (bytes == 0 || bytes < room.wanted) {
        if bytes >= limit {
            *cut = Cut::Place;
            break;
        }
        let read = match view.read_tail(offset, limit - bytes) {
            Some(batches) => Ok(Read { next: end_of(batches.last()), batches }),
            None => {
                ground.metrics.fetches_from_files.inc();
                read_files(ground, place, view.clone(), offset, limit - bytes).await
            }
        };
        let Read { batches, next } = match read {
            Ok(read) => read,
            // Batches that are whole are given first; the next fetch comes upon what is wrong behind them.
            Err(_) if bytes > 0 => {
                *cut = Cut::Place;
                break;
            }
            Err(refusal) => return Err(refusal),
        };
        let more: usize = batches.iter().map(Bytes::len).sum();
        let may_pass = bytes == 0 && room.is_untouched;
        let is_full = bytes + more > room.left;
        if !may_pass && (is_full || (bytes > 0 && bytes + more > limit)) {
            *cut = if is_full { Cut::Full } else { Cut::Place };
            break;
        }
        if next <= offset {
            break;
        }
        offset = next;
        bytes += more;
        fetched.batches.extend(batches);
    }
    Ok(fetched)
}

/// The end offset of a piece that is one batch.
fn end_of(batch: Option<&Bytes>) -> Offset {
    let header = batch.and_then(|batch| Header::read(batch).ok());
    header.map_or(Offset::ZERO, |header| header.end_offset())
}

async fn read_files(
    ground: &Ground<'_>,
    place: &Place,
    view: View,
    offset: Offset,
    bytes_max: usize,
) -> Result<Read, Refusal> {
    let read = ground.threads.blocking(move || view.read(offset, bytes_max)).await;
    match read {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(cause)) => {
            if matches!(cause, ReadError::Damaged { .. }) {
                ground.metrics.damage_met.inc();
                tracing::error!(partition = %place, "{cause}");
            }
            Err(error::read(place, &cause))
        }
        Err(_) => {
            Err(Refusal::new(Outcome::Internal, format!("{place}: reading ended in a panic")))
        }
    }
}

/// Done when any of the places has a newer view, at the deadline, or when the broker is stopping.
async fn wait_for_news(places: Vec<Result<Found, Refusal>>, deadline: Instant, drain: &Drain) {
    let mut news: FuturesUnordered<_> = places
        .into_iter()
        .flatten()
        .map(|mut found| async move {
            // An error means that the partition is gone; looking again will say so.
            let _ = found.news.changed().await;
        })
        .collect();
    let any = async {
        match news.next().await {
            Some(()) => {}
            // Nothing to wait for but the deadline.
            None => future::pending().await,
        }
    };
    let any = std::pin::pin!(any);
    let leaving = std::pin::pin!(drain.leaving());
    // The deadline's error is the passing of time, which the caller measures itself.
    let _ = tokio::time::timeout_at(deadline, async {
        match future::select(any, leaving).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    })
    .await;
}
