//! The program: parse, choose a command, run it, turn what became of it into an exit code. The only file that leaves.

mod args;
mod attempts;
mod commands;
mod context;
mod exit;
mod lines;
mod output;
mod pending;
mod probe;
mod shell;
mod text;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{Args, Command, Environment};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Output, OutputFormat};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error, std::env::args_os()),
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
fn explain(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked_for && wants_json(arguments) {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ").to_owned();
        let failure = Failure::Usage { message, advice: "`thalweg --help` shows what is taken" };
        Output::new(OutputFormat::Json, false, true).failure(&failure);
        return ExitCode::from(exit::USAGE);
    }
    // Where even the explanation cannot be printed, the code is all that is left to say.
    let _ = error.print();
    ExitCode::from(if asked_for { exit::OK } else { exit::USAGE })
}

/// True when a command line that could not be read asks for JSON all the same.
fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let arguments: Vec<_> = arguments.collect();
    let is_apart = |pair: &[OsString]| pair[0] == "--output" && pair[1] == "json";
    arguments.iter().any(|argument| argument == "--output=json")
        || arguments.windows(2).any(is_apart)
}

fn run(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => {
            let config = commands::serve::configure(&args, &context.environment)?;
            block_on(config.workers, commands::serve::run(args, config, context))
        }
        Command::Demo(args) => block_on(0, commands::demo::run(args, context)),
        Command::Topic(command) => ask_broker(commands::topics::run(command, context), context),
        Command::Produce(args) => ask_broker(commands::produce::run(args, context), context),
        Command::Consume(args) => ask_broker(commands::consume::run(args, context), context),
        Command::Sql(args) => ask_broker(commands::sql::run(args, context), context),
        Command::Datagen(args) => ask_broker(commands::datagen::run(args, context), context),
        Command::Inspect(args) => commands::inspect::run(&args, context),
        Command::Completions(args) => commands::completions::run(&args, context),
    }
}

/// Runs a command that asks a broker; where that fails, it looks whether there is one at all.
fn ask_broker(
    command: impl Future<Output = Result<(), Failure>>,
    context: &Context,
) -> Result<(), Failure> {
    block_on(0, async {
        match command.await {
            Err(failure) => Err(probe::explain(failure, &context.server).await),
            end => end,
        }
    })
}

/// Runs a command to its end on `workers` threads; 0 for one a core.
fn block_on(
    workers: usize,
    command: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if workers > 0 {
        builder.worker_threads(workers);
    }
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|cause| Failure::io("start the threads of the program", cause))?;
    runtime.block_on(command)
}
