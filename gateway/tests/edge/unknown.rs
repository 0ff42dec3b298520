//! Requests under a key of which nobody knows whether they were carried out.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gateway::Config;
use serde_json::Value;
use testkit::greeter;
use tokio::net::TcpListener;
use tonic::Code;

use crate::alone::Alone;

const LOCK_TTL: Duration = Duration::from_secs(2);

/// A service that takes a call, and goes without an answer.
async fn vanishing() -> String {
    let listener = TcpListener::bind(greeter::anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            connection.accept().await.unwrap().unwrap();
        }
    });
    format!("http://{address}")
}

/// A service that answers every call with that code and its insides, and counts them.
pub(crate) async fn refusing(code: Code, calls: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind(greeter::anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let calls = Arc::clone(&calls);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    calls.fetch_add(1, Ordering::Relaxed);
                    let answer = http::Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", i32::from(code))
                        .header("grpc-message", "secret: password=hunter2");
                    respond.send_response(answer.body(()).unwrap(), true).unwrap();
                }
            });
        }
    });
    format!("http://{address}")
}

/// A gateway before a service whose method `SayHello` honours keys.
pub(crate) async fn alone(endpoint: String, retry_safe: bool) -> Alone {
    let folder = tempfile::tempdir().unwrap();
    let contract = folder.path().join("greeter.binpb");
    fs::write(&contract, greeter::descriptors()).unwrap();
    let configure = |config: &mut Config| {
        config.contracts.descriptors = Some(contract);
        config.idempotency.lock_ttl = LOCK_TTL;
        config.policies[0].idempotency_key = Some(true);
        config.policies[0].retry_safe = Some(retry_safe);
        let upstream = config.upstreams.get_mut("greeter").unwrap();
        upstream.health.enabled = false;
        upstream.breaker.consecutive_failures = 1_000.try_into().unwrap();
    };
    Alone::start_with(&[("greeter", endpoint)], configure).await
}

/// Status, reason, and the seconds to wait.
async fn greet(alone: &Alone) -> (u16, String, u64) {
    let request = alone.client.post(alone.url("/v1/hello")).header("idempotency-key", "one");
    let request = request.header("content-type", "application/json").body(r#"{"name":"Ana"}"#);
    let answer = request.send().await.unwrap();
    let wait = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["reason"].as_str().unwrap().to_owned(), wait)
}

/// K-37: who repeats it is told that the outcome is not known, and when it may be sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_unknown_outcome_is_not_carried_out_again_before_its_lock_ends() {
    let alone = alone(vanishing().await, false).await;
    assert_eq!(greet(&alone).await, (503, "UPSTREAM_LOST".to_owned(), LOCK_TTL.as_secs()));
    // The lock is abandoned beside the answer.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (status, reason, wait) = greet(&alone).await;
    assert_eq!((status, reason.as_str()), (409, "OUTCOME_UNKNOWN"));
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(greet(&alone).await.1, "UPSTREAM_LOST", "it is sent again");
}

/// K-37: nor one of which the service says no more than that it went wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_explains_nothing_leaves_the_outcome_unknown() {
    for code in [
        Code::Cancelled,
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
    ] {
        let calls = Arc::default();
        let alone = alone(refusing(code, Arc::clone(&calls)).await, false).await;
        assert_eq!(greet(&alone).await.2, LOCK_TTL.as_secs(), "{code:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (status, reason, _) = greet(&alone).await;
        assert_eq!((status, reason.as_str()), (409, "OUTCOME_UNKNOWN"), "{code:?}");
        assert_eq!(calls.load(Ordering::Relaxed), 1, "{code:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_repeat_does_no_harm_it_need_not_wait() {
    let alone = alone(vanishing().await, true).await;
    for _ in 0..2 {
        assert_eq!(greet(&alone).await, (503, "UPSTREAM_LOST".to_owned(), 1));
    }
}
