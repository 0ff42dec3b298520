//! Unary calls that go as they should, and refusals.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;
use tonic::Code;
use tonic_types::StatusExt;
use upstream::{Call, Reason};

use crate::world::*;

#[tokio::test]
async fn a_call_carries_message_and_metadata_both_ways() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));
    let mut sent = call("Echo");
    sent.headers.insert("x-mine", HeaderValue::from_static("m"));
    sent.headers.insert("grpc-accept-encoding", HeaderValue::from_static("gzip"));

    let reply = world.worker.unary(sent).await.unwrap();

    assert_eq!(reply.message, "hello");
    assert_eq!(reply.headers["x-header"], "h");
    assert_eq!(reply.trailers["x-trailer"], "t");
    assert_eq!(reply.sticky, None);
    let seen = server.echo.seen.lock().clone();
    assert_eq!(seen["x-mine"], "m");
    assert_eq!(seen["te"], "trailers");
    assert_eq!(seen["content-type"], "application/grpc");
    assert!(!seen.contains_key("grpc-accept-encoding"), "no encoding is offered");
    let left = seen["grpc-timeout"].to_str().unwrap().strip_suffix('u').unwrap();
    let left = Duration::from_micros(left.parse().unwrap());
    assert!(left <= AGES && left > AGES / 2, "{left:?}");
}

#[tokio::test]
async fn large_messages_pass_and_too_large_answers_are_refused() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));
    for size in [0, 1, 70_000, 4 * 1024 * 1024] {
        let message = Bytes::from(vec![7; size]);
        let reply = world.worker.unary(Call { message: message.clone(), ..call("Echo") }).await;
        assert_eq!(reply.unwrap().message, message, "{size}");
    }
    let message = Bytes::from(vec![7; 4 * 1024 * 1024 + 1]);
    let failure = world.worker.unary(Call { message, ..call("Echo") }).await.unwrap_err();
    assert_eq!((failure.code, failure.reason), (Code::ResourceExhausted, Some(Reason::TooLarge)));
    assert_eq!(world.endpoint(server.address).failures, 0, "it is not to blame");
}

/// More than the windows of the connection, so that what was read must be given back to them.
#[tokio::test]
async fn windows_are_released_over_many_calls() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));
    let message = Bytes::from(vec![7; 1024 * 1024]);
    for _ in 0..40 {
        let reply = world.worker.unary(Call { message: message.clone(), ..call("Echo") }).await;
        assert_eq!(reply.unwrap().message.len(), message.len());
    }
    assert_eq!(world.endpoint(server.address).connects, 1);
}

#[tokio::test]
async fn a_refusal_comes_with_code_message_and_details() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));

    let failure = world.call("Fail").await.unwrap_err();

    assert_eq!((failure.code, &*failure.message), (Code::FailedPrecondition, "não há"));
    assert_eq!((failure.reason, failure.surely_not_sent), (None, false));
    let info = failure.status().get_details_error_info().unwrap();
    assert_eq!((&*info.reason, &*info.metadata["k"]), ("NO_FUNDS", "v"));
    assert_eq!(world.endpoint(server.address).failures, 0, "a refusal is no failure");

    let unknown = world.worker.unary(Call { upstream: "other".into(), ..call("Echo") }).await;
    assert_eq!(unknown.unwrap_err().reason, Some(Reason::Unknown));
}

/// L-60: time is bounded, whatever the upstream does.
#[tokio::test]
async fn a_late_call_is_given_up_at_its_deadline() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));
    let patience = Duration::from_millis(100);
    let started = Instant::now();

    let late = Call { deadline: started + patience, ..call("Never") };
    let failure = world.worker.unary(late).await.unwrap_err();

    assert_eq!((failure.code, failure.reason), (Code::DeadlineExceeded, Some(Reason::Deadline)));
    assert!(!failure.surely_not_sent);
    assert!(started.elapsed() >= patience && started.elapsed() < Duration::from_secs(2));

    let over = Call { deadline: started, ..call("Echo") };
    let failure = world.worker.unary(over).await.unwrap_err();
    assert!(failure.surely_not_sent, "there was no time to send it");
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn more_calls_than_a_connection_admits_take_further_ones_and_then_wait() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(2);
    let server = h2_server(builder, |_, _, respond| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer(respond);
    })
    .await;
    let mut config = at(&[server.address]);
    config.limits.connections_max = number(2);
    let world = World::new(config);
    // The peer tells its limit with its first bytes.
    world.call("Echo").await.unwrap();

    let calls = (0..12).map(|_| world.call("Echo"));
    for result in futures::future::join_all(calls).await {
        assert_eq!(result.unwrap().message, "ok");
    }

    let endpoint = world.endpoint(server.address);
    assert_eq!((endpoint.connections, endpoint.connects, endpoint.in_flight), (2, 2, 0));
}
