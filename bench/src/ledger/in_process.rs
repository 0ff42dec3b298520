//! The engine without gRPC: the same batches, as durable, with all that it does.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use book::{NewAccounts, Outcome, Transfers};
use clock::Clock;
use engine::{Engine, Options};
use proof::{Account, ExternalId, Metadata, TenantId, Timestamp};
use tokio::task::block_in_place;

use super::rows::{self, BATCH, CODE, LEDGER, Rows};
use super::turns::Turns;
use super::{Scale, row, say, write};
use crate::report::Row;

/// Status of what was created.
const CREATED: u16 = 1;

/// Entries after which a snapshot is saved: the default of the service.
const SNAPSHOT_EVERY: u64 = 8_000_000;

/// Runs it.
pub(super) async fn run(folder: &Path, scale: &Scale) -> Result<Vec<Row>> {
    say("the engine in process");
    let folder = folder.join("engine");
    let options = Options {
        signing_key: folder.join("signing.key"),
        folder: folder.clone(),
        create: true,
        snapshot_every: SNAPSHOT_EVERY,
    };
    let engine = Arc::new(block_in_place(|| Engine::open(&options, Clock::system()))?);
    create_accounts(&engine, scale.plain.accounts).await?;
    let sent = write::in_lanes(write::LANES, Turns::of(scale.load.clone()), |_| {
        let (engine, rows) = (Arc::clone(&engine), scale.plain);
        move |batch| send(Arc::clone(&engine), rows, batch)
    });
    let load = sent.await?.load;
    block_in_place(|| drop(engine));
    std::fs::remove_dir_all(folder)?;
    Ok(vec![
        row("engine_tps", load.per_second, "1/s"),
        row("engine_p50_ms", load.p50_ms, "ms"),
        row("engine_p99_ms", load.p99_ms, "ms"),
    ])
}

async fn create_accounts(engine: &Engine, count: u64) -> Result<()> {
    for batch in 0..count.div_ceil(BATCH) {
        let mut accounts = NewAccounts::default();
        for number in batch * BATCH..((batch + 1) * BATCH).min(count) {
            accounts.push(account(number), &Metadata::default(), false);
        }
        ensure_created(&engine.create_accounts(tenant(), accounts).await?)?;
    }
    Ok(())
}

fn account(number: u64) -> Account {
    Account {
        limit: 0,
        code: CODE,
        ledger: LEDGER,
        tenant: 0,
        extension: 0,
        id: rows::account(number),
        overdraft: 0,
        created_at: Timestamp::default(),
        external_id: ExternalId::default(),
    }
}

async fn send(engine: Arc<Engine>, rows: Rows, batch: u64) -> Result<Duration> {
    let transfers = Transfers::from_bytes(&rows.packed(batch), &[])?;
    let started = Instant::now();
    let outcomes = engine.create_transfers(tenant(), transfers).await?;
    let latency = started.elapsed();
    ensure_created(&outcomes)?;
    Ok(latency)
}

fn ensure_created(outcomes: &[Outcome]) -> Result<()> {
    let refused = outcomes.iter().find(|outcome| outcome.status != CREATED);
    ensure!(refused.is_none(), "refused: {refused:?}");
    Ok(())
}

fn tenant() -> TenantId {
    TenantId::from(1)
}
