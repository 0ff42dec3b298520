//! One connection: TLS, and what is spoken over it.

use std::convert::Infallible;
use std::io;
use std::rc::Rc;

use http::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::peer::Peer;
use super::tls::Tls;
use super::{Arrival, http1, http2, preface};
use crate::answer::Answer;
use crate::edge::Worker;

/// Answers the requests of one connection until it ends, or is drained at `stop`. Every stage has a
/// future of its own, so that a connection is as large as the stage that it is in.
pub(crate) async fn serve(arrival: Arrival, worker: Rc<Worker>, stop: CancellationToken) {
    // Until the end of this function the connection has its place.
    let Arrival { stream, address, tls, permit: _permit } = arrival;
    let Ok(stream) = tokio_stream(stream) else { return };
    let Some(tls) = tls else {
        let limits = &worker.edge.settings.limits;
        let Ok(Ok(is_http2)) = timeout(limits.header_timeout, preface::is_http2(&stream)).await
        else {
            return;
        };
        let peer = Rc::new(Peer::plain(address.ip()));
        return if is_http2 {
            Box::pin(http2::serve(stream, peer, &worker, stop)).await;
        } else {
            Box::pin(http1::serve(stream, peer, &worker, stop)).await;
        };
    };
    let Some(stream) = Box::pin(handshake(&tls, stream, &worker)).await else { return };
    let session = stream.get_ref().1;
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let peer = Rc::new(Peer::over_tls(address.ip(), session.peer_certificates()));
    if is_http2 {
        Box::pin(http2::serve(stream, peer, &worker, stop)).await;
    } else {
        Box::pin(http1::serve(stream, peer, &worker, stop)).await;
    }
}

/// What answers the requests of one connection, whichever HTTP it speaks.
pub(super) fn service(
    worker: &Rc<Worker>,
    peer: &Rc<Peer>,
) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: 'static> + use<>
{
    let (worker, peer) = (Rc::clone(worker), Rc::clone(peer));
    service_fn(move |request| {
        let (worker, peer) = (Rc::clone(&worker), Rc::clone(&peer));
        peer.begin();
        async move { Ok(worker.answer(peer, request).await) }
    })
}

fn tokio_stream(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    // Without it small answers wait for the client's acknowledgement; nothing else depends on it.
    let _ = stream.set_nodelay(true);
    TcpStream::from_std(stream)
}

/// Whoever does not finish a handshake in time is nobody to talk to.
async fn handshake(
    tls: &Tls,
    stream: TcpStream,
    worker: &Worker,
) -> Option<Box<TlsStream<TcpStream>>> {
    let handshake = TlsAcceptor::from(tls.current()).accept(stream);
    let shaken = timeout(worker.edge.settings.limits.handshake_timeout, handshake).await;
    shaken.ok()?.ok().map(Box::new)
}
