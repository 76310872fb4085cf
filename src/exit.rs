//! How the program ends: the exit codes, and the one error that every command gives back.
//!
//! The code of whatever a broker says comes from the table of outcomes in `protocol`; this file adds the few ends
//! that no broker knows. Printing an error is `output.rs`'s business.

use std::borrow::Cow;
use std::fmt::Write;
use std::io;
use std::ops::RangeInclusive;

use client::error::Error as ClientError;
use protocol::outcome::{Outcome, Refusal};

use crate::text::{count, counted};

/// Everything went well. Also when the reader of our output has closed the pipe: it has what it wanted.
pub(crate) const OK: u8 = 0;
/// Something on this side failed, as reading a file did.
pub(crate) const GENERAL: u8 = 1;
/// The command line, an input line or a statement is not valid.
pub(crate) const USAGE: u8 = 2;
/// Ended by Ctrl-C, or a broker that was leaving by a second signal.
pub(crate) const INTERRUPTED: u8 = 130;

/// Every exit code with its meaning, as `thalweg --help` shows it.
pub(crate) const CODES: [(u8, &str); 11] = [
    (OK, "success"),
    (GENERAL, "a file, a pipe or the terminal could not be read or written"),
    (USAGE, "the command line, an input line or a statement is not valid"),
    (3, "the topic, partition, offset, stream or query is not there"),
    (4, "the name is taken already, or the thing is in use"),
    (5, "refused: a limit, a bad record, a fenced producer, no right"),
    (6, "the broker was not reached, is busy, stops, or was too slow"),
    (7, "stored data is damaged"),
    (8, "the broker's disk is full or failed"),
    (70, "a fault of the program"),
    (INTERRUPTED, "interrupted by Ctrl-C; `serve`: by a second signal"),
];

/// The table of exit codes as text, for the end of the help.
pub(crate) fn codes_help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (code, meaning) in CODES {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {code:>3}  {meaning}");
    }
    text
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line contradicts itself in a way that the parser of flags cannot see.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do next.
        advice: &'static str,
    },
    /// A line of input is not valid.
    #[error("{place}, line {line}: {cause}")]
    Input {
        /// The file, or "standard input".
        place: String,
        /// From 1.
        line: u64,
        /// What is wrong with it.
        cause: String,
        /// What to do next.
        advice: &'static str,
    },
    /// A file, a pipe or the terminal failed.
    #[error("cannot {doing}: {cause}")]
    Io {
        /// What was tried, with the name of the file.
        doing: String,
        /// What the operating system says.
        cause: io::Error,
    },
    /// A broker or the client refused.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The broker of `thalweg serve` cannot start.
    #[error("{}", .0.message)]
    NotStarted(Refusal),
    /// Something else than a broker answers where one was expected.
    #[error("{server} is {found}")]
    NoBroker {
        /// The address that was given.
        server: String,
        /// What answers there, in words.
        found: String,
    },
    /// The engine does not understand a statement.
    #[error("{}", refusal.message)]
    Statement {
        /// What the engine says.
        refusal: Refusal,
        /// The line that it means, with a caret under the place, where it names one.
        excerpt: Option<String>,
    },
    /// Records were handed over and not acknowledged.
    #[error("{} of {} not acknowledged: {}{}", count(*unacknowledged), counted(*sent, "record"), cause.message, lines_told(lines.as_ref()))]
    Unacknowledged {
        /// Records without an acknowledgement.
        unacknowledged: u64,
        /// All records handed over.
        sent: u64,
        /// Why, for the first of them.
        cause: Refusal,
        /// Between which lines of the input, from 1, those lie that were refused for this.
        lines: Option<RangeInclusive<u64>>,
    },
    /// A data folder has damage; the command has shown it.
    #[error("{folder} is damaged: {}", counted(*places, "place"))]
    Damaged {
        /// The data folder.
        folder: String,
        /// Places with damage.
        places: u64,
    },
    /// Ended by Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Whoever read our output has gone. Not an error: it has what it wanted.
    #[error("the reader of the output has closed it")]
    OutputClosed,
}

impl Failure {
    /// An operating system's error met while `doing` something; a closed pipe is [`Failure::OutputClosed`].
    pub(crate) fn io(doing: impl Into<String>, cause: io::Error) -> Self {
        if cause.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Io { doing: doing.into(), cause }
        }
    }

    /// The code that the program ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => OK,
            Self::Io { .. } => GENERAL,
            Self::Usage { .. } | Self::Input { .. } => USAGE,
            Self::Refused(refusal)
            | Self::NotStarted(refusal)
            | Self::Statement { refusal, .. } => refusal.outcome.row().exit_code,
            Self::Unacknowledged { cause, .. } => cause.outcome.row().exit_code,
            Self::NoBroker { .. } => Outcome::Disconnected.row().exit_code,
            Self::Damaged { .. } => Outcome::DamagedData.row().exit_code,
            Self::Interrupted => INTERRUPTED,
        }
    }

    /// The outcome of a broker that stands behind it, if one does.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal)
            | Self::NotStarted(refusal)
            | Self::Statement { refusal, .. }
            | Self::Unacknowledged { cause: refusal, .. } => Some(refusal),
            Self::Usage { .. }
            | Self::Input { .. }
            | Self::Io { .. }
            | Self::NoBroker { .. }
            | Self::Damaged { .. }
            | Self::Interrupted
            | Self::OutputClosed => None,
        }
    }

    /// What a person can do next; empty where there is nothing to do.
    pub(crate) fn advice(&self) -> Cow<'static, str> {
        match self {
            Self::Usage { advice, .. } | Self::Input { advice, .. } => Cow::Borrowed(advice),
            Self::Io { .. } => {
                Cow::Borrowed("check the path, the rights and the free space, then try again")
            }
            // The client is as good as another one: it is the language that does not go so far yet.
            Self::Statement { refusal, .. } if refusal.outcome == Outcome::Unsupported => {
                Cow::Borrowed(
                    "docs/sql.md, \"What runs today\", lists the statements of this version; the others are read, but not carried out yet",
                )
            }
            // The table points to a place; here none was given.
            Self::Statement { refusal, excerpt: None }
                if refusal.outcome == Outcome::InvalidStatement =>
            {
                Cow::Borrowed("correct what the message names; docs/sql.md shows every form")
            }
            // The table speaks to those who call a broker that runs; here there is none.
            Self::NotStarted(refusal) => Cow::Borrowed(match refusal.outcome {
                Outcome::DiskFull => {
                    "free space on the file system of the data folder, then start the broker again: what is in the folder was left as it was"
                }
                Outcome::StorageFailed => {
                    "see that the data folder is a folder that may be read and written and that its disk is sound, then start the broker again"
                }
                Outcome::Unavailable | Outcome::Disconnected => {
                    "mend what the message names, then start the broker again"
                }
                outcome => outcome.row().advice,
            }),
            // No other command has a limit to lengthen.
            Self::Refused(refusal) if refusal.outcome == Outcome::TimedOut => Cow::Borrowed(
                "see that the broker runs and is not overloaded (its log, /healthz and /metrics), then try again",
            ),
            Self::Refused(refusal) | Self::Statement { refusal, .. } => {
                Cow::Borrowed(refusal.outcome.row().advice)
            }
            Self::Unacknowledged { cause, .. } => {
                let advice = match cause.outcome {
                    Outcome::TimedOut | Outcome::Unavailable => {
                        "mend what the last attempt names, or have it wait longer with --timeout-ms"
                    }
                    Outcome::BatchTooLarge => concat!(
                        "make smaller batches with --batch-bytes; a single record must fit into max.message.bytes of the ",
                        "topic, which goes up to 67108864 (64 MiB), and with --compression into 50331648 (48 MiB) before it"
                    ),
                    outcome => outcome.row().advice,
                };
                let unknown = if cause.outcome.may_have_happened() {
                    "; they may have been written all the same: look before sending them again"
                } else {
                    ""
                };
                Cow::Owned(format!("{advice}{unknown}"))
            }
            Self::NoBroker { .. } => Cow::Borrowed(
                "give --server or THALWEG_SERVER the gRPC address, port 9093 unless it was set: `thalweg serve` prints it as grpc=",
            ),
            Self::Damaged { .. } => Cow::Borrowed(
                "the broker serves what lies around damaged records, `thalweg consume --skip-damaged` reads it; bring what is missing back from a backup of the folder",
            ),
            Self::Interrupted | Self::OutputClosed => Cow::Borrowed(""),
        }
    }
}

/// Where in the input that lies, behind the sentence that says what happened.
fn lines_told(lines: Option<&RangeInclusive<u64>>) -> String {
    match lines.map(|lines| (*lines.start(), *lines.end())) {
        None => String::new(),
        Some((from, to)) if from == to => format!(" (line {from} of the input)"),
        Some((from, to)) => format!(" (within lines {from} to {to} of the input)"),
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Refused(error.into())
    }
}

#[cfg(test)]
mod tests {
    use protocol::limits::BATCH_BYTES_MAX;

    use super::*;

    #[test]
    fn every_outcome_has_a_documented_exit_code() {
        for outcome in Outcome::ALL {
            let code = outcome.row().exit_code;
            assert!(CODES.iter().any(|(known, _)| *known == code), "{outcome}: {code}");
        }
    }

    #[test]
    fn every_documented_code_can_occur_and_stands_once_in_order() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (code, meaning) in CODES {
            let occurs = code == OK
                || code == GENERAL
                || Outcome::ALL.iter().any(|outcome| outcome.row().exit_code == code);
            assert!(occurs && !meaning.is_empty(), "{code}");
        }
    }

    #[test]
    fn a_closed_pipe_is_success_and_other_io_is_not() {
        let closed = Failure::io("write", io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(closed, Failure::OutputClosed));
        assert_eq!(closed.exit_code(), OK);
        let full = Failure::io("write", io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit_code(), GENERAL);
        assert!(!full.advice().is_empty());
    }

    #[test]
    fn each_end_has_its_code() {
        let refusal = Refusal::new(Outcome::UnknownTopic, "no topic \"x\"");
        let lost = Refusal::new(Outcome::Disconnected, "gone");
        let unacknowledged = Failure::Unacknowledged {
            unacknowledged: 2,
            sent: 1_000,
            cause: lost,
            lines: Some(3..=9),
        };
        let usage = Failure::Usage { message: "m".into(), advice: "a" };
        let input = Failure::Input { place: "f".into(), line: 3, cause: "c".into(), advice: "a" };
        let damaged = Failure::Damaged { folder: "d".into(), places: 1 };
        assert_eq!(Failure::Refused(refusal).exit_code(), 3);
        assert_eq!(unacknowledged.exit_code(), 6);
        assert_eq!(
            unacknowledged.to_string(),
            "2 of 1,000 records not acknowledged: gone (within lines 3 to 9 of the input)"
        );
        assert!(unacknowledged.advice().contains("may have been written"));
        assert_eq!(usage.exit_code(), USAGE);
        assert_eq!(input.exit_code(), USAGE);
        assert_eq!(damaged.exit_code(), 7);
        assert_eq!(Failure::Interrupted.exit_code(), INTERRUPTED);
    }

    #[test]
    fn who_starts_a_broker_is_told_what_to_do_before_the_next_start() {
        let failure = |outcome| Failure::NotStarted(Refusal::new(outcome, "m"));
        let advice = |outcome| failure(outcome).advice().into_owned();
        assert_eq!(failure(Outcome::DiskFull).exit_code(), 8);
        assert!(advice(Outcome::DiskFull).contains("free space"));
        for outcome in [Outcome::DiskFull, Outcome::Unavailable] {
            assert!(advice(outcome).contains("start the broker"), "{outcome}");
        }
        assert_eq!(advice(Outcome::InUse), Outcome::InUse.row().advice);
    }

    #[test]
    fn advice_fits_what_the_command_line_can_do() {
        let lost = |outcome| Failure::Unacknowledged {
            unacknowledged: 1,
            sent: 1,
            cause: Refusal::new(outcome, "m"),
            lines: None,
        };
        for outcome in [Outcome::TimedOut, Outcome::Unavailable] {
            assert!(lost(outcome).advice().contains("--timeout-ms"), "{outcome}");
        }
        assert!(lost(Outcome::BatchTooLarge).advice().contains(&BATCH_BYTES_MAX.to_string()));
        assert!(lost(Outcome::DiskFull).advice().contains("free space"));
        let slow = Failure::Refused(Refusal::new(Outcome::TimedOut, "m"));
        assert!(!slow.advice().contains("limit"), "{}", slow.advice());
        let statement = |excerpt| Failure::Statement {
            refusal: Refusal::new(Outcome::InvalidStatement, "m"),
            excerpt,
        };
        assert!(statement(Some("x".to_owned())).advice().contains("line and column"));
        assert!(!statement(None).advice().contains("line and column"));
        let mark = Failure::NotStarted(Refusal::new(Outcome::StorageFailed, "m"));
        assert!(mark.advice().contains("data folder"), "{}", mark.advice());
    }

    #[test]
    fn a_statement_that_is_not_supported_yet_is_no_matter_of_the_client() {
        let refusal = Refusal::new(Outcome::Unsupported, "not supported yet: CREATE TABLE");
        let advice = |failure: Failure| failure.advice().into_owned();
        let statement = Failure::Statement { refusal: refusal.clone(), excerpt: None };
        assert_eq!(statement.exit_code(), Outcome::Unsupported.row().exit_code);
        assert!(advice(statement).contains("What runs today"));
        assert!(advice(Failure::Refused(refusal)).contains("client of the broker's version"));
    }
}
