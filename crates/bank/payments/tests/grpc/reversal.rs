use contracts::payments::v1::{TransactionStatus, TransactionType};
use contracts::policy::Role;
use futures::future::join_all;
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::bank::{Bank, order, reason};
use crate::fakes::Mode;
use TransactionType::{Deposit, Transfer, Withdrawal};

/// L-40: REVERSED.
#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_moves_the_money_back_once() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    let operator = bank.caller(Role::Operator);
    let row = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();

    let first = operator.reverse(&row.id).await.unwrap();
    let second = operator.reverse(&row.id).await.unwrap();

    assert_eq!(first.status(), TransactionStatus::Reversed);
    assert_eq!(first, second);
    assert_eq!(first.processed_at, row.processed_at);
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (1_000, 0));
    let moved = bank.ledger.transfers().into_iter().filter(|one| one.external_id == row.id);
    assert_eq!(moved.count(), 2, "the statement finds both movements by the transaction's id");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_can_be_reversed() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    let admin = bank.caller(Role::Admin);
    for (asked, after) in [
        (order(Transfer, Some(&bob), "1"), 900),
        (order(Deposit, None, "1"), 1_100),
        (order(Withdrawal, None, "1"), 900),
    ] {
        let row = alice.create(asked).await.unwrap();
        assert_eq!(bank.balance(&alice), after);
        admin.reverse(&row.id).await.unwrap();
        assert_eq!(bank.balance(&alice), 1_000);
    }
}

/// A refused attempt leaves the way open for the next: the ledger remembers its id for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_without_funds_can_be_tried_again_when_there_are() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    let operator = bank.caller(Role::Operator);
    let row = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();
    bob.create(order(Withdrawal, None, "4")).await.unwrap();

    for _ in 0..2 {
        let refused = operator.reverse(&row.id).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), "INSUFFICIENT_FUNDS");
        assert_eq!(refused.get_details_error_info().unwrap().metadata["transactionId"], row.id);
        assert_eq!(alice.get(&row.id).await.unwrap().status(), TransactionStatus::Completed);
    }
    bank.deposit(&bob, "4").await;
    let reversed = operator.reverse(&row.id).await.unwrap();

    assert_eq!(reversed.status(), TransactionStatus::Reversed);
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (1_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_completed_transaction_can_be_reversed() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    let operator = bank.caller(Role::Operator);
    let failed = alice.create(order(Transfer, Some(&bob), "40")).await.unwrap_err();
    bank.ledger.set(Mode::Down);
    let pending = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();

    let failed = &failed.get_details_error_info().unwrap().metadata["transactionId"];
    for id in [failed, &pending.id] {
        let refused = operator.reverse(id).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), "NOT_REVERSIBLE");
    }
    let missing = operator.reverse(&Uuid::now_v7().to_string()).await.unwrap_err();
    assert_eq!(reason(&missing), "TRANSACTION_NOT_FOUND");
}

/// L-64.
#[tokio::test(flavor = "multi_thread")]
async fn only_operators_and_administrators_reverse() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    let row = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();

    for caller in [alice, bob.clone(), bank.caller(Role::Analyst), bank.caller(Role::Viewer)] {
        assert_eq!(caller.reverse(&row.id).await.unwrap_err().code(), Code::PermissionDenied);
    }
    assert_eq!(bank.balance(&bob), 400);
}

/// L-36: an intended reversal is finished, or cleared, whatever happened to who asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_reversal_is_driven_to_its_end() {
    for (mode, spent, status) in [
        (Mode::LoseAnswer, false, TransactionStatus::Reversed),
        (Mode::Down, false, TransactionStatus::Reversed),
        (Mode::LoseAnswer, true, TransactionStatus::Completed),
        (Mode::Down, true, TransactionStatus::Completed),
    ] {
        let bank = Bank::start().await;
        let (alice, bob) = (bank.customer_with("10").await, bank.customer());
        let operator = bank.caller(Role::Operator);
        let row = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();
        if spent {
            bob.create(order(Withdrawal, None, "4")).await.unwrap();
        }
        bank.ledger.set(mode);
        let unknown = operator.reverse(&row.id).await.unwrap_err();
        assert_eq!(reason(&unknown), "OUTCOME_PENDING");

        bank.ledger.set(Mode::Work);
        bank.recovered().await;

        assert_eq!(operator.get(&row.id).await.unwrap().status(), status, "{mode:?} {spent}");
        if spent {
            bank.deposit(&bob, "4").await;
            operator.reverse(&row.id).await.unwrap();
        }
        assert_eq!((bank.balance(&alice), bank.balance(&bob)), (1_000, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_reversals_are_one() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer_with("10").await);
    let operator = bank.caller(Role::Operator);
    let row = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();

    let answers = join_all((0..20).map(|_| operator.reverse(&row.id))).await;

    for answer in answers {
        assert_eq!(answer.unwrap().status(), TransactionStatus::Reversed);
    }
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (1_000, 1_000));
}
