//! What the ledger does, through gRPC and in process, beside PostgreSQL:
//! `docs/ledger-performance.md` says how it is measured.

mod batches;
mod connect;
mod copy;
mod in_process;
mod limits;
pub(crate) mod read;
mod rows;
mod server;
mod singles;
mod turns;
mod write;

use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use proof::Kind;
use tokio::task::block_in_place;

use self::rows::{BATCH, Rows};
use self::turns::Turns;
use crate::measure::{self, float};
use crate::pgbench::Peer;
use crate::report::Row;

/// Connections of a load.
const CONNECTIONS: usize = 4;

/// Branches of pgbench, so that 16 clients seldom wait for each other.
const BRANCHES: u32 = 16;

/// A part of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Part {
    /// Batches through gRPC, memory, disk, restarts, and reads beside writes.
    Batches,
    /// The same batches in process.
    Engine,
    /// Transfers one by one.
    Singles,
}

/// What of it is to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Choice {
    /// Of the ledger: this part alone.
    #[arg(long)]
    part: Option<Part>,
    /// Of the ledger: without PostgreSQL.
    #[arg(long)]
    alone: bool,
}

/// Runs it. Loads that last a time last `seconds`; `quick` writes a tenth.
pub(crate) async fn run(seconds: u32, quick: bool, choice: &Choice) -> Result<Vec<Row>> {
    let scale = Scale::new(seconds, quick);
    let folder = measure::folder()?;
    let folder = folder.path();
    let peer = if choice.alone {
        None
    } else {
        say("a PostgreSQL");
        Some(Peer::start(folder, BRANCHES).await?)
    };
    let peer = peer.as_ref();
    let disk = block_in_place(|| limits::disk(folder))?;

    let runs = |part| choice.part.is_none_or(|chosen| chosen == part);
    let mut rows = Vec::new();
    if runs(Part::Batches) {
        rows.extend(batches::run(folder, &scale, peer, disk).await?);
    }
    if runs(Part::Engine) {
        rows.extend(in_process::run(folder, &scale).await?);
    }
    if runs(Part::Singles) {
        rows.extend(singles::run(folder, &scale, peer).await?);
    }
    rows.push(row("disk_sync_mb_s", limits::megabytes(disk), "MB/s"));
    rows.push(row("disk_sync_p50_ms", disk.p50_ms, "ms"));
    rows.push(row("memcpy_gb_s", block_in_place(limits::copy_gb_s), "GB/s"));
    Ok(rows)
}

/// How much is written. Batches of each use have numbers of their own.
struct Scale {
    plain: Rows,
    pending: Rows,
    /// As many transfers as the figures are for.
    load: Range<u64>,
    /// What the peer gets before and after it: fewer, which its indexes like.
    copied: [Range<u64>; 2],
    holds: Range<u64>,
    seconds: u32,
}

impl Scale {
    fn new(seconds: u32, quick: bool) -> Self {
        let (accounts, transfers) =
            if quick { (100_000, 1_000_000_u64) } else { (1_000_000, 10_000_000) };
        let load = transfers.div_ceil(BATCH);
        let part = load / 10;
        Self {
            plain: Rows { accounts, kind: Kind::Plain },
            pending: Rows { accounts, kind: Kind::Pending },
            load: 0..load,
            copied: [0..part, part..2 * part],
            holds: load..load + load / 5,
            seconds,
        }
    }

    /// Batches to write at this rate beside the reads.
    fn beside_reads(&self, per_second: f64) -> Turns {
        let pace = Duration::from_secs_f64(float(BATCH) / per_second);
        let seconds = Duration::from_secs(self.seconds.into());
        let count = u64::try_from(seconds.as_nanos() / pace.as_nanos()).unwrap_or_default();
        Turns::paced(self.holds.end..self.holds.end + count, pace)
    }
}

fn row(metric: &'static str, value: f64, unit: &'static str) -> Row {
    Row::alone("ledger", metric, value, unit)
}

/// Tells whoever waits what is going on.
fn say(what: &str) {
    eprintln!("ledger: {what}");
}
