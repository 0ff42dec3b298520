//! One ledger that is filled with batches, and what it does when it is full.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use proof::TransferId;

use super::copy::{Copied, Table};
use super::read::{Reader, Reading};
use super::rows::Rows;
use super::server::Server;
use super::turns::Turns;
use super::{CONNECTIONS, Scale, limits, row, say, write};
use crate::measure::{Load, float};
use crate::pgbench::Peer;
use crate::report::Row;

const COPY: &str = "PostgreSQL COPY";
const DISK: &str = "1 MiB + fdatasync";

/// How long a server is left alone before its memory is looked at.
const REST: Duration = Duration::from_secs(3);

/// Runs it beside the peer, if there is one; `disk` is what the disk can do.
pub(super) async fn run(
    folder: &Path,
    scale: &Scale,
    peer: Option<&Peer>,
    disk: Load,
) -> Result<Vec<Row>> {
    let mut table = match peer {
        Some(peer) => Some(Table::create(&peer.url()).await?),
        None => None,
    };
    let [before, after] = scale.copied.clone();
    let first = copy(&mut table, scale, before).await?;

    say("batches through gRPC");
    let since = SystemTime::now();
    let mut server = Server::start(&folder.join("batches")).await?;
    let clients = server.connections(CONNECTIONS).await?;
    write::accounts(&clients, scale.plain.accounts).await?;
    let load = write::batches(&clients, scale.plain, Turns::of(scale.load.clone()));
    let (sent, cost) = server.costed(load).await?;
    let at_once = server.resident_mb()?;
    let second = copy(&mut table, scale, after).await?;
    let copied = [first, second].into_iter().flatten();
    let copied = copied.max_by(|one, other| one.load.per_second.total_cmp(&other.load.per_second));
    tokio::time::sleep(REST).await;
    let (resident, peak) = (server.resident_mb()?, server.peak_mb()?);

    say("restarts");
    drop(clients);
    let known = last(scale.plain, &scale.load)?;
    server.kill().await?;
    let killed = server.start_again(Some(known)).await?;
    let files = server.stop().await?;
    let disk_bytes = float(files.bytes) / float(sent.transfers);
    let stopped = server.start_again(Some(known)).await?;

    let Load { per_second, p50_ms, p99_ms } = sent.load;
    let best = copied;
    let copied = |metric, value, unit, figure: fn(&Copied) -> f64| {
        let row = row(metric, value, unit);
        match &best {
            Some(best) => row.beside(COPY, figure(best)),
            None => row,
        }
    };
    let mut rows = vec![
        copied("grpc_batch_tps", per_second, "1/s", |it| it.load.per_second),
        copied("grpc_batch_p50_ms", p50_ms, "ms", |it| it.load.p50_ms),
        copied("grpc_batch_p99_ms", p99_ms, "ms", |it| it.load.p99_ms),
        copied("grpc_batch_server_cpu_us", cost.server_us, "us", |it| it.cpu_us),
        row("grpc_batch_client_cpu_us", cost.client_us, "us"),
        copied("disk_bytes_batch", disk_bytes, "B", |it| it.disk_bytes),
        row("disk_write_mb_s", per_second * disk_bytes / 1e6, "MB/s")
            .beside(DISK, limits::megabytes(disk)),
        row("snapshots_mb_10m", float(files.snapshot_bytes) / 1e6, "MB"),
        row("rss_mb_10m", resident, "MB"),
        row("rss_at_once_mb_10m", at_once, "MB"),
        row("rss_peak_mb_10m", peak, "MB"),
        row("restart_kill_s_10m", killed.as_secs_f64(), "s"),
        row("restart_clean_s_10m", stopped.as_secs_f64(), "s"),
    ];
    rows.extend(holds_and_reads(&server, scale, per_second, since).await?);
    server.remove().await?;
    Ok(rows)
}

/// What the peer takes for these batches.
async fn copy(
    table: &mut Option<Table>,
    scale: &Scale,
    batches: Range<u64>,
) -> Result<Option<Copied>> {
    let Some(table) = table else { return Ok(None) };
    say(COPY);
    table.copy(scale.plain, Turns::of(batches)).await.map(Some)
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
    let reader = Reader::start(&Reading {
        certs: server.certs(),
        accounts: scale.plain.accounts,
        batches: scale.load.clone(),
        since,
        seconds: scale.seconds,
    })
    .await?;
    let turns = scale.beside_reads(per_second / 2.0);
    let beside = write::batches(&clients, scale.plain, turns).await?;
    let [transfers, balances, histories] = reader.end().await?;
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
