//! `thalweg consume`: records out, by format string. Fetching, checking and positions are the client's.

mod form;
mod readers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::consumer::ConsumedRecord;
use client::transport::Transport;
use protocol::outcome::Outcome;
use protocol::verbs::Position;

use self::form::RecordForm;
use self::readers::{Ends, Readers};
use crate::args::ConsumeArgs;
use crate::attempts::Attempts;
use crate::context::{Context, interrupted};
use crate::exit::Failure;
use crate::text::{Seen, bytes_size, counted};

/// How often a reader that wants to stop at the end looks whether it is there: offsets may end without a record, as
/// those of transaction markers do.
const END_CHECK: Duration = Duration::from_millis(50);

/// Reads until a limit, the end, Ctrl-C or a closed pipe.
pub(crate) async fn run(args: ConsumeArgs, context: &Context) -> Result<(), Failure> {
    let form = RecordForm::choose(args.format.as_deref(), context.output.is_json())?;
    let begun = Instant::now();
    let mut reading = Reading { form, args, context, seen: 0, seen_bytes: 0 };
    let end = tokio::select! {
        biased;
        () = interrupted() => Err(Failure::Interrupted),
        end = reading.read() => end,
        () = context.output.closed() => Err(Failure::OutputClosed),
    };
    if matches!(end, Ok(()) | Err(Failure::Interrupted)) {
        reading.summarize(begun.elapsed());
    }
    end
}

struct Reading<'a> {
    form: RecordForm,
    args: ConsumeArgs,
    context: &'a Context,
    seen: u64,
    seen_bytes: u64,
}

impl Reading<'_> {
    /// May be cancelled: what was printed was printed whole.
    async fn read(&mut self) -> Result<(), Failure> {
        let at = self.args.from.resolve(self.context.now());
        let (attempts, transport) = Attempts::watch(self.context.transport()?);
        let output = self.context.output;
        attempts.told(|text| output.note(text), self.read_all(transport, at)).await
    }

    async fn read_all(
        &mut self,
        transport: Arc<dyn Transport>,
        at: Position,
    ) -> Result<(), Failure> {
        let mut readers = Readers::open(transport, &self.args, at).await?;
        let ends = if self.args.exit_at_end { Some(readers.ends().await?) } else { None };
        let mut buffer = Vec::new();
        let mut end_check = tokio::time::interval(END_CHECK);
        while !self.is_done(&readers, ends.as_ref()) {
            let (index, batch) = tokio::select! {
                biased;
                next = readers.next_batch() => next,
                _ = end_check.tick(), if ends.is_some() => continue,
            };
            match batch {
                Ok(records) => {
                    buffer.clear();
                    for record in &records {
                        self.take(record, ends.as_ref(), &mut buffer);
                    }
                    self.context.output.bytes(&buffer)?;
                }
                Err(error) if self.args.skip_damaged && error.outcome() == Outcome::DamagedData => {
                    self.context.output.warning(error.message());
                    readers.step_over(index, &self.args.topic, error).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn is_done(&self, readers: &Readers, ends: Option<&Ends>) -> bool {
        let is_at_end =
            |ends: &Ends| ends.are_reached(|topic, partition| readers.position(topic, partition));
        self.has_enough() || ends.is_some_and(is_at_end)
    }

    fn has_enough(&self) -> bool {
        self.args.limit.is_some_and(|limit| self.seen >= limit)
    }

    /// Writes a record that is still wanted.
    fn take(&mut self, record: &ConsumedRecord, ends: Option<&Ends>, buffer: &mut Vec<u8>) {
        if self.has_enough() || ends.is_some_and(|ends| !ends.cover(record)) {
            return;
        }
        let before = buffer.len();
        self.form.write(buffer, &seen(record));
        self.seen += 1;
        self.seen_bytes += u64::try_from(buffer.len() - before).unwrap_or(u64::MAX);
    }

    fn summarize(&self, took: Duration) {
        self.context.output.note(&format!(
            "{} read from {} ({} written) in {:.2} s",
            counted(self.seen, "record"),
            self.args.topic,
            bytes_size(self.seen_bytes),
            took.as_secs_f64(),
        ));
    }
}

fn seen(record: &ConsumedRecord) -> Seen<'_> {
    Seen {
        topic: record.topic.as_str(),
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &record.headers,
    }
}
