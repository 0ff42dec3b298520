//! Payments: transfers between users, deposits and withdrawals (L-34 to L-41).
//!
//! Owns the record of what was asked for and how it ended; the money itself is the ledger's.
//!
//! Invariants:
//! - a payment is one row and one ledger transfer with the same id; the ledger moves both sides at once;
//! - the row is on disk before the ledger is asked, and says all that is needed to ask again;
//! - a row leaves PENDING only with an answer that the ledger will repeat for ever, so whoever drives
//!   a payment, however often and however late, comes to the same end;
//! - under one idempotency key a sender has one transaction;
//! - no row is ever deleted.

mod accounts;
mod config;
mod domain;
mod error;
mod events;
mod feed;
mod json;
mod ledger;
mod page;
mod payments;
mod recovery;
mod service;
mod store;
mod wire;

use clock::Clock;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use contracts::payments::v1::payments_service_server::PaymentsServiceServer;
use mesh::Mesh;
use money::{Currency, Money};
use storage::Database;

pub use config::Config;

/// Why payments could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting has no meaning.
    #[error("payments.{setting} {rule}")]
    Config {
        /// Name of the setting.
        setting: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The tables could not be brought up to date.
    #[error("the tables of payments cannot be prepared")]
    Migrate(#[from] storage::MigrateError),
}

/// Prepares the tables and mounts the service, with the recovery of payments that were left behind.
pub async fn start(
    config: Config,
    mesh: &Mesh,
    database: Database,
    clock: Clock,
) -> Result<mesh::Service, StartError> {
    let amount_max = amount_max(&config)?;
    let currency = amount_max.currency();
    database.migrate(&sqlx::migrate!()).await?;
    let check = database.check();
    let accounts =
        accounts::Accounts::new(mesh.channel("accounts"), currency, config.accounts_cached_max);
    let payments = payments::Payments {
        store: store::Store::new(database),
        ledger: ledger::Ledger::new(mesh.channel("ledger")),
        accounts,
        clock,
        amount_max,
        customer_cash: config.customer_cash,
        recovery_after: config.recovery_after,
    };
    let feed = feed::Feed {
        store: payments.store.clone(),
        ledger: LedgerServiceClient::new(mesh.channel("ledger")),
    };
    let recovery = recovery::Recovery {
        payments: payments.clone(),
        interval: config.recovery_interval,
        batch: config.recovery_batch,
    };
    Ok(mesh::Service::new("payments")
        .mount(PaymentsServiceServer::new(service::Service { payments }))
        .check("postgres", check)
        .task("recovery", move || recovery.clone().run())
        .task("ledger feed", move || feed.clone().run()))
}

/// Transfers that the ledger takes in one call.
const BATCH_MAX: u16 = 8189;

/// Checks the settings; the largest amount and its currency are those that must be understood.
fn amount_max(config: &Config) -> Result<Money, StartError> {
    let invalid = |setting, rule| Err(StartError::Config { setting, rule });
    if !(1..=BATCH_MAX).contains(&config.recovery_batch) {
        return invalid("recovery_batch", "must be 1 to 8189");
    }
    if config.recovery_interval.is_zero() {
        return invalid("recovery_interval", "must be above zero");
    }
    if config.recovery_after.is_zero() {
        return invalid("recovery_after", "must be above zero");
    }
    let Some(currency) = Currency::from_code(&config.currency) else {
        return invalid("currency", "must be an ISO 4217 code that Malha knows");
    };
    match Money::parse(&config.amount_max, currency) {
        Ok(max) if max.minor() > 0 => Ok(max),
        _ => invalid("amount_max", "must be an amount of the currency, above zero"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn settings_without_a_meaning_are_refused() {
        let default = Config::default;
        assert!(amount_max(&default()).is_ok());
        assert!(amount_max(&Config { currency: "JPY".into(), ..default() }).is_ok());
        for (config, named) in [
            (Config { currency: "XYZ".into(), ..default() }, "currency"),
            (Config { amount_max: "0".into(), ..default() }, "amount_max"),
            (Config { amount_max: "0.001".into(), ..default() }, "amount_max"),
            (Config { recovery_batch: 0, ..default() }, "recovery_batch"),
            (Config { recovery_batch: 8190, ..default() }, "recovery_batch"),
            (Config { recovery_interval: Duration::ZERO, ..default() }, "recovery_interval"),
            (Config { recovery_after: Duration::ZERO, ..default() }, "recovery_after"),
        ] {
            let refused = amount_max(&config);
            assert!(matches!(refused, Err(StartError::Config { setting, .. }) if setting == named));
        }
    }
}
