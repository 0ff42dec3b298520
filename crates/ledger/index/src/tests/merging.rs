//! Runs of many pages and chunks.

use std::path::Path;
use std::sync::Arc;

use super::world::Random;
use crate::merge::{Merge, chunk_records, merge_in_memory};
use crate::record::{Keyspace, Record, key};
use crate::run::{Page, Run, RunWriter};

const RUNS: u64 = 5;
const RECORDS: usize = 20_000;

/// Random records of a run. The sums, when there are some, are amounts still.
fn amounts(keyspace: Keyspace, random: &mut Random) -> Vec<Record> {
    let sides = 1 + random.below(3);
    let record = |_| {
        let number = random.below(1 << 36);
        match keyspace {
            Keyspace::References => [random.below(sides), number, 0],
            Keyspace::Backdated => [random.below(sides) << 36 | number, number % 7, 0],
            _ => [random.below(sides) << 36 | number, number, number % 7],
        }
    };
    let mut records: Vec<_> = (0..RECORDS).map(record).collect();
    records.sort_unstable_by_key(key);
    records
}

#[test]
fn merged_run_is_that_of_all_records() {
    for keyspace in Keyspace::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (mut random, mut expected, mut runs) = (Random(9), Vec::new(), Vec::new());
        for number in 0..RUNS {
            let mut records = amounts(keyspace, &mut random);
            expected.extend_from_slice(&records);
            keyspace.sum_up(None, &mut records);
            let run = Run::memory(keyspace, number..number + 1, records);
            runs.push(if number % 2 == 0 { Arc::new(run) } else { stored(folder.path(), run) });
        }
        expected.sort_unstable_by_key(key);
        keyspace.sum_up(None, &mut expected);
        let merged = merge_in_memory(&runs).unwrap();
        assert_eq!(merged.numbers, 0..RUNS);
        for run in [Arc::new(merge_in_memory(&runs).unwrap()), stored(folder.path(), merged)] {
            check(&run, &expected, &mut random);
        }
    }
}

/// The same run in a file, opened again.
fn stored(folder: &Path, run: Run) -> Arc<Run> {
    let (keyspace, number, numbers) = (run.keyspace, run.numbers.start, run.numbers.clone());
    let mut writer = RunWriter::create(folder, keyspace, number, 1).unwrap();
    let runs = [Arc::new(run)];
    let mut merge = Merge::new(&runs).unwrap();
    loop {
        let mut records = Vec::new();
        merge.take(chunk_records(keyspace), &mut records).unwrap();
        if records.is_empty() {
            break;
        }
        writer.write(&records).unwrap();
    }
    let written = writer.finish(numbers).unwrap();
    Arc::new(Run::open(folder, &written.entry().unwrap()).unwrap())
}

fn check(run: &Run, expected: &[Record], random: &mut Random) {
    let mut page = Page::default();
    for (place, record) in expected.iter().enumerate() {
        assert_eq!(run.record(place, &mut page).unwrap(), *record);
        assert_eq!(run.key(place, &mut page).unwrap(), key(record));
    }
    for _ in 0..2_000 {
        let near = key(&expected[random.place(expected.len())]);
        for bound in [near, near + 1, near - 1] {
            let below = expected.partition_point(|record| key(record) < bound);
            assert_eq!(run.lower_bound(bound, &mut page).unwrap(), below);
        }
    }
}
