//! `thalweg completions`: the completion script of a shell, made from the table of flags.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::args::{Args, CompletionShell, CompletionsArgs};
use crate::context::Context;
use crate::exit::Failure;

/// Writes the script to standard output.
pub(crate) fn run(args: &CompletionsArgs, context: &Context) -> Result<(), Failure> {
    context.output.bytes(&script(args.shell))
}

fn script(shell: CompletionShell) -> Vec<u8> {
    let shell = match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), "thalweg", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_learns_every_command() {
        for shell in CompletionShell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for command in Args::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell:?} {}", command.get_name());
            }
        }
    }
}
