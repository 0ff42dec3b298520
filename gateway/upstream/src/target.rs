//! How the endpoints of an upstream are reached: in the clear, over the mesh, or over TLS.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::uri::{Authority, Scheme};
use mesh::{Dial, Mesh};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Tls, UpstreamConfig};

/// How a connection is secured.
#[derive(Clone, Debug)]
pub(crate) enum Security {
    Plain,
    Mesh(Dial),
    Tls(Arc<TlsFiles>, ServerName<'static>),
}

impl Security {
    /// TLS of the next connection, with the certificates of today.
    pub(crate) fn next(&self) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        match self {
            Self::Plain => None,
            Self::Mesh(dial) => Some((dial.tls(), dial.server_name())),
            Self::Tls(files, name) => Some((files.current.load_full(), name.clone())),
        }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if matches!(self, Self::Plain) { Scheme::HTTP } else { Scheme::HTTPS }
    }
}

/// One configured endpoint: a name that stands for one or more addresses.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) name: String,
    /// What requests call it.
    pub(crate) authority: Authority,
    pub(crate) security: Security,
}

/// The targets of the upstream `name`, as its `endpoints` (or those of its canary) say.
pub(crate) struct Targets<'a> {
    pub(crate) name: &'a str,
    pub(crate) config: &'a UpstreamConfig,
    pub(crate) mesh: Option<&'a Mesh>,
    /// Read once for all `https` targets.
    pub(crate) files: Option<Arc<TlsFiles>>,
}

impl Targets<'_> {
    /// Those in service. None configured: where the mesh reaches the member.
    pub(crate) fn stable(&self) -> Result<Vec<Target>, String> {
        if !self.config.endpoints.is_empty() {
            return self.all(&self.config.endpoints);
        }
        let names = self.dial()?.names().to_vec();
        if names.is_empty() {
            return Err("has no endpoints, neither here nor in the mesh".to_owned());
        }
        self.all(&names)
    }

    /// Those of the canary.
    pub(crate) fn canary(&self) -> Result<Vec<Target>, String> {
        self.all(&self.config.canary.endpoints)
    }

    fn all(&self, endpoints: &[String]) -> Result<Vec<Target>, String> {
        endpoints.iter().map(|endpoint| self.one(endpoint)).collect()
    }

    fn one(&self, endpoint: &str) -> Result<Target, String> {
        let malformed = |_| format!("`{endpoint}` is not an endpoint");
        let (name, security) = match endpoint.split_once("://") {
            None if self.mesh.is_none() => {
                return Err(format!("`{endpoint}` needs http:// or https:// before it"));
            }
            None => (endpoint, Security::Mesh(self.dial()?)),
            Some(("http", name)) => (name, Security::Plain),
            Some(("https", name)) => (name, self.tls(name)?),
            Some(_) => return Err(format!("`{endpoint}` is neither http nor https")),
        };
        let authority: Authority = match &security {
            Security::Mesh(_) => self.member().parse().map_err(malformed)?,
            _ => name.parse().map_err(malformed)?,
        };
        if name.parse::<Authority>().map_err(malformed)?.port().is_none() {
            return Err(format!("`{endpoint}` names no port"));
        }
        Ok(Target { name: name.to_owned(), authority, security })
    }

    fn member(&self) -> &str {
        self.config.member.as_deref().unwrap_or(self.name)
    }

    fn dial(&self) -> Result<Dial, String> {
        let mesh = self
            .mesh
            .ok_or("has no endpoints, and this gateway is in no mesh that would know them")?;
        let member = self.member();
        mesh.dial(member).map_err(|_| format!("`{member}` cannot be the name of a member"))
    }

    fn tls(&self, name: &str) -> Result<Security, String> {
        let files = self.files.clone().ok_or("has https endpoints and no tls.ca")?;
        let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let proves = self.config.tls.server_name.as_deref().unwrap_or(host).to_owned();
        let proves = ServerName::try_from(proves).map_err(|error| error.to_string())?;
        Ok(Security::Tls(files, proves))
    }
}

/// TLS made of files, which are read again when they change.
pub(crate) struct TlsFiles {
    config: Tls,
    read: parking_lot::Mutex<Content>,
    current: ArcSwap<ClientConfig>,
}

impl std::fmt::Debug for TlsFiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TlsFiles").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Content of the files: authorities, and certificate and key.
type Content = (Vec<u8>, Option<(Vec<u8>, Vec<u8>)>);

impl TlsFiles {
    /// Reads what `config` names; `None` when it names no authorities.
    pub(crate) fn load(config: &Tls) -> Result<Option<Arc<Self>>, String> {
        let Some(ca) = &config.ca else { return Ok(None) };
        // Fails when a provider stands already, which then is the one of this process.
        let _ = aws_lc_rs::default_provider().install_default();
        let content = read(ca, config)?;
        let current = ArcSwap::from_pointee(client(&content)?);
        let read = parking_lot::Mutex::new(content);
        Ok(Some(Arc::new(Self { config: config.clone(), read, current })))
    }

    /// Looks at the files again and again, and takes them over when they changed.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.config.check).await;
            if let Err(reason) = self.refresh() {
                tracing::warn!(reason, "keeping the old certificates of an upstream");
            }
        }
    }

    fn refresh(&self) -> Result<(), String> {
        let Some(ca) = &self.config.ca else { return Ok(()) };
        let content = read(ca, &self.config)?;
        let mut known = self.read.lock();
        if *known != content {
            self.current.store(Arc::new(client(&content)?));
            *known = content;
            tracing::info!("certificates of an upstream renewed");
        }
        Ok(())
    }
}

fn read(ca: &Path, config: &Tls) -> Result<Content, String> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let own = match (&config.certificate, &config.key) {
        (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
        (None, None) => None,
        _ => {
            return Err(
                "has half a certificate: tls.certificate and tls.key belong together".into()
            );
        }
    };
    Ok((read(ca)?, own))
}

fn client((ca, own): &Content) -> Result<ClientConfig, String> {
    let of_ca = |error: &dyn std::fmt::Display| format!("tls.ca: {error}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        let certificate = certificate.map_err(|error| of_ca(&error))?;
        roots.add(certificate).map_err(|error| of_ca(&error))?;
    }
    if roots.is_empty() {
        return Err(of_ca(&"the file holds no certificate"));
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
            let chain = chain.map_err(|error| format!("tls.certificate: {error}"))?;
            let of_key = |error: &dyn std::fmt::Display| format!("tls.key: {error}");
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| of_key(&error))?;
            config.with_client_auth_cert(chain, key).map_err(|error| of_key(&error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
