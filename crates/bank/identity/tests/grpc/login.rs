//! Login: L-13, L-66.

use std::time::Duration;

use auth::{Role, TokenVerifier, VerifierConfig};
use contracts::identity::v1::LoginResponse;
use futures::future::join_all;
use std::sync::Arc;
use tonic::{Code, Status};

use crate::world::{PASSWORD, World, assert_refused, part};

/// L-13, L-62, L-63; T-09, T-44: another service verifies the token with the published keys.
#[tokio::test(flavor = "multi_thread")]
async fn the_access_token_is_verified_by_another_service() {
    let world = World::start().await;
    let registered = world.register("ana@example.com", PASSWORD).await.unwrap();

    let pair = world.login("Ana@Example.com", PASSWORD).await.unwrap();

    let header = part(&pair.access_token, 0);
    assert_eq!((header["alg"].as_str(), header["typ"].as_str()), (Some("RS256"), Some("JWT")));
    let claims = part(&pair.access_token, 1);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 15 * 60);
    assert_eq!(claims["roles"], serde_json::json!(["CUSTOMER"]));
    let keys = Arc::new(world.kit.mesh("payments").key_source());
    let verifier = TokenVerifier::new(keys, VerifierConfig::default(), world.clock.clone());
    let principal = verifier.verify(&pair.access_token).await.unwrap();
    assert_eq!(principal.user.to_string(), registered.id);
    assert_eq!(principal.tenant, world.tenant);
    assert_eq!(principal.roles, [Role::Customer]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_email_and_wrong_password_get_the_same_answer_to_the_byte() {
    let world = World::start().await;
    world.register("ana@example.com", PASSWORD).await.unwrap();

    let wrong = world.login("ana@example.com", "wrong password").await.unwrap_err();
    let unknown = world.login("nobody@example.com", PASSWORD).await.unwrap_err();

    assert_eq!(wrong.code(), Code::Unauthenticated);
    assert_eq!(shape(&wrong), shape(&unknown));
    let headers = |status: &Status| {
        let mut headers = status.metadata().clone();
        headers.remove("date");
        format!("{headers:?}")
    };
    assert_eq!(headers(&wrong), headers(&unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_lock_known_and_unknown_emails_alike() {
    let world = World::start().await;
    world.register("ana@example.com", PASSWORD).await.unwrap();

    let known = guess(&world, "ana@example.com").await;
    let unknown = guess(&world, "nobody@example.com").await;

    assert_eq!(known, unknown);
}

/// What ten guesses are answered, two of them after the lock they met had ended.
async fn guess(world: &World, email: &str) -> Vec<(i32, String, Vec<u8>)> {
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(world.login(email, "wrong password").await.unwrap_err());
    }
    for seconds in [30, 60] {
        world.clock.advance(Duration::from_secs(seconds));
        answers.push(world.login(email, "wrong password").await.unwrap_err());
        answers.push(world.login(email, "wrong password").await.unwrap_err());
    }
    let waits: Vec<_> = answers
        .iter()
        .map(|status| mesh::error::retry_after(status).map(|d| d.as_secs()))
        .collect();
    let wait = Some;
    assert_eq!(
        waits,
        [
            None,
            None,
            None,
            None,
            None,
            wait(30),
            wait(30),
            wait(30),
            None,
            wait(60),
            None,
            wait(120)
        ]
    );
    answers.iter().map(shape).collect()
}

fn shape(status: &Status) -> (i32, String, Vec<u8>) {
    (status.code().into(), status.message().to_owned(), status.details().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_holds_against_the_right_password_too_and_a_success_clears_the_count() {
    let world = World::start().await;
    world.register("ana@example.com", PASSWORD).await.unwrap();
    for _ in 0..5 {
        world.login("ana@example.com", "wrong password").await.unwrap_err();
    }

    let locked = world.login("ana@example.com", PASSWORD).await;
    assert_refused(locked, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    assert!(world.login("bob@example.com", PASSWORD).await.is_err_and(|status| {
        status.code() == Code::Unauthenticated // another e-mail is not locked
    }));

    world.clock.advance(Duration::from_secs(30));
    assert!(world.login("ana@example.com", PASSWORD).await.is_ok());
    for _ in 0..4 {
        let wrong = world.login("ana@example.com", "wrong password").await;
        assert_refused(wrong, Code::Unauthenticated, "INVALID_CREDENTIALS");
    }
    assert!(world.login("ana@example.com", PASSWORD).await.is_ok(), "counted from zero");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_the_same_time_are_all_counted() {
    let world = World::start().await;
    world.register("ana@example.com", PASSWORD).await.unwrap();

    let guesses = (0..20).map(|_| world.login("ana@example.com", "wrong password"));
    let answers = join_all(guesses).await;

    let is_checked = |answer: &Result<LoginResponse, Status>| {
        answer.as_ref().unwrap_err().code() == Code::Unauthenticated
    };
    assert_eq!(answers.iter().filter(|answer| is_checked(answer)).count(), 5);
}

/// L-66: hashes of bcrypt with 10 rounds are accepted, and are Argon2id afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_bcrypt_hash_is_replaced_at_login() {
    let world = World::start().await;
    world.register("ana@example.com", PASSWORD).await.unwrap();
    let bcrypt = bcrypt::hash(PASSWORD, 10).unwrap();
    world.execute("UPDATE users SET password_hash = $1", &bcrypt).await;

    world.login("ana@example.com", "wrong password").await.unwrap_err();
    let kept: String = world.query("SELECT password_hash FROM users").await;
    assert_eq!(kept, bcrypt, "only the right password replaces it");

    world.login("ana@example.com", PASSWORD).await.unwrap();
    let upgraded: String = world.query("SELECT password_hash FROM users").await;
    assert!(upgraded.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{upgraded}");
    assert!(world.login("ana@example.com", PASSWORD).await.is_ok());
}
