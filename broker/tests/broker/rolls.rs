//! What a full segment on its way to the disk means to those who go on writing: nothing, unless its sync fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::id::Timestamp;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::Appended;
use storage::{Action, StorageError};
use thalweg_broker::config::DurabilityMode;
use thalweg_broker::{Broker, Config, Service, World};

use crate::support::{self, batch_of, spec, syncs, until};
use crate::watched::{WatchedDisk, Watcher};

/// The real disk, but for the syncs of first segments: they wait while they are held up, and then fail if told to.
#[derive(Debug, Default)]
struct SlowDisk {
    is_held_up: AtomicBool,
    fails: AtomicBool,
}

impl Watcher for SlowDisk {
    fn syncs(&self, file: &Path) -> Result<(), StorageError> {
        let is_first = file.ends_with("00000000000000000000.log")
            && file.components().any(|part| part.as_os_str() == "topics");
        while is_first && self.is_held_up.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        if is_first && self.fails.load(Ordering::Acquire) {
            let error = std::io::Error::from_raw_os_error(5);
            return Err(StorageError::new(Action::Sync, file, None, &error));
        }
        Ok(())
    }
}

async fn produce(service: &Service) -> Result<Appended, Refusal> {
    support::produce(service, "t", batch_of(vec![7; 100_000], Timestamp(1))).await
}

async fn open(disk: &Arc<SlowDisk>, folder: &Path) -> Broker {
    let config = Config {
        data_dir: folder.to_owned(),
        durability: DurabilityMode::Os,
        shards: 1,
        ..Config::default()
    };
    let world = World { disk: Arc::new(WatchedDisk(Arc::clone(disk))), ..World::real() };
    let broker = Broker::open_in(world, config).await.unwrap();
    let spec = spec("t", 1, &[("segment.bytes", "1048576")]);
    broker.service().create_topic(spec).await.unwrap();
    broker
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
