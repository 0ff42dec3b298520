//! Replacing the signing key, and following it.

use std::fs;
use std::path::PathBuf;

use engine::next_key_file;
use proof::{PublicKey, SigningKey};

use crate::support::{Ledger, create, tenant, transfer};

fn in_file(ledger: &Ledger, file: &PathBuf) -> PublicKey {
    let key = SigningKey::from_pem(&fs::read_to_string(file).unwrap()).unwrap();
    key.public(ledger.first_key().ledger())
}

/// B-31, L-80: who has the first key can follow to the last, and verify what any of them signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_followed_from_the_first() {
    let ledger = Ledger::with_transfers(3).await;
    let first = ledger.first_key();
    assert!(tools::prove_keys(ledger.folder()).unwrap().is_empty());
    let kept = tools::verify(ledger.folder(), None, None).unwrap().head;

    let second = tools::rotate_key(&ledger.options).await.unwrap();
    let engine = ledger.open();
    assert!(create(&engine, transfer(4)).await.is_created());
    drop(engine);
    let third = tools::rotate_key(&ledger.options).await.unwrap();

    assert_eq!((&second.old, &third.old), (&first, &second.new));
    let keys = tools::keys(ledger.folder()).unwrap().0;
    let named: Vec<_> = keys.iter().map(|of| of.key.clone()).collect();
    assert_eq!(named, [first.clone(), second.new.clone(), third.new.clone()]);
    assert_eq!(in_file(&ledger, &ledger.options.signing_key), third.new);
    let old = ledger.folder().join(format!("signing.key.{}.old", keys[1].from - 1));
    assert_eq!(in_file(&ledger, &old), first);

    let proofs = tools::prove_keys(ledger.folder()).unwrap();
    assert_eq!(proofs[0].verify(&first), Ok(second.new.clone()));
    assert_eq!(proofs[1].verify(&second.new), Ok(third.new.clone()));
    assert!(proofs[1].verify(&first).is_err());
    let words = tools::check(&serde_json::to_string(&proofs).unwrap(), &first, None).unwrap();
    assert!(words.contains(&third.new.to_string()), "{words}");
    let one = serde_json::to_string(&proofs[1]).unwrap();
    assert!(tools::check(&one, &second.new, None).unwrap().contains(&third.new.to_string()));
    for key in [&first, &second.new, &third.new] {
        tools::verify(ledger.folder(), Some(key), Some(&kept)).unwrap();
    }
    let proof = tools::prove_transfer(ledger.folder(), tenant(), 1.into()).unwrap();
    assert_eq!(proof.verify(&third.new), Ok(()));
}

/// Whatever step a crash comes after, the ledger starts, with the key that it named last.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_leaves_a_ledger_that_starts() {
    for steps in 0..4 {
        let ledger = Ledger::with_transfers(1).await;
        let (first, file) = (ledger.first_key(), ledger.options.signing_key.clone());
        let next = SigningKey::from_seed(&[9; 32]);
        let next_file = next_key_file(&file);
        if steps == 0 {
            // Not even written to its end.
            fs::write(&next_file, &next.to_pem()[..20]).unwrap();
        } else {
            engine::create_key(&next_file, &next).unwrap();
        }
        if steps >= 2 {
            let engine = ledger.open();
            engine.rotate_key(next.clone()).await.unwrap();
        }
        if steps >= 3 {
            let named = tools::verify(ledger.folder(), None, None).unwrap().blocks;
            fs::hard_link(&file, format!("{}.{named}.old", file.display())).unwrap();
        }

        let engine = ledger.open();
        assert!(create(&engine, transfer(2)).await.is_created(), "after step {steps}");
        drop(engine);

        let signs = if steps >= 2 { next.public(first.ledger()) } else { first.clone() };
        assert_eq!(in_file(&ledger, &file), signs, "after step {steps}");
        let again = tools::rotate_key(&ledger.options).await.unwrap();
        assert_eq!(again.old, signs);
        assert!(!next_file.exists());
        assert_eq!(tools::keys(ledger.folder()).unwrap().0.last().unwrap().key, again.new);
        tools::verify(ledger.folder(), Some(&first), None).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_begun_is_finished_and_no_other_begun() {
    let ledger = Ledger::with_transfers(1).await;
    let next = SigningKey::from_seed(&[9; 32]);
    engine::create_key(&next_key_file(&ledger.options.signing_key), &next).unwrap();
    ledger.open().rotate_key(next.clone()).await.unwrap();

    let rotated = tools::rotate_key(&ledger.options).await.unwrap();

    assert_eq!(rotated.new, next.public(rotated.old.ledger()));
    assert_eq!(tools::keys(ledger.folder()).unwrap().0.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_running_ledger_is_not_replaced() {
    let ledger = Ledger::with_transfers(1).await;
    let engine = ledger.open();
    let error = tools::rotate_key(&ledger.options).await.unwrap_err();
    assert!(error.to_string().contains("stop that one first"), "{error}");
    drop(engine);
    assert!(!next_key_file(&ledger.options.signing_key).exists());
}
