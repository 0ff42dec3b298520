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
mod json;
mod ledger;
mod page;
mod payments;
mod recovery;
mod service;
mod store;
mod wire;

use clock::Clock;
use contracts::payments::v1::payments_service_server::PaymentsServiceServer;
use mesh::Mesh;
use money::Currency;
use storage::Database;

pub use config::Config;

/// Tables of payments.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

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
    let currency = currency(&config)?;
    database.migrate(&MIGRATIONS).await?;
    let check = database.check();
    let accounts =
        accounts::Accounts::new(mesh.channel("accounts"), currency, config.accounts_cached_max);
    let payments = payments::Payments {
        store: store::Store::new(database),
        ledger: ledger::Ledger::new(mesh.channel("ledger")),
        accounts,
        clock,
        currency,
        customer_cash: config.customer_cash,
        recovery_after: config.recovery_after,
    };
    let recovery = recovery::Recovery {
        payments: payments.clone(),
        interval: config.recovery_interval,
        batch: config.recovery_batch,
    };
    Ok(mesh::Service::new("payments")
        .mount(PaymentsServiceServer::new(service::Service { payments }))
        .check("postgres", check)
        .task("recovery", move || recovery.clone().run()))
}

/// Transfers that the ledger takes in one call.
const BATCH_MAX: u16 = 8189;

/// Checks the settings; the currency is the one that must be understood.
fn currency(config: &Config) -> Result<Currency, StartError> {
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
    match Currency::from_code(&config.currency) {
        Some(currency) => Ok(currency),
        None => invalid("currency", "must be an ISO 4217 code that Malha knows"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn settings_without_a_meaning_are_refused() {
        let default = Config::default;
        assert!(currency(&default()).is_ok());
        for (config, named) in [
            (Config { currency: "XYZ".into(), ..default() }, "currency"),
            (Config { recovery_batch: 0, ..default() }, "recovery_batch"),
            (Config { recovery_batch: 8190, ..default() }, "recovery_batch"),
            (Config { recovery_interval: Duration::ZERO, ..default() }, "recovery_interval"),
            (Config { recovery_after: Duration::ZERO, ..default() }, "recovery_after"),
        ] {
            let refused = currency(&config);
            assert!(matches!(refused, Err(StartError::Config { setting, .. }) if setting == named));
        }
    }
}
