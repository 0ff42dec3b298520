use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Database;

#[cfg(feature = "kafka")]
use crate::bus::kafka::{KafkaBus, KafkaConfig};
use crate::bus::nats::{NatsBus, NatsConfig};
use crate::{Bus, BusError, PostgresBus, RelayConfig};

/// Settings of events: the bus, and the relay that brings them there.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What carries events: `postgres`, `nats` or `kafka`. Default: `postgres`.
    pub bus: BusKind,
    /// NATS with `JetStream`, where it is the bus.
    pub nats: NatsConfig,
    /// Kafka, where it is the bus.
    #[cfg(feature = "kafka")]
    pub kafka: KafkaConfig,
    /// The relay.
    pub relay: RelayConfig,
}

/// What carries events.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BusKind {
    /// Tables of the shared schema `event_sourcing`.
    #[default]
    Postgres,
    /// NATS `JetStream`.
    Nats,
    /// Kafka. The program has to be built with the feature `kafka`.
    #[cfg(feature = "kafka")]
    Kafka,
}

impl Config {
    /// Opens the bus for whoever uses it, with its own database.
    ///
    /// # Errors
    /// When the settings cannot be used. That the bus is away is none: it may come.
    pub async fn open(&self, database: &Database) -> Result<Arc<dyn Bus>, BusError> {
        Ok(match self.bus {
            BusKind::Postgres => Arc::new(PostgresBus::new(database.clone())),
            BusKind::Nats => Arc::new(NatsBus::connect(&self.nats, self.relay.bus_kept).await?),
            #[cfg(feature = "kafka")]
            BusKind::Kafka => Arc::new(KafkaBus::connect(&self.kafka, self.relay.bus_kept)?),
        })
    }
}
