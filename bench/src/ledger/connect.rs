//! Connections to a service of the mesh, with a certificate of a member.
//!
//! Nothing stands between the generated client and the socket but HTTP/2 and TLS: what is measured
//! is the server.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use anyhow::Result;
use bytes::Bytes;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use futures::future::BoxFuture;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{Request, Response, Uri};
use http_body::Frame;
use http_body_util::BodyExt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::codegen::StdError;
use tower::Service;

use crate::certificates::Certificates;

/// A client of the ledger with a connection of its own.
pub(crate) type Client = LedgerServiceClient<Connection>;

/// Bytes under way per call and per connection, as between members of the mesh.
const STREAM_WINDOW: u32 = 4 << 20;
/// See [`STREAM_WINDOW`].
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Connects as `payments`, which may do anything, with the certificates of a folder. The connection
/// lives on the runtime of the caller.
pub(crate) async fn connect(certs: &Path, address: SocketAddr) -> Result<Client> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let tls = TlsConnector::from(Arc::new(tls(certs)?));
    let stream = tls.connect(ServerName::from(address.ip()), socket).await?;
    let mut http = h2::client::Builder::new();
    http.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let (sender, connection) = http.handshake(stream).await?;
    tokio::spawn(connection);
    let origin = Uri::from_static("http://ledger");
    Ok(LedgerServiceClient::with_origin(Connection(sender), origin))
}

/// A connection, as the generated client takes it.
#[derive(Clone)]
pub(crate) struct Connection(SendRequest<Bytes>);

impl Service<Request<Body>> for Connection {
    type Response = Response<Answer>;
    type Error = StdError;
    type Future = BoxFuture<'static, Result<Self::Response, StdError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, message) = request.into_parts();
        let sent = self.0.send_request(Request::from_parts(head, ()), false);
        Box::pin(async move {
            let (answer, mut stream) = sent?;
            stream.send_data(message.collect().await?.to_bytes(), true)?;
            Ok(answer.await?.map(Answer))
        })
    }
}

/// The body of an answer.
pub(crate) struct Answer(RecvStream);

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(data) = ready!(self.0.poll_data(context)) {
            let taken = data.and_then(|data| {
                self.0.flow_control().release_capacity(data.len())?;
                Ok(Frame::data(data))
            });
            return Poll::Ready(Some(taken));
        }
        let trailers = ready!(self.0.poll_trailers(context)).transpose();
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

fn tls(certs: &Path) -> Result<ClientConfig> {
    let Certificates { roots, chain, key } = Certificates::of("payments", certs)?;
    let mut config =
        ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
