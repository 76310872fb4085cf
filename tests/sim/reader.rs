//! Readers of the simulation: some follow the end of their partitions and wait for news, one looks here and there.

use std::time::Duration;

use protocol::id::Partition;
use protocol::outcome::Outcome;
use protocol::verbs::{FetchRequest, Fetched, Position, PositionEntry};

use crate::life::Life;
use crate::oracle::{Oracle, Place};
use crate::random::Random;
use crate::reading::{entry, number, records};

/// Follows some partitions, each to its end, through all lives of the broker.
///
/// Nobody else waits for news of these partitions: in which order several who wait for the same are woken is drawn by
/// the runtime from a source that no seed reaches.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Each with the next offset to read.
    positions: Vec<(Place, u64)>,
    random: Random,
}

impl Follower {
    pub(crate) fn new(places: impl IntoIterator<Item = Place>, random: Random) -> Self {
        Self { positions: places.into_iter().map(|place| (place, 0)).collect(), random }
    }

    /// The broker has started with the newest records of a partition rightly lost: those behind `end`.
    pub(crate) fn meet(&mut self, place: Place, end: u64) {
        for (followed, position) in &mut self.positions {
            if *followed == place {
                *position = end.min(*position);
            }
        }
    }

    /// Reads until the life ends.
    pub(crate) async fn run(&mut self, life: &Life<'_>) {
        while !life.is_ending() {
            if !self.round(life).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn round(&mut self, life: &Life<'_>) -> bool {
        let topics = &life.plan.topics;
        let bytes_max = u32::try_from(self.random.below(4_000)).unwrap();
        let mut positions: Vec<_> =
            self.positions.iter_mut().filter(|(place, _)| life.knows(*place)).collect();
        let entries = positions.iter();
        let request = FetchRequest {
            entries: entries.map(|(place, from)| entry(topics, *place, *from, bytes_max)).collect(),
            bytes_min: u32::try_from(self.random.below(400)).unwrap(),
            wait_ms_max: u32::try_from(self.random.below(300)).unwrap(),
            bytes_max: u32::try_from(self.random.below(10_000)).unwrap(),
        };
        let answered = match life.service.fetch(request).await {
            Ok(answered) => answered,
            Err(refusal) => {
                life.allow(&refusal, &[]);
                return false;
            }
        };
        let mut went_well = true;
        for ((place, position), fetched) in positions.iter_mut().zip(answered.reply.entries) {
            match fetched {
                Ok(fetched) => *position += see(life, *place, *position, &fetched),
                Err(refusal) => {
                    life.trace(&format!("{place:?} refuses a reader at {position}: {refusal}"));
                    let is_trimmed = topics[place.topic].is_trimmed;
                    match (refusal.outcome, refusal.resume_at) {
                        (Outcome::OffsetOutOfRange, Some(start))
                            if is_trimmed && number(start) > *position =>
                        {
                            *position = number(start);
                        }
                        _ => match life.behind_damage(*place, &refusal) {
                            Some(resume) => *position = resume,
                            None => life.allow(&refusal, &[]),
                        },
                    }
                    went_well = false;
                }
            }
        }
        went_well
    }
}

/// Takes note of all records of an answer, and says how many there were.
fn see(life: &Life<'_>, place: Place, from: u64, fetched: &Fetched) -> u64 {
    let found = records(&life.plan.topics[place.topic], from, fetched);
    if let (Some((first, _)), Some((last, _))) = (found.first(), found.last()) {
        life.trace(&format!("{place:?} shows {first}..={last}"));
    }
    let mut oracle = life.oracle();
    let oracle: &mut Oracle = &mut oracle;
    found.iter().for_each(|(offset, id)| oracle.read(place, *offset, *id));
    found.len() as u64
}

/// Looks here and there, never waiting.
#[derive(Debug)]
pub(crate) struct Sweeper {
    places: Vec<Place>,
    random: Random,
}

impl Sweeper {
    pub(crate) fn new(places: Vec<Place>, random: Random) -> Self {
        Self { places, random }
    }

    pub(crate) async fn run(&mut self, life: &Life<'_>) {
        while !life.is_ending() {
            let place = *self.random.pick(&self.places);
            if life.knows(place)
                && let Some((start, end)) = range(life, place).await
            {
                let from = self.random.between(start, end + 1);
                let entries = vec![entry(&life.plan.topics, place, from, 2_000)];
                let request = FetchRequest { entries, bytes_min: 0, wait_ms_max: 0, bytes_max: 0 };
                match life.service.fetch(request).await.unwrap().reply.entries.remove(0) {
                    Ok(fetched) => {
                        let count = see(life, place, from, &fetched);
                        assert!(count > 0 || from >= end, "{place:?}: nothing at {from}");
                    }
                    Err(refusal) if life.behind_damage(place, &refusal).is_some() => {}
                    Err(refusal) => life.allow(&refusal, &[]),
                }
            }
            let pause = Duration::from_millis(self.random.below(50));
            tokio::time::sleep(pause).await;
        }
    }
}

/// Start and end of a partition.
async fn range(life: &Life<'_>, place: Place) -> Option<(u64, u64)> {
    let at = |at| PositionEntry {
        topic: life.plan.topics[place.topic].name.clone(),
        partition: Partition::new(place.partition.into()).unwrap(),
        at,
    };
    let entries = vec![at(Position::Earliest), at(Position::Latest)];
    let found = life.service.find_positions(entries).await.unwrap();
    let mut offsets = Vec::new();
    for found in found {
        match found {
            Ok(found) => offsets.push(number(found.offset)),
            Err(refusal) => {
                life.allow(&refusal, &[]);
                return None;
            }
        }
    }
    Some((offsets[0], offsets[1]))
}
