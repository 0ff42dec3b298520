//! The certificate of the HTTPS listener, renewed without a restart.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::time::sleep;

use crate::config::Tls;

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
}

/// The certificate in use.
pub(crate) struct Certificate {
    files: Tls,
    current: ArcSwap<CertifiedKey>,
}

impl Certificate {
    /// Loads the files.
    pub(crate) fn load(files: &Tls) -> Result<Self, CertificateError> {
        let loaded = certified_key(files, &Pem::read(files)?)?;
        Ok(Self { files: files.clone(), current: ArcSwap::from_pointee(loaded) })
    }

    /// How to answer a client: TLS 1.2 or newer, HTTP/2 or HTTP/1.1.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, CertificateError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| unusable(&self.files, &error))?;
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Takes the files over whenever they change; those that cannot be used change nothing.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        let mut seen = Pem::read(&self.files).ok();
        loop {
            sleep(self.files.check.max(Duration::from_millis(10))).await;
            let pem = match Pem::read(&self.files) {
                Ok(pem) if seen.as_ref() == Some(&pem) => continue,
                Ok(pem) => pem,
                Err(error) => {
                    tracing::warn!(%error, "keeping the old certificate");
                    continue;
                }
            };
            match certified_key(&self.files, &pem) {
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

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Content of the two files.
#[derive(Eq, PartialEq)]
struct Pem {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Pem {
    fn read(files: &Tls) -> Result<Self, CertificateError> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|source| CertificateError::Read { path: path.clone(), source })
        };
        Ok(Self { chain: read(&files.certificate)?, key: read(&files.key)? })
    }
}

fn certified_key(files: &Tls, pem: &Pem) -> Result<CertifiedKey, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(&pem.chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| unusable(files, &error))?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|error| unusable(files, &error))?;
    // Checks that the key is the certificate's.
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| unusable(files, &error))
}

fn unusable(files: &Tls, error: &dyn fmt::Display) -> CertificateError {
    CertificateError::Unusable { path: files.certificate.clone(), reason: error.to_string() }
}
