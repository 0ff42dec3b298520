//! HTTP/1.1 over one connection.
//!
//! A client that is silent for a while keeps its place, but not the memory of a conversation: what
//! hyper holds for it is let go, and made again when the client says something.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connection::service;
use super::patience::Patient;
use super::peer::Peer;
use crate::config::Limits;
use crate::edge::Worker;

/// Silence after which a conversation is let go.
const LET_GO_AFTER: Duration = Duration::from_secs(3);

/// A stream that says when there is something to read.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Answers requests until the connection ends, or is drained at `stop`.
pub(super) async fn serve<S: Transport>(
    stream: S,
    peer: Rc<Peer>,
    worker: &Rc<Worker>,
    stop: CancellationToken,
) {
    let limits = &worker.edge.settings.limits;
    let builder = builder(limits);
    let mut stream = Patient::new(stream, Arc::clone(&peer.waits), limits.send_timeout);
    loop {
        let service = service(worker, &peer);
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = Box::new(connection);
        tokio::select! {
            biased;
            // A connection that breaks is the client's affair; its requests are logged one by one.
            _ = &mut connection => return,
            () = stop.cancelled() => {
                Pin::new(&mut *connection).graceful_shutdown();
                let _ = connection.await;
                return;
            }
            () = peer.unused(LET_GO_AFTER) => {}
        }
        let Some(parts) = connection.into_parts() else { return };
        stream = parts.io.into_inner();
        if !parts.read_buf.is_empty() {
            // Half a request: hyper has its time for the rest.
            stream.unread(parts.read_buf);
            continue;
        }
        if !is_woken(&stream, limits, &stop).await {
            // The client need not be there any more.
            let _ = timeout(limits.send_timeout, stream.shutdown()).await;
            return;
        }
    }
}

/// Waits for a silent client; false when its time is over.
async fn is_woken<S: Transport>(
    stream: &Patient<S>,
    limits: &Limits,
    stop: &CancellationToken,
) -> bool {
    let left = limits.header_timeout.saturating_sub(LET_GO_AFTER);
    let woken = timeout(left, stream.get_ref().socket().readable());
    matches!(stop.run_until_cancelled(woken).await, Some(Ok(Ok(()))))
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers_max as usize)
        .max_buf_size(limits.header_bytes_max.max(8192) as usize);
    builder
}
