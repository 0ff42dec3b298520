use contracts::payments::v1::{TransactionStatus, TransactionType};
use contracts::policy::Role;
use payments::Config;
use testkit::assert_refused;
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::bank::{Bank, config, order, reason};
use TransactionType::{Deposit, Transfer, Withdrawal};

/// L-16, L-39, L-57: the whole row comes back, and the money has moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_moves_money_and_answers_its_row() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("1000.00").await, bank.customer());
    let mut asked = order(Transfer, Some(&bob), "100.50");
    asked.description = "rent".into();
    asked.metadata = Some(prost_types::Struct {
        fields: [("n".to_owned(), prost_types::Value::from(7.0))].into_iter().collect(),
    });

    let row = alice.create(asked.clone()).await.unwrap();

    assert_eq!(row.status(), TransactionStatus::Completed);
    assert_eq!(row.r#type(), Transfer);
    assert_eq!((row.amount.as_str(), row.currency.as_str()), ("100.50", "BRL"));
    assert_eq!(row.sender_user_id, alice.user.to_string());
    assert_eq!(row.receiver_user_id, bob.user.to_string());
    assert_eq!((&row.description, &row.metadata), (&asked.description, &asked.metadata));
    assert!(row.created_at.is_some() && row.processed_at.is_some());
    assert_eq!(row.failure_reason, "");
    assert_eq!(alice.get(&row.id).await.unwrap(), row);
    assert!(bank.ledger.has(&row.id));
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (89_950, 10_050));
    assert_eq!(bank.ledger.total(), 0);
}

/// L-41: money enters from the outside world and leaves to it.
#[tokio::test(flavor = "multi_thread")]
async fn deposits_and_withdrawals_move_money_in_and_out() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer(), bank.customer());

    let own = alice.create(order(Deposit, None, "50")).await.unwrap();
    let gift = alice.create(order(Deposit, Some(&bob), "5")).await.unwrap();
    let out = alice.create(order(Withdrawal, None, "20.01")).await.unwrap();

    assert_eq!(own.receiver_user_id, alice.user.to_string());
    assert_eq!(gift.receiver_user_id, bob.user.to_string());
    assert_eq!(out.receiver_user_id, alice.user.to_string());
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (2_999, 500));
    assert_eq!(bank.ledger.total(), 0);
}

/// L-34, L-59: nothing is overdrawn, and a refusal changes nothing but its own row.
#[tokio::test(flavor = "multi_thread")]
async fn an_overdraft_is_refused_and_moves_nothing() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10.00").await, bank.customer());

    for asked in [order(Transfer, Some(&bob), "10.01"), order(Withdrawal, None, "10.01")] {
        let refused = alice.create(asked).await.unwrap_err();

        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), "INSUFFICIENT_FUNDS");
        let id = &refused.get_details_error_info().unwrap().metadata["transactionId"];
        let row = alice.get(id).await.unwrap();
        assert_eq!(row.status(), TransactionStatus::Failed);
        assert_eq!(row.failure_reason, "INSUFFICIENT_FUNDS");
        assert!(row.processed_at.is_some() && !bank.ledger.has(id));
    }
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (1_000, 0));
}

/// L-39: exactly what was asked for, or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_exact_or_refused() {
    let bank = Bank::start().await;
    let alice = bank.customer();
    for (text, expected) in [
        ("100.5", Ok("100.50")),
        ("100.50", Ok("100.50")),
        ("1000000000", Ok("1000000000.00")),
        ("1000000000.01", Err("INVALID_AMOUNT")),
        ("9999999999999999", Err("INVALID_AMOUNT")),
        ("0", Err("INVALID_AMOUNT")),
        ("0.001", Err("INVALID_AMOUNT")),
        ("-1", Err("INVALID_FIELD")),
        ("1e2", Err("INVALID_FIELD")),
        ("", Err("INVALID_FIELD")),
        ("99999999999999999", Err("INVALID_FIELD")),
    ] {
        let answer = alice.create(order(Deposit, None, text)).await;
        match answer {
            Ok(row) => assert_eq!(Ok(row.amount.as_str()), expected, "{text:?}"),
            Err(refused) => {
                assert_eq!(Err(reason(&refused).as_str()), expected, "{text:?}");
                assert_eq!(refused.code(), Code::InvalidArgument);
                let violations = refused.get_details_bad_request().unwrap().field_violations;
                assert_eq!(violations[0].field, "amount");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_parties_need_an_account() {
    let bank = Bank::start().await;
    let (alice, stranger) = (bank.customer_with("10").await, bank.caller(Role::Customer));

    let refused = alice.create(order(Transfer, Some(&stranger), "1")).await;
    assert_refused(refused, Code::NotFound, "RECEIVER_NOT_FOUND");

    for asked in [
        order(Transfer, Some(&alice), "1"),
        order(Deposit, None, "1"),
        order(Withdrawal, None, "1"),
    ] {
        let refused = stranger.create(asked).await;
        assert_refused(refused, Code::FailedPrecondition, "SENDER_HAS_NO_ACCOUNT");
    }
    // Nobody is remembered as having none.
    bank.open(&stranger);
    assert!(alice.create(order(Transfer, Some(&stranger), "1")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_to_oneself_is_refused() {
    let bank = Bank::start().await;
    let alice = bank.customer_with("10").await;

    let refused = alice.create(order(Transfer, Some(&alice), "1")).await;
    assert_refused(refused, Code::InvalidArgument, "SAME_ACCOUNT");
}

/// L-64: who may handle cash is a setting; operators and administrators always may.
#[tokio::test(flavor = "multi_thread")]
async fn cash_is_for_staff_unless_the_setting_says_otherwise() {
    let bank = Bank::start_with(Config { customer_cash: false, ..config() }).await;
    let alice = bank.customer();

    for kind in [Deposit, Withdrawal] {
        let refused = alice.create(order(kind, None, "1")).await;
        assert_refused(refused, Code::PermissionDenied, "CASH_NOT_ALLOWED");
    }
    for (role, allowed) in
        [(Role::Operator, true), (Role::Admin, true), (Role::Analyst, false), (Role::Viewer, false)]
    {
        let answer = bank.caller(role).create(order(Deposit, Some(&alice), "1")).await;
        assert_eq!(answer.is_ok(), allowed, "{role:?}");
    }
    assert_eq!(bank.balance(&alice), 200);
}

/// L-34: two hundred concurrent transfers of one account never take more than it has.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_transfers_never_overdraw() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("100").await, bank.customer());
    let spend = || alice.create(order(Transfer, Some(&bob), "1"));

    let answers = futures::future::join_all((0..200).map(|_| spend())).await;

    let moved = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(moved, 100);
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (0, 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_of_nobody_is_refused_before_anything_is_recorded() {
    let bank = Bank::start().await;
    let alice = bank.customer_with("10").await;
    let mut asked = order(Transfer, None, "1");
    asked.receiver_user_id = "nobody".into();
    let refused = alice.create(asked).await;
    assert_refused(refused, Code::InvalidArgument, "INVALID_FIELD");

    let refused = alice.get(&Uuid::now_v7().to_string()).await.unwrap_err();
    assert_eq!(reason(&refused), "TRANSACTION_NOT_FOUND");
    assert_eq!(alice.list_all().await.len(), 1, "only the deposit");
}
