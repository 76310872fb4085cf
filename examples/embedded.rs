//! A durable log inside your own program: write, read, and find everything again after a restart.
//!
//! `cargo run --example embedded -- FOLDER`, twice with the same folder.

use thalweg::{Outcome, Position, Record, Thalweg};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "embedded-data".to_owned());
    let thalweg = Thalweg::open(folder).await?;
    let visits = match thalweg.create_topic("visits", 1).await {
        Ok(topic) => topic,
        Err(refusal) if refusal.outcome == Outcome::TopicExists => "visits".parse()?,
        Err(refusal) => return Err(refusal.into()),
    };

    let producer = thalweg.producer();
    let ticket = producer.send(&visits, None, Record::new("you", "was here")).await?;
    let placed = ticket.await?;
    write(&format!("synced to disk at offset {}", placed.offset))?;

    let mut consumer = thalweg.consumer();
    consumer.assign(&visits, None, Position::Earliest).await?;
    loop {
        let record = consumer.next().await?;
        write(&format!("visit {} at {} ms since 1970", record.offset, record.timestamp))?;
        if record.offset == placed.offset {
            break;
        }
    }
    thalweg.close().await;
    Ok(())
}

fn write(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}")
}
