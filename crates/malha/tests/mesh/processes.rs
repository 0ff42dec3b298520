//! The mesh as it runs in production: where its processes start, stop and log.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use auth::TenantId;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use contracts::ledger::v1::{
    CreateAccountResult, CreateAccountStatus, CreateAccountsRequest, NewAccount,
};
use mesh::Context;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::{House, MODULES, Malha, Site, body, database, text};
use crate::walk::walk;

#[tokio::test(flavor = "multi_thread")]
async fn all_services_in_one_process_serve_and_stop_in_order() {
    let mut house = House::start(&["all"], "").await;

    walk(&house.edge).await;

    assert!(house.terminate("all").await.success());
    house.process("all").await_line("stopped");
}

/// K-35 to K-37: kept where the services keep theirs, so that a gateway that ends forgets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_edge_keeps_its_keys_in_the_database_of_the_mesh() {
    let mut house = House::start(&MODULES, "gateway.idempotency.store = 'postgres'").await;
    let ada = house.edge.register("ada").await;
    let deposit = json!({ "type": "DEPOSIT", "amount": 5 });
    let first = ada.transact_once("rent-1", &deposit).await.unwrap();
    assert_eq!(first.status(), StatusCode::CREATED);
    let first = text(&body(first).await["id"]);

    house.kill("gateway");
    house.spawn("gateway");
    house.process("gateway").await_line("ready");
    house.terminate("payments").await;
    let again = ada.transact_once("rent-1", &deposit).await.unwrap();
    assert_eq!(again.status(), StatusCode::CREATED, "nobody else could answer it");
    assert_eq!(again.headers()["x-idempotent-replay"], "true");
    assert_eq!(text(&body(again).await["id"]), first);
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

/// A volume that is not mounted must not pass for a new ledger.
#[test]
fn ledger_without_its_journal_does_not_start() {
    let site = Site::production("");
    let mut command = site.malha(&["serve", "ledger"]);

    let output = command.env("MALHA_LEDGER__CREATE", "false").output().unwrap();

    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    let journal = "ledger cannot go on: there is no journal in .malha/ledger";
    assert!(error.contains(journal) && error.contains("ledger.create = true"), "{error}");
    assert!(!site.path("ledger").exists());
}

/// What restarts processes has to see that the ledger can do nothing more; the restart mends it.
#[tokio::test(flavor = "multi_thread")]
async fn ledger_whose_disk_is_full_ends_its_process_and_starts_again() {
    let site = Site::production("");
    let said = site.path("said");
    let mut process = Malha::start(&mut with_full_disk(&site.malha(&["serve", "ledger"]), &said));
    process.await_line("ready");

    let status = open_accounts(&site).await.unwrap_err();

    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(!process.end().await.success());
    let said = fs::read_to_string(said).unwrap();
    assert!(said.contains("ledger cannot go on: the journal could not be written: "), "{said}");

    let process = Malha::start(&mut site.malha(&["serve", "ledger"]));
    process.await_line("cut an incomplete last block off the journal");
    process.await_line("ready");
    assert!(site.path("ledger/torn-2").exists(), "what was written of the second block is kept");
    assert_eq!(open_accounts(&site).await.unwrap(), [CreateAccountStatus::Created; 500]);
}

/// The same command where no file may grow beyond a few kilobytes; what it says as an error goes
/// to the file `said`.
fn with_full_disk(command: &Command, said: &Path) -> Command {
    let mut limited = Command::new("sh");
    // Without the trap the write would not fail but end the process.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.current_dir(command.get_current_dir().unwrap());
    limited.stdin(Stdio::null()).stderr(fs::File::create(said).unwrap());
    limited
}

/// Opens more accounts than a few kilobytes can hold.
async fn open_accounts(site: &Site) -> Result<Vec<CreateAccountStatus>, Status> {
    let mut ledger = LedgerServiceClient::new(site.join("accounts").channel("ledger"));
    let account = |number| NewAccount {
        id: Uuid::from_u128(number).to_string(),
        ledger: 986,
        code: 1,
        ..NewAccount::default()
    };
    let accounts = (1..=500).map(account).collect();
    let opened = ledger.create_accounts(CreateAccountsRequest { accounts });
    let opened = Context::system(TenantId::DEFAULT).scope(opened).await?.into_inner();
    Ok(opened.results.iter().map(CreateAccountResult::status).collect())
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
