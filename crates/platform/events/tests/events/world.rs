//! A service that tells, one that listens, and the relay between them.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use auth::TenantId;
use contracts::payments::v1::{PaymentProcessed, TransactionSummary};
use events::{
    Builder, Bus, Consumer, ConsumerConfig, Event, Handler, HandlerError, Outbox, PostgresBus,
    Relay, RelayConfig,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use sqlx::Row;
use storage::{Database, Transaction};
use testkit::Testkit;
use uuid::Uuid;

/// Longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) producer: Database,
    pub(crate) listener: Database,
    pub(crate) relay: Database,
    pub(crate) bus: Arc<dyn Bus>,
    _kit: Testkit,
}

impl World {
    pub(crate) async fn start() -> Self {
        let kit = Testkit::start().await;
        let storage = kit.storage(&["payments", "webhooks"]).await;
        let relay = Database::open("events", &storage);
        let producer = Database::open("payments", &storage);
        let listener = Database::open("webhooks", &storage);
        prepare(&listener).await;
        let bus: Arc<dyn Bus> = Arc::new(PostgresBus::new(relay.clone()));
        Self { producer, listener, relay, bus, _kit: kit }
    }

    pub(crate) fn relay(&self) -> Relay {
        Relay::new(self.relay.clone(), Arc::clone(&self.bus), quick())
    }

    pub(crate) fn consumer(&self, name: &str, config: ConsumerConfig) -> Builder {
        // As its own service would: with its own role.
        Consumer::builder(name, self.listener.clone(), Arc::clone(&self.bus), config)
    }

    /// Publishes one event for each key, in one transaction.
    pub(crate) async fn publish(&self, keys: &[Uuid]) -> Vec<Event> {
        let events: Vec<_> = keys.iter().map(|key| processed(*key)).collect();
        self.publish_all(&events).await;
        events
    }

    pub(crate) async fn publish_all(&self, events: &[Event]) {
        let outbox = Outbox::new(&self.producer);
        let mut transaction = self.producer.begin(TenantId::DEFAULT).await.unwrap();
        outbox.publish(&mut transaction, events).await.unwrap();
        transaction.commit().await.unwrap();
    }

    /// The effects in the order in which they were made.
    pub(crate) async fn effects(&self) -> Vec<(Uuid, Uuid)> {
        effects(&self.listener).await
    }

    pub(crate) async fn await_effects(&self, count: usize) -> Vec<(Uuid, Uuid)> {
        let started = tokio::time::Instant::now();
        loop {
            let effects = self.effects().await;
            if effects.len() >= count {
                return effects;
            }
            assert!(started.elapsed() < PATIENCE, "{} of {count} effects", effects.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the relay's role sees.
    pub(crate) async fn count(&self, question: &'static str) -> i64 {
        let mut transaction = self.relay.begin_worker().await.unwrap();
        sqlx::query(question).fetch_one(&mut *transaction).await.unwrap().get(0)
    }
}

/// The metrics of all tests of this process: each looks at consumers whose names are its own.
static METRICS: LazyLock<PrometheusHandle> =
    LazyLock::new(|| PrometheusBuilder::new().install_recorder().unwrap());

/// Has metrics kept from now on.
pub(crate) fn measure() {
    LazyLock::force(&METRICS);
}

/// The value of a metric of a consumer, if it has one.
pub(crate) fn metric(name: &str, consumer: &str) -> Option<f64> {
    let (of_name, of_consumer) = (format!("{name}{{"), format!("consumer=\"{consumer}\""));
    let rendered = METRICS.render();
    let line =
        rendered.lines().find(|line| line.starts_with(&of_name) && line.contains(&of_consumer))?;
    line.rsplit(' ').next()?.parse().ok()
}

pub(crate) fn quick() -> RelayConfig {
    RelayConfig { retry_first: Duration::from_millis(20), ..RelayConfig::default() }
}

pub(crate) fn processed(payment: Uuid) -> Event {
    let message = PaymentProcessed {
        payment_id: payment.to_string(),
        transaction: Some(TransactionSummary {
            id: payment.to_string(),
            amount: "100.50".into(),
            ..TransactionSummary::default()
        }),
        status: "COMPLETED".into(),
        reason: String::new(),
    };
    Event::new(TenantId::DEFAULT, clock::Clock::system().now(), &message).unwrap()
}

async fn prepare(listener: &Database) {
    let mut connection = listener.connection().await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE effect (place bigint GENERATED ALWAYS AS IDENTITY, event uuid, key uuid)",
    )
    .execute(&mut *connection)
    .await
    .unwrap();
}

async fn effects(listener: &Database) -> Vec<(Uuid, Uuid)> {
    let mut connection = listener.connection().await.unwrap();
    sqlx::query("SELECT event, key FROM effect ORDER BY place")
        .try_map(|row: sqlx::postgres::PgRow| Ok((row.try_get(0)?, row.try_get(1)?)))
        .fetch_all(&mut *connection)
        .await
        .unwrap()
}

/// Writes each event down; fails for the keys that it is told to, as long as it is told to.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) poison: Mutex<Vec<Uuid>>,
}

#[async_trait]
impl Handler for Writer {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Event,
    ) -> Result<(), HandlerError> {
        sqlx::query("INSERT INTO effect (event, key) VALUES ($1, $2)")
            .bind(event.id)
            .bind(event.subject)
            .execute(&mut **transaction)
            .await?;
        if self.poison.lock().contains(&event.id) {
            return Err(std::io::Error::other("it is poison").into());
        }
        Ok(())
    }
}
