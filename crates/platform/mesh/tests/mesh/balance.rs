//! Several endpoints: calls spread, the dead are avoided, the risen are found.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use futures::future::{join, join_all};
use mesh::{Mesh, Service};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use crate::world::*;

async fn open_account(member: &Mesh) -> Result<(), Status> {
    let mut client = AccountsClient::new(member.channel("accounts"));
    client.open_account(OpenAccountRequest::default()).await.map(drop)
}

fn answering_after(wait: Duration, reached: &Count) -> Service {
    let reached = reached.clone();
    Service::new("accounts").mount(Accounts::new(move |_| {
        reached.up();
        async move {
            sleep(wait).await;
            Ok(())
        }
    }))
}

#[tokio::test]
async fn calls_spread_over_the_endpoints_by_how_busy_they_are() {
    let world = World::new(&["accounts", "identity"]);
    let counts: [Count; 3] = Default::default();
    let member = world.join("accounts");
    let mut addresses = Vec::new();
    for (count, wait) in counts.iter().zip([5, 5, 200]) {
        let service = answering_after(Duration::from_millis(wait), count);
        addresses.push(serve(&member, service).await.address);
    }
    let caller = world.caller("identity", "accounts", &addresses);

    let batches = (0..20).map(|_| async {
        for _ in 0..15 {
            open_account(&caller).await.unwrap();
        }
    });
    join_all(batches).await;

    let [first, second, slow] = counts.each_ref().map(Count::get);
    assert_eq!(first + second + slow, 300);
    assert!(first > 60 && second > 60, "{first} {second} {slow}");
    assert!(
        slow > 0 && slow < first.min(second),
        "the slow one gets less: {first} {second} {slow}"
    );
}

#[tokio::test]
async fn calls_take_turns_on_the_connections_to_an_endpoint() {
    let mut world = World::new(&["identity"]);
    world.config.limits.connections = NonZeroU32::new(3).unwrap();
    world.config.retry.attempts_max = NonZeroU32::MIN;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let caller = world.caller("identity", "accounts", &[silent.local_addr().unwrap()]);

    let calls = join_all((0..5).map(|_| open_account(&caller)));
    let accepted = async {
        let mut handshakes = Vec::new();
        while let Ok(socket) = timeout(Duration::from_millis(200), silent.accept()).await {
            handshakes.push(socket.unwrap());
        }
        handshakes.len()
    };
    let (_, connections) = join(calls, accepted).await;

    assert_eq!(connections, 3, "for five calls");
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let world = World::new(&["accounts", "identity"]);
    let reached = Count::default();
    let live = serve(&world.join("accounts"), answering_after(Duration::ZERO, &reached)).await;
    let caller = world.caller("identity", "accounts", &[nowhere().await, live.address]);

    for _ in 0..50 {
        open_account(&caller).await.expect("no call is lost to the dead endpoint");
    }

    assert_eq!(reached.get(), 50);
    let status = caller.upstreams().into_iter().find(|up| up.name == "accounts").unwrap();
    let ejected: Vec<_> = status.endpoints.iter().map(|endpoint| endpoint.ejected).collect();
    assert_eq!(ejected, [true, false]);
}

#[tokio::test]
async fn an_endpoint_that_comes_back_is_used_again() {
    let mut world = World::new(&["accounts", "identity"]);
    world.config.limits.eject_time = Duration::from_millis(100);
    let member = world.join("accounts");
    let (one, two) = (Count::default(), Count::default());
    let address = nowhere().await;
    let first = serve(&member, answering_after(Duration::ZERO, &one)).await;
    let caller = world.caller("identity", "accounts", &[first.address, address]);
    for _ in 0..10 {
        open_account(&caller).await.unwrap();
    }
    assert_eq!(two.get(), 0);

    let _second = serve_at(&member, answering_after(Duration::ZERO, &two), address).await;

    eventually("calls reach it", || async {
        open_account(&caller).await.unwrap();
        two.get() > 0
    })
    .await;
}

#[tokio::test]
async fn the_channel_recovers_within_a_second_after_a_restart() {
    let world = World::new(&["accounts", "identity"]);
    let member = world.join("accounts");
    let reached = Count::default();
    let served = serve(&member, answering_after(Duration::ZERO, &reached)).await;
    let address = served.address;
    let caller = world.caller("identity", "accounts", &[address]);
    open_account(&caller).await.unwrap();

    served.kill().await;
    for _ in 0..5 {
        let failure = open_account(&caller).await.unwrap_err();
        assert_eq!(failure.code(), tonic::Code::Unavailable);
    }
    let restarted = Instant::now();
    let _served = serve_at(&member, answering_after(Duration::ZERO, &reached), address).await;

    while open_account(&caller).await.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(restarted.elapsed() < Duration::from_millis(1500), "{:?}", restarted.elapsed());
}

#[tokio::test]
async fn names_are_resolved_to_addresses() {
    let mut world = World::new(&["accounts", "identity"]);
    let reached = Count::default();
    let served = serve(&world.join("accounts"), answering_after(Duration::ZERO, &reached)).await;
    let name = format!("localhost:{}", served.address.port());
    world.config.endpoints.insert("accounts".to_owned(), vec![name]);
    let caller = world.join("identity");

    open_account(&caller).await.unwrap();

    let status = caller.upstreams().into_iter().find(|up| up.name == "accounts").unwrap();
    assert!(status.endpoints.iter().any(|endpoint| endpoint.address == served.address));
}

#[tokio::test]
async fn an_upstream_without_endpoints_is_unavailable_at_once() {
    let world = World::new(&["identity"]);
    let caller = world.join("identity");

    let refusal = open_account(&caller).await.unwrap_err();

    assert_eq!(reason(&refusal), "UPSTREAM_UNKNOWN");
}
