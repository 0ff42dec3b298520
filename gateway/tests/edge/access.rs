//! Who may call.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use auth::{Claims, KeysConfig, Role, TenantId, TokenSigner, UserId};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway::{Access, IssuerConfig};
use http::{HeaderMap, Response};
use reqwest::Method;
use serde_json::json;
use testkit::greeter;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::alone::Alone;
use crate::house::{House, problem};

const REVERSE: &str = "/transactions/0199c0de-0000-7000-8000-000000000001/reverse";

async fn refused(house: &House, token: &str, reason: &str) {
    let request = house.request(Method::GET, "/users/me/balance").bearer_auth(token);
    let response = request.send().await.unwrap();
    let challenge = response.headers()["www-authenticate"].clone();
    assert_eq!(challenge, "Bearer error=\"invalid_token\"");
    problem(response, 401, reason).await;
}

/// L-05, T-44, B-03, C-24.
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

/// K-39: a service is shown the token only where the issuer's settings say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_no_further_unless_it_is_forwarded() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, contract) = (folder.path().join("jwks.json"), folder.path().join("greeter.bin"));
    let signer = TokenSigner::generate().unwrap();
    fs::write(&keys, json!({"keys": [signer.public_jwk()]}).to_string()).unwrap();
    fs::write(&contract, greeter::descriptors()).unwrap();
    let lasts = Duration::from_mins(1);
    let now = clock::Clock::system().now();
    let claims = Claims::new(UserId::random(), TenantId::DEFAULT, vec![], now, lasts);
    let token = signer.sign(&claims).unwrap();

    for forward in [false, true] {
        let (address, mut seen) = witness().await;
        let upstreams = [("greeter", format!("http://{address}"))];
        let alone = Alone::start_with(&upstreams, |config| {
            config.contracts.descriptors = Some(contract.clone());
            config.policies[0].access = Some(Access::Authenticated);
            let keys = KeysConfig::File(keys.clone());
            config.issuers = vec![IssuerConfig { keys, forward, ..IssuerConfig::malha() }];
        });
        let alone = alone.await;
        let call = alone.client.get(alone.url("/v1/hello/ana")).bearer_auth(&token);
        assert_eq!(call.send().await.unwrap().status(), 501);

        let shown = seen.recv().await.unwrap().get("authorization").cloned();
        assert_eq!(shown.map(|shown| shown == format!("Bearer {token}")), forward.then_some(true));
    }
}

/// K-39: what a claim is told by, no client says itself, though its token lacks the claim or nobody
/// asked for one; nor is a page told that it may.
#[tokio::test(flavor = "multi_thread")]
async fn no_client_sets_a_header_that_tells_a_claim() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, contract) = (folder.path().join("jwks.json"), folder.path().join("greeter.bin"));
    let signer = TokenSigner::generate().unwrap();
    fs::write(&keys, json!({"keys": [signer.public_jwk()]}).to_string()).unwrap();
    fs::write(&contract, greeter::descriptors()).unwrap();
    let (now, lasts) = (clock::Clock::system().now(), Duration::from_mins(1));
    let claims = Claims::new(UserId::random(), TenantId::DEFAULT, vec![], now, lasts);
    let token = signer.sign(&claims).unwrap();

    for access in [Access::Public, Access::Authenticated] {
        let (address, mut seen) = witness().await;
        let upstreams = [("greeter", format!("http://{address}"))];
        let alone = Alone::start_with(&upstreams, |config| {
            config.contracts.descriptors = Some(contract.clone());
            config.cors_origins = vec!["*".to_owned()];
            config.policies[0].access = Some(access);
            config.policies[0].request_headers = Some(vec!["x-*".to_owned()]);
            let keys = KeysConfig::File(keys.clone());
            let mut issuer = IssuerConfig { keys, ..IssuerConfig::malha() };
            issuer.claims.metadata.insert("x-org".to_owned(), "org".to_owned());
            config.issuers = vec![issuer];
        });
        let alone = alone.await;
        let call = alone.client.get(alone.url("/v1/hello/ana")).bearer_auth(&token);
        let call = call.header("x-org", "victim").header("x-shop", "1");
        assert_eq!(call.send().await.unwrap().status(), 501);
        let seen = seen.recv().await.unwrap();
        assert_eq!((seen.get("x-org"), seen["x-shop"].to_str().unwrap()), (None, "1"));

        for path in ["/v1/hello", "/greeter.v1.GreeterService/SayHello"] {
            let asked = alone.client.request(Method::OPTIONS, alone.url(path));
            let asked = asked.header("origin", "https://app.example");
            let asked = asked.header("access-control-request-method", "POST");
            let asked = asked.header("access-control-request-headers", "x-org, x-shop");
            let answer = asked.send().await.unwrap();
            let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap();
            assert!(allowed.contains("x-shop") && !allowed.contains("x-org"), "{allowed}");
        }
    }
}

/// Which roles of an issuer mean that somebody works here, its settings say.
#[tokio::test(flavor = "multi_thread")]
async fn operators_of_a_gateway_alone_see_its_upstreams() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks.json");
    let signer = TokenSigner::generate().unwrap();
    fs::write(&keys, json!({"keys": [signer.public_jwk()]}).to_string()).unwrap();
    let (now, lasts) = (clock::Clock::system().now(), Duration::from_mins(1));
    let roles = vec![Role::Admin];
    let claims = Claims::new(UserId::random(), TenantId::DEFAULT, roles, now, lasts);
    let token = signer.sign(&claims).unwrap();
    let greeter = greeter::Greeter::start().await;
    for (staff, status) in [(vec!["ADMIN".to_owned()], 200), (Vec::new(), 403)] {
        let keys = KeysConfig::File(keys.clone());
        let issuer = IssuerConfig { keys, staff, ..IssuerConfig::malha() };
        let alone = Alone::of(&greeter, |config| config.issuers = vec![issuer]).await;
        let asked = alone.client.get(alone.url("/admin/upstreams")).bearer_auth(&token);
        assert_eq!(asked.send().await.unwrap().status(), status);
    }
}

/// A service that notes the headers of calls, and implements none.
async fn witness() -> (SocketAddr, mpsc::UnboundedReceiver<HeaderMap>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(refuse(socket, tell.clone()));
        }
    });
    (address, told)
}

async fn refuse(socket: TcpStream, tell: mpsc::UnboundedSender<HeaderMap>) {
    let mut connection = h2::server::handshake(socket).await.unwrap();
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        let refusal = Response::builder().header("content-type", "application/grpc");
        let refusal = refusal.header("grpc-status", "12").body(()).unwrap();
        answer.send_response(refusal, true).unwrap();
        // Whether it is well is asked as well.
        if !request.uri().path().starts_with("/grpc.") {
            let _ = tell.send(request.headers().clone());
        }
    }
}
