//! One ledger that is filled with batches, and what it does when it is full.

use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use proof::TransferId;

use super::copy::Table;
use super::read::{self, Written};
use super::rows::Rows;
use super::server::Server;
use super::turns::Turns;
use super::{CONNECTIONS, Scale, limits, row, say, write};
use crate::measure::{Load, float};
use crate::pgbench::Peer;
use crate::report::Row;

const COPY: &str = "PostgreSQL COPY";
const DISK: &str = "1 MiB + fdatasync";

/// Runs it beside the peer; `disk` is what the disk can do.
pub(super) async fn run(folder: &Path, scale: &Scale, peer: &Peer, disk: Load) -> Result<Vec<Row>> {
    let mut table = Table::create(&peer.url()).await?;
    let [before, after] = scale.copied.clone();
    say(COPY);
    let first = table.copy(scale.plain, Turns::of(before)).await?;

    say("batches through gRPC");
    let since = SystemTime::now();
    let mut server = Server::start(&folder.join("batches")).await?;
    let clients = server.connections(CONNECTIONS).await?;
    write::accounts(&clients, scale.plain.accounts).await?;
    let load = write::batches(&clients, scale.plain, Turns::of(scale.load.clone()));
    let (sent, cost) = server.costed(load).await?;
    say(COPY);
    let second = table.copy(scale.plain, Turns::of(after)).await?;
    let copied = if second.load.per_second > first.load.per_second { second } else { first };
    let resident = server.resident_mb()?;

    say("restarts");
    drop(clients);
    let known = last(scale.plain, &scale.load)?;
    server.kill().await?;
    let killed = server.start_again(Some(known)).await?;
    let files = server.stop().await?;
    let disk_bytes = float(files.bytes) / float(sent.transfers);
    let stopped = server.start_again(Some(known)).await?;

    let Load { per_second, p50_ms, p99_ms } = sent.load;
    let mut rows = vec![
        row("grpc_batch_tps", per_second, "1/s").beside(COPY, copied.load.per_second),
        row("grpc_batch_p50_ms", p50_ms, "ms").beside(COPY, copied.load.p50_ms),
        row("grpc_batch_p99_ms", p99_ms, "ms").beside(COPY, copied.load.p99_ms),
        row("grpc_batch_server_cpu_us", cost.server_us, "us").beside(COPY, copied.cpu_us),
        row("grpc_batch_client_cpu_us", cost.client_us, "us"),
        row("disk_bytes_batch", disk_bytes, "B").beside(COPY, copied.disk_bytes),
        row("disk_write_mb_s", per_second * disk_bytes / 1e6, "MB/s")
            .beside(DISK, limits::megabytes(disk)),
        row("snapshots_mb_10m", float(files.snapshot_bytes) / 1e6, "MB"),
        row("rss_mb_10m", resident, "MB"),
        row("restart_kill_s_10m", killed.as_secs_f64(), "s"),
        row("restart_clean_s_10m", stopped.as_secs_f64(), "s"),
    ];
    rows.extend(holds_and_reads(&server, scale, per_second, since).await?);
    server.remove().await?;
    Ok(rows)
}

/// Holds in batches; then reads while others write at half of `per_second`.
async fn holds_and_reads(
    server: &Server,
    scale: &Scale,
    per_second: f64,
    since: SystemTime,
) -> Result<Vec<Row>> {
    say("holds");
    let clients = server.connections(CONNECTIONS).await?;
    let holds = Turns::of(scale.holds.clone());
    let holds = write::batches(&clients, scale.pending, holds).await?.load;

    say("reads beside writes");
    let reader = server.connect().await?;
    let written = Written { rows: scale.plain, batches: scale.load.clone(), since };
    let read = |kind| read::steadily(reader.clone(), kind, written.clone(), scale.seconds);
    let (beside, transfers, balances, histories) = tokio::try_join!(
        write::batches(&clients, scale.plain, scale.beside_reads(per_second / 2.0)),
        read(read::Kind::Transfer),
        read(read::Kind::Balance),
        read(read::Kind::History),
    )?;
    Ok(vec![
        row("pending_tps", holds.per_second, "1/s"),
        row("pending_p99_ms", holds.p99_ms, "ms"),
        row("beside_reads_tps", beside.load.per_second, "1/s"),
        row("lookup_p50_ms", transfers.p50_ms, "ms"),
        row("lookup_p99_ms", transfers.p99_ms, "ms"),
        row("asof_p50_ms", balances.p50_ms, "ms"),
        row("asof_p99_ms", balances.p99_ms, "ms"),
        row("history_p50_ms", histories.p50_ms, "ms"),
        row("history_p99_ms", histories.p99_ms, "ms"),
    ])
}

/// The last transfer of the batches.
fn last(rows: Rows, batches: &Range<u64>) -> Result<TransferId> {
    let transfer = rows.batch(batches.end - 1).last().context("a batch is never empty")?;
    Ok(transfer.id)
}
