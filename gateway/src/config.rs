//! Settings of the edge.

mod network;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use auth::IssuerConfig;
use limits::{IdempotencyConfig, RateConfig, RedisConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upstream::UpstreamConfig;

use crate::policy::Rule;
use crate::source::Contracts;

pub use network::{Network, NetworkError};
pub use validate::SettingError;

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
    /// Threads that answer requests, each with connections of its own. Default: one for each core.
    pub workers: Option<NonZeroUsize>,
    /// Networks of the proxies in front of the edge, such as `10.0.0.0/8`: what they say in
    /// `X-Forwarded-For` counts as the client's address, and their `X-Correlation-ID` is taken over.
    /// Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Whether clients that are no trusted proxies may name their requests by `X-Correlation-ID`.
    /// Default: true, one that is well formed is taken over.
    pub client_correlation_ids: bool,
    /// What errors look like: `problem` (RFC 9457) or `status` (the JSON of `google.rpc.Status`).
    /// Default: `problem`.
    pub errors: ErrorForm,
    /// Which requests are logged.
    pub access_log: AccessLog,
    /// Which answers are compressed.
    pub compression: Compression,
    /// How streams are kept alive, and how long.
    pub streams: Streams,
    /// Whose access tokens count. Default: Malha's own; none where there is no mesh.
    pub issuers: Vec<IssuerConfig>,
    /// Bounds on size, time and number.
    pub limits: Limits,
    /// How often callers may come.
    pub rate_limits: RateConfig,
    /// How long the answers to requests with an `Idempotency-Key` are kept, and where.
    pub idempotency: IdempotencyConfig,
    /// The Redis that several gateways share; needed where one of the two above says so.
    /// Default: absent.
    pub redis: Option<RedisConfig>,
    /// The PostgreSQL that several gateways share, where `idempotency` says so; they own the schema
    /// `gateway` in it. Default: absent, which in Malha is the database of the other services.
    pub postgres: Option<storage::Config>,
    /// Origins whose pages may call, such as `https://app.example.com`; `*` admits all.
    /// Default: none.
    pub cors_origins: Vec<String>,
    /// Whether `GET /metrics` answers here. It shows which tenants and services there are and how
    /// busy: turn it off where the edge is public; the admin address has the same page. Default: true.
    pub metrics: bool,
    /// Where contracts come from. Default: Malha's own, or those of the upstreams.
    pub contracts: Contracts,
    /// How strictly JSON is read.
    pub json: Json,
    /// Services behind the edge by name, for contracts that are not Malha's own: those are found in
    /// the mesh. Default: none.
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    /// Secret that the cookies of sticky upstreams are made with. Gateways that serve the same
    /// clients need the same one. Default: a new one at every start.
    pub sticky_key: Option<String>,
    /// Policies of methods by pattern, over what the contracts say; where two speak, the later one
    /// wins. Default: none.
    pub policies: Vec<Rule>,
}

/// How strictly JSON is read. By default, whatever the contract does not name is refused.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Json {
    /// Body fields, query parameters and enum names that the contract does not know are skipped.
    /// Default: false.
    pub ignore_unknown: bool,
    /// A field may be given twice; both are merged as protobuf does. Default: false.
    pub merge_duplicates: bool,
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
    /// Whether clients show certificates of their own: `none`, `optional`, or `required`.
    /// Default: `none`.
    pub clients: ClientCertificates,
    /// PEM file of the authorities that sign clients' certificates; needed unless `clients` is
    /// `none`. Default: absent.
    pub clients_ca: Option<PathBuf>,
    /// Whether services are told whose certificate it was, in the metadata
    /// `x-client-cert-subject` and `x-client-cert-names`. Default: false.
    pub clients_forward: bool,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    None,
    /// They may; one that is shown must be good.
    Optional,
    /// Who shows none is not talked to.
    Required,
}

/// What errors look like.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorForm {
    /// RFC 9457 `application/problem+json`.
    #[default]
    Problem,
    /// The JSON of `google.rpc.Status`, as Google's own services answer.
    Status,
}

impl ErrorForm {
    /// The type of an error's body.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Problem => "application/problem+json",
            Self::Status => "application/json",
        }
    }
}

/// The access log: a line of JSON for a request.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// Which requests are logged: `off`, `sampled` or `all`. Default: `all`.
    pub requests: Logged,
    /// Share of the requests that `sampled` logs, from 0 to 1; those that fail (status 500 and
    /// above) are logged always. Default: 0.01.
    pub ratio: f64,
    /// File to which lines are added; made anew when it was moved away, as whoever rotates logs does.
    /// Default: absent, standard output.
    pub file: Option<PathBuf>,
}

/// Which requests are logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Logged {
    /// None.
    Off,
    /// A share of them, and every failure.
    Sampled,
    /// Every one.
    #[default]
    All,
}

/// Compression of answers by `Accept-Encoding`, with gzip, br or zstd. Bodies of requests may be
/// compressed so too, whatever this says.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Whether answers are compressed. Default: true.
    pub enabled: bool,
    /// Bytes from which on an answer is. Default: 1024.
    pub bytes_min: u32,
}

/// Streams: NDJSON, server-sent events, `WebSocket`s, gRPC.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Streams {
    /// How long a stream may be silent on both sides before it ends. Default: 5 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// How often a silent stream of events or WebSocket shows that it lives. Default: 15 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub heartbeat: Duration,
    /// What clients of events are told to wait before they connect again. Default: 3 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retry: Duration,
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
    /// Header lines of a request, at least 16. Default: 64.
    pub headers_max: u32,
    /// Bytes of a request body, decompressed, and of one message of a stream. Default: 1 MiB.
    pub body_bytes_max: u32,
    /// HTTP/2 requests that a client may take back before they are begun, and mistakes that it may
    /// make, before its connection is closed. Default: 50.
    pub resets_max: NonZeroU32,
    /// Time for a TLS handshake. Default: 5 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub handshake_timeout: Duration,
    /// Time to send the headers of a request; also how long an idle HTTP/1.1 connection is
    /// kept. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub header_timeout: Duration,
    /// How long an HTTP/2 connection without requests is kept. Default: 5 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// Time to send a body. Default: 10 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub body_timeout: Duration,
    /// Bytes a second that a client must send of a body that takes longer than a second. Default: 1024.
    pub body_rate_min: u32,
    /// How long a client may take nothing of what it is sent. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub send_timeout: Duration,
    /// Longest time of a call of one message each way, however long its policy allows. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub request_timeout: Duration,
    /// Time that open requests get at shutdown. Default: 10 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            https: Some(SocketAddr::from(([127, 0, 0, 1], 8443))),
            http: None,
            tls: Tls::default(),
            workers: None,
            trusted_proxies: Vec::new(),
            client_correlation_ids: true,
            errors: ErrorForm::default(),
            access_log: AccessLog::default(),
            compression: Compression::default(),
            streams: Streams::default(),
            issuers: vec![IssuerConfig::malha()],
            limits: Limits::default(),
            rate_limits: RateConfig::default(),
            idempotency: IdempotencyConfig::default(),
            redis: None,
            postgres: None,
            cors_origins: Vec::new(),
            metrics: true,
            contracts: Contracts::default(),
            json: Json::default(),
            upstreams: BTreeMap::new(),
            sticky_key: None,
            policies: Vec::new(),
        }
    }
}

impl Config {
    /// Settings of a gateway alone: no HTTPS until there is a certificate, and nobody whose tokens
    /// count until a setting says so, for there is no mesh that has Malha's keys.
    pub fn alone() -> Self {
        Self { https: None, issuers: Vec::new(), ..Self::default() }
    }

    /// Settings of the upstreams.
    pub(crate) fn upstreams(&self) -> upstream::Config {
        upstream::Config { upstreams: self.upstreams.clone(), sticky_key: self.sticky_key.clone() }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: PathBuf::from("edge.pem"),
            key: PathBuf::from("edge.key"),
            check: Duration::from_secs(10),
            clients: ClientCertificates::default(),
            clients_ca: None,
            clients_forward: false,
        }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { requests: Logged::default(), ratio: 0.01, file: None }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self { enabled: true, bytes_min: 1024 }
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_mins(5),
            heartbeat: Duration::from_secs(15),
            retry: Duration::from_secs(3),
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
            resets_max: count(50),
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(5),
            body_timeout: Duration::from_secs(10),
            body_rate_min: 1024,
            send_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_over_their_defaults_and_unknown_ones_refused() {
        let text = r#"{"https": "127.0.0.1:0", "limits": {"body_timeout": "250ms"},
                       "trusted_proxies": ["10.0.0.0/8"]}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert_eq!(config.limits.body_timeout, Duration::from_millis(250));
        assert_eq!(config.limits.body_bytes_max, 1024 * 1024);
        assert_eq!(config.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);

        assert!(serde_json::from_str::<Config>(r#"{"htps": "127.0.0.1:0"}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"trusted_proxies": ["10.0.0.0/40"]}"#).is_err());
    }
}
