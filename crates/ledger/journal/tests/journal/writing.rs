//! Appending.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use journal::{
    Disk, Fault, Faults, FileJournal, Journal, JournalError, Options, RealDisk, SimulatedDisk,
};

use crate::support::{Ledger, SMALL, dynamic, journaled, open, open_with};

#[test]
fn blocks_go_on_in_the_next_file_and_the_one_before_is_cut() {
    let sizes = [3, 20, 8, 1, 40, 1, 1, 30];
    let journaled = journaled(&sizes);
    let segments = journaled.segments();
    let firsts: Vec<_> = segments.iter().map(|(name, _)| &name[18..20]).collect();
    // Block 5 is larger than a file should be and has one of its own.
    assert_eq!(firsts, ["01", "03", "05", "06", "08"]);
    let places = journaled.places();
    for (name, _) in &segments[..segments.len() - 1] {
        let (_, _, end) = places.iter().rfind(|place| place.0 == *name).unwrap();
        assert_eq!(journaled.disk.contents(name).unwrap().len(), *end, "{name}");
    }
    let (recovered, hashes) = open(&dynamic(&journaled.copy(true))).unwrap();
    assert_eq!(hashes, journaled.hashes());
    assert_eq!(recovered.journal.reader().durable(), u64::from(sizes.iter().sum::<u32>()));
}

#[test]
fn the_next_file_is_zeros_before_it_is_needed() {
    let journaled = journaled(&[3, 20]);
    assert_eq!(journaled.disk.contents("spare").unwrap(), vec![0; 4_096]);
    let (recovered, _) = open(&dynamic(&journaled.copy(true))).unwrap();
    let mut ledger = Ledger::after(recovered.tail, 1);
    let mut journal = recovered.journal;
    for _ in 0..2 {
        let block = ledger.block(10);
        journal.append(&block.header, &block.bytes).unwrap();
    }
}

/// What a failed sync left behind is not known, so it is not tried again.
#[test]
fn a_journal_that_failed_once_is_never_written_again() {
    for fault in [Fault::Sync, Fault::Torn, Fault::Short, Fault::Full] {
        let disk = SimulatedDisk::new(7);
        let mut ledger = Ledger::new(1);
        let (first, second) = (ledger.block(3), ledger.block(2));
        let mut journal = open(&dynamic(&disk)).unwrap().0.journal;
        journal.append(&first.header, &first.bytes).unwrap();
        let at = [disk.operations() + u64::from(fault == Fault::Sync)];
        disk.set_faults(Faults { at: at.map(|at| (at, fault)).into(), ..Faults::default() });
        let error = journal.append(&second.header, &second.bytes).unwrap_err();
        assert!(matches!(error, JournalError::Io { .. }), "{fault:?}: {error}");
        disk.set_faults(Faults::default());
        let operations = disk.operations();
        let error = journal.append(&second.header, &second.bytes).unwrap_err();
        assert!(matches!(error, JournalError::Closed), "{error}");
        assert_eq!(disk.operations(), operations);
        assert_eq!(journal.reader().durable(), 3, "what is not durable is not read");
        assert_eq!(disk.injected().len(), 1);
        drop(journal);
        disk.crash();
        let (_, hashes) = open(&dynamic(&disk)).unwrap();
        assert_eq!(hashes[0], first.header.hash);
    }
}

/// Who wrote the last block may have failed to sync it; the system then has it, the disk has not.
#[test]
fn a_last_block_that_was_perhaps_never_durable_is_made_durable() {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let mut ledger = Ledger::new(1);
        let (first, second, third) = (ledger.block(3), ledger.block(20), ledger.block(1));
        let mut journal = open(&dynamic(&disk)).unwrap().0.journal;
        journal.append(&first.header, &first.bytes).unwrap();
        let at = [(disk.operations() + 1, Fault::Sync)].into();
        disk.set_faults(Faults { at, ..Faults::default() });
        journal.append(&second.header, &second.bytes).unwrap_err();
        disk.kill();
        let (recovered, hashes) = open(&dynamic(&disk)).unwrap();
        assert_eq!(hashes.len(), 2, "the system has it");
        let mut journal = recovered.journal;
        journal.append(&third.header, &third.bytes).unwrap();
        disk.crash();
        let (_, hashes) = open(&dynamic(&disk)).unwrap();
        assert_eq!(hashes, [&first, &second, &third].map(|block| block.header.hash));
    }
}

/// A cut whose sync failed looks done to the system, but not to the disk.
#[test]
fn what_was_cut_off_is_cut_off_again_until_it_is_durable() {
    let journaled = journaled(&[3, 6]);
    let (name, begin, end) = journaled.places()[1].clone();
    for seed in 0..10 {
        let disk = SimulatedDisk::new(seed);
        let mut torn = journaled.disk.contents(&name).unwrap();
        torn[end - 150] ^= 1;
        disk.put(&name, &torn);
        // After the spare, the folder, the torn file, its bytes, its sync, the folder and the zeros.
        let at = [(disk.operations() + 7, Fault::Sync)].into();
        disk.set_faults(Faults { at, ..Faults::default() });
        assert!(open(&dynamic(&disk)).is_err());
        assert_eq!(disk.injected()[0].file, name);
        disk.kill();
        assert_eq!(open(&dynamic(&disk)).unwrap().1.len(), 1);
        disk.crash();
        let left = disk.contents(&name).unwrap();
        assert!(left[begin..].iter().all(|byte| *byte == 0), "seed {seed}");
    }
}

#[test]
fn a_full_disk_stops_the_writer_and_loses_nothing() {
    let disk = SimulatedDisk::new(3);
    disk.set_faults(Faults { capacity: Some(20_000), ..Faults::default() });
    let mut ledger = Ledger::new(1);
    let mut journal = open(&dynamic(&disk)).unwrap().0.journal;
    let mut durable = Vec::new();
    let error = loop {
        let block = ledger.block(10);
        match journal.append(&block.header, &block.bytes) {
            Ok(()) => durable.push(block.header.hash),
            Err(error) => break error,
        }
    };
    let JournalError::Io { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    assert!(durable.len() > 8, "{} blocks", durable.len());
    drop(journal);
    disk.set_faults(Faults::default());
    let (_, hashes) = open(&dynamic(&disk)).unwrap();
    assert_eq!(hashes, durable);
}

/// Closed cleanly, the last block is known to have been durable whenever it was written.
#[test]
fn a_clean_close_settles_the_floor() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()));
    let mut ledger = Ledger::new(1);
    let mut journal = open(&disk).unwrap().0.journal;
    for _ in 0..3 {
        let block = ledger.block(1);
        journal.append(&block.header, &block.bytes).unwrap();
    }
    journal.close().unwrap();
    let path = folder.path().join("00000000000000000001.segment");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let Err(error) = open(&disk) else { panic!("it was cut off") };
    assert!(matches!(error, JournalError::Broken { sequence: 3, .. }), "{error}");
}

#[test]
fn a_real_folder_is_ours_alone() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()));
    let options = Options { segment_bytes: 8_192, ..SMALL };
    let mut ledger = Ledger::new(1);
    let (recovered, _) = open_with(&disk, options).unwrap();
    let mut journal = recovered.journal;
    let mut hashes = Vec::new();
    for _ in 0..100 {
        let block = ledger.block(9);
        journal.append(&block.header, &block.bytes).unwrap();
        hashes.push(block.header.hash);
    }
    let Err(error) = FileJournal::open(disk.clone(), options) else { panic!("opened twice") };
    assert!(matches!(error, JournalError::Locked(_)), "{error}");
    drop(journal);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(open_with(&disk, options).unwrap().1, hashes);
}
