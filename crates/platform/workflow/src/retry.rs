//! How often a step is tried, and how long is waited between.

use std::time::Duration;

use rand::RngExt;

/// How often a step is tried, its compensation as often, and the waits between: each twice as long as
/// the one before it, up to a limit, and a random part of it so that many do not come at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    attempts_max: u32,
    delay: Duration,
    delay_max: Duration,
}

impl Default for Retry {
    /// Ten times in about four minutes: after 1 s at first, a minute at most.
    fn default() -> Self {
        Self::times(10)
    }
}

impl Retry {
    /// Up to `attempts_max` attempts, with the waits of the default.
    ///
    /// An attempt whose process died counts, so with 1 a step is begun at most once, ever.
    ///
    /// # Panics
    /// When it is zero.
    pub const fn times(attempts_max: u32) -> Self {
        assert!(attempts_max > 0, "a step is tried at least once");
        Self { attempts_max, delay: Duration::from_secs(1), delay_max: Duration::from_mins(1) }
    }

    /// Waits `delay` after the first attempt, and `delay_max` at most.
    pub const fn waiting(self, delay: Duration, delay_max: Duration) -> Self {
        Self { delay, delay_max, ..self }
    }

    pub(crate) fn attempts_max(self) -> u32 {
        self.attempts_max
    }

    /// Wait after so many failed attempts: between half of it and all.
    pub(crate) fn delay_after(self, attempts: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let longest = self.delay.saturating_mul(doubled).min(self.delay_max);
        longest.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit() {
        let retry = Retry::times(100).waiting(Duration::from_secs(1), Duration::from_secs(10));
        for (attempts, longest) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (99, 10)] {
            for _ in 0..100 {
                let delay = retry.delay_after(attempts);
                let longest = Duration::from_secs(longest);
                assert!(delay <= longest && delay >= longest / 2, "{attempts}: {delay:?}");
            }
        }
    }
}
