//! The access log.

use std::fs;
use std::time::Duration;

use auth::Role;
use gateway::{AccessLog, Logged};
use reqwest::Method;
use serde_json::Value;
use testkit::greeter::Greeter;

use crate::alone::Alone;
use crate::house::{House, deposit};

async fn logged(file: &std::path::Path, wanted: usize) -> Vec<Value> {
    for _ in 0..100 {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() >= wanted {
            return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the log never had {wanted} lines");
}

/// L-69, B-04, C-07.
#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_a_line_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = AccessLog { file: Some(file.clone()), ..AccessLog::default() };
    let house = House::start_with(|config| config.access_log = log, |_| {}).await;
    let claims = house.claims(&[Role::Customer]);
    let token = house.sign(&claims);
    let balance = house.request(Method::GET, "/users/me/balance").bearer_auth(&token);
    balance.header("x-correlation-id", "mine-1").send().await.unwrap();
    house.request(Method::GET, "/reset/secret-word").send().await.unwrap();
    let fault = house.request(Method::POST, "/transactions").bearer_auth(&token);
    let fault = fault.header("content-type", "application/json").body(deposit("fault"));
    assert_eq!(fault.send().await.unwrap().status(), 500);

    let lines = logged(&file, 3).await;
    let line = &lines[0];
    for (field, value) in [
        ("level", "INFO"),
        ("message", "request"),
        ("service_name", "gateway"),
        ("correlationId", "mine-1"),
        ("http_method", "GET"),
        ("route", "/users/{user_id}/balance"),
        ("path", "/users/me/balance"),
        ("upstream", "accounts"),
        ("peer", "127.0.0.1"),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert_eq!(line["userId"], claims.sub.to_string());
    assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &19.into()));
    assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
    assert!(line["duration"].as_str().unwrap().ends_with("ms"));
    assert_eq!((&lines[1]["route"], &lines[1]["status"]), (&"unmatched".into(), &404.into()));
    assert_eq!((&lines[2]["status"], &lines[2]["reason"]), (&500.into(), &"INTERNAL".into()));
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&token) && !text.contains("secret-word"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sampled_log_has_every_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = AccessLog { requests: Logged::Sampled, ratio: 0.0, file: Some(file.clone()) };
    let house = House::start_with(|config| config.access_log = log, |_| {}).await;
    for description in ["", "fault", "", "fault"] {
        let request = house.signed(Method::POST, "/transactions");
        let request = request.header("content-type", "application/json");
        request.body(deposit(description)).send().await.unwrap();
    }
    let lines = logged(&file, 2).await;
    assert!(lines.iter().all(|line| line["status"] == 500), "{lines:?}");
}

/// Whoever rotates logs moves the file away.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_moved_away_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (file, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let log = AccessLog { file: Some(file.clone()), ..AccessLog::default() };
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |config| config.access_log = log).await;
    alone.get("/v1/hello/Ana").await;
    logged(&file, 1).await;
    fs::rename(&file, &moved).unwrap();

    alone.get("/v1/hello/Bia").await;
    assert_eq!(logged(&file, 1).await[0]["path"], "/v1/hello/Bia");
    assert_eq!(logged(&moved, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_cannot_be_written_are_counted() {
    let log = AccessLog { file: Some("/dev/full".into()), ..AccessLog::default() };
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |config| config.access_log = log).await;
    for _ in 0..100 {
        let metrics = alone.client.get(alone.url("/metrics")).send().await.unwrap();
        if metrics.text().await.unwrap().contains("malha_edge_log_batches_lost_total") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the lost lines were never counted");
}
