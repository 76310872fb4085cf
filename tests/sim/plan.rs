//! What a seed decides before anything runs: settings, topics, and what goes wrong in each life of the broker.

use std::path::PathBuf;

use broker::Config;
use broker::config::DurabilityMode;
use protocol::id::TopicName;
use storage::sim::Crash;

use crate::random::Random;

/// The data folder on the simulated disk.
pub(crate) const FOLDER: &str = "/data";

/// What an acknowledgement means, as `docs/operating.md` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// It survives everything but damage.
    Synced,
    /// A power cut costs at most the records acknowledged in the last so many milliseconds.
    Within(u64),
    /// A power cut costs some of the newest records.
    Written,
}

/// A topic of the simulation.
#[derive(Clone, Debug)]
pub(crate) struct TopicPlan {
    pub(crate) name: TopicName,
    pub(crate) partitions: u32,
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) promise: Promise,
    /// True when old segments may go.
    pub(crate) is_trimmed: bool,
}

/// How a life of the broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In order.
    Close,
    /// kill -9.
    Kill,
    /// The power goes.
    PowerCut(Crash),
}

/// One thing that goes wrong, so many changing disk operations after the broker was found sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) after: u64,
    pub(crate) fault: storage::sim::Fault,
}

/// One life of the broker.
#[derive(Clone, Debug)]
pub(crate) struct LifePlan {
    /// It ends after so many milliseconds, if it has not ended before.
    pub(crate) ms: u64,
    pub(crate) ending: Ending,
    /// Counted from the first operation of the opening.
    pub(crate) trouble: Option<Trouble>,
    /// The read of this number, counted from when the broker was found sound, fails.
    pub(crate) failing_read: Option<u64>,
    /// From..until, and bytes of room that are left then.
    pub(crate) full: Option<(u64, u64, u64)>,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) topics: Vec<TopicPlan>,
    pub(crate) producers: usize,
    pub(crate) lives: Vec<LifePlan>,
}

impl Plan {
    pub(crate) fn new(random: &mut Random) -> Self {
        let durability =
            *random.pick(&[DurabilityMode::Sync, DurabilityMode::Interval, DurabilityMode::Os]);
        let interval = random.between(5, 80);
        let config = Config {
            data_dir: PathBuf::from(FOLDER),
            durability,
            durability_interval_ms: interval,
            shards: usize::try_from(random.between(1, 4)).unwrap(),
            tail_bytes_max: usize::try_from(*random.pick(&[0, 3_000, 1 << 20])).unwrap(),
            retention_check_ms: random.between(20, 400),
            // Few enough that partitions take turns, or so many that none ever closes its files for another.
            open_files_max: usize::try_from(*random.pick(&[16, 1 << 20])).unwrap(),
            ..Config::default()
        };
        let broker_promise = match durability {
            DurabilityMode::Sync => Promise::Synced,
            DurabilityMode::Interval => Promise::Within(interval),
            DurabilityMode::Os => Promise::Written,
        };
        let topics = (0..random.between(2, 4)).map(|n| topic(random, n, broker_promise)).collect();
        let lives = (0..random.between(3, 6)).map(|_| life(random)).collect();
        let producers = usize::try_from(random.between(3, 7)).unwrap();
        Self { config, topics, producers, lives }
    }
}

fn topic(random: &mut Random, number: u64, broker: Promise) -> TopicPlan {
    let mut settings = vec![("segment.bytes", random.between(4_096, 20_000).to_string())];
    let (mut promise, mut is_trimmed) = (broker, false);
    let kind = *random.pick(&["plain", "synced", "timed", "counted", "short"]);
    match kind {
        "synced" => {
            settings.push(("flush.messages", "1".to_owned()));
            promise = Promise::Synced;
        }
        "timed" => {
            let ms = random.between(1, 60);
            settings.push(("flush.ms", ms.to_string()));
            promise = Promise::Within(ms);
        }
        "counted" => {
            settings.push(("flush.messages", random.between(2, 20).to_string()));
            promise = Promise::Written;
        }
        "short" => {
            settings.push(("retention.bytes", random.between(5_000, 20_000).to_string()));
            is_trimmed = true;
        }
        _ => {}
    }
    if random.one_in(4) {
        settings.push(("message.timestamp.type", "LogAppendTime".to_owned()));
    }
    let partitions = u32::try_from(random.between(1, 4)).unwrap();
    let name = format!("{kind}-{number}").parse().unwrap();
    TopicPlan { name, partitions, settings, promise, is_trimmed }
}

fn life(random: &mut Random) -> LifePlan {
    use storage::sim::Fault;
    let crash = match random.below(4) {
        0 => Crash::LoseAll,
        1 => Crash::KeepAll { torn_bytes: random.below(4_000) },
        2 => Crash::KeepLast { torn_bytes: random.below(4_000) },
        _ => Crash::Random,
    };
    let ending = match random.below(6) {
        0 => Ending::Close,
        1 | 2 => Ending::Kill,
        _ => Ending::PowerCut(crash),
    };
    let fault = match random.below(8) {
        0..=3 => Some(Fault::PowerLoss),
        4 | 5 => Some(Fault::Broken),
        6 => Some(Fault::Full),
        _ => None,
    };
    // Now and then while the broker opens, most often later.
    let bound = *random.pick(&[30, 300, 300, 900]);
    let trouble = fault.map(|fault| Trouble { after: random.below(bound), fault });
    let failing_read = random.one_in(4).then(|| random.below(60));
    let ms = random.between(100, 900);
    let full = random.one_in(4).then(|| {
        let from = random.below(ms);
        (from, random.between(from, ms) + 1, random.below(3_000))
    });
    LifePlan { ms, ending, trouble, failing_read, full }
}
