//! All entries as text.

use std::collections::BTreeMap;

use serde_json::Value;
use tools::{Format, Range};

use crate::support::{Ledger, TENANT, create, tenant, transfer};

/// Entries of every kind but expiries.
async fn of_all_kinds() -> Ledger {
    let ledger = Ledger::with_transfers(5).await;
    let engine = ledger.open();
    let refused = proof::Transfer { debit: 3.into(), ..transfer(6) };
    assert!(!create(&engine, refused).await.is_created());
    let hold = proof::Transfer { kind: proof::Kind::Pending, timeout_seconds: 60, ..transfer(7) };
    assert!(create(&engine, hold).await.is_created());
    let (kind, hold) = (proof::Kind::PostPending, 7.into());
    let post = proof::Transfer { kind, hold, amount: 40, external_id: 9.into(), ..transfer(8) };
    assert!(create(&engine, post).await.is_created());
    let amendment = proof::Amendment {
        tenant: 0,
        account: 3.into(),
        is_closed: false,
        overdraft: 50,
        created_at: proof::Timestamp::default(),
    };
    engine.amend_accounts(tenant(), vec![amendment]).await.unwrap();
    engine.checkpoint().await.unwrap();
    drop(engine);
    ledger
}

fn ndjson(ledger: &Ledger, range: Range) -> Vec<Value> {
    let mut out = Vec::new();
    let exported = tools::export(ledger.folder(), Format::Ndjson, range, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, exported.entries);
    lines
}

/// B-31, L-80.
#[tokio::test(flavor = "multi_thread")]
async fn every_entry_is_a_line_of_all_that_it_says() {
    let ledger = of_all_kinds().await;

    let lines = ndjson(&ledger, Range::default());

    let numbers: Vec<_> = lines.iter().map(|line| line["number"].as_u64().unwrap()).collect();
    assert!(numbers.into_iter().eq(0..lines.len() as u64));
    let of = |kind: &str| lines.iter().find(|line| line["kind"] == kind).unwrap();
    let id = |number: u128| uuid::Uuid::from_u128(number).to_string();
    assert_eq!(of("tenant")["id"], id(TENANT));
    assert_eq!(of("account")["limit"], "none");
    let noted = lines.iter().find(|line| line.get("metadata").is_some()).unwrap();
    assert_eq!(noted["metadata"]["note"], "a \"quoted\", text");
    assert_eq!(noted["created_at"], noted["effective_at"]);
    assert_eq!(of("pending")["timeout_seconds"], 60);
    let post = of("post_pending");
    assert_eq!((&post["amount"], &post["pending_id"]), (&40.into(), &id(7).into()));
    assert_eq!((&post["external_id"], &post["tenant"]), (&id(9).into(), &id(TENANT).into()));
    assert_eq!(of("refusal")["status"], "EXCEEDS_CREDITS");
    assert_eq!(of("amendment")["overdraft"], 50);
    assert_eq!(of("checkpoint")["accounts"], 3);
    assert_eq!(of("key")["key"].as_str().unwrap().len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_formats_say_the_same() {
    let ledger = of_all_kinds().await;
    let mut out = Vec::new();
    tools::export(ledger.folder(), Format::Csv, Range::default(), &mut out).unwrap();
    let mut reader = csv::Reader::from_reader(&*out);
    let rows: Vec<BTreeMap<String, String>> =
        reader.deserialize().collect::<Result<_, _>>().unwrap();
    let lines = ndjson(&ledger, Range::default());
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(&lines) {
        for (name, text) in row {
            let expected = match line.get(name) {
                None => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
            };
            assert_eq!(*text, expected, "{name} of {line}");
        }
        assert!(line.as_object().unwrap().keys().all(|name| row.contains_key(name)), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_exported_when_it_is_asked_for() {
    let ledger = of_all_kinds().await;
    let all = ndjson(&ledger, Range::default());
    let part = ndjson(&ledger, Range { tenant: None, from: 3, to: Some(6) });
    assert_eq!(part, all[3..=6]);
    let of_tenant = ndjson(&ledger, Range { tenant: Some(tenant()), ..Range::default() });
    let expected: Vec<_> =
        all.iter().filter(|line| line.get("tenant").is_some()).cloned().collect();
    assert_eq!(of_tenant, expected);
    assert_eq!(ndjson(&ledger, Range { tenant: Some(5.into()), ..Range::default() }).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_not_exported() {
    let ledger = of_all_kinds().await;
    let places = crate::support::places(ledger.folder());
    ledger.flip(places[3] + 300);
    let mut out = Vec::new();
    let error = tools::export(ledger.folder(), Format::Csv, Range::default(), &mut out);
    assert!(error.unwrap_err().to_string().contains("block 4,"));
}
