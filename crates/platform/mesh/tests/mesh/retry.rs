//! Retries: where the contract allows, within a budget; and the breaker, end to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mesh::{BreakerState, Mesh, Service};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::world::*;

/// Logging in is not retry-safe, logging out is.
async fn login(gateway: &Mesh) -> Result<(), Status> {
    let mut client = IdentityClient::new(gateway.channel("identity"));
    client.login(LoginRequest::default()).await.map(drop)
}

async fn logout(gateway: &Mesh) -> Result<(), Status> {
    let mut client = IdentityClient::new(gateway.channel("identity"));
    client.logout(LogoutRequest::default()).await.map(drop)
}

/// An identity that fails with `code` the first `failures` times.
fn failing(code: Code, failures: usize, reached: &Count) -> Service {
    let reached = reached.clone();
    let identity = Identity::new(move |_| {
        let fails = reached.up() <= failures;
        async move { if fails { Err(Status::new(code, "scripted")) } else { Ok(()) } }
    });
    Service::new("identity").mount(identity)
}

/// C-27, K-34: transient failures only, up to three attempts, only where the contract allows.
#[tokio::test]
async fn calls_are_repeated_only_where_the_contract_allows() {
    let table = [
        // method retry-safe, code, failures, expected answer, attempts
        (true, Code::Unavailable, 2, Code::Ok, 3),
        (true, Code::Unavailable, 9, Code::Unavailable, 3),
        (false, Code::Unavailable, 2, Code::Unavailable, 1),
        (true, Code::Internal, 2, Code::Internal, 1),
        (true, Code::DeadlineExceeded, 2, Code::DeadlineExceeded, 1),
        (true, Code::ResourceExhausted, 2, Code::ResourceExhausted, 1),
        (true, Code::FailedPrecondition, 2, Code::FailedPrecondition, 1),
    ];
    let world = World::new(&["identity", "gateway"]);
    for (safe, code, failures, expected, attempts) in table {
        let reached = Count::default();
        let served = serve(&world.join("identity"), failing(code, failures, &reached)).await;
        let gateway = world.caller("gateway", "identity", &[served.address]);

        let answer = if safe { logout(&gateway).await } else { login(&gateway).await };

        let answer = answer.map_or_else(|status| status.code(), |()| Code::Ok);
        assert_eq!((answer, reached.get()), (expected, attempts), "safe {safe}, {code:?}");
    }
}

#[tokio::test]
async fn a_call_that_never_left_is_repeated_whatever_it_does() {
    let mut world = World::new(&["identity", "gateway"]);
    world.config.retry.delay_min = Duration::from_millis(150);
    let address = nowhere().await;
    let gateway = world.caller("gateway", "identity", &[address]);
    let (reached, identity) = (Count::default(), world.join("identity"));
    let service = failing(Code::Ok, 0, &reached);
    let late = async {
        sleep(Duration::from_millis(50)).await;
        serve_at(&identity, service, address).await
    };

    let (answer, _served) = tokio::join!(login(&gateway), late);

    answer.expect("the second attempt finds it");
    assert_eq!(reached.get(), 1);
}

/// An address that takes connections and hangs up once something was sent.
async fn hanging_up(hits: Count) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            hits.up();
            drop(socket);
        }
    });
    address
}

#[tokio::test]
async fn a_repeat_that_would_come_too_late_is_not_sent() {
    let mut world = World::new(&["identity", "gateway"]);
    world.config.retry.delay_min = Duration::from_secs(30);
    world.config.retry.delay_max = Duration::from_mins(1);
    let hits = Count::default();
    let gateway = world.caller("gateway", "identity", &[hanging_up(hits.clone()).await]);

    let started = Instant::now();
    let refusal = logout(&gateway).await.unwrap_err();

    assert_eq!((refusal.code(), hits.get()), (Code::Unavailable, 1));
    assert!(started.elapsed() < Duration::from_secs(2), "it does not sleep until the deadline");
}

#[tokio::test]
async fn the_budget_stops_a_storm_of_repeats() {
    let mut world = World::new(&["identity", "gateway"]);
    world.config.retry.budget_per_second = 0;
    world.config.retry.budget_percent = 20;
    world.config.breaker.consecutive_failures = u32::MAX.try_into().unwrap();
    world.config.breaker.volume_min = u32::MAX.try_into().unwrap();
    let reached = Count::default();
    let service = failing(Code::Unavailable, usize::MAX, &reached);
    let served = serve(&world.join("identity"), service).await;
    let gateway = world.caller("gateway", "identity", &[served.address]);

    for _ in 0..100 {
        logout(&gateway).await.unwrap_err();
    }

    let attempts = reached.get();
    assert!((110..=120).contains(&attempts), "{attempts} attempts for 100 calls at 20 %");
}

/// K-32, L-60, B-41: the breaker opens, fails fast, and closes after three good probes.
#[tokio::test]
async fn the_breaker_opens_fails_fast_and_closes_again() {
    let mut world = World::new(&["identity", "gateway"]);
    world.config.breaker.consecutive_failures = 5.try_into().unwrap();
    world.config.breaker.open_time = Duration::from_millis(300);
    let (reached, sick) = (Count::default(), Arc::new(AtomicBool::new(true)));
    let (counted, is_sick) = (reached.clone(), Arc::clone(&sick));
    let identity = Identity::new(move |_| {
        counted.up();
        let sick = is_sick.load(Ordering::SeqCst);
        async move { if sick { Err(Status::internal("sick")) } else { Ok(()) } }
    });
    let served = serve(&world.join("identity"), Service::new("identity").mount(identity)).await;
    let gateway = world.caller("gateway", "identity", &[served.address]);
    let state =
        || gateway.upstreams().into_iter().find(|up| up.name == "identity").unwrap().breaker;

    for _ in 0..5 {
        assert_eq!(login(&gateway).await.unwrap_err().code(), Code::Internal);
    }
    assert_eq!(state(), BreakerState::Open);
    let refusal = logout(&gateway).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable);
    assert_eq!(reason(&refusal), "CIRCUIT_OPEN");
    assert_eq!(refusal.message(), "circuit breaker is open");
    assert!(mesh::error::retry_after(&refusal).unwrap() <= world.config.breaker.open_time);
    assert!(mesh::error::surely_not_sent(&refusal));
    assert_eq!(reached.get(), 5, "open, it sends nothing, not even as a repeat");

    sick.store(false, Ordering::SeqCst);
    sleep(world.config.breaker.open_time).await;
    for _ in 0..3 {
        login(&gateway).await.unwrap();
    }
    assert_eq!(state(), BreakerState::Closed);
}

#[tokio::test]
async fn refusals_do_not_open_the_breaker() {
    let mut world = World::new(&["identity", "gateway"]);
    world.config.breaker.consecutive_failures = 2.try_into().unwrap();
    world.config.breaker.volume_min = 2.try_into().unwrap();
    let reached = Count::default();
    let service = failing(Code::FailedPrecondition, usize::MAX, &reached);
    let served = serve(&world.join("identity"), service).await;
    let gateway = world.caller("gateway", "identity", &[served.address]);

    for _ in 0..20 {
        assert_eq!(login(&gateway).await.unwrap_err().code(), Code::FailedPrecondition);
    }
    assert_eq!(reached.get(), 20);
}

/// A dependency that is away degrades the methods that need it, not the whole service.
#[tokio::test]
async fn errors_that_the_service_explains_do_not_open_the_breaker() {
    let mut world = World::new(&["identity", "gateway"]);
    world.config.breaker.consecutive_failures = 2.try_into().unwrap();
    world.config.breaker.volume_min = 2.try_into().unwrap();
    let identity = Identity::new(|_| async {
        let (code, reason) = (Code::Unavailable, "STORE_UNAVAILABLE");
        Err(mesh::error::status(code, reason, "identity.malha", "try again later"))
    });
    let served = serve(&world.join("identity"), Service::new("identity").mount(identity)).await;
    let gateway = world.caller("gateway", "identity", &[served.address]);

    for _ in 0..20 {
        assert_eq!(reason(&login(&gateway).await.unwrap_err()), "STORE_UNAVAILABLE");
    }
}

#[tokio::test]
async fn silence_counts_as_failure() {
    let mut world = World::new(&["identity", "gateway"]);
    world.config.breaker.consecutive_failures = 2.try_into().unwrap();
    let identity = Identity::new(|_| std::future::pending());
    let served = serve(&world.join("identity"), Service::new("identity").mount(identity)).await;
    let gateway = world.caller("gateway", "identity", &[served.address]);

    for _ in 0..2 {
        let mut request = tonic::Request::new(LoginRequest::default());
        request.set_timeout(Duration::from_millis(50));
        let mut client = IdentityClient::new(gateway.channel("identity"));
        assert_eq!(client.login(request).await.unwrap_err().code(), Code::DeadlineExceeded);
    }
    assert_eq!(reason(&login(&gateway).await.unwrap_err()), "CIRCUIT_OPEN");
}
