//! What the fields of a line say.

use std::collections::BTreeMap;

use anyhow::Result;
use proof::{Account, ExternalId, Kind, Metadata, Timestamp, Transfer, flag};
use uuid::Uuid;

use super::lines::{Fields, Read, Wrong};
use crate::text::{LIMITS, kind, parse_time};

/// The code of a transfer that names none.
const CODE_DEFAULT: u16 = 1;

/// How a transfer can take effect.
const KINDS: [Kind; 4] = [Kind::Plain, Kind::Pending, Kind::PostPending, Kind::VoidPending];

impl Read for Account {
    const COLUMNS: &[&str] =
        &["id", "ledger", "code", "limit", "overdraft", "external_id", "linked", "metadata"];
    const REQUIRED: usize = 3;

    fn read(fields: &Fields<'_>) -> Result<(Self, Metadata, bool), Wrong> {
        let account = Self {
            limit: limit(fields)?,
            code: number(fields, "code", None)?,
            ledger: number(fields, "ledger", None)?,
            tenant: 0,
            extension: 0,
            id: id(fields, "id")?,
            overdraft: number(fields, "overdraft", Some(0))?,
            created_at: Timestamp::default(),
            external_id: optional_id(fields, "external_id")?,
        };
        Ok((account, metadata(fields)?, boolean(fields, "linked")?))
    }
}

impl Read for Transfer {
    const COLUMNS: &[&str] = &[
        "id",
        "debit_account_id",
        "credit_account_id",
        "amount",
        "ledger",
        "code",
        "kind",
        "pending_id",
        "timeout_seconds",
        "effective_at",
        "external_id",
        "linked",
        "metadata",
    ];
    const REQUIRED: usize = 5;

    fn read(fields: &Fields<'_>) -> Result<(Self, Metadata, bool), Wrong> {
        let kind = transfer_kind(fields)?;
        // What a post or void does not name, it takes over from the hold.
        let inherited = |default| if kind.settles() { Some(0) } else { default };
        let is_linked = boolean(fields, "linked")?;
        let transfer = Self {
            kind,
            flags: if is_linked { flag::LINKED } else { 0 },
            code: number(fields, "code", inherited(Some(CODE_DEFAULT.into())))?,
            ledger: number(fields, "ledger", inherited(None))?,
            tenant: 0,
            extension: 0,
            id: id(fields, "id")?,
            debit: account(fields, "debit_account_id", kind)?,
            credit: account(fields, "credit_account_id", kind)?,
            amount: number(fields, "amount", inherited(None))?,
            created_at: Timestamp::default(),
            effective_at: effective_at(fields)?,
            hold: optional_id(fields, "pending_id")?,
            timeout_seconds: number(fields, "timeout_seconds", Some(0))?,
            external_id: optional_id::<ExternalId>(fields, "external_id")?,
        };
        Ok((transfer, metadata(fields)?, is_linked))
    }
}

fn wrong<T>(column: &'static str, rule: impl Into<String>) -> Result<T, Wrong> {
    Err((column, rule.into()))
}

fn id<T: From<u128>>(fields: &Fields<'_>, column: &'static str) -> Result<T, Wrong> {
    match Uuid::try_parse(fields.get(column)) {
        Ok(id) => Ok(id.as_u128().into()),
        Err(_) => wrong(column, "must be a UUID"),
    }
}

fn optional_id<T: From<u128> + Default>(
    fields: &Fields<'_>,
    column: &'static str,
) -> Result<T, Wrong> {
    if fields.get(column).is_empty() { Ok(T::default()) } else { id(fields, column) }
}

fn account<T: From<u128> + Default>(
    fields: &Fields<'_>,
    column: &'static str,
    kind: Kind,
) -> Result<T, Wrong> {
    if kind.settles() { optional_id(fields, column) } else { id(fields, column) }
}

/// A whole number; `default` is for an empty field, if it may be empty.
fn number<T: TryFrom<u64>>(
    fields: &Fields<'_>,
    column: &'static str,
    default: Option<u64>,
) -> Result<T, Wrong> {
    let text = fields.get(column);
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
    let number = if text.is_empty() { default } else { digits.flatten() };
    let Some(Ok(number)) = number.map(T::try_from) else {
        let largest = u64::MAX >> (64 - 8 * size_of::<T>());
        return wrong(column, format!("must be a whole number from 0 to {largest}"));
    };
    Ok(number)
}

fn boolean(fields: &Fields<'_>, column: &'static str) -> Result<bool, Wrong> {
    match fields.get(column) {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => wrong(column, "must be true or false"),
    }
}

fn limit(fields: &Fields<'_>) -> Result<u8, Wrong> {
    let text = fields.get("limit");
    let named = if text.is_empty() { Some(0) } else { LIMITS.iter().position(|it| *it == text) };
    match named.and_then(|number| u8::try_from(number).ok()) {
        Some(number) => Ok(number),
        None => wrong("limit", format!("must be one of {}", LIMITS.join(", "))),
    }
}

fn transfer_kind(fields: &Fields<'_>) -> Result<Kind, Wrong> {
    let text = fields.get("kind");
    let named = KINDS.into_iter().find(|it| kind(*it) == text);
    match named {
        Some(kind) => Ok(kind),
        None if text.is_empty() => Ok(Kind::Plain),
        None => wrong("kind", format!("must be one of {}", KINDS.map(kind).join(", "))),
    }
}

fn effective_at(fields: &Fields<'_>) -> Result<Timestamp, Wrong> {
    let text = fields.get("effective_at");
    let time = if text.is_empty() { Some(Timestamp::default()) } else { parse_time(text) };
    let rule =
        "must be a time such as 2019-12-31T23:59:59Z or a date such as 2019-12-31, after 1970";
    time.map_or_else(|| wrong("effective_at", rule), Ok)
}

fn metadata(fields: &Fields<'_>) -> Result<Metadata, Wrong> {
    let text = fields.get("metadata");
    if text.is_empty() {
        return Ok(Metadata::default());
    }
    let Ok(pairs) = serde_json::from_str::<BTreeMap<String, String>>(text) else {
        return wrong("metadata", "must be a JSON object whose values are all texts");
    };
    Metadata::new(pairs).or_else(|fault| wrong("metadata", fault.to_string()))
}
