//! Text messages and pushes, posted to providers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use auth::UserId;
use contracts::notifications::v1 as pb;
use contracts::notifications::v1::Channel::{Email, InApp, Push, Sms};
use contracts::notifications::v1::DeliveryStatus::{Failed, Pending, Sent, Skipped, Standby};

use crate::support::{Answer, Provider, Sink, World};

/// Something about security: it goes out by push and e-mail, else by SMS.
fn locked(user: UserId, key: &str) -> pb::SendNotificationRequest {
    pb::SendNotificationRequest {
        user_id: user.to_string(),
        template: "sign-in-locked".into(),
        dedup_key: key.into(),
        variables: [("until".to_owned(), "2026-06-10T16:00:00Z".to_owned())].into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_posted_signed_and_known_by_its_id() {
    let provider = Provider::start(Answer::OK).await;
    let world = World::start(|config| config.push = Some(provider.config())).await;
    let user = world.customers.add("Ana", "", "");
    world.send(locked(user, "1")).await.unwrap();

    let sent = world.await_delivery(user, Push, |it| it.status() == Sent).await;
    assert_eq!((sent.provider_reference.as_str(), sent.attempts), ("SM-1", 1));
    assert_eq!(sent.address, user.to_string());
    let posted = provider.await_posted(1).await;
    assert_eq!(
        posted[0],
        serde_json::json!({
            "id": sent.id, "channel": "PUSH", "to": user.to_string(), "locale": "pt",
            "title": "Acesso bloqueado por segurança",
            "text": "Malha: muitas tentativas de acesso à sua conta. O acesso volta em \
                     10/06/2026 às 13:00.",
            "at": world.kit.clock().now().timestamp().to_string(),
        })
    );
    for channel in [Email, Sms] {
        let skipped = world.delivery(user, channel).await;
        assert_eq!((skipped.status(), skipped.reason.as_str()), (Skipped, "NOT_CONFIGURED"));
    }
}

/// What an answer says of this message is final; what may pass, or is about us, is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_told_apart() {
    let provider = Provider::start(Answer::OK).await;
    let world = World::start(|config| config.push = Some(provider.config())).await;
    for (status, reason, is_final) in [
        (400, "REJECTED", true),
        (404, "REJECTED", true),
        (410, "REJECTED", true),
        (422, "REJECTED", true),
        (401, "NOT_ADMITTED", false),
        (403, "NOT_ADMITTED", false),
        (302, "UNEXPECTED_ANSWER", false),
        (429, "RATE_LIMITED", false),
        (500, "DEFERRED", false),
        (503, "DEFERRED", false),
    ] {
        provider.answers(Answer::of(status));
        let user = UserId::random();
        world.send(locked(user, "1")).await.unwrap();
        let delivery = world.await_delivery(user, Push, |it| !it.reason.is_empty()).await;
        let expected = if is_final { Failed } else { Pending };
        assert_eq!((delivery.status(), delivery.reason.as_str()), (expected, reason), "{status}");
    }
    // A redirect was not followed.
    assert_eq!(provider.posted().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_may_say_when_to_come_again_and_say_too_much() {
    let later = Answer { retry_after: Some("600"), ..Answer::of(429) };
    let provider = Provider::start(later).await;
    let world = World::start(|config| config.push = Some(provider.config())).await;
    let user = UserId::random();
    world.send(locked(user, "1")).await.unwrap();
    let delivery = world.await_delivery(user, Push, |it| it.reason == "RATE_LIMITED").await;
    let due = delivery.next_attempt_at.unwrap().seconds - world.kit.clock().now().timestamp();
    assert_eq!(due, 600);

    provider.answers(Answer { body: "x".repeat(100_000).leak(), ..Answer::OK });
    world.advance(Duration::from_mins(10));
    let sent = world.await_delivery(user, Push, |it| it.status() == Sent).await;
    assert_eq!(sent.provider_reference, "");
}

/// The SMS goes out when nothing else reached the user, and only then.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_message_stands_by() {
    let sink = Sink::start();
    let (push, sms) = (Provider::start(Answer::of(410)).await, Provider::start(Answer::OK).await);
    let world = World::start(|config| {
        config.email = Some(sink.config());
        config.push = Some(push.config());
        config.sms = Some(sms.config());
    })
    .await;
    let phone = "+5511987654321";
    // The e-mail arrives.
    let reached = world.customers.add("Ana", "ana@example.com", phone);
    world.send(locked(reached, "1")).await.unwrap();
    world.await_delivery(reached, Email, |it| it.status() == Sent).await;
    world.await_delivery(reached, Push, |it| it.status() == Failed).await;
    let spared = world.await_delivery(reached, Sms, |it| it.status() != Standby).await;
    assert_eq!((spared.status(), spared.reason.as_str()), (Skipped, "NOT_NEEDED"));

    // Neither does.
    let unreached = world.customers.add("Bob", "reject@example.com", phone);
    world.send(locked(unreached, "1")).await.unwrap();
    let sent = world.await_delivery(unreached, Sms, |it| it.status() == Sent).await;
    assert_eq!(sent.address, "+55*********21");
    let posted = sms.await_posted(1).await;
    assert_eq!((posted.len(), &posted[0]["to"]), (1, &phone.into()));
    assert_eq!(world.delivery(unreached, InApp).await.status(), Sent);
}

/// What texts were filled with, and addresses given with an order, are kept no longer than needed.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_needs_any_more_is_forgotten() {
    let provider = Provider::start(Answer::of(503)).await;
    let world = World::start(|config| config.push = Some(provider.config())).await;
    let user = UserId::random();
    let recipient = pb::Recipient { email: "former@example.com".into(), ..Default::default() };
    let request = pb::SendNotificationRequest { recipient: Some(recipient), ..locked(user, "1") };
    world.send(request).await.unwrap();
    let kept = async || -> (String, Option<String>) {
        let mut transaction = world.database.begin(auth::TenantId::DEFAULT).await.unwrap();
        let query = "SELECT variables::text, recipient::text FROM notification";
        sqlx::query_as(query).fetch_one(&mut *transaction).await.unwrap()
    };
    world.await_delivery(user, Push, |it| it.reason == "DEFERRED").await;
    let (variables, recipient) = kept().await;
    assert!(variables.contains("until") && recipient.unwrap().contains("former@example.com"));

    provider.answers(Answer::OK);
    world.advance(Duration::from_secs(30));
    world.await_delivery(user, Push, |it| it.status() == Sent).await;
    assert_eq!(kept().await, ("{}".to_owned(), None));
}

/// Without the profile there is no telephone number; the attempt is made again when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn customers_may_be_away_for_a_while() {
    let sms = Provider::start(Answer::OK).await;
    let world = World::start(|config| config.sms = Some(sms.config())).await;
    let user = world.customers.add("Ana", "", "+12025550123");
    world.customers.is_away.store(true, Ordering::Relaxed);
    world.send(locked(user, "1")).await.unwrap();
    let away = world.await_delivery(user, Sms, |it| !it.reason.is_empty()).await;
    assert_eq!((away.status(), away.reason.as_str()), (Pending, "PROFILE_UNAVAILABLE"));

    world.customers.is_away.store(false, Ordering::Relaxed);
    crate::support::eventually("the breaker lets calls through again", async || {
        world.advance(Duration::from_hours(6));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let delivery = world.delivery(user, Sms).await;
        assert_ne!(delivery.status(), Failed);
        (delivery.status() == Sent).then_some(())
    })
    .await;
}
