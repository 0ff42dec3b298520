//! Calls whose messages are streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::Builder;
use http::HeaderMap;
use http::uri::PathAndQuery;
use tokio::time::{Instant, timeout};
use tonic::Code;
use upstream::{BreakerState, Reason, Receiver, Route, Sender, StreamCall};

use crate::world::*;

pub(crate) fn stream(method: &str) -> StreamCall {
    StreamCall {
        upstream: "test".into(),
        path: PathAndQuery::try_from(format!("/test.Echo/{method}")).unwrap(),
        headers: HeaderMap::new(),
        deadline: None,
        route: Route::default(),
    }
}

async fn open(world: &World, method: &str) -> (Sender, Receiver) {
    world.worker.stream(stream(method)).await.unwrap()
}

#[tokio::test]
async fn messages_go_both_ways_while_the_stream_lasts() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));
    let (mut sender, mut receiver) = open(&world, "Echo").await;
    for text in ["one", "", "three"] {
        sender.message(Bytes::from(text)).await.unwrap();
        assert_eq!(receiver.message().await.unwrap().unwrap(), text);
    }
    assert_eq!(receiver.headers().await.unwrap()["x-header"], "h");
    sender.finish().unwrap();
    assert_eq!(receiver.message().await.unwrap(), None);
    drop(receiver);
    let endpoint = world.endpoint(server.address);
    assert_eq!((endpoint.in_flight, endpoint.failures, endpoint.calls), (0, 0, 1));
    assert!(!server.echo.seen.lock().contains_key("grpc-timeout"));
}

#[tokio::test]
async fn bytes_pass_as_they_are_and_trailers_whatever_they_say() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));
    let (mut sender, mut receiver) = open(&world, "Echo").await;
    sender.send(Bytes::from_static(b"\0\0\0\0\x05he")).await.unwrap();
    sender.send(Bytes::from_static(b"llo")).await.unwrap();
    sender.finish().unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = receiver.data().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes, b"\0\0\0\0\x05hello");
    assert_eq!(receiver.trailers().await.unwrap()["x-trailer"], "t");

    let (_sender, mut receiver) = open(&world, "Fail").await;
    assert_eq!(receiver.data().await.unwrap(), None);
    assert_eq!(receiver.trailers().await.unwrap()["grpc-status"], "9");
    let (_sender, mut receiver) = open(&world, "Fail").await;
    assert_eq!(receiver.message().await.unwrap_err().code, Code::FailedPrecondition);
}

/// Neither side makes us hold more than its windows: who does not read is not sent to.
#[tokio::test]
async fn a_side_that_does_not_read_stops_the_other() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));
    let (mut sender, mut receiver) = open(&world, "Echo").await;
    let block = Bytes::from(vec![7; 256 * 1024]);
    let mut sent = 0;
    while timeout(Duration::from_millis(300), sender.message(block.clone())).await.is_ok() {
        sent += 1;
        assert!(sent < 100, "it is never stopped");
    }
    assert!(sent >= 4, "{sent}");
    // Once it is read again, it goes on.
    for _ in 0..sent {
        assert_eq!(receiver.message().await.unwrap().unwrap().len(), block.len());
    }
}

#[tokio::test]
async fn a_large_stream_passes_whole() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));
    let (mut sender, mut receiver) = open(&world, "Echo").await;
    let block = Bytes::from(vec![7; 1024 * 1024]);
    let sending = async {
        for _ in 0..40 {
            sender.message(block.clone()).await.unwrap();
        }
        sender.finish().unwrap();
    };
    let receiving = async {
        let mut count = 0;
        while let Some(message) = receiver.message().await.unwrap() {
            assert_eq!(message.len(), block.len());
            count += 1;
        }
        count
    };
    assert_eq!(tokio::join!(sending, receiving).1, 40);
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_cancelled() {
    let cancelled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cancelled);
    let server = h2_server(Builder::new(), move |_, _, mut respond| {
        let count = Arc::clone(&count);
        async move {
            let _ = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let world = World::new(at(&[server.address]));
    let both = open(&world, "Never").await;
    drop(both);
    eventually("it is cancelled", || cancelled.load(Ordering::SeqCst) == 1).await;
    let (sender, _receiver) = open(&world, "Never").await;
    drop(sender);
    eventually("half of it is enough", || cancelled.load(Ordering::SeqCst) == 2).await;
    assert_eq!(world.endpoint(server.address).failures, 0, "the client left");
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline_and_its_failures_count() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));
    let deadline = Some(Instant::now() + Duration::from_millis(100));
    let late = world.worker.stream(StreamCall { deadline, ..stream("Never") });
    let (_sender, mut receiver) = late.await.unwrap();
    assert_eq!(receiver.message().await.unwrap_err().reason, Some(Reason::Deadline));
    assert_eq!(world.endpoint(server.address).failures, 1);

    let (_sender, mut receiver) = open(&world, "Bug").await;
    assert_eq!(receiver.message().await.unwrap_err().code, Code::Internal);
    assert_eq!(world.endpoint(server.address).failures, 2);
}

#[tokio::test]
async fn a_stream_is_opened_elsewhere_when_an_endpoint_is_gone() {
    let server = tonic_server().await;
    for _ in 0..8 {
        let world = World::new(at(&[nowhere().await, server.address]));
        let (mut sender, mut receiver) = open(&world, "Echo").await;
        sender.message(Bytes::from_static(b"here")).await.unwrap();
        assert_eq!(receiver.message().await.unwrap().unwrap(), "here");
    }
    let gone = World::new(at(&[nowhere().await])).worker.stream(stream("Echo")).await;
    assert_eq!(gone.unwrap_err().reason, Some(Reason::Unreachable));
}

/// A stream that lasts must not keep a half-open breaker waiting.
#[tokio::test]
async fn a_stream_that_began_counts_as_a_probe_that_went_well() {
    let server = tonic_server().await;
    let mut config = at(&[server.address]);
    config.breaker.consecutive_failures = number(2);
    config.breaker.open_time = Duration::from_millis(50);
    let world = World::new(config);
    for _ in 0..2 {
        let (_sender, mut receiver) = open(&world, "Bug").await;
        receiver.message().await.unwrap_err();
    }
    assert_eq!(world.status().breaker, BreakerState::Open);
    let refused = world.worker.stream(stream("Echo")).await.unwrap_err();
    assert_eq!(refused.reason, Some(Reason::CircuitOpen));

    tokio::time::sleep(Duration::from_millis(80)).await;
    let mut open_streams = Vec::new();
    for _ in 0..3 {
        let (sender, mut receiver) = open(&world, "Echo").await;
        receiver.headers().await.unwrap();
        open_streams.push((sender, receiver));
    }
    assert_eq!(world.status().breaker, BreakerState::Closed);
}
