//! Who may call.

use std::time::Duration;

use auth::{Claims, Role, TokenSigner};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::json;

use crate::house::{House, problem};

const REVERSE: &str = "/transactions/0199c0de-0000-7000-8000-000000000001/reverse";

async fn refused(house: &House, token: &str, reason: &str) {
    let request = house.request(Method::GET, "/users/me/balance").bearer_auth(token);
    let response = request.send().await.unwrap();
    let challenge = response.headers()["www-authenticate"].clone();
    assert_eq!(challenge, "Bearer error=\"invalid_token\"");
    problem(response, 401, reason).await;
}

/// L-05, T-44.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_needs_a_user_needs_a_token() {
    let house = House::start().await;
    // Services read the head of the ledger without a user; people do not.
    for path in ["/users/me/balance", "/v1/ledger/head"] {
        let response = house.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        problem(response, 401, "TOKEN_MISSING").await;
    }

    assert_eq!(house.signed(Method::GET, "/users/me/balance").send().await.unwrap().status(), 200);
}

/// L-05: the attacks on tokens, all of them through the edge.
#[tokio::test(flavor = "multi_thread")]
async fn attacks_on_tokens_are_refused() {
    let house = House::start().await;
    let claims = house.claims(&[Role::Admin]);
    let good = house.sign(&claims);
    let parts: Vec<_> = good.split('.').collect();
    let encoded = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let altered = |change: fn(&mut Claims)| {
        let mut altered = claims.clone();
        change(&mut altered);
        altered
    };

    // Without a signature.
    let none = format!("{}.{}.", encoded(&json!({"alg": "none", "typ": "JWT"})), parts[1]);
    refused(&house, &none, "TOKEN_UNTRUSTED").await;
    // Signed with the public key as if it were a secret.
    let header = encoded(&json!({"alg": "HS256", "typ": "JWT", "kid": house.signer.kid()}));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, house.signer.public_jwk().n.as_bytes());
    let signature = hmac::sign(&secret, format!("{header}.{}", parts[1]).as_bytes());
    let confused = format!("{header}.{}.{}", parts[1], URL_SAFE_NO_PAD.encode(signature));
    refused(&house, &confused, "TOKEN_UNTRUSTED").await;
    // Signed by somebody else, under their own key id or under ours.
    let stranger = TokenSigner::generate().unwrap().sign(&claims).unwrap();
    refused(&house, &stranger, "TOKEN_UNTRUSTED").await;
    let stranger: Vec<_> = stranger.split('.').collect();
    refused(&house, &format!("{}.{}.{}", parts[0], stranger[1], stranger[2]), "TOKEN_UNTRUSTED")
        .await;
    // Another payload under the same signature.
    let other = house.sign(&house.claims(&[Role::Customer]));
    let other = other.split('.').nth(1).unwrap();
    refused(&house, &format!("{}.{other}.{}", parts[0], parts[2]), "TOKEN_UNTRUSTED").await;
    // Out of time.
    refused(&house, &house.sign(&altered(|claims| claims.exp = claims.iat - 60)), "TOKEN_EXPIRED")
        .await;
    refused(
        &house,
        &house.sign(&altered(|claims| claims.nbf = claims.iat + 600)),
        "TOKEN_NOT_YET_VALID",
    )
    .await;
    // For or from somebody else.
    refused(&house, &house.sign(&altered(|claims| claims.iss = "other".into())), "TOKEN_UNTRUSTED")
        .await;
    refused(&house, &house.sign(&altered(|claims| claims.aud = "other".into())), "TOKEN_UNTRUSTED")
        .await;
    // No token at all.
    for token in ["x", "a.b.c", &parts[..2].join(".")] {
        refused(&house, token, "TOKEN_MALFORMED").await;
    }
    assert_eq!(house.calls.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_method_does_not_look_at_a_stale_token() {
    let house = House::start().await;
    let request = house.request(Method::POST, "/auth/logout").bearer_auth("stale");
    let response = request.json(&json!({"refreshToken": "r"})).send().await.unwrap();
    assert_eq!(response.status(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_the_contract_is_needed() {
    let house = House::start().await;
    let post = |path, role| {
        let token = house.token(&[role]);
        house.request(Method::POST, path).bearer_auth(token).send()
    };
    for role in [Role::Customer, Role::Viewer, Role::Analyst] {
        problem(post(REVERSE, role).await.unwrap(), 403, "ROLE_MISSING").await;
        problem(post("/v1/ledger/transfers", role).await.unwrap(), 403, "ROLE_MISSING").await;
    }
    assert_eq!(post(REVERSE, Role::Operator).await.unwrap().status(), 200);
}

/// L-13: what identity refuses is no fault of a token.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_unauthorized() {
    let house = House::start().await;
    let login = json!({"email": "ana@example.com", "password": "wrong password"});
    let response = house.request(Method::POST, "/auth/login").json(&login).send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    problem(response, 401, "INVALID_CREDENTIALS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_identity_tokens_cannot_be_verified_but_known_ones_still_count() {
    let house = House::start().await;
    let known = house.token(&[Role::Customer]);
    let balance =
        |token: &str| house.request(Method::GET, "/users/me/balance").bearer_auth(token).send();
    assert_eq!(balance(&known).await.unwrap().status(), 200);
    house.kit.stop("identity").await;
    assert_eq!(balance(&known).await.unwrap().status(), 200);

    let late = House::start().await;
    late.kit.stop("identity").await;
    let request = late.signed(Method::GET, "/users/me/balance").timeout(Duration::from_secs(20));
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    problem(response, 503, "KEYS_UNAVAILABLE").await;
}
