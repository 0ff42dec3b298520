//! Linked groups of transfers.

use super::*;
use crate::domain::TransferRefusal::*;
use crate::domain::{AccountRefusal, Record};

fn linked(new: NewTransfer) -> NewTransfer {
    NewTransfer { linked: true, ..new }
}

#[test]
fn a_group_with_a_refused_member_leaves_no_trace_but_its_final_refusal() {
    let mut bench = Bench::new();
    bench.accept(&brief_hold(1, 50, 60));
    let before = bench.clone();

    let outcomes = bench.transfers(&[
        linked(transfer(2, OUTSIDE, CUSTOMER, 10)),
        linked(post(3, 1)),
        linked(brief_hold(4, 5, 1)),
        linked(transfer(5, CUSTOMER, OTHER, 11)),
        linked(transfer(6, OUTSIDE, OTHER, 1)),
        transfer(7, OUTSIDE, OTHER, 1),
        transfer(8, OUTSIDE, OTHER, 1),
    ]);

    let failed = Outcome::Refused(LinkedEventFailed);
    let caused = Outcome::Refused(ExceedsCredits);
    assert_eq!(outcomes[..6], [failed, failed, failed, caused, failed, failed]);
    assert!(matches!(outcomes[6], Outcome::Created(_)), "the group ends before it");
    let recorded = &bench.block.records[before.block.records.len()..];
    assert!(matches!(recorded[0], Record::Refusal { refusal: ExceedsCredits, .. }));
    assert_eq!(recorded.len(), 2);

    // But for the refusal and the transfer after the group nothing has changed.
    let mut expected = before;
    expected.transfer(&transfer(5, CUSTOMER, OTHER, 11));
    expected.accept(&transfer(8, OUTSIDE, OTHER, 1));
    assert_eq!(bench.balances(OUTSIDE), expected.balances(OUTSIDE));
    assert_eq!(bench.state.next_expiry(), expected.state.next_expiry());
    assert_eq!(bench.transfer(&transfer(5, OUTSIDE, OTHER, 1)), Outcome::Refused(IdAlreadyFailed));
    for number in [2, 3, 4, 6, 7] {
        assert!(bench.state.transfer(tenant(0), id(number)).is_none());
        bench.accept(&transfer(number, OUTSIDE, OTHER, 1));
    }
    bench.accept(&post(9, 1));
}

#[test]
fn members_see_what_those_before_them_did() {
    let mut bench = Bench::new();
    let outcomes = bench.transfers(&[
        linked(transfer(1, OUTSIDE, CUSTOMER, 10)),
        linked(hold(2, CUSTOMER, OTHER, 10)),
        post(3, 2),
    ]);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Created(_))), "{outcomes:?}");
    assert_eq!(bench.balances(CUSTOMER), [0, 10, 0, 10]);
}

#[test]
fn an_open_group_is_refused_by_its_last_member() {
    let mut bench = Bench::new();
    let group = [linked(transfer(1, OUTSIDE, OTHER, 1)), linked(transfer(2, OUTSIDE, OTHER, 1))];
    let outcomes = bench.transfers(&group);
    assert_eq!(outcomes, [LinkedEventFailed, LinkedEventChainOpen].map(Outcome::Refused));
    assert_eq!(bench.balances(OTHER), [0; 4]);
}

/// A caller that lost the answer sends the group again and learns that it was accepted.
#[test]
fn a_group_sent_again_exists_as_a_whole() {
    let mut bench = Bench::new();
    let group = [linked(transfer(1, OUTSIDE, OTHER, 1)), transfer(2, OUTSIDE, OTHER, 1)];
    let created = bench.transfers(&group);
    let existing = created.into_iter().map(|outcome| match outcome {
        Outcome::Created(at) => Outcome::Exists(at),
        outcome => outcome,
    });
    let existing: Vec<_> = existing.collect();
    assert_eq!(bench.transfers(&group), existing);
    assert_eq!(bench.balances(OTHER), [0, 0, 0, 2]);
}

/// What the group itself would have created does not exist.
#[test]
fn a_group_that_names_an_id_twice_is_refused_and_leaves_nothing() {
    let mut bench = Bench::new();
    let failed = Outcome::Refused(LinkedEventFailed);
    bench.accept(&transfer(1, OUTSIDE, OTHER, 1));
    let twice = [
        linked(transfer(1, OUTSIDE, OTHER, 1)),
        linked(transfer(2, OUTSIDE, OTHER, 1)),
        transfer(2, OUTSIDE, OTHER, 1),
    ];
    for _ in 0..2 {
        assert_eq!(bench.transfers(&twice[1..]), [failed; 2]);
        let outcomes = bench.transfers(&twice);
        assert!(matches!(outcomes[0], Outcome::Exists(_)), "it is there: {outcomes:?}");
        assert_eq!(outcomes[1..], [failed; 2]);
    }
    assert!(bench.state.transfer(tenant(0), id(2)).is_none());
    assert_eq!(bench.balances(OTHER), [0, 0, 0, 1]);

    let twice = [NewAccount { linked: true, ..account(50) }, account(50)];
    let outcomes = bench.state.create_accounts(tenant(0), &twice, &mut bench.block);
    assert_eq!(outcomes, [Outcome::Refused(AccountRefusal::LinkedEventFailed); 2]);
    assert!(bench.state.account(tenant(0), id(50)).is_none());
}

#[test]
fn a_group_of_which_only_a_part_exists_is_refused() {
    let mut bench = Bench::new();
    bench.accept(&transfer(1, OUTSIDE, OTHER, 1));
    for new_first in [false, true] {
        let (first, second) = if new_first { (2, 1) } else { (1, 2) };
        let group =
            [linked(transfer(first, OUTSIDE, OTHER, 1)), transfer(second, OUTSIDE, OTHER, 1)];
        let outcomes = bench.transfers(&group);
        let (old, new) = if new_first { (1, 0) } else { (0, 1) };
        assert!(matches!(outcomes[old], Outcome::Exists(_)), "{outcomes:?}");
        assert_eq!(outcomes[new], Outcome::Refused(LinkedEventFailed));
    }
    assert_eq!(bench.balances(OTHER), [0, 0, 0, 1]);
    assert!(bench.state.transfer(tenant(0), id(2)).is_none());
}
