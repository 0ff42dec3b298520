//! The peer: the same transfers, in the same batches, by COPY into PostgreSQL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use proof::Transfer;
use sqlx::{Connection, PgConnection, Row as _};

use super::rows::{BATCH, Rows};
use super::turns::Turns;
use crate::measure::{self, Load, float};

/// A column for each field of a transfer, a primary key, and an index for each account.
const TABLE: &str = "
    CREATE TABLE transfers (
        id uuid PRIMARY KEY,
        debit_account_id uuid NOT NULL,
        credit_account_id uuid NOT NULL,
        amount bigint NOT NULL,
        ledger integer NOT NULL,
        code smallint NOT NULL,
        kind smallint NOT NULL,
        hold_id uuid,
        external_id uuid,
        created_at timestamptz NOT NULL
    );
    CREATE INDEX ON transfers (debit_account_id);
    CREATE INDEX ON transfers (credit_account_id);
";

/// Batches in flight, each over a connection of its own: what suits it best.
const CONNECTIONS: usize = 8;

/// What a binary COPY begins with: signature, flags, length of its extension.
const BEGIN: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with.
const END: [u8; 2] = (-1_i16).to_be_bytes();

/// Fields of a row.
const COLUMNS: i16 = 10;

/// A table of transfers.
pub(crate) struct Table {
    connections: Vec<PgConnection>,
}

/// What a number of batches cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied {
    pub(crate) load: Load,
    /// CPU time of all processes of PostgreSQL for a row.
    pub(crate) cpu_us: f64,
    /// Bytes of the table and its indexes for a row, without the write-ahead log.
    pub(crate) disk_bytes: f64,
}

impl Table {
    /// Creates it, with a connection for each batch that will be in flight.
    pub(crate) async fn create(url: &str) -> Result<Self> {
        let connections =
            try_join_all((0..CONNECTIONS).map(|_| PgConnection::connect(url))).await?;
        let mut table = Self { connections };
        sqlx::raw_sql(TABLE).execute(&mut table.connections[0]).await?;
        Ok(table)
    }

    /// Writes batches, each a transaction of its own, as many at a time as there are connections.
    pub(crate) async fn copy(&mut self, rows: Rows, turns: Turns) -> Result<Copied> {
        let server = self.server().await?;
        let cpu = measure::cpu_of_children(server)?;
        let turns = Arc::new(turns);
        let lanes = self.connections.iter_mut().map(|connection| lane(connection, rows, &turns));
        let latencies = try_join_all(lanes).await?.concat();
        let count = turns.count() * BATCH;
        let load = Load::of(count, turns.elapsed(), latencies);
        let cpu = measure::cpu_of_children(server)?.saturating_sub(cpu);
        let size = sqlx::query(
            "SELECT pg_total_relation_size('transfers')::float8 / count(*) FROM transfers",
        );
        let disk_bytes = size.fetch_one(&mut self.connections[0]).await?.get(0);
        Ok(Copied { load, cpu_us: cpu.as_secs_f64() * 1e6 / float(count), disk_bytes })
    }

    /// The process whose children serve us.
    async fn server(&mut self) -> Result<u32> {
        let backend = sqlx::query("SELECT pg_backend_pid()");
        let backend: i32 = backend.fetch_one(&mut self.connections[0]).await?.get(0);
        measure::parent(backend.try_into()?)
    }
}

async fn lane(connection: &mut PgConnection, rows: Rows, turns: &Turns) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while let Some(batch) = turns.take().await {
        let bytes = encode(rows.batch(batch));
        let began = Instant::now();
        let mut copy =
            connection.copy_in_raw("COPY transfers FROM STDIN WITH (FORMAT binary)").await?;
        copy.send(bytes).await?;
        ensure!(copy.finish().await? == BATCH, "rows are missing");
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

fn encode(transfers: impl Iterator<Item = Transfer>) -> Vec<u8> {
    let mut bytes = BEGIN.to_vec();
    for transfer in transfers {
        bytes.extend(COLUMNS.to_be_bytes());
        field(&mut bytes, transfer.id.bytes());
        field(&mut bytes, transfer.debit.bytes());
        field(&mut bytes, transfer.credit.bytes());
        field(&mut bytes, transfer.amount.to_be_bytes());
        field(&mut bytes, transfer.ledger.to_be_bytes());
        field(&mut bytes, transfer.code.to_be_bytes());
        field(&mut bytes, (transfer.kind as u16).to_be_bytes());
        // No hold and no external id.
        bytes.extend((-1_i32).to_be_bytes());
        bytes.extend((-1_i32).to_be_bytes());
        // Microseconds after the year 2000 began: a time is a time.
        field(&mut bytes, 840_000_000_000_000_u64.to_be_bytes());
    }
    bytes.extend(END);
    bytes
}

#[expect(clippy::cast_possible_truncation, reason = "a field has 16 bytes at most")]
fn field<const N: usize>(bytes: &mut Vec<u8>, value: [u8; N]) {
    bytes.extend((N as u32).to_be_bytes());
    bytes.extend(value);
}
