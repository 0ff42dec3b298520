//! Schemas that services share: each belongs to a role of its own, and services reach in it what
//! its migrations grant.

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::Error;

/// Role that every service's role is a member of: what a shared schema grants, it grants to this
/// one. Policies ask for `current_user`, which is the service.
pub(crate) const SERVICES: &str = "malha_service";

/// A schema that every database has.
pub(crate) struct Shared {
    /// The role that owns it and whose service works on it.
    pub(crate) role: &'static str,
    pub(crate) schema: &'static str,
    migrations: Migrator,
    /// Settings of the role beyond those of services.
    pub(crate) settings: &'static [(&'static str, &'static str)],
}

/// All of them.
pub(crate) static SHARED: [Shared; 2] = [
    Shared {
        role: "events",
        schema: "event_sourcing",
        migrations: sqlx::migrate!("migrations/event_sourcing"),
        // What is lost in a crash of the server is done again: it is all derived from rows that
        // others have committed, and nothing that was committed later is kept when it is lost.
        settings: &[("synchronous_commit", "off")],
    },
    Shared {
        role: "workflows",
        schema: "workflow",
        migrations: sqlx::migrate!("migrations/workflow"),
        settings: &[],
    },
];

impl Shared {
    /// Brings the schema up to date, as its role. `options` are the superuser's. One that a newer
    /// version has taken further is left as it is.
    pub(crate) async fn migrate(&self, options: PgConnectOptions) -> Result<(), Error> {
        let options = options.options([("role", self.role), ("search_path", self.schema)]);
        let own = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let mut migrator = Migrator::with_migrations(self.migrations.iter().cloned().collect());
        let migrated = migrator.set_ignore_missing(true).run(&own).await;
        own.close().await;
        Ok(migrated.map_err(sqlx::Error::from)?)
    }
}

/// The shared schema of this role, if it has one.
pub(crate) fn of_role(role: &str) -> Option<&'static Shared> {
    SHARED.iter().find(|shared| shared.role == role)
}
