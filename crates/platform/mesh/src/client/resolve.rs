//! Finds the addresses behind the names of an upstream's endpoints, and keeps looking.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Shortest time between two looks, however many calls fail.
const PAUSE: Duration = Duration::from_millis(200);

/// Longest time of one look.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is kept at the addresses that names stand for.
pub trait Resolved: Send + Sync + 'static {
    /// Replaces the addresses.
    fn set(&self, addresses: &[SocketAddr]);

    /// Whether the names have been resolved, now or at any time before.
    fn is_known(&self) -> bool;

    /// Notified when what was found last may be outdated.
    fn outdated(&self) -> &Notify;
}

/// Keeps `endpoints` at what `names` (`host:port`) stand for. Addresses are taken as they are, at
/// once; host names need a task, which ends when the handle is dropped.
///
/// # Panics
/// With a host name outside of a tokio runtime.
pub fn follow<E: Resolved>(
    endpoints: &Arc<E>,
    names: Vec<String>,
    every: Duration,
) -> Option<AbortOnDropHandle<()>> {
    let literal: Result<Vec<SocketAddr>, _> = names.iter().map(|name| name.parse()).collect();
    if let Ok(addresses) = literal {
        endpoints.set(&addresses);
        return None;
    }
    let endpoints = Arc::clone(endpoints);
    let task = tokio::spawn(async move {
        loop {
            resolve(&*endpoints, &names).await;
            sleep(PAUSE).await;
            // Whichever is first: time, or a sign that what we know is outdated.
            let _ = timeout(every, endpoints.outdated().notified()).await;
        }
    });
    Some(AbortOnDropHandle::new(task))
}

/// Takes the addresses over that are found. What cannot be resolved keeps its old addresses.
async fn resolve(endpoints: &impl Resolved, names: &[String]) {
    let mut found = BTreeSet::new();
    let mut complete = true;
    for name in names {
        match timeout(PATIENCE, lookup_host(name)).await {
            Ok(Ok(addresses)) => found.extend(addresses),
            failed => {
                complete = false;
                tracing::warn!(name, error = ?failed.err(), "cannot resolve an endpoint");
            }
        }
    }
    if complete || !endpoints.is_known() {
        endpoints.set(&found.into_iter().collect::<Vec<_>>());
    }
}
