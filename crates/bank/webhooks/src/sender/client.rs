//! One attempt over HTTP.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Response, redirect, retry};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};

use super::resolver::{AddressRefused, Guard, Resolver};
use crate::config::Config;
use crate::domain::answer::{Answer, Outcome, retry_after};
use crate::domain::endpoint::Target;
use crate::domain::signature::header;

/// Who we are, to endpoints.
const USER_AGENT: &str = concat!("Malha-Webhooks/", env!("CARGO_PKG_VERSION"));

/// Connections to a host that are kept for the next delivery, and for how long.
const IDLE_MAX: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The authorities cannot be read, or there are none at all.
    #[error("the authorities of endpoints' certificates cannot be read")]
    Authorities(#[source] io::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}

/// The headers that the specification names.
pub(super) struct Headers {
    pub(super) id: String,
    pub(super) timestamp: String,
    pub(super) signatures: String,
}

/// Sends to endpoints: over HTTP/1.1, so that one that hangs shares its connection with no other
/// delivery; without proxy, redirects, cookies and repeats.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    timeout: Duration,
    response_bytes_max: usize,
    development: bool,
}

impl Client {
    pub(crate) fn new(config: &Config, resolver: Arc<dyn Resolver>) -> Result<Self, ClientError> {
        let development = config.development_targets;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(config.authorities.as_deref())?)
            .dns_resolver(Guard { resolver, is_open: development })
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(USER_AGENT)
            .build()?;
        let Config { attempt_timeout: timeout, response_bytes_max, .. } = *config;
        Ok(Self { http, timeout, response_bytes_max, development })
    }

    /// Posts a message and reads what comes back, within the time for one attempt. An answer counts by
    /// its status, also when its body does not end.
    pub(super) async fn post(
        &self,
        url: &str,
        headers: Headers,
        body: Vec<u8>,
        now: DateTime<Utc>,
    ) -> Answer {
        let started = Instant::now();
        // Addresses in the URL itself are not asked of any resolver. Rules may be stricter by now.
        let Ok(target) = Target::parse(url, self.development) else {
            return Answer::none(Outcome::AddressRefused, started.elapsed());
        };
        let end = started + self.timeout;
        let request = self
            .http
            .post(target.url().clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(header::ID, headers.id)
            .header(header::TIMESTAMP, headers.timestamp)
            .header(header::SIGNATURE, headers.signatures)
            .body(body)
            .send();
        let mut response = match timeout_at(end, request).await {
            Err(_) => return Answer::none(Outcome::Timeout, started.elapsed()),
            Ok(Err(error)) => return Answer::none(cause(&error), started.elapsed()),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|value| retry_after(value, now));
        let text = self.beginning(&mut response, end).await;
        Answer {
            outcome: if status.is_success() { Outcome::Delivered } else { Outcome::Refused },
            status: Some(status.as_u16()),
            retry_after,
            latency: started.elapsed(),
            response: text,
        }
    }

    /// The beginning of the body, as far as it comes in time. The connection of a longer one is closed.
    async fn beginning(&self, response: &mut Response, end: Instant) -> String {
        let mut bytes = Vec::new();
        while bytes.len() < self.response_bytes_max
            && let Ok(Ok(Some(chunk))) = timeout_at(end, response.chunk()).await
        {
            let room = self.response_bytes_max - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        // PostgreSQL keeps no U+0000.
        String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
    }
}

fn cause(error: &reqwest::Error) -> Outcome {
    if AddressRefused::caused(error) { Outcome::AddressRefused } else { Outcome::Unreachable }
}

/// Trusts the authorities of the system and those of the file.
fn tls(authorities: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = authorities {
        let pem = fs::read(path).map_err(ClientError::Authorities)?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| {
                ClientError::Authorities(io::Error::new(
                    io::ErrorKind::InvalidData,
                    error.to_string(),
                ))
            })?;
            roots.add(certificate)?;
        }
    }
    if roots.is_empty() {
        return Err(ClientError::Authorities(io::Error::other("there are none")));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
