//! Health, reflection and background tasks.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use auth::TenantId;
use futures::StreamExt;
use mesh::{Context, MeshError, Service};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::world::*;

fn accounts() -> Accounts {
    Accounts::new(|_| async { Ok(()) })
}

/// L-61, B-41, C-36: a service says what it depends on, and turns with it.
#[tokio::test]
async fn health_turns_with_the_dependencies_and_calls_are_still_answered() {
    let world = World::new(&["accounts", "identity"]);
    let up = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&up);
    let service = Service::new("accounts")
        .mount(accounts())
        .check("clock", || async { Ok(()) })
        .check("postgres", move || {
            let up = asked.load(Ordering::SeqCst);
            async move { if up { Ok(()) } else { Err("connection refused".to_owned()) } }
        });
    let served = serve(&world.join("accounts"), service).await;
    let caller = world.caller("identity", "accounts", &[served.address]);
    let expect = async |postgres: bool| {
        eventually("health is as expected", || async {
            let health = caller.health("accounts").await;
            let checks: Vec<_> = health.checks.into_iter().collect();
            health.serving == postgres
                && checks == [("clock".to_owned(), true), ("postgres".to_owned(), postgres)]
        })
        .await;
    };

    expect(true).await;
    up.store(false, Ordering::SeqCst);
    expect(false).await;

    let mut health = HealthClient::new(caller.channel("accounts"));
    for (name, expected) in [
        ("", ServingStatus::NotServing),
        ("accounts", ServingStatus::NotServing),
        ("malha.accounts.v1.AccountsService", ServingStatus::NotServing),
        ("postgres", ServingStatus::NotServing),
        ("clock", ServingStatus::Serving),
    ] {
        let answer = health.check(HealthCheckRequest { service: name.to_owned() }).await.unwrap();
        assert_eq!(answer.get_ref().status(), expected, "{name}");
    }
    let mut client = AccountsClient::new(caller.channel("accounts"));
    client.open_account(OpenAccountRequest::default()).await.expect("it still answers");

    up.store(true, Ordering::SeqCst);
    expect(true).await;
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_not_serving() {
    let world = World::new(&["identity"]);
    let caller = world.caller("identity", "accounts", &[nowhere().await]);

    assert_eq!(caller.health("accounts").await, mesh::Health::default());
}

#[tokio::test]
async fn reflection_shows_what_is_mounted_with_its_options() {
    let world = World::new(&["accounts", "engineer"]);
    let served = serve(&world.join("accounts"), Service::new("accounts").mount(accounts())).await;
    let engineer = world.caller("engineer", "accounts", &[served.address]);
    let ask = async |request: MessageRequest| {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let mut client = ServerReflectionClient::new(engineer.channel("accounts"));
        let requests = tokio_stream::once(request);
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        answers.next().await.unwrap().unwrap().message_response.unwrap()
    };

    let listed = ask(MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(list) = listed else { panic!("{listed:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["malha.accounts.v1.AccountsService", "grpc.health.v1.Health"]);

    let symbol = "malha.accounts.v1.AccountsService".to_owned();
    let file = ask(MessageRequest::FileContainingSymbol(symbol)).await;
    let MessageResponse::FileDescriptorResponse(file) = file else { panic!("{file:?}") };
    let raw = contracts::DESCRIPTOR_SET;
    let shown = &file.file_descriptor_proto[0];
    assert!(raw.windows(shown.len()).any(|part| part == shown), "options and all, byte for byte");
}

#[tokio::test]
async fn background_work_is_started_again_when_it_ends_or_panics() {
    let world = World::new(&["accounts"]);
    let runs = Count::default();
    let counted = runs.clone();
    let service = Service::new("accounts").task("worker", move || {
        let run = counted.up();
        async move { assert_ne!(run, 1, "the first run panics") }
    });
    let served = serve(&world.join("accounts"), service).await;

    eventually("it ran three times", || async { runs.get() >= 3 }).await;
    assert!(!served.task.is_finished());
}

/// A served service with one call in flight.
struct Busy {
    served: Served,
    call: JoinHandle<Result<(), tonic::Status>>,
    /// Lets the call finish.
    answer: Arc<Notify>,
}

async fn busy(service: Service) -> Busy {
    let world = World::new(&["accounts", "identity"]);
    let [entered, answer] = [(); 2].map(|()| Arc::new(Notify::new()));
    let notifies = (Arc::clone(&entered), Arc::clone(&answer));
    let slow = Accounts::new(move |_| {
        let (entered, answer) = notifies.clone();
        async move {
            entered.notify_one();
            answer.notified().await;
            Ok(())
        }
    });
    let served = serve(&world.join("accounts"), service.mount(slow)).await;
    let caller = world.caller("identity", "accounts", &[served.address]);
    let mut client = AccountsClient::new(caller.channel("accounts"));
    let call = tokio::spawn(async move {
        let opened = client.open_account(OpenAccountRequest::default());
        Context::system(TenantId::DEFAULT).scope(opened).await.map(drop)
    });
    entered.notified().await;
    Busy { served, call, answer }
}

impl Busy {
    /// Waits until it drains, then lets it finish, and returns how serving ended.
    async fn end(self) -> Result<(), MeshError> {
        let Self { served, call, answer } = self;
        eventually("it takes no more calls", || async {
            TcpStream::connect(served.address).await.is_err()
        })
        .await;
        assert!(!served.task.is_finished(), "a call is in flight");
        answer.notify_one();
        call.await.unwrap().expect("it was in flight");
        served.task.await.unwrap()
    }
}

#[tokio::test]
async fn service_that_cannot_go_on_answers_its_calls_and_ends_with_the_reason() {
    let (fail, failed) = oneshot::channel::<String>();
    let failed = async move { failed.await.unwrap() };
    let busy = busy(Service::new("accounts").fatal(failed).fatal(pending())).await;

    fail.send("the disk is full".to_owned()).unwrap();

    let error = busy.end().await.unwrap_err();
    assert!(matches!(&error, MeshError::Fatal(reason) if reason == "the disk is full"));
    assert_eq!(error.to_string(), "the disk is full");
}

/// What a service owns falls apart when it is taken down: that is no failure.
#[tokio::test]
async fn service_that_is_told_to_stop_has_not_failed() {
    let (owned, gone) = oneshot::channel::<()>();
    let owned = Arc::new(owned);
    let worker = move || {
        let owned = Arc::clone(&owned);
        async move {
            pending::<()>().await;
            drop(owned);
        }
    };
    let gone = async move { gone.await.unwrap_err().to_string() };
    let busy = busy(Service::new("accounts").task("worker", worker).fatal(gone)).await;

    busy.served.stop.cancel();

    busy.end().await.unwrap();
}

#[tokio::test]
async fn keys_come_from_identity_over_the_mesh() {
    let world = World::new(&["identity", "accounts"]);
    let identity = Identity::new(|seen| async move {
        assert_eq!(seen.method, "GetJwks");
        Ok(())
    });
    let served = serve(&world.join("identity"), Service::new("identity").mount(identity)).await;
    let accounts = world.caller("accounts", "identity", &[served.address]);

    let keys = auth::KeySource::fetch(&accounts.key_source()).await.unwrap();
    assert!(keys.is_empty(), "as the script answers");

    served.kill().await;
    let error = auth::KeySource::fetch(&accounts.key_source()).await.unwrap_err();
    assert!(error.to_string().contains("identity"), "{error}");
}
