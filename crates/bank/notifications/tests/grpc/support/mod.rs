//! A mesh with notifications in it, and those around it that they need.

mod customers;
mod provider;
mod sink;
mod world;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use customers::Customers;
pub(crate) use provider::{Answer, Provider};
pub(crate) use sink::Sink;
pub(crate) use world::{Client, World, welcome};

/// Longest wait for anything that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something, and fails when it takes too long.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
