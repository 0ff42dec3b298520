//! Filling a ledger with the past, from CSV.
//!
//! # Columns
//!
//! Files are CSV as of RFC 4180, in UTF-8, with a line of column names first, in any order. Columns
//! that are not required may be missing, and their fields empty. Ids are UUIDs, amounts whole
//! numbers of minor units, times RFC 3339 (`2019-12-31T23:59:59-03:00`) or dates (the day begins in
//! UTC), metadata a JSON object of texts.
//!
//! Accounts:
//!
//! | column | what it says | empty means |
//! |---|---|---|
//! | `id` | its id | refused |
//! | `ledger` | number of its ledger: the ISO 4217 number of its currency | refused |
//! | `code` | what it is for | refused |
//! | `limit` | `none`, `debits_within_credits` or `credits_within_debits` | `none` |
//! | `overdraft` | minor units by which it may pass its limit | 0 |
//! | `external_id` | the caller's own reference, a UUID | none |
//! | `linked` | `true`: accepted only together with the next line | `false` |
//! | `metadata` | what else is known of it | none |
//!
//! Transfers:
//!
//! | column | what it says | empty means |
//! |---|---|---|
//! | `id` | its id | refused |
//! | `debit_account_id`, `credit_account_id` | the accounts | of a post or void: those of the hold |
//! | `amount` | minor units | of a post or void: the whole hold |
//! | `ledger` | number of the ledger of both accounts | of a post or void: that of the hold |
//! | `code` | why money moves | 1; of a post or void: that of the hold |
//! | `kind` | `plain`, `pending`, `post_pending` or `void_pending` | `plain` |
//! | `pending_id` | the hold to post or void | none |
//! | `timeout_seconds` | after how long a hold is released by itself, counted from now | never |
//! | `effective_at` | from when on it counts, in the past | now |
//! | `external_id` | the caller's own reference, a UUID | none |
//! | `linked` | `true`: accepted only together with the next line | `false` |
//! | `metadata` | what else is known of it | none |

mod fields;
mod lines;

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use book::{AccountStatus, NewAccounts, Outcome, TransferStatus, Transfers};
use engine::{Engine, Options};
use proof::{Account, TenantId, Transfer};

use crate::engines::open;
use crate::text;
use lines::{Item, Items};

/// What became of the lines of a file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Recorded now.
    pub created: u64,
    /// Recorded before, just so.
    pub existed: u64,
    /// Refused.
    pub refused: u64,
}

/// What became of all lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Imported {
    /// Those of the accounts.
    pub accounts: Counts,
    /// Those of the transfers.
    pub transfers: Counts,
}

/// Records accounts and transfers of a tenant in a ledger that no process runs. Each line that is
/// refused is told to `refusals`, with its status; the others are recorded all the same.
///
/// All lines are read before the first is recorded: after an error in a file, none is. What was
/// recorded before is left as it is, so that this can be done again.
pub async fn import(
    options: &Options,
    tenant: TenantId,
    accounts: &Path,
    transfers: &Path,
    refusals: &mut (impl Write + Send),
) -> Result<Imported> {
    for batch in Items::<Account>::open(accounts)? {
        batch?;
    }
    for batch in Items::<Transfer>::open(transfers)? {
        batch?;
    }
    let engine = open(options)?;
    Ok(Imported {
        accounts: record::<Account>(&engine, tenant, accounts, refusals).await?,
        transfers: record::<Transfer>(&engine, tenant, transfers, refusals).await?,
    })
}

/// Records all lines of a file, batch by batch.
async fn record<T: Record>(
    engine: &Engine,
    tenant: TenantId,
    file: &Path,
    refusals: &mut (impl Write + Send),
) -> Result<Counts> {
    let mut counts = Counts::default();
    for batch in Items::<T>::open(file)? {
        let batch = batch?;
        let lines: Vec<_> = batch.iter().map(|item| item.line).collect();
        let outcomes = T::record(engine, tenant, batch).await?;
        for (line, outcome) in lines.into_iter().zip(outcomes) {
            if outcome.is_created() {
                counts.created += 1;
            } else if outcome.status == T::EXISTS {
                counts.existed += 1;
            } else {
                counts.refused += 1;
                writeln!(refusals, "{}, line {line}: {}", file.display(), T::status(&outcome))?;
            }
        }
    }
    Ok(counts)
}

/// What can be recorded.
trait Record: lines::Read {
    /// The status of what was recorded before.
    const EXISTS: u16;

    async fn record(
        engine: &Engine,
        tenant: TenantId,
        batch: Vec<Item<Self>>,
    ) -> Result<Vec<Outcome>>;

    /// A status by its name in the contract.
    fn status(outcome: &Outcome) -> String;
}

impl Record for Account {
    const EXISTS: u16 = AccountStatus::Exists.number();

    async fn record(
        engine: &Engine,
        tenant: TenantId,
        batch: Vec<Item<Self>>,
    ) -> Result<Vec<Outcome>> {
        let mut accounts = NewAccounts::default();
        for item in batch {
            accounts.push(item.what, &item.metadata, item.is_linked);
        }
        Ok(engine.create_accounts(tenant, accounts).await?)
    }

    fn status(outcome: &Outcome) -> String {
        text::account_status(outcome.status)
    }
}

impl Record for Transfer {
    const EXISTS: u16 = TransferStatus::Exists.number();

    async fn record(
        engine: &Engine,
        tenant: TenantId,
        batch: Vec<Item<Self>>,
    ) -> Result<Vec<Outcome>> {
        let mut transfers = Transfers::default();
        for item in batch {
            transfers.push(item.what, &item.metadata);
        }
        Ok(engine.create_transfers(tenant, transfers).await?)
    }

    fn status(outcome: &Outcome) -> String {
        text::transfer_status(outcome.status)
    }
}
