//! The tour: ratings flow into a durable log, SQL derives the poor ones into a topic of their own, the broker is killed
//! in the middle, and a late reader gets the whole history.
//!
//! Nothing is staged. The broker is this program in a second process, so that `kill -9` means what it says; everything
//! that is shown goes through the same doors that users have, and the figures at the end are counted from the log.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use client::admin::Admin;
use client::consumer::{Consumer, ConsumerConfig};
use client::grpc::GrpcTransport;
use client::producer::{Producer, ProducerConfig};
use protocol::id::TopicName;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::{Position, TopicSpec};
use serde::Deserialize;
use thalweg::datagen::Ratings;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::args::DemoArgs;
use crate::commands::sql::Session;
use crate::context::{Context, interrupted};
use crate::exit::Failure;
use crate::output::Output;
use crate::text::count;

/// How long anything may take before the tour gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much of the ratings has flowed when the broker is killed.
const KILL_AT: f64 = 0.5;

const RATINGS: &str = "ratings";
const POOR_RATINGS: &str = "POOR_RATINGS";

/// Runs the tour.
pub(crate) async fn run(args: DemoArgs, context: &Context) -> Result<(), Failure> {
    let folder =
        tempfile::tempdir().map_err(|cause| Failure::io("make a folder for the demo", cause))?;
    let mut tour = Tour::start(&args, folder.path(), context).await?;
    tokio::select! {
        biased;
        () = interrupted() => Err(Failure::Interrupted),
        told = tour.tell(&args) => told,
    }?;
    if args.keep_running {
        context.output.line(&format!(
            "\nThe broker goes on at {} (HTTP {}), and so do the ratings. In another terminal:\n\n  \
             thalweg --server {} sql\n  thalweg --server {} consume {POOR_RATINGS}\n\nCtrl-C ends it; its data goes with it.",
            tour.broker.grpc, tour.broker.http, tour.broker.grpc, tour.broker.grpc,
        ))?;
        interrupted().await;
    }
    Ok(())
}

/// Everything that the tour needs.
struct Tour<'a> {
    output: &'a Output,
    broker: BrokerProcess,
    session: Session<'a>,
    transport: Arc<GrpcTransport>,
    ratings: TopicName,
    /// How many ratings are acknowledged; the last number is final when the sender is gone.
    acknowledged: watch::Receiver<u64>,
    source: JoinHandle<Result<(), Failure>>,
}

impl<'a> Tour<'a> {
    async fn start(args: &DemoArgs, folder: &Path, context: &'a Context) -> Result<Self, Failure> {
        let output = &context.output;
        output.line(&output.heading("Thalweg: events as they happen, for ever, in one process"))?;
        let started = Instant::now();
        let broker = BrokerProcess::start(folder.join("data"), args.keep_running)?;
        output.line(&format!(
            "A broker with its SQL engine is up after {} ms and takes {} MiB of memory. (The talk that this follows needed 12 containers and 8 GB.)",
            started.elapsed().as_millis(),
            broker.resident_mib(),
        ))?;
        let transport = GrpcTransport::connect(&broker.grpc)?;
        let ratings = topic(RATINGS)?;
        let spec =
            TopicSpec { name: ratings.clone(), partitions: Some(1), settings: BTreeMap::new() };
        Admin::new(transport.clone()).create_topic(spec).await?;
        let session = Session::connect(&broker.grpc, output)?;
        let (sender, acknowledged) = watch::channel(0);
        let total = if args.keep_running { None } else { Some(total_of(args)) };
        let made = Ratings::new(args.seed, context.now(), args.rate.per_second());
        let producer = Producer::new(
            transport.clone(),
            ProducerConfig::default().linger(Duration::ZERO).delivery_timeout(PATIENCE),
        );
        let source = tokio::spawn(rate(
            made,
            total,
            args.rate.per_second(),
            producer,
            ratings.clone(),
            sender,
        ));
        Ok(Self { output, broker, session, transport, ratings, acknowledged, source })
    }

    async fn tell(&mut self, args: &DemoArgs) -> Result<(), Failure> {
        self.step(
            "Ratings of an airline flow in. What is there?",
            &["SHOW TOPICS;", "PRINT 'ratings' FROM BEGINNING LIMIT 3;"],
        )
        .await?;
        self.step("Give them names and types, and look at them as they come.", &[
            "CREATE STREAM ratings (rating_id BIGINT, user_id INT, stars INT, route_id INT, rating_time BIGINT, channel STRING, message STRING) WITH (kafka_topic='ratings', value_format='JSON');",
            "SELECT stars, channel, message FROM ratings EMIT CHANGES LIMIT 5;",
        ]).await?;
        self.step(
            "Only the unhappy ones: a filter on events in flight.",
            &["SELECT stars, channel, message FROM ratings WHERE stars < 3 EMIT CHANGES LIMIT 3;"],
        )
        .await?;
        self.step("Keep that as a stream of its own: derived once, from the whole history, read by anybody, for ever.", &[
            "SET 'auto.offset.reset' = 'earliest';",
            "CREATE STREAM poor_ratings AS SELECT rating_id, stars, channel, message FROM ratings WHERE stars < 3 AND LCASE(channel) NOT LIKE '%test%';",
            "SELECT rating_id, stars, channel, message FROM poor_ratings EMIT CHANGES LIMIT 5;",
            "DESCRIBE poor_ratings EXTENDED;",
        ]).await?;
        self.kill(args).await?;
        self.look_back(args).await
    }

    /// Says what comes, then shows each statement and what it answers.
    async fn step(&mut self, what: &str, statements: &[&str]) -> Result<(), Failure> {
        self.output.line(&format!("\n{}", self.output.heading(&format!("# {what}"))))?;
        for statement in statements {
            self.output.line(&format!("\nthalweg> {statement}"))?;
            self.session.execute(statement).await?;
        }
        Ok(())
    }

    /// kill -9 while ratings flow and the query runs.
    async fn kill(&mut self, args: &DemoArgs) -> Result<(), Failure> {
        let total = total_of(args);
        let until = u64::try_from((KILL_AT * total as f64) as i64).unwrap_or(0).max(1);
        self.output.line(&format!(
            "\n{}",
            self.output.heading("# Now kill -9 the broker, in the middle of it.")
        ))?;
        self.wait_for(until).await?;
        let before = *self.acknowledged.borrow();
        self.broker.kill()?;
        self.output.line(&format!(
            "\nKilled. {} ratings were acknowledged by then; the airline goes on rating.",
            count(before)
        ))?;
        let started = Instant::now();
        self.broker.restart()?;
        self.output
            .line(&format!("Started again: ready after {} ms.", started.elapsed().as_millis()))?;
        self.wait_for(before + 1).await?;
        self.output.line(
            "The producer has found it again by itself, and the query goes on where it stood.",
        )
    }

    /// Waits until so many ratings are acknowledged.
    async fn wait_for(&mut self, wanted: u64) -> Result<(), Failure> {
        let reached =
            tokio::time::timeout(PATIENCE, self.acknowledged.wait_for(|count| *count >= wanted))
                .await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(gave_up("the ratings ended early")),
            Err(_) => Err(gave_up("no further rating was acknowledged")),
        }
    }

    /// A reader that was not there when it happened.
    async fn look_back(&mut self, args: &DemoArgs) -> Result<(), Failure> {
        let what = "# A late reader, from the very beginning: what does the log say happened?";
        self.output.line(&format!("\n{}\n", self.output.heading(what)))?;
        self.wait_for(total_of(args)).await?;
        if !args.keep_running {
            let source = std::mem::replace(&mut self.source, tokio::spawn(async { Ok(()) }));
            source.await.map_err(|_| gave_up("the source of ratings ended in a panic"))??;
        }
        let acknowledged = *self.acknowledged.borrow();
        let history: Vec<Seen> = self.read_all(&self.ratings.clone(), None).await?;
        let poor: Vec<i64> =
            history.iter().filter(|seen| seen.is_poor()).map(|seen| seen.rating_id).collect();
        let derived: Vec<DerivedSeen> =
            self.read_all(&topic(POOR_RATINGS)?, Some(poor.len())).await?;
        let derived: Vec<i64> =
            derived.into_iter().map(|seen| seen.rating_id).take(poor.len()).collect();

        let ids: Vec<i64> = history.iter().map(|seen| seen.rating_id).collect();
        let in_order =
            ids.windows(2).all(|pair| matches!(pair, [first, second] if *second == first + 1));
        let rows = [
            ["ratings acknowledged to the airline".to_owned(), count(acknowledged)],
            ["ratings in the log, read by the late reader".to_owned(), count(ids.len() as u64)],
            [
                "lost or repeated, or out of order".to_owned(),
                if in_order { "none" } else { "SOME" }.to_owned(),
            ],
            ["poor ratings, recounted from the log".to_owned(), count(poor.len() as u64)],
            ["poor ratings in the derived topic".to_owned(), count(derived.len() as u64)],
            [
                "the two are the same, rating by rating".to_owned(),
                if derived == poor { "yes" } else { "NO" }.to_owned(),
            ],
            ["memory of the broker now".to_owned(), format!("{} MiB", self.broker.resident_mib())],
        ];
        self.output.table(["after kill -9", ""], rows)?;
        if !in_order || derived != poor || (ids.len() as u64) < acknowledged {
            let refusal =
                Refusal::new(Outcome::Internal, "the log does not hold what was acknowledged");
            return Err(Failure::Refused(refusal));
        }
        self.output.line("\nNothing acknowledged was lost, nothing was doubled, and whoever comes late has missed nothing.")
    }

    /// Reads a topic from its beginning to its present end, and on until at least `least` records are there.
    async fn read_all<T: for<'de> Deserialize<'de>>(
        &self,
        topic: &TopicName,
        least: Option<usize>,
    ) -> Result<Vec<T>, Failure> {
        let mut consumer = Consumer::new(self.transport.clone(), ConsumerConfig::default());
        consumer.assign(topic, None, Position::Earliest).await?;
        let ends = consumer.ends().await?;
        let end = ends.iter().map(|(_, _, end)| usize::try_from(end.get()).unwrap_or(0)).sum();
        let mut read = Vec::new();
        while read.len() < least.unwrap_or(0).max(end) {
            let record = tokio::time::timeout(PATIENCE, consumer.next())
                .await
                .map_err(|_| gave_up(&format!("{topic} has only {} records", read.len())))??;
            let value = record.value.unwrap_or_default();
            let seen = serde_json::from_slice(&value).map_err(|cause| {
                gave_up(&format!("a record of {topic} is not what was written: {cause}"))
            })?;
            read.push(seen);
        }
        Ok(read)
    }
}

/// What the recount needs of a rating.
#[derive(Deserialize)]
struct Seen {
    rating_id: i64,
    stars: i32,
    channel: String,
}

impl Seen {
    /// The WHERE clause of the query, in Rust.
    fn is_poor(&self) -> bool {
        self.stars < 3 && !self.channel.to_lowercase().contains("test")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct DerivedSeen {
    rating_id: i64,
}

fn total_of(args: &DemoArgs) -> u64 {
    let total = args.rate.per_second() * args.seconds as f64;
    u64::try_from(total.ceil() as i64).unwrap_or(1).max(1)
}

fn topic(name: &str) -> Result<TopicName, Failure> {
    TopicName::new(name).map_err(|error| gave_up(&error.to_string()))
}

fn gave_up(why: &str) -> Failure {
    Failure::Refused(Refusal::new(Outcome::TimedOut, format!("the demo stopped: {why}")))
}

/// Sends ratings at a steady pace and counts what is acknowledged.
async fn rate(
    ratings: Ratings,
    total: Option<u64>,
    per_second: f64,
    producer: Producer,
    topic: TopicName,
    acknowledged: watch::Sender<u64>,
) -> Result<(), Failure> {
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
    let acknowledged = Arc::new(acknowledged);
    let ratings = ratings.take(usize::try_from(total.unwrap_or(u64::MAX)).unwrap_or(usize::MAX));
    for rating in ratings {
        pace.tick().await;
        let ticket = producer.send(&topic, None, rating.to_record()).await?;
        let acknowledged = acknowledged.clone();
        tokio::spawn(async move {
            if ticket.await.is_ok() {
                acknowledged.send_modify(|count| *count += 1);
            }
        });
    }
    Ok(producer.close().await?)
}

/// This program as a broker in a process of its own; killed when the demo ends.
struct BrokerProcess {
    child: Child,
    folder: PathBuf,
    grpc: String,
    http: String,
}

impl BrokerProcess {
    /// On the usual ports where others are to find it and they are free, else on any.
    fn start(folder: PathBuf, usual_ports: bool) -> Result<Self, Failure> {
        let any = "127.0.0.1:0";
        if usual_ports
            && let Ok(broker) = Self::spawn(folder.clone(), "127.0.0.1:9093", "127.0.0.1:9094")
        {
            return Ok(broker);
        }
        Self::spawn(folder, any, any)
    }

    fn spawn(folder: PathBuf, grpc: &str, http: &str) -> Result<Self, Failure> {
        let program =
            std::env::current_exe().map_err(|cause| Failure::io("find this program", cause))?;
        let mut child = Command::new(program)
            .args(["serve", "--grpc-listen", grpc, "--http-listen", http, "--data-dir"])
            .arg(&folder)
            .env("THALWEG_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|cause| Failure::io("start the broker", cause))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(|cause| Failure::io("hear from the broker", cause))?;
        }
        let mut words = line.strip_prefix("ready ").unwrap_or_default().split_whitespace();
        let grpc = words.next().and_then(|word| word.strip_prefix("grpc="));
        let http = words.next().and_then(|word| word.strip_prefix("http="));
        match (grpc, http) {
            (Some(grpc), Some(http)) => {
                Ok(Self { grpc: grpc.to_owned(), http: http.to_owned(), child, folder })
            }
            _ => {
                // It has said why on standard error; wait for it, so that it leaves no zombie.
                let _ = child.wait();
                Err(gave_up("the broker did not start"))
            }
        }
    }

    /// kill -9.
    fn kill(&mut self) -> Result<(), Failure> {
        self.child
            .kill()
            .and_then(|()| self.child.wait().map(drop))
            .map_err(|cause| Failure::io("kill the broker", cause))
    }

    /// On the same folder and addresses.
    fn restart(&mut self) -> Result<(), Failure> {
        *self = Self::spawn(self.folder.clone(), &self.grpc, &self.http)?;
        Ok(())
    }

    /// Resident memory; 0 where the system does not tell.
    fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) / 1024
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
