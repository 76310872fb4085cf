//! From nothing to ready: on an empty folder, on a full one after an orderly end, and after kill -9.

use std::path::{Path, PathBuf};

use client::grpc::GrpcTransport;

use crate::Result;
use crate::house::{Durability, Topic};
use crate::plan::{Plan, Section};
use crate::produce;
use crate::results::{Column, Results};
use crate::server::Server;

const RECORD_BYTES: usize = 1024;

/// What lies in the folder.
const FOLDER_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// What is written before each kill.
const UNCLEAN_BYTES: u64 = 128 * 1024 * 1024;

/// Starts on an empty folder are short: each round has so many.
const EMPTY_STARTS: usize = 5;

pub(crate) const EMPTY: &str = "empty folder";
pub(crate) const CLEAN: &str = "full folder, closed in order";
pub(crate) const KILLED: &str = "full folder, killed while writing";

/// The full folder: filled in the first round, used in all.
#[derive(Debug)]
pub(crate) struct Recovery {
    folder: PathBuf,
    topic: Option<Topic>,
    records: u64,
}

impl Recovery {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, topic: None, records: 0 }
    }
}

pub(crate) async fn measure(
    folder: &Path,
    recovery: &mut Recovery,
    plan: &Plan,
    results: &mut Results,
) -> Result<()> {
    for _ in 0..EMPTY_STARTS {
        let empty = tempfile::tempdir_in(folder)?;
        let server = Server::start(&empty.path().join("data"))?;
        note(EMPTY, &server, results)?;
        server.stop()?;
    }
    if recovery.topic.is_none() {
        let server = Server::start(&recovery.folder)?;
        write(&server, recovery, plan.bytes(FOLDER_BYTES)).await?;
        server.stop()?;
    }
    let server = Server::start(&recovery.folder)?;
    note(CLEAN, &server, results)?;
    write(&server, recovery, plan.bytes(UNCLEAN_BYTES)).await?;
    server.kill()?;
    let server = Server::start(&recovery.folder)?;
    note(KILLED, &server, results)?;
    check(&server, recovery).await?;
    server.stop()
}

fn note(name: &str, server: &Server, results: &mut Results) -> Result<()> {
    let figures = [
        (Column::OpenMs, server.open.as_secs_f64() * 1e3),
        (Column::ReadyMs, server.ready.as_secs_f64() * 1e3),
        (Column::MemoryMib, server.memory_mib()?),
    ];
    results.add(Section::Start, name, &figures);
    Ok(())
}

async fn write(server: &Server, recovery: &mut Recovery, bytes: u64) -> Result<()> {
    let transport = GrpcTransport::connect(&server.grpc)?;
    let topic = match recovery.topic.take() {
        Some(topic) => topic,
        None => Topic::create(transport.clone(), "recovery", 1, Durability::Os).await?,
    };
    recovery.records += produce::fill(transport, &topic.name, RECORD_BYTES, bytes).await?;
    recovery.topic = Some(topic);
    Ok(())
}

/// What was acknowledged before the kill must be there: it was written, and the machine lives.
async fn check(server: &Server, recovery: &Recovery) -> Result<()> {
    let transport = GrpcTransport::connect(&server.grpc)?;
    let admin = client::admin::Admin::new(transport);
    let name = &recovery.topic.as_ref().ok_or("nothing was written before the kill")?.name;
    let topic = admin.describe_topic(name).await?;
    let stored: u64 = topic.partitions.iter().map(|it| it.end.since(it.start)).sum();
    if stored == recovery.records {
        Ok(())
    } else {
        Err(format!("{} acknowledged before the kill, {stored} found", recovery.records).into())
    }
}
