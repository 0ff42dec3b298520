//! Notifications: what users are told, in the app, by e-mail, SMS and push (K-13, K-20, L-44, T-07).
//!
//! Owns the texts, what each user was told and what became of it on every channel, and how users want
//! to be told. How they are reached is asked of customers.
//!
//! Invariants:
//! - under one deduplication key a user is told once, however often and by whomever it is asked for, for as
//!   long as notifications are kept;
//! - a notification, its place in the app and its deliveries are on disk together, and with the inbox
//!   row of the event that asked for it;
//! - a delivery is handed to its channel at least once, under one id, until the channel takes it, or
//!   refuses it for good, or the attempts are used up;
//! - what is about security goes out whatever the user switched off, at any hour;
//! - a value never becomes part of a template, and no address is in a log.

mod channels;
mod config;
mod contacts;
mod dispatcher;
mod domain;
mod error;
mod flows;
mod hub;
mod recorder;
mod service;
mod store;
mod streams;
mod templates;
mod wire;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use contracts::notifications::v1::notifications_service_server::NotificationsServiceServer;
use events::Bus;
use mesh::Mesh;
use storage::Database;
use tokio_util::sync::CancellationToken;

use crate::channels::Carriers;
use crate::contacts::Contacts;
use crate::dispatcher::Dispatcher;
use crate::domain::attempts::Retries;
use crate::domain::{Channel, quiet};
use crate::hub::Hub;
use crate::recorder::Recorder;
use crate::store::Store;
use crate::templates::Library;

pub use channels::ChannelError;
pub use config::{Config, Email, Provider, Secret, Smtp, SmtpTls};

/// How often old notifications are deleted.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_mins(10);

/// Why notifications could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting has no meaning.
    #[error("notifications.{setting} {rule}")]
    Config {
        /// Name of the setting.
        setting: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A channel cannot be used as its settings say.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The texts cannot be compiled: a mistake of the program.
    #[error("a template is wrong")]
    Template(#[from] minijinja::Error),
    /// The tables could not be brought up to date.
    #[error("the tables of notifications cannot be prepared")]
    Migrate(#[from] storage::MigrateError),
}

/// Prepares the tables and mounts the service, with what delivers and what takes up the events of
/// `bus`, which tells what happened again for as long as `bus_kept`.
pub async fn start(
    config: Config,
    mesh: &Mesh,
    database: Database,
    bus: Arc<dyn Bus>,
    bus_kept: Duration,
    clock: Clock,
) -> Result<mesh::Service, StartError> {
    let retries = retries(&config)?;
    let retention = retention(&config, bus_kept)?;
    let zone = quiet::zone(&config.time_zone)
        .ok_or(StartError::Config { setting: "time_zone", rule: "must be of the IANA database" })?;
    let library = Arc::new(Library::new(&config.brand, &config.locale)?);
    let carriers = Arc::new(Carriers::new(&config)?);
    database.migrate(&sqlx::migrate!()).await?;
    let check = database.check();

    let (store, hub) = (Store::new(database.clone()), Arc::new(Hub::default()));
    let recorder = Recorder {
        library: Arc::clone(&library),
        carriers: Arc::clone(&carriers),
        clock: clock.clone(),
        zone: zone.clone(),
    };
    let dispatcher = Dispatcher {
        store: store.clone(),
        contacts: Contacts::new(mesh.channel("customers")),
        library,
        carriers,
        clock: clock.clone(),
        hub: Arc::clone(&hub),
        zone,
        retries,
        interval: config.interval,
        concurrency: config.concurrency,
        attempt_timeout: config.attempt_timeout,
    };
    let consumer = flows::consumer(&recorder, database.clone(), bus);
    let kept = store.clone();
    let stop = CancellationToken::new();
    let served =
        service::Notifications { store, recorder, hub: Arc::clone(&hub), stop: stop.clone() };
    let service = mesh::Service::new("notifications")
        .mount(NotificationsServiceServer::new(served))
        .check("postgres", check)
        .task("events", move || {
            let consumer = consumer.clone();
            async move { consumer.run().await }
        })
        .task("housekeeping", move || keep_house(kept.clone(), clock.clone(), retention))
        .task("news", move || Arc::clone(&hub).listen(database.clone()))
        // Dropped when the service stops, which else would wait for the streams.
        .task("streams", move || {
            let stop = stop.clone().drop_guard();
            async move {
                let _stop = stop;
                pending::<()>().await;
            }
        });
    let service = Channel::OUTSIDE.into_iter().fold(service, |service, channel| {
        let dispatcher = dispatcher.clone();
        let name = match channel {
            Channel::Email => "email",
            Channel::Sms => "sms",
            Channel::Push | Channel::InApp => "push",
        };
        service.task(name, move || dispatcher.clone().run(channel))
    });
    Ok(service)
}

/// Deletes what is old, for ever.
async fn keep_house(store: Store, clock: Clock, retention: Duration) {
    loop {
        if let Err(error) = delete_old(&store, &clock, retention).await {
            tracing::warn!(%error, "old notifications are not deleted");
        }
        tokio::time::sleep(HOUSEKEEPING_INTERVAL).await;
    }
}

async fn delete_old(
    store: &Store,
    clock: &Clock,
    retention: Duration,
) -> Result<(), error::NotificationError> {
    for tenant in store.tenants().await? {
        while store.old_delete(tenant, clock.now() - retention).await? {}
    }
    Ok(())
}

fn retention(config: &Config, bus_kept: Duration) -> Result<Duration, StartError> {
    if config.retention.is_zero() || config.retention < bus_kept {
        let rule = "must be above zero and at least as long as `events.relay.bus_kept`";
        return Err(StartError::Config { setting: "retention", rule });
    }
    Ok(config.retention)
}

fn retries(config: &Config) -> Result<Retries, StartError> {
    let invalid = |setting, rule| Err(StartError::Config { setting, rule });
    if config.interval.is_zero() {
        return invalid("interval", "must be above zero");
    }
    if config.concurrency == 0 {
        return invalid("concurrency", "must be above zero");
    }
    if config.attempts_max == 0 {
        return invalid("attempts_max", "must be above zero");
    }
    if config.attempt_timeout.is_zero() {
        return invalid("attempt_timeout", "must be above zero");
    }
    if config.retry_delay.is_zero() || config.retry_delay > config.retry_delay_max {
        return invalid("retry_delay", "must be above zero and at most `retry_delay_max`");
    }
    Ok(Retries {
        attempts_max: config.attempts_max.into(),
        delay: config.retry_delay,
        delay_max: config.retry_delay_max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told again must be known.
    #[test]
    fn notifications_are_kept_at_least_as_long_as_the_bus_keeps_events() {
        let day = Duration::from_hours(24);
        let kept = |retention| Config { retention, ..Config::default() };
        assert!(retention(&kept(7 * day), 7 * day).is_ok());
        for (retained, bus_kept) in [(6 * day, 7 * day), (Duration::ZERO, Duration::ZERO)] {
            let refused = retention(&kept(retained), bus_kept);
            assert!(matches!(refused, Err(StartError::Config { setting: "retention", .. })));
        }
    }

    #[test]
    fn settings_without_a_meaning_are_refused() {
        let default = Config::default;
        assert!(retries(&default()).is_ok());
        for (config, named) in [
            (Config { interval: Duration::ZERO, ..default() }, "interval"),
            (Config { concurrency: 0, ..default() }, "concurrency"),
            (Config { attempts_max: 0, ..default() }, "attempts_max"),
            (Config { attempt_timeout: Duration::ZERO, ..default() }, "attempt_timeout"),
            (Config { retry_delay: Duration::ZERO, ..default() }, "retry_delay"),
            (Config { retry_delay_max: Duration::from_secs(1), ..default() }, "retry_delay"),
        ] {
            let refused = retries(&config);
            assert!(matches!(refused, Err(StartError::Config { setting, .. }) if setting == named));
        }
        for email in [
            Email { from: "Malha <a@b.example>".into(), smtp: None, folder: None },
            Email { from: "nobody".into(), smtp: None, folder: Some("x".into()) },
        ] {
            assert!(Carriers::new(&Config { email: Some(email), ..default() }).is_err());
        }
        for (url, secret) in [
            ("ftp://x.example", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"),
            ("", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"),
            ("https://x.example", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"),
            ("https://x.example", "whsec_MDEy"),
        ] {
            let provider = Provider { url: url.into(), secret: secret.into() };
            assert!(Carriers::new(&Config { sms: Some(provider), ..default() }).is_err(), "{url}");
        }
    }
}
