mod kafka;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Database;

#[cfg(feature = "kafka")]
use crate::bus::kafka::KafkaBus;
use crate::bus::nats::{NatsBus, NatsConfig};
use crate::{Bus, BusError, PostgresBus, RelayConfig};

pub use kafka::{KafkaConfig, Sasl, SaslMechanism};

/// Shorter than this, and events would go before a consumer that starts anew has read them.
const BUS_KEPT_MIN: Duration = Duration::from_hours(1);

/// Settings of events: the bus, and the relay that brings them there.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What carries events: `postgres`, `nats` or `kafka`. Default: `postgres`.
    pub bus: BusKind,
    /// NATS with `JetStream`, where it is the bus.
    pub nats: NatsConfig,
    /// Kafka, where it is the bus.
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
    Kafka,
}

impl Config {
    /// Opens the bus for whoever uses it, with its own database.
    ///
    /// # Errors
    /// When the settings cannot be used. That the bus is away is none: it may come.
    pub async fn open(&self, database: &Database) -> Result<Arc<dyn Bus>, BusError> {
        check(&self.relay)?;
        Ok(match self.bus {
            BusKind::Postgres => Arc::new(PostgresBus::new(database.clone())),
            BusKind::Nats => Arc::new(NatsBus::connect(&self.nats, self.relay.bus_kept).await?),
            #[cfg(feature = "kafka")]
            BusKind::Kafka => Arc::new(KafkaBus::connect(&self.kafka, self.relay.bus_kept)?),
            #[cfg(not(feature = "kafka"))]
            BusKind::Kafka => return Err(without_kafka()),
        })
    }
}

/// Says what to do where the setting asks for what this program does not have.
#[cfg(not(feature = "kafka"))]
pub(crate) fn without_kafka() -> BusError {
    let rule = "it is `kafka`, and this program was built without the feature `kafka`; build it with \
                `cargo build --release --package malha --features kafka`";
    BusError::Setting { name: "events.bus", rule: rule.into() }
}

fn check(relay: &RelayConfig) -> Result<(), BusError> {
    let is_zero = [
        ("events.relay.workers", relay.workers == 0),
        ("events.relay.batch_max", relay.batch_max == 0),
        ("events.relay.poll_interval", relay.poll_interval.is_zero()),
        ("events.relay.append_timeout", relay.append_timeout.is_zero()),
        ("events.relay.retry_first", relay.retry_first.is_zero()),
        ("events.relay.retry_max", relay.retry_max.is_zero()),
        ("events.relay.outbox_kept", relay.outbox_kept.is_zero()),
    ];
    let wrong = |name, rule: &str| Err(BusError::Setting { name, rule: rule.into() });
    if let Some((name, _)) = is_zero.into_iter().find(|(_, is_zero)| *is_zero) {
        return wrong(name, "it must be above zero");
    }
    if relay.bus_kept < BUS_KEPT_MIN {
        return wrong("events.relay.bus_kept", "it must be an hour or more");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "kafka"))]
    #[tokio::test]
    async fn kafka_without_its_feature_is_refused_with_the_setting_and_the_feature() {
        let config: Config = serde_json::from_str(r#"{"bus": "kafka"}"#).unwrap();
        let database = Database::open("events", &storage::Config::default());

        let Err(refused) = config.open(&database).await else { panic!("it opened") };

        let refused = refused.to_string();
        assert!(refused.contains("`events.bus` is wrong"), "{refused}");
        assert!(refused.contains("--features kafka"), "{refused}");
    }

    #[tokio::test]
    async fn settings_without_a_meaning_are_refused() {
        let database = Database::open("events", &storage::Config::default());
        assert!(Config::default().open(&database).await.is_ok());
        let zero = Duration::ZERO;
        let with = RelayConfig::default;
        for (named, relay) in [
            ("workers", RelayConfig { workers: 0, ..with() }),
            ("batch_max", RelayConfig { batch_max: 0, ..with() }),
            ("poll_interval", RelayConfig { poll_interval: zero, ..with() }),
            ("append_timeout", RelayConfig { append_timeout: zero, ..with() }),
            ("retry_first", RelayConfig { retry_first: zero, ..with() }),
            ("retry_max", RelayConfig { retry_max: zero, ..with() }),
            ("outbox_kept", RelayConfig { outbox_kept: zero, ..with() }),
            ("bus_kept", RelayConfig { bus_kept: Duration::from_mins(59), ..with() }),
        ] {
            let Err(refused) = Config { relay, ..Config::default() }.open(&database).await else {
                panic!("{named} is accepted")
            };
            let name = format!("`events.relay.{named}` is wrong");
            assert!(refused.to_string().contains(&name), "{refused}");
        }
    }
}
