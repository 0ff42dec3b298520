//! The peer: pgbench against a PostgreSQL of its own with the same settings as ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use storage::PrivateCluster;
use tokio::process::Command;

use crate::measure::{Load, percentile_ms};

/// A cluster with pgbench's tables.
pub(crate) struct Peer {
    cluster: PrivateCluster,
    folder: PathBuf,
}

impl Peer {
    /// Starts the cluster and fills its tables: 100,000 accounts and one branch for each of
    /// `scale`.
    pub(crate) async fn start(folder: &Path, scale: u32) -> Result<Self> {
        let cluster = PrivateCluster::start(&folder.join("peer")).await?;
        let peer = Self { cluster, folder: folder.to_owned() };
        peer.pgbench(&["--initialize", "--scale", &scale.to_string(), "--quiet"]).await?;
        Ok(peer)
    }

    /// TPC-B: five statements in one durable transaction.
    pub(crate) async fn transactions(&self, seconds: u32) -> Result<Load> {
        self.load(&["--builtin=tpcb-like", "--client=64"], seconds).await
    }

    /// The same from 16 clients that prepare their statements, with which pgbench is fastest.
    pub(crate) async fn prepared_transactions(&self, seconds: u32) -> Result<Load> {
        let arguments = ["--builtin=tpcb-like", "--client=16", "--protocol=prepared"];
        self.load(&arguments, seconds).await
    }

    /// One indexed read.
    pub(crate) async fn reads(&self, seconds: u32) -> Result<Load> {
        self.load(&["--builtin=select-only", "--client=64"], seconds).await
    }

    /// Where its superuser reaches it.
    pub(crate) fn url(&self) -> String {
        self.cluster.url("postgres", "postgres")
    }

    async fn load(&self, script: &[&str], seconds: u32) -> Result<Load> {
        let logs = tempfile::tempdir_in(&self.folder)?;
        let prefix = logs.path().join("latency");
        let seconds = seconds.to_string();
        let log = ["--log", "--log-prefix", &prefix.to_string_lossy()];
        let length = ["--jobs=2", "--no-vacuum", "--time", &seconds];
        let text = self.pgbench(&[script, &log, &length].concat()).await?;
        let per_second = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok())
            .with_context(|| format!("pgbench said something new:\n{text}"))?;
        let latencies = latencies(logs.path())?;
        Ok(Load {
            per_second,
            p50_ms: percentile_ms(&latencies, 50),
            p99_ms: percentile_ms(&latencies, 99),
        })
    }

    async fn pgbench(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("pgbench")
            .args(arguments)
            .arg(self.url())
            .output()
            .await
            .context("cannot run `pgbench`; it comes with PostgreSQL's server")?;
        if !output.status.success() {
            bail!("pgbench failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Latencies, sorted: the third column of pgbench's logs, in microseconds.
fn latencies(folder: &Path) -> Result<Vec<Duration>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let text = std::fs::read_to_string(entry?.path())?;
        let latency = |line: &str| line.split(' ').nth(2)?.parse().ok().map(Duration::from_micros);
        found.extend(text.lines().filter_map(latency));
    }
    found.sort_unstable();
    Ok(found)
}
