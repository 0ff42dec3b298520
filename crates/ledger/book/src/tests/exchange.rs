//! Exchange of currencies: linked transfers through liquidity accounts, one per currency.

use super::*;
use crate::TransferStatus::*;

const LIQUIDITY: u128 = 20;
const LIQUIDITY_FOREIGN: u128 = 21;

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.open(account(LIQUIDITY));
    bench.open(Account { ledger: 840, limit: 1, overdraft: 1_000, ..account(LIQUIDITY_FOREIGN) });
    bench.accept(transfer(1, OUTSIDE, CUSTOMER, 600));
    bench
}

fn exchange(kind: Kind, number: u128, sold: u64, bought: u64) -> [Transfer; 2] {
    let sale = Transfer { kind, ..transfer(number, CUSTOMER, LIQUIDITY, sold) };
    let purchase = transfer(number + 1, LIQUIDITY_FOREIGN, FOREIGN, bought);
    [linked(sale), Transfer { kind, ledger: 840, ..purchase }]
}

#[test]
fn both_sides_of_an_exchange_happen_or_neither() {
    let mut bench = bench();
    let outcomes = bench.transfers(&exchange(Kind::Plain, 10, 500, 100));
    assert!(outcomes.iter().all(Outcome::is_created));
    assert_eq!(bench.balances(FOREIGN), [0, 0, 0, 100]);
    let outcomes = bench.transfers(&exchange(Kind::Plain, 20, 101, 20));
    assert_eq!(outcomes, [ExceedsCredits, LinkedEventFailed].map(refused));
    let outcomes = bench.transfers(&exchange(Kind::Plain, 30, 100, 901));
    assert_eq!(outcomes, [LinkedEventFailed, ExceedsCredits].map(refused));
    assert_eq!(bench.balances(CUSTOMER), [0, 500, 0, 600]);
    assert_eq!(bench.balances(LIQUIDITY), [0, 0, 0, 500]);
}

#[test]
fn an_exchange_on_hold_is_settled_as_one_chain() {
    let mut bench = bench();
    assert!(
        bench.transfers(&exchange(Kind::Pending, 10, 500, 100)).iter().all(Outcome::is_created)
    );
    bench.accept(chain(post(40, 11)));
    assert_eq!(bench.balances(CUSTOMER), [0, 500, 0, 600]);
    assert_eq!(bench.balances(FOREIGN), [0, 0, 0, 100]);
    let ledgers: Vec<_> = bench.recorded(0).iter().rev().take(2).map(|it| it.ledger).collect();
    assert_eq!(ledgers, [840, 986]);
}
