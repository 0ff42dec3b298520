//! HTTP/2 over one connection.
//!
//! Each request is a task of its own. A client that takes nothing of its answer loses it: over
//! HTTP/1.1 the connection itself is watched ([`super::patience`]), here it may be alive for others.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::connection::service;
use super::patience::Patient;
use super::peer::Peer;
use crate::config::Limits;
use crate::edge::Worker;

/// How often an idle connection is asked whether its client still is there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Bytes that one stream may send before it is read, and all streams of a connection.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// Bytes of an answer that wait for a client to take them.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Answers requests until the connection ends, or is drained at `stop`.
pub(super) async fn serve<S>(
    stream: S,
    peer: Rc<Peer>,
    worker: &Rc<Worker>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &worker.edge.settings.limits;
    let stream = TokioIo::new(Patient::new(stream, Arc::clone(&peer.waits), limits.send_timeout));
    let service = service(worker, &peer);
    let mut connection = pin!(builder(limits).serve_connection(stream, service));
    tokio::select! {
        biased;
        // A connection that breaks is the client's affair; its requests are logged one by one.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = peer.unused(limits.idle_timeout) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

fn builder(limits: &Limits) -> Builder<OfThisThread> {
    let mut builder = Builder::new(OfThisThread { patience: limits.send_timeout });
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(limits.header_timeout)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(limits.header_bytes_max)
        .max_concurrent_streams(limits.streams_max.get())
        .max_pending_accept_reset_streams(limits.resets_max.get() as usize)
        .max_local_error_reset_streams(limits.resets_max.get() as usize);
    builder
}

thread_local! {
    /// Whether the task that runs on this worker right now has an answer, all of it.
    static ANSWERED: Cell<bool> = const { Cell::new(false) };
}

/// The request of the task that runs now has an answer that is there as a whole: what is left is for
/// the client to take it. An answer that is a stream may take as long as it likes.
pub(crate) fn is_answered() {
    ANSWERED.set(true);
}

/// Runs the tasks of a connection on the worker that has it.
#[derive(Clone, Copy)]
struct OfThisThread {
    /// How long a client may take nothing of an answer.
    patience: Duration,
}

impl<F> Executor<F> for OfThisThread
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, task: F) {
        let patience = self.patience;
        tokio::task::spawn_local(Watched { task: Box::pin(task), patience, waiting: None });
    }
}

/// A task whose client has so long to take an answer.
struct Watched<F> {
    task: Pin<Box<F>>,
    patience: Duration,
    /// Runs from the answer on, when that is not taken at once.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        ANSWERED.set(false);
        if self.task.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if ANSWERED.take() {
            self.waiting = Some(Box::pin(sleep(self.patience)));
        }
        match &mut self.waiting {
            Some(waiting) => waiting.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}
