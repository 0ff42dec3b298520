//! TLS of the HTTPS listener, renewed without a restart.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use tokio::time::sleep;

use crate::config::{self, ClientCertificates};

/// Settings that name the files.
const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const CLIENTS_CA: &str = "tls.clients_ca";

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("gateway.{setting}: cannot read {path}: {source}")]
    Read {
        /// The setting that names the file, such as `tls.key`.
        setting: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("gateway.{setting}: {path}: {reason}")]
    Unusable {
        /// The setting that names the file.
        setting: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Clients shall show certificates, and nothing says who signs them.
    #[error("gateway.tls.clients_ca must be set where clients show certificates")]
    NoClientAuthority,
}

impl CertificateError {
    /// The file does not hold what it should.
    pub(crate) fn unusable(setting: &str, path: &Path, reason: &dyn fmt::Display) -> Self {
        Self::Unusable { setting: setting.into(), path: path.into(), reason: reason.to_string() }
    }
}

/// Reads the file that a setting names.
pub(crate) fn read(setting: &str, path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Read {
        setting: setting.into(),
        path: path.into(),
        source,
    })
}

/// How connections are encrypted at the moment.
pub(crate) struct Tls {
    files: config::Tls,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Loads the files.
    pub(crate) fn load(files: &config::Tls) -> Result<Self, CertificateError> {
        if files.clients != ClientCertificates::None && files.clients_ca.is_none() {
            return Err(CertificateError::NoClientAuthority);
        }
        let loaded = server_config(files, &Pem::read(files)?)?;
        Ok(Self { files: files.clone(), current: ArcSwap::from_pointee(loaded) })
    }

    /// How to answer a client that connects now.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Takes the files over whenever they change; those that cannot be used change nothing.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        let mut seen = Pem::read(&self.files).ok();
        loop {
            sleep(self.files.check.max(std::time::Duration::from_millis(10))).await;
            let pem = match Pem::read(&self.files) {
                Ok(pem) if seen.as_ref() == Some(&pem) => continue,
                Ok(pem) => pem,
                Err(error) => {
                    tracing::warn!(%error, "keeping the old certificate");
                    continue;
                }
            };
            match server_config(&self.files, &pem) {
                Ok(loaded) => {
                    self.current.store(Arc::new(loaded));
                    tracing::info!("certificate renewed");
                }
                Err(error) => tracing::warn!(%error, "keeping the old certificate"),
            }
            seen = Some(pem);
        }
    }
}

/// Content of the files.
#[derive(Eq, PartialEq)]
struct Pem {
    chain: Vec<u8>,
    key: Vec<u8>,
    clients_ca: Option<Vec<u8>>,
}

impl Pem {
    fn read(files: &config::Tls) -> Result<Self, CertificateError> {
        let asked = files.clients != ClientCertificates::None;
        let authorities = files.clients_ca.as_ref().filter(|_| asked);
        Ok(Self {
            chain: read(CERTIFICATE, &files.certificate)?,
            key: read(KEY, &files.key)?,
            clients_ca: authorities.map(|path| read(CLIENTS_CA, path)).transpose()?,
        })
    }
}

/// TLS 1.2 or newer, HTTP/2 or HTTP/1.1. Sessions are resumed from what the client keeps, until
/// the files change: who is no longer trusted does not come in by an old session.
fn server_config(files: &config::Tls, pem: &Pem) -> Result<ServerConfig, CertificateError> {
    let of_chain = |reason: &dyn fmt::Display| {
        CertificateError::unusable(CERTIFICATE, &files.certificate, reason)
    };
    let of_key = |reason: &dyn fmt::Display| CertificateError::unusable(KEY, &files.key, reason);
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| of_chain(&error))?;
    let builder = match (&files.clients_ca, &pem.clients_ca) {
        (Some(path), Some(pem)) => {
            let verifier = clients(files.clients, pem);
            let verifier =
                verifier.map_err(|reason| CertificateError::unusable(CLIENTS_CA, path, &reason))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let chain = CertificateDer::pem_slice_iter(&pem.chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| of_chain(&error))?;
    if chain.is_empty() {
        return Err(of_chain(&"the file holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|error| of_key(&error))?;
    // Checks that the key is the certificate's.
    let mut config = builder.with_single_cert(chain, key).map_err(|error| of_key(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| of_chain(&error))?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn clients(
    asked: ClientCertificates,
    authorities: &[u8],
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities) {
        let authority = authority.map_err(|error| error.to_string())?;
        roots.add(authority).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = match asked {
        ClientCertificates::Required => verifier,
        _ => verifier.allow_unauthenticated(),
    };
    verifier.build().map_err(|error| error.to_string())
}
