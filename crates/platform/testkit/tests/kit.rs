//! The kit itself: members meet, users are known, databases are apart.
#![allow(missing_docs, clippy::unwrap_used)]

use contracts::customers::v1::customers_service_client::CustomersServiceClient;
use contracts::customers::v1::customers_service_server::{
    CustomersService, CustomersServiceServer,
};
use contracts::customers::v1::{Customer, GetCustomerRequest, GetCustomerResponse};
use mesh::{Context, Service};
use testkit::{Claims, Role, TenantId, Testkit, UserId};
use tonic::{Code, Request, Response, Status};

/// Answers with the user that the mesh verified.
struct Mirror;

#[tonic::async_trait]
impl CustomersService for Mirror {
    async fn get_customer(
        &self,
        _: Request<GetCustomerRequest>,
    ) -> Result<Response<GetCustomerResponse>, Status> {
        let user = Context::principal()?.user.to_string();
        let customer = Some(Customer { id: user, ..Customer::default() });
        Ok(Response::new(GetCustomerResponse { customer }))
    }
}

fn mirror() -> Service {
    Service::new("customers").mount(CustomersServiceServer::new(Mirror))
}

/// Asks as the gateway for the user that the service sees.
async fn ask(kit: &Testkit, context: Context) -> Result<String, Status> {
    let mut client = CustomersServiceClient::new(kit.channel("gateway", "customers"));
    let request = GetCustomerRequest { id: "me".into() };
    let answer = context.scope(client.get_customer(request)).await?;
    Ok(answer.into_inner().customer.unwrap().id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_reaches_what_is_served_after_it_joined() {
    let kit = Testkit::start().await;
    let gateway = kit.mesh("gateway");
    assert!(!gateway.health("customers").await.serving);

    kit.serve(&kit.mesh("customers"), mirror()).await;

    let user = UserId::random();
    assert_eq!(
        ask(&kit, kit.user_context(user, &[Role::Customer])).await.unwrap(),
        user.to_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tokens_of_the_kit_count() {
    let kit = Testkit::start().await;
    kit.serve(&kit.mesh("customers"), mirror()).await;
    let context = kit.user_context(UserId::random(), &[Role::Customer]);

    let nobody = ask(&kit, Context::system(TenantId::DEFAULT)).await.unwrap_err();
    let forged = Context { token: Some("e30.e30.e30".into()), ..context };
    let forged = ask(&kit, forged).await.unwrap_err();

    assert_eq!((nobody.code(), forged.code()), (Code::Unauthenticated, Code::Unauthenticated));
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_can_be_changed_before_they_are_signed() {
    let kit = Testkit::start().await;
    let tenant = TenantId::from(uuid::Uuid::new_v4());
    let claims = Claims { tenant, ..kit.claims(UserId::random(), &[Role::Operator]) };

    let principal = kit.verifier().verify(&kit.sign(&claims)).await.unwrap();

    assert_eq!((principal.tenant, principal.roles), (tenant, vec![Role::Operator]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_service_can_be_served_again_at_its_address() {
    let kit = Testkit::start().await;
    let mesh = kit.mesh("customers");
    let context = || kit.user_context(UserId::random(), &[Role::Customer]);
    let address = kit.serve(&mesh, mirror()).await;
    ask(&kit, context()).await.unwrap();

    kit.stop("customers").await;
    assert_eq!(ask(&kit, context()).await.unwrap_err().code(), Code::Unavailable);

    assert_eq!(kit.serve(&mesh, mirror()).await, address);
    while ask(&kit, context()).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_database_is_new_and_services_may_share_one() {
    let kit = Testkit::start().await;
    let (first, second) = (kit.database("payments").await, kit.database("payments").await);
    let mut transaction = first.begin_worker().await.unwrap();
    sqlx::raw_sql("CREATE TABLE mine ()").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let mut transaction = second.begin_worker().await.unwrap();
    sqlx::raw_sql("CREATE TABLE mine ()").execute(&mut *transaction).await.unwrap();

    let shared = kit.storage(&["payments", "accounts"]).await;
    for service in ["payments", "accounts"] {
        storage::Database::open(service, &shared).ping().await.unwrap();
    }
}
