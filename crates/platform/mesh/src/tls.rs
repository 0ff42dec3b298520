//! The TLS identity of a member: loaded from files, renewed without a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore,
    ServerConfig, SignatureScheme,
};

use crate::error::MeshError;
use crate::spiffe;

const HTTP2: &[u8] = b"h2";

/// Certificate, key and trust of one member, for both ends of a connection.
pub(crate) struct Identity {
    folder: PathBuf,
    name: String,
    current: ArcSwap<Loaded>,
}

struct Loaded {
    files: Files,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Identity {
    /// Loads `ca.pem`, `<name>.pem` and `<name>.key`.
    pub(crate) fn load(folder: &Path, name: &str) -> Result<Self, MeshError> {
        // Fails when a provider stands already, which then is the one of this process.
        let _ = aws_lc_rs::default_provider().install_default();
        let loaded = Files::read(folder, name)?.load(folder, name)?;
        Ok(Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            current: ArcSwap::from_pointee(loaded),
        })
    }

    /// How to answer the next connection.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().server)
    }

    /// How to open the next connection. The server name given to TLS is the member expected.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.load().client)
    }

    /// Looks at the files again and again, and takes them over when they changed. Connections that
    /// stand are kept. Files that cannot be used are reported once, and the old ones stay.
    pub(crate) async fn keep_fresh(self: Arc<Self>, every: Duration) {
        let mut refused = None;
        loop {
            tokio::time::sleep(every).await;
            let identity = Arc::clone(&self);
            let looked =
                tokio::task::spawn_blocking(move || Files::read(&identity.folder, &identity.name));
            // Ends early only when the runtime does.
            let Ok(files) = looked.await else { return };
            match files {
                Ok(files) if files == self.current.load().files => refused = None,
                Ok(files) if refused.as_ref() == Some(&files) => {}
                Ok(files) => refused = self.take_over(files),
                Err(error) => tracing::warn!(%error, "keeping the old certificates"),
            }
        }
    }

    /// Takes `files` over, or gives them back when they cannot be used.
    fn take_over(&self, files: Files) -> Option<Files> {
        match files.clone().load(&self.folder, &self.name) {
            Ok(loaded) => {
                self.current.store(Arc::new(loaded));
                tracing::info!(member = self.name, "certificates renewed");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "keeping the old certificates");
                Some(files)
            }
        }
    }
}

/// Content of the three files.
#[derive(Clone, Eq, PartialEq)]
struct Files {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(folder: &Path, name: &str) -> Result<Self, MeshError> {
        let read = |file: String| {
            let path = folder.join(file);
            fs::read(&path).map_err(|source| MeshError::Read { path, source })
        };
        Ok(Self {
            ca: read("ca.pem".to_owned())?,
            certificate: read(format!("{name}.pem"))?,
            key: read(format!("{name}.key"))?,
        })
    }

    fn load(self, folder: &Path, name: &str) -> Result<Loaded, MeshError> {
        let unusable = |reason: String| MeshError::Certificates {
            name: name.to_owned(),
            folder: folder.to_owned(),
            reason,
        };
        let configs = self.configs(name).map_err(unusable)?;
        Ok(Loaded { files: self, server: Arc::new(configs.0), client: Arc::new(configs.1) })
    }

    fn configs(&self, name: &str) -> Result<(ServerConfig, ClientConfig), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let chain = certificates(&self.certificate)?;
        if chain.first().and_then(|leaf| spiffe::member(leaf)).as_deref() != Some(name) {
            return Err(format!("the certificate is not that of {}", spiffe::id(name)));
        }
        let mut roots = RootCertStore::empty();
        for ca in certificates(&self.ca)? {
            roots.add(ca).map_err(|error| text(&error))?;
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| text(&error))?;
        let server = server_config(roots.clone(), chain.clone(), key.clone_key());
        let client = client_config(roots, chain, key);
        Ok((server?, client.map_err(|error| text(&error))?))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() { Err("a file holds no certificate".to_owned()) } else { Ok(found) }
}

/// TLS 1.3 only; the client must show a certificate of the CA. Nothing is resumed: every
/// connection proves its certificates, those of today.
fn server_config(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, String> {
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build();
    let mut config = ServerConfig::builder_with_protocol_versions(&[&TLS13])
        .with_client_cert_verifier(clients.map_err(|error| error.to_string())?)
        .with_single_cert(chain, key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The counterpart of [`server_config`].
fn client_config(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    let provider = CryptoProvider::get_default()
        .ok_or_else(|| Error::General("no provider of cryptography is installed".to_owned()))?;
    let algorithms = provider.signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(MemberVerifier { roots, algorithms }))
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Accepts the certificate of the member that is called: chain and SPIFFE id, not DNS names.
#[derive(Debug)]
struct MemberVerifier {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for MemberVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        expected: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(leaf)?,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        match spiffe::member(leaf) {
            Some(member) if *member == *expected.to_str() => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // TLS 1.2 is never offered.
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
