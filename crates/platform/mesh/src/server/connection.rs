//! Serves the calls of one connection.

use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use crate::around::Next;
use crate::config::Limits;
use crate::server::{CONNECTION_WINDOW, KEEP_ALIVE, STREAM_WINDOW};

/// The member at the other end, proved by its certificate.
#[derive(Clone, Debug)]
pub(crate) struct Peer(pub(crate) Arc<str>);

/// Serves a member until it leaves. When the connection is old, or `closing` is cancelled, the
/// member is asked to leave and the calls in flight finish; `kill` breaks the connection.
pub(super) async fn serve(
    stream: TlsStream<TcpStream>,
    peer: Peer,
    stack: Arc<impl Next>,
    limits: &Limits,
    closing: CancellationToken,
    kill: CancellationToken,
) {
    let answer = service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let stack = Arc::clone(&stack);
        // It is moved some times until it is a task.
        Box::pin(async move { stack.call(request).await })
    });
    let mut connection = pin!(builder().serve_connection(TokioIo::new(stream), answer));
    let mut leave = pin!(async {
        tokio::select! {
            () = closing.cancelled() => {}
            () = sleep(limits.connection_age_max) => {}
        }
    });
    let mut is_leaving = false;
    loop {
        tokio::select! {
            result = &mut connection => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection broke");
                }
                return;
            }
            () = &mut leave, if !is_leaving => {
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            () = kill.cancelled() => return,
        }
    }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        // How many calls there may be is for the layers to say.
        .max_concurrent_streams(None)
        // gRPC has no use for it.
        .auto_date_header(false);
    builder
}
