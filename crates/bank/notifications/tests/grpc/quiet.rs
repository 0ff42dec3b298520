//! Hours in which nobody is disturbed, by the clock of the test and the wall of the user.

use std::time::Duration;

use auth::UserId;
use contracts::notifications::v1 as pb;
use contracts::notifications::v1::Channel::{Email, InApp, Push};
use contracts::notifications::v1::DeliveryStatus::{Held, Pending, Sent};

use crate::support::{Answer, Provider, Sink, World, welcome};

/// The test begins at noon in São Paulo.
async fn quiet(world: &World, user: UserId, hours: Option<(&str, &str)>, zone: &str) {
    let quiet_hours =
        hours.map(|(from, until)| pb::QuietHours { from: from.into(), until: until.into() });
    let preferences = pb::Preferences { quiet_hours, time_zone: zone.into(), ..Default::default() };
    let paths = vec!["quiet_hours".to_owned(), "time_zone".to_owned()];
    let request = pb::UpdatePreferencesRequest {
        user_id: String::new(),
        preferences: Some(preferences),
        update_mask: Some(prost_types::FieldMask { paths }),
    };
    let mut client = world.client("gateway");
    world.as_user(user).scope(client.update_preferences(request)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_quiet_hours_waits_for_their_end() {
    let sink = Sink::start();
    let world = World::start(|config| config.email = Some(sink.config())).await;
    let user = world.customers.add("Ana", "ana@example.com", "");
    quiet(&world, user, Some(("11:30", "13:00")), "").await;
    world.send(welcome(user, "welcome")).await.unwrap();

    // In the app it stands at once: that disturbs nobody.
    assert_eq!(world.delivery(user, InApp).await.status(), Sent);
    let held = world.await_delivery(user, Email, |it| it.status() == Held).await;
    let end = world.kit.clock().now() + Duration::from_hours(1);
    assert_eq!(held.next_attempt_at.unwrap().seconds, end.timestamp());
    assert_eq!(held.attempts, 0);

    world.advance(Duration::from_secs(59 * 60 + 59));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.delivery(user, Email).await.status(), Held);
    world.advance(Duration::from_secs(1));
    let sent = world.await_delivery(user, Email, |it| it.status() == Sent).await;
    assert_eq!(sent.attempts, 1);
}

/// The zone of the user decides, not that of the bank.
#[tokio::test(flavor = "multi_thread")]
async fn the_hours_are_those_of_the_users_zone() {
    let sink = Sink::start();
    let world = World::start(|config| config.email = Some(sink.config())).await;
    let night = ("22:00", "07:00");
    for (zone, status) in
        [("America/Sao_Paulo", Sent), ("Asia/Tokyo", Held), ("Europe/Lisbon", Sent)]
    {
        let user = world.customers.add("Ana", "ana@example.com", "");
        quiet(&world, user, Some(night), zone).await;
        world.send(welcome(user, "welcome")).await.unwrap();
        let delivery = world.await_delivery(user, Email, |it| it.status() != Pending).await;
        assert_eq!(delivery.status(), status, "{zone}");
    }
}

/// What is about security does not wait; the rest goes out when the user changes its mind.
#[tokio::test(flavor = "multi_thread")]
async fn security_wakes_and_a_change_of_mind_releases() {
    let (sink, push) = (Sink::start(), Provider::start(Answer::OK).await);
    let world = World::start(|config| {
        config.email = Some(sink.config());
        config.push = Some(push.config());
    })
    .await;
    let user = world.customers.add("Ana", "ana@example.com", "");
    quiet(&world, user, Some(("00:00", "00:00")), "").await;
    let locked = pb::SendNotificationRequest {
        template: "sign-in-locked".into(),
        variables: [("until".to_owned(), "2026-06-10T16:00:00Z".to_owned())].into(),
        ..welcome(user, "locked")
    };
    world.send(locked).await.unwrap();
    world.await_delivery(user, Push, |it| it.status() == Sent).await;
    sink.await_said(1).await;

    world.send(welcome(user, "welcome")).await.unwrap();
    crate::support::eventually("the welcome is held", async || {
        let deliveries = world.deliveries(user).await;
        deliveries.iter().any(|it| it.status() == Held).then_some(())
    })
    .await;
    quiet(&world, user, None, "").await;
    let said = sink.await_said(2).await;
    assert_eq!(said[1]["headers"]["subject"], "Boas-vindas ao Malha");
}
