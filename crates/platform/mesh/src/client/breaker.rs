//! The circuit breaker: stops calling an upstream that fails, and finds out when it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use metrics::Gauge;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::config::BreakerConfig;
use crate::error::DOMAIN;

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

/// Whether an error blames the upstream, rather than the request: a refusal shows that it works,
/// and so does an error that it explains itself, such as a dependency of one of its methods that is
/// away.
pub fn is_fault(status: &Status) -> bool {
    use Code::{DeadlineExceeded, Internal, Unavailable, Unknown};
    let failed = matches!(status.code(), Unavailable | DeadlineExceeded | Internal | Unknown);
    // Explained: by the service itself, not by the mesh around it.
    failed && status.get_details_error_info().is_none_or(|info| info.domain == DOMAIN)
}

/// The breaker of one upstream.
///
/// It opens on either of two signs: failures in a row, or the share of failures among the calls of
/// the last while. After a time it lets a few probes through: when all succeed it closes, when one
/// fails it opens again. Calls that go well while it is closed take no lock.
pub struct Breaker {
    upstream: Arc<str>,
    config: BreakerConfig,
    gauge: Gauge,
    /// Counts changes of phase, and says which it is now: what a call admitted in an earlier phase
    /// brings is old news. Written with `phase` locked.
    era: AtomicU64,
    in_a_row: AtomicU32,
    window: Window,
    phase: Mutex<Phase>,
}

enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { admitted: u32, succeeded: u32 },
}

impl Breaker {
    /// A closed breaker of `upstream`, whose state `gauge` shows: 0 closed, 1 half open, 2 open.
    pub fn new(upstream: Arc<str>, config: BreakerConfig, gauge: Gauge) -> Arc<Self> {
        gauge.set(0);
        Arc::new(Self {
            upstream,
            gauge,
            era: AtomicU64::new(CLOSED),
            in_a_row: AtomicU32::new(0),
            window: Window::new(config.window),
            phase: Mutex::new(Phase::Closed),
            config,
        })
    }

    /// Lets a call through, or says how long to wait.
    pub fn admit(self: &Arc<Self>) -> Result<Permit, Duration> {
        let era = self.era.load(Ordering::Acquire);
        if is_closed(era) {
            return Ok(self.permit(era));
        }
        let now = Instant::now();
        let mut phase = self.phase.lock();
        match &mut *phase {
            Phase::Closed => {}
            Phase::Open { until } if now < *until => return Err(*until - now),
            Phase::Open { .. } => {
                self.enter(&mut phase, Phase::HalfOpen { admitted: 1, succeeded: 0 });
            }
            Phase::HalfOpen { admitted, .. } if *admitted < self.config.probes.get() => {
                *admitted += 1;
            }
            Phase::HalfOpen { .. } => return Err(self.config.open_time),
        }
        Ok(self.permit(self.era.load(Ordering::Relaxed)))
    }

    fn permit(self: &Arc<Self>, era: u64) -> Permit {
        Permit { breaker: Arc::clone(self), era, recorded: false }
    }

    /// Whether calls go through now.
    pub fn state(&self) -> BreakerState {
        self.phase.lock().state()
    }

    fn record(&self, era: u64, failed: bool) {
        let now = Instant::now();
        if !failed && is_closed(era) {
            if self.in_a_row.load(Ordering::Relaxed) != 0 {
                self.in_a_row.store(0, Ordering::Relaxed);
            }
            return self.window.add(now, false);
        }
        let mut phase = self.phase.lock();
        if self.era.load(Ordering::Relaxed) != era {
            return;
        }
        let next = match &mut *phase {
            Phase::Closed => {
                let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
                self.window.add(now, true);
                let opens = in_a_row >= self.config.consecutive_failures.get()
                    || self.window.is_bad(&self.config);
                opens.then(|| self.open(now))
            }
            Phase::HalfOpen { .. } if failed => Some(self.open(now)),
            Phase::HalfOpen { succeeded, .. } => {
                *succeeded += 1;
                (*succeeded >= self.config.probes.get()).then_some(Phase::Closed)
            }
            Phase::Open { .. } => None,
        };
        if let Some(next) = next {
            self.enter(&mut phase, next);
        }
    }

    /// Gives the place of a probe back whose outcome nobody waited for.
    fn release(&self, era: u64) {
        if is_closed(era) {
            return;
        }
        let mut phase = self.phase.lock();
        if self.era.load(Ordering::Relaxed) == era
            && let Phase::HalfOpen { admitted, .. } = &mut *phase
        {
            *admitted -= 1;
        }
    }

    fn open(&self, now: Instant) -> Phase {
        Phase::Open { until: now + self.config.open_time }
    }

    fn enter(&self, phase: &mut Phase, next: Phase) {
        *phase = next;
        let upstream = &*self.upstream;
        let step = match phase.state() {
            BreakerState::Closed => {
                self.in_a_row.store(0, Ordering::Relaxed);
                self.window.clear(Instant::now());
                tracing::info!(upstream, "circuit breaker closed");
                CLOSED
            }
            BreakerState::HalfOpen => {
                tracing::info!(upstream, "circuit breaker lets probes through");
                HALF_OPEN
            }
            BreakerState::Open => {
                tracing::warn!(upstream, "circuit breaker opened");
                OPEN
            }
        };
        let era = self.era.load(Ordering::Relaxed);
        self.era.store((era / ERA + 1) * ERA + step, Ordering::Release);
        self.gauge.set(phase.state() as u8);
    }
}

/// An era is a multiple of this, plus the phase that it is of.
const ERA: u64 = 4;
const CLOSED: u64 = 0;
const HALF_OPEN: u64 = 1;
const OPEN: u64 = 2;

fn is_closed(era: u64) -> bool {
    era % ERA == CLOSED
}

impl Phase {
    fn state(&self) -> BreakerState {
        match self {
            Self::Closed => BreakerState::Closed,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
            Self::Open { .. } => BreakerState::Open,
        }
    }
}

/// Leave to make one call. Dropped without a record, it tells nothing of the upstream.
pub struct Permit {
    breaker: Arc<Breaker>,
    era: u64,
    recorded: bool,
}

impl Permit {
    /// Tells how the call went.
    pub fn record(mut self, failed: bool) {
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
    origin: Instant,
    /// Number of the youngest bucket, counted from `origin`. Written with `turning` locked.
    youngest: AtomicU64,
    turning: Mutex<()>,
    buckets: [Bucket; BUCKETS],
}

#[derive(Default)]
struct Bucket {
    calls: AtomicU32,
    failures: AtomicU32,
}

impl Window {
    fn new(span: Duration) -> Self {
        Self {
            bucket_time: (span / 10).max(Duration::from_millis(1)),
            origin: Instant::now(),
            youngest: AtomicU64::new(0),
            turning: Mutex::new(()),
            buckets: Default::default(),
        }
    }

    fn add(&self, now: Instant, failed: bool) {
        let number = self.number(now);
        if self.youngest.load(Ordering::Acquire) < number {
            self.turn(number);
        }
        // A call that comes just as its bucket is turned may be lost to the count.
        let bucket = &self.buckets[slot(number)];
        bucket.calls.fetch_add(1, Ordering::Relaxed);
        if failed {
            bucket.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn number(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.origin);
        u64::try_from(elapsed.as_nanos() / self.bucket_time.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Empties the buckets that have become too old, up to `number`.
    fn turn(&self, number: u64) {
        let _turning = self.turning.lock();
        let youngest = self.youngest.load(Ordering::Relaxed);
        // Older than the whole window: all of it is outdated at once.
        let oldest = (youngest + 1).max(number.saturating_sub(BUCKETS as u64 - 1));
        for number in oldest..=number {
            self.buckets[slot(number)].clear();
        }
        self.youngest.store(youngest.max(number), Ordering::Release);
    }

    fn clear(&self, now: Instant) {
        self.turn(self.number(now));
        self.buckets.iter().for_each(Bucket::clear);
    }

    fn is_bad(&self, config: &BreakerConfig) -> bool {
        let sum = |count: fn(&Bucket) -> &AtomicU32| -> u64 {
            self.buckets.iter().map(|bucket| u64::from(count(bucket).load(Ordering::Relaxed))).sum()
        };
        let (calls, failures) = (sum(|bucket| &bucket.calls), sum(|bucket| &bucket.failures));
        calls >= u64::from(config.volume_min.get())
            && failures * 100 >= calls * u64::from(config.failure_percent.get())
    }
}

impl Bucket {
    fn clear(&self) {
        self.calls.store(0, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
    }
}

fn slot(number: u64) -> usize {
    usize::try_from(number % BUCKETS as u64).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
