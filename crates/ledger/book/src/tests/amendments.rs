//! Overdrafts that change, and accounts that are closed and opened again.

use super::*;
use crate::AmendmentStatus::{self, *};
use crate::{AmendmentAt, TransferStatus as T};

/// Each row breaks its own rule and all that can be broken of those below it.
#[test]
fn a_change_gets_the_first_refusal_that_applies() {
    let mut bench = Bench::new();
    bench.open(Account { limit: 1, overdraft: 30, ..account(10) });
    bench.accept(transfer(1, 10, OTHER, 10));
    bench.accept(hold(2, 10, OTHER, 20));
    bench.accept(transfer(3, OUTSIDE, CUSTOMER, 5));
    let table = [
        (AccountNotFound, 777, true, 5),
        (OverdraftNeedsLimit, OTHER, true, 5),
        (OverdraftBelowUsed, 10, true, 29),
        (AccountHasHolds, 10, true, 30),
        (BalanceMustBeZero, OUTSIDE, true, 0),
    ];
    let mut seen = vec![Updated];
    for (status, account, is_closed, overdraft) in table {
        let outcome = bench.amend(account, is_closed, overdraft);
        assert_eq!(outcome, Outcome::refused(status.number()), "{status:?}");
        seen.push(status);
    }
    assert_eq!(seen, AmendmentStatus::ALL);
}

#[test]
fn a_closed_account_takes_part_in_nothing_until_it_is_opened_again() {
    let mut bench = Bench::new();
    bench.accept(hold(1, OUTSIDE, CUSTOMER, 10));
    assert_eq!(bench.amend(CUSTOMER, true, 0).status, AccountHasHolds.number());
    bench.accept(post(2, 1));
    assert_eq!(bench.amend(CUSTOMER, true, 0).status, BalanceMustBeZero.number());
    bench.accept(transfer(3, CUSTOMER, OTHER, 10));
    bench.close(CUSTOMER);
    assert!(bench.state_of(tenant(0), CUSTOMER).unwrap().is_closed);

    assert_eq!(bench.transfer(transfer(4, OUTSIDE, CUSTOMER, 1)), refused(T::CreditAccountClosed));
    assert_eq!(bench.transfer(hold(5, CUSTOMER, OTHER, 1)), refused(T::DebitAccountClosed));
    assert!(bench.amend(CUSTOMER, false, 0).is_created());
    bench.accept(transfer(6, OUTSIDE, CUSTOMER, 1));
    // What was refused while it was closed stays refused.
    let again = bench.transfer(transfer(4, OUTSIDE, CUSTOMER, 1));
    assert_eq!(again, refused(T::IdAlreadyFailed));
}

#[test]
fn what_is_so_already_is_not_recorded_again() {
    let mut bench = Bench::new();
    let before = bench.block.len();
    let first = bench.amend(CUSTOMER, true, 7);
    assert_ne!(first.at, Timestamp::default());
    let again = bench.amend(CUSTOMER, true, 7);
    assert_eq!(again, Outcome { at: Timestamp::default(), ..first });
    assert_eq!(bench.block.len(), before + 1);
    let Entry::Amendment(recorded) = bench.entries(before)[0] else { panic!() };
    assert_eq!((recorded.is_closed, recorded.overdraft), (true, 7));
    let number = bench.block.first + before as u64;
    let told = AmendmentAt { row: 2, number, is_closed: true, overdraft: 7 };
    assert_eq!(bench.block.effects.amendments, [told]);
}

#[test]
fn an_overdraft_counts_from_when_it_is_changed() {
    let mut bench = Bench::new();
    assert_eq!(bench.transfer(transfer(1, CUSTOMER, OTHER, 5)), refused(T::ExceedsCredits));
    assert!(bench.amend(CUSTOMER, false, 5).is_created());
    bench.accept(transfer(2, CUSTOMER, OTHER, 5));
    assert_eq!(bench.amend(CUSTOMER, false, 4).status, OverdraftBelowUsed.number());
    bench.accept(transfer(3, OUTSIDE, CUSTOMER, 5));
    assert!(bench.amend(CUSTOMER, false, 0).is_created());
    assert_eq!(bench.transfer(transfer(4, CUSTOMER, OTHER, 1)), refused(T::ExceedsCredits));
}

#[test]
fn a_tenant_that_was_never_seen_has_no_accounts_and_is_not_recorded() {
    let mut bench = Bench::new();
    let before = bench.block.len();
    let (account, created_at) = (OUTSIDE.into(), Timestamp::default());
    let asked = Amendment { tenant: 0, account, is_closed: true, overdraft: 0, created_at };
    let mut outcomes = Vec::new();
    bench.book.amend_accounts(&mut bench.block, tenant(1), &[asked], &mut outcomes);
    assert_eq!(outcomes, [Outcome::refused(AccountNotFound.number())]);
    assert_eq!(bench.block.len(), before);
}
