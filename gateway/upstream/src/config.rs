//! Settings of the upstreams.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use mesh::{BreakerConfig, RetryConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The services behind the edge, by name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Settings of each upstream, by its name. A name that is not here is a member of the mesh,
    /// with the settings of [`UpstreamConfig::default`].
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    /// Secret that sticky cookies are made with. Gateways that serve the same clients need the same
    /// one. Default: a new one at every start.
    pub sticky_key: Option<String>,
}

/// One upstream: where it is and how it is called.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Member of the mesh that answers. Default: the name of the upstream.
    pub member: Option<String>,
    /// Where it is: `http://host:port` (HTTP/2 without TLS), `https://host:port`, or `host:port` of
    /// a member of the mesh; all of one kind. A host name stands for all its addresses.
    /// Default: where the mesh reaches the member.
    pub endpoints: Vec<String>,
    /// Endpoints of a new version, which get a share of the calls. Default: none.
    pub canary: Canary,
    /// TLS of `https` endpoints.
    pub tls: Tls,
    /// Keeps a client at one endpoint by a cookie. Default: absent, every call is balanced.
    pub sticky: Option<Sticky>,
    /// When calls are given up for a while; the canary is judged by itself.
    pub breaker: BreakerConfig,
    /// When a failed call is sent again. The budget is counted by each worker for itself.
    pub retry: RetryConfig,
    /// When one endpoint is passed over for a while.
    pub outlier: Outlier,
    /// Asks every endpoint whether it serves. Default: every 5 s.
    pub health: Health,
    /// Bounds of time and size.
    pub limits: Limits,
}

/// A new version beside the one in service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// Where it is, written as the upstream's own endpoints are. Default: none.
    pub endpoints: Vec<String>,
    /// Share of the calls that go there, in percent; a call that asks for the canary goes there
    /// whatever this says. Default: 0.
    #[schemars(range(max = 100))]
    pub weight: u8,
}

/// TLS of `https` endpoints; the files are read again when they change.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities that are trusted. Needed for `https`.
    pub ca: Option<PathBuf>,
    /// PEM file of the certificate chain that is shown. Default: none is.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub key: Option<PathBuf>,
    /// Name that the server must prove and that is sent as SNI. Default: the host of the endpoint.
    pub server_name: Option<String>,
    /// How often the files are looked at. Default: 10 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub check: Duration,
}

/// The cookie that keeps a client at one endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sticky {
    /// Its name. Default: `malha-route`.
    pub cookie: String,
    /// How long it is kept. Default: 1 h.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_age: Duration,
}

/// When one endpoint is passed over for a while. At most half of those in service are at a time; the
/// endpoints of a canary may all be.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outlier {
    /// Failures in a row that eject it; one that cannot be connected to is ejected at once.
    /// Default: 5.
    pub consecutive_failures: NonZeroU32,
    /// How long it is out, times how often it was before it recovered. Default: 5 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub eject_time: Duration,
}

/// Active health checks, by `grpc.health.v1.Health/Check`. An endpoint without that service counts
/// as healthy.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Whether endpoints are asked. Default: true.
    pub enabled: bool,
    /// Time between two checks of an endpoint. Default: 5 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// Time for an answer. Default: 1 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Checks without an answer, in a row, that make it unhealthy; an answer counts at once.
    /// Default: 2.
    pub failures: NonZeroU32,
    /// Service that is asked for. Default: empty, the server as a whole.
    pub service: String,
}

/// Bounds of time and size.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections of one worker to one endpoint. A further one is opened when the calls at a time
    /// that the endpoint admits on a connection are reached; beyond, calls wait. Default: 4.
    pub connections_max: NonZeroU32,
    /// Time to connect, TLS included. Default: 1 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// Time between two pings of a connection, and for the answer to one. Default: 10 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub keep_alive: Duration,
    /// How often host names are resolved again. Default: 5 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub resolve_interval: Duration,
    /// Bytes of a message of the upstream. Default: 4 MiB.
    pub message_bytes_max: u32,
    /// Abandoned calls that are reset per second on one connection; others are left to end by
    /// themselves, for servers close a connection with many resets. Default: 10.
    pub resets_per_second: NonZeroU32,
}

impl UpstreamConfig {
    /// Checks what can be checked without looking at files and addresses.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let times = [
            ("tls.check", self.tls.check),
            ("health.interval", self.health.interval),
            ("health.timeout", self.health.timeout),
            ("limits.connect_timeout", self.limits.connect_timeout),
            ("limits.keep_alive", self.limits.keep_alive),
            ("limits.resolve_interval", self.limits.resolve_interval),
        ];
        if let Some((field, _)) = times.iter().find(|(_, time)| *time < Duration::from_millis(1)) {
            return Err(format!("{field} must be at least 1 ms"));
        }
        if self.canary.weight > 100 {
            return Err("canary.weight is above 100".to_owned());
        }
        if self.canary.weight > 0 && self.canary.endpoints.is_empty() {
            return Err("canary.weight is set, and canary.endpoints is empty".to_owned());
        }
        match &self.sticky {
            // Cookies are named as headers are (RFC 6265).
            Some(sticky) if HeaderName::try_from(&sticky.cookie).is_err() => {
                Err(format!("sticky.cookie: `{}` is no name of a cookie", sticky.cookie))
            }
            _ => Ok(()),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            ca: None,
            certificate: None,
            key: None,
            server_name: None,
            check: Duration::from_secs(10),
        }
    }
}

impl Default for Sticky {
    fn default() -> Self {
        Self { cookie: "malha-route".to_owned(), max_age: Duration::from_hours(1) }
    }
}

impl Default for Outlier {
    fn default() -> Self {
        Self { consecutive_failures: positive(5), eject_time: Duration::from_secs(5) }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            failures: positive(2),
            service: String::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: positive(4),
            connect_timeout: Duration::from_secs(1),
            keep_alive: Duration::from_secs(10),
            resolve_interval: Duration::from_secs(5),
            message_bytes_max: 4 * 1024 * 1024,
            resets_per_second: positive(10),
        }
    }
}

fn positive(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN)
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("upstream `{upstream}`: {reason}")]
pub struct ConfigError {
    /// Name of the upstream.
    pub upstream: String,
    /// What is wrong.
    pub reason: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_over_their_defaults_and_unknown_ones_refused() {
        let text = r#"{"upstreams": {"shop": {
            "endpoints": ["http://shop:50051"],
            "canary": {"endpoints": ["http://shop-next:50051"], "weight": 10},
            "sticky": {}, "health": {"interval": "250ms"}, "retry": {"attempts_max": 2}
        }}}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        let shop = &config.upstreams["shop"];
        assert_eq!((shop.canary.weight, shop.retry.attempts_max.get()), (10, 2));
        assert_eq!(shop.sticky, Some(Sticky::default()));
        assert_eq!(shop.health.interval, Duration::from_millis(250));
        assert_eq!(
            (&shop.health.timeout, &shop.limits),
            (&Duration::from_secs(1), &Limits::default())
        );

        for (wrong, said) in [
            (r#"{"health": {"interval": "0s"}}"#, "health.interval"),
            (r#"{"limits": {"keep_alive": "0s"}}"#, "limits.keep_alive"),
            (r#"{"canary": {"weight": 5}}"#, "canary.endpoints"),
            (r#"{"canary": {"weight": 101, "endpoints": ["http://a:1"]}}"#, "canary.weight"),
            (r#"{"sticky": {"cookie": "a b;c"}}"#, "`a b;c`"),
        ] {
            let wrong: UpstreamConfig = serde_json::from_str(wrong).unwrap();
            assert!(wrong.validate().unwrap_err().contains(said), "{said}");
        }
        for wrong in [
            r#"{"upstream": {}}"#,
            r#"{"upstreams": {"shop": {"endpoint": "http://shop:1"}}}"#,
            r#"{"upstreams": {"shop": {"limits": {"resets_per_second": 0}}}}"#,
        ] {
            assert!(serde_json::from_str::<Config>(wrong).is_err(), "{wrong}");
        }
    }
}
