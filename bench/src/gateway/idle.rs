//! Memory of a gateway that many clients are connected to and nobody asks anything.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::peer::Gateway;
use crate::measure;

/// Resident memory with `count` connections that have had one answer each.
pub(super) async fn resident_mb(gateway: &Gateway, count: usize) -> Result<f64> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = TcpStream::connect(gateway.http).await?;
        connection.write_all(b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        let mut answer = [0; 4096];
        ensure!(connection.read(&mut answer).await? > 0, "the gateway hung up");
        connections.push(connection);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    measure::resident_mb(gateway.id()?)
}
