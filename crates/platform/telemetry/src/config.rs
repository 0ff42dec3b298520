//! Settings of logs, traces and metrics.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Logs, traces and metrics of one process.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is logged: a level, and levels by component. Default: `info,sqlx=warn`, because
    /// sqlx repeats what PostgreSQL chats.
    pub log: String,
    /// How log lines look: `json`, `pretty`, or `auto`, which is pretty on a terminal and JSON
    /// otherwise. Default: `auto`.
    pub format: Format,
    /// OTLP collector (gRPC) that receives traces, such as `http://127.0.0.1:4317`. When it is empty,
    /// trace ids are made and passed on, but nothing is exported. Default: empty.
    pub otlp_endpoint: String,
    /// Share of new traces that is exported, from 0 to 1. A caller's decision is kept. Default: 1.
    pub sample_ratio: f64,
    /// Longest wait for the collector when the process ends. Default: 3 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub flush_timeout: Duration,
    /// Address of the admin listener (`/metrics`, `/livez`, `/readyz`). Default: the port of the
    /// first service plus 1000, on the loopback.
    pub listen: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log: "info,sqlx=warn".to_owned(),
            format: Format::Auto,
            otlp_endpoint: String::new(),
            sample_ratio: 1.0,
            flush_timeout: Duration::from_secs(3),
            listen: None,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Pretty on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// One short coloured line, for people.
    Pretty,
}
