//! Reading a topic from its start when its files are in the memory of the operating system.

use std::sync::Arc;
use std::time::Instant;

use client::consumer::{Consumer, ConsumerConfig};
use client::transport::Transport;
use protocol::batch::Header;
use protocol::id::{Offset, Partition, TopicName};
use protocol::verbs::{FetchEntry, FetchRequest, Position};

use crate::Result;
use crate::house::{Door, Durability, House, Topic};
use crate::plan::{Plan, Section};
use crate::produce;
use crate::results::{Column, Results};

/// Bytes of a topic that is read.
const TOPIC_BYTES: u64 = 512 * 1024 * 1024;

/// As the client asks unless told otherwise.
const FETCH_BYTES: u32 = 4 * 1024 * 1024;

const WAIT_MS: u32 = 1000;

/// How far a reader opens what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// To records, as programs do.
    Records,
    /// Batches as stored, unchecked: what the broker and the way cost.
    Batches,
}

/// The row of a record size, a door and a depth.
pub(crate) fn row(record_bytes: usize, door: Door, depth: Depth) -> String {
    let as_stored = match depth {
        Depth::Records => "",
        Depth::Batches => ", batches as stored",
    };
    format!("{record_bytes} B, {}{as_stored}", door.name())
}

/// Topics to read from: made in the first round, read in all.
#[derive(Debug, Default)]
pub(crate) struct Filled(Vec<Stock>);

#[derive(Debug)]
struct Stock {
    door: Door,
    record_bytes: usize,
    topic: TopicName,
    records: u64,
}

impl Filled {
    async fn fill(&mut self, house: &House, plan: &Plan) -> Result<()> {
        for door in Door::ALL {
            for record_bytes in [100, 1024] {
                let transport = house.transport(door)?;
                let name = format!("consume-{record_bytes}");
                let topic = Topic::create(Arc::clone(&transport), &name, 1, Durability::Os).await?;
                let bytes = plan.bytes(TOPIC_BYTES);
                let records = produce::fill(transport, &topic.name, record_bytes, bytes).await?;
                self.0.push(Stock { door, record_bytes, topic: topic.name, records });
            }
        }
        Ok(())
    }
}

pub(crate) async fn measure(
    house: &House,
    plan: &Plan,
    filled: &mut Filled,
    results: &mut Results,
) -> Result<()> {
    if filled.0.is_empty() {
        filled.fill(house, plan).await?;
        house.settle()?;
    }
    for Stock { door, record_bytes, topic, records } in &filled.0 {
        for depth in [Depth::Records, Depth::Batches] {
            let name = row(*record_bytes, *door, depth);
            if !plan.wants(&name) {
                continue;
            }
            let transport = house.transport(*door)?;
            // Connects, which is not to be measured.
            transport.describe_topic(topic.clone()).await?;
            let before = house.meter(*door)?;
            let start = Instant::now();
            match depth {
                Depth::Records => read_records(transport, topic, *records).await?,
                Depth::Batches => read_batches(&*transport, topic, *records).await?,
            }
            let seconds = start.elapsed().as_secs_f64();
            let used = house.meter(*door)?.since(before);
            let count = *records as f64;
            let figures = [
                (Column::Records, count / seconds),
                (Column::Megabytes, count * *record_bytes as f64 / 1e6 / seconds),
                (Column::CpuUs, used.cpu_us_per(count)),
            ];
            results.add(Section::Consume, &name, &figures);
        }
    }
    Ok(())
}

async fn read_records(
    transport: Arc<dyn Transport>,
    topic: &TopicName,
    records: u64,
) -> Result<()> {
    let mut consumer = Consumer::new(transport, ConsumerConfig::default());
    consumer.assign(topic, Some(Partition::ZERO), Position::Earliest).await?;
    let mut seen = 0;
    while seen < records {
        let batch = consumer.next_batch().await?;
        seen += std::hint::black_box(batch).len() as u64;
    }
    Ok(())
}

async fn read_batches(transport: &dyn Transport, topic: &TopicName, records: u64) -> Result<()> {
    let mut offset = Offset::ZERO;
    while offset < Offset::ZERO.plus(records) {
        let entry = FetchEntry {
            topic: topic.clone(),
            partition: Partition::ZERO,
            offset,
            bytes_max: FETCH_BYTES,
        };
        let request = FetchRequest {
            entries: vec![entry],
            bytes_min: 1,
            wait_ms_max: WAIT_MS,
            bytes_max: FETCH_BYTES,
        };
        let reply = transport.fetch(request).await?;
        let fetched = reply.entries.into_iter().next().ok_or("an answer without an entry")??;
        for piece in fetched.batches {
            let mut rest = &*piece;
            while !rest.is_empty() {
                let header = Header::read(rest)?;
                offset = header.end_offset();
                rest = rest.get(header.total_bytes..).ok_or("a batch is cut short")?;
            }
        }
    }
    Ok(())
}
