//! Settings of webhooks.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::answer::Patience;
use crate::domain::schedule::Schedule;

/// Settings of webhooks.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// File with 32 random bytes in base64 that protect the secrets in the database:
    /// `openssl rand -base64 32`. All replicas need the same. Of several lines the first one protects
    /// what is new, and all are read. Default: `webhooks.key`.
    pub key_encryption_key: PathBuf,
    /// Whether endpoints may be http, and at addresses that are not public, such as this machine.
    /// Never in production: who registers endpoints could then reach whatever the sender can.
    /// Default: false.
    pub development_targets: bool,
    /// PEM file with further authorities whose certificates endpoints may have, beside those of the
    /// system. Default: none.
    pub authorities: Option<PathBuf>,
    /// Topics whose events are told to endpoints.
    /// Default: `transaction-events`, `user-events`, `accounts.events`, `payments.processed`.
    pub topics: Vec<String>,
    /// Waits between the attempts of a delivery; each is made up to a tenth longer at random. Default:
    /// 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, as the Standard Webhooks specification
    /// recommends.
    #[serde(with = "durations")]
    #[schemars(with = "Vec<String>")]
    pub retry_waits: Vec<Duration>,
    /// Time for one attempt, from the name of its host to the end of the answer. Default: 15 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub attempt_timeout: Duration,
    /// Bytes of an answer that are read and logged. Default: 4096.
    pub response_bytes_max: usize,
    /// Deliveries under way at once in this process. Default: 512.
    pub deliveries_max: NonZeroUsize,
    /// Deliveries under way at once to one endpoint in this process, so that one that hangs holds up
    /// no other. Default: 8.
    pub endpoint_deliveries_max: NonZeroUsize,
    /// How often the sender looks for what is due. Default: 200 ms.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub poll_interval: Duration,
    /// Pause of an endpoint that answers 429, 502 or 504 without `Retry-After`. Default: 1 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub throttle_pause: Duration,
    /// Failures in a row after which an endpoint is paused, then tried with one message at a time.
    /// Default: 10.
    pub breaker_failures: NonZeroU32,
    /// The first such pause; each further failure doubles it. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub breaker_pause: Duration,
    /// The longest such pause. Default: 5 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub breaker_pause_max: Duration,
    /// An endpoint at which nothing arrived for so long is disabled. Default: 5 days.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub disable_after: Duration,
    /// Age at which messages, their log, and the bodies of what was received are deleted. At
    /// least as long as `events.relay.bus_kept`: what the bus tells again must be known. Default:
    /// 30 days.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retention: Duration,
    /// Age at which the ids of what was received are deleted: what is sent again after that is new.
    /// Default: 365 days.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub inbound_ids_kept: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let hours = |hours| Duration::from_hours(hours);
        Self {
            key_encryption_key: "webhooks.key".into(),
            development_targets: false,
            authorities: None,
            topics: ["transaction-events", "user-events", "accounts.events", "payments.processed"]
                .map(Into::into)
                .into(),
            retry_waits: vec![
                Duration::from_secs(5),
                Duration::from_mins(5),
                Duration::from_mins(30),
                hours(2),
                hours(5),
                hours(10),
                hours(14),
                hours(20),
                hours(24),
            ],
            attempt_timeout: Duration::from_secs(15),
            response_bytes_max: 4096,
            deliveries_max: const { NonZeroUsize::new(512).unwrap() },
            endpoint_deliveries_max: const { NonZeroUsize::new(8).unwrap() },
            poll_interval: Duration::from_millis(200),
            throttle_pause: Duration::from_mins(1),
            breaker_failures: const { NonZeroU32::new(10).unwrap() },
            breaker_pause: Duration::from_secs(30),
            breaker_pause_max: Duration::from_mins(5),
            disable_after: hours(5 * 24),
            retention: hours(30 * 24),
            inbound_ids_kept: hours(365 * 24),
        }
    }
}

impl Config {
    /// When the sender gives an endpoint rest.
    pub(crate) fn patience(&self) -> Patience {
        Patience {
            schedule: Schedule::new(self.retry_waits.clone()),
            throttle_pause: self.throttle_pause,
            breaker_failures: self.breaker_failures.get(),
            breaker_pause: self.breaker_pause,
            breaker_pause_max: self.breaker_pause_max,
            disable_after: self.disable_after,
        }
    }
}

/// A list of times such as `["5s", "5m"]`.
mod durations {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    struct Written(#[serde(with = "humantime_serde")] Duration);

    pub(super) fn serialize<S: Serializer>(
        waits: &[Duration],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(waits.iter().copied().map(Written))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Duration>, D::Error> {
        let written = Vec::<Written>::deserialize(deserializer)?;
        Ok(written.into_iter().map(|Written(wait)| wait).collect())
    }
}
