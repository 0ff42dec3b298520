//! How fast a full outbox is emptied.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use events::{Bus, PostgresBus, Record, Relay};
use sqlx::Row as _;
use storage::Database;
use uuid::Uuid;

use super::{House, brokers, config, fill, pending, row, say};
use crate::measure::float;
use crate::report::Row;

/// The plain way: one transaction for each event, oldest first.
const PEER: &str = "polling row by row";

pub(super) async fn run(
    house: &House,
    folder: &Path,
    count: usize,
    seconds: u32,
) -> Result<Vec<Row>> {
    say("polling row by row");
    let peer = peer(house, seconds).await?;
    say("the relay to PostgreSQL");
    let postgres = relay(house, "relay_postgres", None, count).await?;
    say("the relay to NATS");
    let nats = brokers::nats(folder).await?;
    let nats = relay(house, "relay_nats", Some(nats.bus), count).await?;
    #[cfg_attr(not(feature = "kafka"), expect(unused_mut, reason = "Kafka is left out"))]
    let mut rows = vec![
        row("relay_eps_postgres", postgres, "1/s").beside(PEER, peer),
        row("relay_eps_nats", nats, "1/s").beside(PEER, peer),
    ];
    #[cfg(feature = "kafka")]
    {
        say("the relay to Kafka");
        let kafka = brokers::kafka()?;
        let kafka = relay(house, "relay_kafka", Some(kafka.bus), count).await?;
        rows.push(row("relay_eps_kafka", kafka, "1/s").beside(PEER, peer));
    }
    Ok(rows)
}

/// Events a second that a relay brings from an outbox with `count` to a bus, that of PostgreSQL if
/// no other.
async fn relay(
    house: &House,
    name: &'static str,
    bus: Option<Arc<dyn Bus>>,
    count: usize,
) -> Result<f64> {
    let roles = house.roles(name).await?;
    fill(&roles, count).await?;
    house.tidy(name).await?;
    let bus = bus.unwrap_or_else(|| Arc::new(PostgresBus::new(roles.relay.clone())));
    let relay = Relay::new(roles.relay.clone(), bus, config());
    let started = Instant::now();
    let relaying = tokio::spawn(async move { relay.run().await });
    while pending(&roles.relay).await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let elapsed = started.elapsed();
    relaying.abort();
    Ok(float(count as u64) / elapsed.as_secs_f64())
}

/// Events a second of the plain loop, to the bus in PostgreSQL.
async fn peer(house: &House, seconds: u32) -> Result<f64> {
    let roles = house.roles("relay_peer").await?;
    fill(&roles, 20_000).await?;
    house.tidy("relay_peer").await?;
    let bus = PostgresBus::new(roles.relay.clone());
    let (started, mut moved) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(seconds.into())
        && move_one(&roles.relay, &bus).await?
    {
        moved += 1;
    }
    Ok(float(moved) / started.elapsed().as_secs_f64())
}

async fn move_one(database: &Database, bus: &PostgresBus) -> Result<bool> {
    let mut transaction = database.begin_worker().await?;
    let found = sqlx::query(
        "SELECT id, aggregate_id, topic, payload::text FROM outbox_events WHERE status = 'PENDING'
         ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED",
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(event) = found else { return Ok(false) };
    let id: Uuid = event.try_get(0)?;
    let (key, topic, value) = (event.try_get(1)?, event.try_get(2)?, event.try_get(3)?);
    bus.append(&[Record { topic, key, id, value }]).await?;
    sqlx::query(
        "UPDATE outbox_events SET status = 'PUBLISHED', published_at = now() WHERE id = $1",
    )
    .bind(id)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(true)
}
