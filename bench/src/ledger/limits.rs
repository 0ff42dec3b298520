//! What the machine can do at best, to say how far from it the ledger stands.

use std::fs::File;
use std::hint::black_box;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::measure::{Load, float};

/// About the size of a batch.
const WRITE: usize = 1 << 20;

/// Writes of a measurement.
const WRITES: u32 = 512;

/// Larger than any cache.
const COPY: usize = 256 << 20;

/// Copies of a measurement.
const COPIES: u32 = 8;

/// Sequential writes of 1 MiB into a file that has its blocks already, each with fdatasync.
pub(crate) fn disk(folder: &Path) -> Result<Load> {
    let mut file = File::create(folder.join("limit"))?;
    let block = vec![0x5a; WRITE];
    for _ in 0..WRITES {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    file.rewind()?;
    let mut latencies = Vec::new();
    let started = Instant::now();
    for _ in 0..WRITES {
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        latencies.push(began.elapsed());
    }
    Ok(Load::of(WRITES.into(), started.elapsed(), latencies))
}

/// Megabytes per second of such writes.
pub(crate) fn megabytes(writes: Load) -> f64 {
    writes.per_second * float(WRITE as u64) / 1e6
}

/// Gigabytes per second that one thread copies in memory.
pub(crate) fn copy_gb_s() -> f64 {
    let source = vec![1_u8; COPY];
    let mut target = vec![2_u8; COPY];
    let mut best = Duration::MAX;
    for _ in 0..COPIES {
        let started = Instant::now();
        target.copy_from_slice(black_box(&source));
        black_box(&mut target);
        best = best.min(started.elapsed());
    }
    float(COPY as u64) / best.as_secs_f64() / 1e9
}
