//! What every command works with: the terminal, the way to the broker, the environment, the clock.

use std::sync::Arc;

use client::grpc::GrpcTransport;
use client::transport::Transport;
use protocol::id::Timestamp;

use crate::args::{Environment, Global};
use crate::exit::Failure;
use crate::output::Output;

/// Handed down from `main` to the command that runs.
#[derive(Debug)]
pub(crate) struct Context {
    /// The terminal.
    pub(crate) output: Output,
    /// Address of the broker, as given.
    pub(crate) server: String,
    /// What was found in the environment.
    pub(crate) environment: Environment,
}

impl Context {
    /// Puts together what was typed and what the environment says.
    pub(crate) fn new(global: Global, environment: Environment) -> Self {
        Self {
            output: Output::new(global.output, global.quiet, environment.no_colours),
            server: global.server,
            environment,
        }
    }

    /// The way to the broker. Nothing is sent before the first call.
    pub(crate) fn transport(&self) -> Result<Arc<dyn Transport>, Failure> {
        Ok(GrpcTransport::connect(&self.server)?)
    }

    /// The time now, as the broker counts it. The only clock of the command line.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }
}

/// Waits for Ctrl-C. Where the signal cannot be heard, for ever: it then ends the process by itself.
///
/// Each call waits for a new one.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
