//! What comes after an attempt to deliver.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Status;

/// Longest wait that a provider may ask for.
const ASKED_MAX: Duration = Duration::from_hours(24);

/// How an attempt ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The channel took it, under a name of its own.
    Sent {
        /// Empty where the channel gives none.
        reference: String,
    },
    /// A repeat may succeed.
    Unsure(Failure),
    /// No repeat will.
    Refused(&'static str),
}

/// Why an attempt may be repeated, and when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    /// Stable reason.
    pub(crate) reason: &'static str,
    /// What the provider asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

impl Outcome {
    /// A failure that may pass, after which nobody asks for a certain wait.
    pub(crate) fn unsure(reason: &'static str) -> Self {
        Self::Unsure(Failure { reason, retry_after: None })
    }
}

/// How often and how soon deliveries are tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries {
    /// Attempts after which one is given up.
    pub(crate) attempts_max: i32,
    /// Wait after the first failure; each later one is four times as long.
    pub(crate) delay: Duration,
    /// Longest wait.
    pub(crate) delay_max: Duration,
}

/// What a delivery is from now on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Next {
    pub(crate) status: Status,
    pub(crate) reason: &'static str,
    pub(crate) reference: String,
    /// When it is tried again.
    pub(crate) at: Option<DateTime<Utc>>,
}

impl Retries {
    /// What becomes of a delivery whose attempt number `attempt`, from 1, ended so at `now`.
    /// `chance` is from 0 to 1: waits are between three quarters and all of what they are.
    pub(crate) fn next(
        &self,
        outcome: Outcome,
        attempt: i32,
        now: DateTime<Utc>,
        chance: f64,
    ) -> Next {
        let ended = |status, reason, reference| Next { status, reason, reference, at: None };
        match outcome {
            Outcome::Sent { reference } => ended(Status::Sent, "", reference),
            Outcome::Refused(reason) => ended(Status::Failed, reason, String::new()),
            Outcome::Unsure(failure) if attempt >= self.attempts_max => {
                ended(Status::Failed, failure.reason, String::new())
            }
            Outcome::Unsure(failure) => {
                let asked = failure.retry_after.unwrap_or_default().min(ASKED_MAX);
                let at = now + self.delay(attempt, chance).max(asked);
                let reason = failure.reason;
                Next { status: Status::Pending, reason, reference: String::new(), at: Some(at) }
            }
        }
    }

    fn delay(&self, attempt: i32, chance: f64) -> Duration {
        let exponent = u32::try_from(attempt.saturating_sub(1)).unwrap_or_default();
        let delay = self.delay.saturating_mul(4_u32.saturating_pow(exponent)).min(self.delay_max);
        delay.mul_f64(0.75 + chance / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRIES: Retries = Retries {
        attempts_max: 6,
        delay: Duration::from_secs(30),
        delay_max: Duration::from_mins(30),
    };

    fn wait(attempt: i32, chance: f64, asked: Option<u64>) -> Option<i64> {
        let now = DateTime::UNIX_EPOCH;
        let retry_after = asked.map(Duration::from_secs);
        let failure = Failure { reason: "PROVIDER_UNAVAILABLE", retry_after };
        let next = RETRIES.next(Outcome::Unsure(failure), attempt, now, chance);
        assert_eq!(next.reason, "PROVIDER_UNAVAILABLE");
        let status = if next.at.is_some() { Status::Pending } else { Status::Failed };
        assert_eq!(next.status, status);
        next.at.map(|at| (at - now).num_seconds())
    }

    #[test]
    fn waits_grow_to_their_limit_and_then_it_is_given_up() {
        for (attempt, chance, asked, expected) in [
            (1, 1.0, None, Some(30)),
            (2, 1.0, None, Some(120)),
            (3, 1.0, None, Some(480)),
            (4, 1.0, None, Some(1800)),
            (5, 1.0, None, Some(1800)),
            (6, 1.0, None, None),
            (7, 1.0, None, None),
            (2, 0.0, None, Some(90)),
            (2, 0.5, None, Some(105)),
            // What a provider asks for counts when it is longer, up to a day.
            (1, 1.0, Some(10), Some(30)),
            (1, 1.0, Some(600), Some(600)),
            (1, 1.0, Some(1_000_000), Some(86_400)),
            (6, 1.0, Some(600), None),
        ] {
            assert_eq!(wait(attempt, chance, asked), expected, "{attempt} {chance} {asked:?}");
        }
    }

    #[test]
    fn what_is_certain_ends_at_once() {
        let now = DateTime::UNIX_EPOCH;
        let sent = Outcome::Sent { reference: "r".into() };
        let next = RETRIES.next(sent, 1, now, 0.0);
        assert_eq!((next.status, next.reason, next.at), (Status::Sent, "", None));
        assert_eq!(next.reference, "r");

        let next = RETRIES.next(Outcome::Refused("REJECTED"), 1, now, 0.0);
        assert_eq!((next.status, next.reason, next.at), (Status::Failed, "REJECTED", None));
    }
}
