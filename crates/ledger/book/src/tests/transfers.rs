//! What accepted transfers do.

use super::*;
use crate::TransferStatus::*;

const OPEN: u128 = 100;

#[test]
fn the_same_transfer_again_exists_whether_it_names_what_it_inherited_or_not() {
    let mut bench = Bench::new();
    bench.accept(hold(OPEN, OUTSIDE, OTHER, 50));
    let part = Transfer { amount: 20, ..post(300, OPEN) };
    let created = bench.accept(part);

    let named = Transfer { kind: part.kind, hold: part.hold, ..transfer(300, OUTSIDE, OTHER, 20) };
    for again in [part, named] {
        let outcome = bench.transfer(again);
        assert!(is_existing(&outcome), "{outcome:?}");
        assert_eq!((outcome.at, outcome.amount), (created.at, 20));
    }
    // Nothing named means all of it, which is not what was posted.
    assert_eq!(bench.transfer(post(300, OPEN)), refused(ExistsWithDifferentAmount));
    let other = Transfer { code: 9, ..part };
    assert_eq!(bench.transfer(other), refused(ExistsWithDifferentCode));

    bench.accept(hold(301, OUTSIDE, OTHER, 50));
    bench.accept(post(302, 301));
    assert!(is_existing(&bench.transfer(post(302, 301))));
    assert!(is_existing(&bench.transfer(Transfer { amount: 50, ..post(302, 301) })));
}

/// The id is found in the block that is built, and in those before.
#[test]
fn what_exists_is_found_in_any_block() {
    let mut bench = Bench::new();
    let new = (transfer(1, OUTSIDE, OTHER, 5), note());
    let created = bench.transfers_of(tenant(0), [new.clone()])[0];
    for _ in 0..2 {
        let again = bench.transfers_of(tenant(0), [new.clone()])[0];
        assert!(is_existing(&again));
        assert_eq!(again.at, created.at);
        bench.at(2 * SECOND);
    }
}

#[test]
fn an_entry_was_created_as_many_nanoseconds_after_its_block_as_it_has_before_it() {
    let mut bench = Bench::new();
    bench.at(7 * SECOND);
    for number in 1..=3 {
        bench.accept(transfer(number, OUTSIDE, OTHER, 1));
        bench.transfer(transfer(number + 10, CUSTOMER, OTHER, 1));
    }
    let times: Vec<_> = bench.entries(0).iter().map(|entry| entry.created_at().nanos()).collect();
    assert!(times.into_iter().eq(7 * SECOND..7 * SECOND + 6));
}

#[test]
fn a_hold_is_posted_in_part_and_the_rest_is_released() {
    let mut bench = Bench::new();
    bench.accept(hold(OPEN, OUTSIDE, OTHER, 50));
    assert_eq!(bench.balances(OUTSIDE), [50, 0, 0, 0]);
    assert_eq!(bench.balances(OTHER), [0, 0, 50, 0]);

    bench.accept(Transfer { amount: 20, ..post(300, OPEN) });

    assert_eq!(bench.balances(OUTSIDE), [0, 20, 0, 0]);
    assert_eq!(bench.balances(OTHER), [0, 0, 0, 20]);
    let recorded = bench.recorded(0).pop().unwrap();
    let inherited = (recorded.debit, recorded.credit, recorded.ledger, recorded.code);
    assert_eq!(inherited, (OUTSIDE.into(), OTHER.into(), 986, 1));
}

#[test]
fn holds_count_against_the_limit_and_only_posted_credits_cover_it() {
    let mut bench = Bench::new();
    bench.accept(transfer(1, OUTSIDE, CUSTOMER, 100));
    bench.accept(hold(2, OUTSIDE, CUSTOMER, 900));
    bench.accept(hold(3, CUSTOMER, OTHER, 60));

    assert_eq!(bench.transfer(transfer(4, CUSTOMER, OTHER, 41)), refused(ExceedsCredits));
    bench.accept(transfer(5, CUSTOMER, OTHER, 40));
    bench.accept(void(6, 3));
    bench.accept(transfer(7, CUSTOMER, OTHER, 60));
    assert_eq!(bench.balances(CUSTOMER), [0, 100, 900, 100]);

    assert_eq!(bench.transfer(hold(8, OTHER, LOAN, 1)), refused(ExceedsDebits));
    bench.accept(transfer(9, LOAN, OTHER, 1));
    bench.accept(hold(10, OTHER, LOAN, 1));
}

#[test]
fn a_side_is_filled_to_its_greatest_balance_and_no_further() {
    let mut bench = Bench::new();
    bench.accept(hold(1, OUTSIDE, OTHER, BALANCE_MAX));
    assert_eq!(bench.transfer(transfer(2, OUTSIDE, LOAN, 1)), refused(OverflowsBalance));
    assert_eq!(bench.transfer(hold(3, CUSTOMER, OTHER, 1)), refused(OverflowsBalance));
    bench.accept(post(4, 1));
    assert_eq!(bench.balances(OTHER), [0, 0, 0, BALANCE_MAX]);
}

/// An account's overdraft widens its limit by as much, on whichever side that is.
#[test]
fn an_overdraft_can_be_used_up_and_no_more() {
    let mut bench = Bench::new();
    bench.open(Account { limit: 1, overdraft: 30, ..account(10) });
    bench.open(Account { limit: 2, overdraft: 30, ..account(11) });
    bench.accept(transfer(1, OUTSIDE, 10, 5));
    bench.accept(hold(2, 10, OTHER, 20));
    bench.accept(transfer(3, 10, OTHER, 15));
    assert_eq!(bench.transfer(transfer(4, 10, OTHER, 1)), refused(ExceedsCredits));
    bench.accept(hold(5, OTHER, 11, 30));
    assert_eq!(bench.transfer(transfer(6, OTHER, 11, 1)), refused(ExceedsDebits));

    // As much as there can be is as good as no limit.
    bench.open(Account { limit: 1, overdraft: u64::MAX, ..account(12) });
    bench.accept(transfer(7, OUTSIDE, 12, 1));
    bench.accept(transfer(8, 12, OTHER, 1_000));
}

#[test]
fn holds_end_in_order_before_the_first_item_of_a_later_block() {
    let mut bench = Bench::new();
    bench.accept(brief_hold(1, 10, 20));
    bench.accept(brief_hold(2, 20, 10));
    bench.accept(brief_hold(3, 40, 10));
    bench.accept(brief_hold(4, 80, 10));
    bench.accept(void(5, 4));
    bench.at(10 * SECOND);
    assert!(bench.block.is_empty(), "its time has not passed");
    assert_eq!(bench.balances(OUTSIDE), [70, 0, 0, 0]);

    bench.at(40 * SECOND);

    assert_eq!(bench.transfer(post(6, 1)), refused(PendingTransferExpired));
    let ended: Vec<_> = bench.entries(0).into_iter().take(3).collect();
    let ended = ended.into_iter().map(|entry| match entry {
        Entry::Expiry(expiry) => (expiry.hold, expiry.amount),
        entry => panic!("{entry:?}"),
    });
    assert!(ended.eq([(2.into(), 20), (3.into(), 40), (1.into(), 10)]));
    let pending = bench.block.effects.postings.iter().map(|posting| posting.pending);
    assert_eq!(pending.collect::<Vec<_>>(), [50, 50, 10, 10, 0, 0]);
    assert_eq!(bench.balances(OTHER), [0; 4]);
    assert_eq!(bench.book.next_expiry(), None);
}

/// So many holds may end at once that a block cannot record them all.
#[test]
fn a_hold_whose_time_has_passed_is_over_even_before_its_end_is_recorded() {
    let count = 10_000;
    let mut bench = Bench::new();
    let holds: Vec<_> = (1..=count).map(|number| brief_hold(number, 1, 1)).collect();
    assert!(bench.transfers(&holds).iter().all(Outcome::is_created));
    bench.at(5 * SECOND);
    assert_eq!(bench.block.len(), 8_192);
    assert_eq!(bench.transfer(post(20_000, count)), refused(PendingTransferExpired));
    assert!(bench.book.next_expiry().is_some());
    bench.at(5 * SECOND);
    assert_eq!(bench.block.len(), 10_000 - 8_192);
    assert_eq!(bench.balances(OUTSIDE), [0; 4]);
    assert_eq!(bench.book.next_expiry(), None);
}

/// B-56: what one tenant has is out of reach for all others.
#[test]
fn a_tenant_neither_sees_nor_moves_what_another_has() {
    let mut bench = Bench::new();
    bench.accept(hold(OPEN, OUTSIDE, OTHER, 50));
    let theirs = tenant(1);
    let create =
        |bench: &mut Bench, new| bench.transfers_of(theirs, [(new, Metadata::default())])[0];
    assert!(bench.state_of(theirs, OUTSIDE).is_none());
    let outcome = create(&mut bench, transfer(500, OUTSIDE, OTHER, 1));
    assert_eq!(outcome, refused(DebitAccountNotFound));
    assert_eq!(create(&mut bench, void(501, OPEN)), refused(PendingTransferNotFound));
    assert_eq!(create(&mut bench, chain(void(502, OPEN))), refused(PendingTransferNotFound));

    // The same ids are free for both, and what one was refused the other may do.
    let accounts = [account(OUTSIDE), account(OTHER)];
    bench.accounts_of(theirs, accounts.map(|account| (account, Metadata::default(), false)));
    assert!(create(&mut bench, transfer(OPEN, OTHER, OUTSIDE, 3)).is_created());
    bench.accept(transfer(500, OUTSIDE, OTHER, 1));
    let state = bench.state_of(theirs, OUTSIDE).unwrap();
    assert_eq!((state.debits_posted, state.credits_posted), (0, 3));
}

#[test]
fn times_only_ever_increase_even_when_the_clock_goes_back() {
    let mut bench = Bench::new();
    bench.at(100 * SECOND);
    let first = bench.accept(transfer(1, OUTSIDE, OTHER, 1));
    bench.at(50 * SECOND);
    let second = bench.accept(transfer(2, OUTSIDE, OTHER, 1));
    assert_eq!(second.at, first.at.next());
}

/// B-31: what an account had after each entry is told.
#[test]
fn postings_tell_both_sides_after_each_transfer() {
    let mut bench = Bench::new();
    bench.at(SECOND);
    let first = bench.block.first;
    bench.accept(transfer(1, OUTSIDE, OTHER, 5));
    bench.accept(hold(2, OTHER, OUTSIDE, 3));
    let postings = bench.block.effects.postings.iter();
    let told: Vec<_> = postings
        .map(|it| {
            (
                it.key >> 37,
                it.key >> 36 & 1,
                (it.key & ((1 << 36) - 1)) - first,
                it.posted,
                it.pending,
            )
        })
        .collect();
    assert_eq!(told, [(0, 0, 0, 5, 0), (1, 1, 0, 5, 0), (1, 0, 1, 0, 3), (0, 1, 1, 0, 3)]);
}

#[test]
fn others_find_ids_while_the_book_goes_on() {
    let mut bench = Bench::new();
    let lookup = bench.book.lookup();
    bench.accept(transfer(1, OUTSIDE, OTHER, 5));
    let number = lookup.tenant(tenant(0)).unwrap();
    assert_eq!(lookup.tenant(tenant(9)), None);
    let last = bench.book.entries() - 1;
    assert!(lookup.transfers(number, TransferId::from(1)).contains(&last));
    let accounts = lookup.accounts(number, AccountId::from(LOAN));
    assert!(accounts.contains(&(3, 4)), "{accounts:?}");
    assert_eq!((lookup.created_by(3), lookup.created_by(5)), (Some(4), None));
}
