//! Producers with as many records under way as their buffers hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::producer::{Producer, ProducerConfig};
use client::transport::Transport;
use protocol::id::{Partition, TopicName};

use crate::Result;
use crate::house::{Door, Durability, House, Topic};
use crate::payload::Payload;
use crate::plan::{Plan, Section};
use crate::results::{Column, Results};

/// One measurement ends after so many bytes even when its time has not passed: the disk is not ours alone.
pub(crate) const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Records that are handed over together; then the clock is looked at.
const RECORDS_AT_ONCE: u64 = 1_000;

/// A batch of about a thousand records of 1 KiB, and the largest that a topic takes unless told otherwise.
const BATCH_BYTES: usize = 1024 * 1024;

/// What is asked of the producers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) record_bytes: usize,
    pub(crate) producers: usize,
    pub(crate) partitions: u32,
    pub(crate) durability: Durability,
    pub(crate) batch_bytes: Option<usize>,
}

impl Load {
    fn name(&self, door: Door) -> String {
        let Self { record_bytes, producers, partitions, durability, batch_bytes } = *self;
        let (door, durability) = (door.name(), durability.name());
        let mut name = format!("{record_bytes} B, {producers} × {durability}, {door}");
        if partitions > 1 {
            name.push_str(&format!(", {partitions} partitions"));
        }
        if batch_bytes.is_none() {
            name.push_str(", client's defaults");
        }
        name
    }
}

/// The row of a simple load: one partition, batches of a MiB.
pub(crate) fn row(
    record_bytes: usize,
    producers: usize,
    durability: Durability,
    door: Door,
) -> String {
    simple(record_bytes, producers, durability).name(door)
}

fn simple(record_bytes: usize, producers: usize, durability: Durability) -> Load {
    Load { record_bytes, producers, partitions: 1, durability, batch_bytes: Some(BATCH_BYTES) }
}

fn loads() -> Vec<Load> {
    let mut loads = Vec::new();
    for durability in [Durability::Sync, Durability::Interval, Durability::Os] {
        for record_bytes in [100, 1024] {
            for producers in [1, 4] {
                loads.push(simple(record_bytes, producers, durability));
            }
        }
    }
    for durability in [Durability::Sync, Durability::Os] {
        loads.push(Load { batch_bytes: None, ..simple(1024, 1, durability) });
        loads.push(Load { partitions: 4, ..simple(1024, 4, durability) });
    }
    loads
}

pub(crate) async fn measure(house: &House, plan: &Plan, results: &mut Results) -> Result<()> {
    for load in loads() {
        for door in Door::ALL {
            let name = load.name(door);
            if !plan.wants(&name) {
                continue;
            }
            house.settle()?;
            let stop = Stop { after: plan.window, bytes: plan.bytes(BYTES_MAX) };
            let figures = run(house, door, load, stop).await?;
            results.add(Section::Produce, &name, &figures);
        }
    }
    Ok(())
}

async fn run(house: &House, door: Door, load: Load, stop: Stop) -> Result<Vec<(Column, f64)>> {
    let Load { record_bytes, producers, partitions, durability, .. } = load;
    let topic = Topic::create(house.transport(door)?, "produce", partitions, durability).await?;
    let mut pumps = Vec::new();
    for number in 0..producers {
        pumps.push(Pump::prepare(house.transport(door)?, &topic.name, load, number).await?);
    }
    let stop = Stop { bytes: stop.bytes / producers as u64, ..stop };
    let before = house.meter(door)?;
    let start = Instant::now();
    let running: Vec<_> = pumps.into_iter().map(|pump| tokio::spawn(pump.run(stop))).collect();
    let mut records = 0;
    for pump in running {
        records += pump.await??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let used = house.meter(door)?.since(before);
    // One record of each producer went before.
    topic.finish(records + producers as u64).await?;

    let count = records as f64;
    let megabytes = count * record_bytes as f64 / 1e6;
    let mut figures = vec![
        (Column::Records, count / seconds),
        (Column::Megabytes, megabytes / seconds),
        (Column::CpuUs, used.cpu_us_per(count)),
        (Column::Syncs, used.syncs / seconds),
    ];
    if used.syncs > 0.0 {
        figures.push((Column::MegabytesPerSync, megabytes / used.syncs));
    }
    Ok(figures)
}

/// When a producer has sent enough: whatever comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) after: Duration,
    pub(crate) bytes: u64,
}

/// A producer at full speed.
#[derive(Debug)]
pub(crate) struct Pump {
    producer: Producer,
    topic: TopicName,
    partition: Partition,
    payload: Payload,
    record_bytes: u64,
}

impl Pump {
    /// A producer that has its connection, its identity, and one record in the topic.
    pub(crate) async fn prepare(
        transport: Arc<dyn Transport>,
        topic: &TopicName,
        load: Load,
        number: usize,
    ) -> Result<Self> {
        let mut config = ProducerConfig::default();
        if let Some(bytes) = load.batch_bytes {
            config = config.batch_bytes(bytes);
        }
        let producer = Producer::new(transport, config);
        let partition = Partition::new(i64::try_from(number)? % i64::from(load.partitions))?;
        let mut payload = Payload::new(load.record_bytes, number as u64 + 1);
        producer.send(topic, Some(partition), payload.record()).await?.await?;
        let record_bytes = load.record_bytes as u64;
        Ok(Self { producer, topic: topic.clone(), partition, payload, record_bytes })
    }

    /// Sends until `stop`, waits until all is acknowledged, and says how many that were.
    pub(crate) async fn run(mut self, stop: Stop) -> Result<u64> {
        let start = Instant::now();
        let mut records = 0;
        while start.elapsed() < stop.after && records * self.record_bytes < stop.bytes {
            let some = std::iter::repeat_with(|| self.payload.record());
            let some = some.take(usize::try_from(RECORDS_AT_ONCE)?);
            // The tickets are dropped: the flush below tells of every failure.
            self.producer.send_all(&self.topic, Some(self.partition), some).await?;
            records += RECORDS_AT_ONCE;
        }
        self.producer.flush().await?;
        Ok(records)
    }
}

/// Fills a topic with so many bytes of records, acknowledged when written.
pub(crate) async fn fill(
    transport: Arc<dyn Transport>,
    topic: &TopicName,
    record_bytes: usize,
    bytes: u64,
) -> Result<u64> {
    let pump = Pump::prepare(transport, topic, simple(record_bytes, 1, Durability::Os), 0).await?;
    let records = pump.run(Stop { after: Duration::MAX, bytes }).await?;
    Ok(records + 1)
}

/// A producer at full speed for measurements of others.
pub(crate) async fn pump(
    transport: Arc<dyn Transport>,
    topic: &TopicName,
    record_bytes: usize,
) -> Result<Pump> {
    Pump::prepare(transport, topic, simple(record_bytes, 1, Durability::Os), 0).await
}
