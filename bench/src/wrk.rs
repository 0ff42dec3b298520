//! Load by wrk, which costs the machine little.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::measure::Load;

/// Runs a Lua script of requests against `url` over 64 connections.
///
/// # Errors
/// Also when any answer was not a success: a fast refusal is not a result.
pub(crate) async fn run(script: &Path, url: &str, seconds: u32) -> Result<Load> {
    load(Command::new("wrk"), 2, script, url, seconds).await
}

/// [`run`] on some cores alone, with a thread for each.
pub(crate) async fn run_on(cores: &str, script: &Path, url: &str, seconds: u32) -> Result<Load> {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", cores, "wrk"]);
    load(command, cores.split(',').count(), script, url, seconds).await
}

async fn load(
    mut command: Command,
    threads: usize,
    script: &Path,
    url: &str,
    seconds: u32,
) -> Result<Load> {
    let output = command
        .args(["--threads", &threads.to_string(), "--connections", "64", "--latency"])
        .arg("--duration")
        .arg(format!("{seconds}s"))
        .arg("--script")
        .arg(script)
        .arg(url)
        .output()
        .await
        .context("cannot run `wrk`; install the package `wrk`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!(
            "wrk failed, or got answers that were no success:\n{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    parse(&text).with_context(|| format!("wrk said something new:\n{text}"))
}

fn parse(text: &str) -> Option<Load> {
    let word_after = |start: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix(start)?.split_whitespace().next())
    };
    Some(Load {
        per_second: word_after("Requests/sec:")?.parse().ok()?,
        p50_ms: milliseconds(word_after("50%")?)?,
        p99_ms: milliseconds(word_after("99%")?)?,
    })
}

/// wrk prints `812.00us`, `1.52ms`, `1.01s`.
fn milliseconds(text: &str) -> Option<f64> {
    let (number, factor) = match text {
        _ if text.ends_with("us") => (&text[..text.len() - 2], 0.001),
        _ if text.ends_with("ms") => (&text[..text.len() - 2], 1.0),
        _ => (text.strip_suffix('s')?, 1000.0),
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_wrk_prints() {
        let text = "
  Latency Distribution
     50%  812.00us
     75%    1.20ms
     90%    2.00ms
     99%    1.01s
  10000 requests in 1.00s, 1.00MB read
Requests/sec:  10234.56
Transfer/sec:    120.00KB";

        let load = parse(text);

        assert_eq!(load, Some(Load { per_second: 10_234.56, p50_ms: 0.812, p99_ms: 1010.0 }));
    }
}
