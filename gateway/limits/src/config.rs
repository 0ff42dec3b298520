//! Settings of rate limits, of idempotency, and of the Redis that several gateways share.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Password;

/// A setting that cannot be applied.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{field}: {fault}")]
pub struct ConfigError {
    /// Path of the setting, such as `rate_limits.classes.default[0].per`.
    pub field: String,
    /// What is wrong with it.
    pub fault: String,
}

impl ConfigError {
    pub(crate) fn new(field: impl Into<String>, fault: impl Into<String>) -> Self {
        Self { field: field.into(), fault: fault.into() }
    }
}

/// How often callers may come.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateConfig {
    /// Windows of each class of methods; a request must fit them all. One without windows has no
    /// limit; every class that a method names must be here. At most 4 windows.
    /// Default: `default` 100 per minute and 1000 per 15 minutes, `auth` 20 per minute,
    /// `webhooks` 6000 per minute: a provider has few addresses and much to tell.
    pub classes: BTreeMap<String, Vec<Window>>,
    /// Classes that are other than above for callers of a tier. Default: no tiers.
    pub tiers: BTreeMap<String, BTreeMap<String, Vec<Window>>>,
    /// Tiers of callers by their subject, client id or tenant. They come before the claim.
    /// Default: none.
    pub members: BTreeMap<String, String>,
    /// Verified callers of one class that are counted one by one in the memory of a gateway, and as
    /// many addresses; those beyond share counts. About 64 bytes each. Default: 100000.
    pub callers_max: NonZeroU32,
    /// Where requests are counted. Default: `memory`.
    pub store: RateStore,
    /// Time that a request waits for Redis before its gateway counts by itself. Default: 5 ms.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub budget: Duration,
}

/// Where requests are counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RateStore {
    /// In each gateway by itself.
    #[default]
    Memory,
    /// In Redis, for all gateways together; in memory while Redis is gone.
    Redis,
}

/// So many requests in so long.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Requests admitted.
    pub requests: NonZeroU32,
    /// The time in which they are admitted, such as `"1m"`. At least 1 µs for each request.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub per: Duration,
}

impl Window {
    /// So many requests in so long.
    ///
    /// # Panics
    /// When `requests` is 0.
    pub const fn new(requests: u32, per: Duration) -> Self {
        #[expect(clippy::expect_used, reason = "documented, and at start alone")]
        let requests = NonZeroU32::new(requests).expect("a window admits something");
        Self { requests, per }
    }
}

/// How long answers are kept for repeats of their requests, and where.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdempotencyConfig {
    /// Where answers are kept. Default: `memory`.
    pub store: AnswerStore,
    /// Time for which an answer is kept; a repeat after it is a new request. Default: 24 h.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retention: Duration,
    /// Time after which a request whose gateway died may be repeated. A gateway that lives renews
    /// it. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub lock_ttl: Duration,
    /// Bytes of an answer's headers and body that are kept; of a larger one only that it was given.
    /// Default: 1 MiB.
    pub answer_bytes_max: NonZeroUsize,
    /// Bytes of all answers in the memory of a gateway; beyond them the oldest are forgotten before
    /// their time. Default: 64 MiB.
    pub memory_bytes_max: NonZeroUsize,
    /// Time that a request waits for Redis or PostgreSQL before it is refused. Default: 500 ms.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub timeout: Duration,
}

/// Where answers are kept.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerStore {
    /// In this gateway: for a single one. A restart forgets them.
    #[default]
    Memory,
    /// In Redis: fast, and as durable as that Redis is.
    Redis,
    /// In PostgreSQL: survives the crash of any machine but the database's disk.
    Postgres,
}

/// How gateways reach the Redis that they share.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// Address, such as `redis://10.0.0.7:6379/0`, or `rediss://…` for TLS. Default:
    /// `redis://localhost:6379`.
    pub url: String,
    /// Name to log in with. Default: none, which is Redis' own default user.
    pub username: Option<String>,
    /// Password to log in with. Default: none.
    pub password: Option<Password>,
    /// PEM file with the authority that signed the server's certificate. Default: none, which trusts
    /// those of the operating system.
    pub ca: Option<PathBuf>,
    /// Time for a connection to be made. Default: 1 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// How often a lost Redis is looked for. Default: 200 ms.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retry_interval: Duration,
}

impl Default for RateConfig {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        let classes = BTreeMap::from([
            (
                "default".to_owned(),
                vec![Window::new(100, minute), Window::new(1000, Duration::from_mins(15))],
            ),
            ("auth".to_owned(), vec![Window::new(20, minute)]),
            ("webhooks".to_owned(), vec![Window::new(6000, minute)]),
        ]);
        Self {
            classes,
            tiers: BTreeMap::new(),
            members: BTreeMap::new(),
            callers_max: const { NonZeroU32::new(100_000).unwrap() },
            store: RateStore::default(),
            budget: Duration::from_millis(5),
        }
    }
}

impl Default for IdempotencyConfig {
    fn default() -> Self {
        Self {
            store: AnswerStore::default(),
            retention: Duration::from_hours(24),
            lock_ttl: Duration::from_secs(30),
            answer_bytes_max: const { NonZeroUsize::new(1 << 20).unwrap() },
            memory_bytes_max: const { NonZeroUsize::new(64 << 20).unwrap() },
            timeout: Duration::from_millis(500),
        }
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: "redis://localhost:6379".to_owned(),
            username: None,
            password: None,
            ca: None,
            connect_timeout: Duration::from_secs(1),
            retry_interval: Duration::from_millis(200),
        }
    }
}

impl IdempotencyConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let times =
            [("retention", self.retention), ("lock_ttl", self.lock_ttl), ("timeout", self.timeout)];
        for (field, time) in times {
            if time < Duration::from_millis(1) {
                let field = format!("idempotency.{field}");
                return Err(ConfigError::new(field, "must be at least 1 ms"));
            }
        }
        if self.store == AnswerStore::Memory
            && self.memory_bytes_max.get() / 16 < self.answer_bytes_max.get()
        {
            let fault = "must be at least 16 times answer_bytes_max";
            return Err(ConfigError::new("idempotency.memory_bytes_max", fault));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, to_value};

    use super::*;

    #[test]
    fn settings_are_read_over_their_defaults_and_unknown_ones_refused() {
        let text = r#"{"classes": {"default": [{"requests": 5, "per": "1m"}]}, "store": "redis",
            "tiers": {"gold": {"default": []}}, "members": {"acme": "gold"}, "budget": "2ms"}"#;
        let rate: RateConfig = from_str(text).unwrap();
        assert_eq!(rate.classes["default"], [Window::new(5, Duration::from_mins(1))]);
        assert_eq!((rate.store, rate.budget), (RateStore::Redis, Duration::from_millis(2)));
        assert_eq!(rate.callers_max.get(), 100_000);

        let answers: IdempotencyConfig =
            from_str(r#"{"store": "postgres", "retention": "7d"}"#).unwrap();
        assert_eq!(answers.store, AnswerStore::Postgres);
        assert_eq!(answers.lock_ttl, Duration::from_secs(30));

        assert!(from_str::<RateConfig>(r#"{"clases": {}}"#).is_err());
        assert!(from_str::<IdempotencyConfig>(r#"{"ttl": "1h"}"#).is_err());
        assert!(from_str::<RedisConfig>(r#"{"host": "localhost"}"#).is_err());
        let none = r#"{"classes": {"default": [{"requests": 0, "per": "1m"}]}}"#;
        assert!(from_str::<RateConfig>(none).is_err());
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused_by_name() {
        let usual = IdempotencyConfig::default();
        assert_eq!(usual.check(), Ok(()));
        let field = |config: &IdempotencyConfig| config.check().unwrap_err().field;
        let never = IdempotencyConfig { lock_ttl: Duration::ZERO, ..usual.clone() };
        assert_eq!(field(&never), "idempotency.lock_ttl");
        let small = IdempotencyConfig { memory_bytes_max: NonZeroUsize::MIN, ..usual };
        assert_eq!(field(&small), "idempotency.memory_bytes_max");
    }

    #[test]
    fn a_password_of_redis_is_neither_shown_nor_taken_from_an_address() {
        let config = RedisConfig { password: Some("s3cret".into()), ..RedisConfig::default() };
        let shown = format!("{config:?}{}", to_value(&config).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");

        let refused = |url: &str| {
            let config = RedisConfig { url: url.to_owned(), ..RedisConfig::default() };
            crate::Redis::open(&config).err().unwrap()
        };
        for url in ["redis://:s3cret@localhost", "localhost:6379:s3cret"] {
            let error = refused(url);
            assert_eq!(error.field, "redis.url");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
