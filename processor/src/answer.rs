//! What a statement answers, free of any wire, and the bounded line through which answers leave.

use std::collections::BTreeMap;

use protocol::outcome::Refusal;
pub use sql::value::double_text;
use sql::value::{SqlType, Value};
use tokio::sync::mpsc;

/// A piece of what statements answer, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A table follows: its columns.
    Columns(Vec<AnswerColumn>),
    /// Rows of the table that the last [`Answer::Columns`] opened.
    Rows(Vec<Vec<Value>>),
    /// A statement was carried out: what happened, for people.
    Done(String),
    /// Something worth knowing, for people; not an error.
    Notice(String),
    /// The session's properties after they were changed.
    Properties(BTreeMap<String, String>),
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
}

/// The end at which answers are put in.
#[derive(Clone, Debug)]
pub struct Answers {
    sender: mpsc::Sender<Result<Answer, Refusal>>,
}

/// Nobody takes answers any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Answers that wait for a slow caller; behind them the query waits.
const ANSWERS_MAX: usize = 2;

/// Rows of one answer.
const ANSWER_ROWS_MAX: usize = 500;

/// About how many bytes the rows of one answer have, unless one row alone has more.
const ANSWER_BYTES: usize = 1 << 18;

impl Answers {
    /// A bounded line, and its other end.
    pub fn line() -> (Self, mpsc::Receiver<Result<Answer, Refusal>>) {
        let (sender, receiver) = mpsc::channel(ANSWERS_MAX);
        (Self { sender }, receiver)
    }

    /// Puts an answer in; waits for room. Many rows, or large ones, leave in pieces: one message of any size would be
    /// more than its reader takes.
    ///
    /// # Errors
    /// [`Gone`] when the other end was dropped.
    pub async fn send(&self, answer: Answer) -> Result<(), Gone> {
        let Answer::Rows(mut rows) = answer else { return self.send_one(answer).await };
        loop {
            let behind = rows.split_off(first_piece(&rows));
            let is_last = behind.is_empty();
            self.send_one(Answer::Rows(std::mem::replace(&mut rows, behind))).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    async fn send_one(&self, answer: Answer) -> Result<(), Gone> {
        self.sender.send(Ok(answer)).await.map_err(|_| Gone)
    }

    /// Ends with a refusal.
    pub async fn refuse(&self, refusal: Refusal) {
        // Without anybody to be told there is nothing to do.
        let _ = self.sender.send(Err(refusal)).await;
    }

    /// Waits until nobody takes answers any more.
    pub async fn gone(&self) {
        self.sender.closed().await;
    }
}

/// How many of the rows make up one answer: one at least, if there is one.
fn first_piece(rows: &[Vec<Value>]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&Vec<Value>| {
        bytes += row.iter().map(Value::payload_bytes).sum::<usize>();
        bytes <= ANSWER_BYTES
    };
    let count = rows.iter().take(ANSWER_ROWS_MAX).take_while(fits).count();
    count.max(1).min(rows.len())
}

/// A table whose cells are all text or numbers, built row by row.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<AnswerColumn>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// An empty table with text columns.
    pub fn of_text(names: &[&str]) -> Self {
        Self::new(names.iter().map(|name| (*name, SqlType::String)))
    }

    /// An empty table.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, SqlType)>) -> Self {
        let column =
            |(name, sql_type): (&str, SqlType)| AnswerColumn { name: name.to_owned(), sql_type };
        Self { columns: columns.into_iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<Value>) {
        self.rows.push(row);
    }

    /// The table as answers.
    pub fn into_answers(self) -> [Answer; 2] {
        [Answer::Columns(self.columns), Answer::Rows(self.rows)]
    }
}

/// A text cell.
pub fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

/// A number cell.
pub fn number(number: u64) -> Value {
    Value::Bigint(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_leave_in_pieces_that_a_reader_takes() {
        for (count, cell, pieces) in [
            (0, text("x"), vec![0]),
            (500, text("x"), vec![500]),
            (1_200, text("x"), vec![500, 500, 200]),
            (5, text("x".repeat(150_000)), vec![1; 5]),
            (5, text("x".repeat(100_000)), vec![2, 2, 1]),
        ] {
            let (answers, mut taken) = Answers::line();
            // More pieces than may wait.
            let sent =
                tokio::spawn(
                    async move { answers.send(Answer::Rows(vec![vec![cell]; count])).await },
                );
            let mut found = Vec::new();
            while let Some(answer) = taken.recv().await {
                match answer.unwrap() {
                    Answer::Rows(rows) => found.push(rows.len()),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((found, sent.await.unwrap()), (pieces, Ok(())));
        }
    }
}
