//! What the engine answers as messages of the contract.

use std::collections::BTreeMap;

use book::Outcome;
use contracts::ledger::v1 as pb;
use engine::{AccountView, Balances, Change, HistoryItem, HoldState, Page, TransferView};
use proof::{Entry, Kind, Metadata, Timestamp, Transfer, flag};
use prost_types::Timestamp as WireTimestamp;
use uuid::Uuid;

/// Bytes of a packed result.
const RESULT_BYTES: usize = 18;

pub(crate) fn account_result(outcome: &Outcome) -> pb::CreateAccountResult {
    let Outcome { status, at, .. } = *outcome;
    pb::CreateAccountResult { status: status.into(), created_at: given(at) }
}

pub(crate) fn update_result(outcome: &Outcome) -> pb::UpdateAccountResult {
    let Outcome { status, at, .. } = *outcome;
    pb::UpdateAccountResult { status: status.into(), updated_at: given(at) }
}

pub(crate) fn transfer_result(outcome: &Outcome) -> pb::CreateTransferResult {
    let Outcome { status, at, amount } = *outcome;
    pb::CreateTransferResult { status: status.into(), created_at: given(at), amount }
}

/// Results in the packed form.
pub(crate) fn packed_results(outcomes: &[Outcome]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(outcomes.len() * RESULT_BYTES);
    for Outcome { status, at, amount } in outcomes {
        bytes.extend_from_slice(&status.to_le_bytes());
        bytes.extend_from_slice(&at.nanos().to_le_bytes());
        bytes.extend_from_slice(&amount.to_le_bytes());
    }
    bytes
}

pub(crate) fn account(view: AccountView) -> pb::Account {
    let AccountView { account, metadata, balances, is_closed, overdraft, number, .. } = view;
    pb::Account {
        id: text(account.id.number()),
        ledger: account.ledger,
        code: account.code.into(),
        limit: limit(account.limit).into(),
        external_id: text(account.external_id.number()),
        debits_pending: balances.debits_pending,
        debits_posted: balances.debits_posted,
        credits_pending: balances.credits_pending,
        credits_posted: balances.credits_posted,
        created_at: Some(timestamp(account.created_at)),
        overdraft,
        closed: is_closed,
        metadata: pairs(&metadata),
        sequence: number,
    }
}

pub(crate) fn limit(number: u8) -> pb::BalanceLimit {
    match number {
        1 => pb::BalanceLimit::DebitsWithinCredits,
        2 => pb::BalanceLimit::CreditsWithinDebits,
        _ => pb::BalanceLimit::Unspecified,
    }
}

pub(crate) fn transfer(view: TransferView) -> pb::Transfer {
    entry(&view.transfer, &view.metadata, view.number, view.hold)
}

fn entry(
    transfer: &Transfer,
    metadata: &Metadata,
    number: u64,
    hold: Option<HoldState>,
) -> pb::Transfer {
    let kind = match transfer.kind {
        Kind::Pending => pb::TransferKind::Pending,
        Kind::PostPending => pb::TransferKind::PostPending,
        Kind::VoidPending => pb::TransferKind::VoidPending,
        _ => pb::TransferKind::Unspecified,
    };
    let hold_state = match hold {
        None => pb::HoldState::Unspecified,
        Some(HoldState::Open) => pb::HoldState::Open,
        Some(HoldState::Posted) => pb::HoldState::Posted,
        Some(HoldState::Voided) => pb::HoldState::Voided,
        Some(HoldState::Expired) => pb::HoldState::Expired,
    };
    let is_set = |flag: u8| transfer.flags & flag != 0;
    pb::Transfer {
        id: text(transfer.id.number()),
        debit_account_id: text(transfer.debit.number()),
        credit_account_id: text(transfer.credit.number()),
        amount: transfer.amount,
        ledger: transfer.ledger,
        code: transfer.code.into(),
        kind: kind.into(),
        pending_id: text(transfer.hold.number()),
        timeout_seconds: transfer.timeout_seconds,
        external_id: text(transfer.external_id.number()),
        created_at: Some(timestamp(transfer.created_at)),
        effective_at: Some(timestamp(transfer.effective_at)),
        metadata: pairs(metadata),
        balancing_debit: is_set(flag::BALANCING_DEBIT),
        balancing_credit: is_set(flag::BALANCING_CREDIT),
        chain: is_set(flag::CHAIN),
        linked: is_set(flag::LINKED),
        sequence: number,
        hold_state: hold_state.into(),
    }
}

pub(crate) fn balance(balances: Balances) -> pb::Balance {
    let Balances { debits_pending, debits_posted, credits_pending, credits_posted } = balances;
    pb::Balance { debits_pending, debits_posted, credits_pending, credits_posted }
}

pub(crate) fn history_entry(item: HistoryItem) -> pb::HistoryEntry {
    pb::HistoryEntry {
        transfer: Some(transfer(item.transfer)),
        debits_pending: item.balances.debits_pending,
        debits_posted: item.balances.debits_posted,
        credits_pending: item.balances.credits_pending,
        credits_posted: item.balances.credits_posted,
        at: Some(timestamp(item.at)),
        sequence: item.number,
    }
}

/// Shows the items of a page; the text is the token of the next page, empty at the end.
pub(crate) fn page<T, W>(page: Page<T>, show: impl Fn(T) -> W) -> (Vec<W>, String) {
    let token = page.after.map(|after| after.to_string());
    (page.items.into_iter().map(show).collect(), token.unwrap_or_default())
}

/// What happened; none for what only the ledger itself is concerned with.
pub(crate) fn change(change: Change) -> Option<pb::Change> {
    use pb::change::Change as Wire;
    let Change { number, entry: happened, metadata } = change;
    let created_at = happened.created_at();
    let wire = match happened {
        Entry::Account(created) => Wire::Account(account(AccountView {
            row: 0,
            number,
            account: created,
            metadata,
            balances: Balances::default(),
            is_closed: false,
            overdraft: created.overdraft,
        })),
        Entry::Amendment(it) => Wire::AccountChange(pb::AccountChange {
            id: text(it.account.number()),
            closed: it.is_closed,
            overdraft: it.overdraft,
        }),
        Entry::Transfer(it) => {
            let hold = (it.kind == Kind::Pending).then_some(HoldState::Open);
            Wire::Transfer(entry(&it, &metadata, number, hold))
        }
        Entry::Refusal(it) => Wire::Refusal(pb::TransferRefusal {
            id: text(it.id.number()),
            status: it.status.into(),
        }),
        Entry::Expiry(it) => Wire::Expiry(pb::HoldExpiry {
            pending_id: text(it.hold.number()),
            debit_account_id: text(it.debit.number()),
            credit_account_id: text(it.credit.number()),
            amount: it.amount,
            ledger: it.ledger,
        }),
        Entry::Tenant(_) | Entry::Key(_) | Entry::Checkpoint(_) => return None,
    };
    let created_at = Some(timestamp(created_at));
    Some(pb::Change { sequence: number, created_at, change: Some(wire) })
}

fn pairs(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// An id as text; empty for none.
pub(crate) fn text(id: u128) -> String {
    if id == 0 { String::new() } else { Uuid::from_u128(id).to_string() }
}

/// A time that is there: no entry is of time 0.
fn given(at: Timestamp) -> Option<WireTimestamp> {
    (at != Timestamp::default()).then(|| timestamp(at))
}

pub(crate) fn timestamp(at: Timestamp) -> WireTimestamp {
    const NANOS: u64 = 1_000_000_000;
    #[expect(clippy::cast_possible_wrap, reason = "u64::MAX nanoseconds are few seconds")]
    let seconds = (at.nanos() / NANOS) as i64;
    let nanos = (at.nanos() % NANOS) as i32;
    WireTimestamp { seconds, nanos }
}
