//! The line editor of the SQL shell: entries of many lines, kept in a history from one day to the next.
//!
//! Knows nothing of what becomes of an entry. The only file that knows rustyline.

use std::io;
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};

use crate::args::Environment;
use crate::exit::Failure;
use crate::text::Statements;

/// Entries that the history keeps.
const HISTORY_ENTRIES_MAX: usize = 10_000;

/// What a person entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Whole statements.
    Statements(String),
    /// An empty line, or one that was given up with Ctrl-C.
    Nothing,
    /// `help`.
    Help,
    /// `clear`.
    Clear,
    /// `exit`, `quit` or Ctrl-D.
    Leave,
}

impl Entry {
    /// What the text says; `None` while it is not finished.
    fn read(text: &str) -> Option<Self> {
        let trimmed = text.trim();
        let word = trimmed.trim_end_matches([';', ' ']).to_ascii_lowercase();
        match word.as_str() {
            "" => return Some(Self::Nothing),
            "help" | "?" => return Some(Self::Help),
            "clear" => return Some(Self::Clear),
            "exit" | "quit" => return Some(Self::Leave),
            _ => {}
        }
        let mut statements = Statements::new();
        statements.push(trimmed);
        statements.is_empty().then(|| Self::Statements(trimmed.to_owned()))
    }
}

/// The editor with its history.
pub(crate) struct Shell {
    editor: Editor<EntryHelper, DefaultHistory>,
    /// Where the history is kept; nowhere without a home.
    history: Option<PathBuf>,
}

impl Shell {
    /// Takes the terminal and reads the history of earlier days, where there is one.
    pub(crate) fn open(environment: &Environment) -> Result<Self, Failure> {
        let failed = |error| failure("use the terminal", error);
        let config = Config::builder()
            .max_history_size(HISTORY_ENTRIES_MAX)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(failed)?
            .history_ignore_space(true)
            .auto_add_history(true)
            .build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(EntryHelper));
        let history = environment
            .state_folder
            .as_ref()
            .map(|folder| folder.join("thalweg").join("sql_history"));
        if let Some(path) = &history {
            // The first day has no history, and a damaged one is no reason to refuse work.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    /// Waits for an entry. Blocks the thread.
    pub(crate) fn read(&mut self) -> Result<Entry, Failure> {
        match self.editor.readline("thalweg> ") {
            // The validator lets only finished entries pass.
            Ok(text) => Ok(Entry::read(&text).unwrap_or(Entry::Statements(text))),
            Err(ReadlineError::Interrupted) => Ok(Entry::Nothing),
            Err(ReadlineError::Eof) => Ok(Entry::Leave),
            Err(error) => Err(failure("read from the terminal", error)),
        }
    }

    /// Writes down what was entered since the last time, behind what this shell and others have written: called before
    /// an entry is carried out, so that neither kill -9 nor a terminal that is closed costs any.
    pub(crate) fn keep_history(&mut self) -> Result<(), Failure> {
        let Some(path) = &self.history else { return Ok(()) };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|cause| Failure::io(format!("create {}", folder.display()), cause))?;
        }
        let doing = format!("write {}", path.display());
        self.editor.append_history(path).map_err(|error| failure(&doing, error))
    }
}

fn failure(doing: &str, error: ReadlineError) -> Failure {
    Failure::io(
        doing,
        match error {
            ReadlineError::Io(cause) => cause,
            other => io::Error::other(other),
        },
    )
}

/// Tells the editor when Enter ends an entry and when it begins another line of it.
struct EntryHelper;

impl Validator for EntryHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match Entry::read(context.input()) {
            Some(_) => ValidationResult::Valid(None),
            None => ValidationResult::Incomplete,
        })
    }
}

impl Completer for EntryHelper {
    type Candidate = String;
}

impl Hinter for EntryHelper {
    type Hint = String;
}

impl Highlighter for EntryHelper {}

impl Helper for EntryHelper {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_statements_are_told_apart() {
        assert_eq!(Entry::read(" \n"), Some(Entry::Nothing));
        assert_eq!(Entry::read("HELP;"), Some(Entry::Help));
        assert_eq!(Entry::read("clear"), Some(Entry::Clear));
        assert_eq!(Entry::read("quit ;"), Some(Entry::Leave));
        let whole = "SELECT 1;\nSELECT 2;";
        assert_eq!(Entry::read(whole), Some(Entry::Statements(whole.to_owned())));
    }

    #[test]
    fn entries_are_kept_behind_those_of_other_shells() {
        let folder = tempfile::tempdir().unwrap();
        let mut environment = Environment::default();
        environment.state_folder = Some(folder.path().into());
        let open = || Shell::open(&environment).unwrap();
        let enter = |shell: &mut Shell, text: &str| {
            shell.editor.add_history_entry(text).unwrap();
            shell.keep_history().unwrap();
        };
        let (mut first, mut second) = (open(), open());
        enter(&mut first, "SELECT 1;");
        enter(&mut second, "SELECT 2;");
        enter(&mut first, "SELECT\n3;");
        first.keep_history().unwrap();
        // Neither has left.
        let kept: Vec<_> = open().editor.history().iter().cloned().collect();
        assert_eq!(kept, ["SELECT 1;", "SELECT 2;", "SELECT\n3;"]);
    }

    #[test]
    fn an_entry_goes_on_until_its_semicolon() {
        for open in ["SELECT 1", "SELECT ';", "SELECT 1; SELECT", "/* ;", "help me"] {
            assert_eq!(Entry::read(open), None, "{open}");
        }
    }
}
