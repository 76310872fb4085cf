//! `thalweg datagen`: made-up ratings and customers, to a topic or to standard output, at a pace.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use client::admin::Admin;
use client::producer::{Producer, ProducerConfig};
use indicatif::ProgressBar;
use protocol::id::{Timestamp, TopicName};
use protocol::outcome::{Outcome, Refusal};
use protocol::record::Record;
use protocol::verbs::TopicSpec;
use thalweg::datagen::{CUSTOMERS, Ratings, customers};
use tokio::time::Instant;

use crate::args::{DatagenArgs, DatagenKind};
use crate::attempts::Attempts;
use crate::context::{Context, interrupted};
use crate::exit::Failure;
use crate::output::Output;
use crate::pending::Pending;
use crate::text::counted;

/// How many ratings are made when neither a number nor a rate is given.
const RATINGS_DEFAULT: u32 = 1_000;
/// Records a second for their timestamps, where no rate is given.
const PER_SECOND_DEFAULT: f64 = 1_000.0;
/// Bytes that are gathered before they are printed, when nobody waits for the next record.
const PRINT_BYTES: usize = 64 * 1024;

/// Makes the records and sends or prints them.
pub(crate) async fn run(args: DatagenArgs, context: &Context) -> Result<(), Failure> {
    let plan = Plan::new(&args, context.now())?;
    let records = plan.records();
    let mut pace = Pace::new(args.rate.map(|rate| rate.per_second()));
    if args.print {
        return print(records, &mut pace, &context.output).await;
    }
    let topic = args.topic.clone().map_or_else(|| plan.default_topic(), Ok)?;
    let (attempts, transport) = Attempts::watch(context.transport()?);
    let limit = Duration::from_millis(args.timeout_ms);
    let prepare = async {
        let admin = Admin::new(transport.clone());
        if args.create {
            create_if_missing(&admin, &topic).await?;
        }
        // A wrong name or address is told now, not when the producer has given up trying.
        admin.describe_topic(&topic).await?;
        Ok::<(), Failure>(())
    };
    attempts.within(limit, |text| context.output.note(text), prepare).await??;
    let producer = Producer::new(transport, ProducerConfig::default().delivery_timeout(limit));
    let known = (plan.count < u32::MAX).then_some(plan.count);
    let sending = Sending {
        pending: Pending::new(producer, topic.clone()),
        topic,
        progress: context.output.counter(known.map(u64::from)),
        attempts,
        limit,
    };
    sending.run(records, &mut pace, context).await
}

/// What is to be made.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Plan {
    kind: DatagenKind,
    count: u32,
    seed: u64,
    start: Timestamp,
    per_second: f64,
}

impl Plan {
    fn new(args: &DatagenArgs, now: Timestamp) -> Result<Self, Failure> {
        let customers = u32::try_from(CUSTOMERS).unwrap_or(u32::MAX);
        let count = match (args.kind, args.count, args.rate) {
            (DatagenKind::Customers, Some(count), _) if count > customers => {
                return Err(Failure::Usage {
                    message: format!("{count} customers were asked for, and there are {CUSTOMERS}"),
                    advice: "leave --count out to get them all",
                });
            }
            (_, Some(count), _) => count,
            (DatagenKind::Customers, None, _) => customers,
            (DatagenKind::Ratings, None, Some(_)) => u32::MAX,
            (DatagenKind::Ratings, None, None) => RATINGS_DEFAULT,
        };
        let per_second = args.rate.map_or(PER_SECOND_DEFAULT, |rate| rate.per_second());
        let start = match (args.start, args.rate) {
            (Some(moment), _) => moment.resolve(now),
            (None, Some(_)) => now,
            // Times ahead of the clock would be refused by topics that mind it.
            (None, None) => {
                let span_ms = f64::from(count) * 1000.0 / per_second;
                Timestamp(now.0.saturating_sub(span_ms as i64))
            }
        };
        Ok(Self { kind: args.kind, count, seed: args.seed, start, per_second })
    }

    fn default_topic(self) -> Result<TopicName, Failure> {
        let name = match self.kind {
            DatagenKind::Ratings => "ratings",
            DatagenKind::Customers => "customers",
        };
        TopicName::new(name)
            .map_err(|error| Failure::Usage { message: error.to_string(), advice: "give --topic" })
    }

    fn records(self) -> Box<dyn Iterator<Item = Record> + Send> {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        match self.kind {
            DatagenKind::Ratings => Box::new(
                Ratings::new(self.seed, self.start, self.per_second)
                    .take(count)
                    .map(|rating| rating.to_record()),
            ),
            DatagenKind::Customers => {
                Box::new(customers(self.start).take(count).map(|customer| customer.to_record()))
            }
        }
    }
}

/// When the next record is due. Due times are counted from the beginning, so that a late record is caught up with.
#[derive(Debug)]
struct Pace {
    begun: Instant,
    per_second: Option<f64>,
    made: u64,
}

impl Pace {
    fn new(per_second: Option<f64>) -> Self {
        Self { begun: Instant::now(), per_second, made: 0 }
    }

    /// Counts a record; the time to wait for before it is made, if that lies behind `now`.
    fn next_due(&mut self, now: Instant) -> Option<Instant> {
        let seconds = self.made as f64 / self.per_second?;
        self.made += 1;
        let due = self.begun.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        (due > now).then_some(due)
    }
}

async fn print(
    records: impl Iterator<Item = Record>,
    pace: &mut Pace,
    output: &Output,
) -> Result<(), Failure> {
    let mut interrupt = pin!(interrupted());
    let mut closed = pin!(output.closed());
    let mut text = Vec::new();
    for record in records {
        if let Some(due) = pace.next_due(Instant::now()) {
            output.bytes(&text)?;
            text.clear();
            tokio::select! {
                () = &mut interrupt => return Err(Failure::Interrupted),
                () = &mut closed => return Err(Failure::OutputClosed),
                () = tokio::time::sleep_until(due) => {}
            }
        }
        text.extend_from_slice(record.value.as_deref().unwrap_or_default());
        text.push(b'\n');
        if text.len() >= PRINT_BYTES {
            output.bytes(&text)?;
            text.clear();
        }
    }
    output.bytes(&text)
}

/// Records on their way to a topic.
struct Sending {
    topic: TopicName,
    pending: Pending,
    progress: ProgressBar,
    attempts: Attempts,
    /// How long nothing may be acknowledged.
    limit: Duration,
}

impl Sending {
    async fn run(
        mut self,
        records: impl Iterator<Item = Record>,
        pace: &mut Pace,
        context: &Context,
    ) -> Result<(), Failure> {
        let mut interrupt = pin!(interrupted());
        let (attempts, limit) = (self.attempts.clone(), self.limit);
        let (progress, output) = (self.progress.clone(), &context.output);
        let say = |text: &str| progress.suspend(|| output.note(text));
        let mut ended_early = false;
        tokio::select! {
            biased;
            () = &mut interrupt => ended_early = true,
            sent = attempts.within(limit, say, self.send_at_pace(records, pace)) => {
                self.give_up(sent);
            }
        }
        // A second Ctrl-C ends the wait for the answers.
        tokio::select! {
            biased;
            () = interrupted() => {}
            settled = attempts.within(limit, say, self.pending.settle_all()) => {
                self.give_up(settled);
            }
        }
        self.progress.finish_and_clear();
        self.report(output)?;
        self.pending.outcome(ended_early)
    }

    fn give_up(&mut self, end: Result<(), Refusal>) {
        if let Err(refusal) = end {
            self.pending.give_up(refusal);
        }
    }

    /// Until all are handed over or one is refused.
    async fn send_at_pace(&mut self, records: impl Iterator<Item = Record>, pace: &mut Pace) {
        for record in records {
            if let Some(due) = pace.next_due(Instant::now()) {
                let mut sleep = pin!(tokio::time::sleep_until(due));
                loop {
                    tokio::select! {
                        () = &mut sleep => break,
                        () = self.pending.settle() => {}
                    }
                }
            }
            self.pending.send(0, None, record).await;
            if self.pending.has_failed() {
                return;
            }
            self.progress.set_position(self.pending.acknowledged());
        }
    }

    fn report(&self, output: &Output) -> Result<(), Failure> {
        let (pending, topic) = (&self.pending, &self.topic);
        if output.is_json() {
            return output.json(&serde_json::json!({
                "topic": topic.as_str(),
                "records": pending.acknowledged(),
                "bytes": pending.acknowledged_bytes(),
                "unacknowledged": pending.unacknowledged(),
            }));
        }
        output.note(&format!("{} written to {topic}", counted(pending.acknowledged(), "record")));
        Ok(())
    }
}

async fn create_if_missing(admin: &Admin, topic: &TopicName) -> Result<(), Failure> {
    let spec = TopicSpec { name: topic.clone(), partitions: None, settings: BTreeMap::new() };
    match admin.create_topic(spec).await {
        Err(error) if error.outcome() == Outcome::TopicExists => Ok(()),
        created => Ok(created.map(drop)?),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn plan(flags: &str) -> Result<Plan, Failure> {
        let line = format!("thalweg datagen {flags}");
        match Args::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Datagen(args) => Plan::new(&args, NOW),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_rate_the_last_record_is_made_now() {
        let plan = plan("ratings").unwrap();
        assert_eq!((plan.count, plan.start), (1_000, Timestamp(NOW.0 - 1_000)));
        let last = plan.records().last().unwrap();
        assert_eq!(last.timestamp, Some(Timestamp(NOW.0 - 1)));
    }

    #[test]
    fn with_a_rate_ratings_go_on_from_now() {
        let plan = plan("ratings --rate 4/s").unwrap();
        assert_eq!((plan.count, plan.start), (u32::MAX, NOW));
        let times: Vec<_> =
            plan.records().take(3).map(|record| record.timestamp.unwrap().0 - NOW.0).collect();
        assert_eq!(times, [0, 250, 500]);
    }

    #[test]
    fn seed_and_start_make_the_same_records_again() {
        let make = |flags| plan(flags).unwrap().records().collect::<Vec<_>>();
        let flags = "ratings --count 50 --seed 9 --start 1600000000000";
        assert_eq!(make(flags), make(flags));
        assert_eq!(make(flags)[0].timestamp, Some(Timestamp(1_600_000_000_000)));
    }

    #[test]
    fn there_are_twenty_customers() {
        assert_eq!(plan("customers").unwrap().records().count(), CUSTOMERS);
        assert_eq!(plan("customers --count 5").unwrap().records().count(), 5);
        assert!(matches!(plan("customers --count 21"), Err(Failure::Usage { .. })));
        assert_eq!(plan("customers").unwrap().default_topic().unwrap().as_str(), "customers");
        assert_eq!(plan("ratings").unwrap().default_topic().unwrap().as_str(), "ratings");
    }

    #[test]
    fn a_late_record_is_caught_up_with() {
        let mut pace = Pace::new(Some(10.0));
        let after = |ms| Duration::from_millis(ms);
        let begun = pace.begun;
        assert_eq!(pace.next_due(begun), None);
        assert_eq!(pace.next_due(begun), Some(begun + after(100)));
        assert_eq!(pace.next_due(begun + after(350)), None);
        assert_eq!(pace.next_due(begun + after(350)), None);
        assert_eq!(pace.next_due(begun + after(350)), Some(begun + after(400)));
        assert_eq!(Pace::new(None).next_due(begun), None);
    }
}
