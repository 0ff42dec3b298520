//! TLS of the HTTPS listener, renewed without a restart.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
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

/// Why the certificate of the listener cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The files hold no certificate with its key.
    #[error("{path} and its key are no certificate: {reason}")]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Clients shall show certificates, and nothing says who signs them.
    #[error("gateway.tls.clients_ca must be set where clients show certificates")]
    NoClientAuthority,
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
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|source| CertificateError::Read { path: path.clone(), source })
        };
        let asked = files.clients != ClientCertificates::None;
        Ok(Self {
            chain: read(&files.certificate)?,
            key: read(&files.key)?,
            clients_ca: files.clients_ca.as_ref().filter(|_| asked).map(read).transpose()?,
        })
    }
}

/// TLS 1.2 or newer, HTTP/2 or HTTP/1.1. Sessions are resumed from what the client keeps, until
/// the files change: who is no longer trusted does not come in by an old session.
fn server_config(files: &config::Tls, pem: &Pem) -> Result<ServerConfig, CertificateError> {
    let fault = |error: &dyn fmt::Display| unusable(files, error);
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| fault(&error))?;
    let builder = match &pem.clients_ca {
        Some(authorities) => builder.with_client_cert_verifier(clients(files, authorities)?),
        None => builder.with_no_client_auth(),
    };
    let chain = CertificateDer::pem_slice_iter(&pem.chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| fault(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|error| fault(&error))?;
    // Checks that the key is the certificate's.
    let mut config = builder.with_single_cert(chain, key).map_err(|error| fault(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| fault(&error))?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn clients(
    files: &config::Tls,
    authorities: &[u8],
) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities) {
        let authority = authority.map_err(|error| unusable(files, &error))?;
        roots.add(authority).map_err(|error| unusable(files, &error))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = match files.clients {
        ClientCertificates::Required => verifier,
        _ => verifier.allow_unauthenticated(),
    };
    verifier.build().map_err(|error| unusable(files, &error))
}

fn unusable(files: &config::Tls, error: &dyn fmt::Display) -> CertificateError {
    CertificateError::Unusable { path: files.certificate.clone(), reason: error.to_string() }
}
