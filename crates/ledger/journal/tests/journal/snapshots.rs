//! Snapshots.

use std::io::{self, Read};

use journal::{Disk, Fault, Faults, SimulatedDisk, Snapshots};

use crate::support::dynamic;

fn content(entries: u64) -> Vec<u8> {
    (0..3_000_000u64).map(|byte| (byte * entries).to_le_bytes()[1]).collect()
}

fn write(snapshots: &Snapshots, entries: u64) -> io::Result<()> {
    snapshots
        .write(entries, |to| content(entries).chunks(70_001).try_for_each(|it| to.write_all(it)))
}

fn found(snapshots: &Snapshots) -> Vec<u64> {
    let mut found = Vec::new();
    for mut snapshot in snapshots.newest_first().unwrap() {
        let mut read = Vec::new();
        snapshot.read_to_end(&mut read).unwrap();
        assert!(read == content(snapshot.entries()));
        found.push(snapshot.entries());
    }
    found
}

#[test]
fn the_newest_two_are_kept_and_read_back() {
    let disk = SimulatedDisk::new(1);
    let snapshots = Snapshots::new(dynamic(&disk));
    assert_eq!(found(&snapshots), []);
    for entries in [10, 200, 3_000] {
        write(&snapshots, entries).unwrap();
    }
    disk.crash();
    assert_eq!(found(&Snapshots::new(dynamic(&disk))), [3_000, 200]);
    assert_eq!(disk.list().unwrap().len(), 2);
}

#[test]
fn a_broken_snapshot_is_passed_over() {
    let disk = SimulatedDisk::new(1);
    let snapshots = Snapshots::new(dynamic(&disk));
    write(&snapshots, 10).unwrap();
    write(&snapshots, 20).unwrap();
    let name = "00000000000000000020.snapshot";
    let whole = disk.contents(name).unwrap();
    for byte in [0, 9, 13, 17, 24, 1_500_000, whole.len() - 9, whole.len() - 1] {
        disk.flip(name, byte, 2);
        assert_eq!(found(&snapshots), [10], "byte {byte}");
        disk.put(name, &whole);
    }
    for length in [0, 10, 24, whole.len() - 1] {
        disk.put(name, &whole[..length]);
        assert_eq!(found(&snapshots), [10], "{length} bytes");
    }
}

/// At each step, what was there before is still there.
#[test]
fn a_crash_while_a_snapshot_is_written_leaves_the_one_before() {
    let mut step = 0;
    loop {
        let disk = SimulatedDisk::new(step);
        let snapshots = Snapshots::new(dynamic(&disk));
        write(&snapshots, 10).unwrap();
        let at = [(disk.operations() + step, Fault::Crash)].into();
        disk.set_faults(Faults { at, ..Faults::default() });
        let written = write(&snapshots, 20);
        disk.crash();
        let found = found(&Snapshots::new(dynamic(&disk)));
        match written {
            Ok(()) => {
                assert_eq!(found, [20, 10]);
                break;
            }
            Err(_) => assert!(found.ends_with(&[10]), "step {step}: {found:?}"),
        }
        step += 1;
    }
    assert!(step > 5);
}

#[test]
fn a_snapshot_that_fails_leaves_nothing() {
    let disk = SimulatedDisk::new(1);
    let snapshots = Snapshots::new(dynamic(&disk));
    let failed = snapshots.write(10, |to| {
        to.write_all(b"half")?;
        Err(io::Error::other("no more"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "no more");
    assert_eq!(disk.list().unwrap().len(), 0);
}
