//! The outbox and the relay.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use auth::TenantId;
use contracts::payments::v1::PaymentProcessed;
use events::{Bus, ConsumerConfig, Event, Operator, Outbox, Relay, RelayConfig};
use metrics_exporter_prometheus::PrometheusBuilder;
use uuid::Uuid;

use crate::faults::Faulty;
use crate::world::{World, Writer, processed, quick};

const PENDING: &str = "SELECT count(*) FROM outbox_events WHERE status = 'PENDING'";
const PUBLISHED: &str = "SELECT count(*) FROM outbox_events WHERE status = 'PUBLISHED'";
const FAILED: &str = "SELECT count(*) FROM outbox_events WHERE status = 'FAILED'";
const ON_BUS: &str = "SELECT count(*) FROM bus_records";

/// Rounds of one relay until nothing is left that can be moved.
async fn drain(relay: &Relay) -> usize {
    let mut moved = 0;
    loop {
        let both = relay.round(0).await.unwrap() + relay.round(8).await.unwrap();
        moved += both;
        if both == 0 {
            return moved;
        }
    }
}

/// K-25: all of it happens, or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_transaction_that_rolls_back_is_never_told() {
    let world = World::start().await;
    let outbox = Outbox::new(&world.producer);
    let mut transaction = world.producer.begin(TenantId::DEFAULT).await.unwrap();
    outbox.publish(&mut transaction, &[processed(Uuid::now_v7())]).await.unwrap();
    transaction.rollback().await.unwrap();

    assert_eq!(drain(&world.relay()).await, 0);
    assert_eq!(world.count("SELECT count(*) FROM outbox_events").await, 0);
}

/// K-28: the columns of the promise, filled as it has them.
#[tokio::test(flavor = "multi_thread")]
async fn a_published_event_stays_in_the_outbox_with_its_time() {
    let world = World::start().await;
    let key = Uuid::now_v7();
    let event = world.publish(&[key]).await.remove(0);
    drain(&world.relay()).await;

    let found = world
        .count(
            "SELECT count(*) FROM event_sourcing.outbox_events
             WHERE aggregate_type = 'payment' AND event_type = 'payments.processed'
               AND payload ->> 'status' = 'COMPLETED' AND metadata ->> 'source' = '/payments'
               AND status = 'PUBLISHED' AND retry_count = 0 AND max_retries = 5
               AND published_at >= created_at AND error_message IS NULL",
        )
        .await;
    assert_eq!(found, 1);
    assert_eq!(event.subject, key);
}

/// K-29, and what it overlooked: the check as it is promised made the sixth failure
/// impossible to write, so that the event was tried for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_failure_is_writable_and_the_event_holds_back_its_own_aggregate_alone() {
    let world = World::start().await;
    let bus = Faulty::new(Arc::clone(&world.bus));
    let config = RelayConfig { retry_first: Duration::from_millis(1), ..quick() };
    let relay = Relay::new(world.relay.clone(), Arc::clone(&bus) as Arc<dyn Bus>, config);
    let (held, free) = (Uuid::now_v7(), Uuid::now_v7());
    let first = world.publish(&[held, free, held, free]).await.remove(0);
    bus.refused.lock().push(first.id);

    for _ in 0..20 {
        drain(&relay).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }

    assert_eq!(world.count(FAILED).await, 1);
    assert_eq!(
        world.count("SELECT retry_count::bigint FROM outbox_events WHERE status = 'FAILED'").await,
        5
    );
    assert_eq!(world.count(PUBLISHED).await, 2, "the other aggregate goes on");
    assert_eq!(world.count(PENDING).await, 1, "the later one of the same aggregate waits");

    bus.refused.lock().clear();
    let operator = Operator::new(world.relay.clone(), Arc::clone(&bus) as Arc<dyn Bus>);
    assert_eq!(operator.failed(10).await.unwrap()[0].event_id, first.id);
    assert_eq!(operator.redrive(None).await.unwrap(), 1);
    drain(&relay).await;
    assert_eq!(world.count(PUBLISHED).await, 4);
}

/// One that will never be taken can be left out. What it holds back does not count as late: that is
/// told of a relay or bus that is away.
#[tokio::test]
async fn an_event_that_was_given_up_can_be_skipped_and_makes_nothing_late() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _measuring = metrics::set_default_local_recorder(&recorder);
    let world = World::start().await;
    let bus = Faulty::new(Arc::clone(&world.bus));
    let config = RelayConfig { retry_first: Duration::from_millis(1), ..quick() };
    let relay = Relay::new(world.relay.clone(), Arc::clone(&bus) as Arc<dyn Bus>, config);
    let key = Uuid::now_v7();
    let events = world.publish(&[key, key]).await;
    bus.refused.lock().push(events[0].id);
    while world.count(FAILED).await == 0 {
        drain(&relay).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;

    let _ = tokio::time::timeout(Duration::from_millis(500), relay.run()).await;
    let metrics = recorder.handle().render();
    assert!(metrics.contains("events_outbox_pending 1\n"), "{metrics}");
    assert!(metrics.contains("events_outbox_age_seconds 0\n"), "{metrics}");

    let operator = Operator::new(world.relay.clone(), Arc::clone(&bus) as Arc<dyn Bus>);
    assert_eq!(operator.skip(events[1].id).await.unwrap(), None, "it was not given up");
    let data = operator.skip(events[0].id).await.unwrap().unwrap();
    assert!(data.contains(&key.to_string()), "{data}");
    drain(&relay).await;
    assert_eq!((world.count(FAILED).await, world.count(PUBLISHED).await), (0, 1));
}

/// A consumer whose lag nobody can tell keeps neither its other figures nor those of others back.
#[tokio::test]
async fn one_consumer_that_cannot_be_measured_hides_no_other() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _measuring = metrics::set_default_local_recorder(&recorder);
    let world = World::start().await;
    let bus = Faulty::new(Arc::clone(&world.bus));
    bus.silent.lock().push("lost".into());
    let mut connection = world.relay.connection().await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO consumer_positions (consumer, topic, partition, position)
         VALUES ('a', 'here', 0, 0), ('b', 'lost', 0, 0), ('c', 'here', 0, 0)",
    )
    .execute(&mut *connection)
    .await
    .unwrap();

    let relay = Relay::new(world.relay.clone(), Arc::clone(&bus) as Arc<dyn Bus>, quick());
    let _ = tokio::time::timeout(Duration::from_millis(500), relay.run()).await;

    let metrics = recorder.handle().render();
    let has = |name: &str, consumer: &str| {
        let labels = format!("{{service=\"events\",consumer=\"{consumer}\"}}");
        metrics.contains(&format!("{name}{labels} 0\n"))
    };
    for consumer in ["a", "b", "c"] {
        assert!(has("events_consumer_retrying", consumer), "{metrics}");
        assert_eq!(has("events_consumer_lag_seconds", consumer), consumer != "b", "{metrics}");
    }
}

/// Refused while whoever tells it can still do something else; what is taken fits on every bus.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_bus_might_carry_is_refused_at_once() {
    let world = World::start().await;
    let outbox = Outbox::new(&world.producer);
    let event = |bytes: usize| {
        let payment_id = Uuid::now_v7().to_string();
        let message =
            PaymentProcessed { payment_id, reason: "x".repeat(bytes), ..Default::default() };
        Event::new(TenantId::DEFAULT, clock::Clock::system().now(), &message).unwrap()
    };
    let mut transaction = world.producer.begin(TenantId::DEFAULT).await.unwrap();
    let refused = outbox.publish(&mut transaction, &[event(512 << 10)]).await.unwrap_err();
    let reason = std::error::Error::source(&refused).unwrap().to_string();
    assert!(reason.contains("payments.processed") && reason.contains("524288"), "{reason}");

    outbox.publish(&mut transaction, &[event(511 << 10)]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(drain(&world.relay()).await, 1);
}

/// K-27: polling without SKIP LOCKED makes relays wait for each other. Two at once move every event
/// once, and one that stands still with its lanes holds nobody up.
#[tokio::test(flavor = "multi_thread")]
async fn two_relays_share_the_work_and_do_not_wait_for_each_other() {
    let world = World::start().await;
    let keys: Vec<_> = (0..400).map(|_| Uuid::now_v7()).collect();
    world.publish(&keys).await;
    // Half of the lanes are held by a relay that does not come back.
    let mut stuck = world.relay.begin_worker().await.unwrap();
    sqlx::query("SELECT lane FROM outbox_lanes WHERE lane < 8 FOR UPDATE")
        .execute(&mut *stuck)
        .await
        .unwrap();
    let (one, other) = (world.relay(), world.relay());

    let round = || async { tokio::join!(one.round(0), other.round(8)) };
    let (first, second) = tokio::time::timeout(Duration::from_secs(5), round()).await.unwrap();
    let moved = first.unwrap() + second.unwrap();
    let free = keys.iter().filter(|key| key.as_bytes()[15] % 16 >= 8).count();
    assert_eq!(moved, free);

    stuck.rollback().await.unwrap();
    let (first, second) = tokio::join!(drain(&one), drain(&other));
    assert_eq!(moved + first + second, keys.len());
    assert_eq!(world.count(ON_BUS).await, 400, "none twice");
}

/// K-31: while the bus is away nothing is lost and nothing is given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_away_costs_no_event_a_retry() {
    let world = World::start().await;
    let bus = Faulty::new(Arc::clone(&world.bus));
    let relay = Relay::new(world.relay.clone(), Arc::clone(&bus) as Arc<dyn Bus>, quick());
    bus.away.store(true, Ordering::Relaxed);
    world.publish(&[Uuid::now_v7(), Uuid::now_v7()]).await;

    for _ in 0..20 {
        assert!(relay.round(0).await.is_err() || relay.round(8).await.is_err());
    }
    assert!(relay.health().is_err());
    assert_eq!(world.count(PENDING).await, 2);
    assert_eq!(world.count("SELECT sum(retry_count)::bigint FROM outbox_events").await, 0);

    bus.away.store(false, Ordering::Relaxed);
    assert_eq!(drain(&relay).await, 2);
    assert!(relay.health().is_ok());
}

/// A bus that took a batch and could not say so gets it again; each event takes effect once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_the_bus_twice_takes_effect_once() {
    let world = World::start().await;
    let bus = Faulty::new(Arc::clone(&world.bus));
    let relay = Relay::new(world.relay.clone(), Arc::clone(&bus) as Arc<dyn Bus>, quick());
    let keys: Vec<_> = (0..50).map(|_| Uuid::now_v7()).collect();
    world.publish(&keys).await;
    bus.forgetful.store(true, Ordering::Relaxed);
    for lane in [0, 8, 0, 8] {
        let _ = relay.round(lane).await;
    }
    bus.forgetful.store(false, Ordering::Relaxed);
    drain(&relay).await;
    assert!(world.count(ON_BUS).await >= 100);

    let consumer = world.consumer("test", ConsumerConfig::default());
    let consumer = consumer.on("payments.processed", Arc::new(Writer::default())).build();
    let consuming = tokio::spawn(async move { consumer.run().await });
    world.await_effects(keys.len()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.effects().await.len(), keys.len());
    consuming.abort();
}

/// A service adds events in its own name alone, and changes none.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_can_neither_forge_nor_change_events() {
    let world = World::start().await;
    world.publish(&[Uuid::now_v7()]).await;
    let refused = |database: storage::Database, statement: &'static str| async move {
        let mut transaction = database.begin_worker().await.unwrap();
        sqlx::query(statement).execute(&mut *transaction).await.is_err()
    };
    for statement in [
        "UPDATE event_sourcing.outbox_events SET payload = '{}'",
        "DELETE FROM event_sourcing.outbox_events",
        "INSERT INTO event_sourcing.outbox_events
             (aggregate_type, aggregate_id, event_type, payload, tenant_id, topic, producer)
         VALUES ('a', gen_random_uuid(), 't', '{}', gen_random_uuid(), 't', 'payments')",
        "INSERT INTO event_sourcing.bus_records (topic, partition, position, key, value)
         VALUES ('t', 0, 0, gen_random_uuid(), '')",
        "DELETE FROM event_sourcing.inbox_events",
        "UPDATE event_sourcing.bus_partitions SET next_position = 0",
        "SELECT * FROM event_sourcing.outbox_lanes FOR UPDATE",
    ] {
        assert!(refused(world.listener.clone(), statement).await, "{statement}");
    }
    let mut transaction = world.listener.begin_worker().await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM event_sourcing.outbox_events")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(seen, 0, "another service's events");
    // A request of another tenant does not read the producer's own.
    let mut transaction = world.producer.begin(TenantId::from(Uuid::now_v7())).await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM event_sourcing.outbox_events")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(seen, 0, "another tenant's events");
}

/// What was published stays as long as it is kept, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_is_removed() {
    let world = World::start().await;
    world.publish(&[Uuid::now_v7()]).await;
    drain(&world.relay()).await;
    let config = RelayConfig {
        outbox_kept: Duration::ZERO,
        bus_kept: Duration::ZERO,
        ..RelayConfig::default()
    };
    world.publish(&[Uuid::now_v7()]).await;
    let bus = Faulty::new(Arc::clone(&world.bus));
    bus.away.store(true, Ordering::Relaxed);
    let relay = Relay::new(world.relay.clone(), bus, config);

    let _ = tokio::time::timeout(Duration::from_secs(1), relay.run()).await;

    assert_eq!(world.count(PUBLISHED).await, 0);
    assert_eq!(world.count(ON_BUS).await, 0);
    assert_eq!(world.count(PENDING).await, 1, "never what was not published");
}
