//! The SQL engine's own topics: read by all, changed by the engine alone; and the way to begin anew when one is lost.

use protocol::id::Timestamp;
use protocol::outcome::Outcome;
use protocol::verbs::TopicChange;
use thalweg_broker::{Broker, Config};

use crate::support::{batch_of, produce, spec, topic};

const OWN: &str = "_thalweg_sql_catalog";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_the_engine_are_changed_by_the_engine_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { data_dir: folder.path().to_owned(), shards: 1, ..Config::default() };
    let broker = Broker::open(config.clone()).await.unwrap();
    let (anybody, engine) = (broker.service().clone(), broker.service_of_engine());
    let denied = |refusal: protocol::outcome::Refusal| {
        assert_eq!(refusal.outcome, Outcome::Denied, "{refusal}");
        assert!(refusal.message.contains(OWN), "{refusal}");
    };
    denied(anybody.create_topic(spec(OWN, 1, &[])).await.unwrap_err());
    engine.create_topic(spec(OWN, 1, &[])).await.unwrap();
    denied(produce(&anybody, OWN, batch_of("garbage", Timestamp::NONE)).await.unwrap_err());
    denied(anybody.alter_topic(&topic(OWN), TopicChange::default()).await.unwrap_err());
    denied(anybody.delete_topic(&topic(OWN)).await.unwrap_err());
    produce(&engine, OWN, batch_of("a statement", Timestamp::NONE)).await.unwrap();
    let found = anybody.describe_topic(&topic(OWN)).unwrap();
    assert_eq!(found.partitions[0].end.get(), 1, "what the engine wrote, and nothing else");
    broker.close().await;

    // A partition is lost: the engine cannot use the topic, and whoever runs the broker may take it away.
    let id = found.id.to_string();
    let lost = folder.path().join("topics").join(OWN).join(id).join("0");
    std::fs::remove_dir_all(lost).unwrap();
    let broker = Broker::open(config).await.unwrap();
    broker.service().delete_topic(&topic(OWN)).await.unwrap();
    denied(broker.service().create_topic(spec(OWN, 1, &[])).await.unwrap_err());
    broker.close().await;
}
