//! What is logged of people: nothing.

use std::io;
use std::sync::{Arc, Mutex};

use contracts::notifications::v1 as pb;
use contracts::notifications::v1::Channel::{Email, Sms};
use contracts::notifications::v1::DeliveryStatus::{Failed, Sent};
use tracing::Level;

use crate::support::{Answer, Provider, Sink, World, welcome};

/// What is logged, as long as the test lasts.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether it works out or not, at a level below the default. On one thread, which the subscriber is set
/// for.
#[tokio::test]
async fn neither_addresses_nor_names_nor_texts_are_logged() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().json().with_max_level(Level::DEBUG);
    let log = log.with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(log);
    let (sink, sms) = (Sink::start(), Provider::start(Answer::of(503)).await);
    let world = World::start(|config| {
        config.email = Some(sink.config());
        config.sms = Some(sms.config());
        config.attempts_max = 1;
    })
    .await;
    let phone = "+5511987654321";
    let reached = world.customers.add("Zenobia", "zenobia@example.com", phone);
    let refused = world.customers.add("Zenobia", "reject@example.com", phone);
    for user in [reached, refused] {
        let request = pb::SendNotificationRequest {
            template: "sign-in-locked".into(),
            variables: [("until".to_owned(), "2026-06-10T16:00:00Z".to_owned())].into(),
            ..welcome(user, "locked")
        };
        world.send(request).await.unwrap();
    }
    world.await_delivery(reached, Email, |it| it.status() == Sent).await;
    world.await_delivery(refused, Email, |it| it.status() == Failed).await;
    world.await_delivery(refused, Sms, |it| it.status() == Failed).await;

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("a delivery is given up") && text.contains("REJECTED"), "{text}");
    for secret in ["Zenobia", "zenobia", "reject@", "987654321", "bloqueado"] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}
