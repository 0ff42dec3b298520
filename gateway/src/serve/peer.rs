//! Who is at the other end of a connection.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use tokio::time::sleep;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Where a connection comes from.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) over_tls: bool,
    /// The client's certificate, verified.
    pub(crate) certificate: Option<ClientCertificate>,
    /// Requests that came over the connection so far.
    requests: Cell<u64>,
    /// Whether something waits for the client to take it.
    pub(super) waits: Arc<AtomicBool>,
}

/// What a client's certificate says of it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct ClientCertificate {
    /// Distinguished name, such as `CN=app,O=Bank`.
    pub(crate) subject: HeaderValue,
    /// Alternative names: `DNS:app.example,URI:spiffe://example/app`; empty when there are none.
    pub(crate) names: HeaderValue,
}

impl Peer {
    /// A client that came without TLS.
    pub(crate) fn plain(address: IpAddr) -> Self {
        Self::new(address, false, None)
    }

    /// A client that came over TLS, and the certificates that it showed.
    pub(crate) fn over_tls(address: IpAddr, shown: Option<&[CertificateDer<'_>]>) -> Self {
        let certificate = shown.and_then(<[_]>::first).and_then(ClientCertificate::read);
        Self::new(address, true, certificate)
    }

    fn new(address: IpAddr, over_tls: bool, certificate: Option<ClientCertificate>) -> Self {
        Self {
            address: address.to_canonical(),
            over_tls,
            certificate,
            requests: Cell::new(0),
            waits: Arc::default(),
        }
    }

    /// A request comes.
    pub(super) fn begin(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// Requests that came over the connection so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Waits until nothing has come over the connection for so long, and nothing was under way.
    pub(super) async fn unused(self: &Rc<Self>, idle: Duration) {
        let mut seen = self.use_so_far();
        loop {
            sleep(idle).await;
            let now = self.use_so_far();
            let (_, busy) = now;
            if now == seen && !busy {
                return;
            }
            seen = now;
        }
    }

    /// Requests that came, and whether one is under way.
    fn use_so_far(self: &Rc<Self>) -> (u64, bool) {
        // One is with the connection, one with its service; each request has another.
        let answering = Rc::strong_count(self) > 2;
        (self.requests(), answering || self.waits.load(Ordering::Relaxed))
    }
}

impl ClientCertificate {
    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(named);
        let names = names.collect::<Vec<_>>().join(",");
        Some(Self {
            subject: visible(&certificate.subject().to_string())?,
            names: visible(&names)?,
        })
    }
}

fn named(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(name) => Some(format!("URI:{name}")),
        GeneralName::RFC822Name(name) => Some(format!("email:{name}")),
        _ => None,
    }
}

/// A name as a header shows it: what is not visible ASCII becomes `?`.
fn visible(name: &str) -> Option<HeaderValue> {
    let shown = |letter: char| if (' '..='~').contains(&letter) { letter } else { '?' };
    HeaderValue::try_from(name.chars().map(shown).collect::<String>()).ok()
}
