//! Attacks on a verifier of several issuers, one by one: each token counts with its own issuer's
//! keys, algorithms and audiences, and with no others (L-05, L-62).

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use auth::{Algorithm, IssuerConfig, KeysConfig, TokenError, Verifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clock::Clock;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::keys::{TestKey, claims, set, start, with};

const A: &str = "https://a.example";
const B: &str = "https://b.example";

/// Issuers with keys in files of one folder.
pub(crate) struct Issuers {
    folder: TempDir,
    pub(crate) configs: Vec<IssuerConfig>,
    pub(crate) clock: Clock,
}

impl Issuers {
    pub(crate) fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(start()));
        Self { folder, configs: Vec::new(), clock }
    }

    pub(crate) fn add(&mut self, issuer: &str, algorithms: &[Algorithm], keys: &str) {
        let path = self.folder.path().join(format!("{}.json", self.configs.len()));
        fs::write(&path, keys).unwrap();
        self.configs.push(IssuerConfig {
            issuer: issuer.to_owned(),
            audiences: vec!["api".to_owned(), "api-v2".to_owned()],
            keys: KeysConfig::File(path),
            algorithms: algorithms.to_vec(),
            ..IssuerConfig::malha()
        });
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new(&self.configs, None, self.clock.clone()).unwrap()
    }
}

/// One issuer, `A`, with the files that it is read from.
fn one(algorithms: &[Algorithm], keys: &[&TestKey]) -> (Verifier, Issuers) {
    let mut issuers = Issuers::new();
    issuers.add(A, algorithms, &set(keys));
    (issuers.verifier(), issuers)
}

fn every_kind() -> Vec<(Algorithm, TestKey)> {
    use jsonwebtoken::Algorithm as Signed;
    vec![
        (Algorithm::RS256, TestKey::rsa("rs256", Signed::RS256)),
        (Algorithm::RS384, TestKey::rsa("rs384", Signed::RS384)),
        (Algorithm::RS512, TestKey::rsa("rs512", Signed::RS512)),
        (Algorithm::PS256, TestKey::rsa("ps256", Signed::PS256)),
        (Algorithm::PS384, TestKey::rsa("ps384", Signed::PS384)),
        (Algorithm::PS512, TestKey::rsa("ps512", Signed::PS512)),
        (Algorithm::ES256, TestKey::p256("es256")),
        (Algorithm::ES384, TestKey::p384("es384")),
        (Algorithm::EdDSA, TestKey::ed25519("eddsa")),
    ]
}

#[tokio::test]
async fn every_algorithm_verifies_where_it_is_admitted_and_nowhere_else() {
    let kinds = every_kind();
    let keys: Vec<_> = kinds.iter().map(|(_, key)| key).collect();
    let all: Vec<_> = kinds.iter().map(|(algorithm, _)| *algorithm).collect();
    let (open, _files) = one(&all, &keys);
    for (algorithm, key) in &kinds {
        let token = key.sign(&claims(A));
        assert!(open.verify(&token).await.is_ok(), "{algorithm:?}");
        assert!(matches!(open.cached(&token), Some(Ok(_))), "{algorithm:?}");

        let others: Vec<_> = all.iter().copied().filter(|other| other != algorithm).collect();
        let (closed, _files) = one(&others, &keys);
        assert_eq!(closed.verify(&token).await, Err(TokenError::Untrusted), "{algorithm:?}");
    }
}

/// The issuer admits both algorithms; the key says which is its own.
#[tokio::test]
async fn a_key_serves_its_own_algorithm_alone() {
    let all: Vec<_> = every_kind().iter().map(|(algorithm, _)| *algorithm).collect();
    for (algorithm, key) in every_kind() {
        let (verifier, _files) = one(&all, &[&key]);
        for other in &all {
            if *other == algorithm {
                continue;
            }
            // What the header says is not how it was signed, and the other way round.
            let header = with(key.header(), "alg", json!(other));
            let token = key.sign_text(&header.to_string(), &claims(A).to_string());
            let answer = verifier.verify(&token).await;
            assert_eq!(answer, Err(TokenError::Untrusted), "{algorithm:?} as {other:?}");
        }
    }
    let rsa = TestKey::rsa("rsa", jsonwebtoken::Algorithm::RS256);
    let pss = rsa.signing(jsonwebtoken::Algorithm::PS256);
    let (verifier, _files) = one(&all, &[&rsa]);
    assert!(verifier.verify(&rsa.sign(&claims(A))).await.is_ok());
    assert_eq!(verifier.verify(&pss.sign(&claims(A))).await, Err(TokenError::Untrusted));

    // Without `alg`, an RSA key serves what the issuer admits (RFC 7517 section 4.4).
    let mut open = rsa.clone();
    open.jwk.as_object_mut().unwrap().remove("alg");
    let (verifier, _files) = one(&[Algorithm::RS256, Algorithm::PS256], &[&open]);
    assert!(verifier.verify(&rsa.sign(&claims(A))).await.is_ok());
    assert!(verifier.verify(&pss.sign(&claims(A))).await.is_ok());
}

/// Secrets in a key set, whose tokens anybody who read the set could sign.
#[tokio::test]
async fn shared_secrets_in_a_key_set_are_no_keys() {
    const SECRET: &[u8] = b"a secret that stands in a public document";
    let key = TestKey::p256("a");
    let k = URL_SAFE_NO_PAD.encode(SECRET);
    let secret = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": k });
    let mut issuers = Issuers::new();
    issuers.add(A, &[Algorithm::ES256], &json!({ "keys": [secret, key.jwk] }).to_string());
    let verifier = issuers.verifier();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some("s".to_owned());
    let secret = EncodingKey::from_secret(SECRET);
    let token = jsonwebtoken::encode(&header, &claims(A), &secret).unwrap();

    assert_eq!(verifier.verify(&token).await, Err(TokenError::Untrusted));
    assert!(verifier.verify(&key.sign(&claims(A))).await.is_ok());
}

#[tokio::test]
async fn keys_for_other_purposes_and_weak_ones_are_not_used() {
    let key = TestKey::rsa("a", jsonwebtoken::Algorithm::RS256);
    let short = "x".repeat(171);
    let edits: [(&str, Value); 6] = [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt", "wrapKey"])),
        ("alg", json!("RSA-OAEP")),
        ("kty", json!("EC")),
        ("n", json!(short)),
        ("n", json!("")),
    ];
    for (name, value) in edits {
        let mut edited = key.clone();
        edited.jwk[name] = value.clone();
        let (verifier, _files) = one(&[Algorithm::RS256], &[&edited]);
        let answer = verifier.verify(&key.sign(&claims(A))).await;
        assert_eq!(answer, Err(TokenError::KeysUnavailable), "{name}: {value}");
    }
    let mut verifying = key.clone();
    verifying.jwk["key_ops"] = json!(["verify"]);
    let (verifier, _files) = one(&[Algorithm::RS256], &[&verifying]);
    assert!(verifier.verify(&key.sign(&claims(A))).await.is_ok());
}

/// A point that is not on its curve would give the private key away, were it used in an agreement.
#[tokio::test]
async fn a_point_off_its_curve_is_no_key() {
    let (good, mut bad) = (TestKey::p256("good"), TestKey::p256("bad"));
    bad.jwk["x"] = bad.jwk["y"].clone();
    let (verifier, _files) = one(&[Algorithm::ES256], &[&bad, &good]);

    assert!(verifier.verify(&good.sign(&claims(A))).await.is_ok());
    let refused = verifier.verify(&bad.sign(&claims(A))).await;
    assert_eq!(refused, Err(TokenError::Untrusted));
}

#[tokio::test]
async fn a_token_counts_with_the_keys_of_its_own_issuer_alone() {
    let (of_a, of_b) = (TestKey::p256("a"), TestKey::p256("b"));
    let (same_in_a, same_in_b) = (TestKey::p256("same"), TestKey::p256("same"));
    let mut issuers = Issuers::new();
    issuers.add(A, &[Algorithm::ES256], &set(&[&of_a, &same_in_a]));
    issuers.add(B, &[Algorithm::ES256], &set(&[&of_b, &same_in_b]));
    let verifier = issuers.verifier();

    for (issuer, key) in [(A, &of_a), (B, &of_b), (A, &same_in_a), (B, &same_in_b)] {
        let answer = verifier.verify(&key.sign(&claims(issuer))).await.unwrap();
        assert_eq!(&*answer.issuer, issuer);
    }
    for (issuer, key) in [(A, &of_b), (B, &of_a), (A, &same_in_b), (B, &same_in_a)] {
        let answer = verifier.verify(&key.sign(&claims(issuer))).await;
        assert_eq!(answer, Err(TokenError::Untrusted), "{issuer}");
    }
    for iss in ["https://c.example", "https://a.example/", "HTTPS://A.EXAMPLE", ""] {
        let answer = verifier.verify(&of_a.sign(&claims(iss))).await;
        assert_eq!(answer, Err(TokenError::Untrusted), "{iss}");
    }
    for iss in [json!([A]), json!(null), json!(7), json!({ "iss": A })] {
        let answer = verifier.verify(&of_a.sign(&with(claims(A), "iss", iss))).await;
        assert_eq!(answer, Err(TokenError::Malformed));
    }
}

/// One issuer may not use what another admits.
#[tokio::test]
async fn an_issuer_is_held_to_its_own_algorithms() {
    let (rsa, p256) = (TestKey::rsa("a", jsonwebtoken::Algorithm::RS256), TestKey::p256("b"));
    let mut issuers = Issuers::new();
    issuers.add(A, &[Algorithm::RS256], &set(&[&rsa, &p256]));
    issuers.add(B, &[Algorithm::ES256], &set(&[&rsa, &p256]));
    let verifier = issuers.verifier();

    assert!(verifier.verify(&rsa.sign(&claims(A))).await.is_ok());
    assert!(verifier.verify(&p256.sign(&claims(B))).await.is_ok());
    assert_eq!(verifier.verify(&p256.sign(&claims(A))).await, Err(TokenError::Untrusted));
    assert_eq!(verifier.verify(&rsa.sign(&claims(B))).await, Err(TokenError::Untrusted));
}

#[tokio::test]
async fn a_token_is_for_any_of_our_names() {
    let key = TestKey::p256("a");
    let (verifier, _files) = one(&[Algorithm::ES256], &[&key]);
    let table = [
        (json!("api"), Ok(())),
        (json!("api-v2"), Ok(())),
        (json!(["other", "api-v2"]), Ok(())),
        (json!(["api", 7]), Ok(())),
        (json!("other"), Err(TokenError::Untrusted)),
        (json!("API"), Err(TokenError::Untrusted)),
        (json!("api api-v2"), Err(TokenError::Untrusted)),
        (json!(["other"]), Err(TokenError::Untrusted)),
        (json!([]), Err(TokenError::Untrusted)),
        (json!([["api"]]), Err(TokenError::Untrusted)),
        (json!(null), Err(TokenError::Malformed)),
        (json!({ "api": true }), Err(TokenError::Malformed)),
    ];
    for (aud, expected) in table {
        let answer = verifier.verify(&key.sign(&with(claims(A), "aud", aud.clone()))).await;
        assert_eq!(answer.map(|_| ()), expected, "{aud}");
    }
}

#[tokio::test]
async fn times_are_checked_at_each_look_and_may_have_fractions() {
    let key = TestKey::p256("a");
    let mut issuers = Issuers::new();
    issuers.add(A, &[Algorithm::ES256], &set(&[&key]));
    let verifier = issuers.verifier();
    let now = start().timestamp();
    let exp = |exp: Value| key.sign(&with(claims(A), "exp", exp));

    let short = exp(json!(f64::from(u32::try_from(now).unwrap()) + 10.5));
    assert!(verifier.verify(&short).await.is_ok());
    issuers.clock.advance(Duration::from_secs(14));
    assert!(matches!(verifier.cached(&short), Some(Ok(_))), "within the leeway of 5 s");
    issuers.clock.advance(Duration::from_secs(1));
    assert_eq!(verifier.cached(&short), Some(Err(TokenError::Expired)));
    assert_eq!(verifier.verify(&short).await, Err(TokenError::Expired));

    for wrong in [json!("1900000000"), json!(null), json!(true), json!([now + 900])] {
        let answer = verifier.verify(&exp(wrong.clone())).await;
        assert_eq!(answer, Err(TokenError::Malformed), "{wrong}");
    }
    let forever = verifier.verify(&exp(json!(1e300))).await.unwrap();
    assert!(forever.expires_at > start() + Duration::from_hours(1_000_000));
    let later = with(claims(A), "nbf", json!(now + 15 + 6));
    assert_eq!(verifier.verify(&key.sign(&later)).await, Err(TokenError::NotYetValid));
}

/// Whichever of two members counts for us, another reader may take the other.
#[tokio::test]
async fn what_is_said_twice_is_refused() {
    let key = TestKey::p256("a");
    let (verifier, _files) = one(&[Algorithm::ES256], &[&key]);
    let (header, payload) = (key.header().to_string(), claims(A).to_string());
    assert!(verifier.verify(&key.sign_text(&header, &payload)).await.is_ok());

    let more = |json: &str, member: &str| format!("{},{member}}}", &json[..json.len() - 1]);
    let headers = [r#""alg":"ES256""#, r#""kid":"a""#, r#""\u0061lg":"none""#, r#""x":1,"x":1"#];
    for member in headers {
        let token = key.sign_text(&more(&header, member), &payload);
        assert_eq!(verifier.verify(&token).await, Err(TokenError::Malformed), "{member}");
    }
    let claims = [
        r#""iss":"https://a.example""#,
        r#""sub":"mallory""#,
        r#""exp":50000000"#,
        r#""realm_access":{"roles":[],"roles":["admin"]}"#,
    ];
    for member in claims {
        let token = key.sign_text(&header, &more(&payload, member));
        assert_eq!(verifier.verify(&token).await, Err(TokenError::Malformed), "{member}");
    }
}

#[tokio::test]
async fn deep_and_strange_claims_are_refused_without_harm() {
    let key = TestKey::p256("a");
    let (verifier, _files) = one(&[Algorithm::ES256], &[&key]);
    let header = key.header().to_string();
    let deep = format!(r#"{{"iss":"{A}","a":{}{}}}"#, "[".repeat(2_000), "]".repeat(2_000));
    for payload in [deep.as_str(), "[]", "null", "\"x\"", "{", "{}x", "\u{feff}{}"] {
        let token = key.sign_text(&header, payload);
        assert_eq!(verifier.verify(&token).await, Err(TokenError::Malformed), "{payload}");
    }
    for kid in [json!(7), json!(null), json!(["a"])] {
        let header = with(key.header(), "kid", kid).to_string();
        let token = key.sign_text(&header, &claims(A).to_string());
        assert_eq!(verifier.verify(&token).await, Err(TokenError::Malformed));
    }
    let token = key.sign_text(&with(key.header(), "crit", json!(null)).to_string(), "{}");
    assert!(verifier.verify(&token).await.is_err());
}

/// Signatures are not remembered apart from what they sign.
#[tokio::test]
async fn a_known_signature_under_other_claims_is_refused() {
    let key = TestKey::p256("a");
    let (verifier, _files) = one(&[Algorithm::ES256], &[&key]);
    let genuine = key.sign(&claims(A));
    verifier.verify(&genuine).await.unwrap();
    let (_, signature) = genuine.rsplit_once('.').unwrap();
    let other = key.sign(&with(claims(A), "sub", json!("mallory")));
    let (body, _) = other.rsplit_once('.').unwrap();
    let forged = format!("{body}.{signature}");

    assert!(verifier.cached(&forged).is_none());
    assert_eq!(verifier.verify(&forged).await, Err(TokenError::Untrusted));
}

/// Forged tokens leave no trace: those that count are still known after a flood.
#[tokio::test]
async fn forged_tokens_drive_out_no_good_one() {
    let (key, forger) = (TestKey::p256("a"), TestKey::p256("a"));
    let (verifier, _files) = one(&[Algorithm::ES256], &[&key]);
    let good: Vec<_> = (0..50).map(|n| key.sign(&with(claims(A), "jti", json!(n)))).collect();
    for token in &good {
        verifier.verify(token).await.unwrap();
    }
    let fakes: BTreeSet<_> =
        (0..500).map(|n| forger.sign(&with(claims(A), "jti", json!(n)))).collect();
    for token in &fakes {
        assert_eq!(verifier.verify(token).await, Err(TokenError::Untrusted));
        assert!(verifier.cached(token).is_none());
    }
    assert!(good.iter().all(|token| matches!(verifier.cached(token), Some(Ok(_)))));
}
