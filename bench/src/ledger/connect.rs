//! Connections to a service of the mesh, with a certificate of a member.
//!
//! Nothing stands between tonic and the socket but TLS: what is measured is the server.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// A client of the ledger with a connection of its own.
pub(crate) type Client = LedgerServiceClient<Channel>;

/// Bytes under way per call and per connection, as between members of the mesh.
const STREAM_WINDOW: u32 = 4 << 20;
/// See [`STREAM_WINDOW`].
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Connects as `payments`, which may do anything, with the certificates of a folder.
pub(crate) async fn connect(certs: &Path, address: SocketAddr) -> Result<Client> {
    let tls = TlsConnector::from(Arc::new(tls(certs)?));
    let connector = tower::service_fn(move |_: Uri| {
        let tls = tls.clone();
        async move {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let name = ServerName::from(address.ip());
            tls.connect(name, socket).await.map(TokioIo::new)
        }
    });
    let channel = Endpoint::from_static("http://ledger")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_with_connector(connector)
        .await?;
    Ok(LedgerServiceClient::new(channel))
}

fn tls(certs: &Path) -> Result<ClientConfig> {
    let certificates = |name: &str| -> Result<Vec<CertificateDer<'static>>> {
        let pem = fs::read(certs.join(name))?;
        Ok(CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>()?)
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates("ca.pem")? {
        roots.add(authority)?;
    }
    let key = PrivateKeyDer::from_pem_file(certs.join("payments.key"))?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates("payments.pem")?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
