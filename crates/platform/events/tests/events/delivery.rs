//! Each event takes effect once, in the order of its key.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::{ConsumerConfig, Event, Handler, HandlerError, Operator, Record, Replayed, Start};
use storage::Transaction;
use uuid::Uuid;

use crate::brokers::NatsServer;
use crate::world::{World, Writer, measure, metric, processed};

/// B-39, K-25, K-31, L-54: what was committed is delivered, once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_takes_effect_once_and_in_order() {
    let world = World::start().await;
    let consumer = world.consumer("test", ConsumerConfig::default());
    let consumer = consumer.on("payments.processed", Arc::new(Writer::default())).build();
    let relay = world.relay();
    let running = tokio::spawn(async move { tokio::join!(relay.run(), consumer.run()) });
    let keys = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];

    let mut published = Vec::new();
    for round in 0..30 {
        published.extend(world.publish(&keys[..=round % 3]).await);
    }
    let effects = world.await_effects(published.len()).await;

    assert_eq!(effects.len(), published.len());
    for key in keys {
        let told: Vec<_> = published.iter().filter(|event| event.subject == key).collect();
        let done: Vec<_> = effects.iter().filter(|effect| effect.1 == key).collect();
        assert!(told.iter().map(|event| event.id).eq(done.iter().map(|effect| effect.0)));
    }
    running.abort();
}

fn start(world: &World, name: &str, writer: &Arc<Writer>) -> tokio::task::JoinHandle<()> {
    let config = ConsumerConfig {
        heartbeat: Duration::from_millis(100),
        lease: Duration::from_secs(1),
        attempts_max: 3,
        retry_first: Duration::from_millis(50),
        ..ConsumerConfig::default()
    };
    let handler: Arc<dyn Handler> = Arc::clone(writer) as _;
    let consumer = world.consumer(name, config).on("payments.processed", handler).build();
    tokio::spawn(async move { consumer.run().await })
}

/// Its second attempts come after the test.
fn start_slowly(world: &World, name: &str, writer: &Arc<Writer>) -> tokio::task::JoinHandle<()> {
    let config =
        ConsumerConfig { retry_first: Duration::from_mins(10), ..ConsumerConfig::default() };
    let handler: Arc<dyn Handler> = Arc::clone(writer) as _;
    let consumer = world.consumer(name, config).on("payments.processed", handler).build();
    tokio::spawn(async move { consumer.run().await })
}

fn relaying(world: &World) -> tokio::task::JoinHandle<()> {
    let relay = world.relay();
    tokio::spawn(async move { relay.run().await })
}

/// A poison message: its neighbours go on at once, later ones of its key wait for its last attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_blocks_nobody_and_can_be_replayed() {
    let world = World::start().await;
    let writer = Arc::new(Writer::default());
    let (poisoned, neighbour) = neighbours();
    let events = world.publish(&[poisoned, neighbour, poisoned, neighbour]).await;
    writer.poison.lock().push(events[0].id);
    let running = [relaying(&world), start(&world, "test", &writer)];

    let effects: Vec<_> = world.await_effects(3).await.into_iter().map(|effect| effect.0).collect();
    assert_eq!(effects, [events[1].id, events[3].id, events[2].id]);
    let operator = Operator::new(world.relay.clone(), Arc::clone(&world.bus));
    let dead = operator.dead(Some("test"), 10).await.unwrap();
    assert_eq!((dead.len(), dead[0].event_id, dead[0].attempts), (1, events[0].id, 3));
    assert_eq!(dead[0].error, "it is poison");

    writer.poison.lock().clear();
    assert_eq!(operator.dead_replay(Some(events[0].id), None).await.unwrap().again, 1);
    assert_eq!(world.await_effects(4).await[3].0, events[0].id);
    assert!(operator.dead(None, 10).await.unwrap().is_empty());
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

/// What is no event cannot be tried again, but removed.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_a_dead_letter_until_it_is_discarded() {
    let world = World::start().await;
    let running = start(&world, "test", &Arc::new(Writer::default()));
    let key = Uuid::now_v7();
    let record =
        Record { topic: "payments.processed".into(), key, id: key, value: "no event".into() };
    world.bus.append(&[record]).await.unwrap();
    let operator = Operator::new(world.relay.clone(), Arc::clone(&world.bus));
    let started = tokio::time::Instant::now();
    while operator.dead(None, 10).await.unwrap().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(20), "it is given up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let dead = operator.dead(None, 10).await.unwrap().remove(0);

    let replayed = operator.dead_replay(Some(dead.event_id), None).await.unwrap();
    assert_eq!(replayed, Replayed { again: 0, unreadable: 1 });
    assert_eq!(operator.dead_discard(None, Some("another")).await.unwrap(), 0);
    assert_eq!(operator.dead_discard(Some(dead.event_id), None).await.unwrap(), 1);
    assert!(operator.dead(None, 10).await.unwrap().is_empty());
    running.abort();
}

/// A handler that panics, or never ends, has failed like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_or_hangs_blocks_nobody() {
    let world = World::start().await;
    let events = world.publish(&[Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()]).await;
    let rough = Rough { panics: events[0].id, hangs: events[1].id };
    let config = ConsumerConfig {
        handler_timeout: Duration::from_millis(200),
        attempts_max: 2,
        retry_first: Duration::from_millis(20),
        ..ConsumerConfig::default()
    };
    let consumer = world.consumer("test", config).on("payments.processed", Arc::new(rough)).build();
    let running = [relaying(&world), tokio::spawn(async move { consumer.run().await })];

    assert_eq!(world.await_effects(1).await[0].0, events[2].id);
    let operator = Operator::new(world.relay.clone(), Arc::clone(&world.bus));
    let started = tokio::time::Instant::now();
    while operator.dead(None, 10).await.unwrap().len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(20), "they are given up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Others wait for a handler that hangs once, not once more when they are taken up one by one.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_hangs_has_one_attempt_before_others_go_on() {
    let world = World::start().await;
    let (slow, neighbour) = neighbours();
    let events = world.publish(&[slow, neighbour]).await;
    let handler = Arc::new(Hanging { hangs: events[0].id, ..Hanging::default() });
    let config = ConsumerConfig {
        handler_timeout: Duration::from_millis(300),
        retry_first: Duration::from_mins(1),
        ..ConsumerConfig::default()
    };
    let consumer = world.consumer("test", config);
    let consumer = consumer.on("payments.processed", Arc::clone(&handler) as _).build();
    let running = [relaying(&world), tokio::spawn(async move { consumer.run().await })];

    assert_eq!(world.await_effects(1).await[0].0, events[1].id);
    assert_eq!(handler.hung.load(Ordering::Relaxed), 1);
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Of two that were put aside, the one that hangs again does not hold up the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_hangs_holds_up_no_other() {
    let world = World::start().await;
    let events = world.publish(&[Uuid::now_v7(), Uuid::now_v7()]).await;
    let handler = Arc::new(Hanging { hangs: events[0].id, ..Hanging::default() });
    handler.fails.store(true, Ordering::Relaxed);
    let config = ConsumerConfig {
        // Longer than the patience of the test.
        handler_timeout: Duration::from_mins(5),
        retry_first: Duration::from_secs(2),
        ..ConsumerConfig::default()
    };
    let consumer = world.consumer("test", config);
    let consumer = consumer.on("payments.processed", Arc::clone(&handler) as _).build();
    let running = [relaying(&world), tokio::spawn(async move { consumer.run().await })];
    while world.count("SELECT count(*) FROM parked_events").await < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // One hangs from now on; the time of the other comes after that.
    let mut later = world.relay.connection().await.unwrap();
    sqlx::query(
        "UPDATE parked_events SET next_attempt_at = next_attempt_at + interval '2 s'
         WHERE event_id = $1",
    )
    .bind(events[1].id)
    .execute(&mut *later)
    .await
    .unwrap();
    handler.fails.store(false, Ordering::Relaxed);

    assert_eq!(world.await_effects(1).await[0].0, events[1].id);
    assert_eq!(handler.hung.load(Ordering::Relaxed), 1, "it hung before, and still does");
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Fails at everything while it is told to, and then hangs at one event.
#[derive(Default)]
struct Hanging {
    hangs: Uuid,
    hung: AtomicU32,
    fails: AtomicBool,
}

#[async_trait]
impl Handler for Hanging {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Event,
    ) -> Result<(), HandlerError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("it was told to").into());
        }
        if event.id == self.hangs {
            self.hung.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
        Writer::default().handle(transaction, event).await
    }
}

struct Rough {
    panics: Uuid,
    hangs: Uuid,
}

#[async_trait]
impl Handler for Rough {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Event,
    ) -> Result<(), HandlerError> {
        assert!(event.id != self.panics, "it was told to");
        if event.id == self.hangs {
            std::future::pending::<()>().await;
        }
        Writer::default().handle(transaction, event).await
    }
}

/// Two keys of one partition.
fn neighbours() -> (Uuid, Uuid) {
    let one = Uuid::now_v7();
    let mut bytes = *one.as_bytes();
    bytes[14] ^= 0xff;
    (one, Uuid::from_bytes(bytes))
}

/// Two relays and three consumers at once, which come and go: once each, in the order of its key.
#[tokio::test(flavor = "multi_thread")]
async fn consumers_share_the_work_and_take_over_from_each_other() {
    let world = World::start().await;
    let writer = Arc::new(Writer::default());
    let keys: Vec<_> = (0..40).map(|_| Uuid::now_v7()).collect();
    let relays = [relaying(&world), relaying(&world)];
    let mut consumers = Vec::new();
    for _ in 0..3 {
        consumers.push(start(&world, "test", &writer));
    }
    let mut published = Vec::new();
    for round in 0..30 {
        published.extend(world.publish(&keys).await);
        if round % 6 == 5 {
            consumers.remove(0).abort();
            consumers.push(start(&world, "test", &writer));
        }
    }

    let effects = world.await_effects(published.len()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.effects().await.len(), published.len(), "once each");
    for key in keys {
        let told: Vec<_> = published.iter().filter(|event| event.subject == key).collect();
        let done: Vec<_> = effects.iter().filter(|effect| effect.1 == key).collect();
        assert!(told.iter().map(|event| event.id).eq(done.iter().map(|effect| effect.0)), "{key}");
    }
    let shares = world
        .count("SELECT count(DISTINCT member) FROM consumer_positions WHERE member IS NOT NULL")
        .await;
    assert_eq!(shares, 3);
    relays.iter().chain(&consumers).for_each(tokio::task::JoinHandle::abort);
}

/// L-47: each consumer hears of everything, whatever others of other names do.
#[tokio::test(flavor = "multi_thread")]
async fn consumers_of_different_names_each_take_everything_up() {
    let world = World::start().await;
    let writer = Arc::new(Writer::default());
    world.publish(&[Uuid::now_v7(), Uuid::now_v7()]).await;
    let running =
        [relaying(&world), start(&world, "one", &writer), start(&world, "other", &writer)];

    world.await_effects(4).await;
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Replay from a point in time, while the consumer runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_up_again_what_was_appended_since() {
    let world = World::start().await;
    let writer = Arc::new(Writer::default());
    let running = [relaying(&world), start(&world, "test", &writer)];
    world.publish(&[Uuid::now_v7()]).await;
    world.await_effects(1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let since = chrono::Utc::now();
    let later = world.publish(&[Uuid::now_v7(), Uuid::now_v7()]).await;
    world.await_effects(3).await;

    let operator = Operator::new(world.relay.clone(), Arc::clone(&world.bus));
    let consumers = operator.replay("payments.processed", since, Some("test")).await.unwrap();

    assert_eq!(consumers, ["webhooks/test"]);
    let effects = world.await_effects(5).await;
    let again: BTreeSet<_> = effects[3..].iter().map(|effect| effect.0).collect();
    assert_eq!(again, later.iter().map(|event| event.id).collect());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.effects().await.len(), 5);
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A consumer that was away for longer than the bus keeps records says how many it never saw. One
/// that is new has lost nothing; nor has one that an earlier program had begin at 0.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_removed_before_a_consumer_came_are_counted_as_lost() {
    measure();
    let world = World::start().await;
    let writer = Arc::new(Writer::default());
    let key = Uuid::now_v7();
    let relay = relaying(&world);
    let away = start(&world, "away", &writer);
    world.publish(&[key]).await;
    world.await_effects(1).await;
    away.abort();
    let _ = away.await;
    world.publish(&[key; 3]).await;
    while world.count("SELECT count(*) FROM bus_records").await < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.bus.trim(Duration::ZERO).await.unwrap();
    world.publish(&[key]).await;

    let mut connection = world.listener.connection().await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO event_sourcing.consumer_positions (consumer, topic, partition, position)
         SELECT 'earlier', 'payments.processed', generate_series(0, 15), 0",
    )
    .execute(&mut *connection)
    .await
    .unwrap();

    let running = ["away", "new", "earlier"].map(|name| start(&world, name, &writer));
    world.await_effects(4).await;
    // The count follows the commit.
    tokio::time::sleep(Duration::from_millis(200)).await;

    assert_eq!(metric("events_consumer_lost_total", "away"), Some(3.0));
    assert_eq!(metric("events_consumer_lost_total", "new"), None);
    assert_eq!(metric("events_consumer_lost_total", "earlier"), None);
    running.iter().chain([&relay]).for_each(tokio::task::JoinHandle::abort);
}

/// What waits for a consumer is seen also while no process of it runs; what it put aside, too, and
/// not counted as taken up.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_stands_still_is_seen() {
    measure();
    let world = World::start().await;
    let writer = Arc::new(Writer::default());
    let relay = relaying(&world);
    let running = start_slowly(&world, "still", &writer);
    world.publish(&[Uuid::now_v7()]).await;
    world.await_effects(1).await;
    let poison = processed(Uuid::now_v7());
    writer.poison.lock().push(poison.id);
    world.publish_all(&[poison]).await;
    await_metric("events_consumer_retrying", |retrying| retrying > 0.0).await;
    await_metric("events_consumer_lag_seconds", |lag| lag <= 0.0).await;
    assert_eq!(metric("events_consumed_total", "still"), Some(1.0));

    running.abort();
    let _ = running.await;
    world.publish(&[Uuid::now_v7()]).await;
    await_metric("events_consumer_lag_seconds", |lag| lag > 0.0).await;
    relay.abort();
}

async fn await_metric(name: &str, is_so: impl Fn(f64) -> bool) {
    let started = tokio::time::Instant::now();
    while !metric(name, "still").is_some_and(&is_so) {
        assert!(started.elapsed() < Duration::from_secs(30), "{name}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// T-52: who begins with the newest hears nothing of the past.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_may_begin_with_the_newest() {
    let world = World::start().await;
    let relay = relaying(&world);
    world.publish(&[Uuid::now_v7()]).await;
    while world.count("SELECT count(*) FROM bus_records").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let config = ConsumerConfig { start: Start::Newest, ..ConsumerConfig::default() };
    let consumer = world.consumer("test", config);
    let consumer = consumer.on("payments.processed", Arc::new(Writer::default())).build();
    let consuming = tokio::spawn(async move { consumer.run().await });
    while world.count("SELECT count(*) FROM consumer_positions").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let newest = world.publish(&[Uuid::now_v7()]).await;

    assert_eq!(world.await_effects(1).await[0].0, newest[0].id);
    relay.abort();
    consuming.abort();
}

/// B-36, L-45: the same flow on NATS, over a broker that is killed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nats_may_be_killed_and_nothing_is_lost_or_done_twice() {
    let mut server = NatsServer::start();
    let mut world = World::start().await;
    world.bus = server.bus().await;
    let writer = Arc::new(Writer::default());
    let keys: Vec<_> = (0..10).map(|_| Uuid::now_v7()).collect();
    let running = [relaying(&world), start(&world, "test", &writer)];

    let mut published = Vec::new();
    for round in 0..20 {
        published.extend(world.publish(&keys).await);
        match round {
            5 => server.kill(),
            12 => server.restart(),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    let effects = world.await_effects(published.len()).await;

    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.effects().await.len(), published.len());
    for key in keys {
        let told: Vec<_> = published.iter().filter(|event| event.subject == key).collect();
        let done: Vec<_> = effects.iter().filter(|effect| effect.1 == key).collect();
        assert!(told.iter().map(|event| event.id).eq(done.iter().map(|effect| effect.0)), "{key}");
    }
    running.iter().for_each(tokio::task::JoinHandle::abort);
}
