//! Workflows as operators reach them: over REST and on the command line.

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use serde_json::{Value, json};
use storage::Database;
use testkit::TenantId;
use uuid::Uuid;
use workflow::{Config, Definition, Failure, Worker, Workflows, step};

use crate::support::{House, MODULES, body, eventually};

/// A saga of payments whose second step is refused and whose first cannot be undone.
fn stuck() -> Definition<(), ()> {
    Definition::new("payments.stuck", 1)
        .then(
            step("hold", |_, (), _| async { Ok(()) })
                .undo(|_, (), _| async { Err(Failure::refused("HOLD_GONE", "the hold is gone")) }),
        )
        .then(step("pay", |_, (), _| async { Err(Failure::refused("CLOSED", "closed")) }))
}

/// K-48: what needs somebody's hand is found, looked at and let go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_stands_still_is_found_and_let_go_on() {
    let house = House::start(&MODULES, "identity.development_tokens = true").await;
    let payments = Database::open("payments", &house.storage());
    let id = Uuid::now_v7();
    let mut txn = payments.begin(TenantId::DEFAULT).await.unwrap();
    Workflows::new(Clock::system()).start(&mut txn, &stuck(), id, &()).await.unwrap();
    txn.commit().await.unwrap();
    let config = Config { poll_interval: Duration::from_millis(50), ..Config::default() };
    let worker =
        Worker::new(payments, Clock::system(), config).unwrap().register(stuck(), Arc::new(()));
    let worker = tokio::spawn(worker.run());
    let (id, token) = (id.to_string(), house.run(&["token", "--role", "operator"]));
    let run = |arguments: &[&str]| {
        house.run(&[&["workflow", "--token", token.as_str()][..], arguments].concat())
    };
    let list = async || run(&["list", "--status", "manual_intervention"]).contains(&id);
    eventually("it is listed", list).await;

    let path = format!("/v1/workflows/{id}");
    let got = house.edge.request(reqwest::Method::GET, &path).bearer_auth(&token).send().await;
    let got: Value = body(got.unwrap()).await;
    assert_eq!(got["workflow"]["status"], "MANUAL_INTERVENTION");
    assert_eq!(got["workflow"]["halt"]["reason"], "HOLD_GONE");
    assert_eq!(
        got["workflow"]["failure"],
        json!({
            "step": "pay", "reason": "CLOSED", "message": "closed"
        })
    );
    let shown = run(&["show", &id]);
    assert!(shown.contains("stands still at hold: HOLD_GONE: the hold is gone"), "{shown}");
    assert!(shown.contains("turned back at pay: CLOSED: closed"), "{shown}");

    run(&["resume", &id, "--step", "hold", "--skip", "--comment", "released by hand"]);
    eventually("it ends", async || run(&["show", &id]).contains(" FAILED ")).await;
    assert!(run(&["show", &id]).contains("SKIPPED"));
    assert!(run(&["show", &id]).contains("released by hand"));
    worker.abort();
}
