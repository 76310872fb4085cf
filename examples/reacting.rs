//! An application that reacts: a query derives what matters, the application follows the derived topic.
//!
//! Orders flow in, SQL keeps the large ones, and a subscriber acts on each as it comes. Everything in one process;
//! with `GrpcTransport` in the place of the local one it is the same code against `thalweg serve`.
//!
//! `cargo run --example reacting`

use std::io::Write as _;

use thalweg::{Position, Record, Thalweg};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let thalweg = Thalweg::ephemeral().await?;
    thalweg
        .sql(
            "CREATE STREAM orders (id BIGINT, customer STRING, amount DOUBLE)
               WITH (kafka_topic='orders', value_format='JSON', partitions=2);
             CREATE STREAM large_orders AS
               SELECT id, UCASE(customer) AS customer, amount FROM orders WHERE amount >= 100;",
        )
        .await?;

    // The application knows nothing of orders below a hundred, and nothing of whoever sends them.
    let mut large = thalweg.consumer();
    large.assign(&"LARGE_ORDERS".parse()?, None, Position::Earliest).await?;
    let reaction = tokio::spawn(async move {
        for _ in 0..3 {
            let order = large.next().await?;
            let value = order.value.unwrap_or_default();
            let line = format!("call the customer: {}\n", String::from_utf8_lossy(&value));
            std::io::stdout().write_all(line.as_bytes())?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    });

    let producer = thalweg.producer();
    for (id, customer, amount) in [
        (1, "ada", 20.0),
        (2, "grace", 250.0),
        (3, "mary", 99.9),
        (4, "edith", 100.0),
        (5, "joan", 4_711.0),
    ] {
        let order = format!(r#"{{"id": {id}, "customer": "{customer}", "amount": {amount}}}"#);
        producer.send(&"orders".parse()?, None, Record::new(id.to_string(), order)).await?;
    }
    producer.flush().await?;
    reaction.await?.map_err(|error| error.to_string())?;
    thalweg.close().await;
    Ok(())
}
