//! Time and load: deadlines, shedding, panics, the drain.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use mesh::{Context, Mesh, Service};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Status};

use crate::world::*;

async fn open_account(member: &Mesh, allowed: Option<Duration>) -> Result<(), Status> {
    let mut request = Request::new(OpenAccountRequest::default());
    if let Some(allowed) = allowed {
        request.set_timeout(allowed);
    }
    AccountsClient::new(member.channel("accounts")).open_account(request).await.map(drop)
}

/// Accounts whose calls wait until the semaphore lets them go.
fn waiting(gate: &Arc<Semaphore>, reached: &Count) -> Accounts {
    let (gate, reached) = (Arc::clone(gate), reached.clone());
    Accounts::new(move |_| {
        let gate = Arc::clone(&gate);
        reached.up();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(())
        }
    })
}

fn micros(seen: &Seen) -> u64 {
    // Of the size used here, a timeout is written in microseconds.
    seen.header("grpc-timeout").unwrap().strip_suffix('u').unwrap().parse().unwrap()
}

#[tokio::test]
async fn deadlines_shrink_hop_by_hop() {
    let world = World::new(&["identity", "ledger", "accounts"]);
    let seen: Arc<Mutex<Vec<u64>>> = Arc::default();

    let at_ledger = Arc::clone(&seen);
    let ledger = Ledger::new(move |call| {
        at_ledger.lock().unwrap().push(micros(&call));
        async { Ok(()) }
    });
    let ledger = serve(&world.join("ledger"), Service::new("ledger").mount(ledger)).await;

    let middle = world.caller("accounts", "ledger", &[ledger.address]);
    let (onward, at_accounts) = (middle.channel("ledger"), Arc::clone(&seen));
    let accounts = Accounts::new(move |call| {
        at_accounts.lock().unwrap().push(micros(&call));
        let mut client = LedgerClient::new(onward.clone());
        async move {
            sleep(Duration::from_millis(50)).await;
            client.lookup_accounts(LookupAccountsRequest::default()).await.map(drop)
        }
    });
    let accounts = serve(&middle, Service::new("accounts").mount(accounts)).await;
    let caller = world.caller("identity", "accounts", &[accounts.address]);

    open_account(&caller, Some(Duration::from_millis(900))).await.unwrap();

    let [first, second] = seen.lock().unwrap()[..] else { panic!("two hops") };
    assert!(first < 900_000, "{first}");
    assert!(second <= first - 50_000, "{first} then {second}: less by what was used");

    seen.lock().unwrap().clear();
    open_account(&caller, Some(Duration::from_mins(1))).await.unwrap();
    let [first, second] = seen.lock().unwrap()[..] else { panic!("two hops") };
    assert!(first <= 5_000_000, "{first}: never more than the contract of OpenAccount allows");
    assert!(second <= 2_000_000, "{second}: nor than that of LookupAccounts");
}

#[tokio::test]
async fn a_context_without_time_sends_nothing() {
    let world = World::new(&["accounts", "identity"]);
    let reached = Count::default();
    let accounts = waiting(&Arc::new(Semaphore::new(9)), &reached);
    let served = serve(&world.join("accounts"), Service::new("accounts").mount(accounts)).await;
    let caller = world.caller("identity", "accounts", &[served.address]);

    let late = Context { deadline: Some(Instant::now()), ..world.customer() };
    let refusal = late.scope(open_account(&caller, None)).await.unwrap_err();

    assert_eq!((refusal.code(), reached.get()), (Code::DeadlineExceeded, 0));
    assert!(mesh::error::surely_not_sent(&refusal));
}

#[tokio::test]
async fn a_call_whose_time_is_over_is_answered_and_its_handler_dropped() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    let world = World::new(&["accounts", "identity"]);
    let dropped = Arc::new(AtomicBool::new(false));
    let witness = Arc::clone(&dropped);
    let accounts = Accounts::new(move |_| {
        let witness = Dropped(Arc::clone(&witness));
        async move {
            sleep(Duration::from_mins(1)).await;
            drop(witness);
            Ok(())
        }
    });
    let served = serve(&world.join("accounts"), Service::new("accounts").mount(accounts)).await;
    let caller = world.caller("identity", "accounts", &[served.address]);

    let started = Instant::now();
    let refusal = open_account(&caller, Some(Duration::from_millis(200))).await.unwrap_err();

    assert_eq!(refusal.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&refusal), "DEADLINE_EXCEEDED");
    assert!(started.elapsed() < Duration::from_secs(1));
    eventually("the handler is dropped", || async { dropped.load(Ordering::SeqCst) }).await;
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let mut world = World::new(&["accounts", "identity"]);
    world.config.limits.in_flight_max = 3.try_into().unwrap();
    let (gate, reached) = (Arc::new(Semaphore::new(0)), Count::default());
    let service = Service::new("accounts").mount(waiting(&gate, &reached));
    let served = serve(&world.join("accounts"), service).await;
    let caller = world.caller("identity", "accounts", &[served.address]);

    let admitted = (0..3).map(|_| open_account(&caller, None));
    let crowd = async {
        eventually("three are being served", || async { reached.get() == 3 }).await;
        let refused = join_all((0..5).map(|_| open_account(&caller, None))).await;
        assert!(caller.health("accounts").await.serving, "health is always answered");
        gate.add_permits(3);
        refused
    };
    let (admitted, refused) = tokio::join!(join_all(admitted), crowd);

    assert!(admitted.iter().all(Result::is_ok));
    for refusal in refused {
        let refusal = refusal.unwrap_err();
        assert_eq!(refusal.code(), Code::ResourceExhausted);
        assert_eq!(reason(&refusal), "OVERLOADED");
        assert!(mesh::error::retry_after(&refusal).is_some());
    }
    assert_eq!(reached.get(), 3);
    gate.add_permits(1);
    open_account(&caller, None).await.expect("there is room again");
}

#[tokio::test]
async fn a_panic_fails_one_call_and_not_the_service() {
    let world = World::new(&["accounts", "identity"]);
    let reached = Count::default();
    let counted = reached.clone();
    let accounts = Accounts::new(move |_| {
        let first = counted.up() == 1;
        async move {
            assert!(!first, "a mistake of the handler");
            Ok(())
        }
    });
    let served = serve(&world.join("accounts"), Service::new("accounts").mount(accounts)).await;
    let caller = world.caller("identity", "accounts", &[served.address]);

    let failure = open_account(&caller, None).await.unwrap_err();
    assert_eq!((failure.code(), reason(&failure).as_str()), (Code::Internal, "PANIC"));
    assert_eq!(failure.message(), "internal error", "nothing of the inside is told");
    open_account(&caller, None).await.unwrap();
}

#[tokio::test]
async fn the_drain_lets_calls_in_flight_finish_and_takes_no_new_ones() {
    let world = World::new(&["accounts", "identity"]);
    let (gate, reached) = (Arc::new(Semaphore::new(0)), Count::default());
    let service = Service::new("accounts").mount(waiting(&gate, &reached));
    let served = serve(&world.join("accounts"), service).await;
    let caller = world.caller("identity", "accounts", &[served.address]);
    let in_flight = caller.clone();
    let call = tokio::spawn(async move { open_account(&in_flight, None).await });
    eventually("the call is being served", || async { reached.get() == 1 }).await;

    served.stop.cancel();
    let late = world.caller("identity", "accounts", &[served.address]);
    eventually("new connections are refused", || async {
        let refusal = open_account(&late, Some(Duration::from_millis(100))).await;
        refusal.is_err_and(|status| reason(&status) == "UPSTREAM_UNREACHABLE")
    })
    .await;
    assert!(!served.task.is_finished(), "it waits for the call");
    gate.add_permits(1);

    call.await.unwrap().expect("the call in flight is answered");
    let ended = timeout(Duration::from_secs(2), served.task).await;
    ended.expect("it ends when the last call has").unwrap().unwrap();
    assert_eq!(reached.get(), 1);
}

#[tokio::test]
async fn the_drain_ends_after_its_time_and_leaves_nothing_behind() {
    let mut world = World::new(&["accounts", "identity"]);
    world.config.limits.drain_time = Duration::from_millis(100);
    let (gate, reached) = (Arc::new(Semaphore::new(0)), Count::default());
    let ticking = Count::default();
    let ticks = ticking.clone();
    let service =
        Service::new("accounts").mount(waiting(&gate, &reached)).task("tick", move || {
            let ticks = ticks.clone();
            async move {
                loop {
                    ticks.up();
                    sleep(Duration::from_millis(5)).await;
                }
            }
        });
    let served = serve(&world.join("accounts"), service).await;
    let caller = world.caller("identity", "accounts", &[served.address]);
    let call = tokio::spawn(async move { open_account(&caller, None).await });
    eventually("the call is being served", || async { reached.get() == 1 }).await;

    served.stop.cancel();
    served.task.await.unwrap().unwrap();

    let cut_off = call.await.unwrap().unwrap_err();
    assert_eq!(cut_off.code(), Code::Unavailable);
    assert!(!mesh::error::surely_not_sent(&cut_off), "its outcome is unknown");
    let ticked = ticking.get();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(ticking.get(), ticked, "background work has ended");
}
