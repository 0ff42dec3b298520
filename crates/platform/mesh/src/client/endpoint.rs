//! One address of an upstream, and the connections to it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport;
use tower::{ServiceExt, service_fn};

use crate::around::{Request, Response};
use crate::config::Limits;
use crate::server::{CONNECTION_WINDOW, KEEP_ALIVE, STREAM_WINDOW};
use crate::tls::Identity;

/// One address of an upstream. A connection is made at its first call, and again whenever it was
/// lost: at the next call, without any wait.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    connections: Vec<transport::Channel>,
    /// Calls so far: whose turn it is.
    turn: AtomicUsize,
    in_flight: AtomicUsize,
    /// Passed over until then, while others live.
    ejected_until: Mutex<Option<Instant>>,
}

impl Endpoint {
    /// Must be called within a tokio runtime, which will drive the connections.
    pub(super) fn new(
        upstream: &Arc<str>,
        address: SocketAddr,
        identity: &Arc<Identity>,
        limits: &Limits,
    ) -> Self {
        let connection =
            |_| connection(upstream, address, Arc::clone(identity), limits.connect_timeout);
        Self {
            address,
            connections: (0..limits.connections.get()).map(connection).collect(),
            turn: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            ejected_until: Mutex::default(),
        }
    }

    pub(super) async fn call(&self, request: Request) -> Result<Response, transport::Error> {
        let _counted = InFlight::enter(&self.in_flight);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        self.connections[turn].clone().oneshot(request).await
    }

    /// Calls under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Passes the endpoint over until `until`. Says whether it was in use before.
    pub(super) fn eject(&self, until: Instant) -> bool {
        let before = self.ejected_until.lock().replace(until);
        before.is_none_or(|before| before <= Instant::now())
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.lock().is_some_and(|until| now < until)
    }
}

/// Counts a call while it is under way, also when it is dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn connection(
    upstream: &Arc<str>,
    address: SocketAddr,
    identity: Arc<Identity>,
    patience: Duration,
) -> transport::Channel {
    let member = Arc::clone(upstream);
    let connector = service_fn(move |_: Uri| {
        connect(address, Arc::clone(&member), Arc::clone(&identity), patience)
    });
    // The scheme only names the upstream: the connector brings TLS itself.
    let uri = Uri::builder().scheme("http").authority(&**upstream).path_and_query("/").build();
    transport::Endpoint::from(uri.unwrap_or_default())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}

async fn connect(
    address: SocketAddr,
    member: Arc<str>,
    identity: Arc<Identity>,
    patience: Duration,
) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let connecting = async {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        // The verifier takes the server name for the member expected.
        let member = ServerName::try_from(member.to_string()).map_err(io::Error::other)?;
        TlsConnector::from(identity.client()).connect(member, socket).await
    };
    let connected = timeout(patience, connecting).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
}
