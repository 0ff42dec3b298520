//! Settings of the mesh.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a service is reached and reaches others.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder with `ca.pem` and, per service, `<name>.pem` and `<name>.key`. Default: `.malha/certs`.
    pub certs: PathBuf,
    /// How often the certificate files are looked at for renewal. Default: 5 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub certs_check: Duration,
    /// Address on which each service listens, by service.
    pub listen: BTreeMap<String, SocketAddr>,
    /// Where each service is reached, by service: `host:port`, one or more. A DNS name stands for
    /// all its addresses.
    pub endpoints: BTreeMap<String, Vec<String>>,
    /// Bounds of time and number.
    pub limits: Limits,
    /// When calls to an upstream are given up for a while.
    pub breaker: BreakerConfig,
    /// When a failed call is sent again.
    pub retry: RetryConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            certs: PathBuf::from(".malha/certs"),
            certs_check: Duration::from_secs(5),
            listen: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            limits: Limits::default(),
            breaker: BreakerConfig::default(),
            retry: RetryConfig::default(),
        }
    }
}

/// Bounds of time and number, for every listener and every upstream.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls served at once before further ones are refused with `OVERLOADED`. Default: 1024.
    pub in_flight_max: NonZeroU32,
    /// TLS handshakes at once before further connections wait. Default: 256.
    pub handshakes_max: NonZeroU32,
    /// Time allowed for a TLS handshake. Default: 3 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub handshake_timeout: Duration,
    /// Age at which a connection is closed gently, so that renewed certificates are seen and load
    /// spreads again. Default: 1 h.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connection_age_max: Duration,
    /// Time given to calls in flight when the service stops. Default: 10 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub drain_time: Duration,
    /// How often the dependencies of a service are checked. Default: 2 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub check_interval: Duration,
    /// Connections to each endpoint, among which calls take turns. More than one pays where what
    /// one task can encrypt and frame is the limit: batches of a megabyte. Default: 1.
    pub connections: NonZeroU32,
    /// Time allowed to connect to an endpoint, handshake included. Default: 1 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// How long an endpoint that failed is passed over while others live. Default: 1 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub eject_time: Duration,
    /// How often DNS names are resolved again. Default: 5 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub resolve_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: positive(1024),
            handshakes_max: positive(256),
            handshake_timeout: Duration::from_secs(3),
            connection_age_max: Duration::from_hours(1),
            drain_time: Duration::from_secs(10),
            check_interval: Duration::from_secs(2),
            connections: positive(1),
            connect_timeout: Duration::from_secs(1),
            eject_time: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(5),
        }
    }
}

/// When a circuit breaker opens and closes. Each upstream has one.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// Failures in a row that open it. Default: 10.
    pub consecutive_failures: NonZeroU32,
    /// Share of failures within `window` that opens it, in percent. Default: 50.
    pub failure_percent: NonZeroU32,
    /// Span of time over which the share is counted. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub window: Duration,
    /// Calls within `window` below which the share says nothing. Default: 20.
    pub volume_min: NonZeroU32,
    /// How long it stays open before it lets probes through. Default: 1 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub open_time: Duration,
    /// Probes let through when half open; it closes when all succeed. Default: 3.
    pub probes: NonZeroU32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: positive(10),
            failure_percent: positive(50),
            window: Duration::from_secs(30),
            volume_min: positive(20),
            open_time: Duration::from_secs(1),
            probes: positive(3),
        }
    }
}

/// When and how often a failed call is sent again.
///
/// Only methods whose contract says `retry_safe` are repeated; a call that surely did not leave the
/// process is repeated for any method.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Times a call is sent at most, the first included. Default: 3.
    pub attempts_max: NonZeroU32,
    /// Wait before the first repeat; it doubles each time, and is jittered. Default: 50 ms.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub delay_min: Duration,
    /// Longest wait before a repeat. Default: 400 ms.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub delay_max: Duration,
    /// Repeats allowed per hundred calls to an upstream, beyond `budget_per_second`. Default: 20.
    pub budget_percent: u16,
    /// Repeats per second that are always allowed. Default: 10.
    pub budget_per_second: u16,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts_max: positive(3),
            delay_min: Duration::from_millis(50),
            delay_max: Duration::from_millis(400),
            budget_percent: 20,
            budget_per_second: 10,
        }
    }
}

fn positive(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN)
}
