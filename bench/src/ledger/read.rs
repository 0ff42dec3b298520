//! Reading through gRPC at a steady rate, while others write: by a process of its own, as readers are.

use std::ops::Range;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use contracts::ledger::v1::get_balance_request::AsOf;
use contracts::ledger::v1::{GetBalanceRequest, ListAccountHistoryRequest, LookupTransfersRequest};
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::runtime::Builder;

use super::connect::{Client, connect};
use super::rows::{self, BATCH, Random, Rows};
use super::server::ADDRESS;
use super::write::text;
use crate::measure::Load;

/// Time between two reads of a kind.
const PACE: Duration = Duration::from_millis(2);

/// Entries of a page.
const PAGE: i32 = 100;

/// What a reader says when it is connected.
const READY: &str = "ready";

/// What can be read.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A transfer, by its id.
    Transfer,
    /// A balance, as of some time since the first of the batches.
    Balance,
    /// The newest page of the history of a busy account.
    History,
}

/// What is there to be read, and for how long.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Reading {
    /// The certificates.
    pub(crate) certs: PathBuf,
    /// Of plain transfers between so many.
    pub(crate) accounts: u64,
    pub(crate) batches: Range<u64>,
    /// When the first of them was written.
    pub(crate) since: SystemTime,
    pub(crate) seconds: u32,
}

/// How long reads took: those of transfers, of balances and of histories.
pub(crate) type Reads = [Load; 3];

/// A process that reads.
pub(crate) struct Reader {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Reader {
    /// Starts it, and waits until it is connected: then it begins.
    pub(crate) async fn start(reading: &Reading) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["ledger-reader", "--reading", &serde_json::to_string(reading)?]);
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let says = process.stdout.take().context("a reader that says nothing")?;
        let mut says = BufReader::new(says).lines();
        ensure!(says.next_line().await?.as_deref() == Some(READY), "the reader failed");
        Ok(Self { process, says })
    }

    /// What it has to say at its end.
    pub(crate) async fn end(mut self) -> Result<Reads> {
        let reads = self.says.next_line().await?.context("the reader failed")?;
        ensure!(self.process.wait().await?.success(), "the reader failed");
        Ok(serde_json::from_str(&reads)?)
    }
}

/// Is that process: each kind of read has a thread and a connection.
pub(crate) fn run(reading: &str) -> Result<()> {
    let reading: Reading = serde_json::from_str(reading)?;
    let are_connected = Arc::new(Barrier::new(4));
    let threads = [Kind::Transfer, Kind::Balance, Kind::History].map(|kind| {
        let (reading, are_connected) = (reading.clone(), Arc::clone(&are_connected));
        thread::spawn(move || steadily(kind, &reading, &are_connected))
    });
    are_connected.wait();
    println!("{READY}");
    let reads = threads.map(|thread| thread.join().map_err(|_| anyhow!("a reader panicked")));
    let reads = reads.into_iter().map(Result::flatten).collect::<Result<Vec<_>>>()?;
    println!("{}", serde_json::to_string(&reads)?);
    Ok(())
}

/// Reads one kind, whether or not the answers keep up: the latency of a read counts from the time
/// at which it was due.
fn steadily(kind: Kind, reading: &Reading, are_connected: &Barrier) -> Result<Load> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(connect(&reading.certs, ADDRESS));
    are_connected.wait();
    let mut client = client?;
    let count = Duration::from_secs(reading.seconds.into()).as_micros() / PACE.as_micros();
    let mut random = Random(kind as u64);
    let mut latencies = Vec::new();
    let started = Instant::now();
    for number in 0..u32::try_from(count)? {
        let due = started + PACE * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        runtime.block_on(one(&mut client, kind, reading, &mut random))?;
        latencies.push(due.elapsed());
    }
    Ok(Load::of(latencies.len() as u64, started.elapsed(), latencies))
}

async fn one(
    client: &mut Client,
    kind: Kind,
    reading: &Reading,
    random: &mut Random,
) -> Result<()> {
    let Reading { accounts, batches, since, .. } = reading;
    let rows = Rows { accounts: *accounts, kind: proof::Kind::Plain };
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
