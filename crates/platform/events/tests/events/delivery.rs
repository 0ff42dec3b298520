//! Each event takes effect once, in the order of its key.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::{ConsumerConfig, Event, Handler, HandlerError, Operator, Start};
use storage::Transaction;
use uuid::Uuid;

use crate::brokers::NatsServer;
use crate::world::{World, Writer};

/// L-54, K-25, K-31: what was committed is delivered, once, in order.
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
    assert_eq!(operator.dead_replay(Some(events[0].id), None).await.unwrap(), 1);
    assert_eq!(world.await_effects(4).await[3].0, events[0].id);
    assert!(operator.dead(None, 10).await.unwrap().is_empty());
    running.iter().for_each(tokio::task::JoinHandle::abort);
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
