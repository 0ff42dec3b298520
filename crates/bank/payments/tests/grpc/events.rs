//! What others hear of payments.

use auth::TenantId;
use contracts::payments::v1::TransactionType::{Deposit, Transfer, Withdrawal};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::bank::{Bank, order};
use crate::fakes::Mode;

/// Type, user and direction (or status) of what was told, in the order in which it was told.
async fn told(bank: &Bank) -> Vec<(String, String, String)> {
    let mut txn = bank.database.begin(TenantId::DEFAULT).await.unwrap();
    sqlx::query(
        "SELECT event_type::text, coalesce(payload ->> 'userId', ''),
                coalesce(payload ->> 'direction', payload ->> 'status')
         FROM event_sourcing.outbox_events ORDER BY sequence",
    )
    .try_map(|row: PgRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
    .fetch_all(&mut *txn)
    .await
    .unwrap()
}

fn line(kind: &str, user: impl ToString, what: &str) -> (String, String, String) {
    (kind.to_owned(), user.to_string(), what.to_owned())
}

/// L-38, L-42, L-57, K-17: each account hears what happened to it, and the payment is told once.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_told_once_for_each_account() {
    let bank = Bank::start().await;
    let (ana, bruno) = (bank.customer_with("100").await, bank.customer());
    ana.create(order(Transfer, Some(&bruno), "40")).await.unwrap();
    ana.create(order(Withdrawal, None, "1")).await.unwrap();

    let processed = line("payments.processed", "", "COMPLETED");
    let expected = [
        line("transaction.completed", ana.user, "CREDIT"),
        processed.clone(),
        line("transaction.completed", ana.user, "DEBIT"),
        line("transaction.completed", bruno.user, "CREDIT"),
        processed.clone(),
        line("transaction.completed", ana.user, "DEBIT"),
        processed,
    ];
    assert_eq!(told(&bank).await, expected);
}

/// L-42: what was refused is told with its reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_transfer_is_told_as_failed() {
    let bank = Bank::start().await;
    let (ana, bruno) = (bank.customer(), bank.customer());
    ana.create(order(Transfer, Some(&bruno), "40")).await.unwrap_err();

    let expected = [
        line("transaction.failed", ana.user, "DEBIT"),
        line("transaction.failed", bruno.user, "CREDIT"),
        line("payments.processed", "", "FAILED"),
    ];
    assert_eq!(told(&bank).await, expected);
    let mut txn = bank.database.begin(TenantId::DEFAULT).await.unwrap();
    let reasons: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT payload ->> 'reason' FROM event_sourcing.outbox_events",
    )
    .fetch_all(&mut *txn)
    .await
    .unwrap();
    assert_eq!(reasons, ["INSUFFICIENT_FUNDS"]);
}

/// K-31: a payment that recovery drives to its end is told like any other, once.
#[tokio::test(flavor = "multi_thread")]
async fn what_recovery_settles_is_told_once() {
    let mut bank = Bank::start().await;
    bank.serve_replica().await;
    // The first deposit also makes the account of the outside world.
    let ana = bank.customer_with("1").await;
    bank.ledger.set(Mode::LoseAnswer);
    let _ = ana.create(order(Deposit, None, "5")).await;
    bank.ledger.set(Mode::Work);
    bank.recovered().await;

    let deposit = [
        line("transaction.completed", ana.user, "CREDIT"),
        line("payments.processed", "", "COMPLETED"),
    ];
    assert_eq!(told(&bank).await, [deposit.clone(), deposit].concat());
}
