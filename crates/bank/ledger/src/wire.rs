//! Messages of the contract as values of the domain, and back.

use contracts::ledger::v1 as pb;
use prost_types::Timestamp as WireTimestamp;
use uuid::Uuid;

use crate::domain::{
    Account, AccountRefusal, BalanceLimit, HistoryEntry, Id, NewAccount, NewTransfer, Outcome,
    Timestamp, Transfer, TransferKind, TransferRefusal,
};
use crate::engine::BATCH_ITEMS_MAX;
use crate::error::LedgerError;

/// Reads every item of a batch, or names the first field that cannot be read.
pub(crate) fn batch<W, T>(
    field: &str,
    items: Vec<W>,
    read: impl Fn(W) -> Result<T, LedgerError>,
) -> Result<Vec<T>, LedgerError> {
    if items.is_empty() || items.len() > BATCH_ITEMS_MAX {
        return Err(LedgerError::invalid(field, "must have 1 to 8189 items"));
    }
    let read_at = |(index, item)| read(item).map_err(|error| within(field, index, error));
    items.into_iter().enumerate().map(read_at).collect()
}

/// Completes the path of a field of an item: `id` becomes `transfers[3].id`.
fn within(field: &str, index: usize, error: LedgerError) -> LedgerError {
    match error {
        LedgerError::InvalidField { field: inner, rule } if inner.is_empty() => {
            LedgerError::invalid(format!("{field}[{index}]"), rule)
        }
        LedgerError::InvalidField { field: inner, rule } => {
            LedgerError::invalid(format!("{field}[{index}].{inner}"), rule)
        }
        error => error,
    }
}

/// An id that must be there.
pub(crate) fn id<T: Id>(field: &str, text: &str) -> Result<T, LedgerError> {
    // The length admits only the hyphenated form.
    match Uuid::try_parse(text) {
        Ok(uuid) if text.len() == uuid::fmt::Hyphenated::LENGTH => Ok(uuid.into()),
        _ => Err(LedgerError::invalid(field, "must be a UUID")),
    }
}

/// An id that is itself an item of a batch.
pub(crate) fn item_id<T: Id>(text: String) -> Result<T, LedgerError> {
    id("", &text)
}

/// An id that may be empty.
fn optional_id<T: Id>(field: &str, text: &str) -> Result<T, LedgerError> {
    if text.is_empty() { Ok(T::default()) } else { id(field, text) }
}

fn code(number: u32) -> Result<u16, LedgerError> {
    u16::try_from(number).map_err(|_| LedgerError::invalid("code", "must be at most 65535"))
}

pub(crate) fn new_account(wire: pb::NewAccount) -> Result<NewAccount, LedgerError> {
    let limit = match wire.limit.try_into() {
        Ok(pb::BalanceLimit::Unspecified) => BalanceLimit::None,
        Ok(pb::BalanceLimit::DebitsWithinCredits) => BalanceLimit::DebitsWithinCredits,
        Ok(pb::BalanceLimit::CreditsWithinDebits) => BalanceLimit::CreditsWithinDebits,
        Err(_) => return Err(LedgerError::invalid("limit", "must be a defined value")),
    };
    Ok(NewAccount {
        id: id("id", &wire.id)?,
        ledger: wire.ledger,
        code: code(wire.code)?,
        limit,
        external_id: optional_id("external_id", &wire.external_id)?,
        linked: wire.linked,
    })
}

pub(crate) fn new_transfer(wire: pb::NewTransfer) -> Result<NewTransfer, LedgerError> {
    let kind = match wire.kind.try_into() {
        Ok(pb::TransferKind::Unspecified) => TransferKind::Plain,
        Ok(pb::TransferKind::Pending) => TransferKind::Pending,
        Ok(pb::TransferKind::PostPending) => TransferKind::PostPending,
        Ok(pb::TransferKind::VoidPending) => TransferKind::VoidPending,
        Err(_) => return Err(LedgerError::invalid("kind", "must be a defined value")),
    };
    Ok(NewTransfer {
        id: id("id", &wire.id)?,
        debit_account_id: optional_id("debit_account_id", &wire.debit_account_id)?,
        credit_account_id: optional_id("credit_account_id", &wire.credit_account_id)?,
        amount: wire.amount,
        ledger: wire.ledger,
        code: code(wire.code)?,
        kind,
        pending_id: optional_id("pending_id", &wire.pending_id)?,
        timeout_seconds: wire.timeout_seconds,
        external_id: optional_id("external_id", &wire.external_id)?,
        linked: wire.linked,
    })
}

/// Number of entries that are older than a page: what its token says.
pub(crate) fn page_token(text: &str) -> Result<Option<u64>, LedgerError> {
    if text.is_empty() {
        return Ok(None);
    }
    let older = text.parse();
    older.map(Some).map_err(|_| LedgerError::invalid("page_token", "must be that of a page"))
}

/// Token of the page after one that leaves `older` entries.
pub(crate) fn next_page_token(older: u64) -> String {
    if older == 0 { String::new() } else { older.to_string() }
}

pub(crate) fn account_result(outcome: Outcome<AccountRefusal>) -> pb::CreateAccountResult {
    use pb::CreateAccountStatus as Status;
    let (status, created_at) = match outcome {
        Outcome::Created(at) => (Status::Created as i32, Some(timestamp(at))),
        Outcome::Exists(at) => (Status::Exists as i32, Some(timestamp(at))),
        Outcome::Refused(refusal) => (refusal as i32, None),
    };
    pb::CreateAccountResult { status, created_at }
}

pub(crate) fn transfer_result(outcome: Outcome<TransferRefusal>) -> pb::CreateTransferResult {
    use pb::CreateTransferStatus as Status;
    let (status, created_at) = match outcome {
        Outcome::Created(at) => (Status::Created as i32, Some(timestamp(at))),
        Outcome::Exists(at) => (Status::Exists as i32, Some(timestamp(at))),
        Outcome::Refused(refusal) => (refusal as i32, None),
    };
    pb::CreateTransferResult { status, created_at }
}

pub(crate) fn account(account: Account) -> pb::Account {
    let limit = match account.limit {
        BalanceLimit::None => pb::BalanceLimit::Unspecified,
        BalanceLimit::DebitsWithinCredits => pb::BalanceLimit::DebitsWithinCredits,
        BalanceLimit::CreditsWithinDebits => pb::BalanceLimit::CreditsWithinDebits,
    };
    pb::Account {
        id: text(account.id),
        ledger: account.ledger,
        code: account.code.into(),
        limit: limit.into(),
        external_id: text(account.external_id),
        debits_pending: account.balances.debits.pending,
        debits_posted: account.balances.debits.posted,
        credits_pending: account.balances.credits.pending,
        credits_posted: account.balances.credits.posted,
        created_at: Some(timestamp(account.created_at)),
    }
}

pub(crate) fn transfer(transfer: Transfer) -> pb::Transfer {
    let kind = match transfer.kind {
        TransferKind::Plain => pb::TransferKind::Unspecified,
        TransferKind::Pending => pb::TransferKind::Pending,
        TransferKind::PostPending => pb::TransferKind::PostPending,
        TransferKind::VoidPending => pb::TransferKind::VoidPending,
    };
    pb::Transfer {
        id: text(transfer.id),
        debit_account_id: text(transfer.debit_account_id),
        credit_account_id: text(transfer.credit_account_id),
        amount: transfer.amount,
        ledger: transfer.ledger,
        code: transfer.code.into(),
        kind: kind.into(),
        pending_id: text(transfer.pending_id),
        timeout_seconds: transfer.timeout_seconds,
        external_id: text(transfer.external_id),
        created_at: Some(timestamp(transfer.created_at)),
    }
}

pub(crate) fn history_entry(entry: HistoryEntry) -> pb::HistoryEntry {
    pb::HistoryEntry {
        transfer: Some(transfer(entry.transfer)),
        debits_pending: entry.balances.debits.pending,
        debits_posted: entry.balances.debits.posted,
        credits_pending: entry.balances.credits.pending,
        credits_posted: entry.balances.credits.posted,
        at: Some(timestamp(entry.at)),
    }
}

/// An id as text; empty for none.
fn text(id: impl Id) -> String {
    if id.is_none() { String::new() } else { id.as_uuid().to_string() }
}

fn timestamp(at: Timestamp) -> WireTimestamp {
    const NANOS: u64 = 1_000_000_000;
    #[expect(clippy::cast_possible_wrap, reason = "u64::MAX nanoseconds are few seconds")]
    let seconds = (at.nanos() / NANOS) as i64;
    let nanos = (at.nanos() % NANOS) as i32;
    WireTimestamp { seconds, nanos }
}
