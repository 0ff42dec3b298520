//! One HTTP/2 connection of one worker to one endpoint.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::config::Limits;
use crate::target::Security;
use crate::wire::Payload;

/// What the upstream may send of one answer, and of all on a connection, before we read it.
pub(crate) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Bytes of all headers of an answer.
const HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Calls at a time before the peer says how many it admits.
const STREAMS_AT_FIRST: usize = 100;

/// Resets that may be sent at once, after a time without any.
const RESETS_AT_ONCE: u32 = 10;

/// One HTTP/2 connection. It closes in peace when the last call on it has ended and it is dropped.
pub(crate) struct Connection {
    sender: SendRequest<Payload>,
    /// Calls under way, abandoned ones included.
    pub(crate) in_flight: AtomicUsize,
    resets: Resets,
}

impl Connection {
    /// Connects to `address`.
    pub(crate) async fn open(
        address: SocketAddr,
        security: &Security,
        limits: &Limits,
    ) -> io::Result<Self> {
        let connecting = async {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let Some((config, name)) = security.next() else {
                return Self::start(socket, limits).await;
            };
            let socket = TlsConnector::from(config).connect(name, socket).await?;
            if socket.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(io::Error::other("the peer did not choose HTTP/2"));
            }
            Self::start(socket, limits).await
        };
        timeout(limits.connect_timeout, connecting).await?
    }

    /// Speaks HTTP/2 on `socket`, in tasks of their own.
    async fn start<S>(socket: S, limits: &Limits) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(STREAMS_AT_FIRST)
            .max_header_list_size(HEADER_BYTES_MAX)
            .handshake(socket)
            .await;
        let (sender, mut connection) = handshake.map_err(io::Error::other)?;
        let pings = connection.ping_pong();
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to an upstream ended");
            }
        });
        if let Some(pings) = pings {
            tokio::spawn(keep_alive(pings, limits.keep_alive, driver.abort_handle()));
        }
        let resets = Resets::new(limits.resets_per_second.get());
        Ok(Self { sender, in_flight: AtomicUsize::new(0), resets })
    }

    /// The way to send a request; `None` when the connection takes no more: it was lost, the peer
    /// said GOAWAY, or all ids are used up.
    pub(crate) fn sender(&self) -> Option<SendRequest<Payload>> {
        let mut sender = self.sender.clone();
        // A new clone has no request of its own to wait for: the answer is at hand.
        let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(()))).then_some(sender)
    }

    /// Whether the peer admits another call at a time.
    pub(crate) fn has_room(&self, sender: &SendRequest<Payload>) -> bool {
        self.in_flight.load(Ordering::Relaxed) < sender.current_max_send_streams()
    }

    /// When an abandoned stream may be reset: at once, or later.
    pub(crate) fn reset_time(&self) -> Instant {
        self.resets.next()
    }
}

/// Asks again and again whether the peer lives, and gives the connection up when it does not.
async fn keep_alive(mut pings: PingPong, every: Duration, driver: AbortHandle) {
    loop {
        sleep(every).await;
        match timeout(every, pings.ping(Ping::opaque())).await {
            Ok(Ok(_pong)) => {}
            // It ended already.
            Ok(Err(_)) => return,
            Err(_elapsed) => return driver.abort(),
        }
    }
}

/// Spreads resets over time: servers take a burst of them for an attack and close the connection,
/// with every other call that is on it.
struct Resets {
    interval: Duration,
    /// When the next reset would be due if all came evenly.
    due: Mutex<Instant>,
}

impl Resets {
    fn new(per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second, due: Mutex::new(Instant::now()) }
    }

    fn next(&self) -> Instant {
        let now = Instant::now();
        let mut due = self.due.lock();
        *due = (*due).max(now) + self.interval;
        let ahead = self.interval * RESETS_AT_ONCE;
        due.checked_sub(ahead).map_or(now, |at| at.max(now))
    }
}

/// Lets `rest`, what is left of an abandoned stream, go on until it ends by itself or may be reset.
/// Dropping it resets the stream.
pub(crate) fn abandon<F>(at: Instant, rest: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    // Without a runtime all is about to end anyway.
    if at > Instant::now() && tokio::runtime::Handle::try_current().is_ok() {
        tokio::spawn(timeout_at(at, rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn resets_come_ten_at_once_and_then_evenly() {
        let resets = Resets::new(10);
        let start = Instant::now();
        let waits: Vec<_> = (0..12).map(|_| (resets.next() - start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 200]);

        tokio::time::advance(Duration::from_mins(1)).await;
        let start = Instant::now();
        assert_eq!((0..11).filter(|_| resets.next() == start).count(), 10);
    }
}
