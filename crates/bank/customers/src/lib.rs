//! Customers: who a person is and where its money is paid to.
//!
//! Owns the profile under the user's id; identity owns the login, accounts own the accounts.
//!
//! Invariants:
//! - a profile always has a name, an e-mail address and bank details;
//! - only its owner and staff see that a profile exists.

mod config;
mod domain;
mod error;
mod service;
mod store;

use clock::Clock;
use contracts::customers::v1::customers_service_server::CustomersServiceServer;
use mesh::Mesh;
use storage::Database;

pub use config::Config;

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database is away or refused the migrations.
    #[error("the tables of customers cannot be prepared")]
    Migrate(#[from] storage::MigrateError),
}

/// Prepares the tables and mounts the service.
pub async fn start(
    _config: Config,
    _mesh: &Mesh,
    database: Database,
    clock: Clock,
) -> Result<mesh::Service, StartError> {
    database.migrate(&sqlx::migrate!()).await?;
    let check = database.check();
    let customers = service::Customers::new(store::Store::new(database), clock);
    Ok(mesh::Service::new("customers")
        .mount(CustomersServiceServer::new(customers))
        .check("postgres", check))
}
