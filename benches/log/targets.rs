//! Pure: what the figures of a run are held against. Every target is a ratio between two rows of the same run, or a
//! processor time, which a busy machine hardly moves; or one of the few times and sizes that people feel.

use crate::consume::{self, Depth};
use crate::fan_out;
use crate::house::{Door, Durability};
use crate::latency;
use crate::limits;
use crate::pace;
use crate::plan::Section;
use crate::produce;
use crate::results::{Column, Results};
use crate::start;

/// Which side of its bound a figure should be on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }
}

/// A target and what was reached; `None`: not measured in this run.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) bound: Bound,
    pub(crate) reached: Option<f64>,
}

/// Up to so many megabytes a sync, the limit with a sync each MiB is the one to compare with.
const SMALL_SYNC_MEGABYTES: f64 = 4.0;

/// All targets, with what `results` say of them.
pub(crate) fn targets(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    writing(results, &mut targets);
    waiting(results, &mut targets);
    reading(results, &mut targets);
    starting(results, &mut targets);
    targets
}

fn push(targets: &mut Vec<Target>, what: String, bound: Bound, reached: Option<f64>) {
    targets.push(Target { what, bound, reached });
}

fn ratio(above: Option<f64>, below: Option<f64>) -> Option<f64> {
    Some(above? / below?)
}

fn limit(results: &Results, name: &str, column: Column) -> Option<f64> {
    results.median(Section::Limits, name, column)
}

fn writing(results: &Results, targets: &mut Vec<Target>) {
    let produced = |bytes, durability, door, column| {
        results.median(Section::Produce, &produce::row(bytes, 1, durability, door), column)
    };
    for door in Door::ALL {
        let synced = |column| produced(1024, Durability::Sync, door, column);
        let cadence = match synced(Column::MegabytesPerSync) {
            Some(megabytes) if megabytes > SMALL_SYNC_MEGABYTES => limits::WRITE_EACH_16,
            Some(_) | None => limits::WRITE_EACH_1,
        };
        let reached = ratio(synced(Column::Megabytes), limit(results, cadence, Column::Megabytes));
        let what = format!("produce 1 KiB, sync, {} ÷ {cadence}", door.name());
        push(targets, what, Bound::AtLeast(0.75), reached);
        let reached = ratio(
            produced(1024, Durability::Os, door, Column::Megabytes),
            limit(results, limits::WRITE_AT_END, Column::Megabytes),
        );
        let what = format!("produce 1 KiB, os, {} ÷ {}", door.name(), limits::WRITE_AT_END);
        push(targets, what, Bound::AtLeast(0.7), reached);
    }
    for (bytes, bound) in [(1024, 1.0), (100, 0.25)] {
        let what = format!("produce {bytes} B, os, gRPC: server CPU µs/record");
        let reached = produced(bytes, Durability::Os, Door::Grpc, Column::CpuUs);
        push(targets, what, Bound::AtMost(bound), reached);
        let records = |door| produced(bytes, Durability::Os, door, Column::Records);
        let what = format!("produce {bytes} B, os: in process ÷ gRPC");
        let reached = ratio(records(Door::InProcess), records(Door::Grpc));
        push(targets, what, Bound::AtLeast(1.5), reached);
    }
}

fn waiting(results: &Results, targets: &mut Vec<Target>) {
    for door in Door::ALL {
        let waited = |producers, column| {
            let row = latency::row(producers, Durability::Sync, door);
            results.median(Section::Latency, &row, column)
        };
        let what = format!("one in flight, sync, {}: p50 ÷ {}", door.name(), limits::APPEND);
        let reached = ratio(waited(1, Column::P50), limit(results, limits::APPEND, Column::P50));
        push(targets, what, Bound::AtMost(1.5), reached);
        let what = format!("sync, {}: 64 producers ÷ one", door.name());
        let reached = ratio(waited(64, Column::Records), waited(1, Column::Records));
        push(targets, what, Bound::AtLeast(20.0), reached);

        let paced =
            |durability| results.median(Section::Pace, &pace::row(durability, door), Column::P99);
        let what = format!("{}: p99 µs", pace::row(Durability::Os, door));
        push(targets, what, Bound::AtMost(500.0), paced(Durability::Os));
        let what =
            format!("{}: p99 ÷ that of {}", pace::row(Durability::Sync, door), limits::APPEND);
        let reached = ratio(paced(Durability::Sync), limit(results, limits::APPEND, Column::P99));
        push(targets, what, Bound::AtMost(3.0), reached);
    }
    let row = pace::rolling_row(Durability::Os, Door::Grpc);
    let reached = results.median(Section::Pace, &row, Column::P99);
    push(targets, format!("{row}: p99 µs"), Bound::AtMost(500.0), reached);
}

fn reading(results: &Results, targets: &mut Vec<Target>) {
    let consumed = |bytes, depth, column| {
        results.median(Section::Consume, &consume::row(bytes, Door::Grpc, depth), column)
    };
    let tcp = limit(results, limits::TCP, Column::Megabytes);
    for (depth, how) in [(Depth::Records, ""), (Depth::Batches, ", batches as stored")] {
        let what = format!("consume 1 KiB, gRPC{how} ÷ {}", limits::TCP);
        let reached = ratio(consumed(1024, depth, Column::Megabytes), tcp);
        push(targets, what, Bound::AtLeast(0.5), reached);
    }
    for (bytes, bound) in [(1024, 0.5), (100, 0.1)] {
        let what = format!("consume {bytes} B, gRPC: server CPU µs/record");
        let reached = consumed(bytes, Depth::Records, Column::CpuUs);
        push(targets, what, Bound::AtMost(bound), reached);
    }
    let followed =
        |consumers, column| results.median(Section::FanOut, &fan_out::row(consumers), column);
    for consumers in [1, 10, 100] {
        let what = format!("the producer's rate with {} ÷ with none", fan_out::row(consumers));
        let reached = ratio(followed(consumers, Column::Records), followed(0, Column::Records));
        push(targets, what, Bound::AtLeast(0.8), reached);
    }
}

fn starting(results: &Results, targets: &mut Vec<Target>) {
    let started = |name, column| results.median(Section::Start, name, column);
    let what = "empty folder: process start to ready, ms".to_owned();
    push(targets, what, Bound::AtMost(20.0), started(start::EMPTY, Column::ReadyMs));
    let what = "idle memory, MiB".to_owned();
    push(targets, what, Bound::AtMost(15.0), started(start::EMPTY, Column::MemoryMib));
}
