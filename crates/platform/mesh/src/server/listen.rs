//! Accepts connections of mesh members.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::around::Next;
use crate::config::Limits;
use crate::server::connection::{self, Peer};
use crate::server::cores::{Cores, Place};
use crate::spiffe;
use crate::tls::Identity;

/// Pause after an accept that failed, as it does when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Lets members in, and to the stack that answers their calls.
pub(super) struct Door<N> {
    pub(super) identity: Arc<Identity>,
    pub(super) limits: Arc<Limits>,
    pub(super) cores: Cores,
    pub(super) stack: Arc<N>,
    pub(super) connections: TaskTracker,
    /// Nobody else is let in.
    pub(super) stop: CancellationToken,
    /// Connections end when their calls have.
    pub(super) closing: CancellationToken,
    /// Connections break.
    pub(super) kill: CancellationToken,
}

impl<N: Next> Door<N> {
    /// Accepts members on `listener` until `stop`.
    pub(super) async fn open(&self, listener: TcpListener) {
        self.stop.run_until_cancelled(self.accept_all(&listener)).await;
    }

    /// Asks all members to leave, and waits until they have.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.connections.close();
        self.connections.wait().await;
    }

    async fn accept_all(&self, listener: &TcpListener) {
        let handshakes = Arc::new(Semaphore::new(self.limits.handshakes_max.get() as usize));
        while let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await {
            // Out of the runtime that accepts it, into the one that will serve it.
            let socket = match listener.accept().await.and_then(|(socket, _)| socket.into_std()) {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // One slow peer must not keep the others waiting.
            let place = self.cores.place();
            let runtime = place.runtime();
            self.connections.spawn_on(self.serve(socket, permit, place), &runtime);
        }
    }

    /// Lets a member in, and serves it until it leaves.
    fn serve(
        &self,
        socket: std::net::TcpStream,
        permit: OwnedSemaphorePermit,
        place: Place,
    ) -> impl Future<Output = ()> + Send + use<N> {
        let (identity, limits) = (Arc::clone(&self.identity), Arc::clone(&self.limits));
        let (stack, stop) = (Arc::clone(&self.stack), self.stop.clone());
        let (closing, kill) = (self.closing.clone(), self.kill.clone());
        async move {
            let _place = place;
            let handshake = timeout(limits.handshake_timeout, handshake(socket, identity));
            let Some(shaken) = stop.run_until_cancelled(handshake).await else { return };
            drop(permit);
            match shaken {
                Ok(Ok((stream, peer))) => {
                    connection::serve(stream, peer, stack, &limits, closing, kill).await;
                }
                Ok(Err(error)) => tracing::warn!(%error, "refused a connection"),
                Err(_) => tracing::warn!("refused a connection that was too slow"),
            }
        }
    }
}

async fn handshake(
    socket: std::net::TcpStream,
    identity: Arc<Identity>,
) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    let socket = TcpStream::from_std(socket)?;
    socket.set_nodelay(true)?;
    let stream = TlsAcceptor::from(identity.server()).accept(socket).await?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let member = certificates.first().and_then(|leaf| spiffe::member(leaf));
    let member = member.ok_or_else(|| io::Error::other("the certificate names no member"))?;
    Ok((stream, Peer(member)))
}
