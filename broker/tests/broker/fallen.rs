//! A fault of the program in a shard: who waits is answered, and the owner of the broker is told.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::id::Timestamp;
use protocol::outcome::Outcome;
use thalweg_broker::{Broker, Config, World};

use crate::support::{batch_of, produce, spec};
use crate::watched::{WatchedDisk, Watcher};

/// The real disk with a fault of the program in it.
#[derive(Debug, Default)]
struct FaultyDisk {
    panics: AtomicBool,
}

impl Watcher for FaultyDisk {
    fn writes(&self, _file: &Path) {
        assert!(!self.panics.load(Ordering::Acquire), "the fault that this test is about");
    }
}

#[tokio::test]
async fn a_shard_that_panics_is_told_of_and_leaves_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let config = Config { data_dir: folder.path().to_owned(), shards: 1, ..Config::default() };
    let world = World { disk: Arc::new(WatchedDisk(Arc::clone(&disk))), ..World::real() };
    let broker = Broker::open_in(world, config.clone()).await.unwrap();
    broker.service().create_topic(spec("t", 1, &[])).await.unwrap();
    produce(broker.service(), "t", batch_of("before", Timestamp(1))).await.unwrap();
    let mut fallen = Box::pin(broker.fallen());
    assert!(futures_util::poll!(&mut fallen).is_pending());

    disk.panics.store(true, Ordering::Release);
    let refused = produce(broker.service(), "t", batch_of("lost", Timestamp(1))).await;
    assert!(refused.unwrap_err().outcome.may_have_happened());
    assert_eq!(fallen.await.outcome, Outcome::Internal);
    broker.close().await;

    disk.panics.store(false, Ordering::Release);
    let broker = Broker::open(config).await.unwrap();
    let appended = produce(broker.service(), "t", batch_of("after", Timestamp(1))).await.unwrap();
    assert_eq!(appended.base_offset.get(), 1, "what was acknowledged is there, the other is not");
    broker.close().await;
}
