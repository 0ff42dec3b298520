//! Keys from a file.

use std::fs;
use std::time::Duration;

use auth::{Algorithm, IssuerConfig, KeysConfig, TokenError, Verifier};
use clock::Clock;
use tempfile::TempDir;

use crate::keys::{TestKey, claims, set, start};
use crate::server::{eventually, pass};

const ISSUER: &str = "https://issuer.example";

fn verifier(folder: &TempDir) -> Verifier {
    let issuer = IssuerConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec!["api".to_owned()],
        keys: KeysConfig::File(folder.path().join("jwks.json")),
        algorithms: vec![Algorithm::ES256],
        ..IssuerConfig::malha()
    };
    Verifier::new(&[issuer], None, Clock::manual(start())).unwrap()
}

fn write(folder: &TempDir, content: &str) {
    fs::write(folder.path().join("jwks.json"), content).unwrap();
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let (of_old, of_new) = (old.sign(&claims(ISSUER)), new.sign(&claims(ISSUER)));
    write(&folder, &set(&[&old]));
    let verifier = verifier(&folder);
    assert!(verifier.verify(&of_old).await.is_ok());

    write(&folder, &set(&[&new]));
    pass(Duration::from_secs(5)).await;
    eventually(|| verifier.cached(&of_old).is_none()).await;
    assert!(verifier.verify(&of_new).await.is_ok());

    for content in ["", "{}", "rubbish", &format!("{}{}", set(&[&old]), " ".repeat(1024 * 1024))] {
        write(&folder, content);
        pass(Duration::from_mins(1)).await;
        assert!(verifier.verify(&of_new).await.is_ok(), "the keys at hand stay");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_yet_makes_tokens_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let key = TestKey::p256("a");
    let token = key.sign(&claims(ISSUER));
    let verifier = verifier(&folder);
    assert_eq!(verifier.verify(&token).await, Err(TokenError::KeysUnavailable));

    write(&folder, &set(&[&key]));
    pass(Duration::from_secs(1)).await;
    assert!(verifier.verify(&token).await.is_ok());
}

#[tokio::test]
async fn a_file_can_be_checked_before_the_first_token() {
    let folder = tempfile::tempdir().unwrap();
    let verifier = verifier(&folder);
    let refused = async || {
        let error = verifier.check_files().await.unwrap_err();
        assert_eq!(error.field, "issuers[0].keys.file");
        assert!(error.problem.contains("jwks.json: "), "{error}");
        error.problem
    };
    assert!(refused().await.contains("No such file"));
    write(&folder, "{\"keys\": 1}");
    assert!(refused().await.ends_with("no JSON Web Key Set"));
    write(&folder, &set(&[&TestKey::rsa("a", jsonwebtoken::Algorithm::RS256)]));
    assert!(refused().await.ends_with("no key is for [ES256]"));
    write(&folder, &set(&[&TestKey::p256("a")]));
    assert_eq!(verifier.check_files().await, Ok(()));
}
