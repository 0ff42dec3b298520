//! Settings of identity.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of identity.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// File with 32 random bytes in base64 that protect the signing keys in the database:
    /// `openssl rand -base64 32`. All replicas need the same. Default: `identity.key`.
    pub key_encryption_key: PathBuf,
    /// Time to live of an access token. Default: 15 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub access_token_lifetime: Duration,
    /// Time to live of a refresh token. Default: 7 days.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub refresh_token_lifetime: Duration,
    /// Age at which the signing key is replaced. Default: 30 days.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub signing_key_lifetime: Duration,
    /// Whether engineers may have tokens signed for anybody. Never in production. Default: false.
    pub development_tokens: bool,
    /// Shortest time that a registration takes, so that its time does not tell whether the e-mail
    /// was new. Zero switches this off. Default: 250 ms.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub registration_time_min: Duration,
    /// How often expired rows are removed and the age of the signing key is looked at. Default: 1 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub housekeeping_interval: Duration,
    /// How passwords are hashed.
    pub passwords: PasswordConfig,
    /// What guessing costs.
    pub lockout: LockoutConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            key_encryption_key: PathBuf::from("identity.key"),
            access_token_lifetime: Duration::from_mins(15),
            refresh_token_lifetime: Duration::from_hours(7 * 24),
            signing_key_lifetime: Duration::from_hours(30 * 24),
            development_tokens: false,
            registration_time_min: Duration::from_millis(250),
            housekeeping_interval: Duration::from_mins(1),
            passwords: PasswordConfig::default(),
            lockout: LockoutConfig::default(),
        }
    }
}

/// Cost of Argon2id, and how much of it may run at once.
///
/// Hashes of another cost, and bcrypt ones, are replaced at the next login.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordConfig {
    /// Memory in KiB. Default: 19456 (19 MiB, OWASP).
    pub memory_kib: u32,
    /// Passes over the memory. Default: 2.
    pub passes: u32,
    /// Lanes. Default: 1.
    pub lanes: u32,
    /// Hashes computed at once; further ones wait. Default: one a core.
    pub concurrency_max: NonZeroUsize,
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
            lanes: 1,
            concurrency_max: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// How attempts on one e-mail are slowed down.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LockoutConfig {
    /// Attempts without success after which the e-mail is locked. Default: 5.
    pub attempts_max: u32,
    /// Length of the first lock; each further attempt doubles it. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub delay_first: Duration,
    /// Longest lock. Default: 15 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub delay_max: Duration,
    /// Quiet time after which attempts are forgotten. Default: 1 h.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub forget_after: Duration,
}

impl Default for LockoutConfig {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            delay_first: Duration::from_secs(30),
            delay_max: Duration::from_mins(15),
            forget_after: Duration::from_hours(1),
        }
    }
}
