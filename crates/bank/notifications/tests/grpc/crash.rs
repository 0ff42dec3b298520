//! What becomes of a delivery whose process ends in the middle of it.

use std::time::Duration;

use auth::UserId;
use contracts::notifications::v1 as pb;
use contracts::notifications::v1::Channel::Push;
use contracts::notifications::v1::DeliveryStatus::{Failed, Pending, Sent};

use crate::support::{Answer, Provider, World};

/// Longer than a claim lasts: the time of an attempt and a margin.
const CLAIM: Duration = Duration::from_secs(21);

fn announcement(user: UserId) -> pb::SendNotificationRequest {
    pb::SendNotificationRequest {
        user_id: user.to_string(),
        template: "sign-in-locked".into(),
        dedup_key: "locked".into(),
        variables: [("until".to_owned(), "2026-06-10T16:00:00Z".to_owned())].into(),
        ..Default::default()
    }
}

/// The provider has it, nobody recorded that: it is told again under the same id, and the log says
/// that there were two attempts.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_nobody_finished_is_made_again_under_its_id() {
    let provider = Provider::start(Answer { hangs: true, ..Answer::OK }).await;
    let world = World::start(|config| config.push = Some(provider.config())).await;
    let user = UserId::random();
    world.send(announcement(user)).await.unwrap();
    provider.await_posted(1).await;
    // Drops the attempt where it waits: what is known of it is what is on disk.
    world.stop().await;

    provider.answers(Answer::OK);
    world.serve().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let claimed = world.delivery(user, Push).await;
    assert_eq!((claimed.status(), claimed.attempts), (Pending, 1), "whoever tries it may live");
    assert_eq!(provider.posted().len(), 1);

    world.advance(CLAIM);
    let sent = world.await_delivery(user, Push, |it| it.status() == Sent).await;
    assert_eq!(sent.attempts, 2);
    let posted = provider.posted();
    assert_eq!(posted.len(), 2);
    assert!(posted.iter().all(|it| it["id"] == sent.id));
    assert_eq!(world.inbox(user).await.len(), 1);
}

/// What ends every process that tries it is given up too.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_kills_is_given_up() {
    let provider = Provider::start(Answer { hangs: true, ..Answer::OK }).await;
    let world = World::start(|config| {
        config.push = Some(provider.config());
        config.attempts_max = 2;
    })
    .await;
    let user = UserId::random();
    world.send(announcement(user)).await.unwrap();
    for attempt in 1..=2 {
        provider.await_posted(attempt).await;
        world.stop().await;
        world.advance(CLAIM);
        world.serve().await;
    }
    let failed = world.await_delivery(user, Push, |it| it.status() == Failed).await;
    assert_eq!(failed.reason, "ATTEMPTS_EXHAUSTED");
    assert_eq!(provider.posted().len(), 2);
}

/// Two processes share what is due: each delivery is made once.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_make_each_delivery_once() {
    let provider = Provider::start(Answer::OK).await;
    let world = World::start(|config| config.push = Some(provider.config())).await;
    let (second, mesh) = (world.service().await, world.kit.mesh("notifications"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(async move { mesh.serve(second, listener, stop).await });

    let users: Vec<_> = (0..100).map(|_| UserId::random()).collect();
    for user in &users {
        world.send(announcement(*user)).await.unwrap();
    }
    for user in &users {
        world.await_delivery(*user, Push, |it| it.status() == Sent).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut told: Vec<_> = provider.posted().iter().map(|it| it["to"].to_string()).collect();
    told.sort();
    told.dedup();
    assert_eq!((told.len(), provider.posted().len()), (100, 100));
}
