use std::collections::HashSet;
use std::time::Duration;

use contracts::payments::v1::{
    ListTransactionsRequest, Transaction, TransactionStatus, TransactionType,
};
use contracts::policy::Role;
use prost_types::Timestamp;
use testkit::assert_refused;
use tonic::Code;

use crate::bank::{Bank, order};
use TransactionType::{Deposit, Transfer, Withdrawal};

/// L-64: whoever is no party cannot tell it from one that does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn only_parties_and_staff_see_a_transaction() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    let row = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();

    for caller in [&alice, &bob, &bank.caller(Role::Viewer)] {
        assert_eq!(caller.get(&row.id).await.unwrap(), row);
    }
    let refused = bank.customer().get(&row.id).await.unwrap_err();
    let missing = alice.get("0190f3a0-0000-7000-8000-00000000000a").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!((refused.message(), refused.details()), (missing.message(), missing.details()));
}

/// Row-level security: the same user of another tenant sees nothing.
#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_sees_nothing() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    let row = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();

    let elsewhere = bank.in_another_tenant(&alice);

    assert_eq!(elsewhere.get(&row.id).await.unwrap_err().code(), Code::NotFound);
    assert!(elsewhere.list_all().await.is_empty());
    let staff = bank.in_another_tenant(&bank.caller(Role::Admin));
    assert!(staff.list_all().await.is_empty());
    assert_eq!(staff.reverse(&row.id).await.unwrap_err().code(), Code::NotFound);
}

/// L-64: a customer lists its own alone; staff anybody's, or all.
#[tokio::test(flavor = "multi_thread")]
async fn customers_cannot_list_others() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer_with("10").await);
    let carol = bank.customer();
    alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();
    let of = |user: &str| ListTransactionsRequest { user_id: user.into(), ..Default::default() };
    let viewer = bank.caller(Role::Viewer);

    assert_eq!(alice.list_all().await.len(), 2);
    assert_eq!(bob.list_all().await.len(), 2);
    assert!(carol.list_all().await.is_empty());
    assert_eq!(alice.list(of(&alice.user.to_string())).await.unwrap().transactions.len(), 2);
    assert_eq!(viewer.list(of(&bob.user.to_string())).await.unwrap().transactions.len(), 2);
    assert_eq!(viewer.list_all().await.len(), 3);
    let refused = alice.list(of(&bob.user.to_string())).await;
    assert_refused(refused, Code::PermissionDenied, "NOT_OWNER");
}

/// Pages are complete and without duplicates while rows are inserted, many of them in one instant.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_complete_while_rows_are_inserted() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("100").await, bank.customer_with("100").await);
    for number in 0..30 {
        let (from, to) = if number % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
        from.create(order(Transfer, Some(to), "1")).await.unwrap();
        if number % 3 == 0 {
            bank.clock.advance(Duration::from_micros(1));
        }
    }
    let before: HashSet<_> = alice.list_all().await.into_iter().map(|row| row.id).collect();
    assert_eq!(before.len(), 31);

    let mut request = ListTransactionsRequest { page_size: 7, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = alice.list(request.clone()).await.unwrap();
        assert!(page.transactions.len() <= 7);
        seen.extend(page.transactions);
        alice.create(order(Transfer, Some(&bob), "0.01")).await.unwrap();
        bank.clock.advance(Duration::from_micros(1));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }

    let ids: HashSet<_> = seen.iter().map(|row| row.id.clone()).collect();
    assert_eq!(ids.len(), seen.len(), "no row twice");
    assert_eq!(ids, before, "each row that was there, and none that came later");
    let order: Vec<_> = seen.iter().map(|row| (nanos(row.created_at), row.id.clone())).collect();
    assert!(order.is_sorted_by(|newer, older| newer > older));
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_filtered() {
    let bank = Bank::start().await;
    let start = bank.clock.now();
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.clock.advance(Duration::from_mins(1));
    alice.create(order(Transfer, Some(&bob), "1")).await.unwrap();
    bank.clock.advance(Duration::from_mins(1));
    alice.create(order(Withdrawal, None, "100")).await.unwrap_err();
    let at = |seconds: i64| Some(Timestamp { seconds: start.timestamp() + seconds, nanos: 0 });
    let all = ListTransactionsRequest::default;

    for (request, expected) in [
        (all(), vec![Withdrawal, Transfer, Deposit]),
        (with_status(TransactionStatus::Failed), vec![Withdrawal]),
        (with_status(TransactionStatus::Pending), vec![]),
        (
            ListTransactionsRequest { r#type: vec![Deposit.into(), Transfer.into()], ..all() },
            vec![Transfer, Deposit],
        ),
        (ListTransactionsRequest { created_from: at(30), ..all() }, vec![Withdrawal, Transfer]),
        (ListTransactionsRequest { created_before: at(90), ..all() }, vec![Transfer, Deposit]),
        (
            ListTransactionsRequest { created_from: at(30), created_before: at(90), ..all() },
            vec![Transfer],
        ),
    ] {
        let page = alice.list(request.clone()).await.unwrap();
        let kinds: Vec<_> = page.transactions.iter().map(Transaction::r#type).collect();
        assert_eq!(kinds, expected, "{request:?}");
        assert_eq!(page.next_page_token, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_belongs_to_its_filters() {
    let bank = Bank::start().await;
    let alice = bank.customer_with("10").await;
    alice.create(order(Deposit, None, "1")).await.unwrap();
    let first = ListTransactionsRequest { page_size: 1, ..Default::default() };
    let token = alice.list(first.clone()).await.unwrap().next_page_token;
    assert_ne!(token, "");

    let others = ListTransactionsRequest { r#type: vec![Deposit.into()], ..first.clone() };
    for request in [
        ListTransactionsRequest { page_token: token.clone(), ..others },
        ListTransactionsRequest { page_token: "made-up".into(), ..first },
    ] {
        let refused = alice.list(request).await;
        assert_refused(refused, Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    }
}

fn with_status(status: TransactionStatus) -> ListTransactionsRequest {
    ListTransactionsRequest { status: vec![status.into()], ..Default::default() }
}

fn nanos(at: Option<Timestamp>) -> i128 {
    let at = at.unwrap();
    i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos)
}
