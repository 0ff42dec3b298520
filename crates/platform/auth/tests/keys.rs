//! How a verifier gets its keys, keeps them and lets go of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use auth::{
    Claims, Jwk, KeyError, KeySource, Role, StaticKeys, TenantId, TokenError, TokenSigner,
    TokenVerifier, UserId, VerifierConfig,
};
use clock::Clock;
use tokio::time::Instant;

/// A source that counts how often it is read, and can be down.
struct Source {
    keys: StaticKeys,
    reads: AtomicUsize,
    down: AtomicBool,
}

impl Source {
    fn new(signers: &[&TokenSigner]) -> Arc<Self> {
        let source = Self {
            keys: StaticKeys::new(Vec::new()),
            reads: AtomicUsize::new(0),
            down: AtomicBool::new(false),
        };
        source.publish(signers);
        Arc::new(source)
    }

    fn publish(&self, signers: &[&TokenSigner]) {
        self.keys.set(signers.iter().map(|signer| signer.public_jwk().clone()).collect());
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeySource for Source {
    async fn fetch(&self) -> Result<Vec<Jwk>, KeyError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        if self.down.load(Ordering::SeqCst) {
            return Err(KeyError("down".to_owned()));
        }
        self.keys.fetch().await
    }
}

fn verifier(source: &Arc<Source>) -> TokenVerifier {
    TokenVerifier::new(Arc::clone(source) as _, VerifierConfig::default(), Clock::system())
}

fn token(signer: &TokenSigner) -> String {
    let now = Clock::system().now();
    let ttl = Duration::from_hours(1);
    let roles = vec![Role::Customer];
    signer.sign(&Claims::new(UserId::random(), TenantId::DEFAULT, roles, now, ttl)).unwrap()
}

fn signer() -> TokenSigner {
    TokenSigner::generate().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_crowd_with_an_unknown_key_reads_the_source_once() {
    let key = signer();
    let source = Source::new(&[&key]);
    let verifier = verifier(&source);

    let crowd = (0..100).map(|_| {
        let (verifier, token) = (verifier.clone(), token(&key));
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    for call in crowd.collect::<Vec<_>>() {
        assert!(call.await.unwrap().is_ok());
    }

    assert_eq!(source.reads(), 1);
}

/// A flood of forged key ids reads the source once a second, and no token of a fresh key suffers.
#[tokio::test(start_paused = true)]
async fn unknown_keys_wait_for_a_read_and_there_is_one_a_second() {
    let (old, new) = (signer(), signer());
    let source = Source::new(&[&old]);
    let verifier = verifier(&source);
    let started = Instant::now();
    verifier.verify(&token(&old)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(verifier.verify(&token(&signer())).await, Err(TokenError::Untrusted));
    }
    assert_eq!((source.reads(), started.elapsed().as_secs()), (4, 3));

    source.publish(&[&new, &old]);
    assert!(verifier.verify(&token(&new)).await.is_ok());
    assert!(verifier.verify(&token(&old)).await.is_ok());
    assert_eq!((source.reads(), started.elapsed().as_secs()), (5, 4));
}

#[tokio::test(start_paused = true)]
async fn known_keys_outlive_their_source_and_unknown_ones_are_unavailable() {
    let (old, new) = (signer(), signer());
    let source = Source::new(&[&old]);
    let verifier = verifier(&source);
    verifier.verify(&token(&old)).await.unwrap();

    source.down.store(true, Ordering::SeqCst);
    tokio::time::advance(Duration::from_mins(10)).await;
    assert_eq!(verifier.verify(&token(&new)).await, Err(TokenError::KeysUnavailable));
    assert!(verifier.verify(&token(&old)).await.is_ok());

    source.down.store(false, Ordering::SeqCst);
    source.publish(&[&new]);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(verifier.verify(&token(&new)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answered_makes_tokens_unavailable_not_untrusted() {
    let key = signer();
    let source = Source::new(&[]);
    let verifier = verifier(&source);

    assert_eq!(verifier.verify(&token(&key)).await, Err(TokenError::KeysUnavailable));
}

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_beside_the_calls_and_withdrawn_ones_stop_to_count() {
    let (old, new) = (signer(), signer());
    let source = Source::new(&[&old]);
    let verifier = verifier(&source);
    let seen = token(&old);
    verifier.verify(&seen).await.unwrap();

    source.publish(&[&new]);
    tokio::time::advance(Duration::from_mins(5)).await;
    assert!(verifier.verify(&token(&old)).await.is_ok(), "does not wait for the refresh");
    tokio::time::sleep(Duration::from_millis(100)).await;

    assert_eq!(source.reads(), 2);
    assert_eq!(verifier.verify(&seen).await, Err(TokenError::Untrusted), "though seen before");
    assert!(verifier.verify(&token(&new)).await.is_ok());
}

#[tokio::test]
async fn keys_for_other_purposes_are_not_used() {
    let key = signer();
    let token = token(&key);
    let edits: [fn(&mut Jwk); 3] = [
        |jwk| "enc".clone_into(&mut jwk.key_use),
        |jwk| "PS256".clone_into(&mut jwk.alg),
        |jwk| "oct".clone_into(&mut jwk.kty),
    ];
    for edit in edits {
        let mut jwk = key.public_jwk().clone();
        edit(&mut jwk);
        let keys = Arc::new(StaticKeys::new(vec![jwk]));
        let verifier = TokenVerifier::new(keys, VerifierConfig::default(), Clock::system());

        assert_eq!(verifier.verify(&token).await, Err(TokenError::KeysUnavailable));
    }
}

#[test]
fn a_stored_key_is_the_same_key() {
    let key = signer();

    let stored = TokenSigner::from_pkcs8(key.to_pkcs8().unwrap().as_ref()).unwrap();

    assert_eq!(stored.public_jwk(), key.public_jwk());
    assert!(TokenSigner::from_pkcs8(b"rubbish").is_err());
}
