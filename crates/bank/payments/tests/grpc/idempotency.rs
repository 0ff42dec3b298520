use contracts::payments::v1::{
    CreateTransactionRequest, CreateTransactionResponse, TransactionStatus, TransactionType,
};
use futures::future::join_all;
use tonic::{Code, Response, Status};

use crate::bank::{Bank, Caller, order, reason, replayed};
use crate::fakes::Mode;
use TransactionType::Transfer;

/// L-53: a repeat is the same transaction, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_returns_the_first_transaction() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());

    let first = alice.create_under("k", order(Transfer, Some(&bob), "4")).await.unwrap();
    let second = alice.create_under("k", order(Transfer, Some(&bob), "4.00")).await.unwrap();

    assert!(!replayed(first.metadata()) && replayed(second.metadata()));
    assert_eq!(first.into_inner(), second.into_inner());
    assert_eq!(bank.balance(&bob), 400);
}

/// K-36: the answer of a key is never given to another request.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_for_another_request_is_refused() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    alice.create_under("k", order(Transfer, Some(&bob), "4")).await.unwrap();

    let refused = alice.create_under("k", order(Transfer, Some(&bob), "5")).await.unwrap_err();

    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(bank.balance(&bob), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_its_sender() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer_with("10").await);

    let of_alice = alice.create_under("k", order(Transfer, Some(&bob), "4")).await.unwrap();
    let of_bob = bob.create_under("k", order(Transfer, Some(&alice), "5")).await.unwrap();

    assert!(!replayed(of_bob.metadata()));
    assert_ne!(transaction_id(of_alice), transaction_id(of_bob));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_repeated_even_when_there_is_money_by_then() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer(), bank.customer());
    let spend = || alice.create_under("k", order(Transfer, Some(&bob), "4"));

    let first = spend().await.unwrap_err();
    bank.deposit(&alice, "10").await;
    let second = spend().await.unwrap_err();

    assert!(!replayed(first.metadata()) && replayed(second.metadata()));
    assert_eq!((first.code(), reason(&first)), (second.code(), reason(&second)));
    assert_eq!(first.details(), second.details(), "the same transaction");
    assert_eq!(bank.balance(&alice), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_drives_a_pending_payment_to_its_end() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::LoseAnswer);
    let lost = alice.create_under("k", order(Transfer, Some(&bob), "4")).await.unwrap_err();
    assert_eq!(reason(&lost), "OUTCOME_PENDING");

    bank.ledger.set(Mode::Work);
    let repeat = alice.create_under("k", order(Transfer, Some(&bob), "4")).await.unwrap();

    assert!(replayed(repeat.metadata()));
    let row = repeat.into_inner().transaction.unwrap();
    assert_eq!(row.status(), TransactionStatus::Completed);
    assert_eq!(bank.balance(&bob), 400);
}

/// L-53: exactly one transaction, whatever races.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_concurrent_duplicates_are_one_transaction() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());

    let answers = fifty(&alice, &order(Transfer, Some(&bob), "4")).await;

    let rows: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(rows.iter().filter(|row| !replayed(row.metadata())).count(), 1);
    let rows: Vec<_> = rows.into_iter().map(transaction_id).collect();
    assert!(rows.iter().all(|id| *id == rows[0]));
    assert_eq!(bank.balance(&bob), 400);
    assert_eq!(alice.list_all().await.len(), 2, "the deposit and one transfer");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_concurrent_duplicates_are_refused_alike() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer(), bank.customer());

    let answers = fifty(&alice, &order(Transfer, Some(&bob), "4")).await;

    for answer in answers {
        assert_eq!(reason(&answer.unwrap_err()), "INSUFFICIENT_FUNDS");
    }
    assert_eq!(alice.list_all().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());

    let long = "k".repeat(256);
    let refused = alice.create_under(&long, order(Transfer, Some(&bob), "4")).await.unwrap_err();

    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(bank.balance(&bob), 0);
}

type Answer = Result<Response<CreateTransactionResponse>, Status>;

async fn fifty(caller: &Caller, asked: &CreateTransactionRequest) -> Vec<Answer> {
    join_all((0..50).map(|_| caller.create_under("k", asked.clone()))).await
}

fn transaction_id(response: Response<CreateTransactionResponse>) -> String {
    response.into_inner().transaction.unwrap().id
}
