//! Use case: append batches. Check, admit, route; then await every answer.
//!
//! Two phases, because order matters to idempotent producers: [`submit`] gives every batch its place in line, the
//! [`Submitted`] that it returns is awaited for the answers. Requests submitted one after the other are appended in
//! that order.

use std::cell::RefCell;

use futures_util::future::join_all;
use protocol::batch::Batch;
use protocol::id::Timestamp;
use protocol::limits::ENTRIES_PER_REQUEST_MAX;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{Appended, ProduceEntry, ProduceReply, ProduceRequest};

use crate::admission::{Admission, WriteRequest};
use crate::caller::Caller;
use crate::error::{self, Place};
use crate::metrics::Metrics;
use crate::shard::pending::Answer;
use crate::time::Clock;
use crate::topics::catalog::Catalog;
use crate::topics::settings::{TimestampType, TopicSettings};

/// A produce request whose batches all have their place in line.
#[derive(Debug)]
pub struct Submitted {
    entries: Vec<Result<Answer, Refusal>>,
}

impl Submitted {
    /// Waits until every batch is as durable as its topic asks, or refused. May be cancelled: the appends go on.
    pub async fn reply(self) -> ProduceReply {
        let answers = self.entries.into_iter().map(|entry| async {
            match entry {
                Ok(answer) => answer.wait().await,
                Err(refusal) => Err(refusal),
            }
        });
        let entries: Vec<Result<Appended, Refusal>> = join_all(answers).await;
        ProduceReply { entries }
    }
}

/// What this use case stands on.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) admission: &'a Admission,
    pub(crate) metrics: &'a Metrics,
    pub(crate) clock: &'a Clock,
    pub(crate) caller: Caller,
}

/// Puts every batch of the request in line, in order. Waits for room when too many bytes are under way.
///
/// May be cancelled: batches that had their place by then are appended, the others are not.
pub(crate) async fn submit(ground: Ground<'_>, request: ProduceRequest) -> Submitted {
    if request.entries.len() > ENTRIES_PER_REQUEST_MAX {
        let refusal = Refusal::new(
            Outcome::InvalidRequest,
            format!(
                "{} entries in one request; {ENTRIES_PER_REQUEST_MAX} are allowed",
                request.entries.len()
            ),
        );
        return Submitted {
            entries: request.entries.iter().map(|_| Err(refusal.clone())).collect(),
        };
    }
    let bytes = request.entries.iter().map(|entry| entry.batch.bytes().len()).sum();
    let mut admitted = ground.admission.request(bytes);
    let mut entries = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        let submitted = submit_entry(&ground, &mut admitted, entry).await;
        if submitted.is_err() {
            ground.metrics.batches_refused.inc();
        }
        entries.push(submitted);
    }
    Submitted { entries }
}

async fn submit_entry(
    ground: &Ground<'_>,
    admitted: &mut WriteRequest<'_>,
    entry: ProduceEntry,
) -> Result<Answer, Refusal> {
    let ProduceEntry { topic, partition, batch } = entry;
    ground.caller.check(&topic)?;
    let known = ground.catalog.topic(&topic)?;
    let handle = known.partition(partition)?;
    check(handle.place(), &batch, &known.settings, ground.clock.wall())?;
    let permit = admitted.write(batch.bytes().len()).await?;
    handle.append(batch, permit).await
}

thread_local! {
    /// Compressed batches are unfolded here to be checked. Given back to the allocator when one was large.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A thread keeps at most so much scratch memory between two batches.
const SCRATCH_BYTES_KEPT: usize = 1024 * 1024;

/// Every rule for a batch from a producer that needs no knowledge of the log.
fn check(
    place: &Place,
    batch: &Batch,
    settings: &TopicSettings,
    now: Timestamp,
) -> Result<(), Refusal> {
    let header = batch.header();
    if header.total_bytes > settings.batch_bytes_max {
        return Err(Refusal::new(
            Outcome::BatchTooLarge,
            format!(
                "{place}: the batch has {} bytes; max.message.bytes allows {}",
                header.total_bytes, settings.batch_bytes_max
            ),
        ));
    }
    let reserved = if header.control {
        Some("control batches are written by the broker alone")
    } else if header.transactional {
        Some("transactions are not available")
    } else if header.append_time || header.delete_horizon {
        Some("append time and delete horizon are written by the broker alone")
    } else {
        None
    };
    if let Some(reason) = reserved {
        return Err(Refusal::new(Outcome::InvalidRecord, format!("{place}: {reason}")));
    }
    if settings.timestamp_type == TimestampType::CreateTime {
        check_time(place, header.max_timestamp, settings, now)?;
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let checked = batch.check_records(settings.batch_bytes_max, scratch);
        scratch.clear();
        scratch.shrink_to(SCRATCH_BYTES_KEPT);
        checked.map_err(|cause| error::batch(place, &cause))
    })
}

/// One record from the year 2099 must not move time for everybody who reads it.
fn check_time(
    place: &Place,
    newest: Timestamp,
    settings: &TopicSettings,
    now: Timestamp,
) -> Result<(), Refusal> {
    if newest == Timestamp::NONE {
        return Ok(());
    }
    let ahead = u64::try_from(newest.0.saturating_sub(now.0)).unwrap_or(0);
    let behind = u64::try_from(now.0.saturating_sub(newest.0)).unwrap_or(0);
    let broken = if ahead > settings.timestamp_after_ms_max {
        Some((ahead, "ahead of", "message.timestamp.after.max.ms", settings.timestamp_after_ms_max))
    } else if behind > settings.timestamp_before_ms_max {
        Some((
            behind,
            "behind",
            "message.timestamp.before.max.ms",
            settings.timestamp_before_ms_max,
        ))
    } else {
        None
    };
    match broken {
        None => Ok(()),
        Some((by, direction, setting, max)) => Err(Refusal::new(
            Outcome::InvalidTimestamp,
            format!(
                "{place}: the newest timestamp {newest} is {by} ms {direction} the broker's clock; {setting} allows {max}"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use protocol::batch::Builder;
    use protocol::compression::Compression;
    use protocol::id::Partition;
    use protocol::record::Record;

    use super::*;

    fn checked(time: i64, change: impl FnOnce(&mut TopicSettings)) -> Result<(), Outcome> {
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record::new("key", vec![7; 2000]), Timestamp(time));
        let mut settings = TopicSettings::default();
        change(&mut settings);
        let place = Place { topic: "t".parse().unwrap(), partition: Partition::ZERO };
        check(&place, &builder.finish(None), &settings, Timestamp(1_000_000_000))
            .map_err(|refusal| refusal.outcome)
    }

    #[test]
    fn size_and_time_are_bounded_by_the_topic() {
        assert_eq!(checked(1_000_000_000, |_| {}), Ok(()));
        assert_eq!(
            checked(0, |settings| settings.batch_bytes_max = 1024),
            Err(Outcome::BatchTooLarge)
        );
        assert_eq!(checked(1_003_600_001, |_| {}), Err(Outcome::InvalidTimestamp));
        assert_eq!(checked(i64::MAX, |_| {}), Err(Outcome::InvalidTimestamp));
        assert_eq!(checked(i64::MIN, |_| {}), Ok(()));
        assert_eq!(
            checked(5, |settings| settings.timestamp_before_ms_max = 10),
            Err(Outcome::InvalidTimestamp)
        );
        assert_eq!(
            checked(i64::MAX, |settings| settings.timestamp_type = TimestampType::LogAppendTime),
            Ok(())
        );
    }
}
