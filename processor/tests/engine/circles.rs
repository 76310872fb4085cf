//! A query that would feed itself, alone or through others, is refused and leaves nothing behind.

use client::fake::FakeBroker;
use protocol::outcome::Outcome;

use crate::support::{create_topic, open, refused, rows, run};

#[tokio::test]
async fn a_query_that_would_feed_itself_is_refused_with_the_topics_on_the_way() {
    let broker = FakeBroker::new();
    create_topic(&broker, "t", 1).await;
    let engine = open(&broker).await;
    let declare = "CREATE STREAM T (X INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON');
        CREATE STREAM T_AGAIN (X INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON');
        CREATE STREAM A WITH (QUERY_ID='FIRST') AS SELECT * FROM T;
        CREATE STREAM B WITH (KAFKA_TOPIC='b', QUERY_ID='SECOND') AS SELECT * FROM A;
        CREATE STREAM SIDE AS SELECT * FROM T_AGAIN;
        PAUSE FIRST;";
    run(&engine, declare).await;
    for (statement, way) in [
        ("INSERT INTO T SELECT * FROM T;", "t -> t; write to another topic"),
        ("INSERT INTO T_AGAIN SELECT * FROM T;", "t -> t; write"),
        ("CREATE STREAM LOOP1 WITH (KAFKA_TOPIC='t') AS SELECT * FROM T;", "t -> t; write"),
        (
            "INSERT INTO T SELECT * FROM A;",
            "A -> t -> A; write to another topic, or TERMINATE FIRST first",
        ),
        (
            "CREATE STREAM LOOP2 WITH (KAFKA_TOPIC='t') AS SELECT * FROM B;",
            "b -> t -> A -> b; write to another topic, or TERMINATE FIRST or SECOND first",
        ),
    ] {
        let refusal = refused(&engine, statement).await;
        assert_eq!(refusal.outcome, Outcome::InvalidStatement, "{refusal}");
        assert!(refusal.message.contains(&format!("feed itself without end: {way}")), "{refusal}");
    }
    assert_eq!(rows(&run(&engine, "SHOW QUERIES;").await).len(), 3);
    assert!(
        !rows(&run(&engine, "SHOW STREAMS;").await).iter().any(|row| row[0].starts_with("LOOP"))
    );
    // Two ways to one topic are no circle, and where one query is ended there is none either.
    run(
        &engine,
        "INSERT INTO SIDE SELECT * FROM B; TERMINATE FIRST; INSERT INTO T SELECT * FROM B;",
    )
    .await;
    engine.close().await;
}
