//! The ledger against the model, over many seeds.
#![allow(clippy::unwrap_used)]

use simulation::OPERATIONS;

/// B-29, B-30, B-31, K-08, L-48, L-80: whatever clients send and disks do, what was acknowledged
/// stays, is proved and is what the rules say; and damage is refused by name.
#[test]
fn histories_of_200_seeds_are_those_of_the_model() {
    let report =
        simulation::run_all(0..200, OPERATIONS).unwrap_or_else(|failure| panic!("{failure}"));

    println!("{report}");
    assert!(report.operations >= 200 * OPERATIONS);
    // Two statuses are out of reach: there are never 2^27 accounts, nor groups of 8,190 holds.
    let unreached = [("account", "ACCOUNTS_EXHAUSTED"), ("transfer", "CHAINS_EXCEED_BATCH")];
    assert_eq!(report.unanswered(), unreached);
    for (what, count) in [
        ("crashes", report.crashes),
        ("other faults", report.faults),
        ("refused damages", report.refused),
        ("batches sent again", report.again),
    ] {
        assert!(count > 200, "only {count} {what}");
    }
}

/// A failure can be looked at again.
#[test]
fn a_seed_gives_the_same_history_each_time() {
    let once = simulation::run(7, OPERATIONS, None).unwrap();
    let again = simulation::run(7, OPERATIONS, None).unwrap();

    assert_eq!(once, again);
}
