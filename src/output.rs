//! The terminal: the only file that prints. Tables and sentences for people, JSON lines for machines.
//!
//! What was asked for goes to standard output; everything about it (notes, progress, errors) goes to standard error,
//! so that pipes stay clean. A closed pipe is no error: `Failure::OutputClosed` ends the command in silence.
//! Colours appear on terminals only, and never when NO_COLOR is set.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::unix::pipe;

use crate::exit::Failure;
use crate::text::printable;

/// For whom output is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// Tables and sentences, for people.
    #[default]
    Table,
    /// One JSON object a line, for programs.
    Json,
}

/// How the terminal is to be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: OutputFormat,
    quiet: bool,
    colours_out: bool,
    colours_err: bool,
}

const BOLD: &str = "1";
const BOLD_RED: &str = "1;31";
const DIM: &str = "2";

impl Output {
    /// Looks at the terminal once. `quiet` leaves out notes and progress, never errors.
    pub(crate) fn new(format: OutputFormat, quiet: bool, no_colours: bool) -> Self {
        Self {
            format,
            quiet,
            colours_out: !no_colours && io::stdout().is_terminal(),
            colours_err: !no_colours && io::stderr().is_terminal(),
        }
    }

    /// True when programs read the output.
    pub(crate) fn is_json(&self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Writes bytes to standard output and sends them on their way.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(|cause| Failure::io("write to standard output", cause))
    }

    /// Writes one line.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes one JSON object a line.
    pub(crate) fn json(&self, object: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(object)
            .map_err(|cause| Failure::io("write JSON", io::Error::from(cause)))?;
        line.push(b'\n');
        self.bytes(&line)
    }

    /// Writes a table, header first. Every row has as many cells as the header.
    pub(crate) fn table<const N: usize>(
        &self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Failure> {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(header.to_vec());
        for row in rows {
            table.add_row(row.iter().map(|cell| printable(cell).into_owned()).collect::<Vec<_>>());
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        for (index, line) in table.lines().enumerate() {
            let line = line.trim_end();
            text.push_str(&if index == 0 { self.heading(line) } else { line.to_owned() });
            text.push('\n');
        }
        self.bytes(text.as_bytes())
    }

    /// Text for standard output that stands out, where colours are on.
    pub(crate) fn heading(&self, text: &str) -> String {
        paint(self.colours_out, BOLD, text)
    }

    /// Tells people something on standard error; not with `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(&paint(self.colours_err, DIM, text));
        }
    }

    /// Warns people on standard error, also with `--quiet`.
    pub(crate) fn warning(&self, text: &str) {
        say(&format!("{}: {text}", paint(self.colours_err, BOLD, "warning")));
    }

    /// Tells why a command failed and what to do next, on standard error: in JSON where the output is. Of an end that
    /// was asked for there is nothing to tell.
    pub(crate) fn failure(&self, failure: &Failure) {
        if matches!(failure, Failure::OutputClosed | Failure::Interrupted) {
            return;
        }
        if self.is_json() {
            let report = FailureReport::new(failure);
            say(&serde_json::to_string(&report).unwrap_or_else(|_| failure.to_string()));
            return;
        }
        let name = failure.refusal().map(|refusal| format!(" ({})", refusal.outcome));
        let label = paint(self.colours_err, BOLD_RED, "error");
        say(&format!("{label}: {failure}{}", name.unwrap_or_default()));
        if let Failure::Statement { excerpt: Some(excerpt), .. } = failure {
            say(excerpt);
        }
        let advice = failure.advice();
        if !advice.is_empty() {
            say(&format!("  {} {advice}", paint(self.colours_err, BOLD, "next:")));
        }
    }

    /// Progress on standard error: a bar when the number of bytes is known, else a counter. Nothing is drawn where
    /// standard error is no terminal, or with `--quiet`.
    pub(crate) fn progress(&self, bytes: Option<u64>) -> ProgressBar {
        let template = if bytes.is_some() {
            "[{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} eta {eta} {msg}"
        } else {
            "{spinner} {bytes} {binary_bytes_per_sec} {msg}"
        };
        self.bar(bytes, template)
    }

    /// The same, counted in records.
    pub(crate) fn counter(&self, records: Option<u64>) -> ProgressBar {
        let template = if records.is_some() {
            "[{bar:30}] {human_pos}/{human_len} records {per_sec} eta {eta}"
        } else {
            "{spinner} {human_pos} records {per_sec}"
        };
        self.bar(records, template)
    }

    fn bar(&self, length: Option<u64>, template: &str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        // Redrawn four times a second: progress must not cost what it measures.
        let target = ProgressDrawTarget::stderr_with_hz(4);
        let bar = ProgressBar::with_draw_target(length, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        bar
    }

    /// Asks a person for a yes. `None` when nobody is there to be asked: no terminal on one of the two ends.
    pub(crate) fn confirm(&self, question: &str) -> Result<Option<bool>, Failure> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(None);
        }
        let mut stderr = io::stderr().lock();
        let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
        asked.map_err(|cause| Failure::io("ask on the terminal", cause))?;
        let mut answer = String::new();
        io::stdin()
            .lock()
            .read_line(&mut answer)
            .map_err(|cause| Failure::io("read from the terminal", cause))?;
        Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
    }

    /// Done when whoever read standard output has gone, where that can be heard: a pipe. May be cancelled.
    pub(crate) async fn closed(&self) {
        // A terminal and a file stay; where the system tells nothing, the next write does. The pipe stays in the mode that
        // it is in: it may be shared with others.
        if !io::stdout().is_terminal()
            && let Ok(own) = io::stdout().as_fd().try_clone_to_owned()
            && let Ok(pipe) = pipe::Sender::from_owned_fd_unchecked(own)
            && pipe.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Clears the screen, where there is one.
    pub(crate) fn clear_screen(&self) -> Result<(), Failure> {
        if io::stdout().is_terminal() { self.bytes(b"\x1b[2J\x1b[H") } else { Ok(()) }
    }
}

/// A line on standard error. When even that fails there is nobody left to be told.
fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}

fn paint(colours: bool, code: &str, text: &str) -> String {
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// An error as programs read it.
#[derive(Debug, Serialize)]
struct FailureReport {
    error: FailureFields,
}

#[derive(Debug, Serialize)]
struct FailureFields {
    /// The name in the table of outcomes, where a broker stands behind it.
    outcome: Option<&'static str>,
    message: String,
    advice: String,
    exit_code: u8,
    may_retry: bool,
    may_have_happened: bool,
    resume_at: Option<i64>,
}

impl FailureReport {
    fn new(failure: &Failure) -> Self {
        let refusal = failure.refusal();
        Self {
            error: FailureFields {
                outcome: refusal.map(|refusal| refusal.outcome.row().name),
                message: failure.to_string(),
                advice: failure.advice().into_owned(),
                exit_code: failure.exit_code(),
                may_retry: refusal.is_some_and(|refusal| refusal.outcome.may_retry()),
                may_have_happened: refusal
                    .is_some_and(|refusal| refusal.outcome.may_have_happened()),
                resume_at: refusal.and_then(|refusal| refusal.resume_at).map(|at| at.get()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::id::Offset;
    use protocol::outcome::{Outcome, Refusal};

    use super::*;

    #[test]
    fn errors_in_json_say_what_programs_decide_by() {
        let refusal = Refusal::new(Outcome::DamagedData, "partition 0 of \"ratings\"")
            .resume_at(Offset::new(17).unwrap());
        let report = FailureReport::new(&Failure::Refused(refusal));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["error"]["outcome"], "DAMAGED_DATA");
        assert_eq!(json["error"]["exit_code"], 7);
        assert_eq!(json["error"]["resume_at"], 17);
        assert_eq!(json["error"]["may_retry"], false);
        let usage = Failure::Usage { message: "no".into(), advice: "do" };
        let json = serde_json::to_value(FailureReport::new(&usage)).unwrap();
        assert_eq!(json["error"]["outcome"], serde_json::Value::Null);
        assert_eq!(json["error"]["advice"], "do");
    }

    #[test]
    fn paint_is_invisible_without_colours() {
        assert_eq!(paint(false, BOLD, "x"), "x");
        assert_eq!(paint(true, BOLD, "x"), "\x1b[1mx\x1b[0m");
    }
}
