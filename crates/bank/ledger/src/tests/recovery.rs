//! What a restart finds in the journal's file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::domain::Record;
use crate::journal::Journal;

/// A folder with a journal of three blocks.
struct Journaled {
    folder: tempfile::TempDir,
    /// Where each block ends.
    ends: Vec<usize>,
    /// The state after each block.
    states: Vec<State>,
    bytes: Vec<u8>,
}

fn file(folder: &Path) -> PathBuf {
    folder.join("ledger.journal")
}

fn journaled() -> Journaled {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut journal) = recover(folder.path()).unwrap();
    let (mut ends, mut states) = (Vec::new(), Vec::new());
    let mut bench = Bench::new();
    for block in 0..3 {
        let number = u128::from(block) * 10;
        bench.accept(&transfer(number + 1, OUTSIDE, CUSTOMER, 100));
        bench.accept(&brief_hold(number + 2, 10, 1));
        bench.transfer(&transfer(number + 3, OTHER, 999, 1));
        let state = bench.state.clone();
        let written = bench.at((3 + 2 * block) * SECOND);
        journal.append(&written).unwrap();
        ends.push(fs::read(file(folder.path())).unwrap().len());
        states.push(state);
    }
    let bytes = fs::read(file(folder.path())).unwrap();
    Journaled { folder, ends, states, bytes }
}

impl Journaled {
    fn recover_from(&self, bytes: &[u8]) -> Result<(State, FileJournal), JournalError> {
        fs::write(file(self.folder.path()), bytes).unwrap();
        recover(self.folder.path())
    }

    /// Where the block that holds that byte begins, and its sequence.
    fn block_at(&self, byte: usize) -> (u64, u64) {
        let before = self.ends.iter().filter(|end| **end <= byte).count();
        let offset = if before == 0 { 0 } else { self.ends[before - 1] };
        (before as u64 + 1, offset as u64)
    }

    fn assert_broken(&self, bytes: &[u8], at: (u64, u64), what: &str) -> String {
        match self.recover_from(bytes) {
            Err(JournalError::Broken { sequence, offset, problem }) => {
                assert_eq!((sequence, offset), at, "{what}: {problem}");
                problem
            }
            other => panic!("{what}: {:?}", other.map(|(state, _)| state)),
        }
    }
}

#[test]
fn a_restart_gives_the_same_state() {
    let journaled = journaled();
    let (state, _) = recover(journaled.folder.path()).unwrap();
    assert_eq!(state.facts(), journaled.states[2].facts());
    let hold = state.transfer(tenant(0), id(2)).unwrap();
    assert_eq!(hold.hold, Some(crate::domain::HoldState::Expired), "ended by a later block");
}

#[test]
fn a_last_block_cut_at_any_byte_is_dropped_and_written_again() {
    let journaled = journaled();
    for length in journaled.ends[1]..journaled.ends[2] {
        let torn = &journaled.bytes[journaled.ends[1]..length];
        let kept = journaled.folder.path().join("ledger.journal.torn-3");
        let (state, mut journal) = journaled.recover_from(&journaled.bytes[..length]).unwrap();
        assert_eq!(state.facts(), journaled.states[1].facts(), "cut at {length}");
        let left = fs::metadata(file(journaled.folder.path())).unwrap().len();
        assert_eq!(left, journaled.ends[1] as u64);
        assert_eq!(kept.exists(), !torn.is_empty());
        if !torn.is_empty() {
            assert_eq!(fs::read(&kept).unwrap(), torn);
            assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
            fs::remove_file(kept).unwrap();
        }

        let mut bench = Bench { state, block: Block::default() };
        bench.at(9 * SECOND);
        bench.accept(&transfer(500, OUTSIDE, OTHER, 1));
        journal.append(&bench.block).unwrap();
        drop(journal);
        let (state, _) = recover(journaled.folder.path()).unwrap();
        assert_eq!(state.facts(), bench.state.facts());
    }
}

/// Pages of one write reach the disk in any order.
#[test]
fn a_last_block_with_a_hole_is_dropped() {
    let journaled = journaled();
    let last = journaled.ends[1];
    let holes = [last..last + 64, last + 64..last + 144, last + 144..last + 200];
    // Each is kept, though the block before it in that place was kept too.
    for (hole, kept) in holes.into_iter().zip(["torn-3", "torn-3-2", "torn-3-3"]) {
        let mut bytes = journaled.bytes.clone();
        bytes[hole.clone()].fill(0);
        let (state, _) = journaled.recover_from(&bytes).unwrap();
        assert_eq!(state.facts(), journaled.states[1].facts(), "{hole:?}");
        let kept = journaled.folder.path().join(format!("ledger.journal.{kept}"));
        assert_eq!(fs::read(kept).unwrap(), bytes[last..]);
    }
}

/// B-29, B-30: nothing of the past can be changed unnoticed.
#[test]
fn a_bit_flipped_anywhere_before_the_last_block_is_refused_with_its_place() {
    let journaled = journaled();
    for byte in 0..journaled.ends[1] {
        let mut bytes = journaled.bytes.clone();
        bytes[byte] ^= 1 << (byte % 8);
        let what = format!("bit {} of byte {byte}", byte % 8);
        journaled.assert_broken(&bytes, journaled.block_at(byte), &what);
        assert_eq!(fs::read(file(journaled.folder.path())).unwrap(), bytes, "nothing is changed");
    }
}

#[test]
fn a_block_that_is_missing_or_of_another_journal_is_refused() {
    let journaled = journaled();
    let [first, second] = [journaled.ends[0], journaled.ends[1]];
    let without = [&journaled.bytes[..first], &journaled.bytes[second..]].concat();
    let problem = journaled.assert_broken(&without, (2, first as u64), "missing");
    assert_eq!(problem, "its sequence is 3");

    let folder = tempfile::tempdir().unwrap();
    let (_, mut journal) = recover(folder.path()).unwrap();
    let mut bench = Bench::new();
    bench.at(2 * SECOND);
    for _ in 0..2 {
        journal.append(&bench.at(3 * SECOND)).unwrap();
    }
    let other = fs::read(file(folder.path())).unwrap();
    let (other, end) = (&other[other.len() / 2..], other.len() / 2);
    assert_eq!(end, 144, "an empty block is its header");
    let foreign = [&journaled.bytes[..first], other].concat();
    let problem = journaled.assert_broken(&foreign, (2, first as u64), "foreign");
    assert_eq!(problem, "it is not chained to the block before");
}

#[test]
fn a_block_of_a_later_version_is_refused_and_kept() {
    let journaled = journaled();
    let last = journaled.ends[1];
    let mut bytes = journaled.bytes.clone();
    bytes[last + 8] = 2;
    let problem = journaled.assert_broken(&bytes, (3, last as u64), "version");
    assert_eq!(problem, "it has version 2, this program knows 1");
    assert_eq!(fs::read(file(journaled.folder.path())).unwrap(), bytes);
}

#[test]
fn more_rubbish_than_a_block_is_no_incomplete_block() {
    let journaled = journaled();
    let mut bytes = journaled.bytes.clone();
    bytes.resize(bytes.len() + (5 << 20), 0);
    journaled.assert_broken(&bytes, (4, journaled.ends[2] as u64), "rubbish");
}

#[test]
fn a_block_that_cannot_have_happened_is_refused() {
    let journaled = journaled();
    let timestamp = Timestamp::from_nanos(10 * SECOND);
    let transfer = transfer(700, CUSTOMER, OTHER, 1_000_000);
    let created_at = timestamp.next().next();
    let records = vec![Record::Transfer { tenant: tenant(0), transfer, created_at }];
    let early = Timestamp::from_nanos(1);
    for (block, problem) in [
        (
            Block { timestamp, expired: 1, records },
            "its record 0 cannot be applied: Refused(Exceed",
        ),
        (Block { timestamp, expired: 0, records: vec![] }, "0 holds ended with it, now 1 do"),
        (Block { timestamp: early, ..Block::default() }, "it begins before the block before it"),
    ] {
        let (_, mut journal) = journaled.recover_from(&journaled.bytes).unwrap();
        journal.append(&block).unwrap();
        drop(journal);
        let bytes = fs::read(file(journaled.folder.path())).unwrap();
        let found = journaled.assert_broken(&bytes, (4, journaled.ends[2] as u64), problem);
        assert!(found.starts_with(problem), "{found}");
    }
}

/// A volume that is not mounted is an empty folder, or none.
#[test]
fn a_missing_journal_is_created_only_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for missing in [folder.path().to_owned(), folder.path().join("volume")] {
        let error = crate::recover(&missing, false).unwrap_err().to_string();
        for part in [&*missing.join("ledger.journal").to_string_lossy(), "empty", "ledger.create"] {
            assert!(error.contains(part), "{error}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is created");

    let path = folder.path().join("volume");
    crate::recover(&path, true).unwrap();
    crate::recover(&path, false).unwrap();
}

#[test]
fn two_cannot_write_one_journal() {
    let folder = tempfile::tempdir().unwrap();
    let first = FileJournal::open(folder.path(), true).unwrap();
    let second = FileJournal::open(folder.path(), true).unwrap_err();
    assert!(matches!(second, JournalError::Locked(_)), "{second}");
    drop(first);
    FileJournal::open(folder.path(), true).unwrap();
}

#[test]
fn a_journal_is_replayed_before_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = FileJournal::open(folder.path(), true).unwrap();
    let error = journal.append(&Block::default()).unwrap_err();
    assert!(matches!(error, JournalError::Closed), "{error}");
}
