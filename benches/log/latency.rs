//! Producers that wait for each record before they send the next: how long, and how many share a sync.

use std::time::{Duration, Instant};

use client::producer::{Producer, ProducerConfig};
use protocol::id::{Partition, TopicName};

use crate::Result;
use crate::house::{Door, Durability, House, Topic};
use crate::payload::Payload;
use crate::plan::{Plan, Section};
use crate::results::{Column, Results};
use crate::stats::Waits;

const RECORD_BYTES: usize = 1024;

/// The row of so many producers.
pub(crate) fn row(producers: usize, durability: Durability, door: Door) -> String {
    format!("{producers} × {}, {}", durability.name(), door.name())
}

pub(crate) async fn measure(house: &House, plan: &Plan, results: &mut Results) -> Result<()> {
    for durability in [Durability::Sync, Durability::Os] {
        for producers in [1, 64] {
            for door in Door::ALL {
                let name = row(producers, durability, door);
                if !plan.wants(&name) {
                    continue;
                }
                house.settle()?;
                run(house, door, producers, durability, plan, (&name, results)).await?;
            }
        }
    }
    Ok(())
}

async fn run(
    house: &House,
    door: Door,
    producers: usize,
    durability: Durability,
    plan: &Plan,
    (name, results): (&str, &mut Results),
) -> Result<()> {
    // One partition: a sync is shared by those who write to the same log.
    let topic = Topic::create(house.transport(door)?, "latency", 1, durability).await?;
    let mut ready = Vec::new();
    for number in 0..producers {
        // As from so many programs: each with a connection of its own.
        let producer = Producer::new(house.transport(door)?, ProducerConfig::default());
        let mut payload = Payload::new(RECORD_BYTES, number as u64 + 1);
        producer.send(&topic.name, Some(Partition::ZERO), payload.record()).await?.await?;
        ready.push((producer, payload));
    }
    let before = house.meter(door)?;
    let start = Instant::now();
    let running: Vec<_> = ready
        .into_iter()
        .map(|(producer, payload)| {
            tokio::spawn(one_by_one(producer, topic.name.clone(), payload, plan.window))
        })
        .collect();
    let mut waits = Waits::default();
    for producer in running {
        waits.append(producer.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let used = house.meter(door)?.since(before);
    let count = waits.len() as f64;
    topic.finish((waits.len() + producers) as u64).await?;

    results.add(Section::Latency, name, &[(Column::Records, count / seconds)]);
    results.add_waits(Section::Latency, name, &mut waits);
    results.add(Section::Latency, name, &[(Column::CpuUs, used.cpu_us_per(count))]);
    if used.syncs > 0.0 {
        results.add(Section::Latency, name, &[(Column::RecordsPerSync, count / used.syncs)]);
    }
    Ok(())
}

async fn one_by_one(
    producer: Producer,
    topic: TopicName,
    mut payload: Payload,
    window: Duration,
) -> Result<Waits> {
    let start = Instant::now();
    let mut waits = Waits::default();
    while start.elapsed() < window {
        let record = payload.record();
        let sent = Instant::now();
        producer.send(&topic, Some(Partition::ZERO), record).await?.await?;
        waits.push(sent.elapsed());
    }
    Ok(waits)
}
