//! Requests of the contract as what the engine takes.

use std::collections::BTreeMap;

use book::{Fault, ItemFault, NewAccounts, Transfers};
use contracts::ledger::v1 as pb;
use engine::{AsOf, BATCH_ITEMS_MAX, Filter, Order};
use proof::{
    Account, AccountId, Amendment, ENTRY_BYTES, EntryFault, ExternalId, Kind, Metadata, Timestamp,
    Transfer, TransferId, flag,
};
use prost_types::Timestamp as WireTimestamp;
use uuid::Uuid;

use crate::error::LedgerError;

/// Items of a page when the caller does not say.
const PAGE_SIZE_DEFAULT: usize = 100;

/// Accounts to create.
pub(crate) fn accounts(wire: Vec<pb::NewAccount>) -> Result<NewAccounts, LedgerError> {
    let mut accounts = NewAccounts::default();
    each("accounts", wire, |wire| {
        let (account, metadata) = account(&wire)?;
        accounts.push(account, &metadata, wire.linked);
        Ok(())
    })?;
    Ok(accounts)
}

fn account(wire: &pb::NewAccount) -> Result<(Account, Metadata), LedgerError> {
    let limit = match wire.limit.try_into() {
        Ok(pb::BalanceLimit::Unspecified) => 0,
        Ok(pb::BalanceLimit::DebitsWithinCredits) => 1,
        Ok(pb::BalanceLimit::CreditsWithinDebits) => 2,
        Err(_) => return Err(LedgerError::invalid("limit", "must be a defined value")),
    };
    let account = Account {
        limit,
        code: code(wire.code)?,
        ledger: wire.ledger,
        tenant: 0,
        extension: 0,
        id: id("id", &wire.id)?,
        overdraft: wire.overdraft,
        created_at: Timestamp::default(),
        external_id: optional_id("external_id", &wire.external_id)?,
    };
    Ok((account, metadata(&wire.metadata)?))
}

/// Accounts to change.
pub(crate) fn updates(wire: Vec<pb::AccountUpdate>) -> Result<Vec<Amendment>, LedgerError> {
    let mut amendments = Vec::with_capacity(wire.len());
    each("updates", wire, |wire| {
        let missing = |field| LedgerError::invalid(field, "must be given");
        amendments.push(Amendment {
            tenant: 0,
            account: id("id", &wire.id)?,
            is_closed: wire.closed.ok_or_else(|| missing("closed"))?,
            overdraft: wire.overdraft.ok_or_else(|| missing("overdraft"))?,
            created_at: Timestamp::default(),
        });
        Ok(())
    })?;
    Ok(amendments)
}

/// Transfers to create, in either form.
pub(crate) fn transfers(request: pb::CreateTransfersRequest) -> Result<Transfers, LedgerError> {
    let pb::CreateTransfersRequest { transfers: typed, packed, packed_extensions } = request;
    if packed.is_empty() && packed_extensions.is_empty() {
        let mut transfers = Transfers::default();
        each("transfers", typed, |wire| {
            let (transfer, metadata) = transfer(&wire)?;
            transfers.push(transfer, &metadata);
            Ok(())
        })?;
        return Ok(transfers);
    }
    if !typed.is_empty() {
        return Err(LedgerError::invalid("packed", "excludes `transfers`"));
    }
    check_count("packed", packed.len().div_ceil(ENTRY_BYTES))?;
    Transfers::from_bytes(&packed, &packed_extensions).map_err(packed_fault)
}

/// A transfer that settles a hold.
pub(crate) fn settlement(
    kind: Kind,
    own_id: &str,
    pending_id: &str,
    amount: u64,
    chain: bool,
) -> Result<Transfers, LedgerError> {
    let mut transfers = Transfers::default();
    let transfer = Transfer {
        flags: if chain { flag::CHAIN } else { 0 },
        id: id("id", own_id)?,
        hold: id("pending_id", pending_id)?,
        amount,
        ..blank(kind)
    };
    transfers.push(transfer, &Metadata::default());
    Ok(transfers)
}

fn transfer(wire: &pb::NewTransfer) -> Result<(Transfer, Metadata), LedgerError> {
    let kind = match wire.kind.try_into() {
        Ok(pb::TransferKind::Unspecified) => Kind::Plain,
        Ok(pb::TransferKind::Pending) => Kind::Pending,
        Ok(pb::TransferKind::PostPending) => Kind::PostPending,
        Ok(pb::TransferKind::VoidPending) => Kind::VoidPending,
        Err(_) => return Err(LedgerError::invalid("kind", "must be a defined value")),
    };
    let set = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let transfer = Transfer {
        flags: set(wire.linked, flag::LINKED)
            | set(wire.balancing_debit, flag::BALANCING_DEBIT)
            | set(wire.balancing_credit, flag::BALANCING_CREDIT)
            | set(wire.chain, flag::CHAIN),
        code: code(wire.code)?,
        ledger: wire.ledger,
        id: id("id", &wire.id)?,
        debit: optional_id("debit_account_id", &wire.debit_account_id)?,
        credit: optional_id("credit_account_id", &wire.credit_account_id)?,
        amount: wire.amount,
        effective_at: time("effective_at", wire.effective_at.as_ref())?.unwrap_or_default(),
        hold: optional_id("pending_id", &wire.pending_id)?,
        timeout_seconds: wire.timeout_seconds,
        external_id: optional_id("external_id", &wire.external_id)?,
        ..blank(kind)
    };
    Ok((transfer, metadata(&wire.metadata)?))
}

/// A transfer that names nothing.
fn blank(kind: Kind) -> Transfer {
    Transfer {
        kind,
        flags: 0,
        code: 0,
        ledger: 0,
        tenant: 0,
        extension: 0,
        id: TransferId::default(),
        debit: AccountId::default(),
        credit: AccountId::default(),
        amount: 0,
        created_at: Timestamp::default(),
        effective_at: Timestamp::default(),
        hold: TransferId::default(),
        timeout_seconds: 0,
        external_id: ExternalId::default(),
    }
}

/// Names the item and the field of packed bytes that cannot be what they are.
fn packed_fault(fault: ItemFault) -> LedgerError {
    let item = format!("packed[{}]", fault.item);
    let field = match fault.fault {
        Fault::Short | Fault::Owned => item,
        Fault::Entry(EntryFault::Kind(_)) => format!("{item}.kind"),
        Fault::Entry(EntryFault::Field(field)) => format!("{item}.{field}"),
        Fault::Metadata(_) => format!("{item}.metadata"),
        Fault::Extensions => "packed_extensions".to_owned(),
    };
    LedgerError::invalid(field, fault.fault.to_string())
}

/// Reads every item of a batch, or names the first field that cannot be read.
fn each<W>(
    field: &str,
    items: Vec<W>,
    mut read: impl FnMut(W) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    check_count(field, items.len())?;
    for (index, item) in items.into_iter().enumerate() {
        read(item).map_err(|error| error.within(field, index))?;
    }
    Ok(())
}

fn check_count(field: &str, count: usize) -> Result<(), LedgerError> {
    if (1..=BATCH_ITEMS_MAX).contains(&count) {
        Ok(())
    } else {
        Err(LedgerError::invalid(field, "must have 1 to 8189 items"))
    }
}

/// Ids to look up.
pub(crate) fn ids<T: From<u128>>(wire: Vec<String>) -> Result<Vec<T>, LedgerError> {
    let mut ids = Vec::with_capacity(wire.len());
    each("ids", wire, |text| {
        ids.push(id("", &text)?);
        Ok(())
    })?;
    Ok(ids)
}

/// An id that must be there.
pub(crate) fn id<T: From<u128>>(field: &str, text: &str) -> Result<T, LedgerError> {
    // The length admits only the hyphenated form.
    match Uuid::try_parse(text) {
        Ok(uuid) if text.len() == uuid::fmt::Hyphenated::LENGTH => Ok(uuid.as_u128().into()),
        _ => Err(LedgerError::invalid(field, "must be a UUID")),
    }
}

/// An id that may be empty.
fn optional_id<T: From<u128> + Default>(field: &str, text: &str) -> Result<T, LedgerError> {
    if text.is_empty() { Ok(T::default()) } else { id(field, text) }
}

fn code(number: u32) -> Result<u16, LedgerError> {
    u16::try_from(number).map_err(|_| LedgerError::invalid("code", "must be at most 65535"))
}

fn metadata(pairs: &BTreeMap<String, String>) -> Result<Metadata, LedgerError> {
    let metadata = Metadata::new(pairs);
    metadata.map_err(|fault| LedgerError::invalid("metadata", fault.to_string()))
}

/// A time that may be absent.
fn time(field: &str, wire: Option<&WireTimestamp>) -> Result<Option<Timestamp>, LedgerError> {
    let Some(wire) = wire else { return Ok(None) };
    let nanos = || {
        let seconds = u64::try_from(wire.seconds).ok()?.checked_mul(1_000_000_000)?;
        let nanos = u64::try_from(wire.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        seconds.checked_add(nanos)
    };
    let nanos = nanos().ok_or_else(|| LedgerError::invalid(field, "must be from 1970 to 2554"))?;
    Ok(Some(Timestamp::from_nanos(nanos)))
}

/// As of when a balance is asked for.
pub(crate) fn as_of(wire: Option<pb::get_balance_request::AsOf>) -> Result<AsOf, LedgerError> {
    use pb::get_balance_request::AsOf as Wire;
    let at = |field, at: WireTimestamp| time(field, Some(&at)).map(Option::unwrap_or_default);
    Ok(match wire {
        None => AsOf::Now,
        Some(Wire::At(time)) => AsOf::Created(at("at", time)?),
        Some(Wire::EffectiveAt(time)) => AsOf::Effective(at("effective_at", time)?),
    })
}

/// The accounts that a request asks for.
pub(crate) fn account_filter(wire: &pb::ListAccountsRequest) -> Result<Filter, LedgerError> {
    let (from, to) = (wire.created_from.as_ref(), wire.created_to.as_ref());
    let part = filter(from, to, wire.order(), &wire.page_token, wire.page_size)?;
    let filter = Filter {
        external_id: given_id("external_id", &wire.external_id)?,
        metadata: pairs(&wire.metadata)?,
        ..part
    };
    if filter.external_id.is_none() && filter.metadata.is_empty() {
        return Err(LedgerError::invalid("external_id", "must be given, or `metadata`"));
    }
    Ok(filter)
}

/// The transfers that a request asks for.
pub(crate) fn transfer_filter(wire: &pb::ListTransfersRequest) -> Result<Filter, LedgerError> {
    let (from, to) = (wire.created_from.as_ref(), wire.created_to.as_ref());
    let part = filter(from, to, wire.order(), &wire.page_token, wire.page_size)?;
    let filter = Filter {
        account: given_id("account_id", &wire.account_id)?,
        external_id: given_id("external_id", &wire.external_id)?,
        metadata: pairs(&wire.metadata)?,
        ..part
    };
    if filter.account.is_none() && filter.external_id.is_none() && filter.metadata.is_empty() {
        let rule = "must be given, or `external_id` or `metadata`";
        return Err(LedgerError::invalid("account_id", rule));
    }
    Ok(filter)
}

/// The part of an account's history that a request asks for.
pub(crate) fn history_filter(wire: &pb::ListAccountHistoryRequest) -> Result<Filter, LedgerError> {
    let (from, to) = (wire.created_from.as_ref(), wire.created_to.as_ref());
    let part = filter(from, to, wire.order(), &wire.page_token, wire.page_size)?;
    Ok(Filter { metadata: pairs(&wire.metadata)?, ..part })
}

/// What all lists have in common.
fn filter(
    from: Option<&WireTimestamp>,
    to: Option<&WireTimestamp>,
    order: pb::ListOrder,
    page_token: &str,
    page_size: i32,
) -> Result<Filter, LedgerError> {
    Ok(Filter {
        account: None,
        external_id: None,
        metadata: Vec::new(),
        from: time("created_from", from)?,
        to: time("created_to", to)?,
        order: match order {
            pb::ListOrder::Unspecified | pb::ListOrder::NewestFirst => Order::NewestFirst,
            pb::ListOrder::OldestFirst => Order::OldestFirst,
        },
        after: after(page_token)?,
        size: self::page_size(page_size),
    })
}

/// Items of a page.
pub(crate) fn page_size(asked: i32) -> usize {
    mesh::wire::page_size(asked, PAGE_SIZE_DEFAULT)
}

/// An id that matters only when it is given.
fn given_id<T: From<u128>>(field: &str, text: &str) -> Result<Option<T>, LedgerError> {
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}

/// Pairs of metadata, written `key:value`. In a key `\:` stands for a colon, `\\` for a backslash.
fn pairs(wire: &[String]) -> Result<Vec<(String, String)>, LedgerError> {
    let pair = |(index, text): (usize, &String)| {
        split(text).filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
            LedgerError::invalid("", "must be of the form key:value").within("metadata", index)
        })
    };
    wire.iter().enumerate().map(pair).collect()
}

/// Key and value, unless there is no colon between.
fn split(text: &str) -> Option<(String, String)> {
    let (mut key, mut rest) = (String::new(), text.chars());
    while let Some(next) = rest.next() {
        match next {
            ':' => return Some((key, rest.as_str().to_owned())),
            '\\' => key.push(rest.next()?),
            other => key.push(other),
        }
    }
    None
}

/// Number of the last item of the page before: what its token says.
fn after(text: &str) -> Result<Option<u64>, LedgerError> {
    if text.is_empty() {
        return Ok(None);
    }
    let after = text.parse();
    after.map(Some).map_err(|_| LedgerError::invalid("page_token", "must be that of a page"))
}
