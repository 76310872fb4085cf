//! One life of the broker: opened on the simulated disk, held against the oracle, put to work while things go wrong,
//! ended in one way or another.
//!
//! Everything runs on one thread in time that stands still while there is work: nothing but the seed decides what
//! happens next.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use broker::time::Clock;
use broker::{Broker, Service, World};
use futures_util::future::{self, Either};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use protocol::id::Timestamp;
use protocol::outcome::{Outcome, Refusal};
use protocol::verbs::TopicSpec;
use storage::sim::{Crash, Fault, SimDisk};

use crate::admin::Admin;
use crate::oracle::{Oracle, Place, Threat};
use crate::plan::{Ending, LifePlan, Plan};
use crate::producer::Producer;
use crate::reader::{Follower, Sweeper};
use crate::reading::{number, read_all};

/// Those who live through all lives of the broker.
#[derive(Debug)]
pub(crate) struct Actors {
    pub(crate) producers: Vec<Producer>,
    pub(crate) followers: Vec<Follower>,
    pub(crate) sweeper: Sweeper,
    pub(crate) admin: Admin,
}

/// What outlives the broker.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) disk: SimDisk,
    pub(crate) plan: Plan,
    pub(crate) oracle: RefCell<Oracle>,
    pub(crate) trace: RefCell<String>,
    /// When the next life begins.
    pub(crate) now: Cell<Timestamp>,
    /// Topics that were created, each once.
    pub(crate) created: Cell<usize>,
}

/// What the actors see of a life.
#[derive(Debug)]
pub(crate) struct Life<'a> {
    pub(crate) service: &'a Service,
    pub(crate) plan: &'a Plan,
    ground: &'a Ground,
    clock: Clock,
    /// The operation that goes wrong.
    fault_at: Option<u64>,
    failing_read: Option<u64>,
    /// Partitions that could not be held against the oracle in this life: nobody touches them.
    unknown: BTreeSet<Place>,
    was_full: Cell<bool>,
    is_ending: Cell<bool>,
}

/// Longest time in which producers must have all their answers once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(60);

impl Life<'_> {
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.get()
    }

    /// True when a partition may be used in this life.
    pub(crate) fn knows(&self, place: Place) -> bool {
        !self.unknown.contains(&place)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.wall().0).unwrap()
    }

    pub(crate) fn oracle(&self) -> RefMut<'_, Oracle> {
        self.ground.oracle.borrow_mut()
    }

    pub(crate) fn trace(&self, line: &str) {
        let _ = writeln!(self.ground.trace.borrow_mut(), "{} {line}", self.clock.wall());
    }

    /// A refusal needs a reason: something that went wrong on the disk in this life, or one of `also`.
    pub(crate) fn allow(&self, refusal: &Refusal, also: &[Outcome]) {
        let by_trouble = [Outcome::DiskFull, Outcome::StorageFailed, Outcome::Unavailable];
        let disk = &self.ground.disk;
        let is_troubled = self.was_full.get()
            || is_fired(disk, self.fault_at)
            || self.failing_read.is_some_and(|read| disk.reads() > read);
        let is_explained = is_troubled && by_trouble.contains(&refusal.outcome);
        assert!(is_explained || also.contains(&refusal.outcome), "without a reason: {refusal}");
    }
}

impl Life<'_> {
    /// Where a reader goes on that has met damage, if it may meet any.
    pub(crate) fn behind_damage(&self, place: Place, refusal: &Refusal) -> Option<u64> {
        let is_damage = refusal.outcome == Outcome::DamagedData && self.oracle().is_hit(place);
        refusal.resume_at.filter(|_| is_damage).map(number)
    }
}

fn is_fired(disk: &SimDisk, fault_at: Option<u64>) -> bool {
    fault_at.is_some_and(|operation| disk.operations() > operation)
}

/// A whole life: a runtime of its own, gone with it.
pub(crate) fn live(ground: &Ground, actors: &mut Actors, life: &LifePlan, is_last: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(begin(ground, actors, life, is_last));
}

async fn begin(ground: &Ground, actors: &mut Actors, life: &LifePlan, is_last: bool) {
    let disk = &ground.disk;
    let fault_at = life.trouble.map(|trouble| {
        let operation = disk.operations() + trouble.after;
        disk.fail_at(operation, trouble.fault);
        operation
    });
    let seed = ground.now.get().0.unsigned_abs();
    let world = World::simulated(Arc::new(disk.clone()), ground.now.get(), seed);
    let clock = world.clock.clone();
    let _ = writeln!(ground.trace.borrow_mut(), "{} {life:?}", clock.wall());
    let was_full = match Broker::open_in(world, ground.plan.config.clone()).await {
        Ok(broker) => {
            let service = broker.service().clone();
            let mut run = Life {
                service: &service,
                plan: &ground.plan,
                ground,
                clock: clock.clone(),
                fault_at,
                failing_read: None,
                unknown: BTreeSet::new(),
                was_full: Cell::new(false),
                is_ending: Cell::new(false),
            };
            if let Some(unknown) = meet(&run, actors).await {
                run.unknown = unknown;
                run.failing_read = life.failing_read.map(|read| disk.reads() + read);
                run.failing_read.iter().for_each(|read| disk.fail_read_at(*read));
                work(&run, actors, life, is_last).await;
            }
            let was_full = run.was_full.get();
            if life.ending == Ending::Close && !disk.is_dead() {
                disk.set_room(None);
                broker.close().await;
                end(ground, life, fault_at, was_full, &clock);
                return;
            }
            // The disk first: what the broker does while it is dropped reaches nothing.
            end(ground, life, fault_at, was_full, &clock);
            return drop(broker);
        }
        Err(error) => {
            assert!(is_fired(disk, fault_at), "cannot start without a reason: {error}");
            let _ = writeln!(ground.trace.borrow_mut(), "{} {error}", clock.wall());
            false
        }
    };
    end(ground, life, fault_at, was_full, &clock);
}

/// What the end of a life does to the disk, and what it may cost.
fn end(ground: &Ground, life: &LifePlan, fault_at: Option<u64>, was_full: bool, clock: &Clock) {
    let disk = &ground.disk;
    let now = clock.wall();
    let has_failed = was_full
        || (is_fired(disk, fault_at)
            && life.trouble.is_some_and(|it| it.fault != Fault::PowerLoss));
    match (life.ending, disk.is_dead()) {
        // Everything was synced: a power cut afterwards costs nothing.
        (Ending::Close, false) => disk.crash(Crash::LoseAll),
        (Ending::Close | Ending::Kill, _) => disk.kill(),
        (Ending::PowerCut(crash), _) => disk.crash(crash),
    }
    disk.clear_faults();
    let mut oracle = ground.oracle.borrow_mut();
    if has_failed {
        oracle.threaten(Threat::DiskFailed);
    } else if matches!(life.ending, Ending::PowerCut(_)) {
        let at_ms = u64::try_from(now.0).unwrap();
        oracle.threaten(Threat::PowerCut { at_ms });
    }
    let _ = writeln!(ground.trace.borrow_mut(), "{now} {:?}", life.ending);
    ground.now.set(Timestamp(now.0 + 1));
}

/// Holds the broker against the oracle, and tells the actors what was lost rightly. Gives the partitions that could
/// not be read; `None` when there is nothing to do, as the disk has failed already.
async fn meet(life: &Life<'_>, actors: &mut Actors) -> Option<BTreeSet<Place>> {
    let described = |number: usize| life.service.describe_topic(&life.plan.topics[number].name);
    for number in 0..life.ground.created.get() {
        described(number).expect("a topic that was created is there");
    }
    actors.admin.meet(life.service);
    for number in life.ground.created.get()..life.plan.topics.len() {
        let topic = &life.plan.topics[number];
        let settings =
            topic.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let spec = TopicSpec {
            name: topic.name.clone(),
            partitions: Some(topic.partitions),
            settings: settings.collect(),
        };
        if described(number).is_err()
            && let Err(refusal) = life.service.create_topic(spec).await
        {
            life.allow(&refusal, &[]);
            return None;
        }
        life.ground.created.set(number + 1);
    }
    let places = life.oracle().places();
    let mut unknown = BTreeSet::new();
    for place in places {
        if let Err(refusal) = audit(life, actors, place).await {
            life.allow(&refusal, &[]);
            unknown.insert(place);
        }
    }
    Some(unknown)
}

/// Reads a partition from end to end.
async fn audit(life: &Life<'_>, actors: &mut Actors, place: Place) -> Result<(), Refusal> {
    let found = read_all(life.service, &life.plan.topics, place).await?;
    let count = found.records.len();
    life.trace(&format!("{place:?} holds {count} records, {}..{}", found.start, found.end));
    let mut oracle = life.oracle();
    let may_have_lost = oracle.may_have_lost(place);
    oracle.audit(place, &found);
    for producer in actors.producers.iter_mut().filter(|producer| producer.place() == place) {
        producer.meet(&oracle, may_have_lost);
    }
    for follower in actors.followers.iter_mut().filter(|_| may_have_lost) {
        follower.meet(place, found.end);
    }
    Ok(())
}

/// All actors at once, until the life ends.
async fn work(life: &Life<'_>, actors: &mut Actors, plan: &LifePlan, is_last: bool) {
    let Actors { producers, followers, sweeper, admin } = actors;
    let producing: FuturesUnordered<_> =
        producers.iter_mut().map(|producer| producer.run(life)).collect();
    let following: FuturesUnordered<_> =
        followers.iter_mut().map(|follower| follower.run(life)).collect();
    let others = future::join(sweeper.run(life), admin.run(life));
    let all = future::join3(producing.count(), following.count(), others);
    let all = std::pin::pin!(all);
    let end = std::pin::pin!(drive(life, plan, is_last));
    match future::select(all, end).await {
        Either::Left((_, _)) | Either::Right(((), _)) => {}
    }
}

/// Moves time on, a millisecond a step, and does to the disk what the plan says.
async fn drive(life: &Life<'_>, plan: &LifePlan, is_last: bool) {
    let disk = &life.ground.disk;
    for ms in 0..plan.ms {
        if disk.is_dead() {
            return;
        }
        if let Some((from, until, room)) = plan.full {
            if ms == from {
                disk.set_room(Some(room));
                life.was_full.set(true);
            } else if ms == until {
                disk.set_room(None);
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if is_last {
        life.is_ending.set(true);
        tokio::time::sleep(PATIENCE).await;
        panic!("after {} s producers still wait", PATIENCE.as_secs());
    }
}
