//! The SQL shell on a terminal, which `script` (util-linux) makes for it.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use crate::support::{BrokerProcess, DEADLINE};

/// A shell on a terminal of its own. Killed with all that belongs to it when the test ends.
struct Shell {
    child: Child,
    output: mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl Shell {
    /// `None` where there is no `script` of util-linux.
    fn open(broker: &BrokerProcess, state: &Path) -> Option<Self> {
        let version = Command::new("script").arg("--version").output().ok()?;
        version.stdout.starts_with(b"script from util-linux").then_some(())?;
        // `exec`: what is killed is the shell, not one that waits for it.
        let command = format!("exec {} sql", env!("CARGO_BIN_EXE_thalweg"));
        let mut child = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("THALWEG_SERVER", &broker.grpc)
            .env("XDG_STATE_HOME", state)
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut bytes) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Some(Self { child, output, seen: String::new() })
    }

    fn write(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows something that it has not shown before, and takes all up to there as seen.
    fn shows(&mut self, wanted: &str) {
        let started = Instant::now();
        loop {
            if let Some(place) = self.seen.find(wanted) {
                self.seen.drain(..place + wanted.len());
                return;
            }
            let left = DEADLINE.saturating_sub(started.elapsed());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {wanted:?} on the terminal: {:?}", self.seen),
            }
        }
    }

    /// kill -9, of the shell itself.
    fn kill(&mut self) {
        let script = self.child.id();
        let children = format!("/proc/{script}/task/{script}/children");
        let shell = std::fs::read_to_string(children).unwrap();
        let killed = Command::new("kill").args(["-s", "KILL", shell.trim()]).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell leaves when its terminal is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_history_of_a_shell_that_is_killed_is_there_in_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(&folder.path().join("data"), &["durability=os"]);
    let state = folder.path().join("state");
    let Some(mut shell) = Shell::open(&broker, &state) else {
        return println!("no `script` here: not tested");
    };
    shell.shows("thalweg> ");
    shell.write("SET 'auto.offset.reset' = 'earliest';\r");
    shell.shows("Set 'auto.offset.reset'");
    shell.shows("thalweg> ");
    // It is killed while a statement runs.
    shell.write("PRINT '_thalweg_sql_catalog';\r");
    shell.shows("ROWTIME");
    shell.kill();

    let kept = std::fs::read_to_string(state.join("thalweg/sql_history")).unwrap();
    let entries: Vec<_> = kept.lines().skip(1).collect();
    assert_eq!(
        entries,
        ["SET 'auto.offset.reset' = 'earliest';", "PRINT '_thalweg_sql_catalog';"],
        "{kept}"
    );
    let mut next = Shell::open(&broker, &state).unwrap();
    next.shows("thalweg> ");
    // Up, and up again.
    next.write("\x1b[A");
    next.shows("PRINT '_thalweg_sql_catalog';");
    next.write("\x1b[A");
    next.shows("SET 'auto.offset.reset' = 'earliest';");
}
