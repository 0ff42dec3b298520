//! What an endpoint gets, when, and signed how.

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use contracts::webhooks::v1 as pb;

use crate::receiver::{Got, Receiver, Reply};
use crate::world::{BUS_KEPT, START, World, quick};

/// Verifies as any receiver does: from the specification alone.
fn is_signed_with(got: &Got, secret: &str) -> bool {
    let signed = [format!("{}.{}.", got.id, got.timestamp).as_bytes(), &got.body].concat();
    let (version, bytes) = secret.split_once('_').unwrap();
    let bytes = BASE64_STANDARD.decode(bytes).unwrap();
    got.signature.split(' ').any(|entry| {
        let (scheme, signature) = entry.split_once(',').unwrap();
        let signature = BASE64_STANDARD.decode(signature).unwrap();
        match (version, scheme) {
            ("whsec", "v1") => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
                hmac::verify(&key, &signed, &signature).is_ok()
            }
            ("whpk", "v1a") => {
                UnparsedPublicKey::new(&ED25519, &bytes).verify(&signed, &signature).is_ok()
            }
            _ => false,
        }
    })
}

/// B-20: "Webhook headers" of the specification.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_carries_its_id_time_and_signature() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    for (scheme, version) in
        [(pb::SignatureScheme::Hmac, "v1,"), (pb::SignatureScheme::Ed25519, "v1a,")]
    {
        let endpoint = Some(pb::Endpoint { url: receiver.url(), ..Default::default() });
        let request = pb::CreateEndpointRequest { endpoint, scheme: scheme.into() };
        let created = world.register_with(request).await.unwrap();
        let before = receiver.got().len();
        let delivery = world.ping(&created.endpoint.unwrap().id).await;
        let got = receiver.await_got(before + 1).await.pop().unwrap();

        assert_eq!(got.id, delivery.message_id);
        assert_eq!(got.timestamp, START.to_string());
        assert!(got.signature.starts_with(version) && is_signed_with(&got, &created.secret));
        assert_eq!((&*got.content_type, &*got.path), ("application/json", "/hook"));
        let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(body["type"], "webhooks.ping");
        assert_eq!(body["timestamp"], "2027-01-15T08:00:00Z");

        let attempt = world.await_attempts(&delivery.id, 1).await.remove(0);
        assert_eq!((attempt.outcome(), attempt.status), (pb::AttemptOutcome::Delivered, 204));
        let delivery = world.delivery(&delivery.id).await;
        assert_eq!(delivery.state(), pb::DeliveryState::Delivered);
        assert!(delivery.next_attempt_at.is_none() && delivery.finished_at.is_some());
    }
}

/// B-20: receivers change over when they like; then the old secret ends.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_secret_changes_both_sign() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let created = world.register(&receiver.url(), &[]).await;
    let (id, old) = (created.endpoint.unwrap().id, created.secret);
    let rotate = |scheme: pb::SignatureScheme, overlap| pb::RotateSecretRequest {
        id: id.clone(),
        scheme: scheme.into(),
        overlap_seconds: overlap,
    };
    let send = async |count| {
        world.ping(&id).await;
        receiver.await_got(count).await.pop().unwrap()
    };

    let request = rotate(pb::SignatureScheme::Ed25519, Some(3600));
    let rotated = world.ask(async |mut client| client.rotate_secret(request).await).await.unwrap();
    let keys = rotated.endpoint.unwrap().signing_keys;
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0].public_key, rotated.secret);
    assert!(keys[0].expires_at.is_none() && keys[1].expires_at.is_some());
    let got = send(1).await;
    assert!(is_signed_with(&got, &old) && is_signed_with(&got, &rotated.secret));
    assert!(got.signature.starts_with("v1a,") && got.signature.contains(" v1,"));

    world.advance(3600);
    let got = send(2).await;
    assert!(!is_signed_with(&got, &old) && is_signed_with(&got, &rotated.secret));

    // A secret that others may know ends at once.
    let request = rotate(pb::SignatureScheme::Unspecified, Some(0));
    let newest = world.ask(async |mut client| client.rotate_secret(request).await).await.unwrap();
    assert!(newest.secret.starts_with("whpk_"), "of the same scheme");
    let got = send(3).await;
    assert!(!is_signed_with(&got, &rotated.secret) && is_signed_with(&got, &newest.secret));
}

/// B-20: attempts at 0, 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h, under one id, signed anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_attempted_along_the_schedule_and_then_given_up() {
    // Nothing but the schedule decides here.
    let patient = Duration::from_hours(24 * 30);
    let world = World::with(webhooks::Config { disable_after: patient, ..quick() }).await;
    let receiver = Receiver::replying(Reply::of(500)).await;
    let created = world.register(&receiver.url(), &[]).await;
    let id = created.endpoint.unwrap().id;
    let delivery = world.ping(&id).await;
    let waits = world.config.retry_waits.clone();
    assert_eq!(waits.len(), 9);
    for (failed, wait) in (1..).zip(&waits) {
        world.await_attempts(&delivery.id, failed).await;
        let shown = world.delivery(&delivery.id).await;
        let next = shown.next_attempt_at.unwrap().seconds - world.clock.now().timestamp();
        let wait = i64::try_from(wait.as_secs()).unwrap();
        assert!((wait..=wait + wait / 10 + 1).contains(&next), "attempt {failed}: {next}");
        world.advance(u64::try_from(next - 2).unwrap());
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_eq!(receiver.got().len(), failed, "not before its time");
        world.advance(3);
        receiver.await_got(failed + 1).await;
    }
    world.await_attempts(&delivery.id, 10).await;
    let given_up = world.delivery(&delivery.id).await;
    assert_eq!((given_up.state(), given_up.attempts), (pb::DeliveryState::Failed, 10));

    let got = receiver.got();
    assert!(got.iter().all(|it| it.id == got[0].id && it.body == got[0].body));
    assert!(got.iter().all(|it| is_signed_with(it, &created.secret)));
    assert!(got.is_sorted_by(|one, next| one.timestamp < next.timestamp));
    world.advance(1_000_000);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(receiver.got().len(), 10);
}

/// B-20: a rate per endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_gets_no_more_a_second_than_its_rate() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let endpoint =
        Some(pb::Endpoint { url: receiver.url(), rate_per_second: 3, ..Default::default() });
    let request = pb::CreateEndpointRequest { endpoint, scheme: 0 };
    let id = world.register_with(request).await.unwrap().endpoint.unwrap().id;
    for _ in 0..8 {
        world.ping(&id).await;
    }
    for seconds in 1..=2 {
        receiver.await_got(3 * seconds).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(receiver.got().len(), 3 * seconds);
        world.advance(1);
    }
    receiver.await_got(8).await;
}

/// K-14: a crash between the send and its record sends again, under the same id.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_cut_off_in_the_middle_is_made_again_under_its_id() {
    let world = World::start().await;
    let receiver =
        Receiver::replying(Reply { delay: Duration::from_mins(1), ..Reply::of(204) }).await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    let delivery = world.ping(&id).await;
    receiver.await_got(1).await;

    world.kit.stop("webhooks").await;
    receiver.reply(Reply::of(204));
    world.serve().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(receiver.got().len(), 1, "its lease has not ended");
    world.advance(21);

    let got = receiver.await_got(2).await;
    assert_eq!((&got[0].id, &got[0].body), (&got[1].id, &got[1].body));
    world.await_attempts(&delivery.id, 1).await;
    let delivered = world.delivery(&delivery.id).await;
    assert_eq!((delivered.state(), delivered.attempts), (pb::DeliveryState::Delivered, 2));
}

/// Two processes share what is due: each delivery is attempted once.
#[tokio::test(flavor = "multi_thread")]
async fn two_senders_share_the_work() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    let other = testkit::Testkit::start_at(world.clock.clone()).await;
    let mesh = other.mesh("webhooks");
    let names = std::sync::Arc::new(world.names.clone());
    let (config, clock) = (world.config.clone(), world.clock.clone());
    let service = webhooks::start(config, &mesh, world.open(), clock, world.bus(), BUS_KEPT, names);
    other.serve(&mesh, service.await.unwrap()).await;
    for _ in 0..60 {
        world.ping(&id).await;
    }
    receiver.await_got(60).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut ids: Vec<_> = receiver.got().into_iter().map(|got| got.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), receiver.got().len()), (60, 60));
}
