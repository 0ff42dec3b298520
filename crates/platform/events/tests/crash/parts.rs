//! What runs in the processes that are killed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth::TenantId;
use chrono::{DateTime, Utc};
use contracts::payments::v1::PaymentProcessed;
use events::{
    Bus, BusError, Consumer, ConsumerConfig, Delivery, Event, Handler, HandlerError, Outbox,
    Partition, Reader, Record, Relay, RelayConfig,
};
use sqlx::Row;
use storage::{Config, Database, Transaction};
use uuid::Uuid;

use crate::{any, broker};

/// Things that change.
const KEYS: u128 = 40;

/// What the parts write to. A change of a thing has the next number; an effect notes it.
pub(crate) const TABLES: &str = "
    CREATE TABLE payments.thing (key uuid PRIMARY KEY, changes bigint NOT NULL DEFAULT 0);
    CREATE TABLE webhooks.effect (
        place bigint GENERATED ALWAYS AS IDENTITY, key uuid NOT NULL, number bigint NOT NULL
    );
    ALTER TABLE payments.thing OWNER TO payments;
    ALTER TABLE webhooks.effect OWNER TO webhooks;";

pub(crate) const COUNTS: &str = "
    SELECT coalesce((SELECT sum(changes) FROM payments.thing), 0)::bigint,
           (SELECT count(*) FROM webhooks.effect)";

/// Things whose effects are not one for each change, in their order.
pub(crate) const WRONG: &str = "
    SELECT format('%s: %s changes, effects %s', thing.key, thing.changes, done.numbers)
    FROM payments.thing LEFT JOIN (
        SELECT key, array_agg(number ORDER BY place) AS numbers FROM webhooks.effect GROUP BY key
    ) AS done USING (key)
    WHERE done.numbers IS DISTINCT FROM ARRAY(SELECT generate_series(1, thing.changes))";

/// Appended more often than once, where the bus is ours to look into.
pub(crate) const DELIVERED: &str = "
    SELECT (SELECT count(*) FROM event_sourcing.bus_records)
         - (SELECT count(DISTINCT value::json ->> 'id') FROM event_sourcing.bus_records)";

/// Runs the part that the environment names, until it is killed.
pub(crate) async fn run() {
    let of = |name: &str| std::env::var(name).unwrap();
    let storage = Config { host: of("MALHA_CRASH_HOST"), ..Config::default() };
    let address = of("MALHA_CRASH_BROKER");
    let open = |role: &str| Database::open(role, &storage);
    match of("MALHA_CRASH_PART").as_str() {
        "producer" => produce(&open("payments")).await,
        "relay" => {
            let database = open("events");
            let bus = Arc::new(Unruly(broker::bus(&address, &database).await));
            let retry_max = Duration::from_secs(1);
            let config = RelayConfig { batch_max: 50, retry_max, ..RelayConfig::default() };
            Relay::new(database, bus, config).run().await;
        }
        _ => {
            let database = open("webhooks");
            let bus = Arc::new(Unruly(broker::bus(&address, &database).await));
            let config = ConsumerConfig {
                lease: Duration::from_secs(2),
                heartbeat: Duration::from_millis(200),
                retry_first: Duration::from_millis(50),
                retry_max: Duration::from_millis(500),
                attempts_max: 1_000,
                batch_max: 20,
                ..ConsumerConfig::default()
            };
            let consumer = Consumer::builder("crash", database, bus, config);
            consumer.on("payments.processed", Arc::new(Note)).build().run().await;
        }
    }
}

async fn produce(database: &Database) {
    let outbox = Outbox::new(database);
    loop {
        if change(database, &outbox).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Changes a thing and tells of it, in one transaction.
async fn change(database: &Database, outbox: &Outbox) -> Result<(), storage::Error> {
    let key = Uuid::from_u128(rand::random_range(1..=KEYS));
    let mut transaction = database.begin(TenantId::DEFAULT).await?;
    let number: i64 = sqlx::query(
        "INSERT INTO thing (key, changes) VALUES ($1, 1)
         ON CONFLICT (key) DO UPDATE SET changes = thing.changes + 1 RETURNING changes",
    )
    .bind(key)
    .fetch_one(&mut *transaction)
    .await?
    .get(0);
    let told = PaymentProcessed {
        payment_id: key.to_string(),
        reason: number.to_string(),
        ..PaymentProcessed::default()
    };
    let event = Event::new(TenantId::DEFAULT, Utc::now(), &told)?;
    outbox.publish(&mut transaction, &[event]).await?;
    Ok(transaction.commit().await?)
}

/// Notes the change; fails now and then, after it has written.
struct Note;

#[async_trait]
impl Handler for Note {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Event,
    ) -> Result<(), HandlerError> {
        let told: PaymentProcessed = event.decode()?;
        sqlx::query("INSERT INTO effect (key, number) VALUES ($1, $2)")
            .bind(event.subject)
            .bind(told.reason.parse::<i64>()?)
            .execute(&mut **transaction)
            .await?;
        if rand::random_ratio(1, 200) {
            Err(std::io::Error::other("bad luck").into())
        } else {
            Ok(())
        }
    }
}

/// A bus that forgets to say that it took a batch, and delivers again what it delivered before.
struct Unruly(Arc<dyn Bus>);

#[async_trait]
impl Bus for Unruly {
    async fn append(&self, records: &[Record]) -> Result<(), BusError> {
        self.0.append(records).await?;
        if rand::random_ratio(1, 20) {
            return Err(BusError::Unavailable("it forgot".into()));
        }
        Ok(())
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, BusError> {
        Ok(Box::new(UnrulyReader { reader: self.0.reader().await?, delivered: Vec::new() }))
    }

    async fn position_at(
        &self,
        partition: &Partition,
        time: DateTime<Utc>,
    ) -> Result<u64, BusError> {
        self.0.position_at(partition, time).await
    }

    async fn unread_since(
        &self,
        from: &[(Partition, u64)],
    ) -> Result<Option<DateTime<Utc>>, BusError> {
        self.0.unread_since(from).await
    }

    fn leaves_gaps(&self) -> bool {
        self.0.leaves_gaps()
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.0.ping().await
    }

    async fn trim(&self, age: Duration) -> Result<u64, BusError> {
        self.0.trim(age).await
    }
}

struct UnrulyReader {
    reader: Box<dyn Reader>,
    delivered: Vec<Delivery>,
}

#[async_trait]
impl Reader for UnrulyReader {
    async fn assign(&mut self, from: &[(Partition, u64)]) -> Result<(), BusError> {
        self.delivered.clear();
        self.reader.assign(from).await
    }

    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, BusError> {
        let mut found = self.reader.next(max).await?;
        // An earlier one, between any two of these: repeated and out of order.
        if !self.delivered.is_empty() && rand::random_ratio(1, 5) {
            let again = self.delivered[rand::random_range(0..self.delivered.len())].clone();
            found.insert(any(&[0, found.len() / 2, found.len()]), again);
        }
        self.delivered.clone_from(&found);
        Ok(found)
    }
}
