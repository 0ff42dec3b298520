//! Who sends which batch, and when.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Numbers of batches, each taken once, as fast as may be or at a steady pace.
#[derive(Debug)]
pub(crate) struct Turns {
    first: u64,
    next: AtomicU64,
    end: u64,
    pace: Duration,
    started: Instant,
}

impl Turns {
    /// Batches of these numbers, as fast as may be.
    pub(crate) fn of(batches: Range<u64>) -> Self {
        Self::paced(batches, Duration::ZERO)
    }

    /// Batches of these numbers, one every `pace`.
    pub(crate) fn paced(batches: Range<u64>, pace: Duration) -> Self {
        let Range { start: first, end } = batches;
        Self { first, next: AtomicU64::new(first), end, pace, started: Instant::now() }
    }

    /// Waits for the next batch's time, and takes it.
    pub(crate) async fn take(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.end {
            return None;
        }
        let after = u32::try_from(number - self.first).unwrap_or(u32::MAX);
        tokio::time::sleep_until((self.started + self.pace * after).into()).await;
        Some(number)
    }

    /// How many batches there are.
    pub(crate) fn count(&self) -> u64 {
        self.end - self.first
    }

    /// Time since the first could be taken.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
