//! A broker in a process of its own, and what can be seen of it from outside: processor time, memory, metrics.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::Result;
use crate::serve::READY;

/// The unit of the times in `/proc/PID/stat`: 100 a second on every Linux that programs see.
const TICKS_PER_SECOND: f64 = 100.0;

/// A child process. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it serves gRPC.
    pub(crate) grpc: String,
    http: String,
    /// How long its broker took to open and listen, as it says itself.
    pub(crate) open: Duration,
    /// From the start of the process to its word that it is ready.
    pub(crate) ready: Duration,
}

impl Server {
    /// Starts a broker in `folder` and waits until it is ready.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let start = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the broker has no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready = start.elapsed();
        let words: Vec<_> = line.split_whitespace().collect();
        let [READY, grpc, http, open_us] = *words else {
            return Err(format!("the broker did not start: it said {line:?}").into());
        };
        let open = Duration::from_micros(open_us.parse()?);
        Ok(Self { child, grpc: grpc.to_owned(), http: http.to_owned(), open, ready })
    }

    /// Processor time of all its threads so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu(self.child.id())
    }

    /// Its resident memory in MiB.
    pub(crate) fn memory_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }

    /// The text of its metrics.
    pub(crate) fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(&self.http)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Lets it close in order.
    pub(crate) fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the broker ended: {status}").into()) }
    }

    /// Ends it without a warning.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of all threads of a process so far; `"self"` for this one.
pub(crate) fn cpu(process: impl Display) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the name in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?;
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(f64::from_str)
        .sum::<std::result::Result<_, _>>()?;
    Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
}

/// The value of a counter in the text of metrics.
pub(crate) fn counter(metrics: &str, name: &str) -> Result<f64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.ok_or(format!("no {name} among the metrics"))?.trim().parse()?)
}
