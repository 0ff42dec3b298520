//! What is read: balances at any time, histories, and things that are found.

use contracts::ledger::v1 as pb;
use contracts::ledger::v1::ListOrder;
use contracts::ledger::v1::get_balance_request::AsOf;
use prost_types::Timestamp;
use testkit::assert_refused;
use tonic::Code;

use crate::support::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// A nanosecond earlier.
fn just_before(at: Timestamp) -> Timestamp {
    match at.nanos {
        0 => Timestamp { seconds: at.seconds - 1, nanos: 999_999_999 },
        nanos => Timestamp { nanos: nanos - 1, ..at },
    }
}

/// What account 2 has been credited.
async fn credited(client: &mut Client, as_of: Option<AsOf>) -> (u64, u64) {
    let request = pb::GetBalanceRequest { account_id: uuid(2), as_of };
    let balance = call(client.get_balance(request)).await.unwrap().balance.unwrap();
    assert_eq!((balance.debits_pending, balance.debits_posted), (0, 0));
    (balance.credits_pending, balance.credits_posted)
}

/// Balances as of any time, and by effective date however late it was told.
#[tokio::test(flavor = "multi_thread")]
async fn balances_are_told_as_of_any_time_and_effective_date() {
    let (_served, mut client) = opened().await;
    let first = accept(&mut client, vec![transfer(10, 100)]).await;
    let held = accept(&mut client, vec![hold(11, 7)]).await;
    let dated = |id, amount, seconds| pb::NewTransfer {
        effective_at: Some(at(seconds)),
        ..transfer(id, amount)
    };
    accept(&mut client, vec![dated(12, 20, 1_600_000_000), dated(13, 3, 1_500_000_000)]).await;

    assert_eq!(credited(&mut client, None).await, (7, 123));
    let created = |result: &pb::CreateTransferResult| AsOf::At(result.created_at.unwrap());
    assert_eq!(credited(&mut client, Some(created(&first[0]))).await, (0, 100));
    assert_eq!(credited(&mut client, Some(created(&held[0]))).await, (7, 100));
    let before = AsOf::At(just_before(held[0].created_at.unwrap()));
    assert_eq!(credited(&mut client, Some(before)).await, (0, 100));
    assert_eq!(credited(&mut client, Some(AsOf::At(at(1_600_000_000)))).await, (0, 0));

    for (seconds, posted) in
        [(1_499_999_999, 0), (1_500_000_000, 3), (1_599_999_999, 3), (1_600_000_000, 23)]
    {
        let as_of = AsOf::EffectiveAt(at(seconds));
        assert_eq!(credited(&mut client, Some(as_of)).await, (0, posted), "{seconds}");
    }
    let now = AsOf::EffectiveAt(held[0].created_at.unwrap());
    assert_eq!(credited(&mut client, Some(now)).await, (0, 123), "holds have no effective date");

    let wrong = pb::GetBalanceRequest { account_id: uuid(2), as_of: Some(AsOf::At(at(-1))) };
    assert_invalid(&call(client.get_balance(wrong)).await.unwrap_err(), "at");
    let nobody = pb::GetBalanceRequest { account_id: uuid(404), as_of: None };
    assert_refused(call(client.get_balance(nobody)).await, Code::NotFound, "ACCOUNT_NOT_FOUND");
}

/// A history is paged in either order, and filters keep its pages right.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_paged_in_both_orders_and_filtered() {
    let (_served, mut client) = opened().await;
    let mut created = Vec::new();
    for number in 0..10 {
        let parity = if number % 2 == 0 { "even" } else { "odd" };
        let noted = with_metadata(&[("parity", parity)], transfer(100 + number, 1));
        created.push(accept(&mut client, vec![noted]).await[0].created_at);
    }
    let list =
        pb::ListAccountHistoryRequest { account_id: uuid(2), page_size: 3, ..Default::default() };
    let backwards: Vec<_> = (1..=10).rev().collect();
    assert_eq!(history(&mut client, list.clone()).await, backwards);
    let oldest_first =
        pb::ListAccountHistoryRequest { order: ListOrder::OldestFirst.into(), ..list.clone() };
    assert_eq!(history(&mut client, oldest_first.clone()).await, (1..=10).collect::<Vec<_>>());
    let odd = pb::ListAccountHistoryRequest {
        metadata: vec!["parity:odd".to_owned()],
        ..oldest_first.clone()
    };
    assert_eq!(history(&mut client, odd).await, [2, 4, 6, 8, 10]);
    let between = pb::ListAccountHistoryRequest {
        created_from: created[3],
        created_to: created[6],
        ..oldest_first
    };
    assert_eq!(history(&mut client, between).await, [4, 5, 6, 7]);

    let page = call(client.list_account_history(list.clone())).await.unwrap();
    assert_eq!(page.entries[0].at, created[9]);
    assert_eq!(page.entries[0].sequence, page.entries[0].transfer.as_ref().unwrap().sequence);
    accept(&mut client, vec![transfer(200, 1)]).await;
    let next = pb::ListAccountHistoryRequest { page_token: page.next_page_token, ..list.clone() };
    let next = call(client.list_account_history(next)).await.unwrap();
    assert_eq!(next.entries[0].credits_posted, 7, "a page goes on where the last one ended");

    for (wrong, field) in [
        (pb::ListAccountHistoryRequest { page_size: 1_001, ..list.clone() }, "page_size"),
        (pb::ListAccountHistoryRequest { page_token: "x".into(), ..list.clone() }, "page_token"),
        (
            pb::ListAccountHistoryRequest { metadata: vec!["x".into()], ..list.clone() },
            "metadata[0]",
        ),
        (pb::ListAccountHistoryRequest { order: 9, ..list.clone() }, "order"),
    ] {
        assert_invalid(&call(client.list_account_history(wrong)).await.unwrap_err(), field);
    }
    let nobody = pb::ListAccountHistoryRequest { account_id: uuid(404), ..list };
    let answer = call(client.list_account_history(nobody)).await;
    assert_refused(answer, Code::NotFound, "ACCOUNT_NOT_FOUND");
}

/// What account 2 had been credited after each entry, over all pages.
async fn history(client: &mut Client, mut list: pb::ListAccountHistoryRequest) -> Vec<u64> {
    let mut found = Vec::new();
    loop {
        let page = call(client.list_account_history(list.clone())).await.unwrap();
        assert!(page.entries.len() <= 3);
        found.extend(page.entries.iter().map(|entry| entry.credits_posted));
        if page.next_page_token.is_empty() {
            return found;
        }
        assert_eq!(page.entries.len(), 3, "only the last page is short");
        list.page_token = page.next_page_token;
    }
}

/// Transfers and accounts are found by what their callers noted on them.
#[tokio::test(flavor = "multi_thread")]
async fn things_are_found_by_reference_metadata_and_account() {
    let (_served, mut client) = opened().await;
    let noted = |number, branch: &str| pb::NewAccount {
        external_id: uuid(if number % 2 == 0 { 77 } else { 78 }),
        metadata: [("branch".to_owned(), branch.to_owned())].into(),
        ..account(number)
    };
    let odd =
        pb::NewAccount { metadata: [(r"a:b\c".to_owned(), "d:e".to_owned())].into(), ..account(6) };
    open(&mut client, vec![noted(3, "a:b"), noted(4, "c"), noted(5, "c"), odd]).await;
    let list = pb::ListAccountsRequest::default();
    for (request, expected) in [
        (pb::ListAccountsRequest { external_id: uuid(77), ..list.clone() }, &[4][..]),
        (pb::ListAccountsRequest { external_id: uuid(78), ..list.clone() }, &[5, 3]),
        (pb::ListAccountsRequest { metadata: vec!["branch:c".into()], ..list.clone() }, &[5, 4]),
        (pb::ListAccountsRequest { metadata: vec!["branch:a:b".into()], ..list.clone() }, &[3]),
        (pb::ListAccountsRequest { metadata: vec!["branch:".into()], ..list.clone() }, &[]),
        (pb::ListAccountsRequest { metadata: vec![r"a\:b\\c:d:e".into()], ..list.clone() }, &[6]),
        (pb::ListAccountsRequest { metadata: vec!["a:b".into()], ..list.clone() }, &[]),
    ] {
        let found = call(client.list_accounts(request)).await.unwrap().accounts;
        let ids: Vec<_> = expected.iter().copied().map(uuid).collect();
        assert_eq!(found.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), ids);
    }
    assert_invalid(&call(client.list_accounts(list)).await.unwrap_err(), "external_id");

    let to = |number, credit, order: &str| pb::NewTransfer {
        credit_account_id: uuid(credit),
        external_id: uuid(79),
        ..with_metadata(&[("order", order), ("shop", "1")], transfer(number, 1))
    };
    let created =
        accept(&mut client, vec![to(10, 2, "x"), to(11, 3, "x"), to(12, 3, "y"), transfer(13, 1)])
            .await;
    let list = pb::ListTransfersRequest::default();
    let metadata = |pairs: &[&str]| pairs.iter().map(|&pair| pair.to_owned()).collect();
    let oldest = ListOrder::OldestFirst.into();
    for (request, expected) in [
        (pb::ListTransfersRequest { account_id: uuid(3), ..list.clone() }, &[12, 11][..]),
        (
            pb::ListTransfersRequest { external_id: uuid(79), order: oldest, ..list.clone() },
            &[10, 11, 12],
        ),
        (pb::ListTransfersRequest { metadata: metadata(&["order:x"]), ..list.clone() }, &[11, 10]),
        (
            pb::ListTransfersRequest {
                metadata: metadata(&["order:x", "shop:1"]),
                account_id: uuid(2),
                ..list.clone()
            },
            &[10],
        ),
        (
            pb::ListTransfersRequest { metadata: metadata(&["order:x", "shop:2"]), ..list.clone() },
            &[],
        ),
        (
            pb::ListTransfersRequest {
                account_id: uuid(1),
                created_from: created[2].created_at,
                ..list.clone()
            },
            &[13, 12],
        ),
        (
            pb::ListTransfersRequest {
                account_id: uuid(1),
                created_to: created[0].created_at,
                ..list.clone()
            },
            &[10],
        ),
    ] {
        let found = call(client.list_transfers(request)).await.unwrap().transfers;
        let ids: Vec<_> = expected.iter().copied().map(uuid).collect();
        assert_eq!(found.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), ids);
    }
    assert_invalid(&call(client.list_transfers(list)).await.unwrap_err(), "account_id");
}
