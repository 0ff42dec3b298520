//! Proofs that are made from files and verified without them.

use proof::{AccountId, PublicKey, SignedHead, TransferId};
use serde::Serialize;

use crate::support::{Ledger, create, tenant, transfer};

fn json(proof: &impl Serialize) -> String {
    serde_json::to_string_pretty(proof).unwrap()
}

/// The proof does not hold for another key, or when a digit of it is another.
fn is_bound(json: &str, key: &PublicKey, known: Option<&SignedHead>, field: &str) {
    let other = proof::SigningKey::from_seed(&[9; 32]).public(key.ledger());
    let error = tools::check(json, &other, known).unwrap_err();
    assert!(format!("{error:#}").contains("signed with another key"), "{error:#}");
    let at = json.find(&format!("\"{field}\": ")).unwrap() + field.len() + 5;
    let digit = if &json[at..=at] == "1" { "2" } else { "1" };
    let changed = format!("{}{digit}{}", &json[..at], &json[at + 1..]);
    assert!(tools::check(&changed, key, known).is_err(), "{changed}");
}

/// B-29, B-31, L-80, from more entries than one tile of the tree has.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_proved_from_the_files() {
    let ledger = Ledger::with_transfers(1_100).await;
    let key = ledger.first_key();
    for number in [1, 5, 1_019, 1_020, 1_100] {
        let proof = tools::prove_transfer(ledger.folder(), tenant(), number.into()).unwrap();
        assert_eq!((proof.transfer.id, proof.transfer.amount), (TransferId::from(number), 100));
        assert_eq!(proof.metadata.is_empty(), !number.is_multiple_of(5));
        let words = tools::check(&json(&proof), &key, None).unwrap();
        assert!(words.contains("100 minor units of ledger 986"), "{words}");
        is_bound(&json(&proof), &key, None, "amount");
    }
    let missing = tools::prove_transfer(ledger.folder(), tenant(), 9_999.into()).unwrap_err();
    assert!(missing.to_string().contains("the tenant has no transfer"), "{missing}");
    let stranger = tools::prove_transfer(ledger.folder(), 5.into(), 1.into()).unwrap_err();
    assert!(stranger.to_string().contains("knows no tenant"), "{stranger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_transfer_is_told_from_an_unknown_one() {
    let ledger = Ledger::with_transfers(0).await;
    let engine = ledger.open();
    let refused = proof::Transfer { debit: 3.into(), ..transfer(7) };
    assert!(!create(&engine, refused).await.is_created());
    drop(engine);
    let error = tools::prove_transfer(ledger.folder(), tenant(), 7.into()).unwrap_err();
    assert!(error.to_string().contains("was refused: EXCEEDS_CREDITS"), "{error}");
}

/// B-31, L-80.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_proved_at_the_newest_checkpoint() {
    let ledger = Ledger::with_transfers(10).await;
    let error = tools::prove_account(ledger.folder(), tenant(), 2.into()).unwrap_err();
    assert!(error.to_string().contains("has no checkpoint"), "{error}");
    let engine = ledger.open();
    engine.checkpoint().await.unwrap();
    assert!(create(&engine, transfer(11)).await.is_created());
    engine.checkpoint().await.unwrap();
    assert!(create(&engine, transfer(12)).await.is_created());
    drop(engine);

    let proof = tools::prove_account(ledger.folder(), tenant(), 2.into()).unwrap();

    assert_eq!((proof.state.id, proof.row), (AccountId::from(2), 1));
    assert_eq!(proof.state.credits_posted, 1_100);
    let words = tools::check(&json(&proof), &ledger.first_key(), None).unwrap();
    assert!(words.contains("1,100 and 0 on hold"), "{words}");
    is_bound(&json(&proof), &ledger.first_key(), None, "credits_posted");
    let error = tools::prove_account(ledger.folder(), tenant(), 9.into()).unwrap_err();
    assert!(error.to_string().contains("had no account"), "{error}");
}

/// B-30, L-80.
#[tokio::test(flavor = "multi_thread")]
async fn growth_is_proved_from_a_head_that_was_kept() {
    let ledger = Ledger::with_transfers(1_030).await;
    let kept = tools::verify(ledger.folder(), None, None).unwrap().head;
    let engine = ledger.open();
    for number in 2_000..2_010 {
        assert!(create(&engine, transfer(number)).await.is_created());
    }
    drop(engine);
    let key = ledger.first_key();

    let proof = tools::prove_consistency(ledger.folder(), kept.head.size).unwrap();

    let words = tools::check(&json(&proof), &key, Some(&kept)).unwrap();
    assert!(words.contains("still begins with the 1,035 entries"), "{words}");
    is_bound(&json(&proof), &key, Some(&kept), "from");
    let error = tools::check(&json(&proof), &key, None).unwrap_err().to_string();
    assert!(error.contains("--head"), "{error}");
    for from in [0, 9_999] {
        let error = tools::prove_consistency(ledger.folder(), from).unwrap_err().to_string();
        assert!(error.contains("1,045 entries"), "{error}");
    }
}

#[test]
fn what_is_no_proof_is_told() {
    let key = proof::SigningKey::from_seed(&[9; 32]).public([1; 16]);
    for (json, said) in [
        ("", "no JSON"),
        ("{}", "no proof"),
        ("{\"transfer\": 1}", "cannot be read"),
        ("[{}]", "cannot be read"),
    ] {
        let error = tools::check(json, &key, None).unwrap_err().to_string();
        assert!(error.contains(said), "{json}: {error}");
    }
}
