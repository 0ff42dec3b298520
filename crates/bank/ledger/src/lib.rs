//! The ledger: the one owner of money.
//!
//! This crate is the gRPC service `malha.ledger.v1` over an engine, which keeps accounts, the
//! transfers between them and the history of every balance in a hash-chained, signed journal. What
//! a request may say is read in `read`, what is answered is shown by `show` and `prove`; there is
//! no rule about money here.
//!
//! Invariants, of the crates below:
//! - Every transfer debits one account and credits another by the same amount: total debits are
//!   total credits, posted and on hold, in every tenant and ledger.
//! - No account passes its limit and overdraft, and no side of one passes 2^63 - 1 minor units.
//! - A caller gets an answer, and a reader sees a change, only once it is on disk.
//! - The same blocks give the same state: holds end by the times of blocks, never by a clock.
//! - An id means one thing for ever: the transfer that was created with it, or its refusal.
//! - Nothing of a tenant can be read or moved by a call of another.
//! - What the journal says is proved by its hashes before it is believed, and can be proved to
//!   anybody who has the public key.

mod config;
mod error;
mod prove;
mod read;
mod service;
mod show;
mod watch;

use std::future::pending;
use std::sync::Arc;

use clock::Clock;
use contracts::ledger::v1::ledger_service_server::LedgerServiceServer;
use engine::Engine;
use mesh::Mesh;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use engine::OpenError;
pub use error::StartError;

use service::Ledger;

/// Most bytes of a request: a batch of transfers with as much metadata as there may be.
const REQUEST_BYTES_MAX: usize = 16 << 20;

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
    let opening = move || span.in_scope(|| Engine::open(&config.into(), clock));
    Ok(service(tokio::task::spawn_blocking(opening).await??))
}

/// Serves an engine for as long as it runs.
fn service(engine: Engine) -> mesh::Service {
    let engine = Arc::new(engine);
    // Only a restart reads from the disk what has become of the last block.
    let stopped = engine.stopped();
    let stop = CancellationToken::new();
    let ledger = Ledger::new(Arc::clone(&engine), stop.clone());
    let server = LedgerServiceServer::new(ledger).max_decoding_message_size(REQUEST_BYTES_MAX);
    mesh::Service::new("ledger")
        .mount(server)
        // What takes long is done by the threads of the engine, and where blocking is allowed.
        .per_core()
        .check("journal", move || {
            let health = engine.health();
            async move { health }
        })
        // Dropped when the service stops, which else would wait for those that watch.
        .task("watch", move || {
            let stop = stop.clone().drop_guard();
            async move {
                let _stop = stop;
                pending::<()>().await;
            }
        })
        .fatal(stopped)
}
