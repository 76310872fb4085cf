//! A persistent query at work: its tasks, what they are told, how they fare; or why it could not be started.

use std::time::Duration;

use protocol::id::TopicName;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::checkpoint::Checkpoint;
use super::pause::Pause;
use super::spec::{Command, Services, TaskSpec};
use super::status::{Counts, State};
use super::task::Task;

/// The first wait before a query that could not be started is started again, and the longest.
const START_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What is needed to start a query: one task for each partition of its source, and where it stands.
#[derive(Debug)]
pub struct Launch {
    /// The topic that it reads.
    pub source: TopicName,
    /// In the order of the partitions, from 0. Their checkpoints are durable.
    pub tasks: Vec<(TaskSpec, Checkpoint)>,
}

/// A query at work, or one that could not be started.
#[derive(Debug)]
pub struct Running {
    commands: watch::Sender<Command>,
    /// The topic that it reads; `None` when it could not be started.
    source: Option<TopicName>,
    /// One for each partition of the source that is read, from 0.
    tasks: Vec<Task>,
    /// Why it could not be started, and when that is tried again. Clear for one that runs.
    failure: Pause,
}

impl Running {
    /// Starts the tasks of a query.
    pub fn start(services: &Services, launch: Launch, paused: bool) -> Self {
        let (commands, _) = watch::channel(command_of(paused));
        let (source, failure) = (Some(launch.source), Pause::between(START_BACKOFF));
        let mut running = Self { commands, source, tasks: Vec::new(), failure };
        running.add(services, launch.tasks);
        running
    }

    /// A query that could not be started. `before` is what it was until now: waits grow from one failure to the next.
    pub fn failed(before: Option<Self>, cause: String) -> Self {
        let (commands, _) = watch::channel(Command::Stop);
        let mut failure =
            before.map_or_else(|| Pause::between(START_BACKOFF), |before| before.failure);
        failure.failed(cause);
        Self { commands, source: None, tasks: Vec::new(), failure }
    }

    /// Starts tasks for the partitions behind those that are read already.
    pub fn add(&mut self, services: &Services, tasks: Vec<(TaskSpec, Checkpoint)>) {
        for (spec, checkpoint) in tasks {
            let listen = self.commands.subscribe();
            self.tasks.push(Task::start(spec, services.clone(), checkpoint, listen));
        }
    }

    /// The topic that it reads. `None`: it could not be started.
    pub fn source(&self) -> Option<&TopicName> {
        self.source.as_ref()
    }

    /// How many partitions of its source it reads.
    pub fn partitions(&self) -> usize {
        self.tasks.len()
    }

    /// True when it could not be started and the time to try again has come.
    pub fn is_due(&self, now: Instant) -> bool {
        self.failure.cause().is_some() && self.failure.is_over(now)
    }

    /// Why it could not be started.
    pub fn failure(&self) -> Option<&str> {
        self.failure.cause()
    }

    /// Pauses it, or lets it go on.
    pub fn pause(&self, paused: bool) {
        self.commands.send_replace(command_of(paused));
    }

    /// Tells it to finish what is under way. [`Self::stop`] waits for that.
    pub fn tell_stop(&self) {
        self.commands.send_replace(Command::Stop);
    }

    /// True when everything under way was finished; tasks that did not are given up.
    pub async fn stop(self, deadline: Instant) -> bool {
        self.tell_stop();
        let mut finished = true;
        for mut task in self.tasks {
            if timeout_at(deadline, &mut task.ended).await.is_err() {
                task.ended.abort();
                finished = false;
            }
        }
        finished
    }

    /// How it fares.
    pub fn state(&self, paused: bool) -> State {
        let trouble = || self.tasks.iter().find_map(|task| task.status.trouble());
        let start = self.failure.cause().map(|cause| format!("not started, tried again: {cause}"));
        match start.or_else(trouble) {
            Some(cause) => State::Error(cause),
            None if paused => State::Paused,
            None => State::Running,
        }
    }

    /// Its counters since it was started.
    pub fn counts(&self) -> Counts {
        self.tasks.iter().map(|task| task.status.counts()).fold(Counts::default(), Counts::and)
    }

    /// What people should know of, though it went on.
    pub fn note(&self) -> Option<String> {
        self.tasks.iter().find_map(|task| task.status.note())
    }
}

fn command_of(paused: bool) -> Command {
    if paused { Command::Pause } else { Command::Run }
}
