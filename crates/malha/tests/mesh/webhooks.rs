//! Webhooks through the whole mesh: B-20, K-14.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Dev, Person, body, eventually, text};

type Got = Arc<Mutex<Vec<(String, Value)>>>;

/// An endpoint on this machine, and what it got: ids and bodies.
async fn endpoint() -> (String, Got) {
    endpoint_at(TcpListener::bind("127.0.0.1:0").await.unwrap())
}

fn endpoint_at(listener: TcpListener) -> (String, Got) {
    let got = Got::default();
    let keep = Arc::clone(&got);
    let hook = post(async move |headers: HeaderMap, body: String| {
        assert!(headers["webhook-signature"].to_str().unwrap().starts_with("v1,"));
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        keep.lock().unwrap().push((id, serde_json::from_str(&body).unwrap()));
        StatusCode::NO_CONTENT
    });
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let app = Router::new().route("/hook", hook);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, got)
}

fn admin(dev: &Dev, person: &Person) -> Person {
    let mut admin = person.clone();
    admin.token = dev.site.run(&["token", "--role", "admin"]);
    admin
}

/// B-20: a webhook per completed transfer, to both sides; over REST from the first call to the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_completed_transfer_is_told_to_an_endpoint() {
    let dev = Dev::start().await;
    let ada = dev.edge.register("ada").await;
    let bob = dev.edge.register("bob").await;
    let admin = admin(&dev, &ada);
    let (url, got) = endpoint().await;
    let create = json!({ "endpoint": { "url": url, "eventTypes": ["transaction.*"] } });
    let created = admin.request(Method::POST, "/v1/webhooks/endpoints").json(&create).send();
    let created = created.await.unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    let created = body(created).await;
    assert!(text(&created["secret"]).starts_with("whsec_"));
    let id = text(&created["endpoint"]["id"]);
    let refused = ada.request(Method::POST, "/v1/webhooks/endpoints").json(&create).send().await;
    assert_eq!(refused.unwrap().status(), StatusCode::FORBIDDEN, "customers have none");

    assert_eq!(ada.deposit("10.00").await.status(), StatusCode::CREATED);
    let transfer = json!({ "type": "TRANSFER", "amount": "2.50", "receiverUserId": bob.id });
    let transfer = body(ada.transact(transfer).await).await;
    let told = || -> Vec<Value> {
        let got = got.lock().unwrap();
        let of_transfer =
            got.iter().filter(|(_, body)| body["data"]["transaction"]["id"] == transfer["id"]);
        of_transfer.map(|(_, body)| body["data"]["direction"].clone()).collect()
    };
    eventually("both sides are told", async || told().len() == 2).await;
    let mut directions: Vec<_> = told().iter().map(text).collect();
    directions.sort();
    assert_eq!(directions, ["CREDIT", "DEBIT"]);

    let path = format!("/v1/webhooks/deliveries?endpointId={id}&state=DELIVERED");
    eventually("the log shows them", async || {
        let listed = body(admin.get(&path).await).await;
        listed["deliveries"].as_array().is_some_and(|listed| listed.len() == 3)
    })
    .await;
    let answer = admin.request(Method::DELETE, &format!("/v1/webhooks/endpoints/{id}")).send();
    assert_eq!(answer.await.unwrap().status(), StatusCode::NO_CONTENT);
}

/// K-14, K-21: body and signature reach the service through the edge as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_received_through_the_edge() {
    let dev = Dev::start().await;
    let admin = admin(&dev, &dev.edge.register("ada").await);
    let provider = json!({
        "scheme": "HMAC",
        "header": "X-Acme-Signature",
        "prefix": "sha256=",
        "encoding": "BASE64",
        "secrets": ["a secret of the provider"],
    });
    let admitted = admin.request(Method::PUT, "/v1/webhooks/providers/acme").json(&provider);
    let admitted = admitted.send().await.unwrap();
    assert_eq!(admitted.status(), StatusCode::OK);
    assert!(!admitted.text().await.unwrap().contains("a secret of the provider"));

    // No JSON, and every byte counts.
    let sent = b"a=1&b=%20 \r\n\x00\xff".to_vec();
    let signature = {
        let key = b"a secret of the provider";
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        let tag = aws_lc_rs::hmac::sign(&key, &sent);
        format!("sha256={}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, tag))
    };
    let receive = async |path: &str, signature: &str| {
        let request = dev.edge.request(Method::POST, path);
        let request = request.header("x-acme-signature", signature);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(sent.clone()).send().await.unwrap()
    };

    let path = "/v1/webhooks/inbound/acme";
    let first = receive(path, &signature).await;
    assert_eq!(first.status(), StatusCode::OK);
    let first = body(first).await;
    assert_eq!(first["duplicate"], false);
    let tenant = "00000000-0000-0000-0000-000000000000";
    for path in [path, &format!("/v1/tenants/{tenant}/webhooks/inbound/acme")] {
        let repeat = receive(path, &signature).await;
        if path.contains("tenants") {
            // Of another tenant, which has no such provider.
            assert_eq!(repeat.status(), StatusCode::NOT_FOUND);
            continue;
        }
        let repeat = body(repeat).await;
        assert_eq!((&repeat["duplicate"], &repeat["id"]), (&json!(true), &first["id"]));
    }
    let forged = receive(path, "sha256=00").await;
    assert_eq!(forged.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(body(forged).await["reason"], "SIGNATURE_INVALID");
    let unknown = receive("/v1/webhooks/inbound/other", &signature).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);

    let id = text(&first["id"]);
    let kept = body(admin.get(&format!("/v1/webhooks/received/{id}")).await).await;
    let kept = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text(&kept["body"]));
    assert_eq!(kept.unwrap(), sent);
}

/// B-20: killed in the middle of a delivery, it is made again, under the same id.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_survives_the_death_of_its_sender() {
    let mut dev = Dev::start_with("webhooks.attempt_timeout = '10s'").await;
    let admin = admin(&dev, &dev.edge.register("ada").await);
    // The first one is taken and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let create = json!({ "endpoint": { "url": format!("http://{address}/hook") } });
    let created = admin.request(Method::POST, "/v1/webhooks/endpoints").json(&create).send();
    let id = text(&body(created.await.unwrap()).await["endpoint"]["id"]);
    let path = format!("/v1/webhooks/endpoints/{id}/ping");
    let pinged = admin.request(Method::POST, &path).json(&json!({})).send().await.unwrap();
    assert_eq!(pinged.status(), StatusCode::ACCEPTED);
    let pinged = body(pinged).await;
    let (mut stream, _) = silent.accept().await.unwrap();
    let mut request = vec![0; 4096];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await.unwrap();
    let id = text(&pinged["messageId"]);
    assert!(String::from_utf8_lossy(&request[..read]).contains(&id), "it is on its way");

    dev.kill();
    drop((stream, silent));
    let (_, got) = endpoint_at(TcpListener::bind(address).await.unwrap());
    dev.start_again();
    eventually("it is sent again", async || !got.lock().unwrap().is_empty()).await;
    assert_eq!(got.lock().unwrap()[0].0, id);
    // The first attempt left no trace but its number.
    let path = format!("/v1/webhooks/deliveries/{}/attempts", text(&pinged["id"]));
    eventually("the second attempt is logged", async || {
        let logged = body(admin.get(&path).await).await;
        logged["attempts"].as_array().is_some_and(|logged| {
            logged.len() == 1 && logged[0]["number"] == 2 && logged[0]["outcome"] == "DELIVERED"
        })
    })
    .await;
}
