//! Linked groups of transfers.

use super::*;
use crate::TransferStatus::*;

#[test]
fn a_group_with_a_refused_member_leaves_no_trace_but_its_final_refusal() {
    let mut bench = Bench::new();
    bench.accept(brief_hold(1, 50, 60));
    let mut expected = bench.fork();

    let outcomes = bench.transfers(&[
        linked(transfer(2, OUTSIDE, CUSTOMER, 10)),
        linked(post(3, 1)),
        linked(brief_hold(4, 5, 1)),
        linked(transfer(5, CUSTOMER, OTHER, 11)),
        linked(transfer(6, OUTSIDE, OTHER, 1)),
        transfer(7, OUTSIDE, OTHER, 1),
        transfer(8, OUTSIDE, OTHER, 1),
    ]);

    let (failed, caused) = (refused(LinkedEventFailed), refused(ExceedsCredits));
    assert_eq!(outcomes[..6], [failed, failed, failed, caused, failed, failed]);
    assert!(outcomes[6].is_created(), "the group ends before it");

    // But for the refusal and the transfer after the group nothing has changed.
    expected.transfer(transfer(5, CUSTOMER, OTHER, 11));
    expected.accept(transfer(8, OUTSIDE, OTHER, 1));
    assert_eq!(bench.block, expected.block);
    assert_eq!(facts(&bench.book), facts(&expected.book));
    assert_eq!(bench.transfer(transfer(5, OUTSIDE, OTHER, 1)), refused(IdAlreadyFailed));
    for number in [2, 3, 4, 6, 7] {
        bench.accept(transfer(number, OUTSIDE, OTHER, 1));
    }
    bench.accept(post(9, 1));
}

#[test]
fn members_see_what_those_before_them_did() {
    let mut bench = Bench::new();
    let before = bench.block.len();
    let outcomes = bench.transfers(&[
        linked(transfer(1, OUTSIDE, CUSTOMER, 10)),
        linked(hold(2, CUSTOMER, OTHER, 10)),
        post(3, 2),
    ]);
    assert!(outcomes.iter().all(Outcome::is_created), "{outcomes:?}");
    assert_eq!(bench.balances(CUSTOMER), [0, 10, 0, 10]);
    let flags: Vec<_> = bench.recorded(before).iter().map(|transfer| transfer.flags).collect();
    assert_eq!(flags, [flag::LINKED, flag::LINKED, 0]);
}

#[test]
fn an_open_group_is_refused_by_its_last_member() {
    let mut bench = Bench::new();
    let group = [linked(transfer(1, OUTSIDE, OTHER, 1)), linked(transfer(2, OUTSIDE, OTHER, 1))];
    let outcomes = bench.transfers(&group);
    assert_eq!(outcomes, [LinkedEventFailed, LinkedEventChainOpen].map(refused));
    assert_eq!(bench.balances(OTHER), [0; 4]);
}

/// A caller that lost the answer sends the group again and learns that it was accepted.
#[test]
fn a_group_sent_again_exists_as_a_whole() {
    let mut bench = Bench::new();
    let group = [linked(transfer(1, OUTSIDE, OTHER, 1)), transfer(2, OUTSIDE, OTHER, 1)];
    let created = bench.transfers(&group);
    let status = Exists.number();
    let existing: Vec<_> = created.iter().map(|outcome| Outcome { status, ..*outcome }).collect();
    assert_eq!(bench.transfers(&group), existing);
    assert_eq!(bench.balances(OTHER), [0, 0, 0, 2]);
}

/// What the group itself would have created does not exist.
#[test]
fn a_group_that_names_an_id_twice_is_refused_and_leaves_nothing() {
    let mut bench = Bench::new();
    let failed = refused(LinkedEventFailed);
    bench.accept(transfer(1, OUTSIDE, OTHER, 1));
    let twice = [
        linked(transfer(1, OUTSIDE, OTHER, 1)),
        linked(transfer(2, OUTSIDE, OTHER, 1)),
        transfer(2, OUTSIDE, OTHER, 1),
    ];
    let before = bench.block.len();
    for _ in 0..2 {
        let mut group = [twice[1], twice[2]];
        group[1].flags = 0;
        assert_eq!(bench.transfers(&group), [failed; 2]);
        let outcomes = bench.transfers(&twice);
        assert!(is_existing(&outcomes[0]), "it is there: {outcomes:?}");
        assert_eq!(outcomes[1..], [failed; 2]);
    }
    assert_eq!(bench.block.len(), before);
    assert_eq!(bench.balances(OTHER), [0, 0, 0, 1]);
}

#[test]
fn a_group_of_which_only_a_part_exists_is_refused() {
    let mut bench = Bench::new();
    bench.accept(transfer(1, OUTSIDE, OTHER, 1));
    for (first, second) in [(1, 2), (2, 1)] {
        let group =
            [linked(transfer(first, OUTSIDE, OTHER, 1)), transfer(second, OUTSIDE, OTHER, 1)];
        let outcomes = bench.transfers(&group);
        let (old, new) = if first == 2 { (1, 0) } else { (0, 1) };
        assert!(is_existing(&outcomes[old]), "{outcomes:?}");
        assert_eq!(outcomes[new], refused(LinkedEventFailed));
    }
    assert_eq!(bench.balances(OTHER), [0, 0, 0, 1]);
    bench.accept(transfer(2, OUTSIDE, OTHER, 1));
}

/// A group may begin in one chunk of a batch and end in the next.
#[test]
fn a_group_is_of_any_length() {
    let mut bench = Bench::new();
    let mut group: Vec<_> =
        (1..=400).map(|number| linked(transfer(number, OUTSIDE, OTHER, 1))).collect();
    group.push(transfer(401, CUSTOMER, OTHER, 1));
    let outcomes = bench.transfers(&group);
    assert!(outcomes[..400].iter().all(|outcome| *outcome == refused(LinkedEventFailed)));
    assert_eq!(outcomes[400], refused(ExceedsCredits));
    assert_eq!(bench.balances(OTHER), [0; 4]);

    group[400] = transfer(402, OUTSIDE, OTHER, 1);
    assert!(bench.transfers(&group).iter().all(Outcome::is_created));
    assert_eq!(bench.balances(OTHER), [0, 0, 0, 401]);
}
