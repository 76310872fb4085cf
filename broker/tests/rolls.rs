//! What a full segment on its way to the disk means to those who go on writing: nothing, unless its sync fails.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::batch::Builder;
use protocol::compression::Compression;
use protocol::id::{Partition, Timestamp};
use protocol::outcome::{Outcome, Refusal};
use protocol::record::Record;
use protocol::verbs::{Appended, ProduceEntry, ProduceRequest, TopicSpec};
use storage::{Access, Action, Disk, DiskFile, Entry, Lock, RealDisk, StorageError};
use thalweg_broker::config::DurabilityMode;
use thalweg_broker::{Broker, Config, Service, World};

/// The real disk, but for the syncs of first segments: they wait while they are held up, and then fail if told to.
#[derive(Debug, Default)]
struct SlowDisk {
    is_held_up: AtomicBool,
    fails: AtomicBool,
}

#[derive(Debug)]
struct SlowFile {
    inner: Arc<dyn DiskFile>,
    disk: Arc<SlowDisk>,
    is_first: bool,
    path: std::path::PathBuf,
}

/// A handle to the disk that files can share.
#[derive(Clone, Debug)]
struct Handle(Arc<SlowDisk>);

impl Disk for Handle {
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn DiskFile>, StorageError> {
        let is_first = path.ends_with("00000000000000000000.log")
            && path.components().any(|part| part.as_os_str() == "topics");
        let (disk, path_buf) = (Arc::clone(&self.0), path.to_owned());
        let inner = RealDisk.open(path, access)?;
        Ok(Arc::new(SlowFile { inner, disk, is_first, path: path_buf }))
    }
    fn list(&self, folder: &Path) -> Result<Vec<Entry>, StorageError> {
        RealDisk.list(folder)
    }
    fn create_dir_all(&self, folder: &Path) -> Result<(), StorageError> {
        RealDisk.create_dir_all(folder)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        RealDisk.remove(path)
    }
    fn remove_dir_all(&self, folder: &Path) -> Result<(), StorageError> {
        RealDisk.remove_dir_all(folder)
    }
    fn sync_dir(&self, folder: &Path) -> Result<(), StorageError> {
        RealDisk.sync_dir(folder)
    }
    fn lock(&self, path: &Path) -> Result<Lock, StorageError> {
        RealDisk.lock(path)
    }
}

impl DiskFile for SlowFile {
    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> Result<(), StorageError> {
        self.inner.write_at(slices, position)
    }
    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, StorageError> {
        self.inner.read_at(buffer, position)
    }
    fn sync_data(&self) -> Result<(), StorageError> {
        while self.is_first && self.disk.is_held_up.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        if self.is_first && self.disk.fails.load(Ordering::Acquire) {
            let error = std::io::Error::from_raw_os_error(5);
            return Err(StorageError::new(Action::Sync, &self.path, None, &error));
        }
        self.inner.sync_data()
    }
    fn set_len(&self, bytes: u64) -> Result<(), StorageError> {
        self.inner.set_len(bytes)
    }
    fn len(&self) -> Result<u64, StorageError> {
        self.inner.len()
    }
    fn forget_cached(&self) {
        self.inner.forget_cached();
    }
}

async fn produce(service: &Service) -> Result<Appended, Refusal> {
    let mut builder = Builder::new(Compression::None);
    builder.push(&Record::of_value(vec![7; 100_000]), Timestamp(1));
    let entry = ProduceEntry {
        topic: "t".parse().unwrap(),
        partition: Partition::ZERO,
        batch: builder.finish(None),
    };
    let submitted = service.produce(ProduceRequest { entries: vec![entry] }).await;
    submitted.reply().await.entries.remove(0)
}

async fn open(disk: &Arc<SlowDisk>, folder: &Path) -> Broker {
    let config = Config {
        data_dir: folder.to_owned(),
        durability: DurabilityMode::Os,
        shards: 1,
        ..Config::default()
    };
    let disk = Arc::new(Handle(Arc::clone(disk)));
    let broker = Broker::open_in(World { disk, ..World::real() }, config).await.unwrap();
    let settings = [("segment.bytes".to_owned(), SEGMENT_BYTES.to_string())].into();
    let spec = TopicSpec { name: "t".parse().unwrap(), partitions: Some(1), settings };
    broker.service().create_topic(spec).await.unwrap();
    broker
}

const SEGMENT_BYTES: u64 = 1 << 20;

fn syncs(service: &Service) -> u64 {
    let metrics = service.render_metrics();
    let syncs = metrics.lines().find_map(|line| line.strip_prefix("thalweg_syncs_total ")).unwrap();
    syncs.parse().unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_segment_on_its_way_to_the_disk_holds_up_nobody_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(SlowDisk::default());
    let broker = open(&disk, folder.path()).await;
    disk.is_held_up.store(true, Ordering::Release);
    // Two more segments, while the first waits for its sync.
    for _ in 0..25 {
        produce(broker.service()).await.unwrap();
    }
    assert_eq!(syncs(broker.service()), 0);
    disk.is_held_up.store(false, Ordering::Release);
    let service = broker.service().clone();
    until("both closed segments are synced and counted", || syncs(&service) == 2).await;
    broker.close().await;
}

#[tokio::test]
async fn a_closed_segment_that_cannot_be_synced_ends_the_writes_to_its_partition() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(SlowDisk::default());
    let broker = open(&disk, folder.path()).await;
    disk.is_held_up.store(true, Ordering::Release);
    for _ in 0..12 {
        produce(broker.service()).await.unwrap();
    }
    disk.fails.store(true, Ordering::Release);
    disk.is_held_up.store(false, Ordering::Release);
    let service = broker.service().clone();
    let failed = || service.render_metrics().contains("thalweg_partitions_failed 1\n");
    until("nobody has to write for the failure to be seen", failed).await;
    let refusal = produce(broker.service()).await.unwrap_err();
    assert_eq!(refusal.outcome, Outcome::StorageFailed);
    assert!(refusal.message.contains("00000000000000000000.log"), "{}", refusal.message);
    broker.close().await;
}
