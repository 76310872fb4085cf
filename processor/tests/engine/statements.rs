//! What each statement does and answers, told along the demo: ratings come, the poor ones become a stream of their own.

use std::sync::Arc;

use client::fake::FakeBroker;
use client::transport::Transport;
use protocol::outcome::Outcome;
use protocol::record::Record;
use protocol::verbs::TopicChange;
use thalweg_processor::Engine;
use thalweg_processor::answer::Answer;
use thalweg_processor::processing_log::PROCESSING_LOG_TOPIC;
use tokio::time::timeout;

use crate::support::{
    DEADLINE, create_topic, done, feed, open, refused, rows, run, try_run_with, until, values,
};

const RATINGS: &str = "CREATE STREAM RATINGS (RATING_ID BIGINT KEY, USER_ID INT, STARS INT, CHANNEL STRING, MESSAGE STRING)
    WITH (KAFKA_TOPIC='ratings', VALUE_FORMAT='JSON');";

const POOR_RATINGS: &str = "CREATE STREAM POOR_RATINGS AS SELECT RATING_ID, STARS, CHANNEL, MESSAGE FROM RATINGS WHERE STARS < 3;";

async fn demo() -> (Arc<FakeBroker>, Engine) {
    let broker = FakeBroker::new();
    create_topic(&broker, "ratings", 1).await;
    let engine = open(&broker).await;
    run(&engine, RATINGS).await;
    (broker, engine)
}

async fn rate(engine: &Engine, id: u32, stars: u32, channel: &str) {
    run(
        engine,
        &format!(
            "INSERT INTO RATINGS VALUES ({id}, {}, {stars}, '{channel}', 'it was ok');",
            id % 20
        ),
    )
    .await;
}

fn keys(broker: &FakeBroker, topic: &str) -> Vec<Option<Vec<u8>>> {
    let key = |record: Record| record.key.map(|key| key.to_vec());
    broker.records(&topic.parse().unwrap()).into_iter().map(|(_, _, record)| key(record)).collect()
}

#[tokio::test]
async fn poor_ratings_become_a_topic_of_their_own() {
    let (broker, engine) = demo().await;
    for id in 1..=8 {
        rate(&engine, id, 1 + id % 4, "web").await;
    }
    let answers = run(&engine, POOR_RATINGS).await;
    assert_eq!(done(&answers), ["Created stream POOR_RATINGS with query CSAS_POOR_RATINGS_1"]);
    until("the poor ratings are there", || values(&broker, "POOR_RATINGS").len() == 4).await;
    assert_eq!(
        values(&broker, "POOR_RATINGS")[0],
        (0, r#"{"STARS":2,"CHANNEL":"web","MESSAGE":"it was ok"}"#.to_owned()),
    );
    assert_eq!(keys(&broker, "POOR_RATINGS")[0], Some(1_i64.to_be_bytes().to_vec()));

    let answers = run(&engine, "DESCRIBE POOR_RATINGS;").await;
    let fields: Vec<_> = rows(&answers).into_iter().map(|row| row.join(" ")).collect();
    assert_eq!(fields, ["RATING_ID BIGINT (key)", "STARS INT", "CHANNEL STRING", "MESSAGE STRING"]);
    let answers = run(&engine, "SHOW QUERIES;").await;
    assert_eq!(
        rows(&answers)[0][..4],
        ["CSAS_POOR_RATINGS_1", "RUNNING", "RATINGS", "POOR_RATINGS"]
    );
    let extended = rows(&run(&engine, "DESCRIBE EXTENDED POOR_RATINGS;").await);
    let property = |name: &str| extended.iter().find(|row| row[0] == name).unwrap()[1].clone();
    assert_eq!(property("Queries that write it"), "CSAS_POOR_RATINGS_1");
    assert_eq!(property("Records in the topic"), "4");
    assert!(property("Last record").starts_with("20"));
    engine.close().await;
}

#[tokio::test]
async fn a_query_starts_where_the_session_says() {
    let (broker, engine) = demo().await;
    rate(&engine, 1, 1, "web").await;
    let sql = format!("SET 'auto.offset.reset' = 'latest'; {POOR_RATINGS}");
    let answers = run(&engine, &sql).await;
    assert!(answers.iter().any(|answer| matches!(
        answer,
        Answer::Properties(properties) if properties["auto.offset.reset"] == "latest"
    )));
    rate(&engine, 2, 1, "web").await;
    until("the later rating is there", || !values(&broker, "POOR_RATINGS").is_empty()).await;
    assert_eq!(keys(&broker, "POOR_RATINGS"), [Some(2_i64.to_be_bytes().to_vec())]);
    let (_, refusal) =
        try_run_with(&engine, "SELECT * FROM RATINGS EMIT CHANGES;", &[("auto.offset.reset", "x")])
            .await;
    assert_eq!(refusal.unwrap().outcome, Outcome::InvalidStatement);
}

#[tokio::test]
async fn streams_over_derived_streams() {
    let (broker, engine) = demo().await;
    run(&engine, POOR_RATINGS).await;
    run(
        &engine,
        "CREATE STREAM POOR_WEB AS SELECT * FROM POOR_RATINGS WHERE CHANNEL = 'web';
         CREATE STREAM SHORT WITH (KAFKA_TOPIC='short-ones', VALUE_FORMAT='DELIMITED', VALUE_DELIMITER='|') AS
           SELECT RATING_ID, UCASE(CHANNEL) AS WHERE_FROM, STARS * 10 FROM POOR_WEB;",
    )
    .await;
    for id in 1..=12 {
        rate(&engine, id, 1 + id % 4, if id % 3 == 0 { "iOS" } else { "web" }).await;
    }
    until("the last link is there", || values(&broker, "short-ones").len() == 4).await;
    let found: Vec<_> = values(&broker, "short-ones").into_iter().map(|(_, value)| value).collect();
    assert_eq!(found, ["WEB|20", "WEB|10", "WEB|20", "WEB|10"]);
    let described = rows(&run(&engine, "DESCRIBE SHORT;").await);
    assert_eq!(described[2], ["KSQL_COL_0", "INT"]);
    engine.close().await;
}

#[tokio::test]
async fn what_is_created_is_there_when_the_statement_returns() {
    let (broker, engine) = demo().await;
    let mut before = "RATINGS".to_owned();
    for link in 0..30 {
        let name = format!("LINK_{link}");
        run(&engine, &format!("CREATE STREAM {name} AS SELECT * FROM {before}; DESCRIBE {name};"))
            .await;
        before = name;
    }
    rate(&engine, 1, 4, "web").await;
    until("the row has gone through all", || values(&broker, "LINK_29").len() == 1).await;
}

#[tokio::test]
async fn streams_are_merged_and_keyed_anew() {
    let (broker, engine) = demo().await;
    run(
        &engine,
        "CREATE STREAM ALL_CHANNELS AS SELECT CHANNEL, STARS FROM RATINGS WHERE CHANNEL = 'web' PARTITION BY CHANNEL;
         INSERT INTO ALL_CHANNELS SELECT STARS + 100 AS STARS, 'not web' AS CHANNEL FROM RATINGS WHERE CHANNEL <> 'web';",
    )
    .await;
    rate(&engine, 1, 1, "web").await;
    rate(&engine, 2, 2, "iOS").await;
    until("both are there", || values(&broker, "ALL_CHANNELS").len() == 2).await;
    let mut found: Vec<_> = keys(&broker, "ALL_CHANNELS")
        .into_iter()
        .flatten()
        .zip(values(&broker, "ALL_CHANNELS"))
        .collect();
    found.sort();
    assert_eq!(found[0], (b"not web".to_vec(), (0, r#"{"STARS":102}"#.to_owned())));
    assert_eq!(found[1], (b"web".to_vec(), (0, r#"{"STARS":1}"#.to_owned())));
    let refusal =
        refused(&engine, "CREATE STREAM X AS SELECT STARS FROM RATINGS PARTITION BY CHANNEL;")
            .await;
    assert!(refusal.message.contains("must be in the select list"), "{refusal}");
    let refusal = refused(&engine, "INSERT INTO ALL_CHANNELS SELECT STARS FROM RATINGS;").await;
    assert_eq!(refusal.outcome, Outcome::InvalidStatement);
}

#[tokio::test]
async fn poison_goes_to_the_processing_log_and_the_query_goes_on() {
    let (broker, engine) = demo().await;
    run(&engine, "CREATE STREAM HALVES AS SELECT RATING_ID, 10 / STARS AS HALF FROM RATINGS;")
        .await;
    let json = |stars: &str| (None, format!(r#"{{"STARS":{stars}}}"#));
    let poison = (None, "this is not json".to_owned());
    feed(&broker, "ratings", 0, [json("5"), poison, json("\"many\""), json("0"), json("2")]).await;
    until("the good rows are there", || values(&broker, "HALVES").len() == 3).await;
    let found: Vec<_> = values(&broker, "HALVES").into_iter().map(|(_, value)| value).collect();
    assert_eq!(found, [r#"{"HALF":2}"#, r#"{"HALF":null}"#, r#"{"HALF":5}"#]);
    until("the log tells of three", || values(&broker, PROCESSING_LOG_TOPIC).len() == 3).await;
    let log: Vec<serde_json::Value> = values(&broker, PROCESSING_LOG_TOPIC)
        .iter()
        .map(|(_, value)| serde_json::from_str(value).unwrap())
        .collect();
    for (entry, (offset, step)) in log.iter().zip([(1, "decode"), (2, "decode"), (3, "compute")]) {
        assert_eq!(entry["query"], "CSAS_HALVES_1");
        assert_eq!(entry["topic"], "ratings");
        assert_eq!(entry["offset"], offset);
        assert_eq!(entry["step"], step);
    }
    let queries = rows(&run(&engine, "SHOW QUERIES;").await);
    assert_eq!(queries[0][4..7], ["5", "3", "3"]);
}

#[tokio::test]
async fn what_is_used_cannot_be_dropped() {
    let (broker, engine) = demo().await;
    run(&engine, POOR_RATINGS).await;
    for name in ["RATINGS", "POOR_RATINGS"] {
        let refusal = refused(&engine, &format!("DROP STREAM {name};")).await;
        assert_eq!(refusal.outcome, Outcome::InUse);
        assert!(refusal.message.contains("CSAS_POOR_RATINGS_1"), "{refusal}");
    }
    assert_eq!(refused(&engine, "TERMINATE NOBODY;").await.outcome, Outcome::NotFound);
    for round in 0..2 {
        let answers = run(&engine, "TERMINATE ALL; DROP STREAM POOR_RATINGS DELETE TOPIC;").await;
        assert_eq!(done(&answers).len(), 2, "round {round}");
        assert!(rows(&run(&engine, "SHOW QUERIES;").await).is_empty());
        run(&engine, POOR_RATINGS).await;
        rate(&engine, round, 1, "web").await;
        let expected = round as usize + 1;
        until("the demo works again", || values(&broker, "POOR_RATINGS").len() == expected).await;
    }
    run(&engine, "DROP STREAM IF EXISTS NOBODY;").await;
    assert_eq!(refused(&engine, "DROP STREAM NOBODY;").await.outcome, Outcome::NotFound);
}

#[tokio::test]
async fn the_catalogue_outlives_the_engine() {
    let (broker, engine) = demo().await;
    run(&engine, POOR_RATINGS).await;
    rate(&engine, 1, 1, "web").await;
    until("the row is there", || values(&broker, "POOR_RATINGS").len() == 1).await;
    run(&engine, "PAUSE CSAS_POOR_RATINGS_1; CREATE STREAM GONE (A INT) WITH (KAFKA_TOPIC='ratings', VALUE_FORMAT='JSON'); DROP STREAM GONE;").await;
    let before = run(&engine, "SHOW STREAMS; DESCRIBE POOR_RATINGS;").await;
    engine.close().await;

    let engine = open(&broker).await;
    assert_eq!(run(&engine, "SHOW STREAMS; DESCRIBE POOR_RATINGS;").await, before);
    assert_eq!(rows(&run(&engine, "SHOW QUERIES;").await)[0][1], "PAUSED");
    rate(&engine, 2, 1, "web").await;
    run(&engine, "RESUME ALL;").await;
    until("the later row is there", || values(&broker, "POOR_RATINGS").len() == 2).await;
    engine.close().await;
    assert_eq!(values(&broker, "POOR_RATINGS").len(), 2);
}

#[tokio::test]
async fn a_query_is_replaced_in_place() {
    let (broker, engine) = demo().await;
    run(&engine, "CREATE OR REPLACE STREAM S AS SELECT RATING_ID, STARS FROM RATINGS;").await;
    rate(&engine, 1, 1, "web").await;
    until("the old form is there", || values(&broker, "S").len() == 1).await;
    run(&engine, "CREATE OR REPLACE STREAM S AS SELECT RATING_ID, STARS, CHANNEL FROM RATINGS;")
        .await;
    rate(&engine, 2, 2, "web").await;
    until("the new form is there", || values(&broker, "S").len() == 2).await;
    for lost in ["RATING_ID, CHANNEL", "RATING_ID, CAST(STARS AS DOUBLE) AS STARS, CHANNEL"] {
        let statement = format!("CREATE OR REPLACE STREAM S AS SELECT {lost} FROM RATINGS;");
        let refusal = refused(&engine, &statement).await;
        assert!(refusal.message.contains("without the column STARS INT"), "{refusal}");
    }
    let found: Vec<_> = values(&broker, "S").into_iter().map(|(_, value)| value).collect();
    assert_eq!(found, [r#"{"STARS":1}"#, r#"{"STARS":2,"CHANNEL":"web"}"#]);
    assert_eq!(rows(&run(&engine, "SHOW QUERIES;").await).len(), 1);
    assert_eq!(rows(&run(&engine, "DESCRIBE S;").await).len(), 3);
}

#[tokio::test]
async fn a_push_query_ends_at_its_limit_and_a_scan_at_the_end() {
    let (_broker, engine) = demo().await;
    for id in 1..=5 {
        rate(&engine, id, id, "web").await;
    }
    let sql = "SELECT STARS, RATING_ID, UCASE(CHANNEL) C FROM RATINGS R WHERE R.STARS > 1 EMIT CHANGES LIMIT 2;";
    let (answers, refusal) = try_run_with(&engine, sql, &[("auto.offset.reset", "earliest")]).await;
    assert_eq!(refusal, None);
    assert_eq!(rows(&answers), [["2", "2", "WEB"], ["3", "3", "WEB"]]);
    assert_eq!(done(&answers), ["Limit reached"]);
    let answers = run(&engine, "SELECT * FROM RATINGS WHERE STARS >= 4;").await;
    assert!(matches!(&answers[0], Answer::Notice(notice) if notice.contains("EMIT CHANGES")));
    assert_eq!(rows(&answers).len(), 2);
    assert_eq!(done(&answers), ["Query completed"]);
}

#[tokio::test]
async fn nothing_is_left_of_a_push_query_that_nobody_listens_to() {
    let (_broker, engine) = demo().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut answers = engine.execute("SELECT * FROM RATINGS EMIT CHANGES;", Default::default());
    assert!(matches!(answers.recv().await, Some(Ok(Answer::Columns(_)))));
    assert!(tasks() > before);
    drop(answers);
    until("its task has ended", || tasks() <= before).await;
}

#[tokio::test]
async fn a_query_that_a_stopping_engine_cuts_short_does_not_look_complete() {
    for sql in ["SELECT * FROM RATINGS EMIT CHANGES;", "PRINT 'ratings';"] {
        let (_broker, engine) = demo().await;
        let mut answers = engine.execute(sql, Default::default());
        assert!(matches!(answers.recv().await, Some(Ok(Answer::Columns(_)))), "{sql}");
        engine.close().await;
        let refusal = answers.recv().await.unwrap().unwrap_err();
        assert_eq!(refusal.outcome, Outcome::Unavailable, "{sql}: {refusal}");
        assert!(answers.recv().await.is_none(), "{sql}");
    }
}

#[tokio::test]
async fn print_shows_what_is_in_a_topic() {
    let (broker, engine) = demo().await;
    let json = |n: u32| (Some(format!("k{n}")), format!(r#"{{"N":{n}}}"#));
    feed(&broker, "ratings", 0, (0..6).map(json)).await;
    let answers = run(&engine, "PRINT 'ratings' FROM BEGINNING INTERVAL 2 LIMIT 3;").await;
    let found = rows(&answers);
    let columns: Vec<_> = found.iter().map(|row| row[1..].join(" ")).collect();
    assert_eq!(columns, [r#"0 0 k0 {"N":0}"#, r#"0 2 k2 {"N":2}"#, r#"0 4 k4 {"N":4}"#]);
    assert!(answers.contains(&Answer::Notice("key format: TEXT, value format: JSON".to_owned())));
    let refusal = refused(&engine, "PRINT 'RATINGS' LIMIT 1;").await;
    assert_eq!(refusal.outcome, Outcome::UnknownTopic);
    assert!(refusal.message.contains("did you mean 'ratings'?"), "{refusal}");
}

#[tokio::test]
async fn values_are_inserted_by_column_and_checked() {
    let (broker, engine) = demo().await;
    run(
        &engine,
        "INSERT INTO RATINGS (ROWTIME, STARS, RATING_ID) VALUES (1234, 3, 7), (5678, 4, 8);",
    )
    .await;
    let records = broker.records(&"ratings".parse().unwrap());
    assert_eq!(records[0].2.timestamp.unwrap().0, 1234);
    assert_eq!(records[1].2.key.as_deref(), Some(&8_i64.to_be_bytes()[..]));
    assert_eq!(
        values(&broker, "ratings")[0].1,
        r#"{"USER_ID":null,"STARS":3,"CHANNEL":null,"MESSAGE":null}"#
    );
    for wrong in [
        "INSERT INTO RATINGS (STARS) VALUES ('many');",
        "INSERT INTO RATINGS (STARS, STARS) VALUES (1, 2);",
        "INSERT INTO RATINGS (STARS) VALUES (1, 2);",
        "INSERT INTO RATINGS (STAR) VALUES (1);",
        "INSERT INTO RATINGS (STARS) VALUES (1 / 0);",
    ] {
        assert_eq!(refused(&engine, wrong).await.outcome, Outcome::InvalidStatement, "{wrong}");
    }
    assert_eq!(broker.records(&"ratings".parse().unwrap()).len(), 2);
}

#[tokio::test]
async fn a_stream_makes_its_topic_or_finds_it() {
    let (_broker, engine) = demo().await;
    let refusal = refused(
        &engine,
        "CREATE STREAM A (X INT) WITH (KAFKA_TOPIC='Ratings', VALUE_FORMAT='JSON');",
    )
    .await;
    assert_eq!(refusal.outcome, Outcome::UnknownTopic);
    assert!(refusal.message.contains("did you mean 'ratings'?"), "{refusal}");
    run(&engine, "CREATE STREAM A (X INT) WITH (KAFKA_TOPIC='a', VALUE_FORMAT='JSON', PARTITIONS=4, REPLICAS=1);").await;
    let topics = rows(&run(&engine, "SHOW TOPICS;").await);
    assert_eq!(topics, [["a", "4", "1"], ["ratings", "1", "1"]]);
    let again = "CREATE STREAM A (X INT) WITH (KAFKA_TOPIC='a', VALUE_FORMAT='JSON');";
    assert_eq!(refused(&engine, again).await.outcome, Outcome::AlreadyExists);
    run(&engine, &again.replace("STREAM A", "STREAM IF NOT EXISTS A")).await;
    run(&engine, &again.replace("CREATE", "CREATE OR REPLACE").replace("X INT", "Y INT")).await;
    assert_eq!(rows(&run(&engine, "DESCRIBE A;").await), [["Y", "INT"]]);
    for (wrong, said) in [
        (
            "CREATE STREAM B (X INT) WITH (KAFKA_TOPIC='a', VALUE_FORMATS='JSON');",
            "did you mean VALUE_FORMAT",
        ),
        ("CREATE STREAM B (X INT) WITH (KAFKA_TOPIC='a');", "VALUE_FORMAT"),
        ("CREATE STREAM B (X INT) WITH (KAFKA_TOPIC='a', VALUE_FORMAT='AVRO');", "AVRO"),
        (
            "CREATE STREAM B (X INT) WITH (KAFKA_TOPIC='a', VALUE_FORMAT='JSON', PARTITIONS=0);",
            "PARTITIONS",
        ),
        (
            "CREATE STREAM B (X INT, Y INT) WITH (KAFKA_TOPIC='a', VALUE_FORMAT='KAFKA');",
            "one column",
        ),
    ] {
        let refusal = refused(&engine, wrong).await;
        assert_eq!(refusal.outcome, Outcome::InvalidStatement, "{wrong}");
        assert!(refusal.message.contains(said), "{refusal}");
    }
}

#[tokio::test]
async fn what_is_not_supported_is_refused_by_name_and_place() {
    let (_broker, engine) = demo().await;
    for (wrong, said) in [
        (
            "SELECT COUNT(*) FROM RATINGS EMIT CHANGES;",
            "line 1, column 8: not supported yet: the aggregate COUNT",
        ),
        ("SELECT STARS FROM RATINGS GROUP BY STARS EMIT CHANGES;", "GROUP BY"),
        ("SELECT * FROM RATINGS R JOIN RATINGS S ON R.STARS = S.STARS EMIT CHANGES;", "JOIN"),
        (
            "CREATE TABLE T (A INT PRIMARY KEY) WITH (KAFKA_TOPIC='ratings', VALUE_FORMAT='JSON');",
            "CREATE TABLE",
        ),
        ("CREATE TYPE T AS INT;", "CREATE TYPE T"),
        ("CREATE STREAM T WITH (KAFKA_TOPIC='ratings', VALUE_FORMAT='JSON');", "schema registry"),
        ("SHOW CONNECTORS;", "CONNECTORS"),
    ] {
        let refusal = refused(&engine, wrong).await;
        assert_eq!(refusal.outcome, Outcome::Unsupported, "{wrong}");
        assert!(refusal.message.contains("not supported yet"), "{refusal}");
        assert!(refusal.message.contains(said), "{refusal}");
    }
    let refusal = refused(&engine, "SELECT STRAS FROM RATINGS EMIT CHANGES;").await;
    assert!(refusal.message.contains("Did you mean STARS"), "{refusal}");
}

#[tokio::test]
async fn statements_of_one_text_are_carried_out_until_one_fails() {
    let (_broker, engine) = demo().await;
    let (answers, refusal) = try_run_with(
        &engine,
        "DEFINE t = 'ratings'; CREATE STREAM A (X INT) WITH (KAFKA_TOPIC='${t}', VALUE_FORMAT='JSON'); DROP STREAM NOBODY; DROP STREAM A;",
        &[],
    )
    .await;
    assert_eq!(done(&answers), ["Defined t", "Stream A created"]);
    assert_eq!(refusal.unwrap().outcome, Outcome::NotFound);
    assert_eq!(rows(&run(&engine, "SHOW STREAMS;").await).len(), 2);
}

#[tokio::test]
async fn plans_are_explained() {
    let (_broker, engine) = demo().await;
    let found = rows(&run(&engine, &format!("EXPLAIN {POOR_RATINGS}")).await).concat();
    assert!(
        found[0].starts_with("WRITE POOR_RATINGS (topic POOR_RATINGS, key KAFKA, value JSON)"),
        "{found:?}"
    );
    assert!(found[1].starts_with("  PROJECT RATING_ID := "));
    assert!(found[2].starts_with("    FILTER "));
    assert!(found[3].starts_with("      SCAN RATINGS (topic ratings"));
    run(&engine, POOR_RATINGS).await;
    let running = rows(&run(&engine, "EXPLAIN CSAS_POOR_RATINGS_1;").await).concat();
    assert_eq!(running, found);
    let functions = rows(&run(&engine, "SHOW FUNCTIONS;").await);
    assert!(functions.iter().any(|row| row[0] == "UCASE"));
    assert!(!rows(&run(&engine, "DESCRIBE FUNCTION UCASE;").await).is_empty());
    assert_eq!(rows(&run(&engine, "SHOW PROPERTIES;").await).len(), 3);
}

#[tokio::test]
async fn the_grpc_door_translates() {
    use protocol::grpc::v1;
    use protocol::grpc::v1::execute_response::Answer as Wire;
    use tokio_stream::StreamExt as _;

    let (_broker, engine) = demo().await;
    rate(&engine, 1, 3, "web").await;
    let incoming = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = incoming.local_addr().unwrap();
    let service = thalweg_processor::serve::grpc::QueryService::new(engine);
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(incoming);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming),
    );
    let server = format!("http://{address}");
    let mut client = v1::query_client::QueryClient::connect(server).await.unwrap();
    let sql = "SELECT RATING_ID, CHANNEL, USER_ID = 2 AS TWO FROM RATINGS; DROP STREAM NOBODY;";
    let request = v1::ExecuteRequest { sql: sql.to_owned(), properties: Default::default() };
    let mut responses = client.execute(request).await.unwrap().into_inner();
    let mut answers = Vec::new();
    let status = loop {
        match responses.next().await.unwrap() {
            Ok(response) => answers.push(response.answer.unwrap()),
            Err(status) => break status,
        }
    };
    let Wire::Columns(columns) = &answers[1] else { panic!("{answers:?}") };
    let columns: Vec<_> =
        columns.columns.iter().map(|c| format!("{} {}", c.name, c.r#type)).collect();
    assert_eq!(columns, ["RATING_ID BIGINT", "CHANNEL STRING", "TWO BOOLEAN"]);
    let Wire::Rows(rows) = &answers[2] else { panic!("{answers:?}") };
    let kinds: Vec<_> =
        rows.rows[0].values.iter().map(|value| value.kind.clone().unwrap()).collect();
    use v1::value::Kind;
    assert_eq!(kinds, [Kind::Integer(1), Kind::Text("web".into()), Kind::Boolean(false)]);
    assert_eq!(protocol::outcome::Refusal::from(status).outcome, Outcome::NotFound);
}

#[tokio::test]
async fn followers_of_a_topic_see_the_partitions_that_are_added() {
    let (broker, engine) = demo().await;
    let mut push =
        engine.execute("SELECT STARS FROM RATINGS EMIT CHANGES LIMIT 1;", Default::default());
    let mut print = engine.execute("PRINT ratings LIMIT 1;", Default::default());
    for opened in [&mut push, &mut print] {
        assert!(matches!(opened.recv().await, Some(Ok(Answer::Columns(_)))));
    }
    let change = TopicChange { partitions: Some(2), ..TopicChange::default() };
    broker.alter_topic("ratings".parse().unwrap(), change).await.unwrap();
    feed(&broker, "ratings", 1, [(None, r#"{"STARS":5}"#.to_owned())]).await;
    for opened in [&mut push, &mut print] {
        let mut answers = Vec::new();
        while let Some(answer) = timeout(DEADLINE, opened.recv()).await.unwrap() {
            answers.push(answer.unwrap());
        }
        assert_eq!(rows(&answers).len(), 1, "{answers:?}");
    }
}

#[tokio::test]
async fn properties_that_do_not_exist_are_refused_and_those_of_ksqldb_noted() {
    let (_broker, engine) = demo().await;
    let refusal = refused(&engine, "SET 'auto.offset.rest' = 'earliest';").await;
    assert_eq!(refusal.outcome, Outcome::InvalidStatement);
    assert!(refusal.message.contains("did you mean auto.offset.reset?"), "{refusal}");
    let sent = [("auto.offset.rest", "earliest")];
    let (_, refusal) = try_run_with(&engine, "SHOW TOPICS;", &sent).await;
    assert!(refusal.unwrap().message.contains("did you mean auto.offset.reset?"));
    let answers = run(&engine, "SET 'processing.guarantee' = 'exactly_once_v2';").await;
    assert!(matches!(&answers[0], Answer::Notice(note) if note.contains("no effect")));
    let shown = rows(&run(&engine, "SHOW PROPERTIES;").await);
    assert_eq!(shown[0][..2], ["auto.offset.reset", ""], "what is not set is empty, not null");
}

#[tokio::test]
async fn what_is_not_supported_yet_says_what_to_do_instead() {
    let (_broker, engine) = demo().await;
    for (statement, advice) in [
        (
            "CREATE TABLE T (ID INT PRIMARY KEY) WITH (KAFKA_TOPIC='ratings', FORMAT='JSON');",
            "CREATE STREAM over",
        ),
        ("CREATE TABLE T AS SELECT STARS, COUNT(*) FROM RATINGS GROUP BY STARS;", "sum them up"),
        ("SELECT STARS, COUNT(*) FROM RATINGS GROUP BY STARS EMIT CHANGES;", "sum them up"),
        ("SELECT COUNT(*) FROM RATINGS EMIT CHANGES;", "sum them up"),
        (
            "SELECT * FROM RATINGS R JOIN RATINGS S ON R.STARS = S.STARS EMIT CHANGES;",
            "reads one stream",
        ),
        ("ALTER STREAM RATINGS ADD COLUMN X INT;", "DROP STREAM"),
        ("DROP TABLE T;", "DROP STREAM"),
        ("RUN SCRIPT 'x.sql';", "thalweg sql -f"),
        ("CREATE TYPE A AS INT;", "write the type out"),
        ("CREATE SINK CONNECTOR C WITH ('a'='b');", "thalweg produce"),
        ("SHOW CONNECTORS;", "thalweg produce"),
        ("ASSERT TOPIC ratings;", "SHOW TOPICS"),
    ] {
        let refusal = refused(&engine, statement).await;
        assert_eq!(refusal.outcome, Outcome::Unsupported, "{statement}");
        assert!(refusal.message.contains(advice), "{statement}: {}", refusal.message);
    }
}

#[tokio::test]
async fn thousands_of_push_queries_are_refused_and_nobody_else_is() {
    let (_broker, engine) = demo().await;
    let select = || engine.execute("SELECT * FROM RATINGS EMIT CHANGES;", Default::default());
    let mut open = Vec::new();
    for _ in 0..1_000 {
        let mut answers = select();
        assert!(matches!(answers.recv().await, Some(Ok(Answer::Columns(_)))));
        open.push(answers);
    }
    for _ in 0..1_000 {
        let refusal = select().recv().await.unwrap().unwrap_err();
        assert_eq!(refusal.outcome, Outcome::Busy, "{refusal}");
    }
    // What is no query of a caller goes on, and a place that is free again is taken.
    rate(&engine, 1, 1, "web").await;
    run(&engine, "SHOW QUERIES;").await;
    drop(open.pop());
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !matches!(select().recv().await, Some(Ok(_))) {
        assert!(tokio::time::Instant::now() < deadline, "the place does not become free");
    }
}

#[tokio::test]
async fn an_insert_has_bounds_however_short_it_is() {
    let (broker, engine) = demo().await;
    let row = "(1, LPAD('a', 1000000, 'a'))";
    let rows = vec![row; 3_000].join(", ");
    let sql = format!("INSERT INTO RATINGS (STARS, MESSAGE) VALUES {rows};");
    let refusal = timeout(DEADLINE, refused(&engine, &sql)).await.unwrap();
    assert_eq!(refusal.outcome, Outcome::LimitReached, "{refusal}");
    assert!(broker.records(&"ratings".parse().unwrap()).is_empty());
    let variables =
        "DEFINE a = 'xxxxxxxxxxxxxxxx';".to_owned() + &"DEFINE a = '${a}${a}';".repeat(40);
    let refusal = timeout(DEADLINE, refused(&engine, &variables)).await.unwrap();
    assert_eq!(refusal.outcome, Outcome::LimitReached, "{refusal}");
    let long = refused(&engine, &format!("SELECT '{}' FROM RATINGS;", "x".repeat(10 << 20))).await;
    assert_eq!(long.outcome, Outcome::InvalidStatement, "{long}");
}

#[tokio::test]
async fn a_column_must_not_hide_a_pseudo_column() {
    let (_broker, engine) = demo().await;
    for (name, advice) in
        [("rowtime", "ROW_TIME"), ("ROWPARTITION", "ROW_PARTITION"), ("RowOffset", "ROW_OFFSET")]
    {
        let with = "WITH (KAFKA_TOPIC='ratings', VALUE_FORMAT='JSON')";
        for statement in [
            format!("CREATE STREAM RP (STARS INT, {name} INT) {with};"),
            format!("CREATE STREAM RP ({name} INT KEY, STARS INT) {with};"),
            format!("CREATE STREAM RP AS SELECT STARS, {name} FROM RATINGS;"),
            format!("CREATE STREAM RP AS SELECT STARS AS {name} FROM RATINGS;"),
        ] {
            let refusal = refused(&engine, &statement).await;
            assert_eq!(refusal.outcome, Outcome::InvalidStatement, "{refusal}");
            let upper = name.to_uppercase();
            assert!(
                refusal.message.contains(&format!("{upper} is a column that every row has")),
                "{refusal}"
            );
            assert!(refusal.message.contains(&format!("{upper} AS {advice}")), "{refusal}");
        }
    }
    run(&engine, "CREATE STREAM RP AS SELECT STARS, ROWTIME AS ROW_TIME FROM RATINGS;").await;
}
