//! A broker and its SQL engine in one process, until a signal asks it to stop.
//!
//! Layers of settings, the later ones win: the program's defaults, the file, the environment, flags.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use broker::Config;
use broker::config::ConfigError;
use broker::setting::SettingError;
use protocol::outcome::{Outcome, Refusal};
use storage::{DataFolder, RealDisk};
use thalweg::Thalweg;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Environment, ServeArgs};
use crate::context::Context;
use crate::exit::Failure;

/// Runs a broker in the foreground.
pub(crate) async fn run(args: ServeArgs, config: Config, context: &Context) -> Result<(), Failure> {
    if args.check {
        return check(&config, context);
    }
    log_to_standard_error(&context.environment)?;
    for name in unknown_names(&context.environment) {
        tracing::warn!("{name} in the environment is no setting: it changes nothing");
    }
    // Heard from the first moment on: a signal during recovery is not lost.
    let mut stop = StopSignals::listen()?;
    RealDisk::raise_open_files_limit();
    if config.data_dir.is_file() {
        return Err(not_usable(&config.data_dir, io::ErrorKind::NotADirectory.into()));
    }
    let thalweg = Thalweg::open_with(config).await.map_err(Failure::NotStarted)?;
    let doors = match thalweg.listen().await {
        Ok(doors) => doors,
        Err(refusal) => {
            thalweg.close().await;
            return Err(Failure::NotStarted(refusal));
        }
    };
    let durability = thalweg.describe().durability;
    tracing::info!("serving; an acknowledgement means {durability}");
    context.output.line(&format!("ready grpc={} http={}", doors.grpc, doors.http))?;
    let fallen = tokio::select! {
        () = stop.next() => None,
        fallen = thalweg.fallen() => Some(fallen),
    };
    tracing::info!(
        "stopping; a second signal ends the process at once, which loses nothing acknowledged"
    );
    tokio::select! {
        // Whoever runs us starts us again, which recovers what the fault has left.
        () = thalweg.close() => fallen.map_or(Ok(()), |fallen| Err(Failure::Refused(fallen))),
        () = stop.next() => Err(Failure::Interrupted),
    }
}

/// Says that a broker could start so, or why it could not. The settings themselves have been checked before.
fn check(config: &Config, context: &Context) -> Result<(), Failure> {
    let folder = &config.data_dir;
    let failed = |cause| not_usable(folder, cause);
    // The folder, or the nearest one above it that is there: it would be made in that.
    let mut there = std::path::absolute(folder).map_err(failed)?;
    while !there.try_exists().map_err(failed)? {
        if !there.pop() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
    }
    // A file without a name, which leaves nothing behind.
    tempfile::tempfile_in(&there).map_err(failed)?;
    if folder.is_dir() {
        let looked = DataFolder::look(&RealDisk::new(), folder);
        looked.map_err(|error| failed(io::Error::other(error)))?;
    }
    if context.output.is_json() {
        return context.output.json(&serde_json::json!({ "valid": true, "data_dir": folder }));
    }
    context.output.line("the configuration is valid")
}

fn not_usable(folder: &Path, cause: io::Error) -> Failure {
    Failure::io(format!("use {} as the data folder", folder.display()), cause)
}

/// A name in the environment that looks like a setting and is none: a slip must not pass for the default.
fn refuse_slips(environment: &Environment) -> Result<(), Failure> {
    for unknown in unknown_names(environment) {
        if let Some(near) = nearest(unknown) {
            let message = format!("there is no setting {unknown}; did you mean {near}?");
            let message = format!("environment: {message}");
            return Err(Failure::Refused(Refusal::new(Outcome::InvalidSetting, message)));
        }
    }
    Ok(())
}

/// Names in the environment that begin as settings do and are none. Others may put such names there: Kubernetes does, for
/// a service that is called thalweg.
fn unknown_names(environment: &Environment) -> impl Iterator<Item = &str> {
    let mut known: Vec<_> = Config::names().map(|name| variable_of(&name)).collect();
    known.extend(Args::variables());
    environment.names().filter(move |name| !known.iter().any(|known| known == name))
}

/// The variable of the setting whose name is nearest, if one is near.
fn nearest(variable: &str) -> Option<String> {
    let name = variable.trim_start_matches("THALWEG_").to_ascii_lowercase();
    let (prefix, name) = match name.strip_prefix("topic_") {
        Some(name) => ("topic.", name.replace('_', ".")),
        None => ("", name),
    };
    // The table of settings knows what is near.
    match Config::default().set(&format!("{prefix}{name}"), "") {
        Err(SettingError::Unknown { nearest, .. }) => {
            nearest.map(|near| variable_of(&format!("{prefix}{near}")))
        }
        _ => None,
    }
}

/// Puts the layers together.
pub(crate) fn configure(args: &ServeArgs, environment: &Environment) -> Result<Config, Failure> {
    refuse_slips(environment)?;
    let mut config = Config::default();
    if let Some(file) = &args.config {
        let text = std::fs::read_to_string(file).map_err(|cause| {
            Failure::io(format!("read the configuration {}", file.display()), cause)
        })?;
        config.read_toml(&text).map_err(|error| refuse(&format!("{}", file.display()), &error))?;
    }
    for name in Config::names() {
        let variable = variable_of(&name);
        if let Some(value) = environment.setting(&variable) {
            config.set(&name, &value).map_err(|error| refuse(&variable, &error.into()))?;
        }
    }
    for setting in &args.settings {
        config
            .set(&setting.name, &setting.value)
            .map_err(|error| refuse(&format!("--set {}", setting.name), &error.into()))?;
    }
    let addresses = [("grpc_listen", &args.grpc_listen), ("http_listen", &args.http_listen)];
    for (name, value) in addresses {
        if let Some(value) = value {
            config.set(name, value).map_err(|error| refuse("the command line", &error.into()))?;
        }
    }
    if let Some(folder) = &args.data_dir {
        config.data_dir.clone_from(folder);
    }
    Ok(config)
}

fn refuse(place: &str, error: &ConfigError) -> Failure {
    Failure::Refused(Refusal::new(Outcome::InvalidSetting, format!("{place}: {error}")))
}

/// The environment's name of a setting: `topic.retention.ms` is `THALWEG_TOPIC_RETENTION_MS`.
fn variable_of(name: &str) -> String {
    format!("THALWEG_{}", name.to_ascii_uppercase().replace('.', "_"))
}

/// Standard output carries the ready line alone.
fn log_to_standard_error(environment: &Environment) -> Result<(), Failure> {
    let filter = environment.log_filter.as_deref().unwrap_or("info");
    let filter = EnvFilter::try_new(filter).map_err(|cause| Failure::Usage {
        message: format!("THALWEG_LOG={filter}: {cause}"),
        advice: "use error, warn, info, debug or trace, for all or for one crate: info,storage=debug",
    })?;
    let colours = !environment.no_colours && io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .finish();
    // Fails when a log is set up already, which then does as well.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// SIGINT and SIGTERM.
struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|cause| Failure::io("listen for signals", cause));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_names_in_the_environment() {
        assert_eq!(variable_of("durability"), "THALWEG_DURABILITY");
        assert_eq!(variable_of("topic.retention.ms"), "THALWEG_TOPIC_RETENTION_MS");
    }

    #[test]
    fn a_slip_has_a_setting_near_it_and_what_others_put_there_has_none() {
        assert_eq!(nearest("THALWEG_DURABILTY").as_deref(), Some("THALWEG_DURABILITY"));
        assert_eq!(
            nearest("THALWEG_TOPIC_RETENTION_M").as_deref(),
            Some("THALWEG_TOPIC_RETENTION_MS")
        );
        // As Kubernetes names a service.
        for name in ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_GRPC", "PORT", "PORT_9093_TCP"] {
            assert_eq!(nearest(&format!("THALWEG_{name}")), None, "{name}");
        }
        assert_eq!(nearest("THALWEG_PORT_9093_TCP_ADDR"), None);
        assert_eq!(nearest("THALWEG_PORT_9093_TCP_PROTO"), None);
    }
}
