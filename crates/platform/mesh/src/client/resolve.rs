//! Finds the addresses behind the names of an upstream's endpoints, and keeps looking.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::client::balance::Endpoints;

/// Shortest time between two looks, however many calls fail.
const PAUSE: Duration = Duration::from_millis(200);

/// Longest time of one look.
const PATIENCE: Duration = Duration::from_secs(2);

/// Keeps `endpoints` at what `names` (`host:port`) stand for. Addresses are taken as they are, at
/// once; host names need a task, which ends when the handle is dropped.
pub(super) fn follow(
    endpoints: &Arc<Endpoints>,
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
            resolve(&endpoints, &names).await;
            sleep(PAUSE).await;
            // Whichever is first: time, or a sign that what we know is outdated.
            let _ = timeout(every, endpoints.failed.notified()).await;
        }
    });
    Some(AbortOnDropHandle::new(task))
}

/// Takes the addresses over that are found. What cannot be resolved keeps its old addresses.
async fn resolve(endpoints: &Endpoints, names: &[String]) {
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
