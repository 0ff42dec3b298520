//! Random histories against a plain reckoning.

use std::collections::BTreeMap;

use contracts::payments::v1::{Transaction, TransactionStatus, TransactionType};
use contracts::policy::Role;
use futures::future::join_all;
use money::{Currency, Money};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use tonic::Status;
use tonic_types::StatusExt;

use crate::bank::{Bank, Caller, order};
use crate::fakes::Mode;
use TransactionType::{Deposit, Transfer, Withdrawal};

const CUSTOMERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Pay { kind: TransactionType, from: usize, to: usize, cents: i64 },
    Reverse(Index),
}

/// Steps taken at once, while the ledger behaves in one way.
type Round = (Mode, Vec<Step>);

fn history() -> impl Strategy<Value = Vec<Round>> {
    let kind = prop_oneof![3 => Just(Transfer), 2 => Just(Deposit), 1 => Just(Withdrawal)];
    let pay = (kind, 0..CUSTOMERS, 1..CUSTOMERS, 1..5_000_i64).prop_map(
        |(kind, from, further, cents)| {
            let to = if kind == Transfer { (from + further) % CUSTOMERS } else { from };
            Step::Pay { kind, from, to, cents }
        },
    );
    let step = prop_oneof![4 => pay, 1 => any::<Index>().prop_map(Step::Reverse)];
    let mode =
        prop_oneof![3 => Just(Mode::Work), 1 => Just(Mode::Down), 1 => Just(Mode::LoseAnswer)];
    prop::collection::vec((mode, prop::collection::vec(step, 1..8)), 1..8)
}

/// L-34, L-36, L-59: whatever fails, money is conserved, nobody is overdrawn, what was acknowledged stays
/// true, and every payment comes to an end that the ledger agrees with.
#[test]
fn money_is_conserved_whatever_fails() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bank = runtime.block_on(Bank::start());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) };
    let history_holds = |rounds| {
        runtime.block_on(live(&bank, rounds));
        Ok(())
    };
    TestRunner::new(config).run(&history(), history_holds).unwrap();
    runtime.block_on(async { drop(bank) });
}

async fn live(bank: &Bank, rounds: Vec<Round>) {
    let customers: Vec<_> = (0..CUSTOMERS).map(|_| bank.customer()).collect();
    let operator = bank.caller(Role::Operator);
    // Each payment with what its caller was told, if it was told an end.
    let mut told: BTreeMap<String, Option<TransactionStatus>> = BTreeMap::new();
    for (mode, steps) in rounds {
        bank.ledger.set(mode);
        let known: Vec<_> = told.keys().cloned().collect();
        let steps = steps.iter().map(|step| take(step, &customers, &operator, &known));
        told.extend(join_all(steps).await.into_iter().flatten());
    }
    bank.ledger.set(Mode::Work);
    bank.recovered().await;

    let mut ended = BTreeMap::new();
    for customer in &customers {
        ended.extend(customer.list_all().await.into_iter().map(|row| (row.id.clone(), row)));
    }
    assert!(ended.keys().eq(told.keys()), "every payment is there, and no other");
    for (id, row) in &ended {
        agrees(bank, row, told[id]);
    }
    let reckoned = customers.iter().map(|customer| reckon(customer, ended.values()));
    let held = customers.iter().map(|customer| bank.balance(customer));
    assert!(reckoned.eq(held));
    assert_eq!(bank.ledger.total(), 0);
    assert!(!bank.ledger.overdrawn());
}

async fn take(
    step: &Step,
    customers: &[Caller],
    operator: &Caller,
    known: &[String],
) -> Option<(String, Option<TransactionStatus>)> {
    match step {
        Step::Pay { kind, from, to, cents } => {
            let amount = Money::new(*cents, Currency::BRL).to_string();
            let asked = order(*kind, Some(&customers[*to]), &amount);
            match customers[*from].create(asked).await {
                Ok(row) => {
                    let end = Some(row.status()).filter(|it| *it != TransactionStatus::Pending);
                    Some((row.id, end))
                }
                Err(status) => refused(&status),
            }
        }
        Step::Reverse(which) if !known.is_empty() => {
            let id = which.get(known);
            let reversed = operator.reverse(id).await.ok()?;
            Some((id.clone(), Some(reversed.status())))
        }
        Step::Reverse(_) => None,
    }
}

/// A refusal names its transaction; only one that the ledger spoke is an end. Before the settlement
/// account exists, a ledger that is down refuses without recording anything.
fn refused(status: &Status) -> Option<(String, Option<TransactionStatus>)> {
    let info = status.get_details_error_info().unwrap();
    let end = (info.reason == "INSUFFICIENT_FUNDS").then_some(TransactionStatus::Failed);
    info.metadata.get("transactionId").map(|id| (id.clone(), end))
}

fn agrees(bank: &Bank, row: &Transaction, told: Option<TransactionStatus>) {
    use TransactionStatus::{Completed, Failed, Pending, Reversed};
    assert_ne!(row.status(), Pending);
    assert_eq!(bank.ledger.has(&row.id), row.status() != Failed);
    match told {
        Some(Completed) => assert!(matches!(row.status(), Completed | Reversed)),
        Some(end) => assert_eq!(row.status(), end),
        None => {}
    }
}

/// A customer's balance, by the rows alone.
fn reckon<'a>(customer: &Caller, rows: impl Iterator<Item = &'a Transaction>) -> i128 {
    let user = customer.user.to_string();
    let completed = rows.filter(|row| row.status() == TransactionStatus::Completed);
    let change = |row: &Transaction| {
        let amount = i128::from(Money::parse(&row.amount, Currency::BRL).unwrap().minor());
        let received = row.receiver_user_id == user && row.r#type() != Withdrawal;
        let sent = row.sender_user_id == user && row.r#type() != Deposit;
        i128::from(received) * amount - i128::from(sent) * amount
    };
    completed.map(change).sum()
}
