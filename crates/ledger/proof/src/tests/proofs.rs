//! Proofs that a third party verifies.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::fixture::{Item, LEDGER, Ledger, key, named, note, plain, public, transfer};
use crate::{
    AccountProof, AccountState, Checkpoint, ConsistencyProof, Entry, Head, HeadFault, Header, Key,
    KeyProof, Kind, Leaves, Metadata, PathFault, ProofFault, SignedHead, Timestamp, TransferProof,
    Tree, consistency_proof, inclusion_proof, leaf_hash,
};

/// What the crate's own example verifies.
const PUBLISHED: &str = include_str!("transfer_proof.json");
const PUBLISHED_KEY: &str = include_str!("ledger.pub");

fn signed_head(ledger: &Ledger) -> SignedHead {
    let header = Header::decode(ledger.blocks.last().unwrap().first_chunk().unwrap()).unwrap();
    header.signed_head(&public(1))
}

/// Of entry 5, with metadata.
pub(super) fn transfer_proof() -> TransferProof {
    let ledger = Ledger::of_three_blocks();
    let metadata = note("42");
    let at = Timestamp::from_nanos(1_767_225_602_000_000_003);
    let path = inclusion_proof(&Leaves(&ledger.leaves), 5, 6).unwrap();
    let head = signed_head(&ledger);
    TransferProof { number: 5, transfer: transfer(5, &metadata, at), metadata, path, head }
}

/// Of the second of three accounts, and a checkpoint that is entry 6.
pub(super) fn account_proof() -> AccountProof {
    let state = |id: u128| AccountState {
        tenant: 1,
        id: id.into(),
        ledger: 986,
        code: 7,
        limit: 1,
        is_closed: false,
        overdraft: 0,
        debits_pending: 0,
        debits_posted: 1_050,
        credits_pending: 200,
        credits_posted: 10_000,
    };
    let states = [1, 2, 3].map(|id| leaf_hash(&state(id).leaf(), &[]));
    let mut tree = Tree::default();
    tree.push(&states, &mut |_, _, _| ());
    let root = tree.root();
    let checkpoint = move |created_at| Checkpoint { entries: 6, accounts: 3, root, created_at };
    let mut ledger = Ledger::of_three_blocks();
    ledger.seal(&[Box::new(move |at| (Entry::Checkpoint(checkpoint(at)), Metadata::default()))]);
    AccountProof {
        state: state(2),
        row: 1,
        state_path: inclusion_proof(&Leaves(&states), 1, 3).unwrap(),
        checkpoint: checkpoint(ledger.sealer.tail().last),
        number: 6,
        path: inclusion_proof(&Leaves(&ledger.leaves), 6, 7).unwrap(),
        head: signed_head(&ledger),
    }
}

/// From the head after the first block to that after the third.
pub(super) fn consistency_proof_and_old_head() -> (ConsistencyProof, Head) {
    let ledger = Ledger::of_three_blocks();
    let old = Header::decode(ledger.blocks[0].first_chunk().unwrap()).unwrap().head();
    let path = consistency_proof(&Leaves(&ledger.leaves), 3, 6).unwrap();
    (ConsistencyProof { from: 3, path, head: signed_head(&ledger) }, old)
}

/// Calls `found` with each value that differs from `json` in one place.
fn changed(json: &Value, found: &mut dyn FnMut(Value, &str)) {
    let mut paths = Vec::new();
    collect(json, String::new(), &mut paths);
    for path in paths {
        let mut json = json.clone();
        let place = json.pointer_mut(&path).unwrap();
        let other = match &*place {
            Value::Bool(value) => json!(!value),
            Value::Number(value) => json!(value.as_u64().unwrap() + 1),
            Value::Array(items) => json!([&items[..], &[json!("AAAA")]].concat()),
            Value::String(text) if text == "plain" => json!("pending"),
            Value::String(text) => {
                let last = text.trim_end_matches(['\n', '=']).chars().last().unwrap();
                let other = if last == '1' { "2" } else { "1" };
                let at = text.rfind(last).unwrap();
                json!(format!("{}{other}{}", &text[..at], &text[at + last.len_utf8()..]))
            }
            Value::Null | Value::Object(_) => continue,
        };
        *place = other;
        found(json, &path);
    }
}

fn collect(json: &Value, path: String, paths: &mut Vec<String>) {
    match json {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect(value, format!("{path}/{key}"), paths));
        }
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(place, item)| collect(item, format!("{path}/{place}"), paths));
            paths.push(path);
        }
        _ => paths.push(path),
    }
}

/// Reads and verifies each changed form of a proof: none may hold.
fn none_holds<P: DeserializeOwned>(proof: &impl serde::Serialize, verify: impl Fn(P) -> bool) {
    let json = serde_json::to_value(proof).unwrap();
    assert!(serde_json::from_value(json.clone()).is_ok_and(&verify), "it holds unchanged");
    let mut count = 0;
    changed(&json, &mut |json, path| {
        assert!(!serde_json::from_value(json).is_ok_and(&verify), "{path} may change");
        count += 1;
    });
    assert!(count > 3);
}

/// B-29, B-31, L-80.
#[test]
fn a_transfer_is_proved_as_it_stands_alone() {
    let proof = transfer_proof();
    assert_eq!(proof.verify(&public(1)), Ok(()));
    assert_eq!(proof.verify(&public(2)), Err(ProofFault::Head(HeadFault::Key)));
    none_holds(&proof, |proof: TransferProof| proof.verify(&public(1)).is_ok());
    let mut other = proof.clone();
    other.metadata = Metadata::default();
    assert_eq!(other.verify(&public(1)), Err(ProofFault::Entry));
    for kind in [Kind::Account, Kind::Key] {
        let mut other = proof.clone();
        other.transfer.kind = kind;
        assert_eq!(other.verify(&public(1)), Err(ProofFault::Entry));
    }
    let mut other = proof.clone();
    other.transfer.timeout_seconds = 5;
    assert_eq!(other.verify(&public(1)), Err(ProofFault::Entry), "it is not part of the bytes");
    let mut other = proof;
    other.transfer.amount += 1;
    assert_eq!(other.verify(&public(1)), Err(ProofFault::Path(PathFault)));
}

/// B-29, B-31, L-80.
#[test]
fn the_state_of_an_account_is_proved_as_it_stands_alone() {
    let proof = account_proof();
    assert_eq!(proof.verify(&public(1)), Ok(()));
    none_holds(&proof, |proof: AccountProof| proof.verify(&public(1)).is_ok());
}

/// B-30, L-80.
#[test]
fn growth_is_proved_from_the_head_that_was_kept_alone() {
    let (proof, old) = consistency_proof_and_old_head();
    assert_eq!(proof.verify(&old, &public(1)), Ok(()));
    none_holds(&proof, |proof: ConsistencyProof| proof.verify(&old, &public(1)).is_ok());
    let others =
        [Head { ledger: [9; 16], ..old }, Head { size: 2, ..old }, Head { root: [9; 32], ..old }];
    for other in others {
        assert!(proof.verify(&other, &public(1)).is_err());
    }
}

/// A ledger whose last block, after those of [`Ledger::of_three_blocks`], is of these.
fn key_proof(last: &[Item], number: u64) -> KeyProof {
    let mut ledger = Ledger::of_three_blocks();
    ledger.seal(last);
    let size = ledger.leaves.len().try_into().unwrap();
    let created_at = Timestamp::from_nanos(1_767_225_603_000_000_003 + number - 6);
    KeyProof {
        key: Key { public: public(2).bytes(), created_at },
        number,
        path: inclusion_proof(&Leaves(&ledger.leaves), number, size).unwrap(),
        head: signed_head(&ledger),
    }
}

/// B-31, L-80: whoever has the first key can follow to the last.
#[test]
fn the_next_key_is_proved_by_the_one_before_it_alone() {
    let proof = key_proof(&[plain(6), named(2)], 7);
    assert_eq!(proof.verify(&public(1)), Ok(public(2)));
    assert_eq!(proof.verify(&public(2)), Err(ProofFault::Head(HeadFault::Key)));
    none_holds(&proof, |proof: KeyProof| proof.verify(&public(1)).is_ok());
    let overruled = key_proof(&[named(2), named(3)], 6);
    assert_eq!(overruled.verify(&public(1)), Err(ProofFault::Path(PathFault)));
}

/// The forms in JSON are a contract: who has kept a proof can verify it with every later version.
#[test]
fn the_published_proof_is_still_written_and_verified() {
    let json = serde_json::to_string_pretty(&transfer_proof()).unwrap();
    assert_eq!(json, PUBLISHED.trim_end());
    assert_eq!(PUBLISHED_KEY.trim_end(), key(1).public(LEDGER).to_string());
    let proof: TransferProof = serde_json::from_str(PUBLISHED).unwrap();
    assert_eq!(proof.verify(&PUBLISHED_KEY.trim_end().parse().unwrap()), Ok(()));
}
