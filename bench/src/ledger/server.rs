//! The server under measure: `malha serve ledger`, as an operator would start it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use contracts::ledger::v1::LookupTransfersRequest;
use proof::TransferId;
use tokio::process::{Child, Command};

use super::connect::{Client, connect};
use super::write::{Sent, text};
use crate::measure::{self, float};
use crate::mesh::binary;

/// Where the server listens.
pub(crate) const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 17_204);

/// Ports of its own, fewer log lines; all else as it comes.
const SETTINGS: &str = r#"
[mesh]
certs = "certs"
listen.ledger = "127.0.0.1:17204"

[telemetry]
log = "warn"
listen = "127.0.0.1:18281"

[ledger]
journal = "ledger"
create = true
"#;

/// Longest wait for a server to answer, or to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// CPU time for a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) server_us: f64,
    /// What makes the transfers included.
    pub(crate) client_us: f64,
}

/// What a ledger takes on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Files {
    /// Of the journal and the index.
    pub(crate) bytes: u64,
    /// Of the snapshots, which grow with the ids, and of which there are two.
    pub(crate) snapshot_bytes: u64,
}

/// A ledger in a folder of its own, served by a process that ends with this value.
pub(crate) struct Server {
    folder: PathBuf,
    process: Child,
}

impl Server {
    /// Makes certificates and an empty ledger in a new folder, and serves it.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        fs::create_dir(folder)?;
        fs::write(folder.join("malha.toml"), SETTINGS)?;
        for arguments in [["init"].as_slice(), &["issue", "ledger"], &["issue", "payments"]] {
            let mut command = malha(folder)?;
            let made = command.arg("certs").args(arguments).stdout(Stdio::null()).status().await?;
            ensure!(made.success(), "`malha certs` failed");
        }
        let server = Self { folder: folder.to_owned(), process: spawn(folder)? };
        server.await_answer(None).await?;
        Ok(server)
    }

    /// A new connection to it.
    pub(crate) async fn connect(&self) -> Result<Client> {
        self.connecting().await
    }

    /// A new connection to it, for whatever runtime.
    pub(crate) fn connecting(&self) -> impl Future<Output = Result<Client>> + Send + use<> {
        let certs = self.certs();
        async move { connect(&certs, ADDRESS).await }
    }

    /// The folder of the certificates.
    pub(crate) fn certs(&self) -> PathBuf {
        self.folder.join("certs")
    }

    /// Several connections to it.
    pub(crate) async fn connections(&self, count: usize) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(self.connect().await?);
        }
        Ok(clients)
    }

    /// Ends it where it stands.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    /// Stops it as an operator does, and says what it has left.
    pub(crate) async fn stop(&mut self) -> Result<Files> {
        let id = self.id()?.to_string();
        ensure!(Command::new("kill").args(["-TERM", &id]).status().await?.success());
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        let status = ended.context("the ledger does not stop")??;
        ensure!(status.success(), "the ledger stopped with {status}");
        let is_snapshot = |name: &str| name.ends_with(".snapshot");
        let folder = self.folder.join("ledger");
        Ok(Files {
            bytes: measure::used_bytes(&folder, |name| !is_snapshot(name))?,
            snapshot_bytes: measure::used_bytes(&folder, is_snapshot)?,
        })
    }

    /// Starts it again after its end: the time until it answers. It must have the transfer `known`.
    pub(crate) async fn start_again(&mut self, known: Option<TransferId>) -> Result<Duration> {
        let started = Instant::now();
        self.process = spawn(&self.folder)?;
        self.await_answer(known).await?;
        Ok(started.elapsed())
    }

    /// Stops it and removes all that it wrote.
    pub(crate) async fn remove(mut self) -> Result<()> {
        self.stop().await?;
        Ok(fs::remove_dir_all(&self.folder)?)
    }

    async fn await_answer(&self, known: Option<TransferId>) -> Result<()> {
        let ids = vec![text(known.unwrap_or(TransferId::from(1)).number())];
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let request = LookupTransfersRequest { ids: ids.clone() };
            if let Ok(mut client) = self.connect().await
                && let Ok(answer) = client.lookup_transfers(request).await
            {
                let found = answer.get_ref().transfers.len();
                ensure!(found == known.iter().len(), "the ledger has lost a transfer");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("the ledger does not answer");
    }

    /// What a load costs the server and us, beside what it comes to.
    pub(crate) async fn costed(
        &self,
        load: impl Future<Output = Result<Sent>>,
    ) -> Result<(Sent, Cost)> {
        let cpu = || anyhow::Ok((measure::cpu(self.id()?)?, measure::cpu(process::id())?));
        let (server, client) = cpu()?;
        let sent = load.await?;
        let (server_then, client_then) = cpu()?;
        let each = |then: Duration, before| {
            then.saturating_sub(before).as_secs_f64() * 1e6 / float(sent.transfers)
        };
        let cost =
            Cost { server_us: each(server_then, server), client_us: each(client_then, client) };
        Ok((sent, cost))
    }

    /// Memory that it holds, in MB.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        measure::resident_mb(self.id()?)
    }

    /// The most memory that it has held, in MB.
    pub(crate) fn peak_mb(&self) -> Result<f64> {
        measure::peak_mb(self.id()?)
    }

    fn id(&self) -> Result<u32> {
        self.process.id().context("the ledger has ended")
    }
}

fn malha(folder: &Path) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(["--config", "malha.toml"]).current_dir(folder).kill_on_drop(true);
    Ok(command)
}

fn spawn(folder: &Path) -> Result<Child> {
    let mut command = malha(folder)?;
    let serving = command.args(["serve", "ledger"]).stdout(Stdio::null()).spawn();
    serving.context("cannot start `malha`; `cargo xtask bench` builds it first")
}
