//! A given number of records a second: how long each waits for its acknowledgement, counted from the time at which it
//! was meant to be sent. Whoever is late to send counts as waiting, so that a stall is seen by all records that it hit.

use std::time::{Duration, Instant};

use client::producer::{Producer, ProducerConfig, Ticket};
use protocol::id::{Partition, TopicName};
use tokio::sync::mpsc;

use crate::Result;
use crate::house::{Door, Durability, House, Setting, Topic};
use crate::payload::Payload;
use crate::plan::{Plan, Section};
use crate::results::{Column, Results};
use crate::stats::Waits;

const RECORD_BYTES: usize = 1024;
const RECORDS_PER_SECOND: u32 = 20_000;

/// So many windows of other measurements: one that looks at the slowest records needs more of them.
const WINDOWS: u32 = 2;

/// With segments of this size one is full about each 0.8 s: what a roll costs those who wait is then seen.
const SMALL_SEGMENT: Setting = ("segment.bytes", "16777216");

/// The row of a durability and a door.
pub(crate) fn row(durability: Durability, door: Door) -> String {
    format!("20,000 records/s, {}, {}", durability.name(), door.name())
}

/// The same with small segments.
pub(crate) fn rolling_row(durability: Durability, door: Door) -> String {
    format!("{}, rolling each 16 MiB", row(durability, door))
}

pub(crate) async fn measure(house: &House, plan: &Plan, results: &mut Results) -> Result<()> {
    for durability in [Durability::Os, Durability::Sync] {
        for door in Door::ALL {
            let name = row(durability, door);
            paced(house, door, plan, (&name, results), durability.setting()).await?;
        }
    }
    let (durability, door) = (Durability::Os, Door::Grpc);
    let name = rolling_row(durability, door);
    let settings = durability.setting().into_iter().chain([SMALL_SEGMENT]);
    paced(house, door, plan, (&name, results), settings).await
}

async fn paced(
    house: &House,
    door: Door,
    plan: &Plan,
    (name, results): (&str, &mut Results),
    settings: impl IntoIterator<Item = Setting>,
) -> Result<()> {
    if !plan.wants(name) {
        return Ok(());
    }
    house.settle()?;
    let topic = Topic::create_with(house.transport(door)?, "pace", 1, settings).await?;
    let producer = Producer::new(house.transport(door)?, ProducerConfig::default());
    let mut payload = Payload::new(RECORD_BYTES, 1);
    producer.send(&topic.name, Some(Partition::ZERO), payload.record()).await?.await?;

    let before = house.meter(door)?;
    let mut waits = run(producer, topic.name.clone(), payload, plan.window * WINDOWS).await?;
    let used = house.meter(door)?.since(before);
    topic.finish(waits.len() as u64 + 1).await?;
    results.add_waits(Section::Pace, name, &mut waits);
    let cpu_us = used.cpu_us_per(waits.len() as f64);
    results.add(Section::Pace, name, &[(Column::CpuUs, cpu_us)]);
    Ok(())
}

async fn run(
    producer: Producer,
    topic: TopicName,
    payload: Payload,
    window: Duration,
) -> Result<Waits> {
    // Bounded by the number of records.
    let (sent, mut under_way) = mpsc::unbounded_channel::<(Instant, Ticket)>();
    let runtime = tokio::runtime::Handle::current();
    // A thread of its own: timers of the runtime count in milliseconds, and its workers have other work.
    let sender = std::thread::spawn(move || -> Result<()> {
        let mut payload = payload;
        let start = Instant::now();
        let mut meant = start;
        while meant < start + window {
            let early = meant.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                std::thread::park_timeout(early);
                continue;
            }
            let record = payload.record();
            let sending = producer.send(&topic, Some(Partition::ZERO), record);
            sent.send((meant, runtime.block_on(sending)?))?;
            meant += Duration::from_secs(1) / RECORDS_PER_SECOND;
        }
        Ok(())
    });
    let mut waits = Waits::default();
    // In the order of sending, which is that of the acknowledgements.
    while let Some((meant, ticket)) = under_way.recv().await {
        ticket.await?;
        waits.push(meant.elapsed());
    }
    tokio::task::spawn_blocking(|| sender.join())
        .await?
        .map_err(|_| "the thread of the sender panicked")??;
    Ok(waits)
}
