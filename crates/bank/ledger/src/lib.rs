//! The ledger: the one owner of money.
//!
//! A deterministic double-entry state machine over an append-only, hash-chained journal. It owns
//! accounts, the transfers between them, and the history of every balance.
//!
//! Invariants:
//! - Every transfer debits one account and credits another by the same amount: total debits are
//!   total credits, posted and on hold, in every tenant and ledger.
//! - No account passes its limit, and no side of one passes 2^63 - 1 minor units.
//! - A caller gets an answer, and a reader sees a change, only once it is on disk.
//! - The same blocks give the same state: holds end by the times of blocks, never by a clock.
//! - An id means one thing for ever: the transfer that was created with it, or its refusal.
//! - Nothing of a tenant can be read or moved by a call of another.
//! - What the journal says is proved by its hashes before it is believed.
//!
//! Linked items are accepted together or not at all. A group that is sent again as a whole is
//! `EXISTS` as a whole; one of which only a part exists is refused.

mod config;
mod domain;
mod engine;
mod error;
mod journal;
mod service;
mod wire;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use clock::Clock;
use contracts::ledger::v1::ledger_service_server::LedgerServiceServer;
use mesh::Mesh;
use tracing::info;

pub use config::Config;
pub use error::StartError;
pub use journal::JournalError;

use domain::State;
use engine::Engine;
use journal::{FileJournal, Journal};
use service::Ledger;

/// Recovers the ledger from its journal and mounts the service.
///
/// # Errors
/// When the journal is missing and may not be created, is broken, in use by another process, or
/// cannot be read or created.
pub async fn start(
    config: Config,
    _mesh: &Mesh,
    clock: Clock,
) -> Result<mesh::Service, StartError> {
    let span = tracing::Span::current();
    let recovering = move || span.in_scope(|| recover(&config.journal, config.create));
    let recovered = tokio::task::spawn_blocking(recovering).await;
    let (state, journal) = recovered.map_err(std::io::Error::other)??;
    Ok(service(Engine::start(state, Box::new(journal), clock)?))
}

/// Serves an engine for as long as it runs.
fn service(engine: Engine) -> mesh::Service {
    let engine = Arc::new(engine);
    // Only a restart reads from the disk what has become of the last block.
    let stopped = engine.stopped();
    mesh::Service::new("ledger")
        .mount(LedgerServiceServer::new(Ledger::new(Arc::clone(&engine))))
        .check("journal", move || {
            let health = engine.health();
            async move { health }
        })
        .fatal(stopped)
}

/// The state after every block of the journal in `folder`, and that journal, which is created
/// when it is missing and `create` says so.
fn recover(folder: &Path, create: bool) -> Result<(State, FileJournal), JournalError> {
    let started = Instant::now();
    let mut state = State::default();
    let mut journal = FileJournal::open(folder, create)?;
    let replayed =
        journal.replay(&mut |block| state.replay(block).map_err(|error| error.to_string()))?;
    info!(
        blocks = replayed.blocks,
        transfers = replayed.transfers,
        duration = format!("{}ms", started.elapsed().as_millis()),
        "recovered the ledger from its journal"
    );
    Ok((state, journal))
}
