//! What is measured and how long: the command line and the sizes that follow from it.

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;

/// A part of the benchmarks that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// What the machine can do at all.
    Limits,
    /// Many records under way.
    Produce,
    /// One record under way for each producer.
    Latency,
    /// A given number of records a second.
    Pace,
    /// Reading from the start.
    Consume,
    /// Many readers behind one writer.
    FanOut,
    /// From nothing to ready.
    Start,
}

impl Section {
    pub(crate) const ALL: [Self; 7] = [
        Self::Limits,
        Self::Produce,
        Self::Latency,
        Self::Pace,
        Self::Consume,
        Self::FanOut,
        Self::Start,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Produce => "produce",
            Self::Latency => "latency",
            Self::Pace => "pace",
            Self::Consume => "consume",
            Self::FanOut => "fan-out",
            Self::Start => "start",
        }
    }
}

/// How to measure.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// True for a short look at everything.
    pub(crate) quick: bool,
    /// How often each row is measured.
    pub(crate) rounds: usize,
    /// How long one measurement of a rate lasts.
    pub(crate) window: Duration,
    /// Where data folders are made, and deleted at the end.
    pub(crate) dir: PathBuf,
    /// Sections that were asked for; empty for all.
    wanted: Vec<Section>,
    /// Only rows whose name holds this text.
    row: String,
}

impl Plan {
    /// The sections to run, in their order.
    pub(crate) fn sections(&self) -> impl Iterator<Item = Section> {
        Section::ALL
            .into_iter()
            .filter(|section| self.wanted.is_empty() || self.wanted.contains(section))
    }

    /// True for a row that was asked for.
    pub(crate) fn wants(&self, row: &str) -> bool {
        row.contains(&self.row)
    }

    /// `full`, or a small part of it in a short run.
    pub(crate) fn bytes(&self, full: u64) -> u64 {
        if self.quick { full / 8 } else { full }
    }
}

/// What the program was started for.
#[derive(Debug)]
pub(crate) enum Order {
    /// To be the broker of another one: in this folder.
    Serve(PathBuf),
    /// To measure.
    Measure(Plan),
}

impl Order {
    /// Reads the command line, without the program's name.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut plan = Plan {
            quick: false,
            rounds: 0,
            window: Duration::ZERO,
            dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
            wanted: Vec::new(),
            row: String::new(),
        };
        let (mut rounds, mut window) = (None, None);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument}: a value is missing"));
            match argument.as_str() {
                "serve" => return Ok(Self::Serve(value()?.into())),
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--quick" => plan.quick = true,
                "--rounds" => rounds = Some(value()?.parse::<usize>()?.max(1)),
                "--window-ms" => window = Some(Duration::from_millis(value()?.parse()?)),
                "--dir" => plan.dir = value()?.into(),
                "--row" => plan.row = value()?,
                name => match Section::ALL.into_iter().find(|section| section.name() == name) {
                    Some(section) => plan.wanted.push(section),
                    None => {
                        let names = Section::ALL.map(Section::name).join(", ");
                        return Err(format!(
                            "{name:?} is unknown: use --quick, --rounds, --window-ms, --dir, --row, or one of {names}"
                        )
                        .into());
                    }
                },
            }
        }
        let (usual_rounds, usual_window_ms) = if plan.quick { (1, 300) } else { (3, 1000) };
        plan.rounds = rounds.unwrap_or(usual_rounds);
        plan.window = window.unwrap_or(Duration::from_millis(usual_window_ms));
        Ok(Self::Measure(plan))
    }
}
