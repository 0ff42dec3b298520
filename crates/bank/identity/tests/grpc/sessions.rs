//! Refresh and logout: L-14, L-63.

use std::time::Duration;

use contracts::identity::v1::SetRolesRequest;
use futures::future::join_all;
use mesh::Context;
use testkit::{Role, TenantId, UserId};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::world::{PASSWORD, World, assert_refused, part};

async fn logged_in() -> (World, UserId, String) {
    let world = World::start().await;
    let user = world.register("ana@example.com", PASSWORD).await.unwrap().id.parse().unwrap();
    let refresh = world.login("ana@example.com", PASSWORD).await.unwrap().refresh_token;
    (world, user, refresh)
}

#[track_caller]
fn assert_not_valid<T: std::fmt::Debug>(answer: Result<T, Status>) {
    assert_refused(answer, Code::Unauthenticated, "INVALID_REFRESH_TOKEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refresh_token_buys_one_pair() {
    let (world, user, first) = logged_in().await;

    let second = world.refresh(&first).await.unwrap();
    let third = world.refresh(&second.refresh_token).await.unwrap();

    assert_ne!(second.refresh_token, third.refresh_token);
    assert_eq!(part(&third.access_token, 1)["sub"], user.to_string());
    assert_eq!(first.len(), 43, "256 bits in base64url");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_use_ends_the_session_and_no_other() {
    let (world, _, first) = logged_in().await;
    let elsewhere = world.login("ana@example.com", PASSWORD).await.unwrap().refresh_token;
    let second = world.refresh(&first).await.unwrap().refresh_token;

    assert_not_valid(world.refresh(&first).await);

    assert_not_valid(world.refresh(&second).await);
    assert!(world.refresh(&elsewhere).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_show_a_token_at_once_one_wins_and_the_session_ends() {
    for _ in 0..5 {
        let (world, _, first) = logged_in().await;

        let answers = join_all((0..8).map(|_| world.refresh(&first))).await;

        let won: Vec<_> = answers.into_iter().filter_map(Result::ok).collect();
        assert_eq!(won.len(), 1);
        assert_not_valid(world.refresh(&won[0].refresh_token).await);
    }
}

/// L-63.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_lives_seven_days_from_its_own_issue() {
    let (world, _, first) = logged_in().await;
    let week = Duration::from_hours(7 * 24);
    let almost_a_week = Duration::from_secs(7 * 24 * 60 * 60 - 1);

    world.clock.advance(almost_a_week);
    let second = world.refresh(&first).await.unwrap().refresh_token;
    world.clock.advance(almost_a_week);
    let third = world.refresh(&second).await.unwrap().refresh_token;
    world.clock.advance(week);
    assert_not_valid(world.refresh(&third).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_ends_the_session_by_any_of_its_tokens_and_always_succeeds() {
    let (world, _, first) = logged_in().await;
    let second = world.refresh(&first).await.unwrap().refresh_token;

    world.logout(&first).await.unwrap();
    world.logout(&first).await.unwrap();
    world.logout("a token that nobody has").await.unwrap();

    assert_not_valid(world.refresh(&second).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_refresh_tokens_are_refused() {
    let (world, ..) = logged_in().await;

    for token in ["x", "' OR '1'='1", "\0", &"A".repeat(43)] {
        assert_not_valid(world.refresh(token).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_means_nothing_in_another_tenant() {
    let (mut world, _, first) = logged_in().await;

    world.tenant = TenantId::from(Uuid::new_v4());
    assert_not_valid(world.refresh(&first).await);
    world.logout(&first).await.unwrap();

    world.tenant = TenantId::DEFAULT;
    assert!(world.refresh(&first).await.is_ok());
}

/// L-64, T-45.
#[tokio::test(flavor = "multi_thread")]
async fn new_roles_are_in_the_next_token_and_only_administrators_give_them() {
    let (world, user, refresh) = logged_in().await;
    let set = async |caller: Role, user: UserId| {
        let token = world.development_token(UserId::random(), caller).await.unwrap();
        let context = Context { token: Some(token.into()), ..Context::system(world.tenant) };
        let roles = vec![Role::Operator.into(), Role::Customer.into()];
        let request = SetRolesRequest { user_id: user.to_string(), roles };
        context.scope(world.client("gateway").set_roles(request)).await
    };

    for caller in [Role::Customer, Role::Viewer, Role::Analyst, Role::Operator] {
        assert_refused(set(caller, user).await, Code::PermissionDenied, "ROLE_MISSING");
    }
    let unknown = set(Role::Admin, UserId::random()).await;
    assert_refused(unknown, Code::NotFound, "USER_NOT_FOUND");
    set(Role::Admin, user).await.unwrap();

    let pair = world.refresh(&refresh).await.unwrap();
    let roles = &part(&pair.access_token, 1)["roles"];
    assert_eq!(*roles, serde_json::json!(["OPERATOR", "CUSTOMER"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_stored_as_hashes_and_removed_when_they_have_expired() {
    let (world, _, first) = logged_in().await;
    world.login("nobody@example.com", PASSWORD).await.unwrap_err();
    world
        .execute(
            "UPDATE refresh_token SET rotated_at = NULL WHERE hash = sha256($1::bytea)",
            &first,
        )
        .await;

    world.clock.advance(Duration::from_hours(7 * 24));

    let rows = "SELECT (SELECT count(*) FROM refresh_token) + (SELECT count(*) FROM session)
                     + (SELECT count(*) FROM attempt)";
    let emptied = async {
        while world.query::<i64>(rows).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), emptied).await.unwrap();
}
