//! The faults are those that the head of `sim.rs` names.

use std::io::IoSlice;

use super::*;
use crate::disk::{Access, Disk, DiskFile};
use crate::error::StorageError;

fn write(file: &Arc<dyn DiskFile>, bytes: &[u8], position: u64) -> Result<(), StorageError> {
    file.write_at(&mut [IoSlice::new(bytes)], position)
}

#[test]
fn only_what_is_synced_by_content_and_by_name_survives() {
    let disk = SimDisk::new(1);
    let (a, b) = (Path::new("/a"), Path::new("/b"));
    let file = disk.open(a, Access::Create).unwrap();
    write(&file, b"synced", 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    write(&file, b"lost", 6).unwrap();
    let other = disk.open(b, Access::Create).unwrap();
    write(&other, b"nameless", 0).unwrap();
    other.sync_data().unwrap();
    disk.crash(Crash::LoseAll);
    assert_eq!(disk.contents(a).unwrap(), b"synced");
    assert_eq!(disk.contents(b), None);
    assert!(file.len().is_err(), "a handle of an earlier life");
}

#[test]
fn a_failed_sync_lies_afterwards() {
    let disk = SimDisk::new(1);
    let file = disk.open(Path::new("/a"), Access::Create).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    write(&file, b"data", 0).unwrap();
    disk.fail_at(disk.operations(), Fault::Broken);
    assert!(file.sync_data().is_err());
    assert_eq!(disk.contents(Path::new("/a")).unwrap(), b"data");
    file.sync_data().unwrap();
    file.forget_cached();
    assert_eq!(disk.contents(Path::new("/a")).unwrap(), [0; 4]);
}

#[test]
fn a_torn_write_keeps_its_first_bytes() {
    let disk = SimDisk::new(1);
    let file = disk.open(Path::new("/a"), Access::Create).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.fail_at(disk.operations(), Fault::PowerLoss);
    assert!(write(&file, &[7; 1000], 0).is_err());
    assert!(disk.is_dead() && disk.last_write_bytes() == 1000);
    disk.crash(Crash::KeepAll { torn_bytes: 512 });
    assert_eq!(disk.contents(Path::new("/a")).unwrap(), [7; 512]);
}

#[test]
fn a_sector_is_as_it_was_at_one_moment() {
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let file = disk.open(Path::new("/a"), Access::Create).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        for part in 0..4 {
            write(&file, &[7; 100], part * 100).unwrap();
        }
        disk.crash(Crash::Random);
        let found = disk.contents(Path::new("/a")).unwrap();
        assert_eq!(found.len() % 100, 0);
        assert!(found.iter().all(|byte| *byte == 7), "seed {seed}: a hole inside a sector");
    }
}

#[test]
fn a_full_disk_has_room_again_when_told() {
    let disk = SimDisk::new(1);
    let file = disk.open(Path::new("/a"), Access::Create).unwrap();
    disk.set_room(Some(10));
    assert!(write(&file, &[1; 11], 0).unwrap_err().is_full());
    disk.set_room(None);
    write(&file, &[1; 11], 0).unwrap();
}
