//! Attacks on access tokens, one by one: every forged or foreign token is refused (L-05, L-62).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use auth::{
    Claims, Principal, Role, StaticKeys, TenantId, TokenError, TokenSigner, TokenVerifier, UserId,
    VerifierConfig,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use clock::Clock;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

static OURS: LazyLock<TokenSigner> = LazyLock::new(|| TokenSigner::generate().unwrap());
static THEIRS: LazyLock<TokenSigner> = LazyLock::new(|| TokenSigner::generate().unwrap());

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn claims() -> Claims {
    let ttl = Duration::from_mins(15);
    Claims::new(UserId::random(), TenantId::DEFAULT, vec![Role::Customer], start(), ttl)
}

fn verifier(clock: &Clock) -> TokenVerifier {
    let keys = StaticKeys::new(vec![OURS.public_jwk().clone()]);
    TokenVerifier::new(Arc::new(keys), VerifierConfig::default(), clock.clone())
}

async fn verify(token: &str) -> Result<Principal, TokenError> {
    verifier(&Clock::manual(start())).verify(token).await
}

/// A token with a header of the attacker's choice, signed by `signer` whatever the header says.
fn forge(header: &Value, claims: &Claims, signer: &TokenSigner) -> String {
    let body = format!("{}.{}", part(header), part(&serde_json::to_value(claims).unwrap()));
    let key = rsa_key(signer);
    let signature = jsonwebtoken::crypto::sign(body.as_bytes(), &key, Algorithm::RS256).unwrap();
    format!("{body}.{signature}")
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn rsa_key(signer: &TokenSigner) -> EncodingKey {
    let base64 = STANDARD.encode(signer.to_pkcs8().unwrap().as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
}

/// The header of our own tokens.
fn header() -> Value {
    json!({ "alg": "RS256", "typ": "JWT", "kid": OURS.kid() })
}

fn with(mut header: Value, name: &str, value: Value) -> Value {
    header[name] = value;
    header
}

#[tokio::test(start_paused = true)]
async fn a_genuine_token_is_accepted() {
    let claims = claims();

    let principal = verify(&OURS.sign(&claims).unwrap()).await.unwrap();

    assert_eq!(principal, Principal::from(&claims));
    assert_eq!(verify(&forge(&header(), &claims, &OURS)).await, Ok(principal), "forge() is sound");
}

#[tokio::test(start_paused = true)]
async fn algorithm_none_is_refused() {
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let header = part(&with(header(), "alg", json!(name)));
        let payload = part(&serde_json::to_value(claims()).unwrap());

        assert_eq!(verify(&format!("{header}.{payload}.")).await, Err(TokenError::Untrusted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_signature_is_refused() {
    let token = OURS.sign(&claims()).unwrap();
    let (body, _) = token.rsplit_once('.').unwrap();

    assert_eq!(verify(&format!("{body}.")).await, Err(TokenError::Untrusted));
    assert_eq!(verify(body).await, Err(TokenError::Malformed));
}

/// RS/HS confusion: the public key, which everybody knows, used as the secret of an HMAC.
#[tokio::test(start_paused = true)]
async fn hmac_with_the_public_key_is_refused() {
    let jwk = OURS.public_jwk();
    let modulus = URL_SAFE_NO_PAD.decode(&jwk.n).unwrap();
    let der = [
        &[0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00],
        &modulus[..],
        &[0x02, 0x03, 0x01, 0x00, 0x01],
    ]
    .concat();
    let pem = format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
        STANDARD.encode(&der)
    );
    let jwk = serde_json::to_vec(jwk).unwrap();
    let payload = part(&serde_json::to_value(claims()).unwrap());

    for secret in [pem.as_bytes(), &der, &modulus, &jwk, b""] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            for named in [json!(algorithm), json!("RS256")] {
                let body = format!("{}.{payload}", part(&with(header(), "alg", named)));
                let key = EncodingKey::from_secret(secret);
                let mac = jsonwebtoken::crypto::sign(body.as_bytes(), &key, algorithm).unwrap();

                let verified = verify(&format!("{body}.{mac}")).await;
                assert_eq!(verified, Err(TokenError::Untrusted), "{algorithm:?}");
            }
        }
    }
}

/// Our own key, but an algorithm that we never sign with.
#[tokio::test(start_paused = true)]
async fn another_rsa_algorithm_is_refused() {
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let mut header = jsonwebtoken::Header::new(algorithm);
        header.kid = Some(OURS.kid().to_owned());
        let token = jsonwebtoken::encode(&header, &claims(), &rsa_key(&OURS)).unwrap();

        assert_eq!(verify(&token).await, Err(TokenError::Untrusted), "{algorithm:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_id_is_refused() {
    assert_eq!(verify(&THEIRS.sign(&claims()).unwrap()).await, Err(TokenError::Untrusted));
    for kid in ["", "../../dev/null", "' OR '1'='1"] {
        let token = forge(&with(header(), "kid", json!(kid)), &claims(), &OURS);

        assert_eq!(verify(&token).await, Err(TokenError::Untrusted), "{kid}");
    }
}

#[tokio::test(start_paused = true)]
async fn our_key_id_over_another_key_is_refused() {
    let token = forge(&header(), &claims(), &THEIRS);

    assert_eq!(verify(&token).await, Err(TokenError::Untrusted));
}

#[tokio::test(start_paused = true)]
async fn no_key_id_is_refused() {
    let header = json!({ "alg": "RS256", "typ": "JWT" });

    assert_eq!(verify(&forge(&header, &claims(), &OURS)).await, Err(TokenError::Untrusted));
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_refused_also_when_it_was_verified_before() {
    let clock = Clock::manual(start());
    let verifier = verifier(&clock);
    let token = OURS.sign(&claims()).unwrap();

    assert!(verifier.verify(&token).await.is_ok());
    clock.advance(Duration::from_mins(15) + Duration::from_secs(29));
    assert!(verifier.verify(&token).await.is_ok(), "within the leeway");
    clock.advance(Duration::from_secs(1));
    assert_eq!(verifier.verify(&token).await, Err(TokenError::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_future_is_refused_until_its_time() {
    let clock = Clock::manual(start());
    let verifier = verifier(&clock);
    let nbf = start().timestamp() + 60;
    let token = OURS.sign(&Claims { nbf, ..claims() }).unwrap();

    assert_eq!(verifier.verify(&token).await, Err(TokenError::NotYetValid));
    clock.advance(Duration::from_secs(30));
    assert!(verifier.verify(&token).await.is_ok(), "within the leeway");
}

#[tokio::test(start_paused = true)]
async fn absurd_times_are_refused() {
    let expired = OURS.sign(&Claims { exp: i64::MIN, ..claims() }).unwrap();
    let future = OURS.sign(&Claims { nbf: i64::MAX, ..claims() }).unwrap();

    assert_eq!(verify(&expired).await, Err(TokenError::Expired));
    assert_eq!(verify(&future).await, Err(TokenError::NotYetValid));
}

#[tokio::test(start_paused = true)]
async fn another_issuer_is_refused() {
    let token = OURS.sign(&Claims { iss: "evil".to_owned(), ..claims() }).unwrap();

    assert_eq!(verify(&token).await, Err(TokenError::Untrusted));
}

#[tokio::test(start_paused = true)]
async fn another_audience_is_refused() {
    let token = OURS.sign(&Claims { aud: "another-bank".to_owned(), ..claims() }).unwrap();

    assert_eq!(verify(&token).await, Err(TokenError::Untrusted));
}

#[tokio::test(start_paused = true)]
async fn missing_claims_are_refused() {
    for name in ["iss", "aud", "sub", "tenant", "roles", "exp", "nbf"] {
        let mut claims = serde_json::to_value(claims()).unwrap();
        claims.as_object_mut().unwrap().remove(name);
        let body = format!("{}.{}", part(&header()), part(&claims));
        let key = rsa_key(&OURS);
        let signature =
            jsonwebtoken::crypto::sign(body.as_bytes(), &key, Algorithm::RS256).unwrap();

        let verified = verify(&format!("{body}.{signature}")).await;
        assert_eq!(verified, Err(TokenError::Malformed), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tampered_payload_is_refused() {
    let claims = claims();
    let token = OURS.sign(&claims).unwrap();
    let parts: Vec<_> = token.split('.').collect();
    let richer = Claims { roles: vec![Role::Admin], ..claims.clone() };
    let other = Claims { sub: UserId::random(), ..claims.clone() };
    let longer = Claims { exp: claims.exp + 1, ..claims };

    for tampered in [richer, other, longer] {
        let payload = part(&serde_json::to_value(tampered).unwrap());
        let token = format!("{}.{payload}.{}", parts[0], parts[2]);

        assert_eq!(verify(&token).await, Err(TokenError::Untrusted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_token_is_refused_wherever_it_is_cut() {
    let token = OURS.sign(&claims()).unwrap();
    let verifier = verifier(&Clock::manual(start()));

    for length in 0..token.len() {
        assert!(verifier.verify(&token[..length]).await.is_err(), "cut at {length}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_changed_character_is_refused() {
    let token = OURS.sign(&claims()).unwrap();
    let verifier = verifier(&Clock::manual(start()));

    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();

        assert!(verifier.verify(&changed).await.is_err(), "changed at {at}");
    }
}

/// A key brought along in the header: as `jwk`, by address, or as a certificate.
#[tokio::test(start_paused = true)]
async fn keys_in_the_header_are_not_used() {
    let jwk = serde_json::to_value(THEIRS.public_jwk()).unwrap();
    let injected = [
        ("jwk", jwk),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
    ];
    for (name, value) in injected {
        let ours = with(header(), name, value.clone());
        let theirs = with(ours.clone(), "kid", json!(THEIRS.kid()));
        let nameless = json!({ "alg": "RS256", name: value });

        for header in [ours, theirs, nameless] {
            let verified = verify(&forge(&header, &claims(), &THEIRS)).await;
            assert_eq!(verified, Err(TokenError::Untrusted), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn critical_extensions_are_refused() {
    for critical in [json!(["b64"]), json!(["exp"]), json!([]), json!("b64")] {
        let token = forge(&with(header(), "crit", critical), &claims(), &OURS);

        assert_eq!(verify(&token).await, Err(TokenError::Untrusted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_huge_token_is_refused() {
    let huge = forge(&with(header(), "pad", json!("x".repeat(8 * 1024))), &claims(), &OURS);

    assert_eq!(verify(&huge).await, Err(TokenError::Malformed));
}

#[tokio::test(start_paused = true)]
async fn rubbish_is_malformed() {
    for token in ["", ".", "..", "...", "a.b.c", "Bearer x.y.z", "\u{0}", "💸.💸.💸", "e30.e30.e30"]
    {
        assert_eq!(verify(token).await, Err(TokenError::Malformed), "{token}");
    }
}

#[test]
fn debug_output_hides_the_private_key() {
    let shown = format!("{:?}", *OURS);

    assert!(shown.contains(OURS.kid()));
    assert!(shown.len() < 120, "{shown}");
}
