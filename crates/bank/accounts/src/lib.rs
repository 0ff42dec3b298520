//! Accounts: one per user and currency, with its agency and number.
//!
//! Owns who has an account and how it is written; the ledger owns the money, under the same
//! id. Balances and statements are read from it anew each time.
//!
//! Invariants:
//! - an account is visible, and so can receive money, only once the ledger holds it;
//! - a user has at most one account per currency, and its number never changes;
//! - only its owner and staff see that an account exists.

mod balances;
mod config;
mod domain;
mod error;
mod ledger;
mod service;
mod store;

use std::sync::Arc;

use clock::Clock;
use contracts::accounts::v1::accounts_service_server::AccountsServiceServer;
use events::Bus;
use mesh::Mesh;
use moka::future::Cache;
use storage::Database;

use crate::config::Settings;
use crate::ledger::Ledger;
use crate::service::Accounts;
use crate::store::Store;

pub use config::{Config, ConfigError};

/// Accounts that are remembered.
const KNOWN_MAX: u64 = 100_000;

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database is away or refused the migrations.
    #[error("the tables of accounts cannot be prepared")]
    Migrate(#[from] storage::MigrateError),
}

/// Prepares the tables and mounts the service, which hears of transfers on the bus.
pub async fn start(
    config: Config,
    mesh: &Mesh,
    database: Database,
    bus: Arc<dyn Bus>,
    clock: Clock,
) -> Result<mesh::Service, StartError> {
    let settings = Settings::try_from(config)?;
    database.migrate(&sqlx::migrate!()).await?;
    let check = database.check();
    let balances = balances::consumer(database.clone(), bus);
    let accounts = Accounts {
        settings,
        store: Store::new(database),
        ledger: Ledger::new(mesh.channel("ledger")),
        clock,
        known: Cache::new(KNOWN_MAX),
    };
    Ok(mesh::Service::new("accounts")
        .mount(AccountsServiceServer::new(accounts))
        .check("postgres", check)
        .task("balances", move || {
            let balances = balances.clone();
            async move { balances.run().await }
        }))
}
