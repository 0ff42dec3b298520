//! `malha database`

use anyhow::{Context, Result};
use clap::Subcommand;
use storage::Administrator;

use crate::modules;
use crate::settings::Settings;

/// Prepare the database.
#[derive(Debug, Subcommand)]
pub(crate) enum Database {
    /// Create the database, and a role and a schema for each service; for the gateway too if it
    /// keeps idempotency keys there. May be repeated.
    ///
    /// The roles get the password of the setting `storage.password`, if there is one. Tables are the
    /// services' own: they make them when they start.
    Init {
        /// Address of a superuser, such as `postgres://postgres@db/postgres`.
        #[arg(long, env = "MALHA_ADMIN_URL", hide_env_values = true)]
        admin_url: String,
    },
}

impl Database {
    pub(crate) async fn run(self, settings: &Settings) -> Result<()> {
        let Self::Init { admin_url } = self;
        let storage = &settings.storage;
        let services = modules::stored(settings);
        Administrator::new(&admin_url)
            .context("--admin-url is not the address of a PostgreSQL server")?
            .provision(&storage.database, &services, storage.password.as_ref())
            .await
            .context("cannot prepare the database")?;
        println!("database {} is ready for {}", storage.database, services.join(", "));
        Ok(())
    }
}
