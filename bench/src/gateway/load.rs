//! Load on a gateway: as much as it takes, or as much as is offered.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::peer::Gateway;
use crate::measure::{self, Load};
use crate::wrk;

/// Connections of the load.
const CONNECTIONS: u32 = 64;

/// Requests that a wrk script makes.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) script: PathBuf,
}

/// What a gateway came to under as much load as it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) per_second: f64,
    /// CPU time of the gateway for a request.
    pub(super) cpu_us: f64,
}

/// As many requests as the gateway answers.
pub(super) async fn closed(
    gateway: &Gateway,
    requests: &Requests,
    seconds: u32,
) -> Result<Measured> {
    let url = format!("http://{}", gateway.http);
    // Connections, caches and tables are warm before it counts.
    wrk::run_on(gateway.load_cores, &requests.script, &url, 1).await?;
    let before = measure::cpu(gateway.id()?)?;
    let load = wrk::run_on(gateway.load_cores, &requests.script, &url, seconds).await?;
    let used = measure::cpu(gateway.id()?)?.saturating_sub(before);
    let answered = load.per_second * f64::from(seconds);
    Ok(Measured { per_second: load.per_second, cpu_us: used.as_secs_f64() * 1e6 / answered })
}

/// `rate` requests per second, whether or not the gateway keeps up.
pub(super) async fn offered(
    gateway: &Gateway,
    token: &str,
    rate: f64,
    seconds: u32,
    folder: &Path,
) -> Result<Load> {
    let log = folder.join("offered.log");
    let SocketAddr::V4(address) = gateway.http else { anyhow::bail!("not an IPv4 address") };
    let each = rate / f64::from(CONNECTIONS);
    let status = Command::new("taskset")
        .args(["--cpu-list", gateway.load_cores, "h2load", "--h1"])
        .args(["--clients", &CONNECTIONS.to_string(), "--rps", &format!("{each:.0}")])
        .args(["--duration", &seconds.to_string(), "--warm-up-time", "1"])
        .args(["--header", &format!("authorization: Bearer {token}")])
        .arg("--log-file")
        .arg(&log)
        .arg(format!("http://{address}/v1/orders/0198c0de-7000-7000-8000-000000000001"))
        .stdout(std::process::Stdio::null())
        .status()
        .await
        .context("cannot run `h2load`; install the package `nghttp2-client`")?;
    ensure!(status.success(), "h2load failed");
    let text = std::fs::read_to_string(&log)?;
    std::fs::remove_file(&log)?;
    let latencies = text.lines().map(latency).collect::<Result<Vec<_>>>()?;
    Ok(Load::of(latencies.len() as u64, Duration::from_secs(seconds.into()), latencies))
}

/// A line of h2load: start in microseconds, status, microseconds until the end.
fn latency(line: &str) -> Result<Duration> {
    let mut fields = line.split('\t').skip(1);
    let (status, taken) = (fields.next(), fields.next());
    ensure!(status == Some("200"), "an answer was no success: {line}");
    Ok(Duration::from_micros(taken.context("h2load says something new")?.parse()?))
}
