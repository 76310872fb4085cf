//! What is acknowledged survives: every crash point of a short script, every failing operation, every torn end, every
//! flipped bit; and long random lives from seeds.
//!
//! Method: a script appends batches that can be told apart, and a model keeps what was acknowledged (a sync covered
//! it), what was only attempted, and what was refused. After each fault the log is opened anew and held against the
//! model: acknowledged batches are there, in order, once, with their own bytes; refused ones are not; attempted ones
//! may be; nothing else is. Then the log must go on: it takes another batch, and a repeat gets its old offset.
//!
//! The script runs in several hands: with chores done at once, late, by halves between other operations, or never but
//! by the log itself; and with syncs after most turns or after few.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use protocol::batch::{Batch, Builder, ProducerStamp, split};
use protocol::compression::Compression;
use protocol::id::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use protocol::record::Record;
use thalweg_storage::sim::{Crash, Fault, Lie, SimDisk};
use thalweg_storage::{
    Access, Chore, Disk, Log, Note, Opening, Options, ReadError, Recovered, StageError,
    StorageError, View,
};

const FOLDER: &str = "/data/topic/0";
const PRODUCER: i64 = 42;

fn options() -> Options {
    Options {
        segment_bytes: 4096,
        index_interval_bytes: 512,
        checkpoint_bytes: 3000,
        mark_bytes: 0,
        retention_ms: None,
        retention_bytes: Some(9000),
        tail_bytes_max: 2000,
        ..Options::default()
    }
}

fn open(disk: &SimDisk, options: Options) -> Result<(Log, Recovered), StorageError> {
    let opening = Opening { leader_epoch: LeaderEpoch(1), now: Timestamp(0), ..Opening::default() };
    Log::open(Arc::new(disk.clone()), Path::new(FOLDER), options, opening)
}

/// A number for each batch, and bytes that only it has.
fn batch(id: u32, bytes: usize, sequence: Option<i32>) -> Batch {
    let mut builder = Builder::new(Compression::None);
    let mut state = id.wrapping_mul(0x9e37_79b9) | 1;
    let value: Vec<u8> = (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    for _ in 0..1 + id % 3 {
        builder.push(&Record::new(id.to_be_bytes().to_vec(), value.clone()), Timestamp(id.into()));
    }
    builder.finish(sequence.map(|sequence| ProducerStamp {
        id: ProducerId(PRODUCER),
        epoch: ProducerEpoch(0),
        base_sequence: Sequence::new(sequence).unwrap(),
    }))
}

/// The bytes that the checksum covers: what a producer sent.
fn content(batch: &Batch) -> Bytes {
    batch.bytes().slice(21..)
}

fn id_of(batch: &Batch) -> u32 {
    let mut scratch = Vec::new();
    let record = batch.records(&mut scratch).unwrap().next().unwrap().unwrap();
    u32::from_be_bytes(record.key.unwrap().try_into().unwrap())
}

#[derive(Clone, Debug)]
struct Appended {
    id: u32,
    base: Offset,
    end: Offset,
}

/// What a log must, may and must not hold.
#[derive(Clone, Debug, Default)]
struct Model {
    next_id: u32,
    next_sequence: i32,
    sent: BTreeMap<u32, Batch>,
    /// Staged, and neither acknowledged nor refused yet.
    open: Vec<Appended>,
    acknowledged: Vec<Appended>,
    refused: BTreeSet<u32>,
    /// The furthest start that was asked for.
    start_max: Offset,
}

impl Model {
    fn stage(&mut self, log: &mut Log, bytes: usize) -> Result<(), StageError> {
        let id = self.next_id;
        let sequence = id.is_multiple_of(2).then_some(self.next_sequence);
        let batch = batch(id, bytes, sequence);
        let records = batch.header().record_count;
        let staged = log.stage(batch.clone(), Timestamp(id.into()))?;
        assert!(!staged.repeated);
        self.next_id += 1;
        if sequence.is_some() {
            self.next_sequence += records;
        }
        self.sent.insert(id, batch);
        self.open.push(Appended { id, base: staged.base_offset, end: staged.end });
        Ok(())
    }

    /// Takes the log's word for what is synced, and after a harmless error for what was dropped.
    fn settle(&mut self, log: &Log) {
        let synced = log.synced_end();
        let (done, open) =
            std::mem::take(&mut self.open).into_iter().partition(|a| a.end <= synced);
        self.acknowledged.extend(Vec::from_iter::<Vec<Appended>>(done));
        self.open = open;
        if !log.is_failed() && log.staged_bytes() == 0 {
            let written = log.written_end();
            let dropped: Vec<_> = self.open.extract_if(.., |a| a.end > written).collect();
            self.refused.extend(dropped.iter().map(|a| a.id));
            // The producer sends what was refused again, under the same sequences.
            if let Some(first) = dropped.iter().find(|a| a.id % 2 == 0) {
                let header = *self.sent[&first.id].header();
                self.next_sequence = header.producer.unwrap().base_sequence.get();
            }
        }
    }
}

/// When the owner of the log does its chores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chores {
    AtOnce,
    /// Two turns later.
    Late,
    /// The first half one turn later, between write and sync, the second half two turns later.
    ByHalves,
    Never,
}

/// How the owner of a log goes about it.
#[derive(Clone, Debug)]
struct Hands {
    chores: Chores,
    /// Turns from one sync to the next; but each fourth turn is not synced in any case.
    turns_per_sync: u32,
    taken: Option<(u32, Chore)>,
}

const HANDS: [(Chores, u32); 4] =
    [(Chores::AtOnce, 1), (Chores::Late, 9), (Chores::ByHalves, 5), (Chores::Never, 100)];

impl Hands {
    fn new((chores, turns_per_sync): (Chores, u32)) -> Self {
        Self { chores, turns_per_sync, taken: None }
    }

    /// To be called after each write, and after each sync.
    fn do_chores(&mut self, log: &mut Log, number: u32) -> Result<(), StorageError> {
        if self.taken.is_none() && self.chores != Chores::Never {
            self.taken = log.take_chore().map(|chore| (number, chore));
        }
        let Some((taken, chore)) = &self.taken else { return Ok(()) };
        match (self.chores, number.saturating_sub(*taken)) {
            (Chores::AtOnce, _) | (Chores::Late | Chores::ByHalves, 2..) => chore.run(),
            (Chores::ByHalves, 1) => {
                chore.sync();
                return Ok(());
            }
            _ => return Ok(()),
        }
        self.taken = None;
        log.settle_chores()
    }
}

/// One turn of the script. `Err` when the log can do no more.
fn turn(model: &mut Model, log: &mut Log, hands: &mut Hands, number: u32) -> Result<(), ()> {
    let now = Timestamp(number.into());
    for index in 0..1 + number % 3 {
        let bytes = [100, 700, 30, 1500, 400][((number * 3 + index) % 5) as usize];
        model.stage(log, bytes).map_err(|_| ())?;
    }
    let mut outcome = log.write(now).and_then(|()| hands.do_chores(log, number));
    if outcome.is_ok() && number % 4 != 3 && number.is_multiple_of(hands.turns_per_sync) {
        outcome = log.sync().and_then(|()| hands.do_chores(log, number));
    }
    model.settle(log);
    log.expose(log.synced_end());
    if outcome.is_ok() && number % 7 == 6 {
        // What may be removed is at most what is there.
        model.start_max = log.written_end();
        let _ = log.retain(now);
        model.settle(log);
    }
    if outcome.is_ok() && number == 10 {
        let target = Offset::ZERO.plus(log.start().get() as u64 + 3);
        model.start_max = model.start_max.max(target);
        let _ = log.trim(target);
        model.settle(log);
    }
    if log.is_failed() { Err(()) } else { Ok(()) }
}

const TURNS: u32 = 20;

/// Runs the script until it ends or the log can do no more.
fn run(disk: &SimDisk, hands: (Chores, u32)) -> Model {
    let mut model = Model::default();
    let mut hands = Hands::new(hands);
    let Ok((mut log, _)) = open(disk, options()) else { return model };
    for number in 0..TURNS {
        if number == 12 {
            // A clean close in the middle: the rest has a recovery point inside a segment.
            hands.taken = None;
            if log.close().is_err() {
                return model;
            }
            model.acknowledged.append(&mut model.open);
            match open(disk, options()) {
                Ok((opened, _)) => log = opened,
                Err(_) => return model,
            }
        }
        if turn(&mut model, &mut log, &mut hands, number).is_err() {
            return model;
        }
    }
    model
}

/// Everything that can be read, and the damage that was named on the way.
fn read_all(view: &View) -> (Vec<Batch>, Vec<ReadError>) {
    let (mut batches, mut damage) = (Vec::new(), Vec::new());
    let mut next = view.start();
    while next < view.end() {
        match view.read(next, 900) {
            Ok(read) => {
                assert!(read.next > next, "reading stands still at {next}");
                let found = read.batches.into_iter().flat_map(split).map(|batch| batch.unwrap());
                batches.extend(found);
                next = read.next;
            }
            Err(error @ ReadError::Damaged { resume_at, .. }) => {
                assert!(resume_at > next, "{error}");
                damage.push(error);
                next = resume_at;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (batches, damage)
}

/// Holds what can be read against the model.
fn compare(model: &Model, view: &View, story: &str) {
    let (batches, damage) = read_all(view);
    let mut end = view.start();
    let mut found = BTreeMap::new();
    for (number, batch) in batches.iter().enumerate() {
        let header = batch.header();
        assert!(number == 0 || header.base_offset >= end, "{story}: an offset with two values");
        end = header.end_offset();
        let id = id_of(batch);
        let sent = model.sent.get(&id);
        assert_eq!(sent.map(content), Some(content(batch)), "{story}: bytes nobody sent");
        assert!(!model.refused.contains(&id), "{story}: batch {id} was refused");
        assert_eq!(found.insert(id, header.base_offset), None, "{story}: batch {id} twice");
    }
    assert!(view.start() <= model.start_max, "{story}: {} were removed", view.start());
    for Appended { id, base, end } in &model.acknowledged {
        if *end > view.start() {
            let place = found.get(id);
            assert_eq!(place, Some(base), "{story}: batch {id} is lost; damage: {damage:?}");
        }
    }
}

/// Opens the log anew, compares, goes on with it, closes it, and compares again.
fn verify(model: &Model, disk: &SimDisk, story: &str) {
    let (mut log, report) =
        open(disk, options()).unwrap_or_else(|error| panic!("{story}: {error}"));
    let notes = &report.notes;
    assert!(!notes.iter().any(|n| matches!(n, Note::Stranger { .. })), "{story}: {notes:?}");
    compare(model, &log.view(), story);
    let mut model = model.clone();
    let acknowledged_end = model.acknowledged.last().map_or(Offset::ZERO, |last| last.end);
    assert!(log.staged_end() >= acknowledged_end, "{story}: offsets are given again");
    // Attempted batches that are there now stay there.
    let present: BTreeSet<u32> = read_all(&log.view()).0.iter().map(id_of).collect();
    model.open.retain(|open| present.contains(&open.id));
    model.acknowledged.append(&mut model.open);
    if let Some(last) = model.acknowledged.iter().rev().find(|a| a.id % 2 == 0) {
        let again = log.stage(model.sent[&last.id].clone(), Timestamp(0));
        let again = again.unwrap_or_else(|error| panic!("{story}: {error}"));
        assert_eq!((again.repeated, again.base_offset), (true, last.base), "{story}");
    }
    model.next_id = 1001;
    model.stage(&mut log, 200).unwrap();
    log.write(Timestamp(0)).unwrap();
    log.sync().unwrap();
    model.settle(&log);
    compare(&model, &log.expose(log.synced_end()), story);
    log.close().unwrap();
    let (log, report) = open(disk, options()).unwrap();
    assert_eq!((report.scanned_bytes, &report.notes[..]), (0, &[][..]), "{story}: a clean close");
    compare(&model, &log.view(), story);
}

fn operations_of_a_whole_run(hands: (Chores, u32)) -> u64 {
    let disk = SimDisk::new(0);
    let model = run(&disk, hands);
    assert!(model.sent.len() > 30 && model.refused.is_empty());
    verify(&model, &disk.fork(), "no fault");
    assert!(disk.operations() > 80);
    disk.operations()
}

/// Every operation of a whole run, in all hands.
fn operations() -> impl Iterator<Item = ((Chores, u32), u64)> {
    let of = |hands| (0..operations_of_a_whole_run(hands)).map(move |operation| (hands, operation));
    HANDS.into_iter().flat_map(of)
}

/// A loss of power takes the newest part and nothing else: what is left has no hole and no damage.
fn verify_prefix(model: &Model, disk: &SimDisk, story: &str) {
    let (log, report) = open(disk, options()).unwrap_or_else(|error| panic!("{story}: {error}"));
    let (batches, damage) = read_all(&log.view());
    assert!(damage.is_empty(), "{story}: {damage:?} {report:?}");
    let mut ids = batches.iter().map(id_of);
    let first = ids.next().unwrap_or_default();
    assert!(ids.eq(first + 1..first + batches.len().max(1) as u32), "{story}: a hole");
    assert!(batches.len() <= model.sent.len());
}

/// Every way in which the power loss that is under way may turn out.
fn crashes(disk: &SimDisk) -> Vec<Crash> {
    let bytes = disk.last_write_bytes();
    let mut crashes = vec![Crash::LoseAll, Crash::Random, Crash::KeepAll { torn_bytes: bytes }];
    for torn_bytes in (0..=bytes).step_by(512).filter(|torn| *torn < bytes) {
        crashes.extend([Crash::KeepAll { torn_bytes }, Crash::KeepLast { torn_bytes }]);
    }
    crashes.push(Crash::KeepLast { torn_bytes: bytes });
    crashes
}

#[test]
fn power_loss_at_every_operation_and_every_torn_length() {
    for (hands, operation) in operations() {
        let disk = SimDisk::new(operation);
        disk.fail_at(operation, Fault::PowerLoss);
        let model = run(&disk, hands);
        assert!(disk.is_dead());
        for crash in crashes(&disk) {
            let disk = disk.fork();
            disk.crash(crash);
            let story = format!("{hands:?}: power loss at operation {operation}, {crash:?}");
            if matches!(crash, Crash::LoseAll | Crash::KeepAll { .. }) {
                verify_prefix(&model, &disk.fork(), &story);
            }
            verify(&model, &disk, &story);
        }
    }
}

/// Tests the tests: a disk whose syncs do nothing is what a log looks like that forgets to sync.
#[test]
fn a_sync_that_does_nothing_is_noticed() {
    for lie in [Lie::Files, Lie::Folders] {
        let noticed = (20..operations_of_a_whole_run(HANDS[0])).any(|operation| {
            let disk = SimDisk::new(operation);
            disk.lie_about_syncs(lie);
            disk.fail_at(operation, Fault::PowerLoss);
            let model = run(&disk, HANDS[0]);
            disk.crash(Crash::LoseAll);
            // Nothing of either is looked at after a panic.
            let verified = AssertUnwindSafe(|| verify(&model, &disk, "a lie"));
            std::panic::catch_unwind(verified).is_err()
        });
        assert!(noticed, "{lie:?}");
    }
}

#[test]
fn power_loss_at_every_operation_of_the_recovery_too() {
    for (hands, operation) in operations() {
        let disk = SimDisk::new(operation);
        disk.fail_at(operation, Fault::PowerLoss);
        let model = run(&disk, hands);
        let bytes = disk.last_write_bytes();
        for first in [Crash::LoseAll, Crash::KeepAll { torn_bytes: bytes / 2 }] {
            let crashed = disk.fork();
            crashed.crash(first);
            for second in 0.. {
                let disk = crashed.fork();
                disk.fail_at(disk.operations() + second, Fault::PowerLoss);
                if open(&disk, options()).is_ok() && !disk.is_dead() {
                    break;
                }
                disk.crash(if second % 2 == 0 { Crash::LoseAll } else { Crash::Random });
                let story = format!(
                    "{hands:?}: operation {operation}, {first:?}, then recovery at {second}"
                );
                verify(&model, &disk, &story);
            }
        }
    }
}

#[test]
fn every_operation_fails_once_and_nothing_acknowledged_is_lost() {
    for (hands, operation) in operations() {
        let disk = SimDisk::new(operation);
        disk.fail_at(operation, Fault::Broken);
        let model = run(&disk, hands);
        for crash in [None, Some(Crash::LoseAll), Some(Crash::Random)] {
            let disk = disk.fork();
            match crash {
                None => disk.kill(),
                Some(crash) => disk.crash(crash),
            }
            verify(&model, &disk, &format!("{hands:?}: {operation} failed, then {crash:?}"));
        }
    }
}

#[test]
fn no_room_at_every_operation_and_the_log_goes_on() {
    let mut went_on = 0;
    for (hands, operation) in operations() {
        let disk = SimDisk::new(operation);
        disk.fail_at(operation, Fault::Full);
        let model = run(&disk, hands);
        went_on += u32::from(model.next_id > 30);
        for crash in [None, Some(Crash::LoseAll), Some(Crash::Random)] {
            let disk = disk.fork();
            match crash {
                None => disk.kill(),
                Some(crash) => disk.crash(crash),
            }
            verify(&model, &disk, &format!("{hands:?}: no room at {operation}, then {crash:?}"));
        }
    }
    assert!(went_on > 30, "only {went_on} runs went on behind their fault");
}

/// A long life: turns, kills, power losses, a disk that is full for a while, an operation that fails.
fn live(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let mut random = seed;
    let mut below = |bound: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut model = Model::default();
    for life in 0..4 {
        let story = format!("seed {seed}, life {life}");
        let ending = below(4);
        if ending < 2 {
            disk.fail_at(
                disk.operations() + below(60),
                if ending == 0 { Fault::PowerLoss } else { Fault::Broken },
            );
        }
        // A disk that died when the checkpoint was to be written lets the opening succeed, and nothing after it.
        let opened = open(&disk, options()).ok().filter(|_| !disk.is_dead());
        if let Some((mut log, _)) = opened {
            compare(&model, &log.view(), &story);
            // What has survived a recovery is durable; what has not is gone, and its sequences are free again.
            let present: BTreeSet<u32> = read_all(&log.view()).0.iter().map(id_of).collect();
            model.open.retain(|open| present.contains(&open.id));
            model.acknowledged.append(&mut model.open);
            let last = model.acknowledged.iter().rev().find(|a| a.id % 2 == 0);
            model.next_sequence = last.map_or(0, |last| {
                let header = model.sent[&last.id].header();
                header.producer.unwrap().base_sequence.get() + header.record_count
            });
            let mut hands = Hands::new(HANDS[below(HANDS.len() as u64) as usize]);
            for number in 0..3 + below(12) {
                let room = below(5);
                disk.set_room((room == 0).then(|| below(3000)));
                if turn(&mut model, &mut log, &mut hands, number as u32 + 100 * life).is_err() {
                    break;
                }
            }
        }
        disk.set_room(None);
        if disk.is_dead() || below(2) == 0 {
            disk.crash(Crash::Random);
        } else {
            disk.kill();
        }
        disk.clear_faults();
        verify(&model, &disk.fork(), &story);
    }
    disk
}

#[test]
fn random_lives_lose_nothing_and_the_same_seed_lives_the_same_life() {
    for seed in 0..300 {
        let disk = live(seed);
        if seed % 10 == 0 {
            assert_eq!(disk.trace(), live(seed).trace(), "seed {seed}");
        }
    }
}

/// A log of batches that are all acknowledged; the disk is left as after a kill or a clean close.
fn filled(count: u32, segment_bytes: u64, close: bool) -> (SimDisk, Vec<Batch>, Options) {
    let options = Options { segment_bytes, index_interval_bytes: 200, ..options() };
    let options = Options { checkpoint_bytes: u64::MAX, retention_bytes: None, ..options };
    let disk = SimDisk::new(7);
    let (mut log, _) = open(&disk, options.clone()).unwrap();
    for id in 0..count {
        log.stage(batch(id, 60, Some(id as i32)), Timestamp(0)).ok();
        log.stage(batch(1000 + id, 60, None), Timestamp(0)).unwrap();
        log.write(Timestamp(0)).unwrap();
        log.sync().unwrap();
    }
    let batches = read_all(&log.expose(log.synced_end())).0;
    if close {
        log.close().unwrap();
    } else {
        disk.kill();
    }
    (disk, batches, options)
}

fn log_file(base: i64) -> PathBuf {
    Path::new(FOLDER).join(format!("{base:020}.log"))
}

/// Where each batch of a segment ends in its file.
fn ends(batches: &[Batch]) -> Vec<u64> {
    batches
        .iter()
        .scan(0, |end, batch| {
            *end += batch.bytes().len() as u64;
            Some(*end)
        })
        .collect()
}

#[test]
fn a_segment_cut_at_any_byte_keeps_its_whole_batches() {
    let (disk, batches, options) = filled(3, 1 << 20, false);
    // As after a loss of power: what was written down of the last syncs is lost too.
    disk.remove(&Path::new(FOLDER).join("synced")).unwrap();
    let ends = ends(&batches);
    for cut in 0..=*ends.last().unwrap() {
        let disk = disk.fork();
        disk.open(&log_file(0), Access::Write).unwrap().set_len(cut).unwrap();
        let (mut log, report) = open(&disk, options.clone()).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let (found, damage) = read_all(&log.view());
        assert_eq!((&found[..], damage.len()), (&batches[..whole], 0), "cut at {cut}");
        let kept = whole.checked_sub(1).map_or(0, |last| ends[last]);
        let is_cut = matches!(&report.notes[..], [Note::Cut { position, bytes, .. }]
            if *position == kept && *bytes == cut - kept);
        assert_eq!(is_cut, kept != cut, "cut at {cut}: {:?}", report.notes);
        log.stage(batch(99, 10, None), Timestamp(0)).unwrap();
        log.write(Timestamp(0)).unwrap();
        log.sync().unwrap();
        assert_eq!(read_all(&log.expose(log.synced_end())).0.len(), whole + 1);
    }
}

#[test]
fn a_segment_that_lost_synced_bytes_gives_no_offset_twice() {
    // The same after a kill: the checkpoint does not know the bytes, but that they were synced is written down.
    for close in [true, false] {
        segment_that_lost_synced_bytes(close);
    }
}

fn segment_that_lost_synced_bytes(close: bool) {
    let (disk, batches, options) = filled(3, 1 << 20, close);
    let ends = ends(&batches);
    let end = batches.last().unwrap().header().end_offset();
    for cut in (0..*ends.last().unwrap()).step_by(7) {
        let disk = disk.fork();
        disk.open(&log_file(0), Access::Write).unwrap().set_len(cut).unwrap();
        let (mut log, report) = open(&disk, options.clone()).unwrap();
        assert!(report.notes.iter().any(Note::is_loss), "cut at {cut}: {:?}", report.notes);
        let staged = log.stage(batch(99, 10, None), Timestamp(0)).unwrap();
        assert_eq!(staged.base_offset, end, "cut at {cut}");
        log.write(Timestamp(0)).unwrap();
        log.sync().unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let (found, damage) = read_all(&log.expose(log.synced_end()));
        assert_eq!(found[..whole], batches[..whole], "cut at {cut}");
        assert_eq!(
            (found.len(), id_of(&found[whole]), damage.len()),
            (whole + 1, 99, 1),
            "cut at {cut}"
        );
    }
}

/// Flips each bit of a file of batches; only the batch that holds it may be missing, and it must be named.
fn flip_every_bit(disk: &SimDisk, options: &Options, all: &[Batch], base: i64, end: i64) {
    let file = log_file(base);
    let inside: Vec<Batch> = all
        .iter()
        .filter(|batch| (base..end).contains(&batch.header().base_offset.get()))
        .cloned()
        .collect();
    let ends = ends(&inside);
    assert!(inside.len() > 2);
    for bit in 0..ends.last().unwrap() * 8 {
        let disk = disk.fork();
        disk.flip(&file, bit / 8, (bit % 8) as u8);
        let story = format!("bit {bit} of {}", file.display());
        let hit = inside[ends.partition_point(|end| *end <= bit / 8)].header();
        let (log, _) = open(&disk, options.clone()).unwrap();
        assert_eq!(log.synced_end(), all.last().unwrap().header().end_offset(), "{story}");
        let (found, damage) = read_all(&log.view());
        let others: Vec<_> = all.iter().filter(|b| b.header() != hit).cloned().collect();
        assert_eq!(found, others, "{story}");
        let [ReadError::Damaged { file: named, offset, resume_at, .. }] = &damage[..] else {
            panic!("{story}: {damage:?}");
        };
        assert_eq!(
            (named, *offset, *resume_at),
            (&file, hit.base_offset, hit.end_offset()),
            "{story}"
        );
        // Each of the others can be reached by itself.
        for other in others {
            let read = log.view().read(other.header().base_offset, 1).unwrap();
            assert_eq!(read.batches, [other.bytes().clone()], "{story}");
        }
    }
}

#[test]
fn a_flipped_bit_in_a_closed_segment_costs_one_batch() {
    let (disk, batches, options) = filled(9, 1400, true);
    let bases = segment_bases(&disk);
    assert!(bases.len() >= 3);
    flip_every_bit(&disk, &options, &batches, bases[1], bases[2]);
}

#[test]
fn a_flipped_bit_in_the_active_segment_costs_one_batch() {
    let (disk, batches, options) = filled(4, 1 << 20, true);
    flip_every_bit(&disk, &options, &batches, 0, i64::MAX);
}

fn segment_bases(disk: &SimDisk) -> Vec<i64> {
    let entries = disk.list(Path::new(FOLDER)).unwrap();
    let mut bases: Vec<i64> = entries
        .iter()
        .filter_map(|entry| entry.name.strip_suffix(".log").and_then(|base| base.parse().ok()))
        .collect();
    bases.sort_unstable();
    bases
}

#[test]
fn a_flipped_bit_behind_the_recovery_point_is_never_cut_off() {
    let (disk, batches, options) = filled(4, 1 << 20, false);
    let ends = ends(&batches);
    for bit in 0..ends.last().unwrap() * 8 {
        let disk = disk.fork();
        disk.flip(&log_file(0), bit / 8, (bit % 8) as u8);
        let hit = ends.partition_point(|end| *end <= bit / 8);
        let (log, report) = open(&disk, options.clone()).unwrap();
        let is_cut = report.notes.iter().any(|note| matches!(note, Note::Cut { .. }));
        assert!(!is_cut, "bit {bit}: {report:?}");
        assert_eq!(log.synced_end(), batches.last().unwrap().header().end_offset(), "bit {bit}");
        let (found, _) = read_all(&log.view());
        let others = batches.iter().enumerate().filter(|(number, _)| *number != hit);
        for (_, other) in others {
            assert!(found.contains(other), "bit {bit}: {:?} is lost", other.header());
        }
    }
}

#[test]
fn zeros_of_its_own_do_not_make_a_damaged_batch_an_unfinished_write() {
    let (disk, _, options) = filled(2, 1 << 20, false);
    let (mut log, _) = open(&disk, options.clone()).unwrap();
    for _ in 0..2 {
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record::new("sparse".as_bytes().to_vec(), vec![0; 2000]), Timestamp(1));
        for batch in [builder.finish(None), batch(77, 60, None)] {
            log.stage(batch, Timestamp(0)).unwrap();
            log.write(Timestamp(0)).unwrap();
            log.sync().unwrap();
        }
    }
    let batches = read_all(&log.expose(log.synced_end())).0;
    disk.kill();
    let ends = ends(&batches);
    // The two sparse batches, and of each every 9th bit: so every bit of a byte has its turn.
    for number in [4, 6] {
        let start = ends[number - 1];
        for bit in (start * 8..ends[number] * 8).step_by(9) {
            // The leader epoch is outside the checksum, and nothing but its neighbours speaks against it.
            if (start + 12..start + 16).contains(&(bit / 8)) {
                continue;
            }
            let disk = disk.fork();
            disk.flip(&log_file(0), bit / 8, (bit % 8) as u8);
            let (log, report) = open(&disk, options.clone()).unwrap();
            let is_cut = report.notes.iter().any(|note| matches!(note, Note::Cut { .. }));
            assert!(!is_cut && report.notes.iter().any(Note::is_loss), "bit {bit}: {report:?}");
            let (found, damage) = read_all(&log.view());
            let others = batches.iter().enumerate().filter(|(other, _)| *other != number);
            assert!(found.iter().eq(others.map(|(_, batch)| batch)), "bit {bit}: {report:?}");
            assert_eq!(damage.len(), 1, "bit {bit}");
        }
    }
}

#[test]
fn a_flipped_bit_behind_all_that_is_known_to_be_synced_loses_no_other_batch() {
    let (disk, batches, options) = filled(4, 1 << 20, false);
    disk.remove(&Path::new(FOLDER).join("synced")).unwrap();
    let ends = ends(&batches);
    for bit in 0..ends.last().unwrap() * 8 {
        let disk = disk.fork();
        disk.flip(&log_file(0), bit / 8, (bit % 8) as u8);
        let hit = ends.partition_point(|end| *end <= bit / 8);
        let (log, _) = open(&disk, options.clone()).unwrap();
        let (found, _) = read_all(&log.view());
        let others = batches.iter().enumerate().filter(|(number, _)| *number != hit);
        for (_, other) in others {
            assert!(found.contains(other), "bit {bit}: {:?} is lost", other.header());
        }
    }
}

#[test]
fn flipped_bits_in_index_and_checkpoint_cost_nothing() {
    let (disk, batches, options) = filled(9, 1400, true);
    let bases = segment_bases(&disk);
    let names = [
        "checkpoint".to_owned(),
        format!("{:020}.index", bases[1]),
        format!("{:020}.index", bases.last().unwrap()),
    ];
    for name in names {
        let path = Path::new(FOLDER).join(name);
        let bytes = disk.contents(&path).unwrap().len() as u64;
        for bit in 0..bytes * 8 {
            let disk = disk.fork();
            disk.flip(&path, bit / 8, (bit % 8) as u8);
            let (mut log, _) = open(&disk, options.clone()).unwrap();
            let (found, damage) = read_all(&log.view());
            assert_eq!((&found, damage.len()), (&batches, 0), "bit {bit} of {}", path.display());
            log.stage(batch(5000, 10, None), Timestamp(0)).unwrap();
            log.write(Timestamp(0)).unwrap();
        }
        let disk = disk.fork();
        disk.remove(&path).unwrap();
        let (log, _) = open(&disk, options.clone()).unwrap();
        assert_eq!(read_all(&log.view()).0, batches, "without {}", path.display());
    }
}

#[test]
fn strangers_are_left_alone_and_leftovers_go() {
    let (disk, batches, options) = filled(9, 1400, true);
    let folder = Path::new(FOLDER);
    let strangers = ["README", "x.log", "00000000000000000001.log.bak", "-0000000000000000001.log"];
    let leftovers =
        ["checkpoint.new", "00000000000000000000.index.new", "00000000000000777777.index"];
    for name in strangers.iter().chain(&leftovers) {
        disk.open(&folder.join(name), Access::Create).unwrap();
    }
    disk.create_dir_all(&folder.join("00000000000000000099.log")).unwrap();
    let (log, report) = open(&disk, options).unwrap();
    assert_eq!(read_all(&log.view()).0, batches);
    for name in strangers {
        assert!(disk.contents(&folder.join(name)).is_some(), "{name}");
    }
    for name in leftovers {
        assert!(disk.contents(&folder.join(name)).is_none(), "{name}");
    }
    assert_eq!(report.notes.len(), strangers.len() + leftovers.len() + 1, "{:?}", report.notes);
}

#[test]
fn a_missing_segment_is_named_and_the_others_are_kept() {
    let (disk, batches, options) = filled(12, 1400, true);
    let bases = segment_bases(&disk);
    for (number, base) in bases.iter().enumerate().skip(1) {
        let disk = disk.fork();
        disk.remove(&log_file(*base)).unwrap();
        let (log, report) = open(&disk, options.clone()).unwrap();
        assert!(report.notes.iter().any(|n| matches!(n, Note::SegmentMissing { .. })), "{base}");
        let next = bases.get(number + 1).copied().unwrap_or(i64::MAX);
        let is_gone = |b: &&Batch| (*base..next).contains(&b.header().base_offset.get());
        let kept: Vec<_> = batches.iter().filter(|b| !is_gone(b)).cloned().collect();
        let (found, damage) = read_all(&log.view());
        assert_eq!(found, kept);
        assert_eq!(damage.len(), 1, "segment {base}");
        assert_eq!(log.synced_end(), batches.last().unwrap().header().end_offset());
    }
}

/// Three segments and a half, of which nothing is synced but what `do_chores` of them says.
fn unsynced(chores: usize) -> (SimDisk, Vec<Batch>, Options) {
    let options = Options { segment_bytes: 1400, retention_bytes: None, ..options() };
    let disk = SimDisk::new(7);
    let (mut log, _) = open(&disk, options.clone()).unwrap();
    let mut left = chores;
    for id in 0..20 {
        log.stage(batch(id, 60, Some(id as i32)), Timestamp(0)).ok();
        log.stage(batch(1000 + id, 60, None), Timestamp(0)).unwrap();
        log.write(Timestamp(0)).unwrap();
        if left > 0
            && let Some(chore) = log.take_chore()
        {
            chore.run();
            log.settle_chores().unwrap();
            left -= 1;
        }
    }
    let batches = read_all(&log.expose(log.written_end())).0;
    disk.kill();
    (disk, batches, options)
}

#[test]
fn a_lost_end_of_a_closed_segment_takes_what_follows_with_it_unless_it_was_synced() {
    let (disk, batches, options) = unsynced(1);
    let bases = segment_bases(&disk);
    assert!(bases.len() >= 4, "{bases:?}");
    let inside = |number: usize| -> Vec<Batch> {
        let range = bases[number]..bases[number + 1];
        batches.iter().filter(|b| range.contains(&b.header().base_offset.get())).cloned().collect()
    };
    let before = inside(0).len();
    let ends = ends(&inside(1));
    for cut in 0..*ends.last().unwrap() {
        let disk = disk.fork();
        disk.open(&log_file(bases[1]), Access::Write).unwrap().set_len(cut).unwrap();
        let (mut log, report) = open(&disk, options.clone()).unwrap();
        let whole = before + ends.iter().filter(|end| **end <= cut).count();
        let (found, damage) = read_all(&log.view());
        assert_eq!((&found[..], damage.len()), (&batches[..whole], 0), "cut at {cut}");
        let dropped = report.notes.iter().filter(|note| matches!(note, Note::Dropped { .. }));
        assert_eq!(dropped.count(), bases.len() - 2, "cut at {cut}: {:?}", report.notes);
        assert!(!report.notes.iter().any(Note::is_loss), "cut at {cut}: {:?}", report.notes);
        let end = found.last().unwrap().header().end_offset();
        assert_eq!(log.stage(batch(99, 10, None), Timestamp(0)).unwrap().base_offset, end);
        log.write(Timestamp(0)).unwrap();
        log.close().unwrap();
        let (log, report) = open(&disk, options.clone()).unwrap();
        assert_eq!(read_all(&log.view()).0.len(), whole + 1, "cut at {cut}");
        assert_eq!((report.scanned_bytes, report.notes.len()), (0, 0), "cut at {cut}");
    }
    // The first segment was synced: what it loses is named, and nothing else goes. The same without a checkpoint,
    // since its index is written when it is synced.
    for has_checkpoint in [true, false] {
        let disk = disk.fork();
        disk.open(&log_file(0), Access::Write).unwrap().set_len(100).unwrap();
        if !has_checkpoint {
            disk.remove(&Path::new(FOLDER).join("checkpoint")).unwrap();
        }
        let (log, report) = open(&disk, options.clone()).unwrap();
        assert!(report.notes.iter().any(Note::is_loss), "{:?}", report.notes);
        let (found, damage) = read_all(&log.view());
        assert_eq!((found.last(), damage.len()), (batches.last(), 1), "{:?}", report.notes);
    }
}

#[test]
fn a_zeroed_sector_of_an_unsynced_closed_segment_takes_what_follows_with_it() {
    let (disk, batches, options) = unsynced(0);
    let bases = segment_bases(&disk);
    let file = disk.open(&log_file(bases[1]), Access::Write).unwrap();
    file.write_at(&mut [IoSlice::new(&[0; 512])], 512).unwrap();
    let (log, report) = open(&disk, options).unwrap();
    let (found, damage) = read_all(&log.view());
    assert_eq!((found.as_slice(), damage.len()), (&batches[..found.len()], 0));
    let end = found.last().unwrap().header().end_offset().get();
    assert!((bases[1]..bases[2]).contains(&end), "{bases:?} {end}: {:?}", report.notes);
    assert_eq!(segment_bases(&disk), bases[..2]);
}
