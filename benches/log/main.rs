//! Benchmarks of the log, through its own client: in one process and over gRPC, beside the limits of the machine.
//!
//! `cargo bench --bench log -- [--quick] [--rounds N] [--window-ms N] [--dir FOLDER] [--row TEXT] [SECTION...]`
//!
//! Every row is measured once a round, in several rounds, so that what disturbs the machine for a while disturbs all rows
//! alike; what is printed is the median with the least and the greatest. The broker behind gRPC is a child process (this
//! program again, as `serve FOLDER`), so that its processor time can be told from that of the clients. How to read the
//! figures is in `benches/README.md`. Nothing here checks a figure: a benchmark that fails a build on a busy machine
//! would soon be switched off.

mod consume;
mod disk;
mod fan_out;
mod house;
mod latency;
mod limits;
mod pace;
mod payload;
mod plan;
mod produce;
mod report;
mod results;
mod serve;
mod server;
mod start;
mod stats;
mod targets;

use std::io::Write as _;
use std::process::ExitCode;

use crate::plan::{Order, Plan, Section};
use crate::results::Results;

/// What went wrong, for whoever runs the benchmarks; nobody decides anything by it.
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere to tell it when standard error is gone too.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match Order::parse(std::env::args().skip(1))? {
        Order::Serve(folder) => runtime.block_on(serve::run(folder)),
        Order::Measure(plan) => runtime.block_on(measure(&plan)),
    }
}

async fn measure(plan: &Plan) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&plan.dir)?;
    let house = house::House::open(folder.path()).await?;
    let mut recovery = start::Recovery::new(folder.path().join("recovery"));
    let mut filled = consume::Filled::default();
    let mut results = Results::default();
    let load_before = report::load_average();
    for round in 1..=plan.rounds {
        for section in plan.sections() {
            writeln!(std::io::stderr(), "round {round} of {}: {}", plan.rounds, section.name())?;
            disk::settle(folder.path())?;
            limits::measure(section, folder.path(), plan, &mut results)?;
            match section {
                Section::Limits => {}
                Section::Produce => produce::measure(&house, plan, &mut results).await?,
                Section::Latency => latency::measure(&house, plan, &mut results).await?,
                Section::Pace => pace::measure(&house, plan, &mut results).await?,
                Section::Consume => {
                    consume::measure(&house, plan, &mut filled, &mut results).await?;
                }
                Section::FanOut => fan_out::measure(&house, plan, &mut results).await?,
                Section::Start => {
                    start::measure(folder.path(), &mut recovery, plan, &mut results).await?;
                }
            }
        }
    }
    house.close().await?;
    let text = report::render(plan, &results, &load_before);
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
