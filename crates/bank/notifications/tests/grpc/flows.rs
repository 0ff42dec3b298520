//! Events that users are told of (K-20, L-42, L-44).

use std::collections::HashMap;

use auth::UserId;
use contracts::identity::v1::UserCreated;
use contracts::notifications::v1 as pb;
use contracts::notifications::v1::Channel::Email;
use contracts::notifications::v1::DeliveryStatus::Sent;
use contracts::payments::v1::{TransactionCompleted, TransactionSummary};
use events::Event;
use mesh::wire::timestamp;
use uuid::Uuid;

use crate::support::{Sink, World, eventually};

async fn speaks_english(world: &World, user: UserId) {
    let request = pb::UpdatePreferencesRequest {
        preferences: Some(pb::Preferences {
            locale: "en-US".into(),
            time_zone: "America/New_York".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut client = world.client("gateway");
    world.as_user(user).scope(client.update_preferences(request)).await.unwrap();
}

/// What payments tells of one transaction: an event for each account.
fn told(world: &World, kind: &str, sender: UserId, receiver: UserId) -> [Event; 2] {
    let now = Some(timestamp(world.kit.clock().now()));
    let transaction = TransactionSummary {
        id: Uuid::now_v7().to_string(),
        r#type: kind.into(),
        sender_user_id: sender.to_string(),
        receiver_user_id: receiver.to_string(),
        amount: "1234.50".into(),
        currency: "BRL".into(),
        created_at: now,
        processed_at: now,
    };
    [("DEBIT", sender), ("CREDIT", receiver)].map(|(direction, user)| {
        world.event(&TransactionCompleted {
            account_id: Uuid::now_v7().to_string(),
            user_id: user.to_string(),
            direction: direction.into(),
            transaction: Some(transaction.clone()),
        })
    })
}

async fn await_inbox(world: &World, user: UserId, count: usize) -> Vec<pb::Notification> {
    eventually("it stands in the app", async || {
        Some(world.inbox(user).await).filter(|inbox| inbox.len() >= count)
    })
    .await
}

/// T-07: who registers is welcomed, who moved money is told of it, each in its language and once,
/// however often the events come.
#[tokio::test(flavor = "multi_thread")]
async fn people_are_welcomed_and_told_of_their_transfers_once() {
    let sink = Sink::start();
    let world = World::start(|config| config.email = Some(sink.config())).await;
    let ana = world.customers.add("Ana", "ana@example.com", "");
    let bob = world.customers.add("Bob", "bob@example.com", "");
    speaks_english(&world, bob).await;
    let created = [ana, bob].map(|user| {
        let created_at = Some(timestamp(world.kit.clock().now()));
        world.event(&UserCreated { user_id: user.to_string(), created_at })
    });
    let [debit, credit] = told(&world, "TRANSFER", ana, bob);
    let deposit = told(&world, "DEPOSIT", bob, bob);
    let events = [&created[0], &created[1], &debit, &credit, &deposit[1]];
    for _ in 0..3 {
        world.append(&events).await;
    }
    // Told anew under another id, it is still the same occasion.
    world.append(&[&world.event(&debit.decode::<TransactionCompleted>().unwrap())]).await;

    for (user, titles, body) in [
        (ana, ["Boas-vindas ao Malha", "Transferência enviada"], "Você enviou R$ 1.234,50."),
        (bob, ["Transfer received", "Welcome to Malha"], "You received R$1,234.50."),
    ] {
        let inbox = await_inbox(&world, user, 2).await;
        let mut found: Vec<_> = inbox.iter().map(|it| it.title.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, titles);
        assert!(inbox.iter().any(|it| it.body == body), "{inbox:?}");
    }
    eventually("all is delivered", async || {
        let all = [world.deliveries(ana).await, world.deliveries(bob).await].concat();
        all.iter().filter(|it| it.channel() == Email).all(|it| it.status() == Sent).then_some(())
    })
    .await;
    // A last one through every partition says that all before it was taken up.
    let last = told(&world, "TRANSFER", ana, bob);
    world.append(&[&last[0], &last[1]]).await;
    await_inbox(&world, ana, 3).await;
    await_inbox(&world, bob, 3).await;
    let mails = sink.await_said(6).await;
    assert_eq!(mails.len(), 6);
    let to_bob = mails.iter().find(|it| {
        it["headers"]["subject"] == "Transfer received" && it["to"][0] == "bob@example.com"
    });
    let text = to_bob.unwrap()["parts"][0]["text"].as_str().unwrap();
    assert!(text.contains("Hello Bob,") && text.contains("10 Jun 2026 at 11:00"), "{text}");
}

/// K-20, L-44: whoever tells on `notifications.outbound` or `notification-events` is heard.
#[tokio::test(flavor = "multi_thread")]
async fn services_ask_on_both_topics() {
    let world = World::start(|_| {}).await;
    let user = UserId::random();
    let variables = || {
        HashMap::from([
            ("headline".to_owned(), "{{ 7*7 }}".to_owned()),
            ("message".to_owned(), "<b>".to_owned()),
        ])
    };
    let outbound = world.event(&pb::NotificationRequested {
        user_id: user.to_string(),
        template: "sign-in-locked".into(),
        dedup_key: "locked".into(),
        variables: [("until".to_owned(), "2026-06-10T16:00:00Z".to_owned())].into(),
    });
    let other = world.event(&pb::UserNotificationRequested {
        user_id: user.to_string(),
        template: "welcome".into(),
        dedup_key: "hello".into(),
        variables: HashMap::new(),
    });
    assert_eq!(outbound.event_type().unwrap().topic, "notifications.outbound");
    assert_eq!(other.event_type().unwrap().topic, "notification-events");
    // Nobody has asked for advertising: it is recorded, and comes nowhere.
    let unwanted = world.event(&pb::NotificationRequested {
        user_id: user.to_string(),
        template: "announcement".into(),
        dedup_key: "news".into(),
        variables: variables(),
    });
    world.append(&[&outbound, &other, &unwanted]).await;

    await_inbox(&world, user, 2).await;
    let skipped = eventually("the advertising is recorded", async || {
        let all = world.deliveries(user).await;
        let of_news: Vec<_> = all.into_iter().filter(|it| it.template == "announcement").collect();
        (of_news.len() == 3).then_some(of_news)
    })
    .await;
    assert!(skipped.iter().all(|it| it.reason == "SWITCHED_OFF"), "{skipped:?}");
    assert_eq!(world.inbox(user).await.len(), 2);
}

/// What nobody can be told of is put aside, and keeps nobody else waiting, not even the same user.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_a_dead_letter() {
    let world = World::start(|_| {}).await;
    let user = UserId::random();
    let request = |template: &str, dedup_key: &str| {
        world.event(&pb::NotificationRequested {
            user_id: user.to_string(),
            template: template.into(),
            dedup_key: dedup_key.into(),
            variables: HashMap::new(),
        })
    };
    let wrong = [
        request("nothing", "1"),
        request("transfer-sent", "2"),
        request("welcome", ""),
        request("welcome", "a\0"),
    ];
    let good = request("welcome", "welcome");
    world.append(&[&wrong[0], &wrong[1], &wrong[2], &wrong[3], &good]).await;
    await_inbox(&world, user, 1).await;
    assert_eq!(world.deliveries(user).await.len(), 2);
}
