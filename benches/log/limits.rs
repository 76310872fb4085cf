//! What the machine can do at all, measured right before what is compared with it.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::disk;
use crate::payload;
use crate::plan::{Plan, Section};
use crate::produce;
use crate::results::{Column, Results};
use crate::stats::Waits;

const MIB: usize = 1024 * 1024;
const APPEND_BYTES: usize = 4096;
const TCP_BUFFER_BYTES: usize = 256 * 1024;

pub(crate) const WRITE_EACH_1: &str = "sequential write, fdatasync each 1 MiB";
pub(crate) const WRITE_EACH_16: &str = "sequential write, fdatasync each 16 MiB";
pub(crate) const WRITE_AT_END: &str = "sequential write, fdatasync at the end";
pub(crate) const WRITE_NEVER: &str = "sequential write, no fdatasync";
pub(crate) const APPEND: &str = "4 KiB append + fdatasync";
pub(crate) const TCP: &str = "loopback TCP, one stream";
pub(crate) const COPY: &str = "copy in memory, 64 MiB";
pub(crate) const CHECKSUM: &str = "CRC-32C of 1 MiB";

/// When a sequential write is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cadence {
    /// Each so many MiB.
    Each(u64),
    AtEnd,
    Never,
}

/// Measures what `section` is compared with; for the section of the limits, everything.
pub(crate) fn measure(
    section: Section,
    folder: &Path,
    plan: &Plan,
    results: &mut Results,
) -> Result<()> {
    let all = section == Section::Limits;
    // A part of a window: the limits vary less than what is compared with them.
    let time = plan.window / 2;
    if all || section == Section::Produce {
        writes(folder, plan, results)?;
    }
    if all || matches!(section, Section::Latency | Section::Pace) {
        appends(folder, time, results)?;
    }
    if all || matches!(section, Section::Consume | Section::FanOut) {
        let figure = tcp(time)?;
        results.add(Section::Limits, TCP, &[(Column::Megabytes, figure)]);
    }
    if all {
        results.add(Section::Limits, COPY, &[(Column::Megabytes, copy(time / 2))]);
        results.add(Section::Limits, CHECKSUM, &[(Column::Megabytes, checksum(time / 2))]);
    }
    Ok(())
}

/// As long and as much as a producer at full speed writes.
fn writes(folder: &Path, plan: &Plan, results: &mut Results) -> Result<()> {
    let bytes_max = plan.bytes(produce::BYTES_MAX);
    let cadences = [
        (WRITE_EACH_1, Cadence::Each(1)),
        (WRITE_EACH_16, Cadence::Each(16)),
        (WRITE_AT_END, Cadence::AtEnd),
        (WRITE_NEVER, Cadence::Never),
    ];
    let block = payload::random(MIB, 1);
    for (name, cadence) in cadences {
        disk::settle(folder)?;
        let path = folder.join("limit");
        let mut file = File::create(&path)?;
        let start = Instant::now();
        let mut blocks = 0;
        while start.elapsed() < plan.window && blocks * (MIB as u64) < bytes_max {
            file.write_all(&block)?;
            blocks += 1;
            if matches!(cadence, Cadence::Each(each) if blocks % each == 0) {
                file.sync_data()?;
            }
        }
        if cadence == Cadence::AtEnd {
            file.sync_data()?;
        }
        let seconds = start.elapsed().as_secs_f64();
        std::fs::remove_file(&path)?;
        let megabytes = (blocks * MIB as u64) as f64 / 1e6;
        results.add(Section::Limits, name, &[(Column::Megabytes, megabytes / seconds)]);
    }
    disk::settle(folder)
}

fn appends(folder: &Path, time: Duration, results: &mut Results) -> Result<()> {
    let path = folder.join("limit");
    let mut file = File::create(&path)?;
    let block = payload::random(APPEND_BYTES, 1);
    let mut waits = Waits::default();
    let start = Instant::now();
    while start.elapsed() < time {
        let append = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        waits.push(append.elapsed());
    }
    let rate = waits.len() as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    results.add(Section::Limits, APPEND, &[(Column::Operations, rate)]);
    results.add_waits(Section::Limits, APPEND, &mut waits);
    Ok(())
}

/// Megabytes a second from one thread to another over one connection.
fn tcp(time: Duration) -> Result<f64> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    let start = Instant::now();
    let sending = std::thread::spawn(move || -> std::io::Result<()> {
        let buffer = payload::random(TCP_BUFFER_BYTES, 1);
        while start.elapsed() < time {
            sender.write_all(&buffer)?;
        }
        Ok(())
    });
    let mut buffer = vec![0; TCP_BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        match receiver.read(&mut buffer)? {
            0 => break,
            read => bytes += read,
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    sending.join().map_err(|_| "the sending thread panicked")??;
    Ok(bytes as f64 / 1e6 / seconds)
}

fn copy(time: Duration) -> f64 {
    let source = payload::random(64 * MIB, 1);
    let mut target = vec![0; source.len()];
    repeat(time, source.len(), || black_box(&mut target).copy_from_slice(black_box(&source)))
}

fn checksum(time: Duration) -> f64 {
    let source = payload::random(MIB, 1);
    let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
    repeat(time, source.len(), || {
        black_box(crc_fast::checksum(algorithm, black_box(&source)));
    })
}

/// Megabytes a second of something that handles so many bytes each time.
fn repeat(time: Duration, bytes: usize, mut once: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut times = 0_u32;
    while start.elapsed() < time {
        once();
        times += 1;
    }
    f64::from(times) * bytes as f64 / 1e6 / start.elapsed().as_secs_f64()
}
