//! Everything that webhooks keep in PostgreSQL. Row-level security picks the tenant.

mod deliveries;
mod due;
mod endpoints;
mod inbound;
mod messages;
mod retention;

use ::events::Outbox;
use storage::Database;

pub(crate) use deliveries::{Attempt, Filter};
pub(crate) use due::{Claimed, Finished, Room};
pub(crate) use endpoints::NewSecret;
pub(crate) use inbound::{Kept, Received};
pub(crate) use messages::{Replay, message_accept_in_txn};
pub(crate) use retention::Old;

/// The tables.
#[derive(Clone)]
pub(crate) struct Store {
    database: Database,
    outbox: Outbox,
}

impl Store {
    pub(crate) fn new(database: Database) -> Self {
        Self { outbox: Outbox::new(&database), database }
    }
}
