//! The circuit breaker: stops calling an upstream that fails, and finds out when it is back.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::config::BreakerConfig;

/// Whether calls go through.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BreakerState {
    /// They do.
    Closed,
    /// A few do, as probes.
    HalfOpen,
    /// None does.
    Open,
}

/// The breaker of one upstream.
///
/// It opens on either of two signs: failures in a row, or the share of failures among the calls of
/// the last while. After a time it lets a few probes through: when all succeed it closes, when one
/// fails it opens again.
pub(crate) struct Breaker {
    upstream: Arc<str>,
    config: BreakerConfig,
    gauge: Gauge,
    inner: Mutex<Inner>,
}

struct Inner {
    phase: Phase,
    /// Counts changes of phase: what a call admitted in an earlier phase brings is old news.
    era: u64,
}

enum Phase {
    Closed { in_a_row: u32, window: Window },
    Open { until: Instant },
    HalfOpen { admitted: u32, succeeded: u32 },
}

impl Breaker {
    pub(crate) fn new(service: &str, upstream: Arc<str>, config: BreakerConfig) -> Arc<Self> {
        let gauge = gauge!(
            "malha_mesh_breaker_state",
            "service" => service.to_owned(), "upstream" => upstream.to_string()
        );
        gauge.set(0);
        let phase = closed(&config);
        Arc::new(Self { upstream, config, gauge, inner: Mutex::new(Inner { phase, era: 0 }) })
    }

    /// Lets a call through, or says how long to wait.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Permit, Duration> {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        match &mut inner.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } if now < *until => return Err(*until - now),
            Phase::Open { .. } => {
                self.enter(&mut inner, Phase::HalfOpen { admitted: 1, succeeded: 0 });
            }
            Phase::HalfOpen { admitted, .. } if *admitted < self.config.probes.get() => {
                *admitted += 1;
            }
            Phase::HalfOpen { .. } => return Err(self.config.open_time),
        }
        Ok(Permit { breaker: Arc::clone(self), era: inner.era, recorded: false })
    }

    /// Whether calls go through now.
    pub(crate) fn state(&self) -> BreakerState {
        self.inner.lock().phase.state()
    }

    fn record(&self, era: u64, failed: bool) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        if inner.era != era {
            return;
        }
        let next = match &mut inner.phase {
            Phase::Closed { in_a_row, window } => {
                *in_a_row = if failed { *in_a_row + 1 } else { 0 };
                window.add(now, failed);
                let opens = failed
                    && (*in_a_row >= self.config.consecutive_failures.get()
                        || window.is_bad(&self.config));
                opens.then(|| self.open(now))
            }
            Phase::HalfOpen { .. } if failed => Some(self.open(now)),
            Phase::HalfOpen { succeeded, .. } => {
                *succeeded += 1;
                (*succeeded >= self.config.probes.get()).then(|| closed(&self.config))
            }
            Phase::Open { .. } => None,
        };
        if let Some(next) = next {
            self.enter(&mut inner, next);
        }
    }

    /// Gives the place of a probe back whose outcome nobody waited for.
    fn release(&self, era: u64) {
        let mut inner = self.inner.lock();
        if inner.era == era
            && let Phase::HalfOpen { admitted, .. } = &mut inner.phase
        {
            *admitted -= 1;
        }
    }

    fn open(&self, now: Instant) -> Phase {
        Phase::Open { until: now + self.config.open_time }
    }

    fn enter(&self, inner: &mut Inner, phase: Phase) {
        inner.phase = phase;
        inner.era += 1;
        let upstream = &*self.upstream;
        match inner.phase.state() {
            BreakerState::Closed => tracing::info!(upstream, "circuit breaker closed"),
            BreakerState::HalfOpen => {
                tracing::info!(upstream, "circuit breaker lets probes through");
            }
            BreakerState::Open => tracing::warn!(upstream, "circuit breaker opened"),
        }
        self.gauge.set(inner.phase.state() as u8);
    }
}

impl Phase {
    fn state(&self) -> BreakerState {
        match self {
            Self::Closed { .. } => BreakerState::Closed,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
            Self::Open { .. } => BreakerState::Open,
        }
    }
}

fn closed(config: &BreakerConfig) -> Phase {
    Phase::Closed { in_a_row: 0, window: Window::new(config.window) }
}

/// Leave to make one call. Dropped without a record, it tells nothing of the upstream.
pub(crate) struct Permit {
    breaker: Arc<Breaker>,
    era: u64,
    recorded: bool,
}

impl Permit {
    /// Tells how the call went.
    pub(crate) fn record(mut self, failed: bool) {
        self.recorded = true;
        self.breaker.record(self.era, failed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.recorded {
            self.breaker.release(self.era);
        }
    }
}

const BUCKETS: usize = 10;

/// Calls of the last while, in buckets of a tenth of it.
struct Window {
    bucket_time: Duration,
    /// Number of the youngest bucket, counted from `began`.
    youngest: u128,
    began: Instant,
    buckets: [Bucket; BUCKETS],
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    calls: u32,
    failures: u32,
}

impl Window {
    fn new(span: Duration) -> Self {
        let bucket_time = (span / 10).max(Duration::from_millis(1));
        Self { bucket_time, youngest: 0, began: Instant::now(), buckets: Default::default() }
    }

    fn add(&mut self, now: Instant, failed: bool) {
        let elapsed = now.saturating_duration_since(self.began);
        let bucket = elapsed.as_nanos() / self.bucket_time.as_nanos();
        while self.youngest < bucket {
            // Older than the whole window: all of it is outdated at once.
            self.youngest = (self.youngest + 1).max(bucket.saturating_sub(BUCKETS as u128 - 1));
            let slot = slot(self.youngest);
            self.buckets[slot] = Bucket::default();
        }
        let bucket = &mut self.buckets[slot(self.youngest)];
        bucket.calls += 1;
        bucket.failures += u32::from(failed);
    }

    fn is_bad(&self, config: &BreakerConfig) -> bool {
        let calls: u64 = self.buckets.iter().map(|bucket| u64::from(bucket.calls)).sum();
        let failures: u64 = self.buckets.iter().map(|bucket| u64::from(bucket.failures)).sum();
        calls >= u64::from(config.volume_min.get())
            && failures * 100 >= calls * u64::from(config.failure_percent.get())
    }
}

fn slot(bucket: u128) -> usize {
    // Less than BUCKETS, so it fits.
    (bucket % BUCKETS as u128) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
