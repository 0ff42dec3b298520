//! Backup and restore.

use std::sync::Arc;

use journal::{
    Disk, Journal, JournalError, Options, RealDisk, SimulatedDisk, backup, restore, verify,
};
use proof::Tail;

use crate::support::{Ledger, SMALL, dynamic, journaled, key, open, open_with};

/// B-31, L-80: anybody with the files and the key can tell whether they are the ledger's.
#[test]
fn a_copy_is_verified_with_the_key_of_the_ledger() {
    let journaled = journaled(&[3, 20, 20, 1]);
    let from = dynamic(&journaled.copy(true));
    let verified = verify(&from, Tail::expecting(key(1).public([1; 16]))).unwrap();
    assert_eq!(verified.tail.entries(), 44);
    assert_eq!(verified.head.unwrap(), journaled.blocks[3].header);
    assert_eq!((verified.bytes_written, verified.bytes_incomplete), (0, 0));
    let error = verify(&from, Tail::expecting(key(2).public([1; 16]))).unwrap_err();
    assert!(matches!(error, JournalError::Broken { sequence: 1, .. }), "{error}");
}

#[test]
fn a_copy_grows_with_its_journal_and_is_restored() {
    let source = SimulatedDisk::new(1);
    let (from, to) = (dynamic(&source), dynamic(&SimulatedDisk::new(2)));
    let mut ledger = Ledger::new(1);
    let mut journal = open(&from).unwrap().0.journal;
    let (mut hashes, mut written) = (Vec::new(), 0);
    for round in 0..6 {
        for _ in 0..round {
            let block = ledger.block(8);
            journal.append(&block.header, &block.bytes).unwrap();
            hashes.push(block.header.hash);
            written += block.bytes.len() as u64;
        }
        let copied = backup(&from, &to, Tail::default()).unwrap();
        assert_eq!(copied.tail.sequence, hashes.len() as u64);
        assert_eq!(copied.bytes_written, std::mem::take(&mut written));
    }
    let error = restore(&to, &from, Tail::default()).unwrap_err();
    assert!(matches!(error, JournalError::Copy(_)), "{error}");
    let fresh = dynamic(&SimulatedDisk::new(3));
    assert_eq!(restore(&to, &fresh, Tail::default()).unwrap().tail.sequence, 15);
    let (recovered, restored) = open(&fresh).unwrap();
    assert_eq!(restored, hashes);
    let block = Ledger::after(recovered.tail, 1).block(1);
    let mut journal = recovered.journal;
    journal.append(&block.header, &block.bytes).unwrap();
}

#[test]
fn a_copy_of_something_else_is_left_alone() {
    let journaled = journaled(&[3, 20, 20, 1]);
    let from = dynamic(&journaled.copy(true));
    let (name, begin, _) = journaled.places()[1].clone();
    for change in ["flipped", "longer", "another file"] {
        let copy = SimulatedDisk::new(2);
        backup(&from, &dynamic(&copy), Tail::default()).unwrap();
        match change {
            "flipped" => assert!(copy.flip(&name, begin + 7, 1)),
            "longer" => copy.put(&name, &[copy.contents(&name).unwrap(), vec![1]].concat()),
            _ => copy.put("00000000000000000009.segment", b""),
        }
        let before = copy.contents(&name);
        let error = backup(&from, &dynamic(&copy), Tail::default()).unwrap_err();
        assert!(matches!(error, JournalError::Copy(_)), "{change}: {error}");
        assert_eq!(copy.contents(&name), before);
    }
}

#[test]
fn a_broken_journal_is_not_copied_past_the_break() {
    let journaled = journaled(&[3, 1, 20, 20, 1]);
    for (block, (name, begin, end)) in journaled.places().iter().enumerate() {
        let disk = journaled.copy(true);
        disk.flip(name, (begin + end) / 2, 1);
        let to = dynamic(&SimulatedDisk::new(2));
        let error = backup(&dynamic(&disk), &to, Tail::default()).unwrap_err();
        let JournalError::Broken { sequence, offset, .. } = error else { panic!("{error}") };
        assert_eq!((sequence, offset), (block as u64 + 1, *begin as u64));
    }
}

#[test]
fn a_block_that_is_being_written_is_left_out() {
    let journaled = journaled(&[3, 1, 20]);
    let (name, begin, end) = journaled.places()[2].clone();
    let disk = journaled.copy(false);
    let mut bytes = journaled.disk.contents(&name).unwrap();
    bytes[end - 100..].fill(0);
    disk.put(&name, &bytes);
    let to = SimulatedDisk::new(2);
    let copied = backup(&dynamic(&disk), &dynamic(&to), Tail::default()).unwrap();
    assert_eq!(copied.tail.sequence, 2);
    assert!(copied.bytes_incomplete > 0);
    assert_eq!(to.contents(&name).unwrap(), bytes[..begin]);
}

/// What was durable when the copy began is in it, and all of it is a journal.
#[test]
fn a_journal_is_copied_while_it_is_written() {
    let folders = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let [from, to] =
        folders.each_ref().map(|it| Arc::new(RealDisk::new(it.path())) as Arc<dyn Disk>);
    let options = Options { segment_bytes: 32 << 10, ..SMALL };
    let mut journal = open_with(&from, options).unwrap().0.journal;
    let reader = journal.reader();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut ledger = Ledger::new(1);
            for round in 0..400 {
                let block = ledger.block(round % 50 + 1);
                journal.append(&block.header, &block.bytes).unwrap();
            }
        });
        while reader.durable() == 0 {
            std::thread::yield_now();
        }
        let mut rounds = 0;
        while !writer.is_finished() {
            let durable = reader.durable();
            let copied = backup(&from, &to, Tail::default()).unwrap();
            assert!(copied.tail.entries() >= durable);
            rounds += 1;
        }
        assert!(rounds > 1);
    });
    let copied = backup(&from, &to, Tail::default()).unwrap();
    assert_eq!(copied.tail.entries(), reader.durable());
    assert_eq!(open_with(&to, options).unwrap().1.len(), 400);
}
