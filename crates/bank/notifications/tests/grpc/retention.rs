//! What is old goes; what is under way stays.

use std::time::Duration;

use auth::{TenantId, UserId};
use contracts::notifications::v1 as pb;
use contracts::notifications::v1::Channel::Push;
use contracts::notifications::v1::DeliveryStatus::Pending;
use uuid::Uuid;

use crate::support::{Answer, Provider, World, eventually, welcome};

const DAY: Duration = Duration::from_hours(24);

async fn counted(world: &World, user: UserId) -> i32 {
    let mut client = world.client("gateway");
    let request = pb::GetUnreadCountRequest {};
    let answer = world.as_user(user).scope(client.get_unread_count(request)).await;
    answer.unwrap().into_inner().unread
}

#[tokio::test(flavor = "multi_thread")]
async fn old_notifications_are_deleted_with_their_keys_unless_they_are_under_way() {
    let push = Provider::start(Answer::of(500)).await;
    let world = World::start(|config| config.push = Some(push.config())).await;
    let (ana, bob, stranger) = (UserId::random(), UserId::random(), UserId::random());
    let other = TenantId::from(Uuid::now_v7());
    let read = world.send(welcome(ana, "read")).await.unwrap();
    world.send(welcome(ana, "unread")).await.unwrap();
    let mut client = world.client("gateway");
    let mark = pb::MarkReadRequest { ids: vec![read.id], through: 0 };
    world.as_user(ana).scope(client.mark_read(mark)).await.unwrap();
    world.send_in(other, welcome(stranger, "unread")).await.unwrap();
    // No push is taken: this one is tried again and again.
    let locked = pb::SendNotificationRequest {
        template: "sign-in-locked".into(),
        variables: [("until".to_owned(), "2026-06-10T16:00:00Z".to_owned())].into(),
        ..welcome(bob, "locked")
    };
    world.send(locked).await.unwrap();
    world.await_delivery(bob, Push, |it| it.reason == "DEFERRED").await;
    world.advance(89 * DAY);
    let recent = world.send(welcome(ana, "recent")).await.unwrap();
    assert_eq!(counted(&world, ana).await, 2);

    // Housekeeping begins with the service.
    world.advance(2 * DAY);
    world.stop().await;
    world.serve().await;
    eventually("old notifications are deleted", async || {
        let inbox = world.inbox(ana).await;
        (inbox.iter().map(|it| &it.id).eq([&recent.id])).then_some(())
    })
    .await;
    assert_eq!(counted(&world, ana).await, 1);
    let logged = world.deliveries(ana).await;
    assert!(!logged.is_empty() && logged.iter().all(|it| it.notification_id == recent.id));
    eventually("so are those of other tenants", async || {
        let mut transaction = world.database.begin(other).await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM notification")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(world.inbox(bob).await.len(), 1);
    assert_eq!(world.delivery(bob, Push).await.status(), Pending);

    assert!(world.send(welcome(ana, "recent")).await.unwrap().repeated);
    assert!(!world.send(welcome(ana, "unread")).await.unwrap().repeated, "the key went too");
}
