//! The mesh as it runs in production: where its processes start, stop and log.

use std::os::unix::fs::symlink;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{House, MODULES, Malha, Site, database};
use crate::walk::walk;

#[tokio::test(flavor = "multi_thread")]
async fn all_services_in_one_process_serve_and_stop_in_order() {
    let mut house = House::start(&["all"], "").await;

    walk(&house.edge).await;

    assert!(house.terminate("all").await.success());
    house.process("all").await_line("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn service_waits_for_its_database() {
    let site = Site::production("");
    let socket = site.path("database");
    let mut command = site.malha(&["serve", "customers"]);
    let mut process = Malha::start(command.env("MALHA_STORAGE__HOST", &socket));

    process.await_line("database does not answer, asking again");
    let readiness = site.admin().get("/readyz").await.unwrap();
    assert_eq!(readiness.status(), StatusCode::SERVICE_UNAVAILABLE);
    site.admin().await_ok("/livez").await;

    let database = database(&site).await;
    symlink(&database.config().host, &socket).unwrap();
    process.await_line("ready");
    site.admin().await_ok("/readyz").await;
    assert!(process.terminate().await.success());
}

/// One id names a request in the log of every hop, and one trace connects them. L-08, L-71, T-47
#[tokio::test(flavor = "multi_thread")]
async fn correlation_id_and_trace_reach_the_last_hop() {
    let mut house = House::start(&MODULES, "telemetry.log = 'info,mesh=debug'").await;
    let ada = house.edge.register("ada").await;

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let deposit = ada
        .request(Method::POST, "/transactions")
        .header("x-correlation-id", "order-4711")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .json(&json!({ "type": "DEPOSIT", "amount": "1.00" }));
    let deposit = deposit.send().await.unwrap();
    assert_eq!(deposit.status(), StatusCode::CREATED);
    assert_eq!(deposit.headers()["x-correlation-id"], "order-4711");
    assert_eq!(traces(&mut house, ["gateway", "payments", "ledger"], "order-4711"), [trace; 3]);

    let balance = ada.get("/users/me/balance").await;
    let made = balance.headers()["x-correlation-id"].to_str().unwrap();
    let [edge, middle, last] = traces(&mut house, ["gateway", "accounts", "ledger"], made);
    assert_eq!((&edge, &edge), (&middle, &last));
    assert_ne!(edge, trace);
}

/// The trace in which each of these logs the calls of this correlation id.
fn traces<const N: usize>(house: &mut House, hops: [&str; N], correlation_id: &str) -> [String; N] {
    hops.map(|hop| {
        let is_wanted = |line: &serde_json::Value| line["correlationId"] == correlation_id;
        let line = house.process(hop).await_log(correlation_id, is_wanted);
        assert_eq!(line["service_name"], hop);
        line["trace_id"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned()
    })
}
