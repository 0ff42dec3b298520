//! Endpoints that do not do what they should (B-20).

use std::time::{Duration, Instant};

use contracts::webhooks::v1 as pb;
use hyper::body::Bytes;
use pb::AttemptOutcome;
use prost_types::FieldMask;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use webhooks::Config;

use crate::receiver::{PATIENCE, Receiver, Reply};
use crate::world::{World, quick};

/// One that never answers costs itself its time, and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_hang_hold_up_no_other() {
    let config = Config { attempt_timeout: Duration::from_secs(3), ..quick() };
    let world = World::with(config).await;
    // One accepts and says nothing; the other says that it will answer, and does not end.
    let silent = Receiver::replying(Reply { delay: PATIENCE, ..Reply::of(204) }).await;
    let slow = endless(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", b"", PATIENCE).await;
    let good = Receiver::start().await;
    let hanging = world.register(&silent.url(), &[]).await.endpoint.unwrap().id;
    let trickling = world.register(&slow, &[]).await.endpoint.unwrap().id;
    let answering = world.register(&good.url(), &[]).await.endpoint.unwrap().id;
    let mut first = Vec::new();
    for _ in 0..50 {
        first.push(world.ping(&hanging).await);
    }
    let trickled = world.ping(&trickling).await;
    silent.await_got(8).await;

    let begun = Instant::now();
    for _ in 0..20 {
        world.ping(&answering).await;
    }
    good.await_got(20).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(silent.got().len(), 8, "as many at once as one endpoint may have");

    let timed_out = world.await_attempts(&first[0].id, 1).await;
    assert_eq!((timed_out[0].outcome(), timed_out[0].status), (AttemptOutcome::Timeout, 0));
    assert!((3000..4500).contains(&timed_out[0].latency_ms), "{}", timed_out[0].latency_ms);
    // What it said at first counts: the body is not needed.
    let attempts = world.await_attempts(&trickled.id, 1).await;
    assert_eq!((attempts[0].outcome(), attempts[0].status), (AttemptOutcome::Delivered, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let world = World::start().await;
    let elsewhere = Receiver::start().await;
    for status in [301, 302, 303, 307, 308] {
        let headers = vec![("location", elsewhere.url())];
        let receiver = Receiver::replying(Reply { headers, ..Reply::of(status) }).await;
        let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
        let attempt = world.try_once(&id).await;
        assert_eq!(attempt.outcome(), AttemptOutcome::Refused);
        assert_eq!(attempt.status, i32::from(status));
        assert_eq!(receiver.got().len(), 1);
    }
    assert!(elsewhere.got().is_empty());
}

/// Of 1 GB, the beginning is read and logged; then the connection is closed.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_endless_answer_only_the_beginning_is_read() {
    let world = World::start().await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    let url = endless(head, &[b'x'; 8 * 1024], Duration::ZERO).await;
    let id = world.register(&url, &[]).await.endpoint.unwrap().id;
    let attempt = world.try_once(&id).await;

    assert_eq!((attempt.outcome(), attempt.status), (AttemptOutcome::Delivered, 200));
    assert_eq!(attempt.response, "x".repeat(4096));
    assert!(attempt.latency_ms < 2000, "{}", attempt.latency_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_of_an_answer_is_replaced() {
    let world = World::start().await;
    let body = Bytes::from_static(b"a\0b\xff");
    let receiver = Receiver::replying(Reply { body, ..Reply::of(400) }).await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    assert_eq!(world.try_once(&id).await.response, "a\u{fffd}b\u{fffd}");
}

/// B-20: 410 disables; enabling it sends again.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_disabled() {
    let world = World::start().await;
    let receiver = Receiver::replying(Reply::of(410)).await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    let delivery = world.ping(&id).await;
    world.await_attempts(&delivery.id, 1).await;

    assert_eq!(world.delivery(&delivery.id).await.state(), pb::DeliveryState::Failed);
    let endpoint = world.endpoint(&id).await;
    assert_eq!(endpoint.state(), pb::EndpointState::Disabled);
    assert_eq!(endpoint.disabled_reason(), pb::DisabledReason::Gone);
    // Its owner can hear of it by other ways.
    let mut txn = world.open().begin(testkit::TenantId::DEFAULT).await.unwrap();
    let told: Vec<(String, serde_json::Value)> =
        sqlx::query_as("SELECT event_type, payload FROM event_sourcing.outbox_events")
            .fetch_all(&mut *txn)
            .await
            .unwrap();
    drop(txn);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&*told[0].0, &told[0].1["endpointId"]),
        ("webhook.endpoint-disabled", &id.clone().into())
    );
    let request = pb::PingEndpointRequest { id: id.clone() };
    let refused = world.ask(async |mut client| client.ping_endpoint(request).await).await;
    testkit::assert_refused(refused, tonic::Code::FailedPrecondition, "ENDPOINT_DISABLED");

    receiver.reply(Reply::of(200));
    let request = pb::EnableEndpointRequest { id: id.clone() };
    world.ask(async |mut client| client.enable_endpoint(request).await).await.unwrap();
    assert_eq!(world.try_once(&id).await.status, 200);
}

/// What the old URL answers says nothing of the new one.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_moved_meanwhile_is_not_gone() {
    let world = World::start().await;
    let slow = Reply { delay: Duration::from_secs(1), ..Reply::of(410) };
    let (old, new) = (Receiver::replying(slow).await, Receiver::start().await);
    let id = world.register(&old.url(), &[]).await.endpoint.unwrap().id;
    let delivery = world.ping(&id).await;
    old.await_got(1).await;
    let request = pb::UpdateEndpointRequest {
        id: id.clone(),
        endpoint: Some(pb::Endpoint { url: new.url(), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["url".into()] }),
    };
    world.ask(async |mut client| client.update_endpoint(request).await).await.unwrap();

    let attempts = world.await_attempts(&delivery.id, 2).await;
    assert_eq!((attempts[0].status, attempts[1].status), (410, 204));
    assert_eq!((new.got().len(), &new.got()[0].id), (1, &delivery.message_id));
    assert_eq!(world.endpoint(&id).await.state(), pb::EndpointState::Enabled);
}

/// B-20: 429, 502 and 504 pause the endpoint, for as long as `Retry-After` says.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_has_too_much_to_do_is_given_rest() {
    for (status, asked, pause) in
        [(429, None, 60), (429, Some("90"), 90), (502, None, 60), (504, Some("20"), 20)]
    {
        let world = World::start().await;
        let asked = asked.map(|seconds: &str| ("retry-after", seconds.to_owned()));
        let headers = asked.into_iter().collect();
        let receiver = Receiver::replying(Reply { headers, ..Reply::of(status) }).await;
        let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
        world.try_once(&id).await;
        receiver.reply(Reply::of(200));
        let second = world.ping(&id).await;

        world.advance(pause - 1);
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(receiver.got().len(), 1, "{status}: it rests");
        world.advance(1);
        world.await_attempts(&second.id, 1).await;
        assert!(world.endpoint(&id).await.paused_until.is_none(), "it is well again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_respected_whatever_the_status() {
    let world = World::start().await;
    let headers = vec![("retry-after", "1000".to_owned())];
    let receiver = Receiver::replying(Reply { headers, ..Reply::of(503) }).await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    let delivery = world.ping(&id).await;
    world.await_attempts(&delivery.id, 1).await;

    let next = world.delivery(&delivery.id).await.next_attempt_at.unwrap().seconds;
    assert_eq!(next - world.clock.now().timestamp(), 1000, "not the 5 s of the schedule");
    assert!(world.endpoint(&id).await.paused_until.is_none(), "other messages go");
}

/// B-20: the breaker pauses deliveries, then tries one at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_endpoint_is_tried_with_one_message_at_a_time() {
    let failures = std::num::NonZeroU32::new(4).unwrap();
    let world = World::with(Config { breaker_failures: failures, ..quick() }).await;
    let receiver = Receiver::replying(Reply::of(500)).await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    for _ in 0..4 {
        world.try_once(&id).await;
    }
    for _ in 0..5 {
        world.ping(&id).await;
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(receiver.got().len(), 4, "it is paused");
    let paused = world.endpoint(&id).await.paused_until.unwrap().seconds;
    assert_eq!(paused - world.clock.now().timestamp(), 30);

    // What is due by then is much; one of it goes, and its failure doubles the pause.
    world.advance(30);
    receiver.await_got(5).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(receiver.got().len(), 5);
    receiver.reply(Reply::of(200));
    world.advance(60);
    receiver.await_got(5 + 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_at_which_nothing_arrives_for_days_is_disabled() {
    let world = World::start().await;
    let receiver = Receiver::replying(Reply::of(500)).await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    world.try_once(&id).await;
    world.advance(5 * 24 * 3600);
    world.try_once(&id).await;
    assert_eq!(world.endpoint(&id).await.disabled_reason(), pb::DisabledReason::Failing);
}

/// B-20: a name that leads inside is refused, also when it led outside at first.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_an_address_that_is_not_public() {
    let world = World::with(Config { development_targets: false, ..quick() }).await;
    let inside = Receiver::start().await;
    let port = inside.address.port();
    for (host, answers) in [
        ("loopback.example", [&["127.0.0.1"][..]].as_slice()),
        ("mapped.example", &[&["::ffff:127.0.0.1"]]),
        ("private.example", &[&["10.0.0.1"]]),
        ("metadata.example", &[&["169.254.169.254"]]),
        ("six.example", &[&["::1"]]),
        ("one-of-two.example", &[&["8.8.8.8", "127.0.0.1"]]),
    ] {
        world.names.set(host, answers);
        let url = format!("https://{host}:{port}/");
        let id = world.register(&url, &[]).await.endpoint.unwrap().id;
        let attempt = world.try_once(&id).await;
        assert_eq!(
            (attempt.outcome(), attempt.status),
            (AttemptOutcome::AddressRefused, 0),
            "{host}"
        );
    }
    assert!(inside.got().is_empty());
}

/// A name server that changes its mind between two questions gains nothing: one question is asked, and
/// its answer is what is checked and connected to.
#[tokio::test(flavor = "multi_thread")]
async fn names_cannot_be_rebound() {
    let config = Config {
        development_targets: false,
        attempt_timeout: Duration::from_millis(500),
        ..quick()
    };
    let world = World::with(config).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // 2001:200::1 is public, and not reached from here.
    world.names.set("rebound.example", &[&["2001:200::1"], &["127.0.0.1"]]);
    let id = world.register(&format!("https://rebound.example:{port}/"), &[]).await;
    let id = id.endpoint.unwrap().id;

    let first = world.try_once(&id).await.outcome();
    assert!(first == AttemptOutcome::Unreachable || first == AttemptOutcome::Timeout, "{first:?}");
    world.advance(60);
    assert_eq!(world.try_once(&id).await.outcome(), AttemptOutcome::AddressRefused);
    let connected = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(connected.is_err(), "nobody connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_unreachable() {
    let world = World::start().await;
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for url in [format!("http://{refused}/"), "http://nowhere.example/".to_owned()] {
        let id = world.register(&url, &[]).await.endpoint.unwrap().id;
        assert_eq!(world.try_once(&id).await.outcome(), AttemptOutcome::Unreachable, "{url}");
    }
}

/// A server that answers each connection with `head`, then `chunk` for ever with pauses between.
async fn endless(head: &'static [u8], chunk: &'static [u8], pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    tokio::time::sleep(pause).await;
                    sent = stream.write_all(chunk).await;
                }
            });
        }
    });
    format!("http://{address}/")
}
