//! Registration: an account and a profile for everybody, and no word about who has one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use contracts::customers::v1::AccountType;
use contracts::identity::v1::RegisterRequest;
use futures::future::join_all;
use testkit::{TenantId, UserId};
use tonic::Code;
use uuid::Uuid;

use crate::world::{PASSWORD, World, assert_refused};

const TOLD: &str = "SELECT count(*) FROM event_sourcing.outbox_events
                    WHERE event_type = 'user.created'";

/// L-12.
#[tokio::test(flavor = "multi_thread")]
async fn a_registered_person_has_an_account_and_a_profile() {
    let world = World::start().await;

    let registered = world.register("Ana@Example.com", PASSWORD).await.unwrap();

    assert_eq!(registered.email, "ana@example.com");
    assert_eq!(registered.name, "Ana Souza");
    let (tenant, opened) = world.neighbours.opened.lock().unwrap()[0].clone();
    assert_eq!(tenant, TenantId::DEFAULT);
    assert_eq!((opened.user_id.as_str(), opened.currency.as_str()), (&*registered.id, "BRL"));
    let created = world.neighbours.created.lock().unwrap()[0].clone();
    assert_eq!((created.id.as_str(), created.email.as_str()), (&*registered.id, "ana@example.com"));
    assert_eq!(created.address, "Rua das Flores, 1");
    let banking = created.banking_details.unwrap();
    assert_eq!(banking.account_number, "123456-7");
    assert_eq!(banking.account_type(), AccountType::Payment);
    assert!(
        world.query::<bool>("SELECT name IS NULL AND address IS NULL FROM users").await,
        "what customers keeps is not kept twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_registration_returns_the_same_id_and_changes_nothing() {
    let world = World::start().await;

    let first = world.register("ana@example.com", PASSWORD).await.unwrap();
    let second = world.register("ANA@example.com", PASSWORD).await.unwrap();

    assert_eq!(first, second);
    assert_eq!(world.neighbours.opened(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_email_with_another_password_looks_like_a_new_one_and_changes_nothing() {
    let world = World::start().await;
    let real = world.register("ana@example.com", PASSWORD).await.unwrap();

    let decoy = world.register("ana@example.com", "another password").await.unwrap();
    let again = world.register("ana@example.com", "another password").await.unwrap();

    assert_ne!(decoy.id, real.id);
    assert_eq!(decoy, again, "as a real one would be");
    assert_eq!((decoy.name, decoy.email), (real.name, real.email));
    for id in [&real.id, &decoy.id] {
        assert_eq!(Uuid::parse_str(id).unwrap().get_version_num(), 4);
    }
    assert_eq!(world.neighbours.opened(), 1);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM users").await, 1);
    assert!(world.login("ana@example.com", PASSWORD).await.is_ok());
    let other = world.login("ana@example.com", "another password").await;
    assert_refused(other, Code::Unauthenticated, "INVALID_CREDENTIALS");
}

/// Customers takes no blank name, and a user without a profile could never log in.
#[tokio::test(flavor = "multi_thread")]
async fn a_blank_name_is_refused_before_there_is_a_user() {
    let world = World::start().await;
    let register = async |name: &str| {
        let request = RegisterRequest {
            name: name.to_owned(),
            email: "ana@example.com".to_owned(),
            password: PASSWORD.to_owned(),
            ..RegisterRequest::default()
        };
        world.call(world.client("gateway").register(request)).await
    };

    for blank in [" ", "\t\n", "\u{2003}"] {
        assert_refused(register(blank).await, Code::InvalidArgument, "INVALID_FIELD");
    }
    assert_eq!(world.query::<i64>("SELECT count(*) FROM users").await, 0);
    assert_eq!(register(" Ana Souza ").await.unwrap().name, "Ana Souza");
}

/// Else registration would be a way around the lock of logins.
#[tokio::test(flavor = "multi_thread")]
async fn registrations_of_one_email_are_limited_whether_or_not_it_is_known() {
    let world = World::start().await;
    world.register("known@example.com", PASSWORD).await.unwrap();
    world.clock.advance(Duration::from_hours(2));

    for email in ["known@example.com", "new@example.com"] {
        for guess in 0..5 {
            assert!(world.register(email, &format!("guess number {guess}")).await.is_ok());
        }
        let locked = world.register(email, "guess number 5").await.unwrap_err();
        assert_eq!(mesh::error::retry_after(&locked), Some(Duration::from_secs(30)));
        assert_refused(Err::<(), _>(locked), Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_at_the_same_time_make_one_user() {
    let world = World::start_with(|config| config.lockout.attempts_max = 100).await;

    let all = join_all((0..16).map(|_| world.register("ana@example.com", PASSWORD))).await;

    let first = all[0].as_ref().unwrap();
    assert!(all.iter().all(|registered| registered.as_ref().unwrap() == first));
    assert_eq!(world.query::<i64>("SELECT count(*) FROM users").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_completes_an_interrupted_registration() {
    let world = World::start().await;

    world.neighbours.customers_down.store(true, Ordering::SeqCst);
    let interrupted = world.register("ana@example.com", PASSWORD).await.unwrap_err();
    assert!(mesh::error::retry_after(&interrupted).is_some());
    assert_refused(Err::<(), _>(interrupted), Code::Unavailable, "PROVISIONING_INCOMPLETE");
    let interrupted = world.register("ana@example.com", PASSWORD).await;
    assert_refused(interrupted, Code::Unavailable, "PROVISIONING_INCOMPLETE");

    assert_eq!(world.query::<i64>(TOLD).await, 0, "whoever heard of it would find no profile");
    world.neighbours.customers_down.store(false, Ordering::SeqCst);
    let registered = world.register("ana@example.com", PASSWORD).await.unwrap();
    world.register("ana@example.com", PASSWORD).await.unwrap();
    assert_eq!(world.query::<i64>(TOLD).await, 1);

    let created = world.neighbours.created.lock().unwrap().clone();
    assert_eq!(created.len(), 1);
    assert_eq!((&created[0].id, created[0].name.as_str()), (&registered.id, "Ana Souza"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_completes_an_interrupted_registration_before_it_issues_tokens() {
    let world = World::start().await;
    world.neighbours.accounts_down.store(true, Ordering::SeqCst);
    world.register("ana@example.com", PASSWORD).await.unwrap_err();

    let early = world.login("ana@example.com", PASSWORD).await;
    assert_refused(early, Code::Unavailable, "PROVISIONING_INCOMPLETE");
    assert_eq!(world.query::<i64>("SELECT count(*) FROM session").await, 0);

    world.neighbours.accounts_down.store(false, Ordering::SeqCst);
    world.login("ana@example.com", PASSWORD).await.unwrap();
    world.login("ana@example.com", PASSWORD).await.unwrap();

    assert_eq!(world.query::<i64>(TOLD).await, 1);
    assert_eq!(world.neighbours.opened(), 1);
    let created = world.neighbours.created.lock().unwrap().clone();
    assert_eq!(created[0].address, "Rua das Flores, 1");
}

/// Fields are data: L-65.
#[tokio::test(flavor = "multi_thread")]
async fn sql_metacharacters_in_email_and_password_are_data() {
    let world = World::start().await;
    let email = "o'brien--x@example.com";
    let password = "'; DROP TABLE users; -- \\ \" $1 %";
    world.register(email, password).await.unwrap();

    assert!(world.login(email, password).await.is_ok());
    for (email, password) in [
        ("' OR '1'='1", "' OR '1'='1"),
        ("o'brien%@example.com", password),
        ("o'brien--x@example.com' --", ""),
        ("o'brien--x@example.com\0", password),
        ("%", "%"),
    ] {
        let answer = world.login(email, password).await;
        let code = if email.is_empty() || password.is_empty() {
            (Code::InvalidArgument, "INVALID_FIELD")
        } else {
            (Code::Unauthenticated, "INVALID_CREDENTIALS")
        };
        assert_refused(answer, code.0, code.1);
    }
    assert_eq!(world.query::<i64>("SELECT count(*) FROM users").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_email_in_two_tenants_is_two_users() {
    let mut world = World::start().await;
    let here = world.register("ana@example.com", PASSWORD).await.unwrap();

    world.tenant = TenantId::from(Uuid::new_v4());
    let login = world.login("ana@example.com", PASSWORD).await;
    assert_refused(login, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let there = world.register("ana@example.com", "another password").await.unwrap();

    assert_ne!(here.id, there.id);
    assert_eq!(world.neighbours.opened.lock().unwrap()[1].0, world.tenant);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM users").await, 1, "without a WHERE");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_break_a_rule_are_refused_by_name() {
    let world = World::start().await;
    let good = RegisterRequest {
        name: "Ana".to_owned(),
        email: "ana@example.com".to_owned(),
        password: PASSWORD.to_owned(),
        address: String::new(),
    };
    let table = [
        ("name", RegisterRequest { name: String::new(), ..good.clone() }),
        ("name", RegisterRequest { name: "A\0".to_owned(), ..good.clone() }),
        ("address", RegisterRequest { address: "\0".to_owned(), ..good.clone() }),
        ("email", RegisterRequest { email: "ana".to_owned(), ..good.clone() }),
        ("password", RegisterRequest { password: "9 letters".to_owned(), ..good.clone() }),
        ("password", RegisterRequest { password: "x".repeat(129), ..good }),
    ];
    for (field, request) in table {
        let status = world.call(world.client("gateway").register(request)).await.unwrap_err();

        assert_eq!(status.code(), Code::InvalidArgument);
        let broken = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
        assert_eq!(broken.field_violations[0].field, field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_takes_its_least_time_whether_or_not_the_email_is_known() {
    let least = Duration::from_millis(300);
    let world = World::start_with(|config| config.registration_time_min = least).await;

    for password in [PASSWORD, "another password", PASSWORD] {
        let start = std::time::Instant::now();
        let registered = world.register("ana@example.com", password).await.unwrap();

        assert!(start.elapsed() >= least);
        assert!(registered.id.parse::<UserId>().is_ok());
    }
}
