//! Events: recorded with the change itself, delivered at least once, taking effect once.
//!
//! A service publishes in the transaction of its change ([`Outbox`]). The [`Relay`] brings what was
//! committed to the [`Bus`]. A [`Consumer`] hands each event to the [`Handler`] of its type, in a
//! transaction that also holds the inbox row which lets it happen once. The table of event types is
//! `contracts::events`, read from the contracts.
//!
//! Order: events of one subject, which is their partition key, come in the order in which they were
//! published, through relay, bus and consumer. One that cannot be published holds back its own
//! subject alone; one that cannot be taken up is retried, while later ones of its subject wait
//! behind it, and then becomes a dead letter, which lets them pass.

mod bus;
mod config;
mod consumer;
mod event;
mod operator;
mod outbox;
mod queue;
mod relay;

#[cfg(feature = "kafka")]
pub use bus::kafka::KafkaBus;
pub use bus::nats::{NatsBus, NatsConfig};
pub use bus::postgres::PostgresBus;
pub use bus::{Bus, BusError, Delivery, PARTITIONS, Partition, Reader, Record};
pub use config::{BusKind, Config, KafkaConfig, Sasl, SaslMechanism};
pub use consumer::{Builder, Consumer, ConsumerConfig, Handler, HandlerError, Start};
pub use event::{Event, EventError};
pub use operator::{DeadLetter, Operator, OperatorError, Reading, Replayed};
pub use outbox::Outbox;
#[cfg(feature = "kafka")]
pub use queue::kafka::KafkaQueue;
pub use queue::nats::NatsQueue;
pub use queue::postgres::PostgresQueue;
pub use queue::{Job, WorkQueue};
pub use relay::{Relay, RelayConfig, RelayError};

use std::sync::Arc;

use storage::Database;

/// The service `events`: a relay with its health. It has no methods, and any number of it may run.
///
/// # Errors
/// When the settings cannot be used.
pub async fn start(config: Config, database: Database) -> Result<mesh::Service, BusError> {
    let bus = config.open(&database).await?;
    let check = database.check();
    let relay = Relay::new(database, Arc::clone(&bus), config.relay);
    let health = relay.clone();
    Ok(mesh::Service::new("events")
        .check("postgres", check)
        // While it fails, services go on, and what they publish waits in the outbox.
        .check("bus", move || {
            let (bus, health) = (Arc::clone(&bus), health.health());
            async move {
                health?;
                bus.ping().await.map_err(|error| error.to_string())
            }
        })
        .task("relay", move || {
            let relay = relay.clone();
            async move { relay.run().await }
        }))
}
