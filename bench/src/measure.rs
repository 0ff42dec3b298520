//! What is read off clocks, the kernel and the disk.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// The kernel counts CPU time for programs in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// What disks give to files.
const BLOCK: u64 = 4096;

/// What a run of load came to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Load {
    /// Requests, transactions or transfers per second.
    pub(crate) per_second: f64,
    /// Median latency.
    pub(crate) p50_ms: f64,
    /// 99th percentile of latency.
    pub(crate) p99_ms: f64,
}

impl Load {
    /// Of `items` done in `elapsed`, with the latency of each call.
    pub(crate) fn of(items: u64, elapsed: Duration, mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self {
            per_second: float(items) / elapsed.as_secs_f64(),
            p50_ms: percentile_ms(&latencies, 50),
            p99_ms: percentile_ms(&latencies, 99),
        }
    }
}

/// A percentile of sorted latencies, in milliseconds.
pub(crate) fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let at = sorted.len() * percent / 100;
    let at = at.min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// Memory that a process holds, in MB.
pub(crate) fn resident_mb(process: u32) -> Result<f64> {
    memory_mb(process, "VmRSS:")
}

/// The most memory that a process has held, in MB.
pub(crate) fn peak_mb(process: u32) -> Result<f64> {
    memory_mb(process, "VmHWM:")
}

fn memory_mb(process: u32, label: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix(label)?.split_whitespace().next()?.parse::<f64>().ok())
        .with_context(|| format!("the kernel tells no {label}"))?;
    Ok(kilobytes * 1024.0 / 1e6)
}

/// CPU time that a process has used, that of the kernel for it included.
pub(crate) fn cpu(process: u32) -> Result<Duration> {
    let (_, used) = stat(process)?;
    Ok(used)
}

/// CPU time that the living children of a process have used.
pub(crate) fn cpu_of_children(parent: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for entry in fs::read_dir("/proc")? {
        let Ok(process) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // A process may end while it is looked at.
        if let Ok((its_parent, used)) = stat(process)
            && its_parent == parent
        {
            total += used;
        }
    }
    Ok(total)
}

/// The process that started this one.
pub(crate) fn parent(process: u32) -> Result<u32> {
    let (parent, _) = stat(process)?;
    Ok(parent)
}

fn stat(process: u32) -> Result<(u32, Duration)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold anything; fields are counted after it.
    let (_, fields) = text.rsplit_once(") ").context("the kernel says something new")?;
    let field = |number: usize| -> Result<u32> {
        Ok(fields.split(' ').nth(number - 3).context("too few fields")?.parse()?)
    };
    Ok((field(4)?, TICK * (field(14)? + field(15)?)))
}

/// Bytes of the files of a folder whose names are `wanted`, without the zeros at their ends: space
/// that is kept ready holds nothing yet.
pub(crate) fn used_bytes(folder: &Path, wanted: impl Fn(&str) -> bool + Copy) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            total += used_bytes(&entry.path(), wanted)?;
        } else if wanted(&entry.file_name().to_string_lossy()) {
            total += used(&File::open(entry.path())?)?.next_multiple_of(BLOCK);
        }
    }
    Ok(total)
}

/// Bytes of a file up to the last block that is not all zeros.
fn used(file: &File) -> Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; usize::try_from(BLOCK)?];
    while end > 0 {
        let begin = (end - 1) / BLOCK * BLOCK;
        let block = &mut block[..usize::try_from(end - begin)?];
        file.read_exact_at(block, begin)?;
        if block.iter().any(|&byte| byte != 0) {
            break;
        }
        end = begin;
    }
    Ok(end)
}

/// A folder that is removed at the end. The user that runs PostgreSQL can get in.
pub(crate) fn folder() -> Result<TempDir> {
    let permissions = fs::Permissions::from_mode(0o755);
    Ok(tempfile::Builder::new().prefix("malha-bench-").permissions(permissions).tempdir()?)
}
