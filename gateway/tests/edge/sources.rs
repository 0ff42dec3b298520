//! Contracts of a third party, from wherever they come, and their changes under load.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gateway::{Config, Contracts, Gateway, IssuerConfig, Preview};
use serde_json::json;
use testkit::greeter::{self, Greeter, Reflection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::alone::Alone;

fn often(descriptors: Option<PathBuf>) -> Contracts {
    Contracts { descriptors, check: Duration::from_millis(50) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_reflects_is_served_by_its_address_alone() {
    for reflection in [Reflection::V1, Reflection::V1Alpha] {
        let whole = greeter::descriptors();
        let greeter = Greeter::start_at(greeter::anywhere(), &whole, reflection).await;
        let alone = Alone::start(&[("greeter", greeter.endpoint())], Contracts::default()).await;

        let greeting = json!({"message": "Hello, Ana!", "greeted": "1"});
        assert_eq!(alone.get("/v1/hello/Ana").await, (200, greeting), "{reflection:?}");
        let (status, problem) = alone.get("/v1/hello/nobody").await;
        assert_eq!((status, &problem["reason"]), (404, &json!("NOT_FOUND")));
        let (_, document) = alone.get("/openapi.json").await;
        assert_eq!(document["paths"]["/v1/hello/{name}"]["get"]["summary"], "Greets one person.");
    }
}

/// Tokens that nobody could verify must not be promised to count.
#[tokio::test]
async fn an_issuer_whose_keys_the_mesh_has_is_refused_where_there_is_none() {
    let greeter = Greeter::start().await;
    let upstream = upstream::UpstreamConfig {
        endpoints: vec![greeter.endpoint()],
        ..upstream::UpstreamConfig::default()
    };
    let config = Config {
        http: Some(greeter::anywhere()),
        upstreams: [("greeter".to_owned(), upstream)].into(),
        issuers: vec![IssuerConfig::malha()],
        ..Config::alone()
    };
    let clock = clock::Clock::system();
    let refused = Gateway::bind(config.clone(), None, clock).await.err().unwrap();
    let checked = Preview::checked(&config).await.err().unwrap();
    for error in [refused, checked] {
        assert_eq!(error.to_string(), "gateway.issuers[0].keys: there is no mesh here");
    }
}

/// Only POST is admitted where it is.
const GOODBYE: &str = "/greeter.v1.GreeterService/SayGoodbye";

fn without_goodbye() -> Vec<u8> {
    greeter::renamed("SayGoodbye", "SayFarewell")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_back_with_another_contract_is_asked_again() {
    let greeter = Greeter::start().await;
    let alone = Alone::start(&[("greeter", greeter.endpoint())], often(None)).await;
    assert_eq!(alone.get("/v1/hello/Ana").await.0, 200);
    assert_eq!(alone.get(GOODBYE).await.0, 405);

    let address = greeter.address();
    greeter.stop().await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(alone.get("/v1/hello/Ana").await.0, 503, "the route stays");

    let _greeter = Greeter::start_at(address, &without_goodbye(), Reflection::V1).await;
    alone.until(GOODBYE, 404).await;
    alone.until("/v1/hello/Ana", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_are_told_apart_by_what_they_offer() {
    let greeter = Greeter::start().await;
    let text = greeter::PROTO.replace("package greeter.v1", "package other.v1");
    let text = greeter::compile("other.proto", &text.replace("\"/v1/", "\"/other/"));
    let other = Greeter::start_at(greeter::anywhere(), &text, Reflection::V1).await;
    let upstreams = [("greeter", greeter.endpoint()), ("other", other.endpoint())];
    let alone = Alone::start(&upstreams, Contracts::default()).await;

    // It shows a contract that it does not keep.
    assert_eq!(alone.get("/other/hello/Ana").await.0, 501);
    greeter.stop().await;
    assert_eq!(alone.get("/v1/hello/Ana").await.0, 503);
    assert_eq!(alone.get("/other/hello/Ana").await.0, 501);
}

/// Who is away keeps nobody waiting: neither the start, nor what others show of themselves.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_away_holds_up_no_other() {
    let text = greeter::PROTO.replace("package greeter.v1", "package other.v1");
    let text = greeter::compile("other.proto", &text.replace("\"/v1/", "\"/other/"));
    let other = Greeter::start_at(greeter::anywhere(), &text, Reflection::V1).await;
    let address = other.address();
    other.stop().await;
    let greeter = Greeter::start().await;
    let upstreams = [("greeter", greeter.endpoint()), ("other", format!("http://{address}"))];
    let alone = Alone::start(&upstreams, often(None)).await;
    assert_eq!(alone.get("/livez").await.0, 200);
    assert_eq!(alone.get("/v1/hello/Ana").await.0, 200);
    assert_eq!(alone.get("/other/hello/Ana").await.0, 404, "nobody said so yet");

    let here = greeter.address();
    greeter.stop().await;
    let _greeter = Greeter::start_at(here, &without_goodbye(), Reflection::V1).await;
    alone.until(GOODBYE, 404).await;

    let _other = Greeter::start_at(address, &text, Reflection::V1).await;
    alone.until("/other/hello/Ana", 501).await;
}

/// Without a contract there is nothing to serve, but probes get their answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_only_upstream_is_away_lives_and_is_not_ready() {
    let greeter = Greeter::start().await;
    let address = greeter.address();
    greeter.stop().await;
    let alone = Alone::start(&[("greeter", format!("http://{address}"))], often(None)).await;
    assert_eq!(alone.get("/livez").await.0, 200);
    assert_eq!(alone.get("/readyz").await.0, 503);

    let _greeter = Greeter::start_at(address, &greeter::descriptors(), Reflection::V1).await;
    alone.until("/readyz", 200).await;
    assert_eq!(alone.get("/v1/hello/Ana").await.0, 200);
}

/// Reloading takes no request with it.
#[tokio::test(flavor = "multi_thread")]
async fn contracts_change_under_load_without_a_failed_request() {
    let greeter = Greeter::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("greeter.binpb");
    fs::write(&file, greeter::descriptors()).unwrap();
    let upstreams = [("greeter", greeter.endpoint())];
    let alone = Arc::new(Alone::start(&upstreams, often(Some(file.clone()))).await);

    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (alone, done) = (Arc::clone(&alone), Arc::clone(&done));
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let (status, body) = alone.get("/v1/hello/slow").await;
                    assert_eq!((status, &body["message"]), (200, &json!("Hello, slow!")));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..4 {
        fs::write(&file, without_goodbye()).unwrap();
        alone.until(GOODBYE, 404).await;
        fs::write(&file, b"broken").unwrap();
        sleep(Duration::from_millis(150)).await;
        assert_eq!(alone.get(GOODBYE).await.0, 404, "what is broken is kept out");
        fs::write(&file, greeter::descriptors()).unwrap();
        alone.until(GOODBYE, 405).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > 20);
}

/// K-40, C-48: the share of a canary, upstreams and policies change while the gateway runs, all or none.
#[tokio::test(flavor = "multi_thread")]
async fn upstreams_and_policies_change_without_a_restart() {
    let (stable, canary) = (Greeter::start().await, Greeter::start().await);
    let text = greeter::PROTO.replace("package greeter.v1", "package other.v1");
    let text = greeter::compile("other.proto", &text.replace("\"/v1/", "\"/other/"));
    let other = Greeter::start_at(greeter::anywhere(), &text, Reflection::V1).await;
    let alone = Alone::start(&[("greeter", stable.endpoint())], Contracts::default()).await;
    assert_eq!(alone.get("/v1/hello/Ana").await, (200, greeting("1")));
    assert_eq!(alone.get("/v1/hello/Ana").await, (200, greeting("2")));

    let mut next = alone.config.clone();
    let upstream = next.upstreams.get_mut("greeter").unwrap();
    upstream.canary.endpoints = vec![canary.endpoint()];
    upstream.canary.weight = 100;
    let new = upstream::UpstreamConfig { endpoints: vec![other.endpoint()], ..Default::default() };
    next.upstreams.insert("other".to_owned(), new);
    assert_eq!(alone.reloader.reload(next.clone()).await.unwrap(), [""; 0]);
    assert_eq!(
        alone.get("/v1/hello/Ana").await,
        (200, greeting("1")),
        "the canary counts for itself"
    );
    assert_eq!(alone.get("/other/hello/Ana").await.0, 501);

    // One that is wrong changes nothing, and names the setting.
    let mut wrong = next.clone();
    wrong.upstreams.remove("other");
    wrong.policies[0].methods = "greeter.v1.Greter/*".to_owned();
    let error = alone.reloader.reload(wrong).await.unwrap_err().to_string();
    assert!(error.starts_with("gateway.policies[0].methods"), "{error}");
    assert_eq!(alone.get("/other/hello/Ana").await.0, 501);

    next.upstreams.remove("other");
    next.policies[0].access = Some(gateway::Access::Authenticated);
    next.limits.body_bytes_max = 1;
    assert_eq!(alone.reloader.reload(next).await.unwrap(), ["gateway.limits"], "needs a restart");
    assert_eq!(alone.get("/other/hello/Ana").await.0, 404);
    assert_eq!(alone.get("/v1/hello/Ana").await.0, 401);
}

/// A file that is being written may hold nothing yet: what could not start is not taken over either.
#[tokio::test(flavor = "multi_thread")]
async fn settings_without_an_upstream_are_refused_wherever_contracts_come_from() {
    let greeter = Greeter::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("greeter.binpb");
    fs::write(&file, greeter::descriptors()).unwrap();
    let upstreams = [("greeter", greeter.endpoint())];
    let alone = Alone::start(&upstreams, often(Some(file.clone()))).await;

    let empty = Config { contracts: often(Some(file)), ..Config::alone() };
    let refused = "gateway.upstreams is empty: nothing would answer";
    let error = alone.reloader.reload(empty.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), refused);
    assert_eq!(alone.get("/v1/hello/Ana").await, (200, greeting("1")));

    let empty = Config { http: Some(greeter::anywhere()), ..empty };
    let checked = Preview::checked(&empty).await.err().unwrap();
    let started = Gateway::bind(empty, None, clock::Clock::system()).await.err().unwrap();
    assert_eq!([checked.to_string(), started.to_string()], [refused, refused]);
}

/// Who is still sending a body finds the upstream that was there when the request began, also where
/// its name is no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_survives_that_its_upstream_is_renamed() {
    let (old, new) = (Greeter::start().await, Greeter::start().await);
    let alone = Alone::start(&[("greeter", old.endpoint())], Contracts::default()).await;
    let mut stream = TcpStream::connect(alone.address).await.unwrap();
    let head =
        "POST /v1/hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 14\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(200)).await;

    let mut next = alone.config.clone();
    let mut upstream = next.upstreams.remove("greeter").unwrap();
    upstream.endpoints = vec![new.endpoint()];
    next.upstreams.insert("renamed".to_owned(), upstream);
    alone.reloader.reload(next).await.unwrap();
    stream.write_all(br#"{"name":"Eve"}"#).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("Hello, Eve!"), "{answer}");
    assert_eq!(alone.get("/v1/hello/Ana").await, (200, greeting("1")), "new ones go elsewhere");
}

fn greeting(count: &str) -> serde_json::Value {
    json!({"message": "Hello, Ana!", "greeted": count})
}
