//! Workflows, for operators: what runs, what stands still, and the acts that let it go on.
//!
//! Owns no rule and no table of its own: both are those of the crate `workflow`, whose schema the role
//! of this service owns. The workflows themselves run in the services that started them.
//!
//! Invariants:
//! - an operator reaches the workflows of its tenant, whatever service runs them, and never their state;
//! - whatever an operator does is recorded in the same transaction, with who, when and why.

mod config;
mod error;
mod page;
mod service;
mod wire;

use clock::Clock;
use contracts::workflows::v1::workflows_service_server::WorkflowsServiceServer;
use mesh::Mesh;
use storage::Database;
use workflow::Operator;

pub use config::Config;

/// Mounts the service. Its tables are prepared with the database.
pub fn start(_config: Config, _mesh: &Mesh, database: Database, clock: Clock) -> mesh::Service {
    let check = database.check();
    let service = service::Workflows { operator: Operator::new(database, clock) };
    mesh::Service::new("workflows")
        .mount(WorkflowsServiceServer::new(service))
        .check("postgres", check)
}
