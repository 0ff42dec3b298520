//! The arithmetic: what one request takes from all windows.

use std::time::Duration;

use bytes::Bytes;

use crate::config::{ConfigError, Window};

/// Windows of one class and tier; a caller's counts have a fixed size.
pub(super) const WINDOWS_MAX: usize = 4;

/// The longest window; microseconds stay exact in the numbers of Redis' scripts.
const PER_MAX: Duration = Duration::from_hours(24 * 366);

/// When a caller will have rested, by window: microseconds since the limiter began.
pub(super) type RestedAt = [u64; WINDOWS_MAX];

/// Windows that a request must fit, all of them.
pub(super) struct Rule {
    name: String,
    windows: Vec<Span>,
    /// The `RateLimit-Policy` header.
    policy: Bytes,
}

/// A window in microseconds.
pub(super) struct Span {
    pub(super) window: Window,
    /// Its name in the headers, up to the remaining requests: `"default-60s";r=`.
    pub(super) label: String,
    /// Time after which one request comes back, rounded up.
    pub(super) interval: u64,
    /// Time after which all are back.
    pub(super) whole: u64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Outcome {
    /// Microseconds to wait; 0 when the request is admitted.
    pub(super) wait: u64,
    /// Microseconds until the caller has rested, by window.
    pub(super) owed: [u64; WINDOWS_MAX],
}

/// A window, or all of them, that cannot be applied.
#[derive(Debug)]
pub(super) struct Fault {
    /// Of which window.
    place: String,
    text: &'static str,
}

impl Fault {
    pub(super) fn of(self, field: &str) -> ConfigError {
        ConfigError::new(format!("{field}{}", self.place), self.text)
    }
}

impl Rule {
    pub(super) fn new(name: &str, windows: &[Window]) -> Result<Self, Fault> {
        if windows.len() > WINDOWS_MAX {
            return Err(Fault { place: String::new(), text: "has more than 4 windows" });
        }
        for (index, window) in windows.iter().enumerate() {
            if let Err(text) = check(window) {
                return Err(Fault { place: format!("[{index}].per"), text });
            }
        }
        let policy = windows.iter().map(|window| {
            format!("{};q={};w={}", label(name, window), window.requests, seconds(window.per))
        });
        Ok(Self {
            name: name.to_owned(),
            policy: policy.collect::<Vec<_>>().join(", ").into(),
            windows: windows.iter().map(|window| Span::new(name, window)).collect(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn policy(&self) -> &Bytes {
        &self.policy
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.windows
    }

    pub(super) fn is_unlimited(&self) -> bool {
        self.windows.is_empty()
    }

    /// Counts one request in all windows, or in none if any refuses it.
    pub(super) fn count(&self, rested_at: &mut RestedAt, now: u64) -> Outcome {
        let mut outcome = self.look(rested_at, now);
        if outcome.wait == 0 {
            let spans = self.windows.iter().zip(&mut outcome.owed).zip(rested_at);
            for ((span, owed), rested_at) in spans {
                *owed += span.interval;
                *rested_at = now + *owed;
            }
        }
        outcome
    }

    /// What would become of a request.
    pub(super) fn look(&self, rested_at: &RestedAt, now: u64) -> Outcome {
        let mut outcome = Outcome::default();
        let spans = self.windows.iter().zip(&mut outcome.owed).zip(rested_at);
        for ((span, owed), rested_at) in spans {
            *owed = rested_at.saturating_sub(now);
            outcome.wait = outcome.wait.max((*owed + span.interval).saturating_sub(span.whole));
        }
        outcome
    }
}

impl Span {
    fn new(name: &str, window: &Window) -> Self {
        let requests = u64::from(window.requests.get());
        let interval = micros(window.per).div_ceil(requests);
        let label = format!("{};r=", label(name, window));
        Self { window: *window, label, interval, whole: interval * requests }
    }
}

impl Outcome {
    /// Remembers what another counted at `now` or after.
    pub(super) fn follow(&self, rested_at: &mut RestedAt, now: u64) {
        for (rested_at, owed) in rested_at.iter_mut().zip(self.owed) {
            *rested_at = (*rested_at).max(now + owed);
        }
    }
}

fn check(window: &Window) -> Result<(), &'static str> {
    if window.per.is_zero() {
        return Err("a window must take some time");
    }
    if window.per > PER_MAX {
        return Err("a window must take a year at most");
    }
    if micros(window.per) < u64::from(window.requests.get()) {
        return Err("a window must admit a million requests per second at most");
    }
    Ok(())
}

/// Name of a window in the headers: `"default-60s"`.
fn label(name: &str, window: &Window) -> String {
    format!("\"{name}-{}s\"", seconds(window.per))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
