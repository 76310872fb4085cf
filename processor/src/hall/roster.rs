//! The catalogue, and those of its queries that run: looked at, applied to, started.
//!
//! When to change something, and what must be durable before, is the hall's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::transport::Transport;
use parking_lot::RwLock;
use protocol::id::{Offset, TopicName};

use crate::catalog::{Catalog, Change, PersistentQuery};
use crate::flow::running::{Launch, Running};
use crate::flow::spec::Services;
use crate::flow::status::{Counts, State};
use crate::launch::prepare;
use crate::stored::{Stored, read_checkpoints};

/// A persistent query and how it fares.
#[derive(Clone, Debug)]
pub struct QueryReport {
    /// The query.
    pub query: PersistentQuery,
    /// Its state.
    pub state: State,
    /// Its counters since it was started.
    pub counts: Counts,
    /// What people should know of, though it went on.
    pub note: Option<String>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Roster {
    services: Services,
    /// Guards catalogue and running queries. Never held across an await. Taken after the change lock, where both are.
    state: RwLock<Inside>,
    /// Damage among the checkpoints stands in the log.
    damage_told: AtomicBool,
}

#[derive(Debug, Default)]
struct Inside {
    catalog: Catalog,
    running: BTreeMap<String, Running>,
}

/// What changes of the catalogue ask for: queries that should run, and those that should not.
pub(super) struct Due {
    pub(super) missing: Vec<PersistentQuery>,
    pub(super) surplus: Vec<Running>,
}

impl Roster {
    pub(super) fn new(services: Services) -> Self {
        Self { services, state: RwLock::default(), damage_told: AtomicBool::default() }
    }

    /// The way to the broker.
    pub(super) fn transport(&self) -> &Arc<dyn Transport> {
        &self.services.transport
    }

    /// What the tasks share.
    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// The catalogue as it is now.
    pub(super) fn catalog(&self) -> Catalog {
        self.state.read().catalog.clone()
    }

    /// Every persistent query and how it fares, by id.
    pub(super) fn reports(&self) -> Vec<QueryReport> {
        let inside = self.state.read();
        let report = |query: &PersistentQuery| {
            let running = inside.running.get(&query.id);
            let between = || State::Error("it is being started or ended".to_owned());
            QueryReport {
                state: running.map_or_else(between, |running| running.state(query.paused)),
                counts: running.map_or_else(Counts::default, Running::counts),
                note: running.and_then(Running::note),
                query: query.clone(),
            }
        };
        inside.catalog.queries().map(report).collect()
    }

    /// The ids of queries that are so.
    pub(super) fn ids(&self, is_so: impl Fn(&Running) -> bool) -> Vec<String> {
        let inside = self.state.read();
        let found = inside.running.iter().filter(|(_, running)| is_so(running));
        found.map(|(id, _)| id.clone()).collect()
    }

    /// The topics that are read now.
    pub(super) fn sources(&self) -> BTreeSet<TopicName> {
        let inside = self.state.read();
        inside.running.values().filter_map(|running| running.source().cloned()).collect()
    }

    /// Applies changes that lie in the catalogue's topic from `base` on. True when something that we do not know of
    /// lies before them, or `unsure` says so: then it must be read before the next change.
    pub(super) fn apply(&self, changes: Vec<Change>, base: Offset, unsure: bool) -> bool {
        let mut inside = self.state.write();
        let unsure = unsure || base != inside.catalog.end();
        if !unsure {
            inside.catalog.set_end(base.plus(changes.len() as u64));
        }
        changes.into_iter().for_each(|change| inside.catalog.apply(change));
        unsure
    }

    /// Applies what was read from the catalogue's topic up to its end, and takes what must end now out of what runs.
    pub(super) fn catch_up(&self, changes: impl Iterator<Item = Change>, end: Offset) -> Due {
        let mut inside = self.state.write();
        let Inside { catalog, running } = &mut *inside;
        let mut gone = BTreeSet::new();
        for change in changes {
            gone.extend(catalog.query_ended_by(&change));
            catalog.apply(change);
        }
        catalog.set_end(end);
        let surplus = gone.iter().filter_map(|id| running.remove(id)).collect();
        let is_missing = |query: &&PersistentQuery| !running.contains_key(&query.id);
        let missing = catalog.queries().filter(is_missing).cloned().collect();
        for query in catalog.queries() {
            running.get(&query.id).into_iter().for_each(|known| known.pause(query.paused));
        }
        Due { missing, surplus }
    }

    /// Takes a query out of those that run, to be ended.
    pub(super) fn remove(&self, id: &str) -> Option<Running> {
        self.state.write().running.remove(id)
    }

    /// Takes out all that run, to be ended.
    pub(super) fn remove_all(&self) -> BTreeMap<String, Running> {
        std::mem::take(&mut self.state.write().running)
    }

    /// Pauses those that run, or lets them go on.
    pub(super) fn pause(&self, ids: &[String], paused: bool) {
        let inside = self.state.read();
        for running in ids.iter().filter_map(|id| inside.running.get(id)) {
            running.pause(paused);
        }
    }

    /// Starts queries where their checkpoints stand; one that cannot be started is kept with the cause.
    pub(super) async fn start(&self, queries: &[PersistentQuery]) {
        if queries.is_empty() {
            return;
        }
        let stored = read_checkpoints(&self.services, &self.catalog()).await;
        // Told once, not at every try.
        if let Some(damage) = stored.as_ref().ok().and_then(Stored::damage)
            && !self.damage_told.swap(true, Ordering::Relaxed)
        {
            tracing::error!(damage, "checkpoints of queries are lost");
        }
        for query in queries {
            let prepared = match &stored {
                Ok(stored) => prepare(&self.services, query, &self.catalog(), stored).await,
                Err(error) => Err(error.clone()),
            };
            match prepared {
                Ok(launch) => self.run(query, launch),
                Err(error) => self.run_failed(query, error.to_string()),
            }
        }
    }

    /// Starts a query that is ready.
    pub(super) fn run(&self, query: &PersistentQuery, launch: Launch) {
        let running = Running::start(&self.services, launch, query.paused);
        self.state.write().running.insert(query.id.clone(), running);
    }

    /// Starts the tasks behind those that run already.
    pub(super) fn extend(&self, query: &PersistentQuery, launch: Launch) {
        let mut inside = self.state.write();
        let Some(running) = inside.running.get_mut(&query.id) else { return };
        if running.source() != Some(&launch.source) {
            return;
        }
        let new: Vec<_> = launch.tasks.into_iter().skip(running.partitions()).collect();
        tracing::info!(query = query.id, partitions = new.len(), "added partitions are read");
        running.add(&self.services, new);
    }

    fn run_failed(&self, query: &PersistentQuery, failure: String) {
        let mut inside = self.state.write();
        let before = inside.running.remove(&query.id);
        // Told once, not at every try.
        if before.as_ref().and_then(Running::failure) != Some(failure.as_str()) {
            tracing::error!(query = query.id, failure, "the query cannot be started");
        }
        inside.running.insert(query.id.clone(), Running::failed(before, failure));
    }
}
