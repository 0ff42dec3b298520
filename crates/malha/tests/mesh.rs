//! The whole mesh in one process, as `malha dev` runs it.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::time::Duration;

use auth::TenantId;
use contracts::customers::v1::CreateCustomerRequest;
use contracts::customers::v1::customers_service_client::CustomersServiceClient;
use contracts::payments::v1::GetTransactionRequest;
use contracts::payments::v1::payments_service_client::PaymentsServiceClient;
use mesh::{Context, Mesh};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tonic::Code;

use support::client::{Edge, Person, body, text};
use support::{Malha, SERVICES, Variables, addresses};

/// A `malha dev` with a home of its own.
struct Dev {
    process: Malha,
    edge: Edge,
    home: TempDir,
    variables: Variables,
}

impl Dev {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(settings: &[(&str, &str)]) -> Self {
        let (mut variables, http) = addresses();
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        variables.extend(settings.iter().map(owned));
        let home = tempfile::tempdir().unwrap();
        let process = Self::launch(&variables, &home);
        Self { process, edge: Edge::new(&http), home, variables }
    }

    fn launch(variables: &Variables, home: &TempDir) -> Malha {
        let process = Malha::start(&["dev", "--home", "."], variables, home.path());
        process.await_line("ready");
        process
    }

    fn restart(&mut self) {
        assert!(self.process.terminate().success(), "SIGTERM ends it in order");
        self.process = Self::launch(&self.variables, &self.home);
    }

    /// What another `malha` command prints, with the settings of this mesh.
    fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_malha"))
            .args(arguments)
            .envs(self.variables.iter().cloned())
            .env("MALHA_MESH__CERTS", self.home.path().join("certs"))
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The mesh, seen by an engineer with a certificate.
    fn engineer(&self) -> Mesh {
        let address = |service: &str| {
            let wanted = format!("MALHA_MESH__LISTEN__{}", service.to_uppercase());
            let (_, address) = self.variables.iter().find(|(name, _)| *name == wanted).unwrap();
            (service.to_owned(), vec![address.clone()])
        };
        let certs = self.home.path().join("certs");
        let endpoints = SERVICES.map(address).into();
        Mesh::join("engineer", &mesh::Config { certs, endpoints, ..Default::default() }).unwrap()
    }
}

/// The walk of the README. L-12, L-22, L-34, L-39
#[tokio::test(flavor = "multi_thread")]
async fn two_people_move_money_and_find_it_after_a_restart() {
    let mut dev = Dev::start();
    let ada = dev.edge.register("ada").await;
    let bob = dev.edge.register("bob").await;

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

    dev.restart();
    assert_balances(&ada, "899.50", &bob, "100.50").await;
    assert!(dev.process.terminate().success());
}

/// K-35, K-36
#[tokio::test(flavor = "multi_thread")]
async fn repeated_request_moves_money_once() {
    let dev = Dev::start();
    let ada = dev.edge.register("ada").await;
    let deposit = async || {
        let request = ada.request(Method::POST, "/transactions").header("idempotency-key", "d-1");
        let answer = request.json(&json!({ "type": "DEPOSIT", "amount": "10.00" })).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let is_replay = answer.headers().contains_key("x-idempotent-replay");
        (is_replay, answer.text().await.unwrap())
    };

    let (first, second) = (deposit().await, deposit().await);

    assert_eq!((first.0, second.0), (false, true));
    assert_eq!(first.1, second.1);
    assert_eq!(ada.balance().await, "10.00");
}

/// L-06, B-46
#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_the_hasty_are_turned_away() {
    let dev = Dev::start_with(&[("MALHA_GATEWAY__TOKENS__LEEWAY", "0s")]);
    let ada = dev.edge.register("ada").await;

    let anonymous = dev.edge.request(Method::GET, "/transactions").send().await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);

    let token = dev.command(&["token", "--subject", &ada.id, "--ttl", "1s"]);
    let brief = Person { token, ..ada.clone() };
    assert_eq!(brief.balance().await, "0.00");
    await_expiry(&brief).await;

    let mut answer = ada.get("/transactions").await;
    for _ in 0..110 {
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        answer = ada.get("/transactions").await;
    }
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers().contains_key("retry-after"));
    let bob = dev.edge.register("bob").await;
    assert_eq!(bob.balance().await, "0.00", "others are not held up");
}

/// B-44
#[tokio::test(flavor = "multi_thread")]
async fn engineer_reaches_what_the_contracts_allow() {
    let dev = Dev::start();
    let ada = dev.edge.register("ada").await;
    let deposit = ada.transact(json!({ "type": "DEPOSIT", "amount": 5 })).await;
    let id = text(&body(deposit).await["id"]);
    let mesh = dev.engineer();

    let mut payments = PaymentsServiceClient::new(mesh.channel("payments"));
    let mut context = Context::system(TenantId::DEFAULT);
    context.token = Some(ada.token.clone().into());
    let read = payments.get_transaction(GetTransactionRequest { id });
    let transaction = context.clone().scope(read).await.unwrap().into_inner().transaction;
    assert_eq!(transaction.unwrap().amount, "5.00");

    let mut customers = CustomersServiceClient::new(mesh.channel("customers"));
    let create = customers.create_customer(CreateCustomerRequest::default());
    let refusal = context.scope(create).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    assert_eq!(mesh::error::reason(&refusal).as_deref(), Some("CALLER_NOT_ALLOWED"));

    let kid = dev.command(&["keys", "rotate"]);
    let keys = dev.edge.request(Method::GET, "/.well-known/jwks.json").send().await.unwrap();
    assert_eq!(body(keys).await["keys"][0]["kid"], kid);
    assert_eq!(ada.balance().await, "5.00", "the old key's tokens stay valid");
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

async fn await_expiry(person: &Person) {
    for _ in 0..50 {
        let answer = person.get("/transactions").await;
        if answer.status() == StatusCode::UNAUTHORIZED {
            assert_eq!(body(answer).await["reason"], "TOKEN_EXPIRED");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the token does not expire");
}
