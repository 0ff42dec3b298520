//! One worker: a thread, its runtime and its connections.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Span;

use super::{Arrival, connection};
use crate::edge::{self, Edge};

/// A worker, as the acceptor sees it.
pub(crate) struct Worker {
    arrivals: mpsc::UnboundedSender<Arrival>,
    connections: Arc<AtomicUsize>,
    /// Tells whether all requests ended in time.
    drained: oneshot::Receiver<bool>,
}

impl Worker {
    /// Starts the worker of that number; it drains at `stop`. `None` when the system has no thread.
    pub(crate) fn start(number: usize, edge: &Arc<Edge>, stop: CancellationToken) -> Option<Self> {
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let (ended, drained) = oneshot::channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let (edge, open, span) = (Arc::clone(edge), Arc::clone(&connections), Span::current());
        let run = move || {
            // What a request logs is said by the service that the caller serves.
            let _span = span.enter();
            let runtime =
                Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    // Nobody listens any more when the acceptor was dropped.
                    let _ = ended.send(runtime.block_on(work(edge, arriving, open, stop)));
                }
                Err(error) => tracing::error!(%error, "a worker has no runtime"),
            }
        };
        match thread::Builder::new().name(format!("edge-{number}")).spawn(run) {
            Ok(_) => Some(Self { arrivals, connections, drained }),
            Err(error) => {
                tracing::error!(%error, "a worker could not start");
                None
            }
        }
    }

    /// Connections that it has.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Gives it a connection.
    pub(crate) fn take(&self, arrival: Arrival) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        // A worker that ended has closed its queue; the connection is closed with the arrival.
        let _ = self.arrivals.send(arrival);
    }

    /// Waits until it has drained; false when requests were open at the end of the drain time.
    pub(crate) async fn end(self) -> bool {
        drop(self.arrivals);
        self.drained.await.unwrap_or(true)
    }
}

async fn work(
    edge: Arc<Edge>,
    mut arriving: mpsc::UnboundedReceiver<Arrival>,
    open: Arc<AtomicUsize>,
    stop: CancellationToken,
) -> bool {
    let drain_time: Duration = edge.settings.limits.drain_timeout;
    let worker = edge::Worker::new(edge);
    let connections = TaskTracker::new();
    while let Some(Some(arrival)) = stop.run_until_cancelled(arriving.recv()).await {
        let (worker, stop) = (Rc::clone(&worker), stop.clone());
        let place = Place(Arc::clone(&open));
        let connection = async move {
            connection::serve(arrival, worker, stop).await;
            drop(place);
        };
        tokio::task::spawn_local(connections.track_future(connection));
    }
    drop(arriving);
    connections.close();
    let drained = timeout(drain_time, connections.wait()).await.is_ok();
    worker.flush();
    drained
}

/// A connection's place in the count of its worker.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
