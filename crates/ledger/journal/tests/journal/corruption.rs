//! What a restart finds in files that are not as they were written.

use journal::{Disk, FileJournal, JournalError, Options, RealDisk};
use proof::HEADER_BYTES;

use crate::support::{
    ENTRY, Journaled, Ledger, SMALL, broken, dynamic, journaled, journaled_by, open,
};

fn with(journaled: &Journaled, floor: bool, name: &str, bytes: &[u8]) -> journal::SimulatedDisk {
    let disk = journaled.copy(floor);
    disk.put(name, bytes);
    disk
}

/// B-29, B-30: nothing of the past can be changed unnoticed. Each byte is changed, in blocks of
/// several files, and the block and its place are named.
#[test]
fn a_bit_flipped_anywhere_is_refused_with_its_place() {
    let journaled = journaled(&[3, 1, 30, 1, 2]);
    let places = journaled.places();
    assert_eq!(journaled.segments().len(), 3);
    for (block, (name, begin, end)) in places.iter().enumerate() {
        for byte in *begin..*end {
            let mut bytes = journaled.disk.contents(name).unwrap();
            bytes[byte] ^= 1 << (byte % 8);
            let disk = with(&journaled, true, name, &bytes);
            let (sequence, file, offset, problem) = broken(&disk);
            let found = (sequence, &*file, offset);
            assert_eq!(found, (block as u64 + 1, &**name, *begin as u64), "{byte}: {problem}");
            assert_eq!(disk.contents(name).unwrap(), bytes, "nothing is changed");
        }
    }
}

/// Without the floor, damage in the last block alone can be what a crash left.
#[test]
fn only_a_damaged_last_block_that_was_perhaps_never_durable_is_cut_off() {
    let journaled = journaled(&[3, 2]);
    let [_, (name, begin, end)] = &journaled.places()[..] else { panic!("two blocks") };
    for byte in 0..*end {
        let mut bytes = journaled.disk.contents(name).unwrap();
        bytes[byte] ^= 0x80;
        let disk = with(&journaled, false, name, &bytes);
        match open(&dynamic(&disk)) {
            Ok((_, hashes)) => {
                assert!(byte >= *begin);
                assert_eq!(hashes, journaled.hashes()[..1]);
                assert_eq!(disk.contents("torn-2").unwrap(), bytes[*begin..*end]);
                assert!(disk.contents(name).unwrap()[*begin..].iter().all(|byte| *byte == 0));
            }
            Err(error) => assert!(byte < *begin, "{error}"),
        }
    }
}

/// Every length of the last block, with zeros after it and with the file cut there.
#[test]
fn a_last_block_cut_at_any_byte_is_cut_off_and_written_again() {
    let journaled = journaled(&[3, 2]);
    let (name, begin, end) = journaled.places()[1].clone();
    let whole = journaled.disk.contents(&name).unwrap();
    for length in begin..end {
        for zeros in [0, 4_096] {
            let mut bytes = whole[..length].to_vec();
            bytes.resize(length + zeros, 0);
            let disk = with(&journaled, false, &name, &bytes);
            let (recovered, hashes) = open(&dynamic(&disk)).unwrap();
            assert_eq!(hashes, journaled.hashes()[..1], "cut at {length}");
            assert_eq!(disk.contents("torn-2").is_some(), length > begin);

            let block = Ledger::after(recovered.tail, 1).block(5);
            let mut journal = recovered.journal;
            journal::Journal::append(&mut journal, &block.header, &block.bytes).unwrap();
            drop(journal);
            let (_, hashes) = open(&dynamic(&disk)).unwrap();
            assert_eq!(hashes, [journaled.hashes()[0], block.header.hash]);
        }
    }
}

/// Sectors of one write reach the disk in any order.
#[test]
fn a_last_block_with_a_hole_is_cut_off_and_kept_each_time() {
    let journaled = journaled(&[3, 20]);
    let (name, begin, end) = journaled.places()[1].clone();
    let holes = [begin..begin + 64, begin + 64..begin + HEADER_BYTES, begin + 300..end];
    let disk = journaled.copy(false);
    for (hole, kept) in holes.into_iter().zip(["torn-2", "torn-2-2", "torn-2-3"]) {
        let mut bytes = journaled.disk.contents(&name).unwrap();
        bytes[hole.clone()].fill(0);
        disk.put(&name, &bytes);
        disk.put("floor", b"");
        let (_, hashes) = open(&dynamic(&disk)).unwrap();
        assert_eq!(hashes.len(), 1, "{hole:?}");
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        assert_eq!(disk.contents(kept).unwrap(), bytes[begin..=last]);
    }
}

#[test]
fn a_block_that_is_lost_or_elsewhere_is_refused() {
    let ended = journaled(&[3, 1, 1, 1]);
    let places = ended.places();
    let name = &places[0].0;
    let contents = ended.disk.contents(name).unwrap();
    let [second, third, last] = [1, 2, 3].map(|block| places[block].1..places[block].2);

    // Never written, though those after it were.
    let mut unwritten = contents.clone();
    unwritten[second.clone()].fill(0);
    // In the place of another one.
    let mut misdirected = contents.clone();
    misdirected.copy_within(third.clone(), second.start);
    // Behind its place.
    let mut behind = contents.clone();
    behind.resize(8_192, 0);
    behind.copy_within(last.clone(), last.end + 512);
    behind[last.clone()].fill(0);
    // Twice.
    let mut twice = contents.clone();
    twice.resize(8_192, 0);
    twice.copy_within(third.clone(), last.end);
    // Left out.
    let left_out = [&contents[..second.start], &contents[third.start..]].concat();
    for (bytes, block, problem) in [
        (unwritten, 1, "its header is damaged"),
        (misdirected, 1, "it is block 3 where block 2 belongs"),
        (behind, 3, "its header is damaged"),
        (twice, 4, "it is block 3 where block 5 belongs"),
        (left_out, 1, "it is block 3 where block 2 belongs"),
    ] {
        let (sequence, file, offset, found) = broken(&with(&ended, false, name, &bytes));
        let begin = places.get(block).map_or(last.end, |place| place.1) as u64;
        assert_eq!((sequence, &file, offset), (block as u64 + 1, name, begin), "{problem}");
        assert_eq!(found, problem);
    }
}

#[test]
fn a_block_of_another_ledger_is_refused() {
    let ours = journaled(&[3, 1, 1]);
    let theirs = journaled_by(&mut Ledger::new(2), &[3, 1, 1]);
    let (name, begin, end) = ours.places()[1].clone();
    let mut bytes = ours.disk.contents(&name).unwrap();
    bytes[begin..end].copy_from_slice(&theirs.disk.contents(&name).unwrap()[begin..end]);
    let (sequence, _, offset, problem) = broken(&with(&ours, false, &name, &bytes));
    assert_eq!((sequence, offset), (2, begin as u64));
    assert_eq!(problem, "it belongs to another ledger");
}

/// B-31: a block of this ledger that somebody else wrote, checksums and hashes included.
#[test]
fn a_block_that_was_signed_by_another_key_is_refused() {
    let ours = journaled(&[3, 1]);
    let mut block = ours.blocks[1].header.clone();
    block.signature[5] ^= 1;
    let (name, begin, _) = ours.places()[1].clone();
    let mut bytes = ours.disk.contents(&name).unwrap();
    bytes[begin..begin + HEADER_BYTES].copy_from_slice(&block.encode());
    let (sequence, _, _, problem) = broken(&with(&ours, false, &name, &bytes));
    assert_eq!((sequence, &*problem), (2, "its signature is not that of the ledger"));
}

#[test]
fn a_missing_file_is_refused() {
    let journaled = journaled(&[20, 20, 20, 20]);
    let names: Vec<_> = journaled.segments().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 4);
    for (missing, sequence, problem) in [
        (0, 1, "it is missing: 00000000000000000002.segment follows"),
        (1, 2, "it is missing: 00000000000000000003.segment follows"),
        (3, 4, "it is missing, though it was durable"),
    ] {
        let disk = journaled.copy(true);
        disk.remove(&names[missing]).unwrap();
        let (found, _, _, why) = broken(&disk);
        assert_eq!((found, &*why), (sequence, problem));
    }
}

#[test]
fn the_floor_tells_what_was_durable() {
    let journaled = journaled(&[3, 1, 2]);
    let (name, begin, _) = journaled.places()[2].clone();
    let mut cut = journaled.disk.contents(&name).unwrap();
    cut[begin..].fill(0);
    // Gone to the last byte.
    let (sequence, _, offset, problem) = broken(&with(&journaled, true, &name, &cut));
    assert_eq!((sequence, offset), (3, begin as u64));
    assert_eq!(problem, "it is missing, though it was durable");
    // A damaged floor is none.
    let disk = with(&journaled, true, &name, &cut);
    disk.flip("floor", 20, 3);
    assert_eq!(open(&dynamic(&disk)).unwrap().1.len(), 2);
    // Another history.
    let other = journaled_by(&mut Ledger::new(2), &[3, 1, 2]);
    let disk = journaled.copy(false);
    disk.put("floor", &other.disk.contents("floor").unwrap());
    let (sequence, _, _, problem) = broken(&disk);
    assert_eq!(sequence, 3);
    assert_eq!(problem, "it is another block than the one that was durable");
}

#[test]
fn more_rubbish_than_a_block_is_no_incomplete_block() {
    let journaled = journaled(&[3, 1]);
    let (name, begin, end) = journaled.places()[1].clone();
    let mut bytes = journaled.disk.contents(&name).unwrap();
    // After the end that the header tells.
    bytes.resize(end + ENTRY, 0);
    bytes[end - 1] ^= 1;
    bytes[end + 1] = 1;
    let (sequence, _, offset, _) = broken(&with(&journaled, false, &name, &bytes));
    assert_eq!((sequence, offset), (2, begin as u64));
    // After the end of any block.
    bytes[begin] ^= 1;
    bytes.resize(begin + HEADER_BYTES + proof::PAYLOAD_BYTES_MAX, 0);
    bytes.push(1);
    let (sequence, _, offset, _) = broken(&with(&journaled, false, &name, &bytes));
    assert_eq!((sequence, offset), (2, begin as u64));
}

#[test]
fn a_journal_of_version_1_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ledger.journal"), b"MALHABLK").unwrap();
    let disk = std::sync::Arc::new(RealDisk::new(folder.path()));
    let Err(error) = FileJournal::open(disk, SMALL) else { panic!("it was opened") };
    assert!(matches!(error, JournalError::Outdated(_)));
    assert!(error.to_string().contains("version 1"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is created");
}

/// A volume that is not mounted is an empty folder, or none.
#[test]
fn a_missing_journal_is_created_only_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let not_created = Options { create: false, ..SMALL };
    for missing in [folder.path().to_owned(), folder.path().join("volume")] {
        let disk = std::sync::Arc::new(RealDisk::new(&missing));
        let Err(error) = FileJournal::open(disk, not_created) else { panic!("it was opened") };
        let error = error.to_string();
        for part in [&*missing.to_string_lossy(), "empty", "ledger.create"] {
            assert!(error.contains(part), "{error}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is created");
    for options in [SMALL, not_created] {
        let disk = RealDisk::create(folder.path().join("a/volume")).unwrap();
        crate::support::open_with(&(std::sync::Arc::new(disk) as _), options).unwrap();
    }
}

/// What came before a snapshot is checked by headers, to the block of the snapshot.
#[test]
fn a_replay_from_a_tail_checks_the_headers_before_it() {
    let journaled = journaled(&[3, 20, 20, 4, 5]);
    let copy = journaled.copy(true);
    let mut tails = vec![proof::Tail::default()];
    let mut chain = proof::Chain::new(proof::Tail::default(), proof::Signatures::Check);
    for block in &journaled.blocks {
        chain.push(&block.bytes).unwrap();
        tails.push(chain.tail().clone());
    }
    for (from, tail) in tails.iter().enumerate() {
        let opened = FileJournal::open(dynamic(&copy), SMALL).unwrap();
        let mut applied = 0;
        let recovered = opened
            .replay(tail.clone(), &mut |_, _, _| (), &mut |_| {
                applied += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(applied, journaled.blocks.len() - from);
        assert_eq!(recovered.tail, *tails.last().unwrap());
        assert_eq!(recovered.journal.reader().durable(), 52);
    }
    let other = proof::Tail { hash: [7; 32], ..tails[2].clone() };
    let mut damaged = journaled.copy(true);
    damaged.flip(&journaled.places()[1].0, journaled.places()[1].1 + 30, 0);
    for (disk, tail, problem) in [
        (&mut journaled.copy(true), other, "it is another block than the one of the snapshot"),
        (&mut damaged, tails[3].clone(), "its header is damaged"),
    ] {
        let opened = FileJournal::open(dynamic(disk), SMALL).unwrap();
        let Err(JournalError::Broken { sequence: 2, problem: found, .. }) =
            opened.replay(tail, &mut |_, _, _| (), &mut |_| Ok(()))
        else {
            panic!("{problem}")
        };
        assert!(found.starts_with(problem), "{found}");
    }
}

#[test]
fn a_block_that_is_not_accepted_is_named() {
    let journaled = journaled(&[3, 1]);
    let opened = FileJournal::open(dynamic(&journaled.disk), SMALL).unwrap();
    let mut blocks = 0;
    let replayed = opened.replay(proof::Tail::default(), &mut |_, _, _| (), &mut |_| {
        blocks += 1;
        if blocks == 2 { Err("it cannot have happened".to_owned()) } else { Ok(()) }
    });
    let Err(error) = replayed else { panic!("it was accepted") };
    let begin = journaled.places()[1].1;
    assert_eq!(
        error.to_string(),
        format!(
            "the journal is broken at block 2, 00000000000000000001.segment, byte {begin}: it \
             cannot have happened"
        )
    );
}
