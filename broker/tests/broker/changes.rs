//! Changes of topics on a disk that fails at every step: what is answered is what the next start finds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::id::Timestamp;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{TopicChange, TopicDescription};
use storage::sim::{Crash, Fault, SimDisk};
use thalweg_broker::time::Clock;
use thalweg_broker::{Broker, Config, Service, World};

use crate::support::{self, batch_of, spec, syncs, topic, until};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

async fn open(disk: &SimDisk) -> Broker {
    let config = Config { data_dir: PathBuf::from("/data"), shards: 1, ..Config::default() };
    let clock = Clock::manual(NOW);
    let world = World { disk: Arc::new(disk.clone()), clock, ..World::real() };
    Broker::open_in(world, config).await.unwrap()
}

async fn produce(service: &Service, name: &str) -> Result<(), Refusal> {
    support::produce(service, name, batch_of("x", NOW)).await.map(|_| ())
}

/// A disk with a broker's folder, in which there is the topic `old`.
async fn prepared() -> SimDisk {
    let disk = SimDisk::new(7);
    let broker = open(&disk).await;
    broker.service().create_topic(spec("old", 2, &[])).await.unwrap();
    produce(broker.service(), "old").await.unwrap();
    broker.close().await;
    disk
}

/// What the next start finds under a name, after any way in which this process can end.
async fn found_after(disk: &SimDisk, name: &str) -> Vec<Option<TopicDescription>> {
    let ends =
        [None, Some(Crash::LoseAll), Some(Crash::Random), Some(Crash::KeepAll { torn_bytes: 0 })];
    let mut found = Vec::new();
    for end in ends {
        let later = disk.fork();
        match end {
            None => later.kill(),
            Some(crash) => later.crash(crash),
        }
        let broker = open(&later).await;
        let service = broker.service();
        let description = service.describe_topic(&topic(name)).ok();
        if let Some(description) = &description {
            for partition in &description.partitions {
                assert_eq!(partition.failure, None, "{name} after {end:?}");
            }
            produce(service, name).await.unwrap();
        }
        found.push(description);
        broker.close().await;
    }
    found
}

/// Lets `change` run once for each of its operations on the disk, which fails, and then once untouched.
async fn fail_each<T>(
    change: impl AsyncFn(&Service) -> Result<T, Refusal>,
    check: impl AsyncFn(&Service, &SimDisk, Result<T, Refusal>),
) {
    let prepared = prepared().await;
    for fault in [Fault::Broken, Fault::Full] {
        for operation in 0.. {
            let disk = prepared.fork();
            disk.kill();
            let broker = open(&disk).await;
            let failing = disk.operations() + operation;
            disk.fail_at(failing, fault);
            let changed = change(broker.service()).await;
            let is_reached = disk.operations() > failing;
            disk.clear_faults();
            assert!(is_reached || changed.is_ok(), "it fails without a fault");
            check(broker.service(), &disk, changed).await;
            broker.close().await;
            if !is_reached {
                assert!(operation > 3, "the change has not touched the disk");
                break;
            }
        }
    }
}

/// Whatever has become of a change: either the next one is made, or it is refused before anything is made for it.
async fn next_change_is_sound(service: &Service, disk: &SimDisk) -> bool {
    let before = disk.operations();
    match service.create_topic(spec("next", 1, &[])).await {
        Ok(_) => {
            service.delete_topic(&topic("next")).await.unwrap();
            true
        }
        Err(refusal) => {
            assert_eq!(refusal.outcome, Outcome::StorageFailed, "{refusal}");
            assert_eq!(disk.operations(), before, "refused, and yet something was made");
            false
        }
    }
}

#[tokio::test]
async fn a_create_that_fails_is_there_or_not_as_was_answered() {
    let create = async |service: &Service| service.create_topic(spec("new", 3, &[])).await;
    fail_each(create, async |service, disk, created| {
        let found = found_after(disk, "new").await;
        match &created {
            Ok(created) => assert!(found.iter().flatten().all(|found| found.id == created.id)),
            Err(refusal) => {
                assert!(service.describe_topic(&topic("new")).is_err());
                if !refusal.outcome.may_have_happened() {
                    assert_eq!(found, [None, None, None, None], "{refusal}");
                }
            }
        }
        assert!(created.is_err() || found.iter().all(Option::is_some), "{found:?}");
        produce(service, "old").await.unwrap();
        if next_change_is_sound(service, disk).await {
            let again = service.create_topic(spec("new", 3, &[])).await;
            assert_eq!(again.is_ok(), created.is_err(), "{again:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_alter_that_fails_is_in_force_or_not_as_was_answered() {
    let wanted = || BTreeMap::from([("retention.ms".to_owned(), Some("5".to_owned()))]);
    let alter = async |service: &Service| {
        let change = TopicChange { partitions: Some(4), settings: wanted() };
        service.alter_topic(&topic("old"), change).await
    };
    fail_each(alter, async |service, disk, altered| {
        for found in found_after(disk, "old").await {
            let partitions = found.unwrap().partitions.len();
            match &altered {
                Ok(_) => assert_eq!(partitions, 4),
                Err(refusal) if refusal.outcome.may_have_happened() => {
                    assert!(partitions == 2 || partitions == 4);
                }
                Err(refusal) => assert_eq!(partitions, 2, "{refusal}"),
            }
        }
        let now = service.describe_topic(&topic("old")).unwrap().partitions.len();
        assert_eq!(now, if altered.is_ok() { 4 } else { 2 });
        produce(service, "old").await.unwrap();
        next_change_is_sound(service, disk).await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_acknowledged_into_a_topic_whose_deletion_may_have_happened() {
    let delete = async |service: &Service| service.delete_topic(&topic("old")).await;
    let unknown = std::cell::Cell::new(0);
    fail_each(delete, async |service, disk, deleted| {
        let found = found_after(disk, "old").await;
        let produced = produce(service, "old").await;
        match deleted {
            Ok(()) => {
                assert_eq!(found, [None, None, None, None]);
                assert_eq!(produced.unwrap_err().outcome, Outcome::UnknownTopic);
                assert!(next_change_is_sound(service, disk).await);
            }
            Err(refusal) if refusal.outcome.may_have_happened() => {
                unknown.set(unknown.get() + 1);
                assert_eq!(produced.unwrap_err().outcome, Outcome::StorageFailed);
                assert!(!next_change_is_sound(service, disk).await, "it stands on the unknown");
                let description = service.describe_topic(&topic("old")).unwrap();
                assert!(description.partitions.iter().all(|each| each.failure.is_some()));
            }
            Err(_) => {
                assert!(found.iter().all(Option::is_some));
                produced.unwrap();
                assert!(next_change_is_sound(service, disk).await);
            }
        }
    })
    .await;
    assert!(unknown.get() > 0, "no fault has left the outcome unknown");
}

#[tokio::test]
async fn a_stricter_durability_counts_for_what_is_written_already() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { data_dir: folder.path().to_owned(), shards: 1, ..Config::default() };
    let broker = Broker::open(config).await.unwrap();
    let service = broker.service();
    let now = Clock::real().wall();
    for (setting, value) in [("flush.ms", "50"), ("flush.messages", "1")] {
        let spec = spec(setting, 1, &[("flush.ms", "60000")]);
        let (name, before) = (spec.name.clone(), syncs(service));
        service.create_topic(spec).await.unwrap();
        support::produce(service, setting, batch_of("x", now)).await.unwrap();
        assert_eq!(syncs(service), before, "acknowledged when written");
        let settings = BTreeMap::from([(setting.to_owned(), Some(value.to_owned()))]);
        let change = TopicChange { partitions: None, settings };
        service.alter_topic(&name, change).await.unwrap();
        until("what was written before is synced", || syncs(service) > before).await;
    }
    broker.close().await;
}
