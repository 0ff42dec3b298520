//! The least that can be done: a server that no gateway can undercut, and a service that costs little.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::{self, SendResponse};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::runtime;
use tokio_rustls::TlsAcceptor;

use super::backend;
use super::material::{CERTS, ORDER, order};
use super::peer::{Cores, Gateway, await_listening};

const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18_183);

/// Starts hyper alone: no token, no limit, no call, only the order that a gateway would answer.
pub(super) async fn start(cores: Cores) -> Result<Gateway> {
    let process = Command::new("taskset")
        .args(["--cpu-list", cores.gateway])
        .arg(std::env::current_exe()?)
        .arg("gateway-floor")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a bare server")?;
    await_listening(HTTP).await?;
    Ok(Gateway { process, http: HTTP, https: HTTP, load_cores: cores.load })
}

/// Answers HTTP/1.1 on one thread until the process ends.
pub(crate) fn serve_floor() -> Result<()> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(HTTP).await?;
        let mut http = http1::Builder::new();
        http.writev(false);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let service = service_fn(async |_: Request<Incoming>| {
                let mut answer = Response::new(Full::new(Bytes::from_static(ORDER.as_bytes())));
                let json = HeaderValue::from_static("application/json");
                answer.headers_mut().insert(CONTENT_TYPE, json);
                Ok::<_, Infallible>(answer)
            });
            tokio::spawn(http.serve_connection(TokioIo::new(socket), service));
        }
    })
}

/// Answers every call with the same order, over HTTP/2 and mTLS, until the process ends.
pub(crate) async fn serve_backend(folder: &Path) -> Result<()> {
    let tls = TlsAcceptor::from(Arc::new(backend::tls(&folder.join(CERTS))?));
    let listener = TcpListener::bind(backend::ADDRESS).await?;
    let message = order("0198c0de-7000-7000-8000-000000000001".to_owned()).encode_to_vec();
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len())?);
    framed.put_slice(&message);
    let framed = framed.freeze();
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(converse(socket, tls.clone(), framed.clone()));
    }
}

async fn converse(socket: TcpStream, tls: TlsAcceptor, order: Bytes) -> Result<()> {
    socket.set_nodelay(true)?;
    let stream = tls.accept(socket).await?;
    let mut connection =
        server::Builder::new().max_concurrent_streams(1_000).handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        tokio::spawn(answer(request.into_body(), respond, order.clone()));
    }
    Ok(())
}

async fn answer(
    mut asked: RecvStream,
    mut respond: SendResponse<Bytes>,
    order: Bytes,
) -> Result<()> {
    while let Some(piece) = asked.data().await {
        asked.flow_control().release_capacity(piece?.len())?;
    }
    let mut head = Response::new(());
    head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut answer = respond.send_response(head, false)?;
    answer.send_data(order, false)?;
    let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    Ok(answer.send_trailers(HeaderMap::from_iter([status]))?)
}
