//! What changes the ledger.

use contracts::ledger::v1 as pb;
use contracts::ledger::v1::{
    BalanceLimit, CreateAccountStatus, CreateTransferStatus, HoldState, TransferKind,
    UpdateAccountStatus,
};
use testkit::assert_refused;
use tonic::Code;
use uuid::Uuid;

use crate::support::*;

/// K-08: money moves, is held and posted, and everything can be read back.
#[tokio::test(flavor = "multi_thread")]
async fn transfers_move_money_and_are_read_back() {
    let (_served, mut client) = opened().await;
    let held = pb::NewTransfer { timeout_seconds: 60, external_id: uuid(77), ..hold(11, 50) };
    let post = pb::NewTransfer {
        id: uuid(12),
        kind: TransferKind::PostPending.into(),
        pending_id: uuid(11),
        amount: 20,
        ..pb::NewTransfer::default()
    };
    let noted = with_metadata(&[("order", "42"), ("channel", "pix")], transfer(10, 100));
    let results = create(&mut client, vec![noted.clone(), held, post, transfer(13, 0)]).await;
    let (created, exists) = (CreateTransferStatus::Created, CreateTransferStatus::Exists);
    let zero = CreateTransferStatus::AmountMustNotBeZero;
    assert_eq!(statuses(&results), [created, created, created, zero]);
    assert_eq!(results.iter().map(|it| it.amount).collect::<Vec<_>>(), [100, 50, 20, 0]);
    let again = create(&mut client, vec![noted.clone()]).await;
    assert_eq!((again[0].status(), again[0].created_at), (exists, results[0].created_at));
    let other = with_metadata(&[("order", "43")], transfer(10, 100));
    let other = create(&mut client, vec![other]).await;
    assert_eq!(statuses(&other), [CreateTransferStatus::ExistsWithDifferentMetadata]);

    let found = find(&mut client, 2).await;
    assert_eq!((found.credits_pending, found.credits_posted), (0, 120));
    assert_eq!((found.debits_pending, found.debits_posted), (0, 0));
    assert_eq!((found.id, found.external_id), (uuid(2), String::new()));

    let ids = vec![uuid(12), uuid(404), uuid(11)];
    let found = call(client.lookup_transfers(pb::LookupTransfersRequest { ids })).await.unwrap();
    let [post, held] = found.transfers.try_into().unwrap();
    assert_eq!((&post.pending_id, &post.debit_account_id), (&uuid(11), &uuid(1)), "inherited");
    assert_eq!((post.amount, post.code, post.ledger), (20, 7, LEDGER));
    assert_eq!(
        (post.kind(), post.hold_state()),
        (TransferKind::PostPending, HoldState::Unspecified)
    );
    assert_eq!((held.timeout_seconds, &held.external_id), (60, &uuid(77)));
    assert_eq!(held.hold_state(), HoldState::Posted);
    assert_eq!(post.sequence, held.sequence + 1, "in the order of the batch");
    let found = find_transfer(&mut client, 10).await;
    assert_eq!(found.metadata, noted.metadata);
    assert_eq!((found.created_at, found.effective_at), (results[0].created_at, found.created_at));
}

/// K-08: holds are settled by calls of their own, a whole chain at once where that is asked.
#[tokio::test(flavor = "multi_thread")]
async fn holds_are_posted_and_voided_one_by_one_or_as_a_chain() {
    let (_served, mut client) = opened().await;
    open(&mut client, vec![account(3)]).await;
    let onward =
        pb::NewTransfer { debit_account_id: uuid(2), credit_account_id: uuid(3), ..hold(13, 40) };
    let chain = vec![pb::NewTransfer { linked: true, ..hold(12, 60) }, onward];
    accept(&mut client, vec![hold(10, 50), hold(11, 30)]).await;
    accept(&mut client, chain).await;

    let post = |id, pending, amount, chain| pb::PostHoldRequest {
        id: uuid(id),
        pending_id: uuid(pending),
        amount,
        chain,
    };
    let result = call(client.post_hold(post(20, 10, 20, false))).await.unwrap().result.unwrap();
    assert_eq!((result.status(), result.amount), (CreateTransferStatus::Created, 20));
    let again = call(client.post_hold(post(21, 10, 0, false))).await.unwrap().result.unwrap();
    assert_eq!(again.status(), CreateTransferStatus::PendingTransferAlreadyPosted);
    let void = pb::VoidHoldRequest { id: uuid(22), pending_id: uuid(11), chain: false };
    let result = call(client.void_hold(void)).await.unwrap().result.unwrap();
    assert_eq!((result.status(), result.amount), (CreateTransferStatus::Created, 30));
    let result = call(client.post_hold(post(23, 12, 0, true))).await.unwrap().result.unwrap();
    assert_eq!((result.status(), result.amount), (CreateTransferStatus::Created, 0));
    let first = find_transfer(&mut client, 23).await;
    assert!(first.chain && first.linked);
    assert_eq!((&first.pending_id, first.amount), (&uuid(12), 60));

    let middle = find(&mut client, 2).await;
    assert_eq!((middle.credits_posted, middle.debits_posted), (80, 40));
    assert_eq!((middle.credits_pending, middle.debits_pending), (0, 0));
    assert_eq!(find(&mut client, 3).await.credits_posted, 40);
    for (id, state) in [
        (10, HoldState::Posted),
        (11, HoldState::Voided),
        (12, HoldState::Posted),
        (13, HoldState::Posted),
    ] {
        assert_eq!(find_transfer(&mut client, id).await.hold_state(), state, "{id}");
    }
}

/// K-08: an account has an overdraft and can be closed.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_changed_and_what_they_are_shows() {
    let (_served, mut client) = opened().await;
    let limited = pb::NewAccount {
        limit: BalanceLimit::DebitsWithinCredits.into(),
        overdraft: 50,
        external_id: uuid(77),
        metadata: [("branch".to_owned(), "0001".to_owned())].into(),
        ..account(3)
    };
    open(&mut client, vec![limited.clone()]).await;
    let request = pb::CreateAccountsRequest { accounts: vec![limited.clone(), account(3)] };
    let results = call(client.create_accounts(request)).await.unwrap().results;
    assert_eq!(results[0].status(), CreateAccountStatus::Exists);
    assert_eq!(results[1].status(), CreateAccountStatus::ExistsWithDifferentLimit);

    let spend = |id, amount| pb::NewTransfer { debit_account_id: uuid(3), ..transfer(id, amount) };
    let results = create(&mut client, vec![spend(10, 51), spend(11, 50)]).await;
    let exceeds = CreateTransferStatus::ExceedsCredits;
    assert_eq!(statuses(&results), [exceeds, CreateTransferStatus::Created]);

    let update = |id, closed, overdraft| pb::AccountUpdate {
        id: uuid(id),
        closed: Some(closed),
        overdraft: Some(overdraft),
    };
    let updates = vec![
        update(3, false, 49),
        update(3, true, 50),
        update(3, false, 60),
        update(404, true, 0),
        update(3, false, 60),
    ];
    let request = pb::UpdateAccountsRequest { updates };
    let results = call(client.update_accounts(request)).await.unwrap().results;
    let statuses: Vec<_> = results.iter().map(pb::UpdateAccountResult::status).collect();
    assert_eq!(
        statuses,
        [
            UpdateAccountStatus::OverdraftBelowUsed,
            UpdateAccountStatus::BalanceMustBeZero,
            UpdateAccountStatus::Updated,
            UpdateAccountStatus::AccountNotFound,
            UpdateAccountStatus::Updated,
        ]
    );
    assert!(results[2].updated_at.is_some() && results[4].updated_at.is_none(), "so already");

    let found = find(&mut client, 3).await;
    assert_eq!((found.overdraft, found.closed, found.debits_posted), (60, false, 50));
    assert_eq!((found.external_id, found.metadata), (uuid(77), limited.metadata));
    open(&mut client, vec![account(4)]).await;
    let request = pb::UpdateAccountsRequest { updates: vec![update(4, true, 0)] };
    call(client.update_accounts(request)).await.unwrap();
    assert!(find(&mut client, 4).await.closed);
    let to_closed = pb::NewTransfer { credit_account_id: uuid(4), ..transfer(12, 1) };
    let results = create(&mut client, vec![to_closed]).await;
    assert_eq!(results[0].status(), CreateTransferStatus::CreditAccountClosed);
}

/// K-08: an exchange is two linked transfers through accounts that hold both currencies, and a
/// transfer that balances moves what there is.
#[tokio::test(flavor = "multi_thread")]
async fn money_is_exchanged_and_swept() {
    let served = served().await;
    let mut client = served.client("payments");
    let dollars = |number| pb::NewAccount { ledger: 840, ..account(number) };
    let limit = BalanceLimit::DebitsWithinCredits.into();
    let ana = pb::NewAccount { limit, ..account(2) };
    open(&mut client, vec![account(1), ana, account(3), dollars(11), dollars(12)]).await;
    accept(&mut client, vec![transfer(100, 1_000)]).await;
    let leg = |id, from, to, amount, ledger| pb::NewTransfer {
        debit_account_id: uuid(from),
        credit_account_id: uuid(to),
        ledger,
        ..transfer(id, amount)
    };

    let sell = |id, amount| pb::NewTransfer { linked: true, ..leg(id, 2, 3, amount, LEDGER) };
    let too_much = vec![sell(101, 2_000), leg(102, 11, 12, 400, 840)];
    let refused = [CreateTransferStatus::ExceedsCredits, CreateTransferStatus::LinkedEventFailed];
    assert_eq!(statuses(&create(&mut client, too_much).await), refused);
    accept(&mut client, vec![sell(103, 500), leg(104, 11, 12, 100, 840)]).await;
    assert_eq!(find(&mut client, 12).await.credits_posted, 100);
    let (sold, bought) =
        (find_transfer(&mut client, 103).await, find_transfer(&mut client, 104).await);
    assert!(sold.linked && !bought.linked);

    let sweep = pb::NewTransfer { balancing_debit: true, ..leg(105, 2, 1, 10_000, LEDGER) };
    assert_eq!(accept(&mut client, vec![sweep]).await[0].amount, 500);
    let swept = find_transfer(&mut client, 105).await;
    assert!(swept.balancing_debit && !swept.balancing_credit);
    assert_eq!(swept.amount, 500);
}

/// A malformed request is an error of the call that names the field; nothing of it is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_field_is_named_with_its_place() {
    let (_served, mut client) = opened().await;
    let bad_id = pb::NewTransfer { id: "11".to_owned(), ..transfer(11, 1) };
    let bad_hold =
        pb::NewTransfer { pending_id: Uuid::nil().simple().to_string(), ..transfer(12, 1) };
    let bad_code = pb::NewTransfer { code: 65_536, ..transfer(13, 1) };
    let bad_kind = pb::NewTransfer { kind: 9, ..transfer(14, 1) };
    let before_1970 = pb::NewTransfer {
        effective_at: Some(prost_types::Timestamp { seconds: -1, nanos: 0 }),
        ..transfer(15, 1)
    };
    let bad_metadata = with_metadata(&[("", "x")], transfer(16, 1));
    for (transfers, field) in [
        (vec![transfer(10, 1), bad_id], "transfers[1].id"),
        (vec![bad_hold], "transfers[0].pending_id"),
        (vec![bad_code], "transfers[0].code"),
        (vec![bad_kind], "transfers[0].kind"),
        (vec![before_1970], "transfers[0].effective_at"),
        (vec![bad_metadata], "transfers[0].metadata"),
        (vec![], "transfers"),
        (vec![transfer(17, 1); 8_190], "transfers"),
    ] {
        let request = pb::CreateTransfersRequest { transfers, ..Default::default() };
        assert_invalid(&call(client.create_transfers(request)).await.unwrap_err(), field);
    }
    let accounts = vec![pb::NewAccount { limit: 3, ..account(3) }];
    let answer = call(client.create_accounts(pb::CreateAccountsRequest { accounts })).await;
    assert_invalid(&answer.unwrap_err(), "accounts[0].limit");
    let updates = vec![pb::AccountUpdate { id: uuid(1), closed: Some(true), overdraft: None }];
    let answer = call(client.update_accounts(pb::UpdateAccountsRequest { updates })).await;
    assert_invalid(&answer.unwrap_err(), "updates[0].overdraft");
    let ids = vec![uuid(1), String::new()];
    let answer = call(client.lookup_accounts(pb::LookupAccountsRequest { ids })).await;
    assert_invalid(&answer.unwrap_err(), "ids[1]");
    let answer = call(client.get_transfer(pb::GetTransferRequest { id: "x".to_owned() })).await;
    assert_invalid(&answer.unwrap_err(), "id");

    assert_eq!(find(&mut client, 2).await.credits_posted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_sees_nothing_and_moves_nothing() {
    let (_served, mut client) = opened().await;
    accept(&mut client, vec![transfer(10, 100)]).await;

    let ids = vec![uuid(1), uuid(2)];
    let accounts = client.lookup_accounts(pb::LookupAccountsRequest { ids });
    assert!(call_as_stranger(accounts).await.unwrap().accounts.is_empty());
    let transfers = vec![transfer(10, 100)];
    let request = pb::CreateTransfersRequest { transfers, ..Default::default() };
    let moved = call_as_stranger(client.create_transfers(request)).await.unwrap().results;
    assert_eq!(moved[0].status(), CreateTransferStatus::DebitAccountNotFound);
    let transfer = client.get_transfer(pb::GetTransferRequest { id: uuid(10) });
    assert_refused(call_as_stranger(transfer).await, Code::NotFound, "TRANSFER_NOT_FOUND");
    let balance = pb::GetBalanceRequest { account_id: uuid(1), as_of: None };
    let balance = client.get_balance(balance);
    assert_refused(call_as_stranger(balance).await, Code::NotFound, "ACCOUNT_NOT_FOUND");
    let found = pb::ListTransfersRequest { account_id: uuid(1), ..Default::default() };
    let found = call_as_stranger(client.list_transfers(found)).await.unwrap();
    assert_eq!(found, pb::ListTransfersResponse::default());
}
