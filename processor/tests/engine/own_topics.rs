//! The topics that the engine keeps for itself, as statements see them: to be read, and nothing else.

use client::fake::FakeBroker;
use protocol::outcome::Outcome;

use crate::support::{create_topic, open, refused, rows, run, values};

#[tokio::test]
async fn statements_read_the_engines_own_topics_and_change_nothing_in_them() {
    let broker = FakeBroker::new();
    create_topic(&broker, "ratings", 1).await;
    let engine = open(&broker).await;
    run(
        &engine,
        "CREATE STREAM RATINGS (MESSAGE STRING) WITH (KAFKA_TOPIC='ratings', VALUE_FORMAT='JSON');",
    )
    .await;
    let own = "_thalweg_sql_catalog";
    let count = || values(&broker, own).len();
    run(
        &engine,
        &format!(
            "CREATE STREAM OWN (STATEMENT STRING) WITH (KAFKA_TOPIC='{own}', VALUE_FORMAT='JSON');"
        ),
    )
    .await;
    let before = count();
    for statement in [
        format!("CREATE STREAM X WITH (KAFKA_TOPIC='{own}') AS SELECT MESSAGE FROM RATINGS;"),
        "CREATE STREAM X WITH (KAFKA_TOPIC='_thalweg_x') AS SELECT MESSAGE FROM RATINGS;"
            .to_owned(),
        "INSERT INTO OWN SELECT MESSAGE AS STATEMENT FROM RATINGS;".to_owned(),
        "INSERT INTO OWN VALUES ('garbage');".to_owned(),
        "DROP STREAM OWN DELETE TOPIC;".to_owned(),
    ] {
        let refusal = refused(&engine, &statement).await;
        assert_eq!(refusal.outcome, Outcome::Denied, "{statement}: {refusal}");
    }
    assert_eq!(count(), before, "nothing was written, also of DROP STREAM");
    let answers = run(&engine, "SELECT STATEMENT FROM OWN;").await;
    assert_eq!(rows(&answers).len(), before);
    run(&engine, "DROP STREAM OWN;").await;
}
