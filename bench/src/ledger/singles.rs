//! Another ledger, into which transfers come one by one.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;

use super::server::Server;
use super::{CONNECTIONS, Scale, row, say, write};
use crate::measure::{Load, float};
use crate::pgbench::Peer;
use crate::report::Row;

/// Those that send at the same time, over all connections.
const CALLERS: Range<u64> = 0..256;

/// The one that sends alone.
const ALONE: Range<u64> = 256..257;

/// Seconds for one caller alone: enough for a median.
const ALONE_SECONDS: u32 = 3;

const TPCB: &str = "pgbench TPC-B";

/// Runs it beside the peer, if there is one.
pub(super) async fn run(folder: &Path, scale: &Scale, peer: Option<&Peer>) -> Result<Vec<Row>> {
    say("single transfers");
    let mut server = Server::start(&folder.join("singles")).await?;
    write::accounts(&server.connections(CONNECTIONS).await?, scale.plain.accounts).await?;
    let empty = server.stop().await?;
    server.start_again(None).await?;
    let load = write::unary(&server, CONNECTIONS as u64, scale.plain, CALLERS, scale.seconds);
    let (many, cost) = server.costed(load).await?;
    let full = server.stop().await?;

    let transactions = match peer {
        Some(peer) => {
            say(TPCB);
            Some(peer.prepared_transactions(scale.seconds).await?)
        }
        None => None,
    };

    say("one transfer at a time");
    server.start_again(None).await?;
    let alone = write::unary(&server, 1, scale.plain, ALONE, ALONE_SECONDS).await?.load;
    server.remove().await?;

    let disk_bytes = float(full.bytes.saturating_sub(empty.bytes)) / float(many.transfers);
    let beside = |metric, unit, figure: fn(&Load) -> f64| {
        let row = row(metric, figure(&many.load), unit);
        match &transactions {
            Some(transactions) => row.beside(TPCB, figure(transactions)),
            None => row,
        }
    };
    Ok(vec![
        beside("unary_256_tps", "1/s", |it| it.per_second),
        beside("unary_256_p50_ms", "ms", |it| it.p50_ms),
        beside("unary_256_p99_ms", "ms", |it| it.p99_ms),
        row("unary_256_server_cpu_us", cost.server_us, "us"),
        row("unary_256_client_cpu_us", cost.client_us, "us"),
        row("unary_1_tps", alone.per_second, "1/s"),
        row("unary_1_p50_ms", alone.p50_ms, "ms"),
        row("disk_bytes_unary", disk_bytes, "B"),
    ])
}
