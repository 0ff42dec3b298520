//! Listeners and connections: TLS, the bounds of a connection, the drain at shutdown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::edge::{Edge, Peer};

/// How long to wait before the next connection if one cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often an idle HTTP/2 connection is asked whether its client still is there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// A listener and what its connections speak.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    /// Absent on the listener without TLS.
    pub(crate) tls: Option<TlsAcceptor>,
}

/// Serves all listeners until `stop`, then lets open requests end within the drain time.
pub(crate) async fn serve(listeners: Vec<Listener>, edge: Arc<Edge>, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(edge.limits.connections_max.get() as usize));
    let accepting = listeners.into_iter().map(|listener| {
        let (edge, connections) = (Arc::clone(&edge), Arc::clone(&connections));
        accept(listener, edge, connections, &graceful)
    });
    edge.pages.set_ready(true);
    tokio::select! {
        _ = futures::future::join_all(accepting) => {}
        () = stop.cancelled() => {}
    }
    edge.pages.set_ready(false);
    if timeout(edge.limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open at the end of the drain time");
    }
}

async fn accept(
    listener: Listener,
    edge: Arc<Edge>,
    connections: Arc<Semaphore>,
    graceful: &GracefulShutdown,
) {
    loop {
        // Beyond the bound, connections wait in the system's queue.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.socket.accept().await {
            Ok((stream, address)) => {
                let (edge, tls) = (Arc::clone(&edge), listener.tls.clone());
                let watcher = graceful.watcher();
                tokio::spawn(async move {
                    connect(stream, address, tls, edge, watcher).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connect(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    edge: Arc<Edge>,
    watcher: Watcher,
) {
    // Without it small answers wait for the client's acknowledgement; nothing else depends on it.
    let _ = stream.set_nodelay(true);
    let builder = builder(&edge.limits);
    let peer = Peer { address: address.ip(), over_tls: tls.is_some() };
    let Some(tls) = tls else {
        return converse(builder.http1_only(), stream, peer, edge, watcher).await;
    };
    // Whoever does not finish a handshake is nobody to talk to.
    let handshake = timeout(edge.limits.handshake_timeout, tls.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else { return };
    let builder = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => builder.http2_only(),
        _ => builder.http1_only(),
    };
    converse(builder, stream, peer, edge, watcher).await;
}

/// Answers the requests of one connection until it ends.
async fn converse<S>(
    builder: Builder<TokioExecutor>,
    stream: S,
    peer: Peer,
    edge: Arc<Edge>,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let edge = Arc::clone(&edge);
        async move { Ok::<_, Infallible>(edge.answer(peer, request).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    // A connection that breaks is the client's affair; its requests are logged one by one.
    let _ = watcher.watch(connection).await;
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers_max as usize)
        .max_buf_size(limits.header_bytes_max.max(8192) as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(limits.header_timeout)
        .max_header_list_size(limits.header_bytes_max)
        .max_concurrent_streams(limits.streams_max.get());
    builder
}
