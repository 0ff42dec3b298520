//! Which endpoint a call goes to: by cookie, and by `X-Canary: true`.

use gateway::Config;
use mesh::certs;
use reqwest::{Certificate, Client, Response};
use serde_json::Value;
use testkit::greeter::{self, Greeter};
use upstream::Sticky;

use crate::alone::Alone;

/// How many the greeter that answered has greeted: each counts for itself.
async fn greeted(answer: Response) -> String {
    assert_eq!(answer.status(), 200);
    answer.json::<Value>().await.unwrap()["greeted"].as_str().unwrap().to_owned()
}

/// K-41.
#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_keeps_a_client_at_one_of_two_greeters() {
    let (one, other) = (Greeter::start().await, Greeter::start().await);
    let folder = tempfile::tempdir().unwrap();
    certs::init(folder.path()).unwrap();
    certs::issue(folder.path(), "gateway").unwrap();
    let sticky = |config: &mut Config| {
        let upstream = config.upstreams.get_mut("greeter").unwrap();
        upstream.endpoints.push(other.endpoint());
        upstream.sticky = Some(Sticky::default());
        config.https = Some(greeter::anywhere());
        config.tls.certificate = folder.path().join("gateway.pem");
        config.tls.key = folder.path().join("gateway.key");
    };
    let alone = Alone::of(&one, sticky).await;
    let get = |path: &str, cookie: &str| {
        alone.client.get(alone.url(path)).header("cookie", cookie.to_owned()).send()
    };

    let first = get("/v1/hello/ana", "theme=dark").await.unwrap();
    let given = first.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert_eq!(greeted(first).await, "1");
    let (cookie, attributes) = given.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax");
    assert!(cookie.starts_with("malha-route="), "{cookie}");
    assert!(!given.contains(&one.address().port().to_string()), "it shows no address");
    for count in 2..10 {
        let again = get("/v1/hello/ana", &format!("theme=dark; {cookie}")).await.unwrap();
        assert!(!again.headers().contains_key("set-cookie"), "it has the cookie");
        assert_eq!(greeted(again).await, count.to_string());
    }
    // Streams are kept too.
    let stream = get("/v1/hellos/ana?times=1", cookie).await.unwrap();
    assert_eq!(greeted(stream).await, "10");
    let stream = get("/v1/hellos/ana?times=1", "theme=dark").await.unwrap();
    assert!(stream.headers()["set-cookie"].to_str().unwrap().starts_with("malha-route="));

    // Over TLS it goes nowhere else.
    let https = alone.https.unwrap();
    let ca = std::fs::read(folder.path().join("ca.pem")).unwrap();
    let client = Client::builder().tls_certs_only([Certificate::from_pem(&ca).unwrap()]).no_proxy();
    let client = client.resolve("localhost", https).build().unwrap();
    let url = format!("https://localhost:{}/v1/hello/ana", https.port());
    let secure = client.get(url).send().await.unwrap();
    let given = secure.headers()["set-cookie"].to_str().unwrap();
    assert!(given.ends_with("; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax"), "{given}");
}

/// K-41.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_the_canary_gets_it_and_nobody_else() {
    let (stable, canary) = (Greeter::start().await, Greeter::start().await);
    let with_canary = |config: &mut Config| {
        let upstream = config.upstreams.get_mut("greeter").unwrap();
        upstream.canary.endpoints = vec![canary.endpoint()];
    };
    let alone = Alone::of(&stable, with_canary).await;
    let get = |path: &str, asks: &str| {
        alone.client.get(alone.url(path)).header("x-canary", asks.to_owned()).send()
    };
    for count in 1..=6 {
        let answer = get("/v1/hello/ana", "false").await.unwrap();
        assert_eq!(greeted(answer).await, count.to_string());
    }
    for count in 1..=3 {
        let answer = get("/v1/hello/ana", "true").await.unwrap();
        assert_eq!(greeted(answer).await, count.to_string(), "the canary counts for itself");
    }
    let stream = get("/v1/hellos/ana?times=1", "true").await.unwrap();
    assert_eq!(greeted(stream).await, "4");
}
