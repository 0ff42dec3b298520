//! Every question has the same answer as a plain list of what happened.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::world::{ROWS, Random, World, references, time};
use super::{TINY, collected, open, open_with};
use crate::Direction::{Ascending, Descending};
use crate::store::Sizes;
use crate::{IndexError, Numbers, Reader, Side};

/// Asks everything of entries before a number, and compares.
pub(super) fn check(world: &World, reader: &Reader, before: u64, random: &mut Random) {
    let range = range(before, random);
    for row in 0..=ROWS {
        let at = time(random.below(before + 2));
        let created = at.nanos() - time(0).nanos() + 1;
        for side in [Side::Debit, Side::Credit] {
            assert_eq!(
                reader.balance(row, side, before).unwrap(),
                world.balance(row, side, before)
            );
            assert_eq!(
                reader.effective_posted(row, side, created, at, before).unwrap(),
                world.effective_posted(row, side, at, before),
            );
        }
        assert_eq!(reader.amended(row, before).unwrap(), world.amended(row, before));
        for direction in [Ascending, Descending] {
            let history = reader.history(row, range.clone(), direction).unwrap();
            assert_eq!(collected(history), world.history(row, &range, direction));
            let touching = reader.touching(row, range.clone(), direction);
            assert_eq!(collected(touching), world.touching(row, &range, direction));
        }
    }
    for (tenant, reference) in references() {
        for direction in [Ascending, Descending] {
            let found = reader.referring(tenant, reference, range.clone(), direction);
            assert_eq!(collected(found), world.referring(tenant, reference, &range, direction));
        }
    }
}

fn range(before: u64, random: &mut Random) -> Range<u64> {
    if random.below(3) == 0 {
        return 0..before;
    }
    let (a, b) = (random.below(before + 1), random.below(before + 1));
    a.min(b)..a.max(b)
}

/// B-31, B-56: history and balances as of any number, whatever the runs look like.
#[test]
fn every_answer_is_that_of_a_plain_list() {
    for (seed, blocks, entries_max) in [(11, 300, 8), (12, 60, 60), (13, 24, 400), (14, 150, 90)] {
        let folder = tempfile::tempdir().unwrap();
        let (world, mut index) = (World::new(seed, blocks, entries_max), open(folder.path()));
        let (reader, mut random) = (index.reader(), Random(seed));
        for block in 0..blocks {
            world.add(&mut index, block..block + 1);
            if random.below(10) == 0 {
                let covers = index.covers();
                check(&world, &reader, random.below(covers) + 1, &mut random);
            }
        }
        assert_eq!(index.covers(), world.entries());
        check(&world, &reader, world.entries(), &mut random);
        let deepest = || reader.0.view().all().map(|run| run.level()).max();
        assert!((0..10_000).any(|_| {
            thread::sleep(Duration::from_millis(1));
            deepest() >= Some(3)
        }));
        check(&world, &reader, world.entries(), &mut random);
    }
}

/// Runs are replaced under readers; each question still sees one moment.
#[test]
fn answers_are_right_while_runs_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let (world, mut index) = (World::new(21, 400, 30), open(folder.path()));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 1..3 {
            let (reader, world, done) = (index.reader(), &world, &done);
            scope.spawn(move || {
                let mut random = Random(seed);
                while !done.load(Ordering::Relaxed) {
                    let covers = reader.covers();
                    check(world, &reader, random.below(covers + 1), &mut random);
                }
            });
        }
        world.add_all(&mut index);
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn entries_in_common_are_found_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let (world, mut index) = (World::new(31, 100, 60), open(folder.path()));
    world.add_all(&mut index);
    let (reader, mut random) = (index.reader(), Random(5));
    let mut common = 0;
    for (tenant, reference) in references() {
        for direction in [Ascending, Descending] {
            let (row, range) = (random.below_32(ROWS), range(world.entries(), &mut random));
            let (other, another) = references()[random.place(references().len())];
            let lists = [
                world.referring(tenant, reference, &range, direction),
                world.referring(other, another, &range, direction),
            ];
            let mut expected = world.touching(row, &range, direction);
            expected.retain(|number| lists.iter().all(|list| list.contains(number)));
            common += expected.len();
            let found = Numbers::and(
                reader.touching(row, range.clone(), direction),
                [
                    reader.referring(tenant, reference, range.clone(), direction),
                    reader.referring(other, another, range.clone(), direction),
                ],
            );
            assert_eq!(collected(found), expected);
        }
    }
    assert!(common > 20, "the lists have {common} entries in common");
}

#[test]
fn pages_stay_right_while_entries_are_added() {
    let folder = tempfile::tempdir().unwrap();
    let (world, mut index) = (World::new(41, 120, 40), open(folder.path()));
    world.add(&mut index, 0..60);
    let (reader, first) = (index.reader(), index.covers());
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for block in 60..120 {
        world.add(&mut index, block..block + 1);
        let after = up.last().map_or(0, |last| last + 1);
        up.extend(collected(reader.touching(3, after..reader.covers(), Ascending).take(9)));
        let before = down.last().copied().unwrap_or(first);
        down.extend(collected(reader.touching(3, 0..before, Descending).take(9)));
    }
    let mut all = world.touching(3, &(0..first), Descending);
    all.truncate(60 * 9);
    assert_eq!(down, all);
    let mut all = world.touching(3, &(0..world.entries()), Ascending);
    all.truncate(60 * 9);
    assert_eq!(up, all);
}

/// References whose hashes meet are told apart by who reads the entries: none may be missing.
#[test]
fn references_that_meet_are_all_found() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = Sizes { hash_mask: 3, ..TINY };
    let (world, mut index) = (World::new(51, 60, 40), open_with(folder.path(), sizes));
    world.add_all(&mut index);
    let (reader, range) = (index.reader(), 0..world.entries());
    let mut others = 0;
    for (tenant, reference) in references() {
        for direction in [Ascending, Descending] {
            let found = collected(reader.referring(tenant, reference, range.clone(), direction));
            let numbers: BTreeSet<_> = found.iter().copied().collect();
            assert_eq!(numbers.len(), found.len(), "each once");
            assert!(found.is_sorted_by(|a, b| (a < b) == (direction == Ascending)));
            let expected = world.referring(tenant, reference, &range, direction);
            assert!(expected.iter().all(|number| numbers.contains(number)));
            others += numbers.len() - expected.len();
        }
    }
    assert!(others > 1_000, "few hashes met");
}

#[test]
fn missing_entries_are_refused_and_known_ones_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let (world, mut index) = (World::new(61, 5, 20), open(folder.path()));
    let refused = world.try_add(&mut index, 1).unwrap_err();
    assert!(matches!(refused, IndexError::Gap { covers: 0, first: 1.. }));
    world.add(&mut index, 0..3);
    world.add_all(&mut index);
    check(&world, &index.reader(), world.entries(), &mut Random(1));
}

#[test]
fn adding_ends_when_runs_cannot_be_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (world, mut index) = (World::new(81, 200, 20), open(folder.path()));
    std::fs::remove_dir_all(folder.path()).unwrap();
    let refused = (0..200).find_map(|block| world.try_add(&mut index, block).err());
    assert!(matches!(refused, Some(IndexError::Stopped(_))));
    assert!(index.close().is_err());
}
