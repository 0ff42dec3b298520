//! HTTP/1.1 over one connection.
//!
//! A client that is silent for a while keeps its place, but not the memory of a conversation: what
//! hyper holds for it is let go, and made again when the client says something. The same look every
//! now and then finds heads that do not come to their end: a timer for each head would cost more than
//! reading it.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::aside::aside;
use super::connection::service;
use super::patience::Patient;
use super::peer::Peer;
use crate::config::Limits;
use crate::edge::Worker;

/// Silence after which a conversation is let go. To begin another costs less than a request does, and
/// whoever asks less often than this leaves the memory to others.
const LET_GO_AFTER: Duration = Duration::from_millis(50);

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

/// Boxed, for it is large, and futures hold it in many places.
impl Transport for Box<TlsStream<TcpStream>> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Answers requests until the connection ends, or is drained at `stop`; then it is what the last of
/// them made of it.
pub(super) async fn serve<S: Transport>(
    stream: S,
    peer: Rc<Peer>,
    worker: &Rc<Worker>,
    stop: CancellationToken,
) {
    converse(stream, &peer, worker, &stop).await;
    if let Some(after) = peer.after() {
        after(stop).await;
    }
}

async fn converse<S: Transport>(
    stream: S,
    peer: &Rc<Peer>,
    worker: &Rc<Worker>,
    stop: &CancellationToken,
) {
    let limits = &worker.edge.settings.limits;
    let builder = builder(limits);
    let mut stream = Patient::new(stream, Arc::clone(&peer.waits), limits.send_timeout);
    // Requests so far, and since when there was no other: the head of the next must come in time.
    let (mut requests, mut since) = (peer.requests(), Instant::now());
    loop {
        let Some((silent, read)) = talk(stream, peer, worker, &builder, stop).await else { return };
        stream = silent;
        if requests != peer.requests() {
            (requests, since) = (peer.requests(), Instant::now());
        }
        let left = limits.header_timeout.saturating_sub(since.elapsed());
        let is_half = !read.is_empty();
        stream.unread(&read);
        drop(read);
        if left.is_zero() || !(is_half || is_woken(&stream, left, stop).await) {
            // The client need not be there any more.
            let _ = timeout(limits.send_timeout, stream.shutdown()).await;
            return;
        }
    }
}

/// Answers requests until the client is silent: the stream, and what was read of a next request.
/// `None` when the connection has ended. What hyper held is freed with this future, before the silence.
async fn talk<S: Transport>(
    stream: Patient<S>,
    peer: &Rc<Peer>,
    worker: &Rc<Worker>,
    builder: &Builder,
    stop: &CancellationToken,
) -> Option<(Patient<S>, Bytes)> {
    let service = service(worker, peer);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = Box::new(connection);
    let unused = tokio::select! {
        biased;
        // A connection that breaks is the client's affair; its requests are logged one by one.
        _ = &mut connection => return None,
        unused = aside(stop.run_until_cancelled(peer.unused(LET_GO_AFTER))) => unused,
    };
    if unused.is_none() {
        Pin::new(&mut *connection).graceful_shutdown();
        let _ = connection.await;
        return None;
    }
    let parts = connection.into_parts()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

/// Waits for a silent client; false when its time is over.
async fn is_woken<S: Transport>(
    stream: &Patient<S>,
    left: Duration,
    stop: &CancellationToken,
) -> bool {
    // What the system says of the socket may be old; a look at its first byte is not.
    let mut first = [0; 1];
    let woken = timeout(left, stream.get_ref().socket().peek(&mut first));
    matches!(stop.run_until_cancelled(woken).await, Some(Ok(Ok(_))))
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        // Head and body are mostly small: to copy them together costs less than to write them apart.
        .writev(false)
        .max_headers(limits.headers_max as usize)
        .max_buf_size(limits.header_bytes_max.max(8192) as usize);
    builder
}
