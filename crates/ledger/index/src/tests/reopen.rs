//! What is on disk is trusted only when it is whole; otherwise the index is built again.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::answers::check;
use super::world::{Random, World};
use super::{BOOT, TINY, open, open_with};
use crate::manifest::Boot;
use crate::store::Sizes;
use crate::{Index, IndexError, Side};

const OTHER_BOOT: Boot = [b'b'; 36];

/// A folder with an index of a world: closed, or killed with a part of it in memory.
fn built(seed: u64, is_closed: bool) -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let (world, mut index) = (World::new(seed, 120, 40), open(folder.path()));
    if is_closed {
        world.add_all(&mut index);
        index.close().unwrap();
    } else {
        world.add(&mut index, 0..60);
        drop(index);
        let sizes = Sizes { store: usize::MAX, wait: usize::MAX, ..TINY };
        world.add_all(&mut open_with(folder.path(), sizes));
    }
    (folder, world)
}

/// Adds everything again to what was found, and compares all answers.
fn check_after_adding(index: &mut Index, world: &World) {
    world.add_all(index);
    assert_eq!(index.covers(), world.entries());
    check(world, &index.reader(), world.entries(), &mut Random(3));
}

fn runs(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut runs: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
    runs.sort();
    runs
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn closed_index_has_everything_also_after_a_boot() {
    for boot in [BOOT, OTHER_BOOT] {
        let (folder, world) = built(101, true);
        let mut index = Index::open_with(folder.path(), TINY, boot).unwrap();
        assert_eq!(index.covers(), world.entries());
        check_after_adding(&mut index, &world);
    }
}

#[test]
fn killed_index_has_what_was_stored() {
    let (folder, world) = built(102, false);
    let mut index = open(folder.path());
    assert!(index.covers() > 0 && index.covers() < world.entries());
    let covers = index.covers();
    check(&world, &index.reader(), covers, &mut Random(2));
    check_after_adding(&mut index, &world);
}

/// A block is added while it is written: only when the next one comes is it durable for sure.
#[test]
fn newest_block_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (world, mut index) = (World::new(104, 120, 40).in_one_block(60), open(folder.path()));
    world.add_all(&mut index);
    thread::sleep(Duration::from_millis(50));
    drop(index);
    let covers = open(folder.path()).covers();
    assert!(covers > 0 && covers < world.entries());
}

/// The journal may begin with a block of which the index has a part.
#[test]
fn rest_of_a_block_is_added() {
    let (folder, world) = built(103, false);
    let (mut index, world) = (open(folder.path()), world.in_one_block(30));
    assert!(index.covers() > 0 && index.covers() < world.entries());
    check_after_adding(&mut index, &world);
}

#[test]
fn index_that_was_not_closed_is_not_trusted_after_a_boot() {
    const UNKNOWN: Boot = [0; 36];
    for (boot_before, boot) in [(BOOT, OTHER_BOOT), (BOOT, UNKNOWN), (UNKNOWN, UNKNOWN)] {
        let (folder, world) = (tempfile::tempdir().unwrap(), World::new(104, 120, 40));
        world.add_all(&mut Index::open_with(folder.path(), TINY, boot_before).unwrap());
        let mut index = Index::open_with(folder.path(), TINY, boot).unwrap();
        assert_eq!(index.covers(), 0);
        assert_eq!(runs(folder.path()), Vec::<PathBuf>::new());
        check_after_adding(&mut index, &world);
    }
}

#[test]
fn index_with_a_missing_or_cut_run_is_built_again() {
    let damages: [fn(&Path); 3] = [
        |run| fs::remove_file(run).unwrap(),
        |run| {
            let file = fs::OpenOptions::new().write(true).open(run).unwrap();
            file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        },
        |run| flip(run, fs::metadata(run).unwrap().len() as usize - 20),
    ];
    for damage in damages {
        let (folder, world) = built(105, true);
        let runs = runs(folder.path());
        damage(&runs[runs.len() / 2]);
        let mut index = open(folder.path());
        assert_eq!(index.covers(), 0);
        check_after_adding(&mut index, &world);
    }
}

#[test]
fn index_with_a_damaged_manifest_is_built_again() {
    let (folder, world) = built(106, true);
    let path = folder.path().join("manifest");
    let whole = fs::read(&path).unwrap();
    let mut cases: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    cases.extend((0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    }));
    for bytes in cases {
        fs::write(&path, bytes).unwrap();
        assert!(crate::manifest::Manifest::read(folder.path(), BOOT).is_none());
    }
    let mut index = open(folder.path());
    assert_eq!(index.covers(), 0);
    check_after_adding(&mut index, &world);
}

/// L-80: a flipped bit is never an answer.
#[test]
fn damaged_page_is_found_when_it_is_read() {
    let (folder, _) = built(107, true);
    for run in runs(folder.path()) {
        flip(&run, 5);
    }
    let index = open(folder.path());
    let asked = index.reader().balance(0, Side::Debit, index.covers());
    assert!(matches!(asked, Err(IndexError::Damaged { page: 0, .. })));
}

#[test]
fn runs_that_nothing_lists_are_removed() {
    let (folder, world) = built(108, true);
    let stray = folder.path().join("00000000000fffff.run");
    fs::write(&stray, "left behind").unwrap();
    let index = open(folder.path());
    assert!(!stray.exists());
    assert_eq!(index.covers(), world.entries());
}
