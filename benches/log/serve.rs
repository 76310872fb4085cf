//! The broker of another benchmark process: opens, says where it is and how long that took, serves until its standard
//! input ends, closes in order.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use broker::Broker;
use tokio::io::AsyncReadExt as _;

use crate::Result;
use crate::house::config;

/// The line that tells the parent everything: this word, gRPC address, HTTP address, microseconds to open and listen.
pub(crate) const READY: &str = "ready";

pub(crate) async fn run(folder: PathBuf) -> Result<()> {
    let start = Instant::now();
    let broker = Broker::open(config(folder)).await?;
    let doors = broker.listen(tonic::service::Routes::default()).await?;
    let took_us = start.elapsed().as_micros();
    writeln!(std::io::stdout(), "{READY} {} {} {took_us}", doors.grpc, doors.http)?;
    // Ends when the parent closes its end, also by dying.
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    broker.close().await;
    Ok(())
}
