//! Accepts connections of mesh members.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::config::Limits;
use crate::spiffe;
use crate::tls::Identity;

/// Connections that finished their handshake and wait to be served.
const READY_MAX: usize = 64;

/// Pause after an accept that failed, as it does when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The member at the other end, proved by its certificate.
#[derive(Clone, Debug)]
pub(crate) struct Peer(pub(crate) Arc<str>);

/// Accepts members on `listener`, in a task that ends with `stop` or with the stream. Connections
/// that are still open when `kill` is cancelled break.
pub(crate) fn members(
    listener: TcpListener,
    identity: Arc<Identity>,
    limits: &Limits,
    stop: CancellationToken,
    kill: CancellationToken,
) -> ReceiverStream<io::Result<MemberStream>> {
    let (sender, receiver) = mpsc::channel(READY_MAX);
    let door = Door {
        identity,
        timeout: limits.handshake_timeout,
        handshakes: Arc::new(Semaphore::new(limits.handshakes_max.get() as usize)),
        kill,
        sender,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = door.sender.closed() => {}
            () = door.accept_all(&listener) => {}
        }
    });
    ReceiverStream::new(receiver)
}

struct Door {
    identity: Arc<Identity>,
    timeout: Duration,
    handshakes: Arc<Semaphore>,
    kill: CancellationToken,
    sender: mpsc::Sender<io::Result<MemberStream>>,
}

impl Door {
    async fn accept_all(&self, listener: &TcpListener) {
        while let Ok(permit) = Arc::clone(&self.handshakes).acquire_owned().await {
            let socket = match listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // One slow peer must not keep the others waiting.
            let handshake = timeout(self.timeout, handshake(socket, Arc::clone(&self.identity)));
            let (sender, kill) = (self.sender.clone(), self.kill.clone());
            tokio::spawn(async move {
                match handshake.await {
                    Ok(Ok((stream, peer))) => {
                        drop(permit);
                        // Fails when the server stopped meanwhile.
                        let _ = sender.send(Ok(MemberStream::new(stream, peer, kill))).await;
                    }
                    Ok(Err(error)) => tracing::warn!(%error, "refused a connection"),
                    Err(_) => tracing::warn!("refused a connection that was too slow"),
                }
            });
        }
    }
}

async fn handshake(
    socket: TcpStream,
    identity: Arc<Identity>,
) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    socket.set_nodelay(true)?;
    let stream = TlsAcceptor::from(identity.server()).accept(socket).await?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let member = certificates.first().and_then(|leaf| spiffe::member(leaf));
    let member = member.ok_or_else(|| io::Error::other("the certificate names no member"))?;
    Ok((stream, Peer(member)))
}

/// A connection of a member.
pub(crate) struct MemberStream {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl MemberStream {
    fn new(stream: TlsStream<TcpStream>, peer: Peer, kill: CancellationToken) -> Self {
        Self { stream, peer, killed: Box::pin(kill.cancelled_owned()) }
    }
}

impl Connected for MemberStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for MemberStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A connection is always being read, so this is where it learns that it has to end.
        if self.killed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for MemberStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
