//! Consumers and topics that are no more.

use std::sync::Arc;
use std::time::Duration;

use events::{ConsumerConfig, Operator};
use uuid::Uuid;

use crate::world::{World, Writer, measure, metric};

const RETIRED: &str = "SELECT count(*) FROM consumer_positions WHERE topic = 'retired'";

fn start(world: &World, name: &str) -> tokio::task::JoinHandle<()> {
    let config =
        ConsumerConfig { heartbeat: Duration::from_millis(100), ..ConsumerConfig::default() };
    let consumer = world.consumer(name, config);
    let consumer = consumer.on("payments.processed", Arc::new(Writer::default())).build();
    tokio::spawn(async move { consumer.run().await })
}

/// A topic that a consumer handles no more is not late for it; one that an older process of it still
/// reads is left to that.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_forgets_topics_that_it_handles_no_more() {
    let world = World::start().await;
    let mut connection = world.listener.connection().await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO event_sourcing.consumer_positions
             (consumer, topic, partition, position, member, lease_until)
         VALUES ('test', 'retired', 0, 5, NULL, '-infinity'),
                ('test', 'retired', 1, 5, gen_random_uuid(), 'infinity'),
                ('other', 'retired', 0, 5, NULL, '-infinity')",
    )
    .execute(&mut *connection)
    .await
    .unwrap();

    let running = start(&world, "test");
    let started = tokio::time::Instant::now();
    while world.count(RETIRED).await > 2 {
        assert!(started.elapsed() < Duration::from_secs(20), "it is forgotten");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.count(RETIRED).await, 2);
    running.abort();
}

/// The lag of a consumer that is gone for good ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_gone_can_be_forgotten() {
    measure();
    let world = World::start().await;
    let operator = Operator::new(world.relay.clone(), Arc::clone(&world.bus));
    let relay = world.relay();
    let relay = tokio::spawn(async move { relay.run().await });
    let running = start(&world, "gone");
    world.publish(&[Uuid::now_v7()]).await;
    world.await_effects(1).await;
    assert!(operator.forget("gone").await.unwrap().is_empty(), "it runs");

    running.abort();
    let _ = running.await;
    world.publish(&[Uuid::now_v7()]).await;
    await_lag(|lag| lag > 0.0).await;
    assert_eq!(operator.forget("gone").await.unwrap(), ["webhooks/gone"]);
    await_lag(|lag| lag <= 0.0).await;
    assert!(operator.consumers().await.unwrap().is_empty());
    relay.abort();
}

async fn await_lag(is_so: impl Fn(f64) -> bool) {
    let started = tokio::time::Instant::now();
    while !metric("events_consumer_lag_seconds", "gone").is_some_and(&is_so) {
        assert!(started.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
