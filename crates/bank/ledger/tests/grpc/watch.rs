//! The change stream, and the same page by page.

use std::time::{Duration, Instant};

use contracts::ledger::v1 as pb;
use contracts::ledger::v1::CreateTransferStatus;
use contracts::ledger::v1::change::Change as Happened;
use tokio::time::{sleep, timeout};
use tonic::{Code, Streaming};

use crate::support::*;

/// Longest wait for something to be told.
const PATIENCE: Duration = Duration::from_secs(20);

async fn watch(client: &mut Client, after: u64) -> Streaming<pb::WatchResponse> {
    call(client.watch(pb::WatchRequest { after })).await.unwrap()
}

/// The next `count` changes, at least.
async fn next(stream: &mut Streaming<pb::WatchResponse>, count: usize) -> Vec<pb::Change> {
    let mut changes = Vec::new();
    while changes.len() < count {
        let message = timeout(PATIENCE, stream.message()).await.expect("it is told in time");
        let message = message.unwrap().expect("the stream goes on");
        assert!(!message.changes.is_empty());
        changes.extend(message.changes);
    }
    changes
}

/// All changes, page by page.
async fn listed(client: &mut Client, mut after: u64) -> Vec<pb::Change> {
    let mut changes = Vec::new();
    loop {
        let request = pb::ListChangesRequest { after, limit: 2 };
        let page = call(client.list_changes(request)).await.unwrap();
        if page.next_after == after {
            return changes;
        }
        assert!(changes.len() % 2 == 0, "the page before was the last one");
        after = page.next_after;
        changes.extend(page.changes);
    }
}

fn name(change: &pb::Change) -> &'static str {
    match change.change.as_ref().unwrap() {
        Happened::Account(_) => "account",
        Happened::AccountChange(_) => "change",
        Happened::Transfer(_) => "transfer",
        Happened::Refusal(_) => "refusal",
        Happened::Expiry(_) => "expiry",
    }
}

/// B-31: everything that happens is told once, in the order in which it was committed, from any
/// place on.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_in_order_and_from_any_place() {
    let (served, mut client) = opened().await;
    let mut stream = watch(&mut client, 0).await;
    let opened = next(&mut stream, 2).await;
    assert_eq!(opened.iter().map(name).collect::<Vec<_>>(), ["account", "account"]);

    let brief = pb::NewTransfer { timeout_seconds: 1, ..hold(11, 5) };
    let poor = pb::NewTransfer { credit_account_id: uuid(404), ..transfer(12, 1) };
    let results = create(&mut client, vec![transfer(10, 100), brief, poor]).await;
    let missing = CreateTransferStatus::CreditAccountNotFound;
    assert_eq!(results[2].status(), missing);
    let updates = vec![pb::AccountUpdate { id: uuid(1), closed: Some(false), overdraft: Some(0) }];
    call(client.update_accounts(pb::UpdateAccountsRequest { updates })).await.unwrap();

    let told = next(&mut stream, 4).await;
    assert_eq!(
        told.iter().map(name).collect::<Vec<_>>(),
        ["transfer", "transfer", "refusal", "expiry"]
    );
    let Some(Happened::Transfer(first)) = &told[0].change else { panic!("{told:?}") };
    assert_eq!((&first.id, first.amount, first.sequence), (&uuid(10), 100, told[0].sequence));
    assert_eq!(told[0].created_at, results[0].created_at);
    let Some(Happened::Refusal(refusal)) = &told[2].change else { panic!("{told:?}") };
    assert_eq!((&refusal.id, refusal.status()), (&uuid(12), missing));
    let Some(Happened::Expiry(expiry)) = &told[3].change else { panic!("{told:?}") };
    assert_eq!((&expiry.pending_id, expiry.amount), (&uuid(11), 5));

    let all: Vec<_> = opened.into_iter().chain(told).collect();
    assert!(all.is_sorted_by(|a, b| a.sequence < b.sequence));
    assert_eq!(listed(&mut client, 0).await, all);
    for (place, change) in all.iter().enumerate() {
        let after = all.len() - place - 1;
        let mut resumed = watch(&mut client, change.sequence).await;
        assert_eq!(next(&mut resumed, after).await, all[place + 1..]);
    }

    served.kit.stop("ledger").await;
    let end = timeout(PATIENCE, stream.message()).await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    served.start().await.unwrap();
    let last = all.last().unwrap().sequence;
    let mut resumed = watch(&mut client, last).await;
    accept(&mut client, vec![transfer(20, 1)]).await;
    let told = next(&mut resumed, 1).await;
    assert!(told[0].sequence > last && name(&told[0]) == "transfer");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_the_tenants_own_is_told() {
    let (_served, mut client) = opened().await;
    let mut strangers =
        call_as_stranger(client.watch(pb::WatchRequest { after: 0 })).await.unwrap();
    accept(&mut client, vec![transfer(10, 100)]).await;
    let accounts = vec![account(1)];
    let request = pb::CreateAccountsRequest { accounts };
    call_as_stranger(client.create_accounts(request)).await.unwrap();
    accept(&mut client, vec![transfer(11, 100)]).await;

    let told = next(&mut strangers, 1).await;
    assert_eq!(told.iter().map(name).collect::<Vec<_>>(), ["account"]);
    let silence = timeout(Duration::from_millis(300), strangers.message()).await;
    assert!(silence.is_err(), "{silence:?}");
    let own = listed(&mut client, 0).await;
    assert_eq!(
        own.iter().map(name).collect::<Vec<_>>(),
        ["account", "account", "transfer", "transfer"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_has_so_many_streams_and_no_more() {
    let (_served, mut client) = opened().await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(watch(&mut client, 0).await);
    }

    let refused = call(client.watch(pb::WatchRequest { after: 0 })).await;
    testkit::assert_refused(refused, Code::ResourceExhausted, "TOO_MANY_STREAMS");
    call_as_stranger(client.watch(pb::WatchRequest { after: 0 })).await.unwrap();

    drop(streams.pop());
    let end = Instant::now() + PATIENCE;
    while call(client.watch(pb::WatchRequest { after: 0 })).await.is_err() {
        assert!(Instant::now() < end, "a stream that was closed counts no more");
        sleep(Duration::from_millis(10)).await;
    }
}

/// B-55: a reader that does not read slows nobody, and misses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_nobody_up_and_misses_nothing() {
    const BATCHES: u128 = 8;
    let (served, mut client) = opened().await;
    let mut slow = watch(&mut served.client("engineer"), 0).await;
    assert_eq!(next(&mut slow, 2).await.len(), 2);
    let long = "x".repeat(200);

    // More than all windows and buffers on the way to the reader hold.
    for batch in 0..BATCHES {
        let transfers = (0..8_189).map(|number| {
            with_metadata(&[("note", &long)], transfer(batch * 10_000 + number + 100, 1))
        });
        let created = timeout(PATIENCE, accept(&mut client, transfers.collect())).await;
        assert_eq!(created.unwrap().len(), 8_189);
    }

    let expected = usize::try_from(BATCHES * 8_189).unwrap();
    let told = next(&mut slow, expected).await;
    assert_eq!(told.len(), expected);
    assert!(told.is_sorted_by(|a, b| a.sequence < b.sequence));
    let ids: std::collections::BTreeSet<_> = told
        .iter()
        .map(|change| match &change.change {
            Some(Happened::Transfer(transfer)) => transfer.id.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids.len(), expected);
}
