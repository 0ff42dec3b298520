//! PostgreSQL for services: a pool per service, transactions that carry their tenant, migrations,
//! and a private server.
//!
//! Each service logs in with a role of its own and owns one schema; it can reach no other. Every
//! table that holds a tenant's rows has row-level security, so a forgotten `WHERE` shows nothing of
//! another tenant. A migration says:
//!
//! ```sql
//! CREATE TABLE transaction (
//!     tenant_id uuid NOT NULL DEFAULT current_tenant(),
//!     id        uuid NOT NULL,
//!     PRIMARY KEY (tenant_id, id)
//! );
//! ALTER TABLE transaction ENABLE ROW LEVEL SECURITY;
//! ALTER TABLE transaction FORCE ROW LEVEL SECURITY;
//! CREATE POLICY tenant ON transaction
//!     USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
//! -- Only where background work must find rows of every tenant:
//! CREATE POLICY worker ON transaction FOR SELECT USING (is_worker());
//! ```
//!
//! [`Database::migrate`] refuses a schema with a `tenant_id` column outside such protection.

mod cluster;
mod column;
mod config;
mod database;
mod error;
mod migrate;
mod provision;
mod shared;

pub use cluster::{ClusterError, PrivateCluster};
pub use column::{named, one_of};
pub use config::{Config, Password};
pub use database::{Database, Transaction};
pub use error::Error;
pub use migrate::MigrateError;
pub use provision::Administrator;
