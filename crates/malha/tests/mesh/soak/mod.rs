//! `malha gateway` under clients and a service that misbehave, beside clients and a service that do
//! not.
//!
//! `cargo xtask soak --seconds 600` runs it for longer; the tests run it briefly.

mod contract;
mod erratic;
mod hostile;
mod http;
mod judge;
mod steady;
mod world;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::eventually;
use judge::Judge;
use world::World;

/// Bytes that the gateway may hold more after the load than after it was warm.
const GROWTH_KB_MAX: u64 = 32 * 1024;

/// File descriptors that come and go by themselves: connections to services, files being reread.
const FILES_MORE_MAX: usize = 12;

/// Whatever clients and services do, those that behave get their answers, each its own; every refusal
/// has its form and a known reason; nothing is left behind; and the gateway ends in good order.
#[tokio::test(flavor = "multi_thread")]
async fn who_misbehaves_harms_nobody_else_and_leaves_nothing_behind() {
    let seconds = std::env::var("MALHA_SOAK_SECONDS").map_or(10, |text| text.parse().unwrap());
    let mut world = World::start().await;
    let judge = Arc::new(Judge::default());

    // Once around for what is made once: connections, caches, threads.
    load(&world, &judge, Duration::from_secs(3)).await;
    let warm = world.settled().await;
    load(&world, &judge, Duration::from_secs(seconds)).await;
    let after = world.settled().await;
    println!("warm {warm:?}, after {after:?}, {judge:?}");

    judge.check();
    assert!(after.files <= warm.files + FILES_MORE_MAX, "{warm:?} {after:?}");
    assert_eq!(after.threads, warm.threads);
    assert!(after.memory_kb <= warm.memory_kb + GROWTH_KB_MAX, "{warm:?} {after:?}");
    world.recovers().await;
    world.ends_in_good_order().await;
}

/// Everybody at once, for so long.
async fn load(world: &World, judge: &Arc<Judge>, time: Duration) {
    let mut everybody = JoinSet::new();
    for number in 0..4 {
        everybody.spawn(steady::over_tls(world.site(), Arc::clone(judge)));
        everybody.spawn(steady::in_the_clear(world.site(), Arc::clone(judge)));
        everybody.spawn(steady::streams(world.site(), Arc::clone(judge)));
        everybody.spawn(steady::of_the_erratic(world.site(), Arc::clone(judge), number));
    }
    for _ in 0..64 {
        everybody.spawn(hostile::halves(world.site()));
    }
    for _ in 0..1_000 {
        everybody.spawn(hostile::idle(world.site()));
    }
    everybody.spawn(hostile::bursts(world.site()));
    everybody.spawn(hostile::resets(world.site()));
    everybody.spawn(hostile::settings(world.site()));
    everybody.spawn(hostile::noise(world.site()));
    everybody.spawn(hostile::too_much(world.site(), Arc::clone(judge)));
    everybody.spawn(world::changes(world.site()));
    everybody.spawn(erratic::restarts(world.erratic()));
    sleep(time).await;
    everybody.shutdown().await;
}

/// Waits until nothing changes any more.
async fn quiet(mut count: impl AsyncFnMut() -> usize) -> usize {
    let mut before = count().await;
    eventually("it comes to rest", async || {
        sleep(Duration::from_millis(400)).await;
        let now = count().await;
        std::mem::replace(&mut before, now) == now
    })
    .await;
    before
}
