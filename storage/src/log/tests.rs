//! The life of a log on the simulated disk, by example. What crashes do to it is in `tests/crash.rs`.

use std::io::IoSlice;

use super::*;
use crate::disk::Access;
use crate::error::{Action, ReadError};
use crate::format::{STATE_FILE, log_name};
use crate::sim::{Fault, SimDisk};
use protocol::batch::{Builder, ProducerStamp, split};
use protocol::compression::Compression;
use protocol::id::{ProducerEpoch, ProducerId, Sequence};
use protocol::record::Record;

const FOLDER: &str = "/t/0";

fn options() -> Options {
    Options { segment_bytes: 1024, index_interval_bytes: 128, ..Options::default() }
}

fn open(disk: &SimDisk, options: Options, now: i64) -> (Log, Recovered) {
    let opening =
        Opening { leader_epoch: LeaderEpoch(1), now: Timestamp(now), ..Opening::default() };
    Log::open(Arc::new(disk.clone()), Path::new(FOLDER), options, opening).unwrap()
}

fn batch(records: usize, time: i64, producer: Option<(i64, i16, i32)>) -> Batch {
    let mut builder = Builder::new(Compression::None);
    for number in 0..records {
        let record = Record::new(format!("k{number}"), vec![b'v'; 40]);
        builder.push(&record.at(Timestamp(time + number as i64)), Timestamp(0));
    }
    builder.finish(producer.map(|(id, epoch, sequence)| ProducerStamp {
        id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
        base_sequence: Sequence::new(sequence).unwrap(),
    }))
}

fn append(log: &mut Log, batch: Batch, now: i64) -> Staged {
    let staged = log.stage(batch, Timestamp(now)).unwrap();
    log.write(Timestamp(now)).unwrap();
    log.sync().unwrap();
    log.expose(log.synced_end());
    staged
}

fn offsets(view: &View, from: Offset) -> Vec<i64> {
    let mut next = from;
    let mut found = Vec::new();
    while next < view.end() {
        let read = view.read(next, 300).unwrap();
        for bytes in read.batches {
            for batch in split(bytes) {
                found.push(batch.unwrap().header().base_offset.get());
            }
        }
        next = read.next;
    }
    found
}

#[test]
fn what_is_appended_is_read_from_memory_and_from_files_alike() {
    let disk = SimDisk::new(1);
    let (mut log, report) = open(&disk, options(), 0);
    assert_eq!(report, Recovered::default());
    for number in 0..30 {
        append(&mut log, batch(2, number * 10, None), number);
    }
    let view = log.view();
    assert!(log.segment_count() > 3 && view.bytes() == log.bytes());
    let expected: Vec<i64> = (0..30).map(|number| number * 2).collect();
    assert_eq!(offsets(&view, Offset::ZERO), expected);
    assert_eq!(view.read_tail(view.end(), 1), Some(Vec::new()));
    assert_eq!(view.read_tail(Offset::ZERO, 1).unwrap().len(), 1);
    log.shared.tail.clear();
    assert_eq!(view.read_tail(Offset::ZERO, 1), None);
    assert_eq!(offsets(&view, Offset::ZERO), expected);
    assert_eq!(offsets(&view, Offset::ZERO.plus(7)), expected[3..]);
    let beyond = view.read(Offset::ZERO.plus(61), 1);
    assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })), "{beyond:?}");
    log.close().unwrap();

    let reads = disk.reads();
    let (log, report) = open(&disk, options(), 99);
    assert_eq!((report.scanned_bytes, report.notes.len()), (0, 0));
    assert_eq!(disk.reads(), reads + 1, "a clean opening reads one small file");
    assert_eq!(offsets(&log.view(), Offset::ZERO), expected);
}

#[test]
fn nothing_is_shown_behind_what_is_exposed() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    append(&mut log, batch(2, 0, None), 0);
    let early = log.view();
    log.stage(batch(3, 0, None), Timestamp(1)).unwrap();
    log.write(Timestamp(1)).unwrap();
    assert_eq!(offsets(&log.view(), Offset::ZERO), [0]);
    log.shared.tail.clear();
    assert_eq!(offsets(&log.view(), Offset::ZERO), [0]);
    let late = log.expose(log.written_end());
    assert_eq!(offsets(&late, Offset::ZERO), [0, 2]);
    assert_eq!(offsets(&early, Offset::ZERO), [0]);
    assert_eq!(early.read(early.end(), 100).unwrap().batches.len(), 0);
}

#[test]
fn a_repeat_gets_its_old_place_also_after_a_restart() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    let first = append(&mut log, batch(2, 0, Some((7, 0, 0))), 0);
    let second = log.stage(batch(3, 0, Some((7, 0, 2))), Timestamp(0)).unwrap();
    let again = log.stage(batch(3, 0, Some((7, 0, 2))), Timestamp(0)).unwrap();
    assert_eq!(again, Staged { repeated: true, ..second });
    log.write(Timestamp(0)).unwrap();
    log.sync().unwrap();
    disk.kill();
    let (mut log, _) = open(&disk, options(), 5);
    let again = log.stage(batch(2, 0, Some((7, 0, 0))), Timestamp(5)).unwrap();
    assert_eq!(again, Staged { repeated: true, ..first });
    let gap = log.stage(batch(1, 0, Some((7, 0, 9))), Timestamp(5)).unwrap_err();
    assert!(matches!(gap, StageError::OutOfOrderSequence { .. }));
    log.stage(batch(1, 0, Some((7, 1, 0))), Timestamp(5)).unwrap();
    let fenced = log.stage(batch(1, 0, Some((7, 0, 5))), Timestamp(5)).unwrap_err();
    assert!(matches!(fenced, StageError::Fenced { .. }));
    // The batch in line is dropped by closing, and its producer's new epoch with it.
    log.close().unwrap();
    let (mut log, _) = open(&disk, options(), 5);
    assert_eq!(log.producer_count(), 1);
    let again = log.stage(batch(3, 0, Some((7, 0, 2))), Timestamp(5)).unwrap();
    assert_eq!(again, Staged { repeated: true, ..second });
}

#[test]
fn want_of_room_drops_the_line_and_the_log_goes_on() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    append(&mut log, batch(2, 0, Some((7, 0, 0))), 0);
    disk.set_room(Some(0));
    log.stage(batch(3, 0, Some((7, 0, 2))), Timestamp(0)).unwrap();
    log.stage(batch(3, 0, Some((8, 0, 0))), Timestamp(0)).unwrap();
    let error = log.write(Timestamp(0)).unwrap_err();
    assert!(error.is_full() && !log.is_failed(), "{error}");
    assert_eq!((log.written_end().get(), log.staged_end().get(), log.staged_bytes()), (2, 2, 0));
    assert_eq!(log.producer_count(), 1);
    disk.set_room(None);
    let staged = append(&mut log, batch(3, 0, Some((7, 0, 2))), 0);
    assert_eq!((staged.base_offset.get(), staged.repeated), (2, false));
    assert_eq!(offsets(&log.view(), Offset::ZERO), [0, 2]);
}

#[test]
fn a_failed_sync_ends_the_log_and_is_never_repeated() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    append(&mut log, batch(2, 0, None), 0);
    log.stage(batch(3, 0, None), Timestamp(0)).unwrap();
    log.write(Timestamp(0)).unwrap();
    disk.fail_at(disk.operations(), Fault::Broken);
    let first = log.sync().unwrap_err();
    let operations = disk.operations();
    assert_eq!(log.sync(), Err(first.clone()));
    assert_eq!(log.write(Timestamp(0)), Err(first.clone()));
    assert_eq!(log.stage(batch(1, 0, None), Timestamp(0)), Err(StageError::Failed(first.clone())));
    assert_eq!((log.synced_end().get(), log.failure()), (2, Some(&first)));
    assert_eq!(offsets(&log.view(), Offset::ZERO), [0], "readers go on");
    assert_eq!(disk.operations(), operations);
    disk.kill();
    let (log, report) = open(&disk, options(), 0);
    assert_eq!(log.synced_end().get(), 2, "{report:?}");
}

#[test]
fn retention_removes_whole_segments_and_held_views_are_told() {
    let disk = SimDisk::new(1);
    let by_size = Options { retention_bytes: Some(1500), retention_ms: None, ..options() };
    let (mut log, _) = open(&disk, by_size, 0);
    for number in 0..30 {
        append(&mut log, batch(2, number, None), number);
    }
    let held = log.view();
    let trimmed = log.retain(Timestamp(30)).unwrap();
    assert!(trimmed.segments > 0 && log.bytes() >= 1500 && log.bytes() < 1500 + 1024);
    assert_eq!(held.start(), trimmed.start);
    log.shared.tail.clear();
    let gone = held.read(Offset::ZERO, 100).unwrap_err();
    assert!(matches!(gone, ReadError::OutOfRange { .. }), "{gone}");
    let all = offsets(&log.view(), trimmed.start);
    assert_eq!(all.first().copied(), Some(trimmed.start.get()));
    log.set_options(Options { retention_ms: Some(5), ..options() });
    let trimmed = log.retain(Timestamp(1000)).unwrap();
    assert_eq!(trimmed.start.get(), 60, "the active segment goes by age too");
    assert_eq!((log.bytes(), log.segment_count()), (0, 1));
    log.close().unwrap();
    let (log, report) = open(&disk, options(), 0);
    assert_eq!((log.start().get(), report.end.get(), report.notes), (60, 60, Vec::new()));
}

#[test]
fn a_trim_inside_a_segment_lasts() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    for number in 0..10 {
        append(&mut log, batch(2, number, None), 0);
    }
    assert_eq!(log.trim(Offset::ZERO.plus(9)).unwrap().start.get(), 9);
    disk.crash(crate::sim::Crash::LoseAll);
    let (mut log, _) = open(&disk, options(), 0);
    assert_eq!(log.start().get(), 9);
    assert_eq!(offsets(&log.view(), log.start()), [8, 10, 12, 14, 16, 18]);
    assert_eq!(log.trim(Offset::ZERO.plus(99)).unwrap().start.get(), 20);
    assert_eq!(log.view().start(), log.view().end());
}

#[test]
fn a_time_finds_the_first_record_at_or_after_it() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    for number in 0..40 {
        append(&mut log, batch(3, number * 100, None), 0);
    }
    let view = log.view();
    for time in [-1, 0, 1, 3, 100, 101, 1550, 3902] {
        let (whole, rest) = (time.max(0) / 100, time.max(0) % 100);
        let (offset, found) = if rest <= 2 {
            (whole * 3 + rest, time.max(0))
        } else {
            (whole * 3 + 3, whole * 100 + 100)
        };
        let expected =
            crate::TimeFound { offset: Offset::new(offset).unwrap(), timestamp: Timestamp(found) };
        assert_eq!(view.find_time(Timestamp(time)).unwrap(), Some(expected), "{time}");
    }
    assert_eq!(view.find_time(Timestamp(3903)).unwrap(), None);
}

#[test]
fn append_time_and_epochs_are_stamped() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, Options { append_time: true, ..options() }, 0);
    let staged = append(&mut log, batch(2, 0, Some((1, 0, 0))), 77);
    assert_eq!(staged.append_time, Some(Timestamp(77)));
    let again = log.stage(batch(2, 0, Some((1, 0, 0))), Timestamp(88)).unwrap();
    assert_eq!(again.append_time, Some(Timestamp(77)));
    assert_eq!(log.view().find_time(Timestamp(5)).unwrap().unwrap().timestamp, Timestamp(77));
    log.close().unwrap();
    let opening = Opening { leader_epoch: LeaderEpoch(4), now: Timestamp(0), ..Opening::default() };
    let disk = Arc::new(disk);
    let (mut log, _) = Log::open(disk, Path::new(FOLDER), options(), opening).unwrap();
    append(&mut log, batch(2, 0, None), 99);
    let view = log.view();
    let end = |epoch| view.epoch_end(LeaderEpoch(epoch)).map(|(e, end)| (e.0, end.get()));
    assert_eq!(
        [end(0), end(1), end(3), end(4), end(9)],
        [None, Some((1, 2)), Some((1, 2)), Some((4, 4)), Some((4, 4))]
    );
}

#[test]
fn an_idle_log_gives_back_its_memory_and_wakes_up_again() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, Options { retention_ms: None, ..options() }, 0);
    for number in 0..5 {
        append(&mut log, batch(2, 0, None), number);
    }
    log.retain(Timestamp(60_004)).unwrap();
    assert!(log.active.is_parked());
    assert_eq!(log.view().read_tail(Offset::ZERO, 1), None);
    assert_eq!(offsets(&log.view(), Offset::ZERO), [0, 2, 4, 6, 8]);
    append(&mut log, batch(2, 0, None), 60_005);
    assert_eq!(offsets(&log.view(), Offset::ZERO), [0, 2, 4, 6, 8, 10]);
}

#[test]
fn damaged_indexes_cost_time_only_and_are_repaired() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    for number in 0..40 {
        append(&mut log, batch(2, number, None), 0);
    }
    let segment = Arc::clone(&log.shape.closed[0].segment);
    disk.flip(&segment.index_path(), 50, 1);
    log.shared.tail.clear();
    assert_eq!(offsets(&log.view(), Offset::ZERO).len(), 40);
    assert!(segment.is_index_damaged());
    assert_eq!(log.repair(), Ok(0));
    assert!(!segment.is_index_damaged());
    assert!(segment.load_index(&disk).unwrap().is_some());
}

#[test]
fn a_batch_larger_than_a_segment_has_one_to_itself() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    for records in [1, 50, 1, 60] {
        log.stage(batch(records, 0, None), Timestamp(0)).unwrap();
    }
    log.write(Timestamp(0)).unwrap();
    log.sync().unwrap();
    assert_eq!(log.segment_count(), 4);
    assert_eq!(offsets(&log.expose(log.synced_end()), Offset::ZERO), [0, 1, 51, 52]);
    log.delete().unwrap();
    assert!(disk.list(Path::new(FOLDER)).unwrap_err().is_missing());
}

#[test]
fn a_read_that_fails_is_told_and_the_next_one_succeeds() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    append(&mut log, batch(2, 0, None), 0);
    log.shared.tail.clear();
    disk.fail_read_at(disk.reads());
    let error = log.view().read(Offset::ZERO, 100).unwrap_err();
    assert!(matches!(error, ReadError::Disk(_)), "{error}");
    assert_eq!(offsets(&log.view(), Offset::ZERO), [0]);
    assert!(!log.is_failed());
}

#[test]
fn a_newer_checkpoint_is_refused_and_nothing_is_changed() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    append(&mut log, batch(2, 0, None), 0);
    log.close().unwrap();
    let path = Path::new(FOLDER).join(STATE_FILE);
    let mut bytes = disk.contents(&path).unwrap();
    bytes[8..12].copy_from_slice(&9_u32.to_be_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..16]);
    hasher.update(&bytes[20..]);
    bytes[16..20].copy_from_slice(&hasher.finalize().to_be_bytes());
    let file = disk.open(&path, crate::disk::Access::Write).unwrap();
    file.write_at(&mut [std::io::IoSlice::new(&bytes)], 0).unwrap();
    disk.open(&Path::new(FOLDER).join("checkpoint.new"), crate::disk::Access::Create).unwrap();
    let operations = disk.operations();
    let opening = Opening { leader_epoch: LeaderEpoch(1), now: Timestamp(0), ..Opening::default() };
    let disk_again = Arc::new(disk.clone());
    let error = Log::open(disk_again, Path::new(FOLDER), options(), opening).unwrap_err();
    assert!(matches!(error, StorageError::Newer { found: 9, known: 1, .. }), "{error}");
    assert_eq!(disk.operations(), operations);
}

#[test]
fn a_log_without_offsets_left_refuses() {
    let disk = SimDisk::new(1);
    let folder = Path::new(FOLDER);
    disk.create_dir_all(folder).unwrap();
    let last = Offset::new(i64::MAX - 1).unwrap();
    disk.open(&folder.join(log_name(last)), crate::disk::Access::Create).unwrap();
    let (mut log, _) = open(&disk, options(), 0);
    let error = log.stage(batch(2, 0, None), Timestamp(0)).unwrap_err();
    assert_eq!(error, StageError::OffsetsExhausted { end: last });
    log.stage(batch(1, 0, None), Timestamp(0)).unwrap();
}

#[test]
fn a_batch_inside_a_damaged_record_is_not_taken_for_one_of_the_log() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, Options { segment_bytes: 1 << 20, ..options() }, 0);
    // A record whose value is a whole batch that claims the next offset.
    let stamp = Stamp {
        base_offset: Offset::ZERO.plus(1),
        leader_epoch: LeaderEpoch(1),
        append_time: None,
    };
    let inner = batch(1, 0, None).stamp(stamp).into_bytes();
    let mut builder = Builder::new(Compression::None);
    builder.push(&Record::of_value(inner), Timestamp(0));
    append(&mut log, builder.finish(None), 0);
    append(&mut log, batch(2, 0, None), 0);
    append(&mut log, batch(3, 0, None), 0);
    log.shared.tail.clear();
    let expected = log.view().read(Offset::ZERO.plus(1), 1).unwrap();
    // The length of the outer batch is destroyed, so nothing says where it ends.
    disk.flip(&log.active.segment.log_path(), 9, 0);
    let error = log.view().read(Offset::ZERO, 100).unwrap_err();
    let ReadError::Damaged { offset, resume_at, .. } = error else { panic!("{error}") };
    assert_eq!((offset.get(), resume_at.get()), (0, 1));
    assert_eq!(log.view().read(resume_at, 1).unwrap(), expected);
}

/// Appends until the log has closed a segment, syncing nothing.
fn write_past_a_roll(log: &mut Log) {
    let before = log.segment_count();
    while log.segment_count() == before {
        log.stage(batch(2, 0, None), Timestamp(0)).unwrap();
        log.write(Timestamp(0)).unwrap();
    }
}

#[test]
fn nothing_is_claimed_behind_a_closed_segment_before_its_chore_is_done() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    let operations = disk.operations();
    write_past_a_roll(&mut log);
    let trace = disk.trace().split_off(operations as usize);
    assert!(trace.iter().all(|traced| traced.action != Action::Sync), "{trace:?}");
    assert_eq!(log.synced_end(), Offset::ZERO);
    let base = log.active.segment.base;
    let chore = log.take_chore().unwrap();
    assert!(log.take_chore().is_none(), "one at a time");
    assert!(chore.sync() && !chore.sync(), "a file is synced once");
    assert_eq!(log.synced_end(), Offset::ZERO, "not looked at yet");
    log.settle_chores().unwrap();
    assert_eq!((log.synced_end(), log.sync_count()), (base, 1));
    chore.run();
    log.settle_chores().unwrap();
    assert!(log.active.segment.base == base && log.take_chore().is_none());
    disk.crash(crate::sim::Crash::LoseAll);
    let (log, report) = open(&disk, options(), 0);
    assert_eq!((log.synced_end(), report.notes.len()), (base, 0), "{report:?}");
}

#[test]
fn a_sync_does_what_a_chore_has_not_and_rolls_never_pile_up() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    let chore = {
        write_past_a_roll(&mut log);
        log.take_chore().unwrap()
    };
    log.sync().unwrap();
    assert_eq!(log.synced_end(), log.written_end());
    assert!(!chore.sync(), "the log has done it");
    for _ in 0..20 {
        write_past_a_roll(&mut log);
    }
    let unsynced = log.shape.closed.iter().filter(|c| c.summary.end > log.synced_end());
    assert!(unsynced.count() <= 4);
    log.delete().unwrap();
    let operations = disk.operations();
    chore.run();
    assert_eq!(disk.operations(), operations, "called off");
}

#[test]
fn a_sync_counts_on_no_chore_to_stay_in_line() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    write_past_a_roll(&mut log);
    let chore = log.take_chore().unwrap();
    write_past_a_roll(&mut log);
    write_past_a_roll(&mut log);
    // The other thread has done the first one, and the log has not looked yet.
    chore.run();
    log.sync().unwrap();
    assert_eq!(log.synced_end(), log.written_end());
    disk.crash(crate::sim::Crash::LoseAll);
    let (log, report) = open(&disk, options(), 0);
    assert!(report.notes.iter().all(|note| !note.is_loss()), "{report:?}");
    assert_eq!(log.view().end(), log.synced_end());
}

#[test]
fn a_chore_that_fails_ends_the_log() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    write_past_a_roll(&mut log);
    let chore = log.take_chore().unwrap();
    disk.fail_at(disk.operations(), Fault::Broken);
    chore.run();
    let error = log.settle_chores().unwrap_err();
    assert!(log.is_failed() && log.synced_end() == Offset::ZERO, "{error}");
    let operations = disk.operations();
    chore.run();
    assert_eq!(log.write(Timestamp(0)), Err(error.clone()));
    assert_eq!((log.sync(), log.take_chore().is_none()), (Err(error), true));
    assert_eq!(disk.operations(), operations, "no sync is repeated");
    drop(log);
    disk.crash(crate::sim::Crash::LoseAll);
    let (log, report) = open(&disk, options(), 0);
    assert_eq!(log.synced_end(), Offset::ZERO, "{report:?}");
}

#[test]
fn a_batch_that_is_not_taken_is_not_read() {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 1 << 20, ..options() };
    let (mut log, _) = open(&disk, options, 0);
    for number in 0..4 {
        append(&mut log, batch(500, number, None), number);
    }
    log.shared.tail.clear();
    let view = log.view();
    let one = view.read(Offset::ZERO, 1).unwrap().batches[0].len();
    for spare in [0, 100, one - 1] {
        let reads = disk.reads();
        let read = view.read(Offset::ZERO, 2 * one + spare).unwrap();
        assert_eq!(read.batches.iter().map(bytes::Bytes::len).sum::<usize>(), 2 * one);
        assert_eq!(read.next, Offset::ZERO.plus(1000));
        assert_eq!(disk.reads(), reads + 1, "one read for both, none for the third");
    }
}

/// A batch of so many bytes.
fn of_bytes(wanted: usize) -> Batch {
    let batch = |length| {
        let mut builder = Builder::new(Compression::None);
        builder.push(&Record::of_value(vec![b'v'; length]), Timestamp(0));
        builder.finish(None)
    };
    (1..wanted).map(batch).find(|batch| batch.bytes().len() == wanted).unwrap()
}

#[test]
fn a_lost_sector_is_known_by_as_little_of_a_batch_as_lies_in_it() {
    // The bytes of three batches, and the zeros that a loss of power has left in place of what it took: where only the
    // offset of the second lies in the first sector; where all of it does, and of the third some zeros of its offset.
    for (sizes, lost) in [([504, 400, 400], 504..512), ([200, 307, 400], 200..512)] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk, Options { segment_bytes: 8192, ..options() }, 0);
        append(&mut log, of_bytes(sizes[0]), 0);
        for size in &sizes[1..] {
            log.stage(of_bytes(*size), Timestamp(0)).unwrap();
            log.write(Timestamp(0)).unwrap();
        }
        disk.kill();
        // The power went before the sector was written anew, and behind the others.
        let path = Path::new(FOLDER).join("00000000000000000000.log");
        let file = disk.open(&path, Access::Write).unwrap();
        let zeros = vec![0; lost.len()];
        file.write_at(&mut [IoSlice::new(&zeros)], lost.start as u64).unwrap();
        let (log, report) = open(&disk, options(), 0);
        assert_eq!(log.synced_end(), Offset::ZERO.plus(1), "{:?}", report.notes);
        assert_eq!(offsets(&log.view(), Offset::ZERO), [0]);
    }
}

#[test]
fn a_log_without_records_holds_no_handle_and_syncs_nothing_when_opened() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, options(), 0);
    assert!(log.active.is_parked());
    drop(log);
    let before = disk.trace().len();
    let (mut log, _) = open(&disk, options(), 0);
    assert!(log.active.is_parked());
    let path = Path::new(FOLDER).join(log_name(Offset::ZERO));
    let synced = |done: &crate::sim::Traced| done.action == Action::Sync && done.path == path;
    assert!(!disk.trace()[before..].iter().any(synced));
    append(&mut log, batch(2, 0, None), 0);
    assert_eq!(offsets(&log.view(), Offset::ZERO), [0]);
}

#[test]
fn a_new_producer_cannot_begin_behind_a_batch_that_found_no_room() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, options(), 0);
    disk.set_room(Some(10));
    log.stage(batch(2, 0, Some((7, 0, 0))), Timestamp(0)).unwrap();
    log.stage(batch(1, 0, Some((7, 0, 2))), Timestamp(0)).unwrap();
    assert!(log.write(Timestamp(0)).unwrap_err().is_full());
    disk.set_room(None);
    // It had sent this one before it heard of the refusal.
    let third = log.stage(batch(1, 0, Some((7, 0, 3))), Timestamp(0)).unwrap_err();
    assert!(matches!(third, StageError::OutOfOrderSequence { .. }), "{third}");
    append(&mut log, batch(2, 0, Some((7, 0, 0))), 0);
    append(&mut log, batch(1, 0, Some((7, 0, 2))), 0);
    // A new life of it begins where it likes.
    append(&mut log, batch(1, 0, Some((7, 1, 0))), 0);
}
