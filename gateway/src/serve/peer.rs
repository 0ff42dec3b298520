//! Who is at the other end of a connection.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What goes on over a connection when HTTP is over; it ends early when the gateway drains.
type After = Box<dyn FnOnce(CancellationToken) -> LocalBoxFuture<'static, ()>>;

/// Where a connection comes from.
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// The same as a header shows it.
    pub(crate) shown: HeaderValue,
    pub(crate) over_tls: bool,
    /// The client's certificate, verified.
    pub(crate) certificate: Option<ClientCertificate>,
    /// Requests that came over the connection so far.
    requests: Cell<u64>,
    /// Whether something waits for the client to take it.
    pub(super) waits: Arc<AtomicBool>,
    /// Where another protocol was asked for.
    after: RefCell<Option<After>>,
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
        let address = address.to_canonical();
        Self {
            address,
            shown: address_header(address),
            over_tls,
            certificate,
            requests: Cell::new(0),
            waits: Arc::default(),
            after: RefCell::default(),
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

    /// The connection speaks something else once the request under way is answered. It keeps its
    /// place among all connections until that ends.
    pub(crate) fn becomes<F>(&self, after: impl FnOnce(CancellationToken) -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        *self.after.borrow_mut() = Some(Box::new(|stop| Box::pin(after(stop))));
    }

    /// What goes on when HTTP is over.
    pub(super) fn after(&self) -> Option<After> {
        self.after.take()
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

/// An address as a header shows it.
pub(crate) fn address_header(address: IpAddr) -> HeaderValue {
    // It is made of digits, dots and colons.
    let shown = HeaderValue::try_from(address.to_string());
    let mut shown = shown.unwrap_or(HeaderValue::from_static("unknown"));
    // It differs from client to client: it must not crowd the compression table.
    shown.set_sensitive(true);
    shown
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
