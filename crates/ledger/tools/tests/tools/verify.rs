//! Verifying all of a ledger.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use proof::{PublicKey, SignedHead, SigningKey};

use crate::support::{Ledger, create, places, segment, transfer};

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_in_order_is_told_with_its_head_and_keys() {
    let ledger = Ledger::with_transfers(20).await;
    let key = ledger.first_key();

    let verified = tools::verify(ledger.folder(), Some(&key), None).unwrap();

    // A key, a tenant, three accounts, twenty transfers.
    assert_eq!((verified.entries, verified.accounts, verified.transfers), (25, 3, 20));
    assert_eq!(verified.blocks, places(ledger.folder()).len() as u64 - 1);
    assert_eq!(verified.head.verify(&key).unwrap().size, 25);
    let text = verified.to_string();
    assert!(text.contains("25 entries, of which 20 are transfers and 3 accounts"), "{text}");
    assert!(text.contains(&key.to_string()) && !text.contains("believed"), "{text}");
    let text = tools::verify(ledger.folder(), None, None).unwrap().to_string();
    assert!(text.contains("No --key was given") && text.contains(&key.to_string()), "{text}");
}

/// B-30, L-80: wherever a bit is flipped, it is found and its place is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_and_named() {
    let ledger = Ledger::with_transfers(8).await;
    let places = places(ledger.folder());
    for (block, place) in places.windows(2).enumerate() {
        let at = u64::midpoint(place[0], place[1]);
        ledger.flip(at);
        let error = tools::verify(ledger.folder(), None, None).unwrap_err().to_string();
        let named = format!("block {}, {:020}.segment, byte {}:", block + 1, 1, place[0]);
        assert!(error.contains(&named), "{error}");
        ledger.flip(at);
    }
    tools::verify(ledger.folder(), None, None).unwrap();
}

/// B-30, B-31, L-80: who kept a head sees when entries were taken away or another history is shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_has_to_go_on_from_the_head_that_was_kept() {
    let ledger = Ledger::with_transfers(5).await;
    let kept = tools::verify(ledger.folder(), None, None).unwrap().head;
    let before = ledger.path("before");
    tools::backup(ledger.folder(), &before).unwrap();
    let engine = ledger.open();
    assert!(create(&engine, transfer(6)).await.is_created());
    drop(engine);

    let verified = tools::verify(ledger.folder(), None, Some(&kept)).unwrap();
    assert!(verified.to_string().contains("It goes on from the head that was kept"));
    let newer = verified.head;
    let error = tools::verify(&before, None, Some(&newer)).unwrap_err().to_string();
    let last = kept.head.sequence;
    assert!(error.contains(&format!("ends with block {last}")), "{error}");

    let mut other = newer.head;
    other.root = [1; 32];
    let key = fs::read_to_string(&ledger.options.signing_key).unwrap();
    let other = other.sign(&SigningKey::from_pem(&key).unwrap());
    let error = tools::verify(ledger.folder(), None, Some(&other)).unwrap_err().to_string();
    assert!(error.contains("does not go on from the head that was kept"), "{error}");
    let forged = newer.head.sign(&SigningKey::from_seed(&[9; 32]));
    let error = tools::verify(ledger.folder(), None, Some(&forged)).unwrap_err().to_string();
    assert!(error.contains("signed with another key"), "{error}");
    assert_eq!(newer, newer.to_string().parse::<SignedHead>().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_refused() {
    let ledger = Ledger::with_transfers(1).await;
    let key = ledger.first_key();
    let of_others: [PublicKey; 2] = [
        SigningKey::from_seed(&[9; 32]).public(key.ledger()),
        SigningKey::from_seed(&[9; 32]).public([7; 16]),
    ];
    let errors = of_others.map(|key| tools::verify(ledger.folder(), Some(&key), None).unwrap_err());
    assert!(errors[0].to_string().contains("no block of the ledger is signed with the key"));
    assert!(errors[1].to_string().contains("belongs to another ledger"), "{}", errors[1]);
}

/// A block that is not whole yet is no fault of a running ledger.
#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_last_block_is_left_out_and_told() {
    let ledger = Ledger::with_transfers(3).await;
    let places = places(ledger.folder());
    let bytes = fs::read(segment(ledger.folder())).unwrap();
    fs::remove_file(ledger.folder().join("floor")).unwrap();
    let torn = usize::try_from(places[places.len() - 1]).unwrap() - 10;
    fs::write(segment(ledger.folder()), &bytes[..torn]).unwrap();

    let verified = tools::verify(ledger.folder(), None, None).unwrap();

    assert_eq!((verified.transfers, verified.blocks), (2, places.len() as u64 - 2));
    assert!(verified.bytes_incomplete > 0);
    assert!(verified.to_string().contains("Left out:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_ledger_is_verified() {
    let ledger = Ledger::with_transfers(1).await;
    let (engine, stop) = (ledger.open(), AtomicBool::new(false));
    let folder = ledger.folder();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let verifier = scope.spawn(|| {
                let rounds = (0..20).map(|_| tools::verify(folder, None, None).unwrap().entries);
                let rounds: Vec<_> = rounds.collect();
                stop.store(true, Ordering::Relaxed);
                rounds
            });
            let handle = tokio::runtime::Handle::current();
            let mut number = 2;
            while !stop.load(Ordering::Relaxed) {
                assert!(handle.block_on(create(&engine, transfer(number))).is_created());
                number += 1;
            }
            let rounds = verifier.join().unwrap();
            assert!(rounds.is_sorted() && rounds[0] < rounds[19], "{rounds:?}");
        });
    });
}

#[test]
fn a_folder_without_a_ledger_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = tools::verify(folder.path(), None, None).unwrap_err().to_string();
    assert!(error.contains("there is no ledger in"), "{error}");
    let missing = tools::keys(&folder.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("there is no ledger in"), "{missing}");
}
