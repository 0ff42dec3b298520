//! From a commit to a consumer, at a steady rate; and producers beside a consumer that stands still.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use auth::TenantId;
use events::{
    Bus, Consumer, ConsumerConfig, Event, Handler, HandlerError, Outbox, PostgresBus, Relay,
};
use storage::Transaction;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{House, Roles, completed, config, row, say};
use crate::measure::{float, percentile_ms};
use crate::report::Row;

/// Events a second of the steady rate.
const RATE: u32 = 1_000;

/// Transactions under way at a time.
const PRODUCERS: u32 = 8;

pub(super) async fn run(house: &House, seconds: u32) -> Result<Vec<Row>> {
    say("from commit to consumer, 1,000 a second");
    let mut latencies = steady(&house.roles("flow").await?, seconds).await?;
    latencies.sort_unstable();
    say("producers alone, and beside a consumer that stands still");
    let alone = produce(house, "flow_alone", false, seconds).await?;
    let stalled = produce(house, "flow_stalled", true, seconds).await?;
    Ok(vec![
        row("commit_to_consumer_p50_ms", percentile_ms(&latencies, 50), "ms"),
        row("commit_to_consumer_p99_ms", percentile_ms(&latencies, 99), "ms"),
        row("producer_eps_stalled", stalled, "1/s").beside("without a consumer", alone),
    ])
}

/// When each event was committed and when it was handed to its consumer.
#[derive(Default)]
struct Times {
    committed: Mutex<HashMap<Uuid, Instant>>,
    handled: Mutex<HashMap<Uuid, Instant>>,
}

#[async_trait]
impl Handler for Times {
    async fn handle(&self, _: &mut Transaction, event: &Event) -> Result<(), HandlerError> {
        let now = Instant::now();
        let mut handled = self.handled.lock().unwrap_or_else(PoisonError::into_inner);
        handled.entry(event.id).or_insert(now);
        Ok(())
    }
}

/// Takes the first event up, and never ends.
struct Stalled;

#[async_trait]
impl Handler for Stalled {
    async fn handle(&self, _: &mut Transaction, _: &Event) -> Result<(), HandlerError> {
        pending().await
    }
}

async fn steady(roles: &Roles, seconds: u32) -> Result<Vec<Duration>> {
    let times = Arc::new(Times::default());
    let _running = running(roles, Some(Arc::clone(&times) as Arc<dyn Handler>));
    let outbox = Outbox::new(&roles.producer);
    let mut producers = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    // The first second is for all to find their places.
    for tick in 0..(seconds + 1) * RATE {
        ticks.tick().await;
        let (producer, outbox) = (roles.producer.clone(), outbox.clone());
        let times = Arc::clone(&times);
        producers.spawn(async move {
            let id = publish(&producer, &outbox).await?;
            if tick >= RATE {
                let mut committed = times.committed.lock().unwrap_or_else(PoisonError::into_inner);
                committed.insert(id, Instant::now());
            }
            anyhow::Ok(())
        });
    }
    while let Some(produced) = producers.join_next().await {
        produced??;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let committed = times.committed.lock().unwrap_or_else(PoisonError::into_inner);
    let handled = times.handled.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = committed.iter().map(|(id, at)| {
        // One that never came waited for ever.
        handled.get(id).map_or(Duration::MAX, |handled| handled.saturating_duration_since(*at))
    });
    Ok(waited.collect())
}

/// Events a second that producers commit as fast as they can.
async fn produce(house: &House, name: &str, stalled: bool, seconds: u32) -> Result<f64> {
    let roles = house.roles(name).await?;
    let _running = running(&roles, stalled.then(|| Arc::new(Stalled) as Arc<dyn Handler>));
    let outbox = Outbox::new(&roles.producer);
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut producers = JoinSet::new();
    for _ in 0..PRODUCERS {
        let (producer, outbox) = (roles.producer.clone(), outbox.clone());
        producers.spawn(async move {
            let mut published = 0;
            while Instant::now() < end {
                publish(&producer, &outbox).await?;
                published += 1;
            }
            anyhow::Ok(published)
        });
    }
    let mut published = 0;
    while let Some(produced) = producers.join_next().await {
        published += produced??;
    }
    Ok(float(published) / f64::from(seconds))
}

/// A relay, and a consumer if there is a handler, for as long as the set lives.
fn running(roles: &Roles, handler: Option<Arc<dyn Handler>>) -> JoinSet<()> {
    let bus: Arc<dyn Bus> = Arc::new(PostgresBus::new(roles.relay.clone()));
    let relay = Relay::new(roles.relay.clone(), bus, config());
    let mut running = JoinSet::new();
    running.spawn(async move { relay.run().await });
    if let Some(handler) = handler {
        let bus = Arc::new(PostgresBus::new(roles.consumer.clone()));
        let database = roles.consumer.clone();
        let forever = Duration::from_hours(1);
        let config = ConsumerConfig {
            lease: forever,
            handler_timeout: forever,
            ..ConsumerConfig::default()
        };
        let consumer = Consumer::builder("bench", database, bus, config);
        let consumer = consumer.on("transaction.completed", handler).build();
        running.spawn(async move { consumer.run().await });
    }
    running
}

async fn publish(producer: &storage::Database, outbox: &Outbox) -> Result<Uuid> {
    let event = completed(Uuid::now_v7())?;
    let mut transaction = producer.begin(TenantId::DEFAULT).await?;
    outbox.publish(&mut transaction, std::slice::from_ref(&event)).await?;
    transaction.commit().await?;
    Ok(event.id)
}
