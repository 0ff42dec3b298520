//! The peer: pgbench against a PostgreSQL of its own with the same settings as ours.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use storage::PrivateCluster;
use tokio::process::Command;

use crate::wrk::Load;

/// A cluster with pgbench's tables.
pub(crate) struct Peer {
    cluster: PrivateCluster,
    folder: PathBuf,
}

impl Peer {
    /// Starts the cluster and fills its tables: 10 branches, 1,000,000 accounts.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let cluster = PrivateCluster::start(&folder.join("peer")).await?;
        let peer = Self { cluster, folder: folder.to_owned() };
        peer.pgbench(&["--initialize", "--scale", "10", "--quiet"]).await?;
        Ok(peer)
    }

    /// TPC-B: five statements in one durable transaction.
    pub(crate) async fn transactions(&self, seconds: u32) -> Result<Load> {
        self.load("--builtin=tpcb-like", seconds).await
    }

    /// One indexed read.
    pub(crate) async fn reads(&self, seconds: u32) -> Result<Load> {
        self.load("--builtin=select-only", seconds).await
    }

    async fn load(&self, script: &str, seconds: u32) -> Result<Load> {
        let logs = tempfile::tempdir_in(&self.folder)?;
        let prefix = logs.path().join("latency");
        let seconds = seconds.to_string();
        let text = self
            .pgbench(&[
                script,
                "--client=64",
                "--jobs=2",
                "--no-vacuum",
                "--log",
                "--log-prefix",
                &prefix.to_string_lossy(),
                "--time",
                &seconds,
            ])
            .await?;
        let per_second = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok())
            .with_context(|| format!("pgbench said something new:\n{text}"))?;
        let latencies = latencies(logs.path())?;
        Ok(Load {
            per_second,
            p50_ms: percentile(&latencies, 50),
            p99_ms: percentile(&latencies, 99),
        })
    }

    async fn pgbench(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("pgbench")
            .args(arguments)
            .arg(self.cluster.url("postgres", "postgres"))
            .output()
            .await
            .context("cannot run `pgbench`; it comes with PostgreSQL's server")?;
        if !output.status.success() {
            bail!("pgbench failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Latencies in microseconds, sorted: the third column of pgbench's logs.
fn latencies(folder: &Path) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let text = std::fs::read_to_string(entry?.path())?;
        found.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

#[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^52 microseconds")]
fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let at = sorted.len() * percent / 100;
    sorted.get(at.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |&us| us as f64 / 1000.0)
}
