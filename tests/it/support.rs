//! What tests of the real binary share: a broker process that is started, killed and started again.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long anything in a test may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A broker process. It is killed when the test ends, however it ends.
pub(crate) struct BrokerProcess {
    child: Child,
    folder: PathBuf,
    settings: Vec<String>,
    /// What starts the program, where something stands in front of it.
    launcher: Vec<String>,
    /// What it writes to standard error, all lives behind each other.
    log: PathBuf,
    /// Where it serves gRPC, the same through all restarts.
    pub(crate) grpc: String,
    /// Where it serves HTTP; another one after each restart.
    pub(crate) http: String,
}

/// An address that was free a moment ago. The clients of a test must find the broker again after a restart.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn spawn(
    launcher: &[String],
    folder: &Path,
    log: &Path,
    grpc: &str,
    settings: &[String],
) -> (Child, String, String) {
    let started = Instant::now();
    // The port of the process before may still be closing: try until it is free.
    loop {
        let errors = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let program = env!("CARGO_BIN_EXE_thalweg");
        let mut words = launcher.iter().map(String::as_str).chain([program]);
        let mut command = Command::new(words.next().unwrap_or(program));
        command
            .args(words)
            .args(["serve", "--http-listen", "127.0.0.1:0", "--grpc-listen", grpc, "--data-dir"])
            .arg(folder);
        for setting in settings {
            command.args(["--set", setting]);
        }
        // What tests are told by the environment is nothing to a broker, which refuses names it does not know.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"THALWEG_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .env("THALWEG_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut addresses = line.strip_prefix("ready ").unwrap_or("").split_whitespace();
        let grpc = addresses.next().and_then(|part| part.strip_prefix("grpc="));
        let http = addresses.next().and_then(|part| part.strip_prefix("http="));
        if let (Some(grpc), Some(http)) = (grpc, http) {
            return (child, grpc.to_owned(), http.to_owned());
        }
        let status = child.wait().unwrap();
        assert!(
            started.elapsed() < DEADLINE,
            "the broker does not start: {status}, it printed {line:?}"
        );
    }
}

impl BrokerProcess {
    /// Starts a broker on `folder` with `settings` as for `--set`, and waits until it is ready.
    pub(crate) fn start(folder: &Path, settings: &[&str]) -> Self {
        Self::start_by(&[], folder, settings)
    }

    /// The same with a command in front of the program, which must end in its place (`exec`).
    pub(crate) fn start_by(launcher: &[String], folder: &Path, settings: &[&str]) -> Self {
        let settings: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        // Beside the data folder, not in it.
        let log = folder.with_extension("log");
        let launcher = launcher.to_vec();
        let (child, grpc, http) = spawn(&launcher, folder, &log, &free_address(), &settings);
        Self { child, folder: folder.to_owned(), settings, launcher, log, grpc, http }
    }

    /// kill -9, without any warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal: `TERM`, `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let arguments = ["-s", name, &self.id().to_string()];
        assert!(Command::new("kill").args(arguments).status().unwrap().success(), "kill -s {name}");
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it ends by itself, at most so long.
    pub(crate) async fn ends_within(&mut self, patience: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(started.elapsed() < patience, "the broker still runs after {patience:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts it again on the same folder and gRPC address.
    pub(crate) fn restart(&mut self) {
        (self.child, self.grpc, self.http) =
            spawn(&self.launcher, &self.folder, &self.log, &self.grpc, &self.settings);
    }

    /// The process id, to look at it from outside.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lines that the broker has written to standard error so far, in all its lives: warnings and worse.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    /// Those of them that are about panics.
    pub(crate) fn panics(&self) -> Vec<String> {
        let is_panic = |line: &String| line.contains("panicked at");
        self.complaints().into_iter().filter(is_panic).collect()
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}
