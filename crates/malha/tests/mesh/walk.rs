//! What people do at the edge of a `malha dev`.

use std::process::Command;

use reqwest::{StatusCode, Version};
use serde_json::json;

use crate::support::{Dev, Edge, Person, body, text};

/// The walk of the README. L-12, L-22, L-34, L-39
#[tokio::test(flavor = "multi_thread")]
async fn two_people_move_money_and_find_it_after_a_restart() {
    let mut dev = Dev::start().await;

    let (ada, bob) = walk(&dev.edge).await;

    dev.stop().await;
    dev.start_again();
    assert_balances(&ada, "899.50", &bob, "100.50").await;
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn walk_goes_over_tls_and_http_2_alike() {
    let dev = Dev::start().await;
    let secure = dev.site.secure_edge(&[dev.site.authority()]);

    walk(&secure).await;

    let answer = secure.get("/livez").await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    let hsts = answer.headers().get("strict-transport-security");
    assert!(hsts.is_none(), "browsers would hold every port of localhost to it");
    assert_eq!(dev.edge.get("/livez").await.unwrap().version(), Version::HTTP_11);
    let distrustful = dev.site.secure_edge(&[]);
    assert!(distrustful.get("/livez").await.is_err(), "the certificate is of our authority alone");
}

/// The database stops with the process that started it, and the next one takes its data over.
#[tokio::test(flavor = "multi_thread")]
async fn killed_mesh_leaves_no_database_running_and_starts_again() {
    let mut dev = Dev::start().await;
    let (ada, bob) = walk(&dev.edge).await;
    let database = dev.database().expect("its data are in the mesh's own folder");
    assert!(is_running(database));

    dev.kill();
    dev.start_again();

    assert!(!is_running(database));
    assert_balances(&ada, "899.50", &bob, "100.50").await;
    assert_eq!(ada.deposit("0.50").await.status(), StatusCode::CREATED);
    assert_balances(&ada, "900.00", &bob, "100.50").await;
}

/// K-35, K-36
#[tokio::test(flavor = "multi_thread")]
async fn repeated_request_moves_money_once() {
    let dev = Dev::start().await;
    let ada = dev.edge.register("ada").await;
    let deposit = async || {
        let transaction = json!({ "type": "DEPOSIT", "amount": "10.00" });
        let answer = ada.transact_once("d-1", &transaction).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let is_replay = answer.headers().contains_key("x-idempotent-replay");
        (is_replay, answer.text().await.unwrap())
    };

    let (first, second) = (deposit().await, deposit().await);

    assert_eq!((first.0, second.0), (false, true));
    assert_eq!(first.1, second.1);
    assert_eq!(ada.balance().await, "10.00");
}

/// Two people register; one pays in, pays the other, and cannot pay more than there is.
pub(crate) async fn walk(edge: &Edge) -> (Person, Person) {
    let ada = edge.register("ada").await;
    let bob = edge.register("bob").await;

    let deposit = ada.transact(json!({ "type": "DEPOSIT", "amount": 1000.00 })).await;
    assert_eq!(deposit.status(), StatusCode::CREATED);
    let transfer = ada.transact(transfer_to(&bob, "100.50")).await;
    assert_eq!(transfer.status(), StatusCode::CREATED);
    let transfer = body(transfer).await;
    assert_eq!(transfer["status"], "COMPLETED", "{transfer}");
    assert_balances(&ada, "899.50", &bob, "100.50").await;
    assert_statement(&ada, &text(&transfer["id"])).await;

    let overdraft = ada.transact(transfer_to(&bob, "899.51")).await;
    assert!(overdraft.status().is_client_error(), "{}", overdraft.status());
    assert_eq!(body(overdraft).await["reason"], "INSUFFICIENT_FUNDS");
    assert_balances(&ada, "899.50", &bob, "100.50").await;
    (ada, bob)
}

/// Whether there is a process of this id.
fn is_running(process: u32) -> bool {
    Command::new("kill").args(["-0", &process.to_string()]).output().unwrap().status.success()
}

fn transfer_to(receiver: &Person, amount: &str) -> serde_json::Value {
    json!({ "type": "TRANSFER", "receiverUserId": receiver.id, "amount": amount })
}

async fn assert_balances(ada: &Person, of_ada: &str, bob: &Person, of_bob: &str) {
    assert_eq!(ada.balance().await, of_ada);
    assert_eq!(bob.balance().await, of_bob);
}

async fn assert_statement(ada: &Person, transfer: &str) {
    let answer = ada.get(&format!("/users/{}/statement", ada.id)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let statement = body(answer).await;
    let [newest, oldest] = statement["entries"].as_array().unwrap().as_slice() else {
        panic!("{statement}");
    };
    assert_eq!(newest["transactionId"], transfer);
    assert_eq!((&newest["amount"], &newest["balance"]), (&json!(-100.50), &json!(899.50)));
    assert_eq!((&oldest["amount"], &oldest["balance"]), (&json!(1000.0), &json!(1000.0)));
}
