//! Who is let in, at the edge and between the services.

use auth::TenantId;
use contracts::customers::v1::CreateCustomerRequest;
use contracts::customers::v1::customers_service_client::CustomersServiceClient;
use contracts::ledger::v1::CreateTransfersRequest;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use contracts::payments::v1::GetTransactionRequest;
use contracts::payments::v1::payments_service_client::PaymentsServiceClient;
use contracts::policy;
use mesh::Context;
use reqwest::{ClientBuilder, Identity, StatusCode};
use serde_json::json;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::support::{Dev, SERVICES, body, client, eventually, text};

/// L-06, B-46
#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_the_hasty_are_turned_away() {
    let dev = Dev::start_with("gateway.issuers = [{ issuer = 'malha', audiences = ['malha'], keys = 'mesh', leeway = '0s' }]").await;
    let ada = dev.edge.register("ada").await;

    let anonymous = dev.edge.get("/transactions").await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);

    let mut brief = ada.clone();
    brief.token = dev.site.run(&["token", "--subject", &ada.id, "--ttl", "3s"]);
    assert_eq!(brief.balance().await, "0.00");
    eventually("the token expires", async || {
        let answer = brief.get("/transactions").await;
        let has_expired = answer.status() == StatusCode::UNAUTHORIZED;
        if has_expired {
            assert_eq!(body(answer).await["reason"], "TOKEN_EXPIRED");
        }
        has_expired
    })
    .await;

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
    let dev = Dev::start().await;
    let ada = dev.edge.register("ada").await;
    let deposit = ada.transact(json!({ "type": "DEPOSIT", "amount": 5 })).await;
    let id = text(&body(deposit).await["id"]);
    let mesh = dev.site.join("engineer");

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

    let kid = dev.site.run(&["keys", "rotate"]);
    let keys = dev.edge.get("/.well-known/jwks.json").await.unwrap();
    assert_eq!(body(keys).await["keys"][0]["kid"], kid);
    assert_eq!(ada.balance().await, "5.00", "the old key's tokens stay valid");
}

/// B-44
#[tokio::test(flavor = "multi_thread")]
async fn services_hang_up_on_whoever_shows_no_certificate() {
    let dev = Dev::start().await;
    for service in SERVICES {
        let knock = async |client: ClientBuilder| {
            let client = client.tls_certs_only([dev.site.authority()]).build().unwrap();
            client.get(format!("https://{}/", dev.site.address(service))).send().await
        };
        assert!(knock(client()).await.is_err(), "{service} serves whoever comes");
        knock(client().identity(engineer(&dev))).await.unwrap();
    }
}

/// B-44
#[tokio::test(flavor = "multi_thread")]
async fn ledger_moves_money_for_payments_and_for_staff_alone() {
    let dev = Dev::start().await;
    let refusal = move_money(&dev, "payments").await;
    assert_eq!(refusal.code(), Code::InvalidArgument, "admitted, with nothing to move");
    let refusal = move_money(&dev, "gateway").await;
    assert_eq!(refusal.code(), Code::Unauthenticated, "it comes for nobody");
    assert_eq!(mesh::error::reason(&refusal).as_deref(), Some("TOKEN_MISSING"));

    for member in ["identity", "customers", "accounts", "ledger", "workflows", "engineer"] {
        let refusal = move_money(&dev, member).await;
        assert_eq!(refusal.code(), Code::PermissionDenied, "{member}");
        assert_eq!(mesh::error::reason(&refusal).as_deref(), Some("CALLER_NOT_ALLOWED"));
    }
}

/// Every method of the contracts is there: the services implement what they promise.
#[tokio::test(flavor = "multi_thread")]
async fn every_method_of_the_contracts_is_served() {
    let dev = Dev::start().await;
    let mut staff = Context::system(TenantId::DEFAULT);
    staff.token = Some(dev.site.run(&["token", "--role", "admin"]).into());
    let methods = contracts::pool().services().flat_map(|it| it.methods().collect::<Vec<_>>());
    for method in methods {
        let path = policy::grpc_path(&method);
        let policy = policy::of_method(&method).unwrap();
        let callers = ["engineer", "gateway"].into_iter().chain(SERVICES);
        let caller = callers.into_iter().find(|caller| policy.admits_caller(caller)).unwrap();
        let service = method.parent_service().package_name().split('.').nth(1).unwrap().to_owned();
        let mut client = Grpc::new(dev.site.join(caller).channel(&service));
        client.ready().await.unwrap();
        let (nothing, codec) = (Request::new(()), ProstCodec::<(), ()>::default());
        let call = client.server_streaming(nothing, path.parse().unwrap(), codec);
        let code = staff.clone().scope(call).await.map_or_else(|it| it.code(), |_| Code::Ok);
        assert_ne!(code, Code::Unimplemented, "{path}");
    }
}

/// The certificate of a person with a client of their own.
fn engineer(dev: &Dev) -> Identity {
    let files = ["engineer.pem", "engineer.key"].map(|name| dev.site.path("certs").join(name));
    Identity::from_pem(&files.map(|file| std::fs::read(file).unwrap()).concat()).unwrap()
}

/// What the ledger says to a member that asks it for transfers, but for none.
async fn move_money(dev: &Dev, member: &str) -> Status {
    let mut ledger = LedgerServiceClient::new(dev.site.join(member).channel("ledger"));
    let transfers = ledger.create_transfers(CreateTransfersRequest::default());
    Context::system(TenantId::DEFAULT).scope(transfers).await.unwrap_err()
}
