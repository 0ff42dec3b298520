//! Everything that webhooks keep in PostgreSQL. Row-level security picks the tenant.

mod deliveries;
mod due;
mod endpoints;
mod inbound;
mod messages;
mod retention;

use ::events::Outbox;
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::Database;

pub(crate) use deliveries::{Attempt, Filter};
pub(crate) use due::{Claimed, Finished, Room};
pub(crate) use endpoints::NewSecret;
pub(crate) use inbound::{Kept, Received};
pub(crate) use messages::{Replay, message_accept_in_txn};

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

/// A column that holds one of a few names.
fn named<T: Copy>(
    row: &PgRow,
    column: &str,
    all: impl IntoIterator<Item = T>,
    name: fn(T) -> &'static str,
) -> Result<T, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    let found = all.into_iter().find(|one| name(*one) == text);
    found.ok_or_else(|| sqlx::Error::Decode(format!("{column} is none that we know").into()))
}
