//! A gateway under measure, whichever it is.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::process::Child;

/// A running gateway; ends with this value.
pub(super) struct Gateway {
    /// Its process: what was started becomes the gateway itself.
    pub(super) process: Child,
    /// Where it speaks HTTP.
    pub(super) http: SocketAddr,
    /// Where it speaks HTTP over TLS.
    pub(super) https: SocketAddr,
    /// Cores that load may come from.
    pub(super) load_cores: &'static str,
}

/// Cores for a gateway and for its load; the service behind has the last two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores {
    pub(super) gateway: &'static str,
    pub(super) load: &'static str,
}

/// One core for the gateway, one for the load.
pub(super) const ONE: Cores = Cores { gateway: "0", load: "1" };

/// Two cores for the gateway; the load shares those of the service.
pub(super) const TWO: Cores = Cores { gateway: "0,1", load: "2,3" };

impl Gateway {
    /// Its process id.
    pub(super) fn id(&self) -> Result<u32> {
        self.process.id().context("the gateway has ended")
    }

    /// Ends it, so that another one can have its place.
    pub(super) async fn stop(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}

/// Waits until something listens.
pub(super) async fn await_listening(address: SocketAddr) -> Result<()> {
    for _ in 0..600 {
        if TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("nothing listens on {address} after 30 s");
}
