//! The program: parse, choose a command, run it, turn what became of it into an exit code. The only file that leaves.

mod args;
mod commands;
mod context;
mod exit;
mod lines;
mod output;
mod pending;
mod probe;
mod shell;
mod text;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{Args, Command, Environment};
use crate::context::Context;
use crate::exit::Failure;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    let context = Context::new(args.global, Environment::read());
    match run(args.command, &context) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(failure) => {
            context.output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Help and version come this way too: they are asked for, so they are no errors.
fn explain(error: &clap::Error) -> ExitCode {
    // Where even the explanation cannot be printed, the code is all that is left to say.
    let _ = error.print();
    ExitCode::from(match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => exit::OK,
        _ => exit::USAGE,
    })
}

fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| Failure::io("start the threads of the program", cause))?;
    let asks_broker = matches!(
        command,
        Command::Topic(_)
            | Command::Produce(_)
            | Command::Consume(_)
            | Command::Sql(_)
            | Command::Datagen(_)
    );
    runtime.block_on(async {
        let end = match command {
            Command::Serve(args) => commands::serve::run(args, context).await,
            Command::Demo(args) => commands::demo::run(args, context).await,
            Command::Topic(command) => commands::topics::run(command, context).await,
            Command::Produce(args) => commands::produce::run(args, context).await,
            Command::Consume(args) => commands::consume::run(args, context).await,
            Command::Sql(args) => commands::sql::run(args, context).await,
            Command::Datagen(args) => commands::datagen::run(args, context).await,
            Command::Inspect(args) => commands::inspect::run(&args, context),
            Command::Completions(args) => commands::completions::run(&args, context),
        };
        match end {
            Err(failure) if asks_broker => Err(probe::explain(failure, &context.server).await),
            end => end,
        }
    })
}
