//! Backups.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use clock::Clock;
use engine::{Engine, Options};
use proof::SigningKey;

use crate::support::{Ledger, create, segment, transfer};

/// What was answered before a backup began is in it, while the ledger goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_ledger_is_copied_and_the_copy_grows() {
    let ledger = Ledger::with_transfers(1).await;
    let (engine, answered) = (ledger.open(), AtomicU64::new(0));
    let (folder, to) = (ledger.folder(), ledger.path("backup"));
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let copier = scope.spawn(|| {
                for _ in 0..10 {
                    let before = answered.load(Ordering::SeqCst);
                    let copy = tools::backup(folder, &to).unwrap();
                    assert!(copy.head.end() >= before, "{copy}");
                }
            });
            let handle = tokio::runtime::Handle::current();
            let mut number = 2;
            while !copier.is_finished() {
                assert!(handle.block_on(create(&engine, transfer(number))).is_created());
                let durable = handle.block_on(async { *engine.reader().durable().borrow() });
                answered.store(durable, Ordering::SeqCst);
                number += 1;
            }
            copier.join().unwrap();
        });
    });
    drop(engine);
    assert!(!to.join("signing.key").exists(), "the key stays where it is");
    let last = tools::backup(folder, &to).unwrap();
    let verified = tools::verify(&to, Some(&ledger.first_key()), None).unwrap();
    assert_eq!(verified.head, tools::verify(folder, None, None).unwrap().head);
    assert!(last.to_string().contains("all verified"), "{last}");
    assert_eq!(tools::backup(folder, &to).unwrap().bytes_written, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_ledger_goes_on() {
    let ledger = Ledger::with_transfers(10).await;
    let (backup, folder) = (ledger.path("backup"), ledger.path("restored"));
    tools::backup(ledger.folder(), &backup).unwrap();
    let (key, key_file) = (ledger.first_key(), ledger.options.signing_key.clone());

    tools::restore(&backup, &folder, Some(&key), Some(&key_file)).unwrap();

    let signing_key = folder.join("signing.key");
    let options = Options { folder: folder.clone(), signing_key, ..ledger.options.clone() };
    let engine = Engine::open(&options, Clock::system()).unwrap();
    assert!(!create(&engine, transfer(10)).await.is_created());
    assert!(create(&engine, transfer(11)).await.is_created());
    drop(engine);
    assert_eq!(tools::verify(&folder, Some(&key), None).unwrap().transfers, 11);
    let error = tools::restore(&backup, &folder, None, None).unwrap_err();
    assert!(error.to_string().contains("it is not empty"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_with_another_key_or_from_a_broken_copy() {
    let ledger = Ledger::with_transfers(5).await;
    let (backup, folder) = (ledger.path("backup"), ledger.path("restored"));
    tools::backup(ledger.folder(), &backup).unwrap();
    let other = SigningKey::from_seed(&[9; 32]);
    let other_file = ledger.write("other.key", &other.to_pem());

    let error = tools::restore(&backup, &folder, None, Some(&other_file)).unwrap_err();
    assert!(error.to_string().contains("is not the signing key of the ledger"), "{error}");
    let public = other.public(ledger.first_key().ledger());
    assert!(tools::restore(&backup, &folder, Some(&public), None).is_err());
    let mut bytes = fs::read(segment(&backup)).unwrap();
    bytes[300] ^= 1;
    fs::write(segment(&backup), bytes).unwrap();
    let error = tools::restore(&backup, &folder, None, None).unwrap_err();
    assert!(error.to_string().contains("block 1"), "{error}");
    assert!(!folder.exists());
    let error = tools::backup(ledger.folder(), &backup).unwrap_err();
    assert!(error.to_string().contains("differs"), "{error}");
}
