//! Work that runs beside the calls of a service.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::FutureExt;
use tokio::time::Instant;

use crate::server::service::Task;

/// Waits before a restart: from 100 ms to 30 s, jittered.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(30))
    .with_jitter()
    .without_max_times();

/// A run of this length was a good one: the waits begin anew.
const GOOD_RUN: Duration = Duration::from_mins(1);

/// Runs `task` for ever: when it ends or panics it is started again, after a while.
pub(super) async fn supervise(task: Task) {
    let mut delays = BACKOFF.build();
    loop {
        let started = Instant::now();
        // The task starts from nothing each time, so nothing half-changed is seen.
        match AssertUnwindSafe((task.run)()).catch_unwind().await {
            Ok(()) => tracing::warn!(task = task.name, "background task ended, starting it again"),
            Err(_) => {
                tracing::error!(task = task.name, "background task panicked, starting it again");
            }
        }
        if started.elapsed() >= GOOD_RUN {
            delays = BACKOFF.build();
        }
        tokio::time::sleep(delays.next().unwrap_or(GOOD_RUN)).await;
    }
}
