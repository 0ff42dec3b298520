//! Reading through gRPC at a steady rate, while others write.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use contracts::ledger::v1::get_balance_request::AsOf;
use contracts::ledger::v1::{GetBalanceRequest, ListAccountHistoryRequest, LookupTransfersRequest};
use prost_types::Timestamp;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::connect::Client;
use super::rows::{self, BATCH, Random, Rows};
use super::write::text;
use crate::measure::Load;

/// Time between two reads of a kind.
const PACE: Duration = Duration::from_millis(2);

/// Entries of a page.
const PAGE: i32 = 100;

/// What can be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A transfer, by its id.
    Transfer,
    /// A balance, as of some time since the first of the batches.
    Balance,
    /// The newest page of the history of a busy account.
    History,
}

/// What is there to be read.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) rows: Rows,
    pub(crate) batches: Range<u64>,
    pub(crate) since: SystemTime,
}

/// Reads one kind for so many seconds, whether or not the answers keep up: the latency of a read
/// counts from the time at which it was due.
pub(crate) async fn steadily(
    client: Client,
    kind: Kind,
    written: Written,
    seconds: u32,
) -> Result<Load> {
    let count = Duration::from_secs(seconds.into()).as_micros() / PACE.as_micros();
    let count = u32::try_from(count)?;
    let runtime = Handle::current();
    let started = Instant::now();
    // A thread of its own: tokio's timers are late by a millisecond.
    let begin = move || {
        let mut random = Random(kind as u64);
        let mut reads = JoinSet::new();
        for number in 0..count {
            let due = started + PACE * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (client, written, draw) = (client.clone(), written.clone(), random.next());
            let read = async move {
                one(client, kind, &written, Random(draw)).await?;
                anyhow::Ok(due.elapsed())
            };
            reads.spawn_on(read, &runtime);
        }
        reads
    };
    let reads = tokio::task::spawn_blocking(begin).await?.join_all().await;
    let latencies = reads.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Load::of(count.into(), started.elapsed(), latencies))
}

async fn one(mut client: Client, kind: Kind, written: &Written, mut random: Random) -> Result<()> {
    let Written { rows, batches, since } = written;
    match kind {
        Kind::Transfer => {
            let batch = batches.start + random.below(batches.end - batches.start);
            let place = usize::try_from(random.below(BATCH))?;
            let ids = rows.batch(batch).nth(place).map(|transfer| text(transfer.id.number()));
            let request = LookupTransfersRequest { ids: ids.into_iter().collect() };
            let answer = client.lookup_transfers(request).await?;
            ensure!(answer.get_ref().transfers.len() == 1, "a transfer is missing");
        }
        Kind::Balance => {
            let account_id = text(rows::account(random.below(rows.accounts)).number());
            let elapsed = since.elapsed()?.as_micros();
            let after = Duration::from_micros(random.below(u64::try_from(elapsed)?));
            let at = since.duration_since(UNIX_EPOCH)? + after;
            let at = Timestamp {
                seconds: i64::try_from(at.as_secs())?,
                nanos: i32::try_from(at.subsec_nanos())?,
            };
            let request = GetBalanceRequest { account_id, as_of: Some(AsOf::At(at)) };
            ensure!(client.get_balance(request).await?.get_ref().balance.is_some(), "no balance");
        }
        Kind::History => {
            let account_id = text(rows::account(random.below(rows.busy())).number());
            let request = ListAccountHistoryRequest {
                account_id,
                page_size: PAGE,
                ..ListAccountHistoryRequest::default()
            };
            let page = client.list_account_history(request).await?;
            ensure!(page.get_ref().entries.len() == usize::try_from(PAGE)?, "a short page");
        }
    }
    Ok(())
}
