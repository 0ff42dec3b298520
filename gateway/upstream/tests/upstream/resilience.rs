//! Breaker, repeats, second copies, outliers, health, draining.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use h2::server::Builder;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic_health::ServingStatus;
use upstream::{BreakerState, Call, Config, Reason};

use crate::world::*;

/// K-32, L-60, B-07: closed, open ("circuit breaker is open"), half open with three probes, closed.
#[tokio::test]
async fn the_breaker_opens_lets_three_probes_through_and_closes() {
    let failing = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&failing);
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let server = h2_server(Builder::new(), move |_, _, mut respond| {
        count.fetch_add(1, Ordering::SeqCst);
        let fails = asked.load(Ordering::SeqCst);
        async move {
            if fails {
                return respond.send_reset(h2::Reason::INTERNAL_ERROR);
            }
            sleep(Duration::from_millis(50)).await;
            answer(respond);
        }
    })
    .await;
    let mut config = at(&[server.address]);
    config.breaker.consecutive_failures = number(5);
    config.breaker.open_time = Duration::from_millis(300);
    let world = World::new(config);

    for _ in 0..5 {
        assert_eq!(world.call("Echo").await.unwrap_err().code, Code::Internal);
    }
    let open = world.call("Echo").await.unwrap_err();
    assert_eq!((open.reason, open.code), (Some(Reason::CircuitOpen), Code::Unavailable));
    assert_eq!(&*open.message, "circuit breaker is open");
    assert!(open.surely_not_sent && open.retry_after.is_some());
    assert_eq!(world.status().breaker, BreakerState::Open);
    assert_eq!(seen.load(Ordering::SeqCst), 5, "what is refused does not reach it");

    failing.store(false, Ordering::SeqCst);
    sleep(Duration::from_millis(350)).await;
    let probes = futures::future::join_all((0..5).map(|_| world.call("Echo"))).await;
    assert_eq!(probes.iter().filter(|probe| probe.is_ok()).count(), 3);
    assert_eq!(world.status().breaker, BreakerState::Closed);
    world.call("Echo").await.unwrap();
}

#[tokio::test]
async fn silence_opens_the_breaker_and_refusals_do_not() {
    let server = tonic_server().await;
    let mut config = at(&[server.address]);
    config.breaker.consecutive_failures = number(3);
    let world = World::new(config);
    for _ in 0..5 {
        assert_eq!(world.call("Fail").await.unwrap_err().code, Code::FailedPrecondition);
    }
    for _ in 0..3 {
        let soon = Instant::now() + Duration::from_millis(30);
        let late = world.worker.unary(Call { deadline: soon, ..call("Never") }).await;
        assert_eq!(late.unwrap_err().reason, Some(Reason::Deadline));
    }
    assert_eq!(world.status().breaker, BreakerState::Open);
}

#[tokio::test]
async fn only_what_is_safe_is_repeated_and_never_beyond_the_deadline() {
    let server = tonic_server().await;
    let world = World::new(at(&[server.address]));

    world.call("Down").await.unwrap_err();
    assert_eq!(server.calls(), 1, "not safe");

    let failure = world.worker.unary(Call { retry_safe: true, ..call("Down") }).await.unwrap_err();
    assert_eq!((failure.code, server.calls()), (Code::Unavailable, 1 + 3));

    world.worker.unary(Call { retry_safe: true, ..call("Bug") }).await.unwrap_err();
    assert_eq!(server.calls(), 4 + 1, "a bug stays one");

    let mut config = at(&[server.address]);
    config.retry.delay_min = Duration::from_secs(1);
    config.retry.delay_max = Duration::from_secs(1);
    let world = World::new(config);
    let soon = Instant::now() + Duration::from_millis(500);
    let short = Call { retry_safe: true, deadline: soon, ..call("Down") };
    assert_eq!(world.worker.unary(short).await.unwrap_err().code, Code::Unavailable);
    assert!(Instant::now() < soon, "it does not wait for a repeat that comes too late");
}

#[tokio::test]
async fn repeats_stay_within_their_budget() {
    let server = tonic_server().await;
    let mut config = at(&[server.address]);
    config.retry.budget_per_second = 1;
    config.retry.delay_min = Duration::from_millis(1);
    config.retry.delay_max = Duration::from_millis(1);
    let world = World::new(config);
    for _ in 0..200 {
        world.worker.unary(Call { retry_safe: true, ..call("Down") }).await.unwrap_err();
    }
    // A fifth of the calls, and what is free in the ten seconds over which they are counted.
    let status = world.status();
    assert!((40..=55).contains(&status.retries), "{}", status.retries);
    assert_eq!(server.calls() as u64, 200 + status.retries);
    assert!(status.retries_over_budget >= 100);
}

#[tokio::test]
async fn a_second_copy_overtakes_a_slow_first_one() {
    let slow = h2_server(Builder::new(), |_, _, respond| async move {
        sleep(AGES).await;
        answer(respond);
    })
    .await;
    let quick = h2_server(Builder::new(), |_, _, respond| async move { answer(respond) }).await;
    let world = World::new(at(&[slow.address, quick.address]));
    let hedged = Call { hedge_after: Some(Duration::from_millis(20)), ..call("Echo") };
    for _ in 0..10 {
        let started = Instant::now();
        assert_eq!(world.worker.unary(hedged.clone()).await.unwrap().message, "ok");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    assert!(world.status().hedges >= 1);
    assert_eq!(world.endpoint(slow.address).failures, 0, "an overtaken copy is no failure");
}

/// An endpoint that fails is passed over, but never more than half of them.
#[tokio::test]
async fn outliers_are_ejected_and_come_back() {
    let good = tonic_server().await;
    let bad = h2_server(Builder::new(), |_, _, mut respond| async move {
        respond.send_reset(h2::Reason::INTERNAL_ERROR);
    })
    .await;
    let mut config = at(&[good.address, bad.address]);
    config.outlier.consecutive_failures = number(3);
    config.outlier.eject_time = Duration::from_millis(400);
    let world = World::new(config);

    for _ in 0..100 {
        let _ = world.call("Echo").await;
    }
    let out = world.endpoint(bad.address);
    assert_eq!((out.failures, out.ejections), (3, 1));
    assert!(out.ejected_until.is_some());

    for _ in 0..10 {
        world.call("Bug").await.unwrap_err();
    }
    assert!(world.endpoint(good.address).ejected_until.is_none(), "half of them are out already");
    world.call("Echo").await.unwrap();

    eventually("it is tried again", || world.endpoint(bad.address).ejected_until.is_none()).await;
    for _ in 0..100 {
        let _ = world.call("Echo").await;
    }
    let out = world.endpoint(bad.address);
    assert_eq!((out.failures, out.ejections), (6, 2));
    let left = (out.ejected_until.unwrap() - chrono::Utc::now()).num_milliseconds();
    assert!(left > 400, "twice as long the second time: {left}");
}

/// L-60: nobody notices that one of two endpoints is gone.
#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_costs_no_call() {
    let good = tonic_server().await;
    let gone = nowhere().await;
    let world = World::new(at(&[good.address, gone]));
    for _ in 0..50 {
        world.call("Echo").await.unwrap();
    }
    let gone = world.endpoint(gone);
    assert_eq!((gone.failures, gone.ejections), (1, 1), "ejected at once");
}

/// An endpoint that says it does not serve gets no calls until it says otherwise.
#[tokio::test]
async fn health_is_asked_for_and_heeded() {
    let serve = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reporter, health) = tonic_health::server::health_reporter();
        let echo = Echo::default();
        let server =
            tonic::transport::Server::builder().add_service(health).add_service(echo.clone());
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (address, reporter, echo)
    };
    let (one, reporter, echo) = serve().await;
    let (other, _reporter, _) = serve().await;
    // It has no such service, which is no sign of illness.
    let plain = tonic_server().await;
    let mut config = at(&[one, other, plain.address]);
    config.health.enabled = true;
    config.health.interval = Duration::from_millis(50);
    let world = World::new(config);
    let round = async || {
        for _ in 0..60 {
            world.call("Echo").await.unwrap();
        }
        echo.calls.swap(0, Ordering::SeqCst)
    };
    assert!(round().await > 0);

    reporter.set_service_status("", ServingStatus::NotServing).await;
    eventually("it is seen not to serve", || !world.endpoint(one).healthy).await;
    assert_eq!(round().await, 0);
    assert!(world.endpoint(other).healthy && world.endpoint(plain.address).healthy);

    reporter.set_service_status("", ServingStatus::Serving).await;
    eventually("it is seen to serve", || world.endpoint(one).healthy).await;
    assert!(round().await > 0);
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_is_unhealthy_after_two_checks() {
    let silent = listen(|_, socket| async move {
        let _kept = socket;
        std::future::pending::<()>().await;
    })
    .await;
    let mut config = at(&[silent.address]);
    config.health.enabled = true;
    config.health.interval = Duration::from_millis(20);
    config.health.timeout = Duration::from_millis(50);
    let world = World::new(config);
    assert!(world.endpoint(silent.address).healthy, "presumed well");
    eventually("it is found out", || !world.endpoint(silent.address).healthy).await;
}

/// What leaves the configuration ends its calls in peace and gets no new ones.
#[tokio::test]
async fn calls_under_way_survive_a_reload() {
    let (old, new) = (tonic_server().await, tonic_server().await);
    let world = World::new(at(&[old.address]));
    let worker = world.worker.clone();
    let under_way = tokio::spawn(async move { worker.unary(call("Slow")).await });
    eventually("it is under way", || old.calls() == 1).await;

    world.upstreams.reload(&config(at(&[new.address]))).unwrap();

    for _ in 0..10 {
        world.call("Echo").await.unwrap();
    }
    assert_eq!((old.calls(), new.calls()), (1, 10));
    let leaving = world.upstreams.status().into_iter().flat_map(|status| status.endpoints);
    let leaving: Vec<_> = leaving.filter(|endpoint| endpoint.draining).collect();
    assert_eq!((leaving.len(), leaving[0].address, leaving[0].in_flight), (1, old.address, 1));

    assert_eq!(under_way.await.unwrap().unwrap().message, "hello");
    eventually("it is gone", || world.upstreams.status().len() == 1).await;
}

/// Connections to what left are closed, not leaked.
#[tokio::test]
async fn connections_to_what_left_are_closed() {
    let open = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&open);
    let old = listen(move |_, socket| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((_, respond))) = connection.accept().await {
                answer(respond);
            }
            count.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let new = tonic_server().await;
    let world = World::new(at(&[old.address]));
    world.call("Echo").await.unwrap();
    assert_eq!(open.load(Ordering::SeqCst), 1);
    world.upstreams.reload(&config(at(&[new.address]))).unwrap();
    eventually("it is closed", || open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_reload_that_is_wrong_changes_nothing_and_one_that_is_the_same_keeps_connections() {
    let server = tonic_server().await;
    let settings = config(at(&[server.address]));
    let world = World::new(at(&[server.address]));
    world.call("Echo").await.unwrap();
    world.upstreams.reload(&settings).unwrap();
    world.call("Echo").await.unwrap();
    assert_eq!(world.endpoint(server.address).connects, 1);

    let mut wrong = settings.clone();
    for endpoints in [["ftp://a:1"], ["http://a"], ["https://a:1"], ["a:1"]] {
        wrong.upstreams.get_mut("test").unwrap().endpoints = endpoints.map(str::to_owned).to_vec();
        let error = world.upstreams.reload(&wrong).unwrap_err();
        assert_eq!(error.upstream, "test");
    }
    world.call("Echo").await.unwrap();
    let left = world.upstreams.reload(&Config::default()).unwrap();
    world.call("Echo").await.unwrap();
    assert_eq!(world.endpoint(server.address).connects, 1, "whom somebody keeps is found");
    drop(left);
    assert_eq!(world.call("Echo").await.unwrap_err().reason, Some(Reason::Unknown));
}
