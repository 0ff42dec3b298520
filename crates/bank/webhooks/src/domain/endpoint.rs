//! Endpoints: where they are, and what they ask for.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use url::{Host, Url};
use uuid::Uuid;

use super::Broken;
use super::address::is_public;
use super::signature::Scheme;

/// Longest URL.
const URL_BYTES_MAX: usize = 2048;

/// Where an endpoint is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target(Url);

impl Target {
    /// Reads a URL: https, or http too where `development` allows it, with a host, without a user
    /// and a fragment, and not at an address that is not public.
    pub(crate) fn parse(text: &str, development: bool) -> Result<Self, Broken> {
        let refused = |rule| Err(Broken { field: "endpoint.url", rule });
        let Ok(url) = Url::parse(text) else { return refused("must be a URL") };
        match url.scheme() {
            "https" => {}
            "http" if development => {}
            _ => return refused("must begin with https://"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("must not name a user");
        }
        if url.fragment().is_some() {
            return refused("must not have a fragment");
        }
        if url.as_str().len() > URL_BYTES_MAX {
            return refused("must not be longer than 2048 bytes");
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::from(address)),
            Some(Host::Domain(_)) => None,
            None => return refused("must have a host"),
        };
        if !development && address.is_some_and(|address| !is_public(address)) {
            return refused("must not be at an address that is not public");
        }
        Ok(Self(url))
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What can be changed of an endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) target: Option<Target>,
    pub(crate) description: Option<String>,
    pub(crate) event_types: Option<Vec<String>>,
    pub(crate) rate_per_second: Option<i32>,
}

/// Why nothing is sent to an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DisabledReason {
    Requested,
    Gone,
    Failing,
}

impl DisabledReason {
    pub(crate) const ALL: [Self; 3] = [Self::Requested, Self::Gone, Self::Failing];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Gone => "GONE",
            Self::Failing => "FAILING",
        }
    }
}

/// An endpoint as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: Uuid,
    pub(crate) url: String,
    pub(crate) description: String,
    pub(crate) event_types: Vec<String>,
    pub(crate) rate_per_second: i32,
    /// Absent while it is enabled.
    pub(crate) disabled: Option<DisabledReason>,
    pub(crate) paused_until: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    /// Newest first.
    pub(crate) keys: Vec<SigningKey>,
}

/// What is shown of a secret.
#[derive(Clone, Debug)]
pub(crate) struct SigningKey {
    pub(crate) id: Uuid,
    pub(crate) endpoint: Uuid,
    pub(crate) scheme: Scheme,
    pub(crate) public_key: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_the_public_internet_is_a_target() {
        for url in [
            "https://hooks.example.com",
            "https://hooks.example.com:8443/a/b?c=d",
            "https://8.8.8.8/x",
            "https://[2606:4700:4700::1111]/x",
        ] {
            assert!(Target::parse(url, false).is_ok(), "{url}");
        }
        for (url, rule) in [
            ("", "must be a URL"),
            ("hooks.example.com", "must be a URL"),
            ("http://hooks.example.com", "must begin with https://"),
            ("ftp://hooks.example.com", "must begin with https://"),
            ("file:///etc/passwd", "must begin with https://"),
            ("https://user@hooks.example.com", "must not name a user"),
            ("https://user:secret@hooks.example.com", "must not name a user"),
            ("https://hooks.example.com/#x", "must not have a fragment"),
            ("https://127.0.0.1/x", "must not be at an address that is not public"),
            ("https://[::1]/x", "must not be at an address that is not public"),
            ("https://[::ffff:10.0.0.1]/x", "must not be at an address that is not public"),
            // Other ways to write 127.0.0.1 and 169.254.169.254.
            ("https://2130706433/", "must not be at an address that is not public"),
            ("https://0x7f.1/", "must not be at an address that is not public"),
            ("https://0177.0.0.1/", "must not be at an address that is not public"),
            ("https://0xa9fea9fe/", "must not be at an address that is not public"),
        ] {
            assert_eq!(
                Target::parse(url, false),
                Err(Broken { field: "endpoint.url", rule }),
                "{url}"
            );
        }
        let long = format!("https://hooks.example.com/{}", "x".repeat(URL_BYTES_MAX));
        assert!(Target::parse(&long, false).is_err());
    }

    #[test]
    fn development_allows_http_and_this_machine() {
        assert!(Target::parse("http://127.0.0.1:9000/x", true).is_ok());
        assert!(Target::parse("ftp://127.0.0.1/x", true).is_err());
    }
}
