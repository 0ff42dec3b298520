//! What an endpoint's answer means for the delivery, and for the endpoint.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::schedule::Schedule;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// 2xx.
    Delivered,
    /// Another status.
    Refused,
    /// No answer in time.
    Timeout,
    /// No connection, no trust, or the connection broke.
    Unreachable,
    /// Its name leads to an address that is not public.
    AddressRefused,
}

impl Outcome {
    pub(crate) const ALL: [Self; 5] =
        [Self::Delivered, Self::Refused, Self::Timeout, Self::Unreachable, Self::AddressRefused];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "DELIVERED",
            Self::Refused => "REFUSED",
            Self::Timeout => "TIMEOUT",
            Self::Unreachable => "UNREACHABLE",
            Self::AddressRefused => "ADDRESS_REFUSED",
        }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    /// How long the endpoint asks to wait.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) latency: Duration,
    /// Beginning of the body.
    pub(crate) response: String,
}

impl Answer {
    /// An attempt without an answer.
    pub(crate) fn none(outcome: Outcome, latency: Duration) -> Self {
        Self { outcome, status: None, retry_after: None, latency, response: String::new() }
    }

    pub(crate) fn is_delivered(&self) -> bool {
        self.outcome == Outcome::Delivered
    }

    /// 410 Gone: nothing is to be sent there any more.
    fn is_gone(&self) -> bool {
        self.status == Some(410)
    }

    /// The endpoint, or what stands before it, has too much to do.
    fn is_overloaded(&self) -> bool {
        matches!(self.status, Some(429 | 502 | 504))
    }
}

/// When the sender gives an endpoint rest.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    pub(crate) schedule: Schedule,
    /// Pause of an endpoint that has too much to do and does not say how long.
    pub(crate) throttle_pause: Duration,
    /// Failures in a row after which an endpoint is tried with one message at a time.
    pub(crate) breaker_failures: u32,
    /// Pause before the first such try; doubled with each that fails.
    pub(crate) breaker_pause: Duration,
    /// Longest such pause.
    pub(crate) breaker_pause_max: Duration,
    /// How long nothing may arrive before an endpoint is disabled.
    pub(crate) disable_after: Duration,
}

/// Longest pause that an endpoint may ask for.
const PAUSE_MAX: Duration = Duration::from_hours(24);

/// How an endpoint has done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    /// Failures in a row, this one among them.
    pub(crate) failures: u32,
    pub(crate) failing_since: DateTime<Utc>,
}

/// What is to be done with a delivery after an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    Delivered,
    Retry(DateTime<Utc>),
    Failed,
}

/// What is to be done with an endpoint after an attempt that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rest {
    None,
    PauseUntil(DateTime<Utc>),
    /// It answered that it is gone.
    Gone,
    /// Nothing arrived for too long.
    Failing,
}

impl Patience {
    /// What becomes of a delivery whose schedule has seen `step` failures before this answer.
    pub(crate) fn next(&self, answer: &Answer, step: usize, draw: f64, now: DateTime<Utc>) -> Next {
        if answer.is_delivered() {
            return Next::Delivered;
        }
        if answer.is_gone() {
            return Next::Failed;
        }
        let wait = self.schedule.after(step + 1, draw, answer.retry_after);
        wait.map_or(Next::Failed, |wait| Next::Retry(now + wait))
    }

    /// What becomes of an endpoint after this failure.
    pub(crate) fn rest(&self, answer: &Answer, health: Health, now: DateTime<Utc>) -> Rest {
        if answer.is_gone() {
            return Rest::Gone;
        }
        if now - health.failing_since >= duration(self.disable_after) {
            return Rest::Failing;
        }
        let throttled = answer
            .is_overloaded()
            .then(|| answer.retry_after.unwrap_or(self.throttle_pause).min(PAUSE_MAX));
        match throttled.max(self.broken(health.failures)) {
            Some(pause) => Rest::PauseUntil(now + pause),
            None => Rest::None,
        }
    }

    /// Whether an endpoint is tried with one message at a time.
    pub(crate) fn is_broken(&self, failures: u32) -> bool {
        failures >= self.breaker_failures
    }

    fn broken(&self, failures: u32) -> Option<Duration> {
        let further = failures.checked_sub(self.breaker_failures)?;
        let pause = self.breaker_pause.saturating_mul(1 << further.min(16));
        Some(pause.min(self.breaker_pause_max))
    }
}

/// Settings are at most years.
fn duration(of: Duration) -> chrono::Duration {
    chrono::Duration::from_std(of).unwrap_or(chrono::Duration::MAX)
}

/// Reads `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(u64::from(seconds)));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    Some((at.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience {
            schedule: Schedule::new(vec![Duration::from_secs(5), Duration::from_mins(5)]),
            throttle_pause: Duration::from_mins(1),
            breaker_failures: 3,
            breaker_pause: Duration::from_secs(30),
            breaker_pause_max: Duration::from_mins(5),
            disable_after: Duration::from_hours(120),
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn answer(status: u16, retry_after: Option<u64>) -> Answer {
        let outcome =
            if (200..300).contains(&status) { Outcome::Delivered } else { Outcome::Refused };
        Answer {
            status: Some(status),
            retry_after: retry_after.map(Duration::from_secs),
            ..Answer::none(outcome, Duration::ZERO)
        }
    }

    fn in_seconds(seconds: u64) -> DateTime<Utc> {
        now() + Duration::from_secs(seconds)
    }

    /// B-20: "Delivery success and failure" of the specification.
    #[test]
    fn every_answer_means_what_the_specification_says() {
        for (answer, next, rest) in [
            (answer(200, None), Next::Delivered, None),
            (answer(299, None), Next::Delivered, None),
            (answer(301, None), Next::Retry(in_seconds(5)), Some(Rest::None)),
            (answer(404, None), Next::Retry(in_seconds(5)), Some(Rest::None)),
            (answer(500, None), Next::Retry(in_seconds(5)), Some(Rest::None)),
            (answer(503, Some(60)), Next::Retry(in_seconds(60)), Some(Rest::None)),
            (answer(410, None), Next::Failed, Some(Rest::Gone)),
            (answer(429, None), Next::Retry(in_seconds(5)), Some(Rest::PauseUntil(in_seconds(60)))),
            (
                answer(429, Some(90)),
                Next::Retry(in_seconds(90)),
                Some(Rest::PauseUntil(in_seconds(90))),
            ),
            (answer(502, None), Next::Retry(in_seconds(5)), Some(Rest::PauseUntil(in_seconds(60)))),
            (
                answer(504, Some(7)),
                Next::Retry(in_seconds(7)),
                Some(Rest::PauseUntil(in_seconds(7))),
            ),
            (
                Answer::none(Outcome::Timeout, Duration::ZERO),
                Next::Retry(in_seconds(5)),
                Some(Rest::None),
            ),
        ] {
            assert_eq!(patience().next(&answer, 0, 0.0, now()), next, "{answer:?}");
            if let Some(rest) = rest {
                let health = Health { failures: 1, failing_since: now() };
                assert_eq!(patience().rest(&answer, health, now()), rest, "{answer:?}");
            }
        }
        assert_eq!(patience().next(&answer(500, None), 2, 0.0, now()), Next::Failed);
    }

    #[test]
    fn the_breaker_doubles_its_pause_up_to_the_longest() {
        for (failures, pause) in [
            (1, None),
            (2, None),
            (3, Some(30)),
            (4, Some(60)),
            (5, Some(120)),
            (6, Some(240)),
            (7, Some(300)),
            (u32::MAX, Some(300)),
        ] {
            let health = Health { failures, failing_since: now() };
            let rest = patience().rest(&answer(500, None), health, now());
            let expected = pause.map_or(Rest::None, |pause| Rest::PauseUntil(in_seconds(pause)));
            assert_eq!(rest, expected, "{failures}");
            assert_eq!(patience().is_broken(failures), pause.is_some());
        }
    }

    #[test]
    fn an_endpoint_that_fails_for_days_is_disabled() {
        let since =
            |hours| Health { failures: 1, failing_since: now() - chrono::Duration::hours(hours) };
        assert_eq!(patience().rest(&answer(500, None), since(119), now()), Rest::None);
        assert_eq!(patience().rest(&answer(500, None), since(120), now()), Rest::Failing);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let at = DateTime::from_timestamp(1_445_412_420, 0).unwrap();
        for (value, wait) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2014 07:28:00 GMT", None),
            ("Tue, 21 Oct 2014 07:28:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, at), wait.map(Duration::from_secs), "{value}");
        }
    }
}
