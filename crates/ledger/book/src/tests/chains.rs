//! Posting and voiding whole linked groups of holds.

use super::*;
use crate::TransferStatus::*;

/// A group of holds 1 and 3 with a plain transfer between, and hold 4 on its own.
fn bench() -> Bench {
    let mut bench = Bench::new();
    let outcomes = bench.transfers(&[
        linked(hold(1, OUTSIDE, OTHER, 10)),
        linked(transfer(2, OUTSIDE, OTHER, 100)),
        hold(3, OTHER, OUTSIDE, 30),
        hold(4, OUTSIDE, OTHER, 1_000),
    ]);
    assert!(outcomes.iter().all(Outcome::is_created));
    bench
}

#[test]
fn every_hold_of_the_group_is_posted_whichever_was_named() {
    for (named, is_later_block) in [(1, false), (3, false), (1, true), (3, true)] {
        let mut bench = bench();
        if is_later_block {
            bench.at(2 * SECOND);
        }
        let before = bench.block.len();
        let outcome = bench.accept(chain(post(10, named)));

        assert_eq!(bench.balances(OUTSIDE), [1_000, 110, 0, 30]);
        let recorded = bench.recorded(before);
        assert_eq!(outcome, Outcome::created(recorded[0].created_at, 0));
        let posts: Vec<_> = recorded.iter().map(|it| (it.kind, it.hold, it.amount)).collect();
        let kind = Kind::PostPending;
        assert_eq!(posts, [(kind, 1.into(), 10), (kind, 3.into(), 30)]);
        let flags: Vec<_> = recorded.iter().map(|it| it.flags).collect();
        assert_eq!(flags, [flag::CHAIN | flag::LINKED, flag::CHAIN]);
        assert_eq!(recorded[0].id, 10.into());
    }
}

#[test]
fn ids_after_the_first_are_derived_from_those_of_the_item_and_the_hold() {
    let mut bench = bench();
    let before = bench.block.len();
    bench.accept(chain(void(10, 1)));
    let second = bench.recorded(before)[1].id;
    // Worked out by another program: the SHA-256 of "malha chain" and both ids.
    assert_eq!(second.number(), 0xb340_f289_6d2b_5221_41c5_82ca_9f66_8602);
}

#[test]
fn a_voided_group_leaves_nothing_on_hold_but_what_was_not_of_it() {
    let mut bench = bench();
    bench.accept(chain(void(10, 3)));
    assert_eq!(bench.balances(OUTSIDE), [1_000, 100, 0, 0]);
    assert_eq!(bench.balances(OTHER), [0, 0, 1_000, 100]);
    // A hold on its own is a group of one.
    bench.accept(chain(void(11, 4)));
    assert_eq!(bench.balances(OUTSIDE), [0, 100, 0, 0]);
}

#[test]
fn a_chain_sent_again_exists_whichever_hold_it_names() {
    let mut bench = bench();
    let created = bench.accept(chain(post(10, 3)));
    for _ in 0..2 {
        for named in [1, 3] {
            let again = bench.transfer(chain(post(10, named)));
            assert_eq!(again, Outcome { status: Exists.number(), ..created });
        }
        bench.at(2 * SECOND);
    }
    assert_eq!(bench.transfer(chain(post(10, 4))), refused(ExistsWithDifferentPendingId));
    assert_eq!(bench.transfer(chain(post(10, 777))), refused(ExistsWithDifferentPendingId));
    assert_eq!(bench.transfer(post(10, 1)), refused(ExistsWithDifferentFlags));
    assert_eq!(bench.transfer(chain(void(10, 1))), refused(ExistsWithDifferentKind));
}

/// The first refusal of any hold is the item's, and is recorded under its id alone.
#[test]
fn a_group_of_which_a_hold_has_ended_is_settled_not_at_all() {
    let mut bench = bench();
    bench.accept(void(5, 3));
    let mut expected = bench.fork();

    let outcome = bench.transfer(chain(post(10, 1)));

    assert_eq!(outcome, refused(PendingTransferAlreadyVoided));
    assert_eq!(bench.block.len(), 1);
    assert_eq!(bench.transfer(chain(post(10, 1))), refused(IdAlreadyFailed));
    // The hold before it is as it was.
    expected.transfer(transfer(10, CUSTOMER, OTHER, 1));
    expected.accept(post(11, 1));
    bench.accept(post(11, 1));
    assert_eq!(facts(&bench.book), facts(&expected.book));
    // One that has ended itself says so as well.
    assert_eq!(bench.transfer(chain(post(12, 3))), refused(PendingTransferAlreadyVoided));
}

#[test]
fn a_chain_names_a_hold_and_nothing_that_differs_between_holds() {
    let mut bench = bench();
    let named = chain(post(10, 1));
    for bad in [
        Transfer { amount: 10, ..named },
        Transfer { debit: OUTSIDE.into(), ..named },
        Transfer { credit: OTHER.into(), ..named },
    ] {
        assert_eq!(bench.transfer(bad), refused(ChainMustNotNameAmountOrAccounts));
    }
    let other = Transfer { code: 9, ..named };
    assert_eq!(bench.transfer(other), refused(PendingTransferHasDifferentCode));
    let other = Transfer { ledger: 840, ..named };
    assert_eq!(bench.transfer(other), refused(PendingTransferHasDifferentLedger));
    let not_pending = Transfer { hold: 2.into(), ..named };
    assert_eq!(bench.transfer(not_pending), refused(PendingTransferNotPending));
    let early = Transfer { effective_at: Timestamp::from_nanos(5), ..named };
    let before = bench.block.len();
    let noted = bench.transfers_of(tenant(0), [(early, note())]);
    assert!(noted[0].is_created());
    assert!(bench.recorded(before).iter().all(|it| it.effective_at == early.effective_at));
    assert_eq!(bench.block.extended.len(), 2, "each of them has the metadata");
}

#[test]
fn a_chain_is_a_member_of_its_linked_group() {
    let mut bench = bench();
    let mut expected = bench.fork();
    bench.fork();
    let bad = [linked(chain(post(10, 1))), transfer(11, CUSTOMER, OTHER, 1)];
    let failed = [LinkedEventFailed, ExceedsCredits].map(refused);
    assert_eq!(bench.transfers(&bad), failed);
    expected.transfer(bad[1]);
    let states = |bench: &Bench| bench.book.snapshot().states().collect::<Vec<_>>();
    assert_eq!(states(&bench), states(&expected));

    let before = bench.block.len();
    let good = [linked(chain(post(10, 1))), transfer(12, OUTSIDE, OTHER, 1)];
    assert!(bench.transfers(&good).iter().all(Outcome::is_created));
    let linked = bench.recorded(before).into_iter().map(|it| it.flags & flag::LINKED != 0);
    assert_eq!(linked.collect::<Vec<_>>(), [true, true, false]);
    assert!(bench.transfers(&good).iter().all(is_existing));
}

/// A group may settle its own holds.
#[test]
fn a_chain_ends_where_the_block_ends_so_far() {
    let mut bench = Bench::new();
    let group = [
        linked(hold(1, OUTSIDE, OTHER, 10)),
        linked(hold(2, OUTSIDE, OTHER, 20)),
        linked(chain(post(3, 1))),
        hold(4, OUTSIDE, OTHER, 40),
    ];
    assert!(bench.transfers(&group).iter().all(Outcome::is_created));
    assert_eq!(bench.balances(OUTSIDE), [40, 30, 0, 0]);
    assert!(bench.transfers(&group).iter().all(is_existing));
    assert_eq!(bench.transfer(chain(post(5, 4))), refused(PendingTransferAlreadyPosted));
    bench.accept(post(6, 4));
}

/// Chains multiply the work of a batch; nobody can make it endless.
#[test]
fn chains_of_a_batch_settle_no_more_holds_than_a_batch_has_items() {
    let mut bench = Bench::new();
    let group = |first: u128, count: u128| {
        let mut group: Vec<_> =
            (first..first + count).map(|it| linked(hold(it, OUTSIDE, OTHER, 1))).collect();
        group.last_mut().unwrap().flags = 0;
        group
    };
    assert!(bench.transfers(&group(1, 8_189)).iter().all(Outcome::is_created));
    assert!(bench.transfers(&group(10_000, 2)).iter().all(Outcome::is_created));
    bench.at(2 * SECOND);
    let both = [chain(post(30_000, 8_189)), chain(post(30_001, 10_000))];
    let outcomes = bench.transfers(&both);
    assert!(outcomes[0].is_created());
    assert_eq!(outcomes[1], refused(ChainsExceedBatch));
    bench.accept(both[1]);
    assert_eq!(bench.balances(OUTSIDE), [0, 8_191, 0, 0]);
    // To find out that one exists takes as long.
    assert!(is_existing(&bench.transfer(chain(post(30_000, 8_189)))));
    let again = [chain(post(30_000, 8_189)); 2];
    let outcomes = bench.transfers(&again);
    assert!(is_existing(&outcomes[0]));
    assert_eq!(outcomes[1], refused(ChainsExceedBatch));
}

#[test]
fn a_block_has_room_for_the_most_that_chains_of_a_batch_record() {
    let mut batch = Transfers::default();
    let long = Metadata::new((0..4).map(|it| (it.to_string(), "x".repeat(253)))).unwrap();
    assert_eq!(long.bytes().len(), Metadata::BYTES_MAX);
    for number in 0..8_189 {
        batch.push(chain(post(number, 1)), &long);
    }
    let mut bench = Bench::new();
    bench.at(2 * SECOND);
    assert!(bench.block.has_room(batch.room()));
    let holds: Vec<_> = (1..=8_189).map(|number| brief_hold(number, 1, 1)).collect();
    bench.transfers(&holds);
    bench.at(5 * SECOND);
    assert_eq!(bench.block.len(), 8_189);
    assert!(bench.block.has_room(batch.room()), "also after holds that ended");
    bench.transfers(&holds);
    assert!(!bench.block.has_room(Transfers::room(&{
        let mut both = batch.clone();
        (0..8_189).for_each(|number| both.push(chain(post(number, 1)), &long));
        both
    })));
}
