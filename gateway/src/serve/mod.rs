//! From a listening socket to requests: one acceptor, and a worker for each core.
//!
//! Every worker is a thread with a runtime, upstream connections and timers of its own; a connection
//! stays with the worker that got it. The acceptor gives each new one to the worker that has the
//! fewest: sockets shared by all workers wake all of them for each connection and give a burst to
//! whichever wakes first, and `SO_REUSEPORT` spreads few connections by luck.

mod aside;
mod connection;
mod http1;
mod http2;
mod patience;
mod peer;
mod preface;
pub(crate) mod tls;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub(crate) use http2::is_answered;
pub(crate) use peer::{Peer, address_header};

use crate::edge::Edge;
use tls::Tls;
use worker::Worker;

/// How long to wait before the next connection if one cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket and what its connections speak.
pub(crate) struct Listener {
    socket: TcpListener,
    /// Absent on the listener without TLS.
    tls: Option<Arc<Tls>>,
}

impl Listener {
    /// Listens on `address`.
    pub(crate) async fn bind(address: SocketAddr, tls: Option<Arc<Tls>>) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, tls })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection, free of the runtime that accepted it.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.socket.accept().await?;
        Ok((stream.into_std()?, address))
    }
}

/// A connection on its way to a worker.
struct Arrival {
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    /// Its place among all connections.
    permit: OwnedSemaphorePermit,
}

/// Serves all listeners until `stop`, then lets open requests end within the drain time.
pub(crate) async fn serve(listeners: Vec<Listener>, edge: Arc<Edge>, stop: CancellationToken) {
    let count = edge.settings.workers.unwrap_or_else(cores).get();
    let workers: Vec<_> =
        (0..count).filter_map(|number| Worker::start(number, &edge, stop.clone())).collect();
    if workers.is_empty() {
        return tracing::error!("no worker could start");
    }
    let connections = Arc::new(Semaphore::new(edge.settings.limits.connections_max.get() as usize));
    let accepting = listeners.iter().map(|listener| accept(listener, &connections, &workers));
    edge.pages.set_ready(true);
    tokio::select! {
        _ = join_all(accepting) => {}
        () = stop.cancelled() => {}
    }
    edge.pages.set_ready(false);
    drop(listeners);
    let drained = join_all(workers.into_iter().map(Worker::end)).await;
    if drained.contains(&false) {
        tracing::warn!("requests were still open at the end of the drain time");
    }
}

async fn accept(listener: &Listener, connections: &Arc<Semaphore>, workers: &[Worker]) {
    loop {
        // Beyond the bound, connections wait in the system's queue.
        let Ok(permit) = Arc::clone(connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, address)) => {
                let arrival = Arrival { stream, address, tls: listener.tls.clone(), permit };
                if let Some(worker) = workers.iter().min_by_key(|worker| worker.connections()) {
                    worker.take(arrival);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Workers when no setting says how many: one for each core.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
