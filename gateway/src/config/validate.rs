//! Settings that can be read, but not be meant.

use std::fmt;
use std::time::Duration;

use http::uri::Authority;

use super::{ClientCertificates, Config};

/// A setting that would break what it is about.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {fault}")]
pub struct SettingError {
    /// The setting, such as `streams.heartbeat`.
    field: String,
    /// What is wrong with it.
    fault: &'static str,
}

/// Shortest time between two of a thing, and for one.
const TIME_MIN: Duration = Duration::from_millis(1);

/// What HTTP clients may always send.
const HEADER_BYTES_MIN: u32 = 8192;

impl Config {
    /// Checks what can be checked without looking at files and contracts.
    pub(crate) fn validate(&self) -> Result<(), SettingError> {
        for (field, time) in self.times() {
            check(time >= TIME_MIN, field, "must be at least 1 ms")?;
        }
        let limits = &self.limits;
        let fault = "must be at least 8192";
        check(limits.header_bytes_max >= HEADER_BYTES_MIN, "limits.header_bytes_max", fault)?;
        check(limits.headers_max >= 16, "limits.headers_max", "must be at least 16")?;
        let is_share = (0.0..=1.0).contains(&self.access_log.ratio);
        check(is_share, "access_log.ratio", "must be from 0 to 1")?;
        let are_asked = self.tls.clients != ClientCertificates::None;
        let fault = "is for https, and gateway.https is not set";
        check(!are_asked || self.https.is_some(), "tls.clients", fault)?;
        for (at, origin) in self.cors_origins.iter().enumerate() {
            check(is_origin(origin), format_args!("cors_origins[{at}]"), ORIGIN)?;
        }
        for (at, rule) in self.policies.iter().enumerate() {
            let mut origins = rule.cors_origins.iter().flatten();
            let field = format_args!("policies[{at}].cors_origins");
            check(origins.all(|origin| is_origin(origin)), field, ORIGIN)?;
        }
        Ok(())
    }

    fn times(&self) -> [(&'static str, Duration); 10] {
        let (streams, limits) = (&self.streams, &self.limits);
        [
            ("contracts.check", self.contracts.check),
            ("tls.check", self.tls.check),
            ("streams.idle_timeout", streams.idle_timeout),
            ("streams.heartbeat", streams.heartbeat),
            ("limits.handshake_timeout", limits.handshake_timeout),
            ("limits.header_timeout", limits.header_timeout),
            ("limits.idle_timeout", limits.idle_timeout),
            ("limits.body_timeout", limits.body_timeout),
            ("limits.send_timeout", limits.send_timeout),
            ("limits.request_timeout", limits.request_timeout),
        ]
    }
}

const ORIGIN: &str = "an origin is written as https://app.example.com, with no path, or *";

fn check(holds: bool, field: impl fmt::Display, fault: &'static str) -> Result<(), SettingError> {
    if holds { Ok(()) } else { Err(SettingError { field: field.to_string(), fault }) }
}

/// Whether a browser could send it as `Origin`, which it writes in lower case.
fn is_origin(text: &str) -> bool {
    let is_address = |(scheme, place): (&str, &str)| {
        let is_place = place.parse::<Authority>().is_ok_and(|it| !it.as_str().contains('@'));
        !scheme.is_empty() && is_place && text.bytes().all(|byte| !byte.is_ascii_uppercase())
    };
    text == "*" || text.split_once("://").is_some_and(is_address)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_break_what_they_are_about_are_refused_by_name() {
        let refused = |text: &str| {
            let config: Config = serde_json::from_str(text).unwrap();
            config.validate().unwrap_err().field
        };
        for (text, field) in [
            (r#"{"contracts": {"check": "0s"}}"#, "contracts.check"),
            (r#"{"streams": {"heartbeat": "0s"}}"#, "streams.heartbeat"),
            (r#"{"limits": {"headers_max": 0}}"#, "limits.headers_max"),
            (r#"{"limits": {"header_bytes_max": 10}}"#, "limits.header_bytes_max"),
            (r#"{"limits": {"request_timeout": "0s"}}"#, "limits.request_timeout"),
            (r#"{"access_log": {"ratio": 7}}"#, "access_log.ratio"),
            (r#"{"https": null, "tls": {"clients": "required"}}"#, "tls.clients"),
            (r#"{"cors_origins": ["*", "app.example.com"]}"#, "cors_origins[1]"),
            (r#"{"cors_origins": ["https://app.example.com/"]}"#, "cors_origins[0]"),
            (r#"{"cors_origins": ["https://App.example.com"]}"#, "cors_origins[0]"),
            (
                r#"{"policies": [{"methods": "*", "cors_origins": ["https://"]}]}"#,
                "policies[0].cors_origins",
            ),
        ] {
            assert_eq!(refused(text), field, "{text}");
        }
        let right = r#"{"cors_origins": ["*", "http://localhost:3000", "https://[::1]:1"]}"#;
        serde_json::from_str::<Config>(right).unwrap().validate().unwrap();
        Config::default().validate().unwrap();
        Config::alone().validate().unwrap();
    }
}
