//! What a batch costs on its way through the broker, counted: writes, syncs, allocations, bytes allocated. **The numbers
//! here may only fall.** Whoever needs to raise one says in the commit what is bought with it.
//!
//! The broker runs on one thread on the real disk, so that a count is the same in every run. Everything is counted of the
//! whole process; therefore all counts stand in one test.

#![expect(clippy::unwrap_used, reason = "a test may fail")]
#![expect(clippy::print_stdout, reason = "`-- --nocapture` shows the figures")]

use std::alloc::System;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker::config::DurabilityMode;
use broker::{Broker, Config, Service, World};
use futures_util::future::join_all;
use protocol::batch::{Batch, Builder};
use protocol::compression::Compression;
use protocol::id::{Offset, Partition, Timestamp};
use protocol::record::Record;
use protocol::verbs::{FetchEntry, FetchRequest, ProduceEntry, ProduceRequest, TopicSpec};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use storage::StorageError;

#[path = "../broker/tests/broker/watched.rs"]
mod watched;

use watched::{WatchedDisk, Watcher};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Batches that a turn takes together, in every count below.
const BATCHES: u64 = 20;

/// Allocations for one batch from submission to answer, all in all.
const ALLOCATIONS_PER_BATCH_MAX: u64 = 6;
/// Bytes allocated for one batch beside its own: far less than a copy of it.
const BYTES_PER_BATCH_MAX: u64 = 640;
/// Allocations for one fetch of all batches.
const ALLOCATIONS_PER_FETCH_MAX: u64 = 6;
/// Bytes allocated for that fetch.
const BYTES_PER_FETCH_MAX: u64 = 640;

/// What is counted of the real disk.
#[derive(Debug, Default)]
struct Counts {
    /// Of segments.
    writes: AtomicU64,
    /// Of the small files beside them.
    notes: AtomicU64,
    syncs: AtomicU64,
}

impl Watcher for Counts {
    fn writes(&self, file: &Path) {
        let is_segment = file.extension().is_some_and(|extension| extension == "log");
        let count = if is_segment { &self.writes } else { &self.notes };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn syncs(&self, _: &Path) -> Result<(), StorageError> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn syncs_folder(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }
}

/// A batch of `records` records, about 64 KiB in all however many they are.
fn batch(records: usize) -> Batch {
    let mut builder = Builder::new(Compression::None);
    let value = vec![7; 65_536 / records];
    (0..records).for_each(|_| builder.push(&Record::of_value(value.clone()), Timestamp(1)));
    builder.finish(None)
}

fn request(topic: &str, partition: u64, batch: Batch) -> ProduceRequest {
    let partition = Partition::new(i64::try_from(partition).unwrap()).unwrap();
    let entry = ProduceEntry { topic: topic.parse().unwrap(), partition, batch };
    ProduceRequest { entries: vec![entry] }
}

/// What one turn cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    writes: u64,
    syncs: u64,
    allocations: u64,
    bytes: u64,
}

/// Submits all, then awaits all answers.
async fn turn(service: &Service, disk: &Counts, requests: Vec<ProduceRequest>) -> Cost {
    let counts = || (disk.writes.load(Ordering::Relaxed), disk.syncs.load(Ordering::Relaxed));
    let (writes, syncs) = counts();
    let region = Region::new(ALLOCATOR);
    let mut submitted = Vec::with_capacity(requests.len());
    for request in requests {
        submitted.push(service.produce(request).await);
    }
    let replies = join_all(submitted.into_iter().map(|submitted| submitted.reply())).await;
    let change = region.change();
    assert!(replies.iter().all(|reply| reply.entries.iter().all(Result::is_ok)));
    let (writes_after, syncs_after) = counts();
    let notes = disk.notes.swap(0, Ordering::Relaxed);
    // How far a log is synced is written down for each 256 KiB.
    assert!(notes <= BATCHES * 65_536 / (256 << 10), "{notes} writes beside the segments");
    Cost {
        writes: writes_after - writes,
        syncs: syncs_after - syncs,
        allocations: change.allocations as u64,
        bytes: change.bytes_allocated as u64,
    }
}

async fn turns(service: &Service, disk: &Counts) {
    let requests = |topic: &str, partitions: u64, records: usize| -> Vec<_> {
        // Each has bytes of its own, as when it comes over a door: it is stamped in place only if nobody else holds it.
        (0..BATCHES).map(|n| request(topic, n % partitions, batch(records))).collect()
    };
    // The first turns make what later ones use again.
    for topic in ["synced", "written"] {
        for _ in 0..3 {
            turn(service, disk, requests(topic, 4, 1_000)).await;
        }
    }
    for partitions in [1, 4] {
        let synced = turn(service, disk, requests("synced", partitions, 1)).await;
        assert_eq!((synced.writes, synced.syncs), (partitions, partitions), "{synced:?}");
        let written = turn(service, disk, requests("written", partitions, 1)).await;
        assert_eq!((written.writes, written.syncs), (partitions, 0), "{written:?}");
    }
    let one = turn(service, disk, requests("synced", 1, 1)).await;
    let thousand = turn(service, disk, requests("synced", 1, 1_000)).await;
    assert_eq!(
        one.allocations, thousand.allocations,
        "no allocation a record: {one:?} {thousand:?}"
    );
    let (allocations, bytes) = (one.allocations.div_ceil(BATCHES), one.bytes.div_ceil(BATCHES));
    println!("a batch: {allocations} allocations, {bytes} bytes");
    assert!(allocations <= ALLOCATIONS_PER_BATCH_MAX, "{allocations} allocations a batch");
    assert!(bytes <= BYTES_PER_BATCH_MAX, "{bytes} bytes allocated for a batch");
}

async fn fetches(service: &Service) {
    let request = || FetchRequest {
        entries: vec![FetchEntry {
            topic: "read".parse().unwrap(),
            partition: Partition::ZERO,
            offset: Offset::ZERO,
            bytes_max: 0,
        }],
        bytes_min: 0,
        wait_ms_max: 0,
        bytes_max: 0,
    };
    service.fetch(request()).await.unwrap();
    let region = Region::new(ALLOCATOR);
    let answered = service.fetch(request()).await.unwrap();
    let change = region.change();
    assert!(answered.reply.entries[0].as_ref().unwrap().bytes() > 300_000);
    let (allocations, bytes) = (change.allocations as u64, change.bytes_allocated as u64);
    println!("a fetch: {allocations} allocations, {bytes} bytes");
    assert!(allocations <= ALLOCATIONS_PER_FETCH_MAX, "{allocations} allocations");
    assert!(bytes <= BYTES_PER_FETCH_MAX, "{bytes} bytes allocated: records were copied");
}

#[tokio::test(start_paused = true)]
async fn a_batch_costs_what_it_may_cost() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Counts::default());
    let world = World::simulated(Arc::new(WatchedDisk(Arc::clone(&disk))), Timestamp(1_000), 1);
    let config = Config {
        data_dir: folder.path().to_owned(),
        durability: DurabilityMode::Os,
        shards: 1,
        ..Config::default()
    };
    let broker = Broker::open_in(world, config).await.unwrap();
    let service = broker.service().clone();
    for (name, settings) in
        [("synced", vec![("flush.messages", "1")]), ("written", vec![]), ("read", vec![])]
    {
        let settings = settings.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let spec = TopicSpec { name: name.parse().unwrap(), partitions: Some(4), settings };
        service.create_topic(spec).await.unwrap();
    }
    turns(&service, &disk).await;
    for _ in 0..5 {
        turn(&service, &disk, vec![request("read", 0, batch(1_000))]).await;
    }
    fetches(&service).await;
    broker.close().await;
}
