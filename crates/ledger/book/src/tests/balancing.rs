//! Transfers that move what there is.

use super::*;
use crate::TransferStatus::*;

fn balancing(flags: u8, new: Transfer) -> Transfer {
    Transfer { flags, ..new }
}

const DEBIT: u8 = flag::BALANCING_DEBIT;
const CREDIT: u8 = flag::BALANCING_CREDIT;

#[test]
fn it_moves_what_the_debit_account_has_up_to_what_is_asked() {
    let mut bench = Bench::new();
    bench.accept(transfer(1, OUTSIDE, CUSTOMER, 100));
    bench.accept(hold(2, CUSTOMER, OTHER, 30));
    let part = bench.accept(balancing(DEBIT, transfer(3, CUSTOMER, OTHER, 20)));
    assert_eq!(part.amount, 20);
    let all = bench.accept(balancing(DEBIT, transfer(4, CUSTOMER, OTHER, 0)));
    assert_eq!(all.amount, 50, "what is on hold is not available");
    assert_eq!(bench.balances(CUSTOMER), [30, 70, 0, 100]);
    let none = bench.transfer(balancing(DEBIT, transfer(5, CUSTOMER, OTHER, 1)));
    assert_eq!(none, refused(ExceedsCredits));
    assert_eq!(bench.recorded(0).pop().unwrap().amount, 50, "what moved is recorded");
}

#[test]
fn an_overdraft_is_available_and_an_account_without_a_limit_has_its_balance() {
    let mut bench = Bench::new();
    bench.open(Account { limit: 1, overdraft: 7, ..account(10) });
    let drawn = bench.accept(balancing(DEBIT, transfer(1, 10, OTHER, 0)));
    assert_eq!(drawn.amount, 7);
    let balance = bench.accept(balancing(DEBIT, transfer(2, OTHER, OUTSIDE, 0)));
    assert_eq!(balance.amount, 7);
    let none = bench.transfer(balancing(DEBIT, transfer(3, OTHER, OUTSIDE, 9)));
    assert_eq!(none, refused(ExceedsCredits));
}

#[test]
fn it_moves_what_the_credit_account_may_take_and_the_least_of_both() {
    let mut bench = Bench::new();
    bench.accept(transfer(1, LOAN, OTHER, 40));
    bench.accept(transfer(2, OUTSIDE, CUSTOMER, 100));
    let repaid = bench.accept(balancing(CREDIT, transfer(3, CUSTOMER, LOAN, 0)));
    assert_eq!(repaid.amount, 40);
    let none = bench.transfer(balancing(CREDIT, transfer(4, CUSTOMER, LOAN, 5)));
    assert_eq!(none, refused(ExceedsDebits));
    bench.accept(transfer(5, LOAN, OTHER, 90));
    let both = bench.accept(balancing(DEBIT | CREDIT, transfer(6, CUSTOMER, LOAN, 80)));
    assert_eq!(both.amount, 60);
    let none = bench.transfer(balancing(DEBIT | CREDIT, transfer(7, CUSTOMER, LOAN, 80)));
    assert_eq!(none, refused(ExceedsCredits));
}

#[test]
fn a_hold_balances_too_and_the_other_account_still_has_its_limit() {
    let mut bench = Bench::new();
    bench.accept(transfer(1, OUTSIDE, OTHER, 10));
    let held = bench.accept(balancing(DEBIT, hold(2, OTHER, OUTSIDE, 25)));
    assert_eq!(held.amount, 10);
    assert_eq!(bench.balances(OTHER), [10, 0, 0, 10]);
    bench.accept(transfer(3, OUTSIDE, OTHER, 10));
    let over = bench.transfer(balancing(DEBIT, transfer(4, OTHER, LOAN, 0)));
    assert_eq!(over, refused(ExceedsDebits));
    let full = transfer(5, OUTSIDE, LOAN, 0);
    assert_eq!(bench.transfer(balancing(CREDIT, full)), refused(ExceedsDebits));
}

#[test]
fn the_same_again_exists_if_no_less_is_asked_than_moved() {
    let mut bench = Bench::new();
    bench.accept(transfer(1, OUTSIDE, CUSTOMER, 100));
    let new = balancing(DEBIT, transfer(2, CUSTOMER, OTHER, 150));
    let created = bench.accept(new);
    for amount in [150, 100, 0, 400] {
        let again = bench.transfer(Transfer { amount, ..new });
        assert_eq!(again, Outcome { status: Exists.number(), ..created }, "{amount}");
    }
    let less = Transfer { amount: 99, ..new };
    assert_eq!(bench.transfer(less), refused(ExistsWithDifferentAmount));
    assert_eq!(bench.transfer(Transfer { flags: 0, ..less }), refused(ExistsWithDifferentFlags));
}
