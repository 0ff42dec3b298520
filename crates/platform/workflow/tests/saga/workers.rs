//! Several workers, and some that stop in the middle.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures::future::join_all;
use storage::Database;
use tokio::runtime::Builder;
use workflow::{Config, Definition, Retry, Status, Worker};

use crate::house::{Bank, Do, House, State, quick, scripted};

fn two_steps() -> Definition<Bank, State> {
    Definition::new("two", 1).then(scripted("first")).then(scripted("second"))
}

/// K-31: workers share what is due; each step is called once.
#[tokio::test(flavor = "multi_thread")]
async fn workers_share_the_work() {
    let house = House::start().await;
    let workers = [house.work([two_steps()]), house.work([two_steps()])];
    let ids = join_all((0..60).map(|_| async { house.begin(&two_steps()).await })).await;

    for id in &ids {
        house.until(*id, Status::Completed).await;
        assert_eq!(house.bank.calls(*id), ["first", "second"]);
    }
    drop(workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_step_of_a_dead_worker_is_taken_over() {
    let house = House::start().await;
    house.bank.script("second", &[Do::Hang]);
    let worker = house.work([two_steps()]);
    let id = house.begin(&two_steps()).await;
    house.called(id, "second", 1).await;
    drop(worker);

    let died_at = Instant::now();
    let _other = house.work([two_steps()]);
    house.until(id, Status::Completed).await;

    assert_eq!(house.bank.calls(id), ["first", "second", "second"]);
    assert_eq!(house.bank.books().effects.len(), 2);
    assert!(died_at.elapsed() > Duration::from_millis(200), "its lease was respected");
}

/// A step that takes longer than a lease keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_step_keeps_its_lease() {
    let house = House::start().await;
    house.bank.script("first", &[Do::Hang]);
    let definition = || {
        let retry = Retry::times(2).waiting(Duration::from_millis(1), Duration::from_millis(1));
        let slow = scripted("first").timeout(Duration::from_millis(1_500)).retry(retry);
        Definition::new("slow", 1).then(slow)
    };
    let workers = [house.work([definition()]), house.work([definition()])];
    let id = house.begin(&definition()).await;

    house.until(id, Status::Completed).await;
    assert_eq!(house.bank.calls(id).len(), 2, "its own second attempt, nobody else's");
    let (_, history) = house.get(id).await;
    assert_eq!(history[1].reason, "STEP_TIMED_OUT");
    drop(workers);
}

/// A worker whose whole process stands still loses its workflow; what it says later counts for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_worker_is_fenced_off() {
    let house = House::start().await;
    house.bank.script("first", &[Do::Stall(Duration::from_secs(2))]);
    let (bank, clock, storage) =
        (Arc::clone(&house.bank), house.clock.clone(), house.storage.clone());
    let stalled = thread::spawn(move || {
        // One thread: while it is blocked, no lease is renewed.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let database = Database::open("cards", &storage);
            let worker = Worker::new(database, clock, quick()).unwrap().register(two_steps(), bank);
            let _ = tokio::time::timeout(Duration::from_secs(4), worker.run()).await;
        });
    });
    let id = house.begin(&two_steps()).await;
    house.called(id, "first", 1).await;

    let _other = house.work([two_steps()]);
    house.until(id, Status::Completed).await;
    let before = house.get(id).await;
    assert_eq!(house.bank.calls(id), ["first", "first", "second"]);
    stalled.join().unwrap();

    let after = house.get(id).await;
    assert_eq!(after.1.len(), before.1.len(), "it wrote nothing");
    assert_eq!(after.0.updated_at, before.0.updated_at);
    assert_eq!(house.bank.calls(id), ["first", "first", "second"], "nor did it go on");
}

/// A step that takes its process with it each time is given up as one without an answer is.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_of_dead_workers_count() {
    let house = House::start().await;
    house.bank.script("second", &[Do::Hang, Do::Hang, Do::Hang]);
    let id = house.begin(&two_steps()).await;
    for attempt in 1..=3 {
        let worker = house.work([two_steps()]);
        house.called(id, "second", attempt).await;
        drop(worker);
    }

    let _worker = house.work([two_steps()]);
    let workflow = house.until(id, Status::Failed).await;
    assert_eq!(workflow.failed().unwrap().reason, "OUTCOME_UNKNOWN");
    assert!(house.bank.books().effects.is_empty(), "in doubt, so undone");
}

/// Work is heard of, not only looked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_wakes_a_worker_at_once() {
    let house = House::start().await;
    let config = Config { poll_interval: Duration::from_secs(3), ..quick() };
    let worker = house.worker_with(config).register(two_steps(), Arc::clone(&house.bank));
    let worker = tokio::spawn(worker.run());
    // It listens after its first look.
    tokio::time::sleep(Duration::from_millis(500)).await;

    let started_at = Instant::now();
    let id = house.begin(&two_steps()).await;
    house.until(id, Status::Completed).await;
    assert!(started_at.elapsed() < Duration::from_secs(2), "{:?}", started_at.elapsed());
    worker.abort();
}

/// Fewer places than workflows: none is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_worker_takes_up_the_rest_later() {
    let house = House::start().await;
    let config = Config { in_flight_max: 2.try_into().unwrap(), ..quick() };
    let worker = house.worker_with(config).register(two_steps(), Arc::clone(&house.bank));
    let ids = join_all((0..20).map(|_| async { house.begin(&two_steps()).await })).await;
    let worker = tokio::spawn(worker.run());
    for id in ids {
        house.until(id, Status::Completed).await;
    }
    worker.abort();
}
