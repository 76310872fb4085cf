//! `thalweg sql`: statements to the engine, rows back; as a script or as a shell.
//!
//! Knows no SQL beyond where a statement ends. Session properties live here: the engine tells them after SET, and
//! they go with every statement that follows.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use protocol::grpc::v1::execute_response::Answer;
use protocol::grpc::v1::query_client::QueryClient;
use protocol::grpc::v1::{Column, ExecuteRequest, Row};
use protocol::limits::{REQUEST_BYTES_MAX, SQL_BYTES_MAX};
use protocol::outcome::{Outcome, Refusal};
use tonic::transport::{Channel, Endpoint};

use crate::args::SqlArgs;
use crate::attempts::patiently;
use crate::context::{Context, interrupted};
use crate::exit::Failure;
use crate::lines::Lines;
use crate::output::Output;
use crate::probe;
use crate::shell::{Entry, Shell};
use crate::text::{JsonRow, RowTable, Statement, Statements, count, counted, excerpt};

/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// A query may be quiet for days; a peer that answers no ping within these times is gone.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the header of a table waits for rows to be aligned with.
const HEADER_WAIT: Duration = Duration::from_millis(250);

/// Statements from wherever the flags say, each carried out before the next is read.
pub(crate) async fn run(args: SqlArgs, context: &Context) -> Result<(), Failure> {
    if let Some(stray) = args.stray {
        return Err(Failure::Usage {
            message: format!("{stray:?} is neither -f nor -e: a file or a statement?"),
            advice: "-f FILE carries the statements of a file out, -e 'STATEMENT;' those given",
        });
    }
    let mut session = Session::connect(&context.server, &context.output)?;
    let properties = args.properties.into_iter();
    session.properties = properties.map(|property| (property.name, property.value)).collect();
    if !args.statements.is_empty() {
        let mut statements = Statements::new();
        for text in &args.statements {
            session.run_all(statements.push(&format!("{text}\n")), "--execute").await?;
        }
        return session.run_all(statements.finish(), "--execute").await;
    }
    if args.file.is_none() && std::io::stdin().is_terminal() {
        return session.converse(context).await;
    }
    session.run_script(args.file.as_deref()).await
}

/// What holds from one statement to the next.
pub(crate) struct Session<'a> {
    client: QueryClient<Channel>,
    /// Its address, as given.
    server: String,
    properties: HashMap<String, String>,
    output: &'a Output,
}

impl<'a> Session<'a> {
    /// A session with the engine of a server, HOST:PORT. Nothing is sent before the first statement.
    pub(crate) fn connect(server: &str, output: &'a Output) -> Result<Self, Failure> {
        let address =
            if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let endpoint = Endpoint::from_shared(address).map_err(|cause| Failure::Usage {
            message: format!("{server:?} is not the address of a server: {cause}"),
            advice: "give --server or THALWEG_SERVER as HOST:PORT",
        })?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIME_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIME_MAX)
            .keep_alive_while_idle(true);
        let client =
            QueryClient::new(endpoint.connect_lazy()).max_decoding_message_size(REQUEST_BYTES_MAX);
        Ok(Self { client, server: server.to_owned(), properties: HashMap::new(), output })
    }

    /// Carries out the statements of a text and writes what they answer, up to the first error. Ctrl-C ends it as
    /// [`Failure::Interrupted`].
    pub(crate) async fn execute(&mut self, text: &str) -> Result<(), Failure> {
        let mut statements = Statements::new();
        let mut found = statements.push(text);
        found.extend(statements.finish());
        self.run_all(found, "input").await
    }

    async fn run_all(
        &mut self,
        statements: impl IntoIterator<Item = Statement>,
        source: &str,
    ) -> Result<(), Failure> {
        for statement in statements {
            self.run_one(&statement, source).await?;
        }
        Ok(())
    }

    /// Carries out a script to its end or its first error. Ctrl-C ends the query and the script.
    async fn run_script(&mut self, file: Option<&Path>) -> Result<(), Failure> {
        let mut lines = Lines::open(file, SQL_BYTES_MAX)?;
        let source = lines.place.clone();
        let bad_line = |line, cause: String| Failure::Input {
            place: source.clone(),
            line,
            cause,
            advice: "the statements before it have been carried out; correct it and run the rest",
        };
        let mut statements = Statements::new();
        loop {
            let chunk = tokio::select! {
                biased;
                () = interrupted() => return Err(Failure::Interrupted),
                chunk = lines.next_chunk() => chunk?,
            };
            let Some(chunk) = chunk else { break };
            for line in chunk.lines {
                let text = line.bytes.as_deref().map(std::str::from_utf8).transpose();
                let text = text.map_err(|_| bad_line(line.number, "it is not UTF-8".to_owned()))?;
                // Editors of some systems begin a file with a byte order mark; it means nothing.
                let text = match line.number {
                    1 => text.map(|text| text.strip_prefix('\u{feff}').unwrap_or(text)),
                    _ => text,
                };
                let complete = text.map(|text| statements.push(&format!("{text}\n")));
                if complete.is_none() || statements.pending_bytes() > SQL_BYTES_MAX {
                    let cause =
                        format!("a statement is longer than {} bytes", count(SQL_BYTES_MAX as u64));
                    return Err(bad_line(line.number, cause));
                }
                self.run_all(complete.unwrap_or_default(), &source).await?;
            }
        }
        self.run_all(statements.finish(), &source).await
    }

    /// The shell: errors are shown and forgotten, Ctrl-C ends the query only.
    async fn converse(&mut self, context: &Context) -> Result<(), Failure> {
        let mut shell = Shell::open(&context.environment)?;
        self.output.note(&format!(
            "thalweg {} on {}. Statements end with ; and may span lines. `help` helps, Ctrl-D leaves.",
            env!("CARGO_PKG_VERSION"),
            context.server,
        ));
        let mut keeps_history = true;
        loop {
            // Waits for a person; the other threads of the runtime go on.
            let (entry, kept) = tokio::task::block_in_place(|| {
                shell.read().map(|entry| (entry, shell.keep_history()))
            })?;
            if let Err(failure) = kept
                && std::mem::replace(&mut keeps_history, false)
            {
                self.output.warning(&format!("the history is not kept: {failure}"));
            }
            let text = match entry {
                Entry::Leave => break,
                Entry::Nothing => continue,
                Entry::Help => {
                    self.output.line(HELP)?;
                    continue;
                }
                Entry::Clear => {
                    self.output.clear_screen()?;
                    continue;
                }
                Entry::Statements(text) => text,
            };
            match self.execute(&text).await {
                Ok(()) => {}
                Err(Failure::Interrupted) => self.output.note("query ended"),
                Err(Failure::OutputClosed) => return Err(Failure::OutputClosed),
                Err(failure) => {
                    let failure = probe::explain(failure, &context.server).await;
                    self.output.failure(&failure);
                }
            }
        }
        Ok(())
    }

    /// Carries out one statement and writes what it answers. May be cancelled: the engine then ends the query.
    async fn run_one(&mut self, statement: &Statement, source: &str) -> Result<(), Failure> {
        let request =
            ExecuteRequest { sql: statement.text.clone(), properties: self.properties.clone() };
        let answered = tokio::select! {
            biased;
            () = interrupted() => return Err(Failure::Interrupted),
            answered = self.answers(request) => answered,
        };
        answered.map_err(|end| match end {
            End::Refused(refusal)
                if matches!(refusal.outcome, Outcome::InvalidStatement | Outcome::Unsupported) =>
            {
                let excerpt = excerpt(statement, source, &refusal.message);
                Failure::Statement { refusal, excerpt }
            }
            End::Refused(mut refusal) => {
                // What comes of the connection says which broker was meant.
                if matches!(refusal.outcome, Outcome::Unavailable | Outcome::Disconnected) {
                    refusal.message = format!("broker at {}: {}", self.server, refusal.message);
                }
                Failure::Refused(refusal)
            }
            End::Output(failure) => failure,
        })
    }

    async fn answers(&mut self, request: ExecuteRequest) -> Result<(), End> {
        let executed = self.client.execute(request);
        let mut answers = patiently(|text| self.output.note(text), executed).await?.into_inner();
        let mut closed = pin!(self.output.closed());
        let mut table = None;
        loop {
            let header_waits = table.as_ref().is_some_and(|table: &Table| !table.has_header);
            let answer = tokio::select! {
                biased;
                answer = answers.message() => answer?,
                () = &mut closed, if table.is_some() => {
                    return Err(End::Output(Failure::OutputClosed));
                }
                () = tokio::time::sleep(HEADER_WAIT), if header_waits => {
                    if let Some(table) = &mut table {
                        table.begin_blind(self.output)?;
                    }
                    continue;
                }
            };
            let Some(answer) = answer else { break };
            // A newer engine may answer what this program does not know.
            let Some(answer) = answer.answer else { continue };
            match answer {
                Answer::Columns(columns) => {
                    end_table(table.take(), self.output)?;
                    table = Some(Table::new(columns.columns));
                }
                Answer::Rows(rows) => match &mut table {
                    Some(table) => table.write(&rows.rows, self.output)?,
                    None => return Err(rows_without_columns()),
                },
                // How a query ended is about its rows, and none of them.
                Answer::Done(done) if table.is_some() => self.output.note(&done),
                Answer::Done(done) => self.say(&done)?,
                Answer::Notice(notice) => self.output.note(&format!("note: {notice}")),
                Answer::Properties(properties) => self.properties = properties.values,
            }
        }
        Ok(end_table(table, self.output)?)
    }

    /// What a statement did; programs want rows only.
    fn say(&self, done: &str) -> Result<(), Failure> {
        if self.output.is_json() {
            self.output.note(done);
            return Ok(());
        }
        self.output.line(done)
    }
}

/// Why the answers to a statement ended before their end.
enum End {
    Refused(Refusal),
    Output(Failure),
}

impl From<tonic::Status> for End {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(status.into())
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Output(failure)
    }
}

fn rows_without_columns() -> End {
    End::Refused(Refusal::new(Outcome::Internal, "the engine sent rows before their columns"))
}

/// The rows of one answer on their way to the terminal.
struct Table {
    columns: Vec<Column>,
    rows: RowTable,
    has_header: bool,
    row_count: u64,
}

impl Table {
    fn new(columns: Vec<Column>) -> Self {
        Self { rows: RowTable::new(&columns), columns, has_header: false, row_count: 0 }
    }

    /// Writes the header while no row has come yet.
    fn begin_blind(&mut self, output: &Output) -> Result<(), Failure> {
        self.rows.expect_rows();
        self.begin(output)
    }

    fn begin(&mut self, output: &Output) -> Result<(), Failure> {
        if std::mem::replace(&mut self.has_header, true) || output.is_json() {
            return Ok(());
        }
        output.line(&output.heading(&self.rows.header()))
    }

    fn write(&mut self, rows: &[Row], output: &Output) -> Result<(), Failure> {
        self.row_count += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        if output.is_json() {
            self.has_header = true;
            let columns = &self.columns;
            return rows.iter().try_for_each(|row| output.json(&JsonRow { columns, row }));
        }
        self.rows.fit(rows);
        self.begin(output)?;
        let mut text = String::new();
        for row in rows {
            text.push_str(&self.rows.row(row));
            text.push('\n');
        }
        output.bytes(text.as_bytes())
    }
}

/// Closes a table: a header if there was no row, and how many there were.
fn end_table(table: Option<Table>, output: &Output) -> Result<(), Failure> {
    let Some(mut table) = table else { return Ok(()) };
    table.begin(output)?;
    output.note(&counted(table.row_count, "row"));
    Ok(())
}

/// What `help` shows.
const HELP: &str = "\
Statements end with a semicolon and may span lines. Some to begin with:

  SHOW TOPICS;                                           what there is to read
  PRINT 'ratings' FROM BEGINNING LIMIT 3;                look at records
  CREATE STREAM ratings (rating_id BIGINT KEY, stars INT, message STRING)
    WITH (KAFKA_TOPIC='ratings', VALUE_FORMAT='JSON');   give them names
  SELECT * FROM ratings WHERE stars < 3 EMIT CHANGES;    follow them, until Ctrl-C
  SHOW STREAMS; SHOW TABLES; SHOW QUERIES; DESCRIBE ratings;

Keys: Ctrl-C ends a query or an entry, Ctrl-D leaves, arrows walk through the history, Ctrl-R searches it.
Words: help, clear, exit, quit. docs/sql.md has the whole language.";
