//! Keys from an address: read once, refreshed, rotated, and kept whatever the server does (L-05).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use auth::{IssuerConfig, JwksUrl, KeysConfig, TokenError, Verifier};
use clock::Clock;
use serde_json::json;

use crate::keys::{TestKey, claims, set, start, with};
use crate::server::{Answer, Server, eventually, pass};

const ISSUER: &str = "https://issuer.example";

fn issuer_config(url: &JwksUrl) -> IssuerConfig {
    IssuerConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec!["api".to_owned()],
        keys: KeysConfig::Url(url.clone()),
        algorithms: vec![auth::Algorithm::ES256],
        ..IssuerConfig::malha()
    }
}

fn verifier(url: &JwksUrl) -> Verifier {
    Verifier::new(&[issuer_config(url)], None, Clock::manual(start())).unwrap()
}

/// The `n`th token of a key: each is another.
fn token(key: &TestKey, n: usize) -> String {
    key.sign(&with(claims(ISSUER), "jti", json!(n)))
}

#[tokio::test]
async fn keys_are_read_over_https_from_a_server_that_is_trusted() {
    let key = TestKey::p256("a");
    let server = Server::https(Answer::document(&set(&[&key]), 300)).await;

    assert!(verifier(&server.url).verify(&token(&key, 0)).await.is_ok());
    assert_eq!(server.requests(), 1);

    let stranger = Server::https(Answer::document(&set(&[&key]), 300)).await;
    let ca = stranger.url.ca.clone();
    let distrusting = verifier(&JwksUrl { ca, ..server.url.clone() });
    let verified = distrusting.verify(&token(&key, 0)).await;
    assert_eq!(verified, Err(TokenError::KeysUnavailable));

    // The right certificate, but for another name.
    let address = server.url.address.replace("localhost", "127.0.0.1");
    let elsewhere = verifier(&JwksUrl { address, ..server.url.clone() });
    let verified = elsewhere.verify(&token(&key, 0)).await;
    assert_eq!(verified, Err(TokenError::KeysUnavailable));
    assert_eq!(server.requests(), 1, "nothing is asked of who is not trusted");
}

#[tokio::test]
async fn the_metadata_of_a_provider_tell_where_its_keys_are() {
    let key = TestKey::p256("a");
    let keys = Server::http(Answer::document(&set(&[&key]), 300)).await;
    for (issuer, address, expected) in [
        (ISSUER, keys.url.address.as_str(), true),
        ("https://other.example", &keys.url.address, false),
        (ISSUER, "ftp://localhost/keys", false),
        (ISSUER, "", false),
    ] {
        let metadata = json!({"issuer": issuer, "jwks_uri": address, "scopes_supported": []});
        let provider = Server::http(Answer::document(&metadata.to_string(), 300)).await;
        let config = IssuerConfig {
            keys: KeysConfig::Provider(provider.url.clone()),
            ..issuer_config(&provider.url)
        };
        let verifier = Verifier::new(&[config], None, Clock::manual(start())).unwrap();
        let answer = verifier.verify(&token(&key, 0)).await;
        assert_eq!(answer.is_ok(), expected, "{issuer} {address}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_asks_once() {
    let key = TestKey::p256("a");
    let server = Server::http(Answer::document(&set(&[&key]), 300)).await;
    let verifier = verifier(&server.url);

    let crowd = (0..200).map(|n| {
        let (verifier, token) = (verifier.clone(), token(&key, n));
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    for call in crowd.collect::<Vec<_>>() {
        assert!(call.await.unwrap().is_ok());
    }

    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn unknown_keys_make_one_request_in_five_seconds() {
    let (key, new) = (TestKey::p256("a"), TestKey::p256("b"));
    let server = Server::http(Answer::document(&set(&[&key]), 3600)).await;
    let verifier = verifier(&server.url);
    verifier.verify(&token(&key, 0)).await.unwrap();

    let forged: Vec<_> =
        (0..50).map(|n| token(&TestKey::p256(&format!("forged-{n}")), n)).collect();
    server.answer(Answer::document(&set(&[&key, &new]), 3600));
    let flood = forged.into_iter().chain([token(&new, 0)]).map(|token| {
        let verifier = verifier.clone();
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    let flood: Vec<_> = flood.collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.requests(), 1, "they wait");
    pass(Duration::from_secs(5)).await;

    let mut answers = Vec::new();
    for call in flood {
        answers.push(call.await.unwrap());
    }
    assert!(answers.pop().unwrap().is_ok(), "the new key was found among the forged ones");
    assert!(answers.into_iter().all(|answer| answer == Err(TokenError::Untrusted)));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn no_more_than_a_thousand_tokens_of_unknown_keys_wait() {
    let key = TestKey::p256("a");
    let server = Server::http(Answer::document(&set(&[&key]), 3600)).await;
    let verifier = verifier(&server.url);
    verifier.verify(&token(&key, 0)).await.unwrap();

    let payload = claims(ISSUER).to_string();
    let flood = (0..1_100).map(|n| {
        let header = with(key.header(), "kid", json!(format!("forged-{n}"))).to_string();
        let (verifier, token) = (verifier.clone(), key.sign_text(&header, &payload));
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    let flood: Vec<_> = flood.collect();
    eventually(|| flood.iter().filter(|call| call.is_finished()).count() == 100).await;

    let (sent_away, waiting): (Vec<_>, Vec<_>) =
        flood.into_iter().partition(tokio::task::JoinHandle::is_finished);
    assert_eq!(waiting.len(), 1_000);
    for call in sent_away {
        assert_eq!(call.await.unwrap(), Err(TokenError::KeysUnavailable));
    }
    assert!(verifier.verify(&token(&key, 1)).await.is_ok(), "others do not notice");
}

/// Callers with tokens of the old and the new key, while the issuer goes from one to the other.
#[tokio::test]
async fn keys_rotate_under_load() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let server = Server::http(Answer::document(&set(&[&old, &new]), 60)).await;
    let verifier = verifier(&server.url);
    let (seen, calls) = (token(&old, 0), Arc::new(AtomicUsize::new(0)));
    verifier.verify(&seen).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let load = (0..32).map(|caller| {
        let (verifier, key) = (verifier.clone(), new.clone());
        let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let n = calls.fetch_add(1, Ordering::SeqCst);
                let token = token(&key, if n % 2 == 0 { caller } else { n });
                verifier.verify(&token).await.expect("a good token is never refused");
                tokio::task::yield_now().await;
            }
        })
    });
    let load: Vec<_> = load.collect();

    server.answer(Answer::document(&set(&[&new]), 60));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(matches!(verifier.cached(&seen), Some(Ok(_))), "nobody knows yet");
    pass(Duration::from_secs(31)).await;
    eventually(|| server.requests() == 2).await;
    eventually(|| verifier.cached(&seen).is_none()).await;

    stop.store(true, Ordering::SeqCst);
    for caller in load {
        caller.await.unwrap();
    }
    assert!(calls.load(Ordering::SeqCst) > 100);
    assert_eq!(server.requests(), 2, "refreshed once, however many called");
    let refused = tokio::spawn({
        let (verifier, seen) = (verifier.clone(), seen.clone());
        async move { verifier.verify(&seen).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    pass(Duration::from_secs(5)).await;
    assert_eq!(refused.await.unwrap(), Err(TokenError::Untrusted));
}

#[tokio::test]
async fn only_the_tokens_of_a_withdrawn_key_are_forgotten() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let server = Server::http(Answer::document(&set(&[&old, &new]), 60)).await;
    let verifier = verifier(&server.url);
    let (of_old, of_new) = (token(&old, 0), token(&new, 0));
    verifier.verify(&of_old).await.unwrap();
    let kept = verifier.verify(&of_new).await.unwrap();

    server.answer(Answer::document(&set(&[&new]), 60));
    pass(Duration::from_secs(31)).await;
    assert!(verifier.cached(&of_old).is_some(), "the refresh is beside the calls");
    eventually(|| verifier.cached(&of_old).is_none()).await;

    let still = verifier.cached(&of_new).unwrap().unwrap();
    assert!(Arc::ptr_eq(&still, &kept), "not verified again");
}

/// A key of the same name is another key: its tokens must be verified with it.
#[tokio::test]
async fn a_key_that_changed_under_its_name_is_another_key() {
    let (old, new) = (TestKey::p256("same"), TestKey::p256("same"));
    let server = Server::http(Answer::document(&set(&[&old]), 60)).await;
    let verifier = verifier(&server.url);
    let of_old = token(&old, 0);
    verifier.verify(&of_old).await.unwrap();

    server.answer(Answer::document(&set(&[&new]), 60));
    pass(Duration::from_secs(61)).await;

    assert!(verifier.cached(&of_old).is_none());
    assert_eq!(verifier.verify(&of_old).await, Err(TokenError::Untrusted));
    assert!(verifier.verify(&token(&new, 0)).await.is_ok());
}

/// Nobody called while the key was withdrawn: the first who does is not let in by what was known.
#[tokio::test]
async fn keys_that_nobody_used_for_long_are_read_before_they_count_again() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let server = Server::http(Answer::document(&set(&[&old]), 60)).await;
    let verifier = verifier(&server.url);
    let seen = token(&old, 0);
    verifier.verify(&seen).await.unwrap();

    server.answer(Answer::document(&set(&[&new]), 60));
    pass(Duration::from_mins(1)).await;

    assert!(verifier.cached(&seen).is_none());
    assert!(verifier.verify(&token(&new, 0)).await.is_ok());
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn keys_outlive_their_server() {
    let key = TestKey::p256("a");
    let mut server = Server::http(Answer::document(&set(&[&key]), 60)).await;
    let verifier = verifier(&server.url);
    let seen = token(&key, 0);
    verifier.verify(&seen).await.unwrap();

    server.stop().await;
    pass(Duration::from_hours(2)).await;
    assert!(verifier.verify(&seen).await.is_ok());
    assert!(verifier.verify(&token(&key, 1)).await.is_ok(), "never seen");
    pass(Duration::from_hours(2)).await;
    assert!(matches!(verifier.cached(&seen), Some(Ok(_))));
    tokio::time::sleep(Duration::from_millis(50)).await;
    pass(Duration::from_secs(5)).await;
    let unknown = verifier.verify(&token(&TestKey::p256("b"), 0)).await;
    assert_eq!(unknown, Err(TokenError::KeysUnavailable));
}

#[tokio::test]
async fn max_age_counts_within_bounds() {
    let key = TestKey::p256("a");
    for (max_age, refreshed_after) in [(0, 30), (100, 50), (600, 300), (1_000_000, 1800)] {
        let server = Server::http(Answer::document(&set(&[&key]), max_age)).await;
        let verifier = verifier(&server.url);
        let seen = token(&key, 0);
        verifier.verify(&seen).await.unwrap();

        pass(Duration::from_secs(refreshed_after - 1)).await;
        assert!(verifier.cached(&seen).is_some());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.requests(), 1, "max-age={max_age}");
        pass(Duration::from_secs(1)).await;
        assert!(verifier.cached(&seen).is_some());
        eventually(|| server.requests() == 2).await;
    }
}

#[tokio::test]
async fn bad_answers_are_no_keys_and_cost_little() {
    let key = TestKey::p256("a");
    let body = set(&[&key]);
    let text = |text: &str| Answer::Text(text.to_owned());
    let found = format!("HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\n\r\n{body}");
    let answers = [
        text("\u{0}\u{1}\u{2} no HTTP at all \r\n\r\n"),
        text(""),
        text("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"keys\""),
        text(&format!("HTTP/1.1 500 Oops\r\n\r\n{body}")),
        text(&format!("HTTP/1.1 404 Not Found\r\n\r\n{body}")),
        text(&found),
        text(&format!("HTTP/1.1 200 OK\r\n{}\r\n{body}", "x: y\r\n".repeat(100_000))),
        Answer::document("<html>", 60),
        Answer::document("{}", 60),
        Answer::document(r#"{"keys": []}"#, 60),
        Answer::document(r#"{"keys": [1, null, {}, {"kid": "a"}, {"kid": "a", "kty": "EC"}]}"#, 60),
        Answer::document(&"[".repeat(100_000), 60),
        Answer::Endless,
    ];
    for (n, answer) in answers.into_iter().enumerate() {
        let server = Server::http(answer).await;
        let verifier = verifier(&server.url);
        let started = Instant::now();
        let refused = verifier.verify(&token(&key, 0)).await;
        assert_eq!(refused, Err(TokenError::KeysUnavailable), "answer {n}");
        assert!(started.elapsed() < Duration::from_secs(4), "answer {n}");
        assert!(server.sent() < 16 * 1024 * 1024, "a gigabyte is not taken");

        server.answer(Answer::document(&body, 60));
        pass(Duration::from_secs(5)).await;
        assert!(verifier.verify(&token(&key, 0)).await.is_ok(), "after answer {n}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_come_to_an_end_is_left_after_five_seconds() {
    let key = TestKey::p256("a");
    for answer in [Answer::Silence, Answer::Drip] {
        let server = Server::http(answer).await;
        let verifier = verifier(&server.url);
        let call = tokio::spawn({
            let (verifier, token) = (verifier.clone(), token(&key, 0));
            async move { verifier.verify(&token).await }
        });
        eventually(|| server.requests() == 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!call.is_finished());
        pass(Duration::from_secs(5)).await;
        assert_eq!(call.await.unwrap(), Err(TokenError::KeysUnavailable));
    }
}

#[tokio::test]
async fn a_thousand_keys_are_as_good_as_one() {
    let keys: Vec<_> = (0..1_000).map(|n| TestKey::p256(&format!("key-{n}"))).collect();
    let server = Server::http(Answer::document(&set(&keys.iter().collect::<Vec<_>>()), 60)).await;
    let verifier = verifier(&server.url);

    for key in [&keys[0], &keys[499], &keys[999]] {
        assert!(verifier.verify(&token(key, 0)).await.is_ok());
    }
    assert_eq!(server.requests(), 1);
}
