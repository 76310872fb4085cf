//! One producer at full speed and many consumers that follow it, each with a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use client::consumer::{Consumer, ConsumerConfig};
use client::transport::Transport;
use protocol::id::{Partition, TopicName};
use protocol::verbs::Position;
use tokio::task::JoinSet;

use crate::Result;
use crate::house::{Door, Durability, House, Topic};
use crate::plan::{Plan, Section};
use crate::produce::{self, Stop};
use crate::results::{Column, Results};

const RECORD_BYTES: usize = 1024;

/// A hundred readers with the client's usual buffers would take gigabytes.
const FETCH_BYTES: usize = 1024 * 1024;
const BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// The row of so many consumers.
pub(crate) fn row(consumers: usize) -> String {
    format!("{consumers} {}", if consumers == 1 { "consumer" } else { "consumers" })
}

pub(crate) async fn measure(house: &House, plan: &Plan, results: &mut Results) -> Result<()> {
    // Not counted: memory that was free for a while is slow when it is first written to again.
    run(house, plan, 0).await?;
    for consumers in [0, 1, 10, 100] {
        let name = row(consumers);
        if plan.wants(&name) {
            results.add(Section::FanOut, &name, &run(house, plan, consumers).await?);
        }
    }
    Ok(())
}

async fn run(house: &House, plan: &Plan, consumers: usize) -> Result<[(Column, f64); 3]> {
    house.settle()?;
    let door = Door::Grpc;
    let topic = Topic::create(house.transport(door)?, "fan-out", 1, Durability::Os).await?;
    let pump = produce::pump(house.transport(door)?, &topic.name, RECORD_BYTES).await?;
    let read = Arc::new(AtomicU64::new(0));
    let mut following = JoinSet::new();
    for _ in 0..consumers {
        let consumer = follow(house.transport(door)?, &topic.name).await?;
        following.spawn(count(consumer, Arc::clone(&read)));
    }
    let before = house.meter(door)?;
    let start = Instant::now();
    let stop = Stop { after: plan.window, bytes: plan.bytes(produce::BYTES_MAX) };
    let written = pump.run(stop).await?;
    let seconds = start.elapsed().as_secs_f64();
    let read = read.load(Ordering::Relaxed) as f64;
    let used = house.meter(door)?.since(before);
    if let Some(ended) = following.try_join_next() {
        return Err(format!("a consumer ended: {}", ended?).into());
    }
    following.shutdown().await;
    topic.finish(written + 1).await?;
    Ok([
        (Column::Records, written as f64 / seconds),
        (Column::ReadRecords, read / seconds),
        (Column::CpuUs, used.cpu_us_per(written as f64 + read)),
    ])
}

async fn follow(transport: Arc<dyn Transport>, topic: &TopicName) -> Result<Consumer> {
    let config = ConsumerConfig::default().fetch_bytes(FETCH_BYTES).buffer_bytes(BUFFER_BYTES);
    let mut consumer = Consumer::new(transport, config);
    consumer.assign(topic, Some(Partition::ZERO), Position::Latest).await?;
    Ok(consumer)
}

async fn count(mut consumer: Consumer, read: Arc<AtomicU64>) -> client::error::Error {
    loop {
        match consumer.next_batch().await {
            Ok(batch) => {
                read.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
            Err(error) => return error,
        }
    }
}
