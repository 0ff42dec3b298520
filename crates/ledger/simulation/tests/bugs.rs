//! Bugs that are planted are found.
#![allow(clippy::unwrap_used)]

use simulation::{Bug, OPERATIONS};

/// Seeds until the bug is found.
fn seeds_until_found(bug: Bug) -> u64 {
    for seed in 0..50 {
        if let Err(failure) = simulation::run(seed, OPERATIONS, Some(bug)) {
            println!("{bug:?}: {failure}");
            return seed + 1;
        }
    }
    panic!("{bug:?} was not found by 50 seeds");
}

#[test]
fn a_skipped_sync_is_found() {
    assert!(seeds_until_found(Bug::SkippedSync) <= 50);
}

#[test]
fn one_byte_too_many_cut_off_a_torn_tail_is_found() {
    assert!(seeds_until_found(Bug::CutOneByteTooMany) <= 50);
}

#[test]
fn a_forgotten_limit_is_found() {
    assert!(seeds_until_found(Bug::ForgottenLimit) <= 50);
}
