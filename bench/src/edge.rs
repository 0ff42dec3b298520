//! What a client of the edge gets: reads and transfers over HTTPS, beside pgbench.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};

use crate::measure;
use crate::mesh::{EDGE, Mesh, Person};
use crate::pgbench::Peer;
use crate::report::Row;
use crate::wrk;

/// People who pay each other.
const PEOPLE: usize = 100;

/// Runs it; each kind of load lasts `seconds`, ours and the peer's in turn.
pub(crate) async fn run(seconds: u32) -> Result<Vec<Row>> {
    let folder = measure::folder()?;
    let mesh = Mesh::start(folder.path()).await?;
    let idle = mesh.resident_mb()?;
    let people: Vec<Person> = stream::iter((0..PEOPLE).map(|number| mesh.person(number)))
        .buffered(4)
        .try_collect()
        .await?;
    let peer = Peer::start(folder.path(), 10).await?;

    let read = script(folder.path(), "read", READ, &people)?;
    let transfer = script(folder.path(), "transfer", TRANSFER, &people)?;
    let reads = wrk::run(&read, EDGE, seconds).await?;
    let peer_reads = peer.reads(seconds).await?;
    let transfers = wrk::run(&transfer, EDGE, seconds).await?;
    let peer_transactions = peer.transactions(seconds).await?;

    let (select, tpcb) = ("pgbench select-only", "pgbench TPC-B");
    let row = |metric, value, unit| Row::alone("edge", metric, value, unit);
    Ok(vec![
        row("edge_read_rps", reads.per_second, "1/s").beside(select, peer_reads.per_second),
        row("edge_read_p50_ms", reads.p50_ms, "ms").beside(select, peer_reads.p50_ms),
        row("edge_read_p99_ms", reads.p99_ms, "ms").beside(select, peer_reads.p99_ms),
        row("edge_transfer_rps", transfers.per_second, "1/s")
            .beside(tpcb, peer_transactions.per_second),
        row("edge_transfer_p50_ms", transfers.p50_ms, "ms").beside(tpcb, peer_transactions.p50_ms),
        row("edge_transfer_p99_ms", transfers.p99_ms, "ms").beside(tpcb, peer_transactions.p99_ms),
        row("time_to_first_request_s", mesh.started_in.as_secs_f64(), "s"),
        row("idle_rss_mb", idle, "MB"),
    ])
}

/// Each request reads the balance of the next person.
const READ: &str = r#"
request = function()
  at = at % #people + 1
  return wrk.format("GET", "/users/me/balance", people[at].headers)
end
"#;

/// Each request pays the person after the next one.
const TRANSFER: &str = r#"
request = function()
  at = at % #people + 1
  local receiver = people[at % #people + 1]
  local body = '{"type":"TRANSFER","receiverUserId":"' .. receiver.id .. '","amount":0.01}'
  return wrk.format("POST", "/transactions", people[at].headers, body)
end
"#;

fn script(folder: &Path, name: &str, requests: &str, people: &[Person]) -> Result<PathBuf> {
    let mut script = "people = {}\n".to_owned();
    for Person { id, token } in people {
        writeln!(
            script,
            r#"people[#people + 1] = {{ id = "{id}", headers = {{ ["authorization"] = "Bearer {token}", ["content-type"] = "application/json" }} }}"#
        )?;
    }
    // Threads begin at different people, so that two never pay from the same account at once.
    script.push_str("local threads = 0\nfunction setup(thread) thread:set('at', threads * 50) threads = threads + 1 end\n");
    script.push_str(requests);
    let path = folder.join(format!("{name}.lua"));
    std::fs::write(&path, script)?;
    Ok(path)
}
