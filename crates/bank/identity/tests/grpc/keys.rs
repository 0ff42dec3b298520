//! Signing keys: L-62, and their rotation.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use auth::{TokenSigner, TokenVerifier, VerifierConfig};
use identity::StartError;
use testkit::{Role, UserId};
use tonic::Code;

use crate::world::{PASSWORD, World, assert_refused, part};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_the_new_key_signs_and_the_old_one_still_verifies() {
    let world = World::start_with(|config| config.development_tokens = false).await;
    world.register("ana@example.com", PASSWORD).await.unwrap();
    let old = world.login("ana@example.com", PASSWORD).await.unwrap().access_token;

    let kid = world.rotate().await;
    let new = world.login("ana@example.com", PASSWORD).await.unwrap().access_token;

    assert_eq!(part(&new, 0)["kid"], kid);
    let kids: Vec<_> = world.jwks().await.into_iter().map(|key| key.kid).collect();
    assert_eq!(kids, [kid.as_str(), part(&old, 0)["kid"].as_str().unwrap()], "newest first");
    let keys = Arc::new(world.kit.mesh("payments").key_source());
    let verifier = TokenVerifier::new(keys, VerifierConfig::default(), world.clock.clone());
    assert!(verifier.verify(&old).await.is_ok());
    assert!(verifier.verify(&new).await.is_ok());

    world.clock.advance(Duration::from_mins(15));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.query::<i64>("SELECT count(*) FROM signing_key").await, 2, "for slow clocks");
    world.clock.advance(Duration::from_mins(1));
    until(async || world.jwks().await.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_key_is_replaced_by_itself() {
    let world = World::start().await;
    let first = world.jwks().await[0].kid.clone();

    world.clock.advance(Duration::from_hours(30 * 24) - Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.jwks().await[0].kid, first);
    world.clock.advance(Duration::from_secs(1));

    until(async || world.jwks().await[0].kid != first).await;
}

async fn until(condition: impl AsyncFn() -> bool) {
    let met = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), met).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_agree_on_one_key() {
    let world = World::new().await;

    let (one, two, three) = tokio::join!(world.replica(), world.replica(), world.replica());

    let mut published = Vec::new();
    for replica in [one, two, three] {
        world.kit.serve(&world.kit.mesh("identity"), replica.unwrap()).await;
        published.push(world.jwks().await);
        world.kit.stop("identity").await;
    }
    assert_eq!(published[0].len(), 1);
    assert!(published.iter().all(|keys| *keys == published[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_follows_the_rotation_of_another() {
    let world = World::start().await;
    let other = world.replica().await.unwrap();
    let kid = world.rotate().await;
    world.kit.stop("identity").await;
    world.kit.serve(&world.kit.mesh("identity"), other).await;

    until(async || world.jwks().await[0].kid == kid).await;
    let token = world.development_token(UserId::random(), Role::Viewer).await.unwrap();
    assert_eq!(part(&token, 0)["kid"], kid);
}

#[tokio::test(flavor = "multi_thread")]
async fn published_keys_outlive_the_database() {
    let world = World::start().await;
    let keys = world.jwks().await;

    let mut tx = world.database.begin(world.tenant).await.unwrap();
    sqlx::query("LOCK TABLE signing_key IN ACCESS EXCLUSIVE MODE").execute(&mut *tx).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;

    assert_eq!(world.jwks().await, keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_keys_are_sealed_and_erased_when_they_retire() {
    let world = World::start().await;

    let sealed: Vec<u8> = world.query("SELECT sealed FROM signing_key").await;
    assert!(TokenSigner::from_pkcs8(&sealed).is_err());
    assert!(TokenSigner::from_pkcs8(&sealed[12..]).is_err());

    world.rotate().await;
    let retired =
        "SELECT count(*) FROM signing_key WHERE retired_at IS NOT NULL AND sealed IS NULL";
    assert_eq!(world.query::<i64>(retired).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_encryption_key_is_refused_at_start() {
    let world = World::start().await;
    let path = &world.config.key_encryption_key;

    fs::remove_file(path).unwrap();
    let missing = world.replica().await.map(|_| ()).unwrap_err();
    assert!(missing.to_string().contains("identity.key_encryption_key"), "{missing}");

    sealing::create_master_key(path).unwrap();
    let other = world.replica().await.map(|_| ()).unwrap_err();
    assert!(matches!(other, StartError::SealedKey { .. }), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn development_tokens_need_the_setting_and_an_engineer() {
    let off = World::start_with(|config| config.development_tokens = false).await;
    let refused = off.development_token(UserId::random(), Role::Admin).await;
    assert_refused(refused, Code::PermissionDenied, "DEVELOPMENT_TOKENS_OFF");

    let world = World::start().await;
    let user = UserId::random();
    let token = world.development_token(user, Role::Admin).await.unwrap();
    let claims = part(&token, 1);
    assert_eq!(claims["sub"], user.to_string());
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 15 * 60);
    let request = contracts::identity::v1::IssueDevelopmentTokenRequest {
        subject: user.to_string(),
        roles: vec![Role::Admin.into()],
        time_to_live: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
    };
    let as_gateway = world.client("gateway").issue_development_token(request.clone()).await;
    assert_refused(as_gateway, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    let as_engineer = world.client("engineer").issue_development_token(request).await.unwrap();
    let day = part(&as_engineer.into_inner().access_token, 1);
    assert_eq!(day["exp"].as_i64().unwrap() - day["iat"].as_i64().unwrap(), 86_400);
}
