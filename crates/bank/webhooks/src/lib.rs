//! Webhooks: what happens here is told to the endpoints of others (B-20), and what they tell is
//! received (K-14, K-21).
//!
//! Outbound by the Standard Webhooks specification 1.0.0: `domain::signature` is its scheme,
//! `domain::answer` what it says of answers, `domain::address` its protection against requests that
//! reach inside.
//!
//! Invariants:
//! - an event is one message under the event's id, however often it is consumed, and one delivery to each
//!   endpoint that asks for it;
//! - a message keeps its id and its bytes with every attempt, of replays too; it is sent at least once
//!   and in no order;
//! - a connection goes to an address that was checked for it, and to a public one alone;
//! - a secret is in the database encrypted, and in an answer once;
//! - what a provider sent is on disk, and published in the same transaction, before it hears so.

mod config;
mod domain;
mod error;
mod events;
mod housekeeping;
mod sender;
mod service;
mod store;
mod webhooks;
mod wire;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::events::Bus;
use clock::Clock;
use contracts::webhooks::v1::webhooks_service_server::WebhooksServiceServer;
use mesh::Mesh;
use sealing::{MasterKeys, SealError};
use storage::Database;
use tokio::sync::Notify;

pub use config::Config;
pub use sender::ClientError;
pub use sender::resolver::{Resolver, SystemResolver};

use housekeeping::Housekeeper;
use sender::{Client, Sender};
use service::Service;
use store::Store;
use webhooks::Webhooks;

/// Why webhooks could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting has no meaning.
    #[error("webhooks.{setting} {rule}")]
    Config {
        /// Name of the setting.
        setting: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The file of the key-encryption key cannot be used.
    #[error("cannot read webhooks.key_encryption_key in {}", path.display())]
    KeyEncryptionKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// No key can be derived from it.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Nothing can be sent.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The tables could not be brought up to date.
    #[error("the tables of webhooks cannot be prepared")]
    Migrate(#[from] storage::MigrateError),
}

/// Prepares the tables and mounts the service, with the sender of what is due and the consumer of the
/// events that it tells: those of `bus`, which tells them again for as long as `bus_kept`.
pub async fn start(
    config: Config,
    _mesh: &Mesh,
    database: Database,
    clock: Clock,
    bus: Arc<dyn Bus>,
    bus_kept: Duration,
    resolver: Arc<dyn Resolver>,
) -> Result<mesh::Service, StartError> {
    check(&config, bus_kept)?;
    let keys = MasterKeys::read("webhooks", &config.key_encryption_key).map_err(|source| {
        StartError::KeyEncryptionKey { path: config.key_encryption_key.clone(), source }
    })?;
    let sealer = Arc::new(keys.sealer("secrets")?);
    let client = Client::new(&config, resolver)?;
    database.migrate(&sqlx::migrate!()).await?;
    let health = database.check();
    let wake = Arc::new(Notify::new());
    let consumer =
        events::consumer(&config.topics, database.clone(), bus, clock.clone(), Arc::clone(&wake));
    let store = Store::new(database);
    let webhooks = Webhooks {
        store: store.clone(),
        sealer: Arc::clone(&sealer),
        clock: clock.clone(),
        development_targets: config.development_targets,
        wake: Arc::clone(&wake),
    };
    let (patience, config) = (Arc::new(config.patience()), Arc::new(config));
    let housekeeper = Housekeeper {
        store: store.clone(),
        sealer: Arc::clone(&sealer),
        clock: clock.clone(),
        config: Arc::clone(&config),
    };
    let sender = Sender { store, client, sealer, clock, config, patience, wake };
    Ok(mesh::Service::new("webhooks")
        .mount(WebhooksServiceServer::new(Service { webhooks }))
        .check("postgres", health)
        .task("events", move || {
            let consumer = consumer.clone();
            async move { consumer.run().await }
        })
        .task("sender", move || sender.clone().run())
        .task("housekeeping", move || housekeeper.clone().run()))
}

fn check(config: &Config, bus_kept: Duration) -> Result<(), StartError> {
    let above_zero = [
        ("attempt_timeout", config.attempt_timeout),
        ("poll_interval", config.poll_interval),
        ("throttle_pause", config.throttle_pause),
        ("breaker_pause", config.breaker_pause),
        ("disable_after", config.disable_after),
        ("retention", config.retention),
    ];
    let invalid = |setting, rule| Err(StartError::Config { setting, rule });
    if let Some((setting, _)) = above_zero.into_iter().find(|(_, time)| time.is_zero()) {
        return invalid(setting, "must be above zero");
    }
    // An event that is told again is known by its message.
    if config.retention < bus_kept {
        return invalid("retention", "must be at least as long as `events.relay.bus_kept`");
    }
    if config.inbound_ids_kept < config.retention {
        return invalid("inbound_ids_kept", "must be at least as long as `retention`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_hours(7 * 24);

    #[test]
    fn settings_without_a_meaning_are_refused() {
        assert!(check(&Config::default(), WEEK).is_ok());
        for (config, named) in [
            (Config { attempt_timeout: Duration::ZERO, ..Config::default() }, "attempt_timeout"),
            (Config { poll_interval: Duration::ZERO, ..Config::default() }, "poll_interval"),
            (Config { retention: Duration::ZERO, ..Config::default() }, "retention"),
            (
                Config { inbound_ids_kept: Duration::from_hours(1), ..Config::default() },
                "inbound_ids_kept",
            ),
        ] {
            let refused = check(&config, Duration::ZERO);
            assert!(matches!(refused, Err(StartError::Config { setting, .. }) if setting == named));
        }
    }

    /// What is told again must be known.
    #[test]
    fn messages_are_kept_at_least_as_long_as_the_bus_keeps_events() {
        let kept = |retention| Config { retention, ..Config::default() };
        assert!(check(&kept(WEEK), WEEK).is_ok());
        let refused = check(&kept(WEEK), WEEK + Duration::from_secs(1));
        assert!(matches!(refused, Err(StartError::Config { setting: "retention", .. })));
    }
}
