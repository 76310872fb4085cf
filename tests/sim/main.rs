//! The whole broker on a disk that fails as disks fail, in time that a test holds, from a seed.
//!
//! Idempotent producers, readers, and somebody who changes topics work through several lives of one broker. Each life may
//! end by kill -9 or a power cut at any operation, with torn and lost writes, failed syncs, failed reads, and a full disk on
//! the way; at the very end bits are flipped. The rules by which an oracle judges are in `oracle.rs`. The same seed gives
//! the same life to the byte.
//!
//! `cargo sim` runs many seeds in release; `THALWEG_SIM_SEEDS` says how many, `THALWEG_SIM_SEED` names one alone,
//! and shows what led to its failure.

#![expect(clippy::unwrap_used, reason = "a test may fail")]
#![expect(clippy::print_stdout, reason = "a failed test tells what led to it")]

mod admin;
mod damage;
mod life;
mod oracle;
mod plan;
mod producer;
mod random;
mod reader;
mod reading;
mod record;

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use storage::sim::{Lie, SimDisk};

use crate::life::{Actors, Ground};
use crate::plan::{Ending, LifePlan, Plan};
use crate::random::Random;

/// Where the seeds of these tests begin; `THALWEG_SIM_FROM` moves it, to try others than those of yesterday.
const FIRST_SEED: u64 = 1;

/// Prints the end of the trace when a judgement fails: what led to it.
struct LastWords<'a>(&'a RefCell<String>);

impl Drop for LastWords<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && variable("THALWEG_SIM_SEED").is_some() {
            let trace = self.0.borrow();
            let lines: Vec<&str> = trace.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"));
        }
    }
}

/// How much of a trace is shown.
const LAST_LINES: usize = 300;

/// What a simulation was like.
struct Run {
    /// Everything that happened, actors and disk, in text.
    trace: String,
    /// Records that somebody was told of.
    records: usize,
}

/// All lives of one seed.
fn run(seed: u64, lie: Option<Lie>) -> Run {
    let mut random = Random::new(seed);
    let plan = Plan::new(&mut random);
    let disk = SimDisk::new(random.next());
    lie.into_iter().for_each(|lie| disk.lie_about_syncs(lie));
    let oracle = oracle::Oracle::new(&plan.topics);
    let places = oracle.places();
    let mut actors = Actors {
        producers: (0..plan.producers as u64)
            .map(|id| producer::Producer::new(id, *random.pick(&places), random.fork()))
            .collect(),
        followers: places
            .chunks(2)
            .map(|places| reader::Follower::new(places.iter().copied(), random.fork()))
            .collect(),
        sweeper: reader::Sweeper::new(places.clone(), random.fork()),
        admin: admin::Admin::new(random.fork()),
    };
    let ground = Ground {
        disk,
        plan,
        oracle: RefCell::new(oracle),
        trace: RefCell::new(String::new()),
        now: Cell::new(record::START),
        created: Cell::new(0),
    };
    let last_words = LastWords(&ground.trace);
    for life in &ground.plan.lives {
        life::live(&ground, &mut actors, life, false);
    }
    // Nothing goes wrong any more: everybody gets an answer, and all is held against the oracle once more.
    let calm =
        LifePlan { ms: 200, ending: Ending::Close, trouble: None, failing_read: None, full: None };
    life::live(&ground, &mut actors, &calm, true);
    let hits = damage::flip(&ground.disk, &ground.plan.topics, &mut random);
    let _ = writeln!(ground.trace.borrow_mut(), "bits flipped: {hits:?}");
    ground.oracle.borrow_mut().hit(&hits);
    life::live(&ground, &mut actors, &calm, true);
    drop(last_words);
    let mut trace = ground.trace.into_inner();
    for step in ground.disk.trace() {
        let _ = writeln!(trace, "{step:?}");
    }
    Run { trace, records: ground.oracle.into_inner().known() }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

fn seeds(unless_told: u64) -> std::ops::Range<u64> {
    if let Some(seed) = variable("THALWEG_SIM_SEED") {
        return seed..seed + 1;
    }
    let first = variable("THALWEG_SIM_FROM").unwrap_or(FIRST_SEED);
    first..first + variable("THALWEG_SIM_SEEDS").unwrap_or(unless_told)
}

/// Runs every seed, on all processors; a failure says how to repeat it.
fn for_each_seed(seeds: std::ops::Range<u64>, judge: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(None);
    let work = || {
        while failed.lock().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if std::panic::catch_unwind(AssertUnwindSafe(|| judge(seed))).is_err() {
                failed.lock().get_or_insert(seed);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    if let Some(seed) = failed.into_inner() {
        panic!("seed {seed}: see above; to repeat: THALWEG_SIM_SEED={seed} cargo test --test sim");
    }
}

#[test]
fn what_is_acknowledged_is_there_in_order_once_whatever_the_disk_does() {
    let records = AtomicU64::new(0);
    let seeds = seeds(10);
    let count = seeds.end - seeds.start;
    for_each_seed(seeds, |seed| {
        records.fetch_add(run(seed, None).records as u64, Ordering::Relaxed);
    });
    let each = records.into_inner() / count;
    assert!(each > 20, "only {each} records a seed: that tests nothing");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for_each_seed(seeds(10).step_down(5), |seed| {
        let (one, other) = (run(seed, None).trace, run(seed, None).trace);
        let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "the first line in which two runs differ");
        assert_eq!(one.len(), other.len());
    });
}

/// Fewer of the same.
trait StepDown {
    fn step_down(self, by: u64) -> Self;
}

impl StepDown for std::ops::Range<u64> {
    fn step_down(self, by: u64) -> Self {
        self.start..self.start + (self.end - self.start).div_ceil(by)
    }
}

/// Tests the test: a disk whose syncs do nothing is what a broker looks like that answers before it has synced.
#[test]
fn a_sync_that_does_nothing_is_noticed() {
    for lie in [Lie::Files, Lie::Folders] {
        let noticed = (FIRST_SEED..FIRST_SEED + 30)
            .any(|seed| std::panic::catch_unwind(|| run(seed, Some(lie))).is_err());
        assert!(noticed, "{lie:?}");
    }
}
