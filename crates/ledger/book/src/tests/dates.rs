//! Transfers that count from before they were created.

use super::*;
use crate::Backdated;
use crate::TransferStatus::*;

#[test]
fn a_transfer_counts_from_now_on_unless_it_says_otherwise() {
    let mut bench = Bench::new();
    bench.at(9 * SECOND);
    let first = bench.block.first;
    let long_ago = Timestamp::from_nanos(3);
    bench.accept(transfer(1, OUTSIDE, OTHER, 5));
    bench.accept(Transfer { effective_at: long_ago, ..transfer(2, OUTSIDE, OTHER, 7) });

    let recorded = bench.recorded(0);
    assert_eq!(recorded[0].effective_at, recorded[0].created_at);
    assert_eq!(recorded[1].effective_at, long_ago);
    let told =
        |row, side| Backdated { row, side, effective_at: long_ago, number: first + 1, amount: 7 };
    assert_eq!(bench.block.effects.backdated, [told(0, 0), told(1, 1)]);
}

#[test]
fn only_what_is_posted_is_backdated() {
    let mut bench = Bench::new();
    let effective_at = Timestamp::from_nanos(3);
    bench.accept(Transfer { effective_at, ..hold(1, OUTSIDE, OTHER, 50) });
    bench.accept(Transfer { effective_at, ..hold(2, OUTSIDE, OTHER, 50) });
    bench.accept(Transfer { effective_at, ..void(3, 1) });
    assert_eq!(bench.block.effects.backdated, []);
    bench.accept(Transfer { effective_at, amount: 20, ..post(4, 2) });
    let amounts: Vec<_> = bench.block.effects.backdated.iter().map(|it| it.amount).collect();
    assert_eq!(amounts, [20, 20]);
}

/// The time of an entry is that of its block and a nanosecond for each entry before it.
#[test]
fn the_future_begins_after_the_time_of_creation() {
    let mut bench = Bench::new();
    bench.at(9 * SECOND);
    let now = |bench: &Bench| bench.block.next_time();
    let at = now(&bench).next();
    let early = Transfer { effective_at: at, ..transfer(1, OUTSIDE, OTHER, 5) };
    assert_eq!(bench.transfer(early), refused(EffectiveAtMustNotBeInTheFuture));
    let at = now(&bench);
    bench.accept(Transfer { effective_at: at, ..transfer(2, OUTSIDE, OTHER, 5) });
    assert_eq!(bench.block.effects.backdated, []);
}

#[test]
fn the_same_again_has_the_same_date() {
    let mut bench = Bench::new();
    let effective_at = Timestamp::from_nanos(3);
    let dated = Transfer { effective_at, ..transfer(1, OUTSIDE, OTHER, 5) };
    bench.accept(dated);
    assert!(is_existing(&bench.transfer(dated)));
    let now = Transfer { effective_at: Timestamp::default(), ..dated };
    assert_eq!(bench.transfer(now), refused(ExistsWithDifferentEffectiveAt));
    let created = bench.accept(transfer(2, OUTSIDE, OTHER, 5));
    let named = Transfer { effective_at: created.at, ..transfer(2, OUTSIDE, OTHER, 5) };
    assert!(is_existing(&bench.transfer(named)));
}
