//! Settings of the edge.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the gateway.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the HTTPS listener; nothing listens when it is absent. Default: 127.0.0.1:8443.
    pub https: Option<SocketAddr>,
    /// Address of a listener without TLS, for development alone. Default: absent.
    pub http: Option<SocketAddr>,
    /// Certificate of the HTTPS listener.
    pub tls: Tls,
    /// What an access token must say to be accepted.
    pub tokens: Tokens,
    /// Bounds on size, time and number.
    pub limits: Limits,
    /// Rate limits by class; a class that a method names and this table lacks is `default`'s.
    /// Default: `default` 100 per minute and 1000 per 15 minutes, `auth` 20 per minute.
    pub rate_limits: BTreeMap<String, Vec<Window>>,
    /// Origins whose pages may call, such as `https://app.example.com`; `*` admits all.
    /// Default: none.
    pub cors_origins: Vec<String>,
    /// Whether `GET /metrics` answers here. It shows which tenants and services there are and how
    /// busy: turn it off where the edge is public; the admin address has the same page. Default: true.
    pub metrics: bool,
}

/// Certificate of the HTTPS listener, read again when a file changes.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the certificate chain, the server's own first. Default: `edge.pem`.
    pub certificate: PathBuf,
    /// PEM file of its private key. Default: `edge.key`.
    pub key: PathBuf,
    /// How often the files are looked at. Default: 10 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub check: Duration,
}

/// What an access token must say to be accepted.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// The only issuer. Default: `malha`.
    pub issuer: String,
    /// The only audience. Default: `malha`.
    pub audience: String,
    /// How far clocks may stand apart. The services behind allow more, so that a token that was good
    /// here stays good on its way. Default: 5 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub leeway: Duration,
}

/// Bounds on size, time and number.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time; more wait to be accepted. Default: 10000.
    pub connections_max: NonZeroU32,
    /// HTTP/2 requests at a time on one connection. Default: 100.
    pub streams_max: NonZeroU32,
    /// Bytes of all headers of a request, at least 8192. Default: 16 KiB.
    pub header_bytes_max: u32,
    /// Header lines of a request. Default: 64.
    pub headers_max: u32,
    /// Bytes of a request body. Default: 1 MiB.
    pub body_bytes_max: u32,
    /// Time for a TLS handshake. Default: 5 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub handshake_timeout: Duration,
    /// Time to send the headers of a request; also how long an idle connection is kept. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub header_timeout: Duration,
    /// Time to send a body. Default: 10 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub body_timeout: Duration,
    /// Time for a whole request; what the method's contract says comes first. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub request_timeout: Duration,
    /// Time that open requests get at shutdown. Default: 10 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub drain_timeout: Duration,
    /// Callers whose rate is counted one by one; those beyond share one count. Default: 100000.
    pub callers_max: NonZeroU32,
}

/// So many requests in so long.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Requests admitted.
    pub requests: NonZeroU32,
    /// The time in which they are admitted, such as `"1m"`.
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

impl Default for Config {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        let rate_limits = BTreeMap::from([
            (
                "default".to_owned(),
                vec![Window::new(100, minute), Window::new(1000, Duration::from_mins(15))],
            ),
            ("auth".to_owned(), vec![Window::new(20, minute)]),
        ]);
        Self {
            https: Some(SocketAddr::from(([127, 0, 0, 1], 8443))),
            http: None,
            tls: Tls::default(),
            tokens: Tokens::default(),
            limits: Limits::default(),
            rate_limits,
            cors_origins: Vec::new(),
            metrics: true,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: PathBuf::from("edge.pem"),
            key: PathBuf::from("edge.key"),
            check: Duration::from_secs(10),
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        let verifier = auth::VerifierConfig::default();
        Self {
            issuer: verifier.issuer,
            audience: verifier.audience,
            leeway: Duration::from_secs(5),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let count = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self {
            connections_max: count(10_000),
            streams_max: count(100),
            header_bytes_max: 16 * 1024,
            headers_max: 64,
            body_bytes_max: 1024 * 1024,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            callers_max: count(100_000),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_over_their_defaults_and_unknown_ones_refused() {
        let text = r#"{"https": "127.0.0.1:0", "rate_limits": {"default": [{"requests": 5, "per": "1m"}]},
                       "limits": {"body_timeout": "250ms"}}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert_eq!(config.rate_limits["default"], [Window::new(5, Duration::from_mins(1))]);
        assert_eq!(config.limits.body_timeout, Duration::from_millis(250));
        assert_eq!(config.limits.body_bytes_max, 1024 * 1024);

        assert!(serde_json::from_str::<Config>(r#"{"htps": "127.0.0.1:0"}"#).is_err());
        let none = r#"{"rate_limits": {"default": [{"requests": 0, "per": "1m"}]}}"#;
        assert!(serde_json::from_str::<Config>(none).is_err());
    }
}
