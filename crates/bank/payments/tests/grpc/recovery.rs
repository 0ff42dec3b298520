use std::time::Duration;

use contracts::payments::v1::{Transaction, TransactionStatus, TransactionType};
use contracts::policy::Role;
use testkit::assert_refused;
use tonic::Code;
use tonic_types::StatusExt;

use crate::bank::{Bank, RECOVERY_AFTER, order, reason};
use crate::fakes::Mode;
use TransactionType::Transfer;

/// L-36: the ledger moved the money, its answer was lost; the payment completes, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_answer_was_lost_is_completed_once() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::LoseAnswer);

    let unknown = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap_err();

    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::Unavailable, "OUTCOME_PENDING"));
    assert!(unknown.get_details_retry_info().is_some());
    let id = &unknown.get_details_error_info().unwrap().metadata["transactionId"];
    assert_eq!(alice.get(id).await.unwrap().status(), TransactionStatus::Pending);
    bank.ledger.set(Mode::Work);
    bank.recovered().await;
    assert_eq!(alice.get(id).await.unwrap().status(), TransactionStatus::Completed);
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (600, 400));
}

/// L-36: the ledger heard nothing; the payment is carried out later.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_ledger_never_saw_is_carried_out_when_it_is_back() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Down);
    let kept = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap_err();
    let refused = alice.create(order(Transfer, Some(&bob), "40")).await.unwrap_err();
    assert_eq!(bank.balance(&bob), 0);

    bank.ledger.set(Mode::Work);
    bank.recovered().await;

    for (answer, status, failure) in [
        (kept, TransactionStatus::Completed, ""),
        (refused, TransactionStatus::Failed, "INSUFFICIENT_FUNDS"),
    ] {
        let id = &answer.get_details_error_info().unwrap().metadata["transactionId"];
        let row = alice.get(id).await.unwrap();
        assert_eq!((row.status(), row.failure_reason.as_str()), (status, failure));
    }
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (600, 400));
}

/// A ledger that does not answer costs the request its time, but not the name of its transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_ledger_is_answered_before_the_deadline() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Hang);

    let hurried = alice.within(Duration::from_secs(1));
    let unknown = hurried.create(order(Transfer, Some(&bob), "4")).await;
    assert_refused(unknown, Code::Unavailable, "OUTCOME_PENDING");
    bank.ledger.set(Mode::Work);
    bank.recovered().await;
    assert_eq!(bank.balance(&bob), 400);
}

/// L-59: the process dies between its record and the ledger's answer; the next one ends the payment.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_of_a_dead_process_is_ended_by_the_next() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Hang);
    let asked = bank.ledger.asked();
    let asking = tokio::spawn({
        let (alice, asked) = (alice.clone(), order(Transfer, Some(&bob), "4"));
        async move { alice.create(asked).await }
    });
    while bank.ledger.asked() == asked {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asking.abort();

    bank.stop_payments().await;
    bank.ledger.set(Mode::Work);
    bank.serve_payments().await;
    bank.recovered().await;

    let rows = alice.list_all().await;
    let statuses: Vec<_> = rows.iter().map(Transaction::status).collect();
    assert_eq!(statuses, [TransactionStatus::Completed; 2]);
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (600, 400));
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_leaves_young_payments_to_their_requests() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Down);
    alice.create(order(Transfer, Some(&bob), "4")).await.unwrap_err();
    bank.ledger.set(Mode::Work);

    let just_before = RECOVERY_AFTER.checked_sub(Duration::from_millis(1)).unwrap();
    bank.clock.advance(just_before);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bank.balance(&bob), 0);

    bank.recovered().await;
    assert_eq!(bank.balance(&bob), 400);
}

/// CONFLICTS 31: several workers share what is due; none of it is left, none taken up twice.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_recovery() {
    let mut bank = Bank::start().await;
    bank.serve_replica().await;
    bank.serve_replica().await;
    let (alice, bob) = (bank.customer_with("100").await, bank.customer());
    bank.ledger.set(Mode::Down);
    for _ in 0..40 {
        alice.create(order(Transfer, Some(&bob), "1")).await.unwrap_err();
    }
    bank.ledger.set(Mode::Work);
    let asked = bank.ledger.asked();

    bank.clock.advance(RECOVERY_AFTER);
    bank.settled().await;

    assert_eq!(bank.ledger.asked() - asked, 40);
    assert_eq!(bank.balance(&bob), 4_000);
    let rows = alice.list_all().await;
    assert!(rows.iter().all(|row| row.status() == TransactionStatus::Completed));
}

/// Whoever comes second with an answer changes nothing, however late.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_does_not_undo_what_happened_since() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    let operator = bank.caller(Role::Operator);
    bank.ledger.set(Mode::Hold);
    let asked = bank.ledger.asked();
    let asking = tokio::spawn({
        let (alice, asked) = (alice.clone(), order(Transfer, Some(&bob), "4"));
        async move { alice.create(asked).await }
    });
    while bank.ledger.asked() == asked {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let row = alice.list_all().await.remove(0);
    assert_eq!(row.status(), TransactionStatus::Pending);
    bank.ledger.set(Mode::Work);
    bank.recovered().await;
    operator.reverse(&row.id).await.unwrap();

    bank.ledger.release();

    let told = asking.await.unwrap().unwrap();
    assert_eq!(told.status(), TransactionStatus::Reversed);
    assert_eq!(alice.get(&row.id).await.unwrap(), told);
}

/// An answer that is no end of this payment leaves it as it is, for people to look at.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_question_settles_nothing() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Differ);

    let unknown = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap_err();
    let asked = bank.ledger.asked();
    bank.clock.advance(RECOVERY_AFTER);
    while bank.ledger.asked() == asked {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    assert_eq!(reason(&unknown), "OUTCOME_PENDING");
    assert_eq!(alice.list_all().await[0].status(), TransactionStatus::Pending);
    bank.ledger.set(Mode::Work);
    bank.recovered().await;
    assert_eq!(bank.balance(&bob), 400);
}
