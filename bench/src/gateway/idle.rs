//! Memory of a gateway that many clients are connected to and nobody asks anything.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::material::CERTS;
use super::peer::Gateway;
use crate::certificates::Certificates;
use crate::measure;

/// Resident memory in MB.
pub(super) struct Resident {
    /// Before anybody came.
    pub(super) base: f64,
    /// With the connections, which have had one answer each.
    pub(super) plain: f64,
    /// With as many over TLS, the others gone.
    pub(super) tls: f64,
}

/// Measures a gateway that nobody has used yet, with `count` connections.
pub(super) async fn resident(gateway: &Gateway, folder: &Path, count: usize) -> Result<Resident> {
    let base = measure::resident_mb(gateway.id()?)?;
    let plain = connected(gateway, count, async || Ok(TcpStream::connect(gateway.http).await?));
    let plain = plain.await?;
    let Certificates { roots, .. } = Certificates::of("edge", &folder.join(CERTS))?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let tls = connected(gateway, count, async || {
        let socket = TcpStream::connect(gateway.https).await?;
        Ok(connector.connect(ServerName::try_from("localhost")?, socket).await?)
    });
    Ok(Resident { base, plain, tls: tls.await? })
}

/// Memory while `count` clients hold connections that have had an answer.
async fn connected<S>(
    gateway: &Gateway,
    count: usize,
    connect: impl AsyncFn() -> Result<S>,
) -> Result<f64>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = connect().await?;
        connection.write_all(b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        let mut answer = [0; 4096];
        ensure!(connection.read(&mut answer).await? > 0, "the gateway hung up");
        connections.push(connection);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    measure::resident_mb(gateway.id()?)
}
