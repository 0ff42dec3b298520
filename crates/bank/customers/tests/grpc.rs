//! Customers over real mTLS and a real database.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use auth::{Role, TenantId, UserId};
use chrono::{DateTime, Utc};
use clock::Clock;
use contracts::customers::v1::customers_service_client::CustomersServiceClient;
use contracts::customers::v1::{
    AccountType, BankingDetails, CreateCustomerRequest, Customer, GetContactRequest,
    GetCustomerRequest, UpdateCustomerRequest,
};
use mesh::{Channel, Context};
use prost_types::FieldMask;
use testkit::{Testkit, assert_refused};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

struct Bank {
    kit: Testkit,
}

impl Bank {
    async fn start() -> Self {
        let start = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap();
        let kit = Testkit::start_at(Clock::manual(start)).await;
        let mesh = kit.mesh("customers");
        let database = kit.database("customers").await;
        let config = customers::Config::default();
        let service = customers::start(config, &mesh, database, kit.clock()).await.unwrap();
        kit.serve(&mesh, service).await;
        Self { kit }
    }

    fn client(&self, caller: &str) -> CustomersServiceClient<Channel> {
        CustomersServiceClient::new(self.kit.channel(caller, "customers"))
    }

    async fn create_in(
        &self,
        tenant: TenantId,
        request: CreateCustomerRequest,
    ) -> Result<Customer, Status> {
        let mut client = self.client("identity");
        let response = Context::system(tenant).scope(client.create_customer(request)).await?;
        Ok(response.into_inner().customer.unwrap())
    }

    async fn create(&self, request: CreateCustomerRequest) -> Result<Customer, Status> {
        self.create_in(TenantId::DEFAULT, request).await
    }

    async fn get(&self, context: Context, id: &str) -> Result<Customer, Status> {
        let request = GetCustomerRequest { id: id.to_owned() };
        let mut client = self.client("gateway");
        let response = context.scope(client.get_customer(request)).await?;
        Ok(response.into_inner().customer.unwrap())
    }

    async fn update(
        &self,
        context: Context,
        id: &str,
        customer: Customer,
        paths: &[&str],
    ) -> Result<Customer, Status> {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        let request = UpdateCustomerRequest {
            id: id.to_owned(),
            customer: Some(customer),
            update_mask: Some(FieldMask { paths }),
        };
        let mut client = self.client("gateway");
        let response = context.scope(client.update_customer(request)).await?;
        Ok(response.into_inner().customer.unwrap())
    }

    fn caller(&self, user: UserId, role: Role) -> Context {
        self.kit.user_context(user, &[role])
    }

    fn customer(&self, user: UserId) -> Context {
        self.caller(user, Role::Customer)
    }
}

fn details() -> BankingDetails {
    BankingDetails {
        agency: "0001".into(),
        account_number: "00000001-9".into(),
        account_type: AccountType::Payment.into(),
    }
}

fn ana(id: UserId) -> CreateCustomerRequest {
    CreateCustomerRequest {
        id: id.to_string(),
        name: "Ana Souza".into(),
        email: "ana@example.com".into(),
        address: "Rua A, 1".into(),
        banking_details: Some(details()),
    }
}

/// L-03, L-19, L-21, L-26, L-31: a profile is created whole and read back.
#[tokio::test(flavor = "multi_thread")]
async fn a_created_profile_is_read_back() {
    let bank = Bank::start().await;
    let id = UserId::random();

    let created = bank.create(ana(id)).await.unwrap();
    let read = bank.get(bank.customer(id), "me").await.unwrap();

    assert_eq!(created, read);
    let now = Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 });
    assert_eq!(
        read,
        Customer {
            id: id.to_string(),
            name: "Ana Souza".into(),
            email: "ana@example.com".into(),
            address: "Rua A, 1".into(),
            profile_picture: String::new(),
            banking_details: Some(details()),
            is_active: true,
            created_at: now,
            updated_at: now,
            phone: String::new(),
        }
    );
}

/// Who notifies people learns how to reach them, and nobody else does without their token.
#[tokio::test(flavor = "multi_thread")]
async fn who_notifies_learns_how_a_person_is_reached() {
    let bank = Bank::start().await;
    let id = UserId::random();
    bank.create(ana(id)).await.unwrap();
    let phone = "+5511987654321";
    let proposal = Customer { phone: phone.into(), ..Customer::default() };
    let after = bank.update(bank.customer(id), "me", proposal, &[]).await.unwrap();
    assert_eq!(after.phone, phone);

    let ask = async |caller: &str, tenant: TenantId, id: UserId| {
        let request = GetContactRequest { id: id.to_string() };
        let mut client = bank.client(caller);
        let answer = Context::system(tenant).scope(client.get_contact(request)).await?;
        Ok::<_, Status>(answer.into_inner())
    };
    let contact = ask("notifications", TenantId::DEFAULT, id).await.unwrap();
    assert_eq!((contact.name.as_str(), contact.phone.as_str()), ("Ana Souza", phone));
    assert_eq!(contact.email, "ana@example.com");
    let elsewhere = TenantId::from(Uuid::now_v7());
    for (tenant, id) in [(TenantId::DEFAULT, UserId::random()), (elsewhere, id)] {
        let refused = ask("notifications", tenant, id).await;
        assert_refused(refused, Code::NotFound, "CUSTOMER_NOT_FOUND");
    }
    let refused = ask("gateway", TenantId::DEFAULT, id).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    for wrong in ["987654321", "+0119", "+55 11 98765-4321"] {
        let proposal = Customer { phone: wrong.into(), ..Customer::default() };
        let refused = bank.update(bank.customer(id), "me", proposal, &[]).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{wrong}");
    }
}

/// L-19: a repeat changes nothing and returns the profile as stored first.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_creation_returns_the_first_profile() {
    let bank = Bank::start().await;
    let id = UserId::random();
    let first = bank.create(ana(id)).await.unwrap();
    bank.kit.clock().advance(Duration::from_secs(1));

    let other = CreateCustomerRequest { name: "Bia".into(), ..ana(id) };

    assert_eq!(bank.create(other).await.unwrap(), first);
}

/// L-19: creations of one profile at the same time agree on it; none is refused.
#[tokio::test(flavor = "multi_thread")]
async fn creations_at_the_same_time_make_one_profile() {
    let bank = Bank::start().await;
    for _ in 0..5 {
        let id = UserId::random();
        let email = format!("{id}@example.com");
        let request = CreateCustomerRequest { email, ..ana(id) };

        let creations = (0..8).map(|_| bank.create(request.clone()));

        for created in futures::future::join_all(creations).await {
            assert_eq!(created.unwrap().id, id.to_string());
        }
    }
}

/// L-31: an e-mail address belongs to one profile of a tenant.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_refused() {
    let bank = Bank::start().await;
    bank.create(ana(UserId::random())).await.unwrap();

    let second = bank.create(ana(UserId::random())).await;

    assert_refused(second, Code::AlreadyExists, "EMAIL_TAKEN");
    let elsewhere = TenantId::from(Uuid::new_v4());
    assert!(bank.create_in(elsewhere, ana(UserId::random())).await.is_ok());
}

/// L-31: a profile without a name or with malformed details is not created.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_breaks_a_rule_is_refused_by_field() {
    let bank = Bank::start().await;
    let ana = ana(UserId::random());
    let broken_details = BankingDetails { agency: "1".into(), ..details() };
    for (request, field) in [
        (CreateCustomerRequest { name: "  ".into(), ..ana.clone() }, "name"),
        (CreateCustomerRequest { name: "Ana\0".into(), ..ana.clone() }, "name"),
        (CreateCustomerRequest { email: "ana".into(), ..ana.clone() }, "email"),
        (CreateCustomerRequest { banking_details: None, ..ana.clone() }, "banking_details"),
        (
            CreateCustomerRequest { banking_details: Some(broken_details), ..ana },
            "banking_details.agency",
        ),
    ] {
        let status = bank.create(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
}

/// L-21, L-64, T-45: the answer about somebody else does not tell whether that user exists.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_and_staff_read_a_profile() {
    let bank = Bank::start().await;
    let (owner, other, nobody) = (UserId::random(), UserId::random(), UserId::random());
    let profile = bank.create(ana(owner)).await.unwrap();

    for target in [owner, nobody] {
        let refused = bank.get(bank.customer(other), &target.to_string()).await;
        assert_refused(refused, Code::PermissionDenied, "NOT_OWNER");
    }
    for role in [Role::Viewer, Role::Analyst, Role::Operator, Role::Admin] {
        let read = bank.get(bank.caller(other, role), &owner.to_string()).await;
        assert_eq!(read.unwrap(), profile);
        let absent = bank.get(bank.caller(other, role), &nobody.to_string()).await;
        assert_refused(absent, Code::NotFound, "CUSTOMER_NOT_FOUND");
    }
    let absent = bank.get(bank.customer(nobody), "me").await;
    assert_refused(absent, Code::NotFound, "CUSTOMER_NOT_FOUND");
}

/// L-25, L-26: the owner changes what the mask names; the rest stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_changes_what_its_mask_names() {
    let bank = Bank::start().await;
    let id = UserId::random();
    let before = bank.create(ana(id)).await.unwrap();
    bank.kit.clock().advance(Duration::from_mins(1));
    let new_details = BankingDetails {
        agency: "1234-5".into(),
        account_number: "123456-7".into(),
        account_type: AccountType::Savings.into(),
    };

    let proposal = Customer {
        name: "Ana Lima".into(),
        banking_details: Some(new_details.clone()),
        ..Customer::default()
    };
    let mask = ["address", "banking_details"];
    let after = bank.update(bank.customer(id), "me", proposal, &mask).await.unwrap();

    assert_eq!(
        after,
        Customer {
            address: String::new(),
            banking_details: Some(new_details),
            updated_at: Some(prost_types::Timestamp { seconds: 1_800_000_060, nanos: 0 }),
            ..before
        }
    );
    assert_eq!(bank.get(bank.customer(id), "me").await.unwrap(), after);
}

/// L-25: without a mask what is present changes; without anything nothing does.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_without_a_mask_changes_what_is_present() {
    let bank = Bank::start().await;
    let id = UserId::random();
    let before = bank.create(ana(id)).await.unwrap();
    bank.kit.clock().advance(Duration::from_mins(1));

    let nothing = bank.update(bank.customer(id), "me", Customer::default(), &[]).await;
    assert_eq!(nothing.unwrap(), before);

    let picture = "https://example.com/ana.png";
    let proposal = Customer { profile_picture: picture.into(), ..Customer::default() };
    let after = bank.update(bank.customer(id), "me", proposal, &[]).await.unwrap();
    assert_eq!((after.profile_picture.as_str(), &after.name), (picture, &before.name));
    assert_ne!(after.updated_at, before.updated_at);
}

/// L-25: what may not change is refused by its name, and nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_breaks_a_rule_is_refused_by_field() {
    let bank = Bank::start().await;
    let id = UserId::random();
    let before = bank.create(ana(id)).await.unwrap();
    let nameless = Customer { address: "Rua B".into(), ..Customer::default() };
    let http = Customer { profile_picture: "http://example.com".into(), ..Customer::default() };
    for (proposal, mask, field) in [
        (&nameless, &["address", "name"][..], "customer.name"),
        (&nameless, &["address", "email"][..], "customer.email"),
        (&nameless, &["address", "nickname"][..], "customer.nickname"),
        (&http, &["profile_picture"][..], "customer.profile_picture"),
    ] {
        let updated = bank.update(bank.customer(id), "me", proposal.clone(), mask).await;
        let status = updated.unwrap_err();
        assert_eq!(mesh::error::reason(&status).as_deref(), Some("INVALID_FIELD"));
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
    assert_eq!(bank.get(bank.customer(id), "me").await.unwrap(), before);
}

/// L-25, L-64, T-45: operators and administrators change anybody's profile, others their own.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_operators_and_administrators_change_a_profile() {
    let bank = Bank::start().await;
    let (owner, other) = (UserId::random(), UserId::random());
    bank.create(ana(owner)).await.unwrap();
    let target = owner.to_string();
    let name = |name: &str| Customer { name: name.into(), ..Customer::default() };

    for (role, reason) in [
        (Role::Customer, "NOT_OWNER"),
        (Role::Viewer, "ROLE_MISSING"),
        (Role::Analyst, "ROLE_MISSING"),
    ] {
        let context = bank.caller(other, role);
        let refused = bank.update(context, &target, name("Eva"), &["name"]).await;
        assert_refused(refused, Code::PermissionDenied, reason);
    }
    for role in [Role::Operator, Role::Admin] {
        let context = bank.caller(other, role);
        let updated = bank.update(context, &target, name("Ana Lima"), &["name"]).await;
        assert_eq!(updated.unwrap().name, "Ana Lima");
        let nobody = UserId::random().to_string();
        let absent = bank.update(bank.caller(other, role), &nobody, name("Eva"), &["name"]).await;
        assert_refused(absent, Code::NotFound, "CUSTOMER_NOT_FOUND");
    }
}

/// L-25: no tenant sees the profiles of another, even under the same user's id.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_other() {
    let bank = Bank::start().await;
    let id = UserId::random();
    let elsewhere = TenantId::from(Uuid::new_v4());
    let bia = CreateCustomerRequest { name: "Bia".into(), ..ana(id) };

    bank.create_in(elsewhere, bia).await.unwrap();
    let absent = bank.get(bank.customer(id), "me").await;
    assert_refused(absent, Code::NotFound, "CUSTOMER_NOT_FOUND");
    bank.create(ana(id)).await.unwrap();

    assert_eq!(bank.get(bank.customer(id), "me").await.unwrap().name, "Ana Souza");
}
