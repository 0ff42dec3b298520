//! Reads a key set from an address.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, HOST, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::source::SET_BYTES_MAX;
use crate::{ConfigError, JwksUrl, KeyError};

/// An address to read a key set from. One request every few minutes: a connection is not kept.
pub(crate) struct Remote {
    pub(super) uri: Uri,
    host: String,
    port: u16,
    /// For `https`.
    tls: Option<TlsConnector>,
}

impl Remote {
    pub(super) fn new(config: &JwksUrl) -> Result<Self, ConfigError> {
        let uri = config.uri()?;
        let is_https = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        if let (false, Some(_)) = (is_https, &config.ca) {
            return Err(ConfigError::new("ca", "is for https:// alone"));
        }
        let tls = is_https.then(|| connector(config.ca.as_deref())).transpose()?;
        Ok(Self { uri, host, port, tls })
    }

    /// The document, and for how long it is good when the server says so.
    pub(super) async fn read(&self) -> Result<(Bytes, Option<Duration>), KeyError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| failed("connect", &error))?;
        let Some(tls) = &self.tls else { return self.ask(stream).await };
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| failed("name the server", &error))?;
        let stream = tls.connect(name, stream).await;
        self.ask(stream.map_err(|error| failed("trust the server", &error))?).await
    }

    async fn ask<S>(&self, stream: S) -> Result<(Bytes, Option<Duration>), KeyError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed("begin a request", &error))?;
        // Ends with this function, whatever the server does.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let answer = sender.send_request(self.request()?).await;
        let answer = answer.map_err(|error| failed("get an answer", &error))?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(KeyError(format!("answered {status}, and redirects are not followed")));
        }
        if status != StatusCode::OK {
            return Err(KeyError(format!("answered {status}")));
        }
        let lifetime = lifetime(answer.headers());
        let body = Limited::new(answer.into_body(), SET_BYTES_MAX).collect().await;
        let body = body.map_err(|error| KeyError(format!("cannot read the answer: {error}")))?;
        Ok((body.to_bytes(), lifetime))
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, KeyError> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        Request::get(path)
            .header(HOST, host)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "malha")
            .body(Empty::new())
            .map_err(|error| KeyError(format!("cannot form a request: {error}")))
    }
}

fn failed(what: &str, error: &dyn std::error::Error) -> KeyError {
    KeyError(format!("cannot {what}: {error}"))
}

/// `max-age`, or nothing for an answer that is not to be kept (RFC 9111 section 5.2.2).
fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).map(str::trim);
    directives.find_map(|directive| {
        if ["no-store", "no-cache"].iter().any(|no| directive.eq_ignore_ascii_case(no)) {
            return Some(Duration::ZERO);
        }
        let (name, seconds) = directive.split_once('=')?;
        let seconds = seconds.trim_matches('"').parse().ok()?;
        name.eq_ignore_ascii_case("max-age").then(|| Duration::from_secs(seconds))
    })
}

fn connector(ca: Option<&Path>) -> Result<TlsConnector, ConfigError> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::new("address", error))?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, ConfigError> {
    let certificates = match ca {
        None => rustls_native_certs::load_native_certs().certs,
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| ConfigError::new("ca", format!("{}: {error}", path.display())))?,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        let missing = if ca.is_some() { "the file" } else { "the operating system, without one," };
        return Err(ConfigError::new("ca", format!("{missing} names no authority to trust")));
    }
    Ok(roots)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn lifetime_is_what_cache_control_says() {
        let told = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            lifetime(&headers).map(|lifetime| lifetime.as_secs())
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["public, max-age=300, must-revalidate"]), Some(300));
        assert_eq!(told(&["public", "Max-Age=\"60\""]), Some(60));
        assert_eq!(told(&["no-store"]), Some(0));
        assert_eq!(told(&["no-cache, max-age=300"]), Some(0));
        for nonsense in ["max-age", "max-age=", "max-age=-1", "max-age=soon", "s-maxage=9", "="] {
            assert_eq!(told(&[nonsense]), None, "{nonsense}");
        }
    }
}
