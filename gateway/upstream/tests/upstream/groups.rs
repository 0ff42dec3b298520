//! Which endpoint a call goes to, and what is seen of it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use upstream::BreakerState::{Closed, Open};
use upstream::{Call, Config, Route, Sticky, StreamCall, UpstreamConfig};

use crate::streams::stream;
use crate::world::*;

fn route(canary: bool, sticky: Option<&str>) -> Call {
    Call { route: Route { canary, sticky: sticky.map(Into::into) }, ..call("Echo") }
}

fn with_canary(stable: &[SocketAddr], canary: &[SocketAddr], weight: u8) -> UpstreamConfig {
    let mut config = at(stable);
    config.canary.endpoints = canary.iter().map(|address| format!("http://{address}")).collect();
    config.canary.weight = weight;
    config
}

/// T-03, B-06: replicas that are alike get their calls evenly, as round robin would give them.
#[tokio::test]
async fn calls_are_spread_evenly() {
    for replicas in 1..=4 {
        let servers = futures::future::join_all((0..replicas).map(|_| tonic_server())).await;
        let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
        let world = World::new(at(&addresses));
        for _ in 0..replicas * 100 {
            world.call("Echo").await.unwrap();
        }
        for server in &servers {
            assert!((85..=115).contains(&server.calls()), "{} of 100", server.calls());
        }
    }
}

/// T-03: two replicas take strict turns.
#[tokio::test]
async fn two_replicas_take_turns() {
    let (one, other) = (tonic_server().await, tonic_server().await);
    let world = World::new(at(&[one.address, other.address]));
    for round in 1..=20 {
        world.call("Echo").await.unwrap();
        world.call("Echo").await.unwrap();
        assert_eq!((one.calls(), other.calls()), (round, round));
    }
}

/// B-06: the less busy endpoint is chosen.
#[tokio::test]
async fn a_busy_endpoint_is_spared() {
    let (busy, idle) = (tonic_server().await, tonic_server().await);
    let world = World::new(at(&[busy.address, idle.address]));
    world.call("Echo").await.unwrap();
    world.call("Echo").await.unwrap();
    let worker = world.worker.clone();
    let _held = tokio::spawn(async move { worker.unary(call("Never")).await });
    eventually("it is held", || busy.calls() + idle.calls() == 3).await;
    let (busy, idle) = if busy.calls() == 2 { (busy, idle) } else { (idle, busy) };

    for _ in 0..20 {
        world.call("Echo").await.unwrap();
    }
    assert_eq!((busy.calls(), idle.calls()), (2, 21));
}

/// K-40, C-48: the canary gets its share, which can be raised without a restart.
#[tokio::test]
async fn the_canary_gets_its_share() {
    let (stable, canary) = (tonic_server().await, tonic_server().await);
    let settings = |weight| with_canary(&[stable.address], &[canary.address], weight);
    let world = World::new(settings(0));
    let mut before = 0;
    for weight in [0, 10, 50, 100] {
        world.upstreams.reload(&config(settings(weight))).unwrap();
        for _ in 0..1000 {
            world.call("Echo").await.unwrap();
        }
        let share = canary.calls() - before;
        before = canary.calls();
        let expected = usize::from(weight) * 10;
        // Six standard deviations at the most.
        let room = if weight % 100 == 0 { 0 } else { 95 };
        assert!(share.abs_diff(expected) <= room, "{share} of 1000 at {weight} %");
    }
}

/// K-41: `X-Canary: true` goes to the canary whatever its weight, and to what is there without one.
#[tokio::test]
async fn who_asks_for_the_canary_gets_it() {
    let (stable, canary) = (tonic_server().await, tonic_server().await);
    let world = World::new(with_canary(&[stable.address], &[canary.address], 0));
    for _ in 0..10 {
        world.worker.unary(route(true, None)).await.unwrap();
        world.worker.unary(route(false, None)).await.unwrap();
    }
    assert_eq!((stable.calls(), canary.calls()), (10, 10));

    let gone = World::new(with_canary(&[stable.address], &[nowhere().await], 0));
    gone.worker.unary(route(true, None)).await.unwrap();
    let none = World::new(at(&[stable.address]));
    none.worker.unary(route(true, None)).await.unwrap();
}

/// K-40: whatever a canary does, and whoever asks for it, the version in service is not given up for
/// it; a canary that fails is passed over, and its breaker opens for it alone.
#[tokio::test]
async fn a_bad_canary_harms_nobody_but_itself() {
    let (stable, canary) = (tonic_server().await, tonic_server().await);
    let bug = || Call { path: call("Bug").path, ..route(true, None) };
    for outliers in [u32::MAX, 3] {
        let mut settings = with_canary(&[stable.address], &[canary.address], 0);
        settings.breaker.consecutive_failures = number(3);
        settings.outlier.consecutive_failures = number(outliers);
        let world = World::new(settings);
        for _ in 0..3 {
            world.worker.unary(bug()).await.unwrap_err();
        }
        let status = world.status();
        assert_eq!((status.breaker, status.canary_breaker), (Closed, Open));
        let ejected = world.endpoint(canary.address).ejected_until;
        assert_eq!(ejected.is_some(), outliers == 3);

        let (before, of_canary) = (stable.calls(), canary.calls());
        for canary in [true, false] {
            world.worker.unary(route(canary, None)).await.unwrap();
        }
        assert_eq!((stable.calls(), canary.calls()), (before + 2, of_canary));
        let asked = StreamCall { route: route(true, None).route, ..stream("Echo") };
        world.worker.stream(asked).await.unwrap();
    }
}

/// K-40: a canary that is passed over is not what a repeat or a second copy must avoid: that is the
/// endpoint which answered in its place.
#[tokio::test]
async fn repeats_avoid_the_endpoint_that_answered_for_the_canary() {
    let (one, other) = (tonic_server().await, tonic_server().await);
    let canary = tonic_server().await;
    let mut settings = with_canary(&[one.address, other.address], &[canary.address], 0);
    settings.breaker.consecutive_failures = number(3);
    settings.retry.attempts_max = number(2);
    let world = World::new(settings);
    let of_canary = |method| Call { path: call(method).path, ..route(true, None) };
    for _ in 0..3 {
        world.worker.unary(of_canary("Bug")).await.unwrap_err();
    }
    assert_eq!(world.status().canary_breaker, Open);
    let worker = world.worker.clone();
    let _held = tokio::spawn(async move { worker.unary(call("Never")).await });
    eventually("one is busy", || one.calls() + other.calls() == 1).await;
    let (busy, idle) = if one.calls() == 1 { (one, other) } else { (other, one) };

    // The idle one is the better choice until it has failed.
    let repeated = Call { retry_safe: true, ..of_canary("Down") };
    world.worker.unary(repeated).await.unwrap_err();
    assert_eq!((idle.calls(), busy.calls()), (1, 2));

    // The same until it is slow: the busy one failed, which weighs, and the idle one is well again.
    world.worker.unary(of_canary("Echo")).await.unwrap();
    let (hedge_after, deadline) = (Duration::from_millis(20), Duration::from_millis(300));
    let deadline = Instant::now() + deadline;
    let hedged = Call { hedge_after: Some(hedge_after), deadline, ..of_canary("Never") };
    world.worker.unary(hedged).await.unwrap_err();
    assert_eq!((idle.calls(), busy.calls()), (3, 3));
    assert_eq!(canary.calls(), 3);
}

/// K-41: a client with the cookie stays where it is.
#[tokio::test]
async fn a_cookie_keeps_a_client_at_its_endpoint() {
    let servers = futures::future::join_all((0..4).map(|_| tonic_server())).await;
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let mut settings = at(&addresses);
    settings.sticky = Some(Sticky::default());
    let world = World::new(settings.clone());
    assert_eq!(world.upstreams.sticky("test").unwrap().cookie, "malha-route");

    let first = world.call("Echo").await.unwrap().sticky.unwrap();
    let home = servers.iter().find(|server| server.calls() == 1).unwrap();
    for _ in 0..20 {
        let reply = world.worker.unary(route(false, Some(&first))).await.unwrap();
        assert_eq!(reply.sticky, None, "it has the cookie");
    }
    assert_eq!(home.calls(), 21);

    // What nobody gave means nothing: an address least of all.
    for forged in ["", "x", &addresses[0].to_string()] {
        let reply = world.worker.unary(route(false, Some(forged))).await.unwrap();
        assert_ne!(reply.sticky.as_deref(), Some(forged));
    }
    let cookies: HashSet<_> = {
        let calls = (0..20).map(|_| world.call("Echo"));
        let replies = futures::future::join_all(calls).await;
        replies.into_iter().map(|reply| reply.unwrap().sticky.unwrap()).collect()
    };
    assert_eq!(cookies.len(), 4);

    // Another gateway takes the cookie only if it has the same key.
    let gateway = |key: Option<&str>| {
        let mut config = config(settings.clone());
        config.sticky_key = key.map(str::to_owned);
        upstream::Upstreams::new(&config, None, std::num::NonZeroUsize::MIN).unwrap().worker()
    };
    let cookie = gateway(Some("secret")).unary(call("Echo")).await.unwrap().sticky.unwrap();
    for (key, kept) in [(Some("secret"), true), (Some("other"), false), (None, false)] {
        let reply = gateway(key).unary(route(false, Some(&cookie))).await.unwrap();
        assert_eq!(reply.sticky.is_none(), kept, "{key:?}");
    }
}

/// K-41: a client that was kept at the canary leaves it when it is taken out.
#[tokio::test]
async fn a_cookie_does_not_outlive_the_canary() {
    let (stable, canary) = (tonic_server().await, tonic_server().await);
    let settings = |weight| {
        let mut settings = with_canary(&[stable.address], &[canary.address], weight);
        settings.sticky = Some(Sticky::default());
        Config { sticky_key: Some("secret".to_owned()), ..config(settings) }
    };
    let upstreams =
        upstream::Upstreams::new(&settings(100), None, std::num::NonZeroUsize::MIN).unwrap();
    let worker = upstreams.worker();
    let cookie = worker.unary(route(false, None)).await.unwrap().sticky.unwrap();
    assert_eq!(canary.calls(), 1);

    upstreams.reload(&settings(0)).unwrap();
    let reply = worker.unary(route(false, Some(&cookie))).await.unwrap();
    assert_eq!((stable.calls(), canary.calls()), (1, 1));
    assert!(reply.sticky.is_some());
}

/// What an operator reads, and the metrics that say the same.
#[tokio::test]
async fn status_and_metrics_tell_what_happened() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (stable, canary) = (tonic_server().await, tonic_server().await);
    let world = World::new(with_canary(&[stable.address], &[canary.address], 0));
    world.call("Echo").await.unwrap();
    world.worker.unary(route(true, None)).await.unwrap();
    world.call("Bug").await.unwrap_err();
    world.worker.unary(Call { retry_safe: true, ..call("Down") }).await.unwrap_err();

    let status = serde_json::to_value(world.status()).unwrap();
    assert_eq!(status["name"], "test");
    assert_eq!(status["breaker"], "CLOSED");
    assert_eq!(status["retries"], 2);
    let endpoint = &status["endpoints"][0];
    assert_eq!(endpoint["address"], stable.address.to_string());
    assert_eq!(
        (&endpoint["group"], &status["endpoints"][1]["group"]),
        (&"stable".into(), &"canary".into())
    );
    for (key, value) in [("calls", 5), ("failures", 4), ("connections", 1), ("inFlight", 0)] {
        assert_eq!(endpoint[key], value, "{key}");
    }

    tokio::time::sleep(Duration::from_millis(1200)).await;
    let text = handle.render();
    let labels = format!(r#"{{upstream="test",endpoint="{}",group="stable"}}"#, stable.address);
    for line in [
        format!("malha_upstream_calls_total{labels} 5"),
        format!("malha_upstream_failures_total{labels} 4"),
        format!("malha_upstream_available{labels} 1"),
        r#"malha_upstream_breaker_state{upstream="test",group="stable"} 0"#.to_owned(),
        r#"malha_upstream_retries_total{upstream="test",outcome="sent"} 2"#.to_owned(),
        r#"malha_upstream_duration_seconds_count{upstream="test"} 4"#.to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}
