//! Settings of a worker.

use std::num::NonZeroU16;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A setting of a worker that has no meaning.
#[derive(Debug, thiserror::Error)]
#[error("setting `{setting}` of a worker of workflows must be above zero")]
pub struct ConfigError {
    /// Name of the setting.
    pub setting: &'static str,
}

/// How a service works on its workflows.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Workflows that one process works on at a time. Default: 16.
    pub in_flight_max: NonZeroU16,
    /// A process that was not heard of for so long has lost its workflows to the others, which go on
    /// with the step at hand. Default: 15 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub lease: Duration,
    /// Time between looks for what is due: timers and what no notification told. Default: 500 ms.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub poll_interval: Duration,
    /// How long a workflow whose version this process does not know is left to others, before it is
    /// parked. Default: 5 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub park_after: Duration,
    /// How long a workflow that has ended is kept, with its history and signals. Who starts it again
    /// later starts it anew: longer than anybody repeats a start. Above zero. Default: 90 days.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            in_flight_max: const { NonZeroU16::new(16).unwrap() },
            lease: Duration::from_secs(15),
            poll_interval: Duration::from_millis(500),
            park_after: Duration::from_mins(5),
            retention: Duration::from_hours(90 * 24),
        }
    }
}

impl Config {
    /// Refuses times without a meaning: a lease that is over when it begins, looks without a pause
    /// between them, workflows that are deleted as they end.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let above_zero = [
            ("lease", self.lease),
            ("poll_interval", self.poll_interval),
            ("retention", self.retention),
        ];
        match above_zero.into_iter().find(|(_, time)| time.is_zero()) {
            Some((setting, _)) => Err(ConfigError { setting }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_a_meaning_are_refused() {
        assert!(Config::default().check().is_ok());
        for (config, named) in [
            (Config { lease: Duration::ZERO, ..Config::default() }, "lease"),
            (Config { poll_interval: Duration::ZERO, ..Config::default() }, "poll_interval"),
            (Config { retention: Duration::ZERO, ..Config::default() }, "retention"),
        ] {
            assert!(matches!(config.check(), Err(ConfigError { setting }) if setting == named));
        }
    }
}
