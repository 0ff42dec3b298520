//! Writing through gRPC: batches, and transfers one by one.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use contracts::ledger::v1::{
    CreateAccountStatus, CreateAccountsRequest, CreateTransferResult, CreateTransferStatus,
    CreateTransfersRequest, NewAccount, NewTransfer,
};
use futures::future::try_join_all;
use proof::Transfer;
use tokio::runtime;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::connect::Client;
use super::rows::{self, BATCH, CODE, LEDGER, Rows};
use super::server::Server;
use super::turns::Turns;
use crate::measure::Load;

/// Batches in flight, over all connections: more make it hardly faster, but each wait longer.
pub(crate) const LANES: usize = 4;

/// Callers at a time.
const CALLERS_MAX: u64 = 1_000;

/// Bytes of one of `packed_results`, which begins with the status.
const RESULT_BYTES: usize = 18;

/// A load, and how many transfers it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) transfers: u64,
    pub(crate) load: Load,
}

impl Sent {
    fn of(transfers: u64, elapsed: Duration, latencies: Vec<Duration>) -> Self {
        Self { transfers, load: Load::of(transfers, elapsed, latencies) }
    }
}

/// Creates accounts, which may be overdrawn: a transfer between any two is accepted.
pub(crate) async fn accounts(clients: &[Client], count: u64) -> Result<()> {
    let turns = Arc::new(Turns::of(0..count.div_ceil(BATCH)));
    let lane = async |mut client: Client| -> Result<()> {
        while let Some(batch) = turns.take().await {
            let numbers = batch * BATCH..((batch + 1) * BATCH).min(count);
            let accounts = numbers.map(new_account).collect();
            let answer = client.create_accounts(CreateAccountsRequest { accounts }).await?;
            let created = CreateAccountStatus::Created;
            let mut results = answer.into_inner().results.into_iter();
            ensure!(results.all(|it| it.status() == created), "an account was refused");
        }
        Ok(())
    };
    try_join_all((0..LANES).map(|number| lane(clients[number % clients.len()].clone()))).await?;
    Ok(())
}

fn new_account(number: u64) -> NewAccount {
    NewAccount {
        id: text(rows::account(number).number()),
        ledger: LEDGER,
        code: CODE.into(),
        ..NewAccount::default()
    }
}

/// Sends batches through gRPC. To make a batch is part of the work, but not of its latency.
pub(crate) async fn batches(clients: &[Client], rows: Rows, turns: Turns) -> Result<Sent> {
    in_lanes(LANES, turns, |number| {
        let client = clients[number % clients.len()].clone();
        move |batch| send(client.clone(), rows.packed(batch))
    })
    .await
}

/// Sends batches, as many at a time as there are lanes. `lane` gives the function with which a lane
/// sends the batch of a number, and which says how long it took.
pub(crate) async fn in_lanes<F, S>(
    lanes: usize,
    turns: Turns,
    lane: impl Fn(usize) -> F,
) -> Result<Sent>
where
    F: Fn(u64) -> S + Send + 'static,
    S: Future<Output = Result<Duration>> + Send,
{
    let turns = Arc::new(turns);
    let lanes = (0..lanes).map(|number| {
        let (send, turns) = (lane(number), Arc::clone(&turns));
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while let Some(batch) = turns.take().await {
                latencies.push(send(batch).await?);
            }
            anyhow::Ok(latencies)
        })
    });
    let latencies = try_join_all(lanes).await?.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Sent::of(turns.count() * BATCH, turns.elapsed(), latencies.concat()))
}

async fn send(mut client: Client, packed: Vec<u8>) -> Result<Duration> {
    let request =
        CreateTransfersRequest { packed: packed.into(), ..CreateTransfersRequest::default() };
    let started = Instant::now();
    let answer = client.create_transfers(request).await?;
    let latency = started.elapsed();
    let (results, _): (&[[u8; RESULT_BYTES]], _) = answer.get_ref().packed_results.as_chunks();
    let created = CreateTransferStatus::Created as u16;
    let mut statuses = results.iter().map(|it| u16::from_le_bytes([it[0], it[1]]));
    ensure!(results.len() as u64 == BATCH, "{} results", results.len());
    ensure!(statuses.all(|status| status == created), "a transfer was refused");
    Ok(latency)
}

/// Sends transfers one by one from all these callers at a time, in the ordinary form of the
/// contract, until the time is over. Each caller has transfers of its own. Each connection lives,
/// with its callers, on a thread of its own.
pub(crate) async fn unary(
    server: &Server,
    connections: u64,
    rows: Rows,
    callers: Range<u64>,
    seconds: u32,
) -> Result<Sent> {
    let started = Instant::now();
    let end = started + Duration::from_secs(seconds.into());
    let threads = (0..connections).map(|number| {
        let connecting = server.connecting();
        let callers: Vec<_> =
            callers.clone().filter(|caller| caller % connections == number).collect();
        spawn_blocking(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = connecting.await?;
                let lanes = callers
                    .into_iter()
                    .map(|caller| tokio::spawn(one_by_one(client.clone(), rows, caller, end)));
                let latencies = try_join_all(lanes).await?.into_iter().collect::<Result<Vec<_>>>();
                anyhow::Ok(latencies?.concat())
            })
        })
    });
    let latencies = try_join_all(threads).await?.into_iter().collect::<Result<Vec<_>>>()?.concat();
    Ok(Sent::of(latencies.len() as u64, started.elapsed(), latencies))
}

async fn one_by_one(
    mut client: Client,
    rows: Rows,
    caller: u64,
    end: Instant,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    for transfer in (0..).flat_map(|batch| rows.batch(batch * CALLERS_MAX + caller)) {
        let began = Instant::now();
        if began >= end {
            break;
        }
        let transfers = vec![new_transfer(&transfer)];
        let request = CreateTransfersRequest { transfers, ..CreateTransfersRequest::default() };
        let answer = client.create_transfers(request).await?;
        latencies.push(began.elapsed());
        let status = answer.get_ref().results.first().map(CreateTransferResult::status);
        ensure!(status == Some(CreateTransferStatus::Created), "{status:?}");
    }
    Ok(latencies)
}

fn new_transfer(transfer: &Transfer) -> NewTransfer {
    NewTransfer {
        id: text(transfer.id.number()),
        debit_account_id: text(transfer.debit.number()),
        credit_account_id: text(transfer.credit.number()),
        amount: transfer.amount,
        ledger: transfer.ledger,
        code: transfer.code.into(),
        ..NewTransfer::default()
    }
}

/// An id as the contract has it.
pub(crate) fn text(id: u128) -> String {
    Uuid::from_u128(id).to_string()
}
